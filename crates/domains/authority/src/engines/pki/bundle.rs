//! Certificates as they are answered: PEM, DER in base64, or everything in one PEM.

use crate::fields::Fields;
use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::keys::Key;
use keyward_crypto::x509::{Certificate, PublicKind, pem};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;

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

/// An issuer and those above it as the answers to its requests have them, written once.
#[derive(Clone)]
pub(super) struct Written {
    issuer: Box<RawValue>,
    /// None for an empty chain.
    chain: Option<Box<RawValue>>,
}

impl Written {
    /// In PEM; `chain` is the issuer and those above it.
    pub(super) fn of(issuer: &Certificate, chain: &[Certificate]) -> Result<Written, Refusal> {
        Written::texts(&issuer.pem(), &chain.iter().map(Certificate::pem).collect::<Vec<_>>())
    }

    fn texts(issuer: &str, chain: &[String]) -> Result<Written, Refusal> {
        let unwritten = |why| Refusal::Internal(format!("an answer could not be written: {why}"));
        let chain = (!chain.is_empty()).then(|| to_raw_value(chain)).transpose().map_err(unwritten)?;
        Ok(Written { issuer: to_raw_value(issuer).map_err(unwritten)?, chain })
    }
}

/// A new certificate with what stands above it.
pub(super) struct Bundle<'a> {
    pub(super) certificate: &'a Certificate,
    /// Who signed.
    pub(super) issuer: &'a Certificate,
    /// The signer and those above it.
    pub(super) chain: &'a [Certificate],
    /// The same two, where they have been written.
    pub(super) written: Option<&'a Written>,
    /// The key, when it was made here.
    pub(super) key: Option<&'a Key>,
}

/// What is answered, its fields in the order of their names.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_chain: Option<Cow<'a, RawValue>>,
    certificate: String,
    expiration: u64,
    issuing_ca: Cow<'a, RawValue>,
    not_before: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key_type: Option<&'static str>,
    serial_number: String,
}

impl<'a> Bundle<'a> {
    /// The answer's fields.
    pub(super) fn describe(&self, format: Format, fields: &Fields) -> Result<Answer<'a>, Refusal> {
        let without_roots = fields.bool("remove_roots_from_chain")?.unwrap_or(false);
        let private = self.key.map(|key| private_key(key, self.certificate.public().kind(), format, fields));
        let (private_key, private_key_type) = private.transpose()?.unzip();
        let mut certificate = format.write(pem::CERTIFICATE, self.certificate.der());
        let (issuing_ca, ca_chain) = match self.written {
            Some(known) if format == Format::Pem && !without_roots => {
                (Cow::Borrowed(&*known.issuer), known.chain.as_deref().map(Cow::Borrowed))
            }
            _ => {
                let write = |above: &Certificate| format.write(pem::CERTIFICATE, above.der());
                let chain =
                    self.chain.iter().filter(|above| !without_roots || above.subject() != above.issuer());
                let chain: Vec<String> = chain.map(write).collect();
                if format == Format::PemBundle {
                    let all = private_key.iter().chain([&certificate]).chain(&chain);
                    certificate = all.map(String::as_str).collect::<Vec<_>>().join("\n");
                }
                let written = Written::texts(&write(self.issuer), &chain)?;
                (Cow::Owned(written.issuer), written.chain.map(Cow::Owned))
            }
        };
        Ok(Answer {
            ca_chain,
            certificate,
            expiration: self.certificate.not_after(),
            issuing_ca,
            not_before: self.certificate.not_before(),
            private_key,
            private_key_type,
            serial_number: super::colons(self.certificate.serial()),
        })
    }
}
