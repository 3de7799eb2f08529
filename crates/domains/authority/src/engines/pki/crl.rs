//! `crl`: revocation lists, complete and of changes.
//!
//! Revocations are numbered in the order they come, sixty-four to an entry, apart for each name and key that an
//! issuer has. An edition of a list says up to which of them it shows. The list itself is made of these and signed
//! when it is fetched, once for each edition and node.

use super::table::{self, DEFAULT, Issuer, Table};
use super::{HEAVY, OPEN};
use crate::context::Context;
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Handler, Kind, Route, Traits, field};
use crate::txn::Txn;
use keyward_core::parse_duration;
use keyward_crypto::x509::{Certificate, RevocationList, RevokedEntry, pem};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Where the revocations of all groups stand.
pub(super) const GROUPS: &str = "crl/";
const AN_ENTRY: u64 = 64;
const CRL_TYPE: &str = "application/pkix-crl";
const PEM_TYPE: &str = "application/x-pem-file";

pub(super) const CONFIG_FIELDS: &[Field] = &[
    field("expiry", Kind::Duration, "How long a list holds; 72h unless set."),
    field("disable", Kind::Bool, "Show empty lists."),
    field("ocsp_disable", Kind::Bool, "Answer no OCSP requests."),
    field("ocsp_expiry", Kind::Duration, "How long an OCSP answer holds; 12h unless set."),
    field("auto_rebuild", Kind::Bool, "Make a new list by time, not at each revocation."),
    field("auto_rebuild_grace_period", Kind::Duration, "How long before a list ends the next is made; 12h."),
    field("enable_delta", Kind::Bool, "Make lists of changes between complete ones."),
    field("delta_rebuild_interval", Kind::Duration, "How often a list of changes is made anew; 15m."),
    field(
        "cross_cluster_revocation",
        Kind::Bool,
        "Kept as it is written: every node revokes for all; see unified_crl.",
    ),
    field(
        "unified_crl",
        Kind::Bool,
        "Kept as it is written: nodes share one store, so every list is of all of them.",
    ),
    field("unified_crl_on_existing_paths", Kind::Bool, "Kept as it is written; needs unified_crl."),
];

/// `config/crl`. Durations are kept as they were written, since clients read them back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CrlConfig {
    expiry: String,
    disable: bool,
    pub(super) ocsp_disable: bool,
    ocsp_expiry: String,
    pub(super) auto_rebuild: bool,
    auto_rebuild_grace_period: String,
    enable_delta: bool,
    delta_rebuild_interval: String,
    #[serde(default)]
    cross_cluster_revocation: bool,
    #[serde(default)]
    unified_crl: bool,
    #[serde(default)]
    unified_crl_on_existing_paths: bool,
}

impl Default for CrlConfig {
    fn default() -> CrlConfig {
        CrlConfig {
            expiry: "72h".to_owned(),
            disable: false,
            ocsp_disable: false,
            ocsp_expiry: "12h".to_owned(),
            auto_rebuild: false,
            auto_rebuild_grace_period: "12h".to_owned(),
            enable_delta: false,
            delta_rebuild_interval: "15m".to_owned(),
            cross_cluster_revocation: false,
            unified_crl: false,
            unified_crl_on_existing_paths: false,
        }
    }
}

fn seconds(text: &str) -> u64 {
    parse_duration(text).unwrap_or(Duration::ZERO).as_secs()
}

impl CrlConfig {
    /// Seconds an OCSP answer holds.
    pub(super) fn ocsp_seconds(&self) -> u64 {
        seconds(&self.ocsp_expiry)
    }

    /// This, changed by what a request says, and checked.
    pub(super) fn changed(&self, fields: &Fields) -> Result<CrlConfig, Refusal> {
        let mut new = self.clone();
        for (name, slot) in [
            ("expiry", &mut new.expiry),
            ("ocsp_expiry", &mut new.ocsp_expiry),
            ("auto_rebuild_grace_period", &mut new.auto_rebuild_grace_period),
            ("delta_rebuild_interval", &mut new.delta_rebuild_interval),
        ] {
            if let Some(text) = fields.string(name)? {
                fields.duration(name)?;
                *slot = text;
            }
        }
        for (name, slot) in [
            ("disable", &mut new.disable),
            ("ocsp_disable", &mut new.ocsp_disable),
            ("auto_rebuild", &mut new.auto_rebuild),
            ("enable_delta", &mut new.enable_delta),
            ("cross_cluster_revocation", &mut new.cross_cluster_revocation),
            ("unified_crl", &mut new.unified_crl),
            ("unified_crl_on_existing_paths", &mut new.unified_crl_on_existing_paths),
        ] {
            *slot = fields.bool(name)?.unwrap_or(*slot);
        }
        new.check()?;
        Ok(new)
    }

    fn check(&self) -> Result<(), Refusal> {
        let expiry = seconds(&self.expiry);
        let refuse = |why: String| Err(Refusal::invalid(why));
        if expiry == 0 {
            return refuse("expiry must be at least one second".to_owned());
        }
        if self.auto_rebuild && seconds(&self.auto_rebuild_grace_period) >= expiry {
            return refuse(format!(
                "CRL auto-rebuilding grace period ({}) must be strictly shorter than CRL expiry ({}) value when \
                 auto-rebuilding of CRLs is enabled",
                self.auto_rebuild_grace_period, self.expiry
            ));
        }
        if self.enable_delta && seconds(&self.delta_rebuild_interval) >= expiry {
            return refuse(format!(
                "CRL delta rebuild window ({}) must be strictly shorter than CRL expiry ({}) value when delta CRLs are \
                 enabled",
                self.delta_rebuild_interval, self.expiry
            ));
        }
        if self.unified_crl_on_existing_paths && !self.unified_crl {
            return refuse(
                "unified_crl_on_existing_paths=true requires unified_crl=true: set both".to_owned(),
            );
        }
        if self.enable_delta && !self.auto_rebuild {
            return refuse(
                "Delta CRLs cannot be enabled when auto rebuilding is disabled as the complete CRL is always \
                 regenerated!"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Whether lists made under `old` must be made anew under this.
    pub(super) fn asks_for_new_lists(&self, old: &CrlConfig) -> bool {
        old.disable != self.disable
            || (old.auto_rebuild && !self.auto_rebuild)
            || old.enable_delta != self.enable_delta
    }
}

pub(super) const fn serves(
    pattern: &'static str,
    operations: &'static [(Operation, Handler)],
    traits: Traits,
    help: &'static str,
) -> Route {
    Route { pattern, operations, exists: None, fields: &[], traits, help }
}

pub(super) const SHOWS: Traits = Traits { heavy: true, ..OPEN };
pub(super) const DER: &[(Operation, Handler)] = &[(Operation::Read, complete_der)];
pub(super) const PEM: &[(Operation, Handler)] = &[(Operation::Read, complete_pem)];
pub(super) const DELTA_DER: &[(Operation, Handler)] = &[(Operation::Read, delta_der)];
pub(super) const DELTA_PEM: &[(Operation, Handler)] = &[(Operation::Read, delta_pem)];
pub(super) const HELP: &str = "Shows the revocation list.";
pub(super) const DELTA_HELP: &str = "Shows what was revoked since the last complete list.";
const ROTATE: &[(Operation, Handler)] = &[(Operation::Read, rotate), (Operation::Update, rotate)];
const ROTATE_DELTA: &[(Operation, Handler)] =
    &[(Operation::Read, rotate_delta), (Operation::Update, rotate_delta)];

pub(super) const ROUTES: &[Route] = &[
    serves("crl", DER, SHOWS, HELP),
    serves("crl/pem", PEM, SHOWS, HELP),
    serves("crl/delta", DELTA_DER, SHOWS, DELTA_HELP),
    serves("crl/delta/pem", DELTA_PEM, SHOWS, DELTA_HELP),
    serves("crl/rotate", ROTATE, HEAVY, "Makes new complete lists of all issuers."),
    serves("crl/rotate-delta", ROTATE_DELTA, HEAVY, "Makes new lists of changes of all issuers."),
    serves("issuer/{issuer_ref}/crl", DER, SHOWS, HELP),
    serves("issuer/{issuer_ref}/crl/der", DER, SHOWS, HELP),
    serves("issuer/{issuer_ref}/crl/pem", PEM, SHOWS, HELP),
    serves("issuer/{issuer_ref}/crl/delta", DELTA_DER, SHOWS, DELTA_HELP),
    serves("issuer/{issuer_ref}/crl/delta/der", DELTA_DER, SHOWS, DELTA_HELP),
    serves("issuer/{issuer_ref}/crl/delta/pem", DELTA_PEM, SHOWS, DELTA_HELP),
];

/// One revocation, as it is stored.
#[derive(Serialize, Deserialize)]
struct Record {
    /// The how-manieth of its group, from 1.
    number: u64,
    /// In hexadecimal.
    serial: String,
    /// When it was revoked, in seconds since 1970.
    at: u64,
    /// When the certificate ends, in seconds since 1970.
    until: u64,
}

/// Up to which revocation a list shows, and when it was made.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Edition {
    number: u64,
    this_update: u64,
    next_update: u64,
    up_to: u64,
}

/// What the lists of a group show.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Shown {
    /// The last CRL number given.
    number: u64,
    complete: Edition,
    delta: Option<Edition>,
    /// Something was removed from the revocations: the next list is a new one.
    stale: bool,
}

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Complete,
    Delta,
}

fn shown_key(prefix: &str, group: &str) -> String {
    format!("{prefix}{GROUPS}{group}/shown")
}

fn count_key(prefix: &str, group: &str) -> String {
    format!("{prefix}{GROUPS}{group}/count")
}

/// Where a group's revocations stand.
pub(super) fn records(prefix: &str, group: &str) -> String {
    format!("{prefix}{GROUPS}{group}/list/")
}

fn record_key(prefix: &str, group: &str, number: u64) -> String {
    format!("{}{:08x}", records(prefix, group), number / AN_ENTRY)
}

/// Adds the revocation of `certificate` to the group's, and to its list at once unless lists are made by time.
pub(super) fn record(
    txn: &mut Txn<'_>,
    prefix: &str,
    config: &CrlConfig,
    group: &str,
    certificate: &Certificate,
    now: u64,
) -> Result<(), Refusal> {
    let count = count_key(prefix, group);
    let number = txn.get_json::<u64>(&count)?.unwrap_or(0) + 1;
    txn.put_json(&count, &number)?;
    let key = record_key(prefix, group, number);
    let mut records: Vec<Record> = txn.get_json(&key)?.unwrap_or_default();
    let serial = hex::encode(certificate.serial());
    records.push(Record { number, serial, at: now, until: certificate.not_after() });
    txn.put_json(&key, &records)?;
    if !config.auto_rebuild {
        renew(txn, prefix, group, config, now, Renewal::Complete)?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Renewal {
    /// Whatever time asks for.
    Due,
    Complete,
    Delta,
}

/// The editions to show at `now`, made anew where it is time.
fn renew(
    txn: &mut Txn<'_>,
    prefix: &str,
    group: &str,
    config: &CrlConfig,
    now: u64,
    renewal: Renewal,
) -> Result<Shown, Refusal> {
    let key = shown_key(prefix, group);
    let known: Option<Shown> = txn.get_json(&key)?;
    let mut shown = known.unwrap_or_default();
    let grace = if config.auto_rebuild { seconds(&config.auto_rebuild_grace_period) } else { 0 };
    let over = shown.stale || now.saturating_add(grace) >= shown.complete.next_update;
    let count = |txn: &mut Txn<'_>| Ok::<u64, Refusal>(txn.get_json(&count_key(prefix, group))?.unwrap_or(0));
    let mut changed = false;
    let edition = |number, up_to| Edition {
        number,
        this_update: now,
        next_update: now.saturating_add(seconds(&config.expiry)),
        up_to,
    };
    if renewal == Renewal::Complete || known.is_none() || over {
        shown.number += 1;
        shown.complete = edition(shown.number, count(txn)?);
        shown.delta = None;
        shown.stale = false;
        changed = true;
    }
    if config.enable_delta {
        let interval = seconds(&config.delta_rebuild_interval);
        let due = shown.delta.is_none_or(|delta| now >= delta.this_update.saturating_add(interval));
        if renewal == Renewal::Delta || due {
            let up_to = count(txn)?;
            // Nothing new: the list that is out still says everything.
            let holds = shown.delta.is_some_and(|delta| delta.up_to == up_to && now < delta.next_update);
            if renewal == Renewal::Delta || !holds {
                shown.number += 1;
                shown.delta = Some(edition(shown.number, up_to));
                changed = true;
            }
        }
    }
    if changed {
        txn.put_json(&key, &shown)?;
    }
    Ok(shown)
}

/// Marks a group's lists as due to be made anew.
pub(super) fn outdate(txn: &mut Txn<'_>, prefix: &str, group: &str) -> Result<(), Refusal> {
    let key = shown_key(prefix, group);
    if let Some(shown) = txn.get_json::<Shown>(&key)? {
        txn.put_json(&key, &Shown { stale: true, ..shown })?;
    }
    Ok(())
}

/// Removes what ended before `before` from one entry of revocations. Answers how many there were.
pub(super) fn remove_ended(txn: &mut Txn<'_>, key: &str, before: u64) -> Result<usize, Refusal> {
    let Some(mut records) = txn.get_json::<Vec<Record>>(key)? else { return Ok(0) };
    let all = records.len();
    records.retain(|record| record.until >= before);
    match all - records.len() {
        0 => Ok(0),
        removed => {
            txn.put_json(key, &records)?;
            Ok(removed)
        }
    }
}

/// The list of the issuer that `reference` names, signed.
pub(super) fn current(
    cx: &mut Context<'_, '_>,
    reference: &str,
    which: List,
) -> Result<Arc<Vec<u8>>, Refusal> {
    let table = table::table(cx)?;
    let issuer = signer(&table, reference)?;
    let (prefix, now) = (cx.mount.prefix(), super::now(cx));
    let config = &table.config.crl;
    let shown = renew(cx.txn, &prefix, &issuer.group, config, now, Renewal::Due)?;
    let (edition, base) = match which {
        List::Complete => (shown.complete, None),
        List::Delta => match shown.delta {
            Some(delta) => (delta, Some(shown.complete)),
            None => {
                return Err(Refusal::Missing(vec![
                    "lists of changes are not enabled: see config/crl".to_owned(),
                ]));
            }
        },
    };
    let memo = format!("{prefix}{GROUPS}{}/{}/{}", issuer.group, issuer.entry.id, edition.number);
    let disabled = config.disable;
    cx.txn.built_since(&shown_key(&prefix, &issuer.group), memo.as_bytes(), |txn| {
        let first = base.map_or(1, |base| base.up_to + 1);
        let entries = match disabled {
            true => Vec::new(),
            false => entries(txn, &prefix, &issuer.group, first, edition.up_to)?,
        };
        let list = RevocationList {
            issuer: issuer.certificate.subject(),
            key_id: &issuer.certificate.key_id(),
            number: edition.number,
            base: base.map(|base| base.number),
            this_update: edition.this_update,
            next_update: edition.next_update,
            entries,
            extensions: &[],
        };
        list.sign(&issuer.key()?.key, issuer.revocation_scheme()?).map_err(super::refuse)
    })
}

pub(super) fn signer<'t>(table: &'t Table, reference: &str) -> Result<&'t Arc<Issuer>, Refusal> {
    let issuer = table.issuer(reference)?;
    if !issuer.entry.usage.crl_signing {
        return Err(Refusal::invalid(format!(
            "issuer {} does not have the usage crl-signing",
            issuer.entry.id
        )));
    }
    issuer.key()?;
    Ok(issuer)
}

/// The revocations `first` to `last` of a group. What they say does not change but by a new edition.
fn entries(
    txn: &mut Txn<'_>,
    prefix: &str,
    group: &str,
    first: u64,
    last: u64,
) -> Result<Vec<RevokedEntry>, Refusal> {
    txn.unrelied(|txn| {
        let mut found = Vec::new();
        for at in first / AN_ENTRY..=last / AN_ENTRY {
            let key = record_key(prefix, group, at * AN_ENTRY);
            for record in txn.get_json::<Vec<Record>>(&key)?.unwrap_or_default() {
                if (first..=last).contains(&record.number) {
                    let serial = hex::decode(&record.serial).map_err(|_| Refusal::Corrupt(key.clone()))?;
                    found.push(RevokedEntry { serial, at: record.at, extensions: Vec::new() });
                }
            }
        }
        Ok(found)
    })
}

fn asked(cx: &mut Context<'_, '_>, which: List) -> Result<Arc<Vec<u8>>, Refusal> {
    let reference = match cx.param("issuer_ref") {
        "" => DEFAULT.to_owned(),
        reference => reference.to_owned(),
    };
    current(cx, &reference, which)
}

fn complete_der(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Ok(Response::raw(CRL_TYPE, asked(cx, List::Complete)?.to_vec()))
}

fn complete_pem(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Ok(Response::raw(PEM_TYPE, pem::encode(pem::CRL, &asked(cx, List::Complete)?).into_bytes()))
}

fn delta_der(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Ok(Response::raw(CRL_TYPE, asked(cx, List::Delta)?.to_vec()))
}

fn delta_pem(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Ok(Response::raw(PEM_TYPE, pem::encode(pem::CRL, &asked(cx, List::Delta)?).into_bytes()))
}

/// Makes new editions of the lists of all issuers.
pub(super) fn renew_all(cx: &mut Context<'_, '_>, table: &Table, config: &CrlConfig) -> Result<(), Refusal> {
    renew_each(cx, table, config, Renewal::Complete)
}

fn renew_each(
    cx: &mut Context<'_, '_>,
    table: &Table,
    config: &CrlConfig,
    renewal: Renewal,
) -> Result<(), Refusal> {
    let (prefix, now) = (cx.mount.prefix(), super::now(cx));
    let mut groups: Vec<&String> = table.issuers.iter().map(|issuer| &issuer.group).collect();
    groups.sort_unstable();
    groups.dedup();
    // Three entries a group: more would not fit into one transaction.
    if groups.len() > 30 {
        return Err(Refusal::invalid(
            "the mount has too many issuers to renew all lists at once: delete those that are not used",
        ));
    }
    groups.into_iter().try_for_each(|group| renew(cx.txn, &prefix, group, config, now, renewal).map(|_| ()))
}

fn rotate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    renew_all(cx, &table, &table.config.crl)?;
    Response::data(&json!({ "success": true }))
}

fn rotate_delta(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let config = &table.config.crl;
    if config.enable_delta {
        renew_each(cx, &table, config, Renewal::Delta)?;
    }
    let response = Response::data(&json!({ "success": config.enable_delta }))?;
    Ok(match config.enable_delta {
        true => response,
        false => {
            response.warn("requested rebuild of delta CRL when delta CRL is not enabled; this is a no-op")
        }
    })
}
