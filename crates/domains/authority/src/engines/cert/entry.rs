//! Entries: whom they trust, and what a certificate must say.

use super::super::named::{Issues, Named};
use super::super::token_params::{OLDER, TokenParams};
use super::ocsp;
use crate::fields::Fields;
use crate::glob;
use crate::refusal::Refusal;
use keyward_crypto::x509::{Certificate, San, attribute, oid, pem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Certificates of one entry.
const MOST_TRUSTED: usize = 20;

/// What a login is an identity by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AliasName {
    /// The subject's common name.
    #[default]
    CommonName,
    /// The SPIFFE ID of an X.509-SVID.
    SpiffeId,
}

/// One entry. Lists of patterns that are empty allow everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    /// In PEM, as it was sent.
    pub(super) certificate: String,
    pub(super) display_name: String,
    names: Vec<String>,
    common_names: Vec<String>,
    dns: Vec<String>,
    emails: Vec<String>,
    uris: Vec<String>,
    units: Vec<String>,
    required_extensions: Vec<String>,
    metadata_extensions: Vec<String>,
    pub(super) alias_name: AliasName,
    pub(super) ocsp: ocsp::Settings,
    pub(super) token: TokenParams,
}

/// An entry ready for use.
pub(super) struct Trust {
    pub(super) entry: Entry,
    /// At least one.
    pub(super) certificates: Vec<Certificate>,
}

impl Trust {
    pub(super) fn of(entry: Entry) -> Result<Trust, Refusal> {
        let bad = |why: &str| Refusal::invalid(format!("failed to parse certificate: {why}"));
        let blocks = pem::blocks(&entry.certificate).ok_or_else(|| bad("the PEM is damaged"))?;
        let ders = blocks
            .iter()
            .filter(|block| matches!(block.label.as_str(), "CERTIFICATE" | "TRUSTED CERTIFICATE"));
        let certificates: Vec<Certificate> = ders
            .map(|block| Certificate::read(&block.der).map_err(|why| bad(&why.to_string())))
            .collect::<Result<_, _>>()?;
        match certificates.len() {
            0 => Err(bad("there is no certificate in PEM in it")),
            1..=MOST_TRUSTED => Ok(Trust { entry, certificates }),
            _ => Err(bad(&format!("it has more than {MOST_TRUSTED} certificates: make several entries"))),
        }
    }

    /// The one certificate that this entry trusts as it is; none when it trusts authorities.
    pub(super) fn pinned(&self) -> Option<&Certificate> {
        self.certificates.first().filter(|first| !first.is_authority())
    }
}

/// What a certificate says of its bearer.
pub(super) struct Shown<'c> {
    pub(super) certificate: &'c Certificate,
    pub(super) common_name: String,
    sans: Vec<San>,
}

impl<'c> Shown<'c> {
    pub(super) fn of(certificate: &'c Certificate) -> Result<Shown<'c>, Refusal> {
        let sans = certificate.known_names();
        let sans = sans.map_err(|why| Refusal::invalid(format!("the client certificate: {why}")))?;
        Ok(Shown { certificate, common_name: certificate.subject().common_name(), sans })
    }

    fn dns(&self) -> impl Iterator<Item = &str> {
        self.sans.iter().filter_map(|san| if let San::Dns(name) = san { Some(name.as_str()) } else { None })
    }

    fn emails(&self) -> impl Iterator<Item = &str> {
        self.sans.iter().filter_map(|san| if let San::Email(name) = san { Some(name.as_str()) } else { None })
    }

    fn uris(&self) -> impl Iterator<Item = &str> {
        self.sans.iter().filter_map(|san| if let San::Uri(name) = san { Some(name.as_str()) } else { None })
    }

    /// The SPIFFE ID, where the certificate has exactly one URI and that is one (X509-SVID, section 2).
    pub(super) fn spiffe_id(&self) -> Option<&str> {
        let mut uris = self.uris();
        let id = uris.next().filter(|uri| uri.starts_with("spiffe://"))?;
        uris.next().is_none().then_some(id)
    }

    fn extension(&self, oid: &str) -> Option<String> {
        self.certificate.extensions().iter().find(|extension| extension.is(oid))?.text()
    }
}

fn any<'t>(patterns: &[String], texts: impl Iterator<Item = &'t str>) -> bool {
    let mut texts = texts;
    patterns.is_empty() || texts.any(|text| patterns.iter().any(|pattern| glob::matches(pattern, text)))
}

impl Entry {
    /// Whether `shown` says what the entry wants; else what it does not, for the operator.
    pub(super) fn allows(&self, shown: &Shown<'_>) -> Result<(), &'static str> {
        let common_name = || std::iter::once(shown.common_name.as_str());
        let units = shown.certificate.subject().values(attribute::ORGANIZATIONAL_UNIT);
        let has = |required: &String| {
            required.split_once(':').is_some_and(|(oid, pattern)| {
                shown.extension(oid).is_some_and(|text| glob::matches(pattern, &text))
            })
        };
        for (fits, why) in [
            (any(&self.names, common_name().chain(shown.dns()).chain(shown.emails())), "allowed_names"),
            (any(&self.common_names, common_name()), "allowed_common_names"),
            (any(&self.dns, shown.dns()), "allowed_dns_sans"),
            (any(&self.emails, shown.emails()), "allowed_email_sans"),
            (any(&self.uris, shown.uris()), "allowed_uri_sans"),
            (any(&self.units, units.iter().map(String::as_str)), "allowed_organizational_units"),
            (self.required_extensions.iter().all(has), "required_extensions"),
            (
                self.alias_name != AliasName::SpiffeId || shown.spiffe_id().is_some(),
                "alias_name_source=spiffe_id: it has not exactly one URI that is a SPIFFE ID",
            ),
        ] {
            if !fits {
                return Err(why);
            }
        }
        Ok(())
    }

    /// The texts of extensions that become metadata, under OIDs with dashes: policies' templates know no dots.
    pub(super) fn metadata(&self, shown: &Shown<'_>) -> BTreeMap<String, String> {
        let text = |oid: &String| Some((oid.replace('.', "-"), shown.extension(oid)?));
        self.metadata_extensions.iter().filter_map(text).collect()
    }

    fn check(self) -> Result<Entry, Refusal> {
        for required in &self.required_extensions {
            if !required.split_once(':').is_some_and(|(oid, _)| is_oid(oid)) {
                return Err(Refusal::invalid(format!(
                    "required_extensions: {required:?} is not of the form OID:PATTERN"
                )));
            }
        }
        if let Some(odd) = self.metadata_extensions.iter().find(|oid| !is_oid(oid)) {
            return Err(Refusal::invalid(format!("allowed_metadata_extensions: {odd:?} is not an OID")));
        }
        let trust = Trust::of(self)?;
        if let Some(pinned) = trust.pinned() {
            if trust.entry.ocsp.enabled {
                return Err(Refusal::invalid(
                    "ocsp_enabled needs an entry that trusts authorities: of a certificate that is trusted alone, no issuer \
                     is known whose OCSP servers could be believed; delete the entry when it is revoked",
                ));
            }
            let good = |oid: &String| oid == oid::CLIENT_AUTH || oid == oid::ANY_PURPOSE;
            if !pinned.ext_key_usages().is_some_and(|usages| usages.iter().any(good)) {
                return Err(Refusal::invalid(
                    "nonCA certificates should have TLS client authentication set as an extended key usage",
                ));
            }
            if trust.certificates.len() > 1 {
                return Err(Refusal::invalid(
                    "the first certificate is no authority's: an entry trusts authorities, or one certificate alone",
                ));
            }
        }
        Ok(trust.entry)
    }
}

fn is_oid(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(|part| part.parse::<u64>().is_ok())
}

impl Named for Entry {
    const DIRECTORY: &'static str = "cert/";

    fn take(&mut self, sent: &Fields, max_ttl: Duration) -> Result<Vec<String>, Refusal> {
        self.ocsp.take(sent)?;
        let mut warnings = self.token.read(sent, OLDER)?;
        for (name, text) in [("certificate", &mut self.certificate), ("display_name", &mut self.display_name)]
        {
            if let Some(value) = sent.string(name)? {
                *text = value;
            }
        }
        for (name, list) in [
            ("allowed_names", &mut self.names),
            ("allowed_common_names", &mut self.common_names),
            ("allowed_dns_sans", &mut self.dns),
            ("allowed_email_sans", &mut self.emails),
            ("allowed_uri_sans", &mut self.uris),
            ("allowed_organizational_units", &mut self.units),
            ("required_extensions", &mut self.required_extensions),
            ("allowed_metadata_extensions", &mut self.metadata_extensions),
        ] {
            if let Some(values) = sent.strings(name)? {
                *list = values;
            }
        }
        if let Some(source) = sent.string("alias_name_source")? {
            self.alias_name = match source.as_str() {
                "" | "common_name" => AliasName::CommonName,
                "spiffe_id" => AliasName::SpiffeId,
                _ => return Err(Refusal::invalid("alias_name_source must be common_name or spiffe_id")),
            };
        }
        warnings.extend(self.token.check_limits(max_ttl)?);
        *self = std::mem::take(self).check()?;
        Ok(warnings)
    }

    fn describe(&self) -> Map<String, Value> {
        let mut shown = self.token.describe(OLDER);
        for (name, value) in [
            ("certificate", json!(self.certificate)),
            ("display_name", json!(self.display_name)),
            ("allowed_names", json!(self.names)),
            ("allowed_common_names", json!(self.common_names)),
            ("allowed_dns_sans", json!(self.dns)),
            ("allowed_email_sans", json!(self.emails)),
            ("allowed_uri_sans", json!(self.uris)),
            ("allowed_organizational_units", json!(self.units)),
            ("required_extensions", json!(self.required_extensions)),
            ("allowed_metadata_extensions", json!(self.metadata_extensions)),
            ("alias_name_source", json!(self.alias_name)),
        ]
        .into_iter()
        .chain(self.ocsp.describe())
        {
            shown.insert(name.to_owned(), value);
        }
        shown
    }
}

impl Issues for Entry {
    fn token(&self) -> &TokenParams {
        &self.token
    }
}
