//! `tidy`: removing what has expired, a chunk at a time.

use super::acme::tidy as acme;
use super::crl;
use super::fetch::CERTIFICATES;
use super::revoke::{REVOKED, Revoked};
use super::table::{self, Config};
use crate::context::Context;
use crate::expiry::{self, Due};
use crate::fields::Fields;
use crate::jobs::{self, Job};
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use crate::txn::Txn;
use keyward_core::{Timestamp, random};
use keyward_crypto::x509::Certificate;
use serde::{Deserialize, Serialize};
use serde_json::json;

const STATUS: &str = "tidy/status";
const CONFIG: &str = "tidy/config";
const NEXT: &str = "tidy/next";

const FIELDS: [Field; 9] = [
    field("tidy_cert_store", Kind::Bool, "Remove expired certificates."),
    field("tidy_revoked_certs", Kind::Bool, "Remove expired certificates that were revoked, from lists too."),
    field("tidy_revocation_list", Kind::Bool, "The same by an older name."),
    field("tidy_expired_issuers", Kind::Bool, "Remove expired issuers; their keys stay."),
    field(
        "tidy_acme",
        Kind::Bool,
        "Remove expired orders, unused accounts and unused bindings of the ACME server.",
    ),
    field(
        "acme_account_safety_buffer",
        Kind::Duration,
        "How long ACME accounts without orders are kept: once before they are revoked, once before they are removed; 720h.",
    ),
    field("safety_buffer", Kind::Duration, "How long certificates are kept after they expired; 72h."),
    field("issuer_safety_buffer", Kind::Duration, "How long issuers are kept after they expired; 8760h."),
    field(
        "pause_duration",
        Kind::Text,
        "Kept for clients that read it back: chunks leave room for requests anyway.",
    ),
];

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "tidy",
        operations: &[(Operation::Update, tidy)],
        fields: &FIELDS,
        help: "Removes what has expired.",
        ..Route::EMPTY
    },
    Route {
        pattern: "tidy-status",
        operations: &[(Operation::Read, status)],
        help: "Shows how far removing has come.",
        ..Route::EMPTY
    },
    Route {
        pattern: "tidy-cancel",
        operations: &[(Operation::Update, cancel)],
        help: "Stops removing after the present chunk.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config/auto-tidy",
        operations: &[(Operation::Read, read_config), (Operation::Update, write_config)],
        fields: &[
            field("enabled", Kind::Bool, "Remove what has expired from time to time."),
            field("interval_duration", Kind::Duration, "How often; 12h."),
            FIELDS[0],
            FIELDS[1],
            FIELDS[2],
            FIELDS[3],
            FIELDS[4],
            FIELDS[5],
            FIELDS[6],
            FIELDS[7],
            FIELDS[8],
        ],
        help: "Configures removing from time to time.",
        ..Route::EMPTY
    },
];

/// What is removed, and how long after it expired; seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Scope {
    tidy_cert_store: bool,
    tidy_revoked_certs: bool,
    tidy_expired_issuers: bool,
    #[serde(default)]
    tidy_acme: bool,
    #[serde(default = "acme_account_buffer")]
    acme_account_safety_buffer: u64,
    safety_buffer: u64,
    issuer_safety_buffer: u64,
    pause_duration: String,
}

/// Thirty days, in seconds.
const fn acme_account_buffer() -> u64 {
    30 * 24 * 3600
}

impl Default for Scope {
    fn default() -> Scope {
        Scope {
            tidy_cert_store: false,
            tidy_revoked_certs: false,
            tidy_expired_issuers: false,
            tidy_acme: false,
            acme_account_safety_buffer: acme_account_buffer(),
            safety_buffer: 72 * 3600,
            issuer_safety_buffer: 365 * 24 * 3600,
            pause_duration: "0s".to_owned(),
        }
    }
}

impl Scope {
    fn changed(&self, fields: &Fields) -> Result<Scope, Refusal> {
        let mut scope = self.clone();
        for (name, slot) in [
            ("tidy_cert_store", &mut scope.tidy_cert_store),
            ("tidy_expired_issuers", &mut scope.tidy_expired_issuers),
            ("tidy_acme", &mut scope.tidy_acme),
        ] {
            *slot = fields.bool(name)?.unwrap_or(*slot);
        }
        let revoked = match fields.bool("tidy_revoked_certs")? {
            None => fields.bool("tidy_revocation_list")?,
            given => given,
        };
        scope.tidy_revoked_certs = revoked.unwrap_or(scope.tidy_revoked_certs);
        for (name, slot) in [
            ("safety_buffer", &mut scope.safety_buffer),
            ("issuer_safety_buffer", &mut scope.issuer_safety_buffer),
            ("acme_account_safety_buffer", &mut scope.acme_account_safety_buffer),
        ] {
            if let Some(span) = fields.duration(name)? {
                if span.as_secs() == 0 {
                    return Err(Refusal::invalid(format!("{name} must be greater than zero")));
                }
                *slot = span.as_secs();
            }
        }
        if let Some(pause) = fields.string("pause_duration")? {
            fields.duration("pause_duration")?;
            scope.pause_duration = pause;
        }
        Ok(scope)
    }

    fn is_empty(&self) -> bool {
        !(self.tidy_cert_store || self.tidy_revoked_certs || self.tidy_expired_issuers || self.tidy_acme)
    }
}

/// How far a run has come, or the last one came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Status {
    scope: Scope,
    state: State,
    /// Nanoseconds since the epoch.
    started: u64,
    certificates: u64,
    revocations: u64,
    #[serde(default)]
    acme: acme::Count,
    message: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    #[default]
    Inactive,
    Running,
    Finished,
    Cancelling,
    Cancelled,
}

/// `config/auto-tidy`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Auto {
    enabled: bool,
    /// Seconds; twelve hours when zero.
    interval: u64,
    scope: Scope,
}

impl Auto {
    const fn interval(&self) -> u64 {
        if self.interval == 0 { 12 * 3600 } else { self.interval }
    }
}

/// A run that is under way: a stored job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tidy {
    /// Below which the mount's entries stand.
    prefix: String,
    /// When it began, in seconds since 1970: what counts as expired does not change on the way.
    at: u64,
    stage: Stage,
    /// The last key looked at.
    after: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    Certificates,
    Revocations,
    Lists,
    Issuers,
    AcmeOrders,
    AcmeAccounts,
    AcmeBindings,
}

impl Stage {
    const fn next(self) -> Option<Stage> {
        match self {
            Stage::Certificates => Some(Stage::Revocations),
            Stage::Revocations => Some(Stage::Lists),
            Stage::Lists => Some(Stage::Issuers),
            Stage::Issuers => Some(Stage::AcmeOrders),
            Stage::AcmeOrders => Some(Stage::AcmeAccounts),
            Stage::AcmeAccounts => Some(Stage::AcmeBindings),
            Stage::AcmeBindings => None,
        }
    }
}

fn tidy(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let scope = Scope::default().changed(cx.fields())?;
    if scope.is_empty() {
        return Err(Refusal::invalid(
            "No tidy targets were requested: set tidy_cert_store, tidy_revoked_certs, \
             tidy_expired_issuers or tidy_acme",
        ));
    }
    let prefix = cx.mount.prefix();
    let response = match begin(cx.txn, &prefix, scope, cx.now)? {
        true => Response::empty()
            .warn("Tidy operation successfully started. Read tidy-status to see how far it has come."),
        false => Response::empty().warn("Tidy operation already in progress."),
    };
    Ok(Response { status: Some(202), ..response })
}

/// Begins a run unless one is under way. Answers whether it did.
fn begin(txn: &mut Txn<'_>, prefix: &str, scope: Scope, now: Timestamp) -> Result<bool, Refusal> {
    let key = format!("{prefix}{STATUS}");
    let known: Status = txn.get_json(&key)?.unwrap_or_default();
    if matches!(known.state, State::Running | State::Cancelling) {
        return Ok(false);
    }
    let status = Status { scope, state: State::Running, started: now.nanos(), ..Status::default() };
    txn.put_json(&key, &status)?;
    let job =
        Tidy { prefix: prefix.to_owned(), at: now.secs(), stage: Stage::Certificates, after: String::new() };
    jobs::add(txn, &Job::TidyPki(job))?;
    Ok(true)
}

fn cancel(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let known: Status = cx.get_json(STATUS)?.unwrap_or_default();
    if known.state != State::Running {
        return Ok(show(&known)?.warn("Tidy operation cannot be cancelled as none is currently running."));
    }
    let status = Status { state: State::Cancelling, ..known };
    cx.put_json(STATUS, &status)?;
    show(&status)
}

fn status(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let known: Status = cx.get_json(STATUS)?.unwrap_or_default();
    show(&known)
}

fn show(status: &Status) -> Result<Response, Refusal> {
    let ran = status.state != State::Inactive;
    let started = Timestamp::from_nanos(status.started).to_string();
    Response::data(&json!({
        "state": format!("{:?}", status.state),
        "error": null,
        "message": ran.then_some(&status.message),
        "time_started": ran.then_some(started),
        "time_finished": null,
        "tidy_cert_store": ran.then_some(status.scope.tidy_cert_store),
        "tidy_revoked_certs": ran.then_some(status.scope.tidy_revoked_certs),
        "tidy_expired_issuers": ran.then_some(status.scope.tidy_expired_issuers),
        "tidy_revoked_cert_issuer_associations": false,
        "tidy_move_legacy_ca_bundle": false,
        "tidy_acme": ran.then_some(status.scope.tidy_acme),
        "acme_account_safety_buffer": ran.then_some(status.scope.acme_account_safety_buffer),
        "total_acme_account_count": ran.then_some(status.acme.accounts),
        "acme_account_revoked_count": ran.then_some(status.acme.accounts_revoked),
        "acme_account_deleted_count": ran.then_some(status.acme.accounts_deleted),
        "acme_orders_deleted_count": ran.then_some(status.acme.orders_deleted),
        "safety_buffer": ran.then_some(status.scope.safety_buffer),
        "issuer_safety_buffer": ran.then_some(status.scope.issuer_safety_buffer),
        "pause_duration": ran.then_some(&status.scope.pause_duration),
        "cert_store_deleted_count": ran.then_some(status.certificates),
        "revoked_cert_deleted_count": ran.then_some(status.revocations),
        "missing_issuer_cert_count": ran.then_some(0),
    }))
}

/// A certificate takes two operations: relying on it, and removing it.
const CERTIFICATES_A_CHUNK: usize = 25;
/// A revocation takes three, with the certificate.
const REVOCATIONS_A_CHUNK: usize = 20;
const LISTS_A_CHUNK: usize = 10;

/// One chunk. Answers with what remains to be done.
pub(crate) fn step(txn: &mut Txn<'_>, run: &Tidy) -> Result<Option<Tidy>, Refusal> {
    let key = format!("{}{STATUS}", run.prefix);
    // Unmounted meanwhile.
    let Some(mut status) = txn.get_json::<Status>(&key)? else { return Ok(None) };
    if status.state != State::Running {
        status.state = State::Cancelled;
        txn.put_json(&key, &status)?;
        return Ok(None);
    }
    let after = match run.stage {
        Stage::Certificates if status.scope.tidy_cert_store => certificates(txn, run, &mut status)?,
        Stage::Revocations if status.scope.tidy_revoked_certs => revocations(txn, run, &mut status)?,
        Stage::Lists if status.scope.tidy_revoked_certs => lists(txn, run, &mut status)?,
        Stage::Issuers if status.scope.tidy_expired_issuers => {
            issuers(txn, run, &status)?;
            None
        }
        Stage::AcmeOrders | Stage::AcmeAccounts | Stage::AcmeBindings if status.scope.tidy_acme => {
            of_acme(txn, run, &mut status)?
        }
        _ => None,
    };
    let next = match after {
        Some(after) => Some(Tidy { after, ..run.clone() }),
        None => run.stage.next().map(|stage| Tidy { stage, after: String::new(), ..run.clone() }),
    };
    if next.is_none() {
        status.state = State::Finished;
    }
    status.message = match next.as_ref().map(|next| next.stage) {
        Some(stage) => format!("Tidying {}", format!("{stage:?}").to_lowercase()),
        None => "Tidy operation finished".to_owned(),
    };
    txn.put_json(&key, &status)?;
    Ok(next)
}

/// The keys of a chunk, and where the next begins, if there may be more.
fn page(
    txn: &mut Txn<'_>,
    directory: &str,
    after: &str,
    most: usize,
) -> Result<(Vec<String>, Option<String>), Refusal> {
    let keys = txn.keys(directory, after.as_bytes(), most)?;
    let next = keys.last().filter(|_| keys.len() == most).cloned();
    Ok((keys, next))
}

fn certificates(txn: &mut Txn<'_>, run: &Tidy, status: &mut Status) -> Result<Option<String>, Refusal> {
    let before = run.at.saturating_sub(status.scope.safety_buffer);
    let directory = format!("{}{CERTIFICATES}", run.prefix);
    let (keys, next) = page(txn, &directory, &run.after, CERTIFICATES_A_CHUNK)?;
    for key in keys {
        let Some(der) = txn.get(&key)? else { continue };
        if Certificate::read(&der).is_ok_and(|certificate| certificate.not_after() < before) {
            txn.delete(&key);
            status.certificates += 1;
        }
    }
    Ok(next)
}

fn revocations(txn: &mut Txn<'_>, run: &Tidy, status: &mut Status) -> Result<Option<String>, Refusal> {
    let before = run.at.saturating_sub(status.scope.safety_buffer);
    let directory = format!("{}{REVOKED}", run.prefix);
    let (keys, next) = page(txn, &directory, &run.after, REVOCATIONS_A_CHUNK)?;
    for key in keys {
        if txn.get_json::<Revoked>(&key)?.is_some_and(|revoked| revoked.until < before) {
            let serial = key.get(directory.len()..).unwrap_or("");
            txn.delete(&format!("{}{CERTIFICATES}{serial}", run.prefix));
            txn.delete(&key);
            status.revocations += 1;
        }
    }
    Ok(next)
}

fn lists(txn: &mut Txn<'_>, run: &Tidy, status: &mut Status) -> Result<Option<String>, Refusal> {
    let before = run.at.saturating_sub(status.scope.safety_buffer);
    let directory = format!("{}{}", run.prefix, crl::GROUPS);
    let (keys, next) = page(txn, &directory, &run.after, LISTS_A_CHUNK)?;
    for key in keys {
        let rest = key.get(directory.len()..).unwrap_or("");
        let Some((group, "list")) =
            rest.split_once('/').and_then(|(group, rest)| Some((group, rest.split_once('/')?.0)))
        else {
            continue;
        };
        if crl::remove_ended(txn, &key, before)? > 0 {
            crl::outdate(txn, &run.prefix, group)?;
        }
    }
    Ok(next)
}

fn of_acme(txn: &mut Txn<'_>, run: &Tidy, status: &mut Status) -> Result<Option<String>, Refusal> {
    let [orders, accounts, bindings] = acme::DIRECTORIES;
    let directory = match run.stage {
        Stage::AcmeOrders => orders,
        Stage::AcmeAccounts => accounts,
        _ => bindings,
    };
    let look = acme::Look {
        prefix: &run.prefix,
        at: run.at,
        buffer: status.scope.safety_buffer,
        account_buffer: status.scope.acme_account_safety_buffer,
    };
    look.step(txn, directory, &run.after, &mut status.acme)
}

fn issuers(txn: &mut Txn<'_>, run: &Tidy, status: &Status) -> Result<(), Refusal> {
    let before = run.at.saturating_sub(status.scope.issuer_safety_buffer);
    let table = table::of_mount(txn, &run.prefix)?;
    let mut config: Config = table.config.clone();
    for issuer in table.issuers.iter().filter(|issuer| issuer.certificate.not_after() < before) {
        table::delete_issuer_of(txn, &run.prefix, &issuer.entry.id)?;
        if config.default_issuer == issuer.entry.id {
            config.default_issuer.clear();
        }
    }
    if config.default_issuer != table.config.default_issuer {
        table::put_config_of(txn, &run.prefix, &config)?;
    }
    Ok(())
}

/// When the next run begins: what it is remembered by.
#[derive(Serialize, Deserialize)]
struct Next {
    at: u64,
    name: String,
}

/// Plans the next run of a mount, instead of the one that is planned.
fn plan(txn: &mut Txn<'_>, prefix: &str, auto: &Auto, now: Timestamp) -> Result<(), Refusal> {
    let key = format!("{prefix}{NEXT}");
    if let Some(planned) = txn.get_json::<Next>(&key)? {
        expiry::forget(txn, planned.at, &planned.name);
        txn.delete(&key);
    }
    if auto.enabled {
        let at = now.plus(std::time::Duration::from_secs(auto.interval())).nanos();
        let next = Next { at, name: random::base62(txn.random(), 24) };
        expiry::remember(txn, at, &next.name, &Due::TidyPki(prefix.to_owned()))?;
        txn.put_json(&key, &next)?;
    }
    Ok(())
}

/// The time of a planned run has come.
pub(crate) fn due(txn: &mut Txn<'_>, prefix: &str, now: Timestamp) -> Result<(), Refusal> {
    // Unmounted meanwhile, or not wanted any more.
    let Some(auto) = txn.get_json::<Auto>(&format!("{prefix}{CONFIG}"))? else { return Ok(()) };
    if auto.enabled {
        begin(txn, prefix, auto.scope.clone(), now)?;
    }
    plan(txn, prefix, &auto, now)
}

fn show_config(auto: &Auto) -> Result<Response, Refusal> {
    Response::data(&json!({
        "enabled": auto.enabled,
        "interval_duration": auto.interval(),
        "tidy_cert_store": auto.scope.tidy_cert_store,
        "tidy_revoked_certs": auto.scope.tidy_revoked_certs,
        "tidy_expired_issuers": auto.scope.tidy_expired_issuers,
        "tidy_revoked_cert_issuer_associations": false,
        "tidy_move_legacy_ca_bundle": false,
        "tidy_acme": auto.scope.tidy_acme,
        "acme_account_safety_buffer": auto.scope.acme_account_safety_buffer,
        "safety_buffer": auto.scope.safety_buffer,
        "issuer_safety_buffer": auto.scope.issuer_safety_buffer,
        "pause_duration": auto.scope.pause_duration,
    }))
}

fn read_config(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let auto: Auto = cx.get_json(CONFIG)?.unwrap_or_default();
    show_config(&auto)
}

fn write_config(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut auto: Auto = cx.get_json(CONFIG)?.unwrap_or_default();
    auto.enabled = cx.fields().bool("enabled")?.unwrap_or(auto.enabled);
    auto.interval = cx.fields().duration("interval_duration")?.map_or(auto.interval, |span| span.as_secs());
    auto.scope = auto.scope.changed(cx.fields())?;
    if auto.enabled && auto.scope.is_empty() {
        return Err(Refusal::invalid(
            "Auto-tidy enabled but no tidy operations were requested: set tidy_cert_store, tidy_revoked_certs, \
             tidy_expired_issuers or tidy_acme",
        ));
    }
    cx.put_json(CONFIG, &auto)?;
    let (prefix, now) = (cx.mount.prefix(), cx.now);
    plan(cx.txn, &prefix, &auto, now)?;
    show_config(&auto)
}
