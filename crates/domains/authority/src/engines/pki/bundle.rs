//! Certificates as they are answered: PEM, DER in base64, or everything in one PEM.

use crate::fields::Fields;
use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::keys::Key;
use keyward_crypto::x509::{Certificate, PublicKind, pem};
use serde_json::{Map, Value, json};

/// How certificates and keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Pem,
    Der,
    PemBundle,
}

impl Format {
    pub(super) fn of(fields: &Fields) -> Result<Format, Refusal> {
        match fields.string("format")?.as_deref() {
            None | Some("" | "pem") => Ok(Format::Pem),
            Some("der") => Ok(Format::Der),
            Some("pem_bundle") => Ok(Format::PemBundle),
            Some(_) => Err(Refusal::invalid(
                "the \"format\" path parameter must be \"pem\", \"der\", or \"pem_bundle\"",
            )),
        }
    }

    /// A certificate or another block.
    pub(super) fn write(self, label: &str, der: &[u8]) -> String {
        match self {
            Format::Der => STANDARD.encode(der),
            Format::Pem | Format::PemBundle => pem::encode(label, der),
        }
    }
}

/// A private key in the format asked for, and the name of its type.
pub(super) fn private_key(
    key: &Key,
    kind: PublicKind,
    format: Format,
    fields: &Fields,
) -> Result<(String, &'static str), Refusal> {
    let pkcs8 = match fields.string("private_key_format")?.as_deref() {
        None | Some("" | "der" | "pem") => false,
        Some("pkcs8") => true,
        Some(_) => return Err(Refusal::invalid("private_key_format must be \"der\", \"pem\" or \"pkcs8\"")),
    };
    let text = match key {
        Key::Rsa(key) if !pkcs8 => key.pkcs1_pem(),
        Key::Ecdsa(key) if !pkcs8 => key.sec1_pem(),
        key => key.private_pem(),
    };
    let text = text.ok_or_else(|| Refusal::Internal("a key without its private part".to_owned()))?;
    let text = text.expose().trim_end();
    let written = match format {
        Format::Der => {
            let block = pem::blocks(text).and_then(|mut blocks| blocks.pop());
            STANDARD.encode(&*block.ok_or_else(|| Refusal::Internal("a key that is no PEM".to_owned()))?.der)
        }
        Format::Pem | Format::PemBundle => text.to_owned(),
    };
    Ok((written, kind.name()))
}

/// A new certificate with what stands above it.
pub(super) struct Bundle<'a> {
    pub(super) certificate: &'a Certificate,
    /// Who signed.
    pub(super) issuer: &'a Certificate,
    /// The signer and those above it.
    pub(super) chain: &'a [Certificate],
    /// The key, when it was made here.
    pub(super) key: Option<&'a Key>,
}

impl Bundle<'_> {
    /// The answer's fields.
    pub(super) fn describe(&self, format: Format, fields: &Fields) -> Result<Map<String, Value>, Refusal> {
        let write = |certificate: &Certificate| match format {
            Format::Der => format.write(pem::CERTIFICATE, certificate.der()),
            Format::Pem | Format::PemBundle => certificate.pem(),
        };
        let without_roots = fields.bool("remove_roots_from_chain")?.unwrap_or(false);
        let chain = self.chain.iter().filter(|above| !without_roots || above.subject() != above.issuer());
        let chain: Vec<String> = chain.map(write).collect();
        let certificate = write(self.certificate);
        let mut shown = Map::new();
        let mut set = |name: &str, value: Value| shown.insert(name.to_owned(), value);
        set("serial_number", json!(super::colons(self.certificate.serial())));
        set("not_before", json!(self.certificate.not_before()));
        set("expiration", json!(self.certificate.not_after()));
        set("issuing_ca", json!(write(self.issuer)));
        let private = self.key.map(|key| private_key(key, self.certificate.public().kind(), format, fields));
        let private = private.transpose()?;
        let whole = match format {
            Format::PemBundle => {
                let key = private.iter().map(|(private, _)| private);
                key.chain([&certificate]).chain(&chain).map(String::as_str).collect::<Vec<_>>().join("\n")
            }
            Format::Pem | Format::Der => certificate,
        };
        set("certificate", json!(whole));
        if let Some((private, kind)) = private {
            set("private_key", json!(private));
            set("private_key_type", json!(kind));
        }
        if !chain.is_empty() {
            set("ca_chain", json!(chain));
        }
        Ok(shown)
    }
}
