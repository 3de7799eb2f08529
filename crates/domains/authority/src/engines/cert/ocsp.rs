//! Whether a certificate is revoked, as its OCSP servers say (RFC 6960): asked at logins and renewals by entries with
//! `ocsp_enabled`.
//!
//! An answer is kept, and counts, until it says that more will be known, at most half a day. Servers are asked by GET, one
//! after the other, until one knows.

use crate::context::Context;
use crate::fields::Fields;
use crate::outside::{Ask, Reply, Roots};
use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::x509::{CertStatus, Certificate, OcspWord, ocsp_request, pem};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// How old an answer may be at first; those that are over are asked for anew.
const KEPT: Duration = Duration::from_secs(12 * 3600);
/// How old an answer may be whose time is over, or that has none: a storm of logins asks once.
const FRESH: Duration = Duration::from_secs(5);
/// Servers that are asked about one certificate, so that a login asks for no more than it may.
const MOST_SERVERS: usize = 3;
/// Certificates that may sign answers beside the issuer's.
const MOST_SIGNERS: usize = 10;
/// By how much clocks may differ, in seconds.
const SKEW: u64 = 60;
const RETRIES: u8 = 4;

/// What an entry says of OCSP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    pub(super) enabled: bool,
    /// In PEM.
    authorities: String,
    servers: Vec<String>,
    fail_open: bool,
    query_all: bool,
    retries: u8,
    /// Seconds; any age when zero.
    max_age: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            enabled: false,
            authorities: String::new(),
            servers: Vec::new(),
            fail_open: false,
            query_all: false,
            retries: RETRIES,
            max_age: 0,
        }
    }
}

impl Settings {
    /// Takes over what was sent.
    pub(super) fn take(&mut self, sent: &Fields) -> Result<(), Refusal> {
        for (name, slot) in [
            ("ocsp_enabled", &mut self.enabled),
            ("ocsp_fail_open", &mut self.fail_open),
            ("ocsp_query_all_servers", &mut self.query_all),
        ] {
            *slot = sent.bool(name)?.unwrap_or(*slot);
        }
        if let Some(text) = sent.string("ocsp_ca_certificates")? {
            self.authorities = in_pem(&text)?;
            self.signers()?;
        }
        if let Some(servers) = sent.strings("ocsp_servers_override")? {
            let odd = servers.iter().find(|url| !is_url(url));
            if let Some(odd) = odd {
                return Err(Refusal::invalid(format!(
                    "ocsp_servers_override: {odd:?} is no http or https URL"
                )));
            }
            if servers.len() > MOST_SERVERS {
                return Err(Refusal::invalid(format!(
                    "ocsp_servers_override: at most {MOST_SERVERS} servers are asked at a login; leave the others out"
                )));
            }
            self.servers = servers;
        }
        if let Some(retries) = sent.int("ocsp_max_retries")? {
            let refused =
                |_| Refusal::invalid("ocsp_max_retries can not be a negative number, nor above 255");
            self.retries = u8::try_from(retries).map_err(refused)?;
        }
        if let Some(age) = sent.duration("ocsp_this_update_max_age")? {
            self.max_age = age.as_secs();
        }
        Ok(())
    }

    /// As it is read back.
    pub(super) fn describe(&self) -> [(&'static str, Value); 7] {
        [
            ("ocsp_enabled", json!(self.enabled)),
            ("ocsp_ca_certificates", json!(self.authorities)),
            ("ocsp_servers_override", json!(self.servers)),
            ("ocsp_fail_open", json!(self.fail_open)),
            ("ocsp_query_all_servers", json!(self.query_all)),
            ("ocsp_max_retries", json!(self.retries)),
            ("ocsp_this_update_max_age", json!(self.max_age)),
        ]
    }

    /// Who may sign answers beside the issuer.
    fn signers(&self) -> Result<Vec<Certificate>, Refusal> {
        let bad = |why: &str| Refusal::invalid(format!("failed to parse ocsp_ca_certificates: {why}"));
        if self.authorities.is_empty() {
            return Ok(Vec::new());
        }
        let blocks = pem::blocks(&self.authorities).ok_or_else(|| bad("the PEM is damaged"))?;
        let read = |block: &pem::Block| Certificate::read(&block.der).map_err(|why| bad(&why.to_string()));
        let signers = blocks.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        match signers.len() {
            1..=MOST_SIGNERS => Ok(signers),
            _ => Err(bad(&format!("it must have one to {MOST_SIGNERS} certificates"))),
        }
    }
}

/// PEM as it is, or in base64, as Vault takes it.
fn in_pem(text: &str) -> Result<String, Refusal> {
    if text.is_empty() || text.contains("-----BEGIN") {
        return Ok(text.to_owned());
    }
    let decoded = STANDARD.decode(text.split_whitespace().collect::<String>()).ok();
    decoded.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        Refusal::invalid("failed to parse ocsp_ca_certificates: write them in PEM, or that in base64")
    })
}

pub(super) fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) && !text.contains(char::is_whitespace)
}

/// What came of asking.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Not revoked, or nobody can tell and the entry lets that pass.
    Good,
    Revoked,
    /// Nobody can tell: why, for the operator.
    Untold(String),
}

/// Whether `certificate`, issued by `issuer`, is revoked.
pub(super) fn find(
    cx: &Context<'_, '_>,
    settings: &Settings,
    certificate: &Certificate,
    issuer: &Certificate,
) -> Result<Finding, Refusal> {
    let servers = match settings.servers.is_empty() {
        true => certificate.ocsp_servers().into_iter().filter(|url| is_url(url)).collect(),
        false => settings.servers.clone(),
    };
    let mut failures = Vec::new();
    let mut good = false;
    for server in servers.iter().take(MOST_SERVERS) {
        match ask(cx, settings, server, certificate, issuer)? {
            Ok(CertStatus::Revoked(_)) => return Ok(Finding::Revoked),
            Ok(CertStatus::Good) if !settings.query_all => return Ok(Finding::Good),
            Ok(CertStatus::Good) => good = true,
            Ok(CertStatus::Unknown) => failures.push(format!("{server} does not know the certificate")),
            Err(why) => failures.push(format!("{server}: {why}")),
        }
    }
    if servers.is_empty() {
        failures.push("the certificate names no OCSP server, and ocsp_servers_override is empty".to_owned());
    }
    // Where all are to be asked, one that cannot tell leaves it untold.
    let told = good && failures.is_empty();
    Ok(match told || settings.fail_open {
        true => Finding::Good,
        false => Finding::Untold(failures.join("; ")),
    })
}

/// What one server says, or why that does not count.
fn ask(
    cx: &Context<'_, '_>,
    settings: &Settings,
    server: &str,
    certificate: &Certificate,
    issuer: &Certificate,
) -> Result<Result<CertStatus, String>, Refusal> {
    let refused =
        |why: keyward_crypto::x509::Error| Refusal::invalid(format!("the client certificate: {why}"));
    let request = STANDARD.encode(ocsp_request(certificate, issuer).map_err(refused)?);
    let escaped = request.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let url = format!("{}/{escaped}", server.trim_end_matches('/'));
    let others = settings.signers()?;
    let get =
        |may_be_old| cx.ask(Ask { retries: settings.retries, ..Ask::get(&url, Roots::System, may_be_old) });
    let judged = |reply: &Reply, kept: bool| {
        let now = cx.now.secs();
        let word =
            OcspWord::read(&reply.body, certificate, issuer, &others, now).map_err(|why| why.to_string())?;
        if kept && word.next_update.is_none() {
            return Err("the answer was for the moment".to_owned());
        }
        in_time(settings, &word, now)
    };
    let status = |reply: &Reply| format!("it answers with HTTP status {}", reply.status);
    Ok(match get(KEPT)? {
        Err(why) => Err(why.clone()),
        Ok(reply) if reply.status != 200 => Err(status(reply)),
        Ok(reply) => match judged(reply, true) {
            Ok(told) => Ok(told),
            // It may be one that was kept, and another there by now.
            Err(_) => match get(FRESH)? {
                Err(why) => Err(why.clone()),
                Ok(reply) if reply.status != 200 => Err(status(reply)),
                Ok(reply) => judged(reply, false),
            },
        },
    })
}

/// What an answer says, if it counts at `now`.
fn in_time(settings: &Settings, word: &OcspWord, now: u64) -> Result<CertStatus, String> {
    if word.this_update > now.saturating_add(SKEW) {
        return Err("its answer is of a time to come: see whether the clocks agree".to_owned());
    }
    if word.next_update.is_some_and(|next| next.saturating_add(SKEW) < now) {
        return Err("the time of its answer is over".to_owned());
    }
    let (age, most) = (now.saturating_sub(word.this_update), settings.max_age);
    if most > 0 && age > most {
        return Err(format!("its answer is {age} s old, and ocsp_this_update_max_age allows {most} s"));
    }
    Ok(word.status)
}
