//! Keys.

use super::super::named::{self, Named};
use super::code;
use crate::barcode;
use crate::context::Context;
use crate::engines::transit::wire::Hidden;
use crate::fields::Fields;
use crate::otpauth;
use crate::refusal::Refusal;
use crate::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_core::Random;
use keyward_crypto::Secret;
use keyward_crypto::keys::Hash;
use keyward_crypto::otp::{Parameters, base32, from_base32};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Bytes of the longest key: that of the longest hash's block.
const LONGEST: usize = 128;
/// Bytes of a new key.
const USUAL_SIZE: i64 = 20;
/// Pixels of the side of a barcode.
const USUAL_PICTURE: i64 = 200;

/// A key. It is a secret: no `Debug`.
#[derive(Serialize, Deserialize)]
pub(super) struct Key {
    key: Hidden,
    issuer: String,
    account: String,
    period: u64,
    algorithm: String,
    digits: u32,
    pub(super) skew: u64,
}

impl Default for Key {
    /// What every application knows.
    fn default() -> Key {
        Key {
            key: Hidden(Secret::new(Vec::new())),
            issuer: String::new(),
            account: String::new(),
            period: 30,
            algorithm: "SHA1".to_owned(),
            digits: 6,
            skew: 1,
        }
    }
}

impl Clone for Key {
    fn clone(&self) -> Key {
        Key {
            key: Hidden(Secret::new(self.bytes().to_vec())),
            issuer: self.issuer.clone(),
            account: self.account.clone(),
            algorithm: self.algorithm.clone(),
            ..*self
        }
    }
}

impl Key {
    pub(super) fn bytes(&self) -> &[u8] {
        self.key.0.expose()
    }

    /// How codes are made of it.
    pub(super) fn parameters(&self) -> Parameters {
        let hash = match self.algorithm.as_str() {
            "SHA256" => Hash::Sha2_256,
            "SHA512" => Hash::Sha2_512,
            _ => Hash::Sha1,
        };
        Parameters { hash, digits: self.digits, period: self.period }
    }

    fn check(&self) -> Result<(), Refusal> {
        let refuse = |why: &str| Err(Refusal::invalid(why));
        if !matches!(self.digits, 6 | 8) {
            return refuse("the digits value can only be 6 or 8");
        }
        if !matches!(self.algorithm.as_str(), "SHA1" | "SHA256" | "SHA512") {
            return refuse("the algorithm value is not valid: use SHA1, SHA256 or SHA512");
        }
        if self.period == 0 {
            return refuse("the period value must be greater than zero");
        }
        if self.skew > 1 {
            return refuse("the skew value must be 0 or 1");
        }
        match self.bytes().len() {
            0 => refuse("the key value is required"),
            1..=LONGEST => Ok(()),
            _ => refuse("the key is too long: at most 128 bytes are of use"),
        }
    }

    fn take_address(&mut self, text: &str) -> Result<(), Refusal> {
        let bad = |why: &str| Refusal::invalid(format!("the url cannot be used: {why}"));
        let address = otpauth::read(text).map_err(bad)?;
        if !address.issuer.is_empty() {
            self.issuer = address.issuer;
        }
        if !address.account.is_empty() {
            self.account = address.account;
        }
        if let Some(algorithm) = address.algorithm {
            self.algorithm = algorithm;
        }
        if let Some(digits) = address.digits {
            self.digits = u32::try_from(digits).unwrap_or(0);
        }
        if let Some(period) = address.period {
            self.period = u64::try_from(period).unwrap_or(0);
        }
        self.key = secret(address.secret.expose())?;
        Ok(())
    }
}

fn secret(text: &str) -> Result<Hidden, Refusal> {
    let key = from_base32(text)
        .ok_or_else(|| Refusal::invalid("invalid key value: it is not base 32 (RFC 4648)"))?;
    Ok(Hidden(Secret::new(key)))
}

impl Named for Key {
    const DIRECTORY: &'static str = "key/";

    /// Names have case.
    fn fold(_: &mut Context<'_, '_>, name: &str) -> Result<String, Refusal> {
        Ok(name.to_owned())
    }

    /// Replaces the key whole: what is not sent is at its default again. A new key is made by [`write`].
    fn take(&mut self, sent: &Fields, _: Duration) -> Result<Vec<String>, Refusal> {
        let text = |name: &str| sent.string(name).map(|text| text.filter(|text| !text.is_empty()));
        *self = Key {
            issuer: text("issuer")?.unwrap_or_default(),
            account: text("account_name")?.unwrap_or_default(),
            ..Key::default()
        };
        if let Some(algorithm) = text("algorithm")? {
            self.algorithm = algorithm;
        }
        if let Some(digits) = sent.int("digits")? {
            self.digits = u32::try_from(digits).unwrap_or(0);
        }
        if let Some(skew) = sent.int("skew")? {
            self.skew = u64::try_from(skew).unwrap_or(u64::MAX);
        }
        if let Some(period) = sent.duration("period")? {
            self.period = period.as_secs();
        }
        if let Some(key) = text("key")? {
            self.key = secret(&key)?;
        }
        if let Some(address) = text("url")? {
            self.take_address(&address)?;
        }
        Ok(Vec::new())
    }

    fn describe(&self) -> Map<String, Value> {
        let fields = [
            ("account_name", json!(self.account)),
            ("algorithm", json!(self.algorithm)),
            ("digits", json!(self.digits)),
            ("issuer", json!(self.issuer)),
            ("period", json!(self.period)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut key = Key::default();
    let warnings = key.take(cx.fields(), cx.max_ttl())?;
    let generate = cx.fields().bool("generate")?.unwrap_or(false);
    if generate {
        generated(cx.fields(), cx.random(), &mut key)?;
    }
    key.check()?;
    let response = match generate && cx.fields().bool("exported")?.unwrap_or(true) {
        true => exported(cx.fields(), &key)?,
        false => Response::empty(),
    };
    named::put(cx, &key)?;
    code::forget(cx);
    Ok(Response { warnings, ..response })
}

fn generated(sent: &Fields, random: &dyn Random, key: &mut Key) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(why));
    for (name, why) in [
        ("key", "a key should not be passed if generate is true"),
        ("url", "a url should not be passed if generate is true"),
    ] {
        if sent.string(name)?.is_some_and(|text| !text.is_empty()) {
            return refuse(why);
        }
    }
    if key.account.is_empty() {
        return refuse("the account_name value is required for generated keys");
    }
    if key.issuer.is_empty() {
        return refuse("the issuer value is required for generated keys");
    }
    let size = usize::try_from(sent.int("key_size")?.unwrap_or(USUAL_SIZE)).unwrap_or(0);
    // RFC 4226, section 4, asks for 16.
    if !(16..=LONGEST).contains(&size) {
        return refuse("the key_size value must be from 16 to 128");
    }
    let mut bytes = vec![0; size];
    random.fill(&mut bytes);
    key.key = Hidden(Secret::new(bytes));
    Ok(())
}

/// What somebody puts into their application.
fn exported(sent: &Fields, key: &Key) -> Result<Response, Refusal> {
    let text = zeroize::Zeroizing::new(base32(key.bytes()));
    let address = otpauth::write(&key.issuer, &key.account, &text, &key.algorithm, key.digits, key.period);
    let size = sent.int("qr_size")?.unwrap_or(USUAL_PICTURE);
    if size == 0 {
        return Response::data(&json!({ "url": address.expose() }));
    }
    let size = u32::try_from(size)
        .map_err(|_| Refusal::invalid("the qr_size value must be greater than or equal to zero"))?;
    let picture = STANDARD.encode(barcode::png(address.expose(), size)?);
    Response::data(&json!({ "url": address.expose(), "barcode": picture }))
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    code::forget(cx);
    named::delete::<Key>(cx)
}
