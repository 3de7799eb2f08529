//! Roles.

use super::super::named::Named;
use super::super::token_params::seconds;
use super::otp::Passwords;
use crate::context::Context;
use crate::fields::Fields;
use crate::refusal::Refusal;
use keyward_crypto::keys::Hash;
use keyward_crypto::ssh::{Kind, PublicKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

// house: the fields are those of the role as clients write it, and are read back one by one.
/// One role. Texts that are lists have commas between, as they were sent. Times are in seconds; zero is "not set".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    /// For one-time passwords and not for certificates; nothing of the rest counts then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) passwords: Option<Passwords>,
    pub(super) users: bool,
    pub(super) hosts: bool,
    pub(super) allowed_users: String,
    pub(super) allowed_users_template: bool,
    pub(super) default_user: String,
    pub(super) default_user_template: bool,
    pub(super) allowed_domains: String,
    pub(super) allowed_domains_template: bool,
    pub(super) bare_domains: bool,
    pub(super) subdomains: bool,
    pub(super) empty_principals: bool,
    pub(super) allowed_critical_options: String,
    pub(super) default_critical_options: BTreeMap<String, String>,
    pub(super) allowed_extensions: String,
    pub(super) default_extensions: BTreeMap<String, String>,
    pub(super) default_extensions_template: bool,
    pub(super) user_key_ids: bool,
    pub(super) key_id_format: String,
    key_lengths: BTreeMap<String, Vec<u64>>,
    algorithm: String,
    pub(super) not_before: u64,
    pub(super) ttl: u64,
    pub(super) max_ttl: u64,
}

/// The algorithm that follows the key.
const USUAL: &str = "default";

impl Role {
    /// What it is for.
    pub(super) fn key_type(&self) -> &'static str {
        if self.passwords.is_some() { "otp" } else { "ca" }
    }

    /// What RSA keys sign with.
    pub(super) fn hash(&self) -> Hash {
        if self.algorithm == "rsa-sha2-512" { Hash::Sha2_512 } else { Hash::Sha2_256 }
    }

    /// Whether keys like this one are signed.
    pub(super) fn accepts(&self, key: &PublicKey) -> Result<(), String> {
        if self.key_lengths.is_empty() {
            return Ok(());
        }
        let algorithm = key.algorithm();
        let (names, bits): (&[&str], u64) = match key.kind() {
            Kind::Rsa(bits) => (&["rsa"], bits as u64),
            Kind::Ecdsa(bits) => (&["ecdsa", "ec"], bits as u64),
            Kind::Ed25519 => (&["ed25519"], 0),
            Kind::Token => (&[], 0),
        };
        // The names of OpenSSH fix the size of all keys but RSA's.
        let by_name = |(name, sizes): (&String, &Vec<u64>)| match key.kind() {
            Kind::Ed25519 | Kind::Token => Some(*name == algorithm || names.contains(&name.as_str())),
            Kind::Ecdsa(_) if *name == algorithm => Some(true),
            Kind::Rsa(_) if *name == algorithm => Some(sizes.contains(&bits)),
            _ => names.contains(&name.as_str()).then(|| sizes.contains(&bits)),
        };
        let verdicts: Vec<bool> = self.key_lengths.iter().filter_map(by_name).collect();
        match (verdicts.contains(&true), verdicts.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => Err(format!("key of type {algorithm} is not allowed")),
            (false, false) => Err(format!("key is of an invalid size: {bits}")),
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        if !self.users && !self.hosts {
            return Err(Refusal::invalid(
                "Either 'allow_user_certificates' or 'allow_host_certificates' must be set to 'true'",
            ));
        }
        if self.ttl > 0 && self.max_ttl > 0 && self.ttl > self.max_ttl {
            return Err(Refusal::invalid(
                "\"ttl\" value must be less than \"max_ttl\" when both are specified",
            ));
        }
        match self.algorithm.as_str() {
            USUAL | "rsa-sha2-256" | "rsa-sha2-512" => Ok(()),
            "ssh-rsa" => Err(Refusal::invalid(
                "algorithm_signer ssh-rsa signs with SHA-1, which OpenSSH does not accept since 8.8: use rsa-sha2-256",
            )),
            other => Err(Refusal::invalid(format!("unknown algorithm signer {other:?}"))),
        }
    }
}

/// Types of keys, and a number of bits or several for each.
fn key_lengths(sent: &Fields) -> Result<BTreeMap<String, Vec<u64>>, Refusal> {
    let bad = || Refusal::invalid("allowed_user_key_lengths must be an object of key types and their bits");
    let object = match sent.value("allowed_user_key_lengths")? {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(object)) => object,
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(BTreeMap::new()),
        Some(Value::String(text)) => serde_json::from_str(&text).map_err(|_| bad())?,
        Some(_) => return Err(bad()),
    };
    let number = |text: &str| text.trim().parse().map_err(|_| bad());
    let one = |value: &Value| match value {
        Value::String(text) => number(text),
        value => value.as_u64().ok_or_else(bad),
    };
    let sizes = |value: &Value| match value {
        Value::Array(several) => several.iter().map(one).collect(),
        Value::String(several) => several.split(',').map(number).collect(),
        value => one(value).map(|one| vec![one]),
    };
    object.iter().map(|(name, value)| Ok((name.clone(), sizes(value)?))).collect()
}

/// A text that is a list, as it was sent: clients compare it with what is read back.
pub(super) fn listing(sent: &Fields, name: &str) -> Result<String, Refusal> {
    match sent.value(name)? {
        Some(Value::Array(_)) => Ok(sent.strings(name)?.unwrap_or_default().join(",")),
        _ => Ok(sent.string(name)?.unwrap_or_default()),
    }
}

impl Named for Role {
    const DIRECTORY: &'static str = "role/";
    const PARAM: &'static str = "role";

    /// Names have case.
    fn fold(_: &mut Context<'_, '_>, name: &str) -> Result<String, Refusal> {
        Ok(name.to_owned())
    }

    /// Replaces the role whole: what is not sent is at its default again.
    fn take(&mut self, sent: &Fields, _: Duration) -> Result<Vec<String>, Refusal> {
        match sent.string("key_type")?.unwrap_or_default().to_lowercase().as_str() {
            "ca" => {}
            "" => return Err(Refusal::invalid("missing key type: set key_type=ca or key_type=otp")),
            "otp" => {
                *self = Role { passwords: Some(Passwords::read(sent)?), ..Role::default() };
                return Ok(Vec::new());
            }
            _ => return Err(Refusal::invalid("invalid key type: set key_type=ca or key_type=otp")),
        }
        let text = |name: &str| sent.string(name).map(Option::unwrap_or_default);
        let flag = |name: &str| sent.bool(name).map(Option::unwrap_or_default);
        let pairs = |name: &str| sent.pairs(name).map(Option::unwrap_or_default);
        *self = Role {
            passwords: None,
            users: flag("allow_user_certificates")?,
            hosts: flag("allow_host_certificates")?,
            allowed_users: listing(sent, "allowed_users")?,
            allowed_users_template: flag("allowed_users_template")?,
            default_user: text("default_user")?,
            default_user_template: flag("default_user_template")?,
            allowed_domains: listing(sent, "allowed_domains")?,
            allowed_domains_template: flag("allowed_domains_template")?,
            bare_domains: flag("allow_bare_domains")?,
            subdomains: flag("allow_subdomains")?,
            empty_principals: flag("allow_empty_principals")?,
            allowed_critical_options: listing(sent, "allowed_critical_options")?,
            default_critical_options: pairs("default_critical_options")?,
            allowed_extensions: listing(sent, "allowed_extensions")?,
            default_extensions: pairs("default_extensions")?,
            default_extensions_template: flag("default_extensions_template")?,
            user_key_ids: flag("allow_user_key_ids")?,
            key_id_format: text("key_id_format")?,
            key_lengths: key_lengths(sent)?,
            algorithm: match text("algorithm_signer")? {
                none if none.is_empty() => USUAL.to_owned(),
                named => named,
            },
            not_before: seconds(sent, "not_before_duration")?.unwrap_or(30),
            ttl: seconds(sent, "ttl")?.unwrap_or(0),
            max_ttl: seconds(sent, "max_ttl")?.unwrap_or(0),
        };
        self.check()?;
        Ok(Vec::new())
    }

    fn describe(&self) -> Map<String, Value> {
        if let Some(passwords) = &self.passwords {
            return passwords.describe();
        }
        let fields = [
            ("key_type", json!("ca")),
            ("allow_user_certificates", json!(self.users)),
            ("allow_host_certificates", json!(self.hosts)),
            ("allowed_users", json!(self.allowed_users)),
            ("allowed_users_template", json!(self.allowed_users_template)),
            ("default_user", json!(self.default_user)),
            ("default_user_template", json!(self.default_user_template)),
            ("allowed_domains", json!(self.allowed_domains)),
            ("allowed_domains_template", json!(self.allowed_domains_template)),
            ("allow_bare_domains", json!(self.bare_domains)),
            ("allow_subdomains", json!(self.subdomains)),
            ("allow_empty_principals", json!(self.empty_principals)),
            ("allowed_critical_options", json!(self.allowed_critical_options)),
            ("default_critical_options", json!(self.default_critical_options)),
            ("allowed_extensions", json!(self.allowed_extensions)),
            ("default_extensions", json!(self.default_extensions)),
            ("default_extensions_template", json!(self.default_extensions_template)),
            ("allow_user_key_ids", json!(self.user_key_ids)),
            ("key_id_format", json!(self.key_id_format)),
            ("allowed_user_key_lengths", json!(self.key_lengths)),
            ("algorithm_signer", json!(self.algorithm)),
            ("not_before_duration", json!(self.not_before)),
            ("ttl", json!(self.ttl)),
            ("max_ttl", json!(self.max_ttl)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
