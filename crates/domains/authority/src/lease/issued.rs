//! Leases of what engines hand out, and what has to be done outside when they begin, go on and end.
//!
//! A lease is committed before what it is for is made, and removed after that is gone, so that at no moment there is
//! anything outside without a lease. Its due entry says when somebody must look at it next: when making it takes too
//! long, when it ends, or when another try at taking it back is due. That may be sooner than it must: the entry of one that is
//! made stays as it is, and whoever looks then records when it ends, with many others in one commit.
//!
//! What was made may be handed out before that is recorded ([`Issued::is_presumed`]): should a crash come in between, it counts
//! as made once its time to be made is over. Nobody knows then whether somebody has it, so it lives until its lease ends.

use super::{ENTRIES, Lease, Times, delete, key, put};
use crate::act::{About, Act, Done, Undertaking};
use crate::context::Context;
use crate::engines;
use crate::expiry::{self, AT_ONCE, Due};
use crate::outside::Hidden;
use crate::refusal::Refusal;
use crate::response::{Data, Response};
use crate::token::{Caller, Granted, TokenKind, Wish, grant};
use crate::txn::Txn;
use keyward_core::{Rev, Timestamp, Want, random};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long whoever does an act outside has for it, before somebody else does it again.
pub const GUARD: Duration = Duration::from_secs(60);
/// Failed tries after which an operator is told.
const TRIES: u32 = 6;
/// Before the second try; doubled before each that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Between tries at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The directory of leases whose revocation has failed, by name.
const STUCK: &str = "lease/stuck/";
/// The directory of the directories of leases handed out under a token, by the token's storage name.
const OF_TOKENS: &str = "lease/token/";

/// What is to be done outside; nothing where nothing outside needs to know.
pub type Next = Result<Option<Act>, Refusal>;

/// How long a role lets its leases live, at most and otherwise; the mount's when zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Usually.
    pub ttl: Duration,
    /// At most, renewals included.
    pub max_ttl: Duration,
}

/// How a backend takes its leases back and extends them.
pub struct Ops {
    /// What takes the lease back at a moment.
    pub revoke: fn(&mut Txn<'_>, &Issued, Timestamp) -> Next,
    /// What its role grants now.
    pub terms: fn(&mut Txn<'_>, &Issued) -> Result<Terms, Refusal>,
    /// What extends it until a moment.
    pub extend: fn(&mut Txn<'_>, &Issued, Timestamp) -> Next,
    /// Reads what making it yielded; none where the answer is known before.
    pub complete: Option<Complete>,
}

/// Makes an answer of what an act yielded.
pub type Complete = fn(&Issued, &Hidden) -> Result<Completion, Refusal>;

/// What an answer lacked until what it is about was made.
pub struct Completion {
    /// Its data.
    pub data: Data,
    /// When what was made ends by itself, if that is before its lease does.
    pub ends: Option<Timestamp>,
}

/// Where a lease stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// What it is for is being made, and must be there at a moment.
    Making(u64),
    /// Good.
    Live,
    /// To be taken back.
    Ending {
        /// Tries begun.
        tries: u32,
        /// When the next is due.
        next: u64,
        /// What the last came to.
        why: String,
        /// There is only one.
        force: bool,
    },
}

impl State {
    /// To be taken back from `next` on, and not tried yet.
    fn ending(next: u64, force: bool) -> State {
        State::Ending { tries: 0, next, why: String::new(), force }
    }
}

/// Whom a lease was handed out to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    /// The identity.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub entity_id: String,
    /// The pod, as `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// The pod's UID.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod_uid: String,
}

impl Holder {
    /// True when `other` is the same in all that is said of this one; nothing is said of nobody.
    pub fn is(&self, other: &Holder) -> bool {
        let same = |said: &String, found: &String| said.is_empty() || said == found;
        *self != Holder::default()
            && same(&self.entity_id, &other.entity_id)
            && same(&self.pod, &other.pod)
            && same(&self.pod_uid, &other.pod_uid)
    }

    /// Of a token.
    pub fn of(token: &crate::token::TokenEntry) -> Holder {
        Holder::known(&token.entity_id, &token.metadata)
    }

    /// Of a token with this identity and metadata.
    pub fn known(entity_id: &str, metadata: &BTreeMap<String, String>) -> Holder {
        let said = |name: &str| metadata.get(name).map_or("", String::as_str);
        let pod = match said("pod_name") {
            "" => String::new(),
            pod => format!("{}/{pod}", said("service_account_namespace")),
        };
        Holder { entity_id: entity_id.to_owned(), pod, pod_uid: said("pod_uid").to_owned() }
    }
}

/// A lease of what an engine handed out. Moments are in nanoseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// The uuid of the mount.
    pub mount: String,
    /// The type of the mount: the engine that takes it back, when the mount is gone too.
    pub kind: String,
    /// What it is of, in the engine's words.
    pub what: Value,
    /// See [`State`].
    pub state: State,
    /// When it was handed out.
    pub issued: u64,
    /// When it was last renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed: Option<u64>,
    /// When it ends.
    pub expires: u64,
    /// May be renewed.
    pub renewable: bool,
    /// The storage name of the token it was handed out under, with which it ends.
    pub token: String,
    /// See [`Holder`].
    #[serde(default)]
    pub holder: Holder,
}

impl Issued {
    pub(super) fn times(&self, now: Timestamp) -> Option<Times> {
        let expires = Timestamp::from_nanos(self.expires);
        let made = !matches!(self.state, State::Making(_)) || self.is_presumed();
        let good = !matches!(self.state, State::Ending { .. }) && expires > now;
        made.then(|| Times {
            issued: Timestamp::from_nanos(self.issued),
            expires: Some(expires),
            renewed: self.renewed.map(Timestamp::from_nanos),
            ttl: if good { expires.since(now).as_nanos().div_ceil(1_000_000_000) as u64 } else { 0 },
            renewable: self.renewable && good,
        })
    }

    /// Whether it counts as made as soon as its time to be made is over, recorded or not: so that it is made may be recorded
    /// after it was handed out. Not where the record says more than that, nor where it would end sooner.
    pub fn is_presumed(&self) -> bool {
        matches!(self.state, State::Making(until) if self.expires > until)
            && self.ops().is_ok_and(|ops| ops.complete.is_none())
    }

    /// When somebody must look at it next, in nanoseconds since the epoch.
    pub fn due(&self) -> u64 {
        match self.state {
            State::Making(until) => until,
            State::Live => self.expires,
            State::Ending { next, .. } => next,
        }
    }

    /// The storage key of `path` below its mount.
    pub fn key(&self, path: &str) -> String {
        [&crate::mounts::prefix(&self.mount), path].concat()
    }

    /// The answer that waited for what `yielded` says of what was made.
    pub fn complete(&self, yielded: &Hidden) -> Result<Completion, Refusal> {
        let complete = self.ops()?.complete;
        let complete =
            complete.ok_or_else(|| Refusal::Internal("nobody reads what was yielded".to_owned()))?;
        complete(self, yielded)
    }

    fn ops(&self) -> Result<&'static Ops, Refusal> {
        let ops = engines::backend(false, &self.kind, None).and_then(|backend| backend.leases.as_ref());
        ops.ok_or_else(|| Refusal::Internal(format!("the engine {:?} has no leases", self.kind)))
    }
}

/// The last part of a lease's id.
fn name(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

/// The directory of the leases handed out under the token stored as `token`.
pub fn of_token_key(token: &str) -> String {
    format!("{OF_TOKENS}{token}/")
}

/// Writes `lease` in another state, with its due entry.
fn turn(txn: &mut Txn<'_>, id: &str, lease: Issued, was_due: u64) -> Result<(), Refusal> {
    if lease.due() != was_due {
        expiry::forget(txn, was_due, name(id));
    }
    expiry::remember(txn, lease.due(), name(id), &Due::Lease(id.to_owned()))?;
    put(txn, id, &Lease::Issued(Box::new(lease)))
}

fn remove(txn: &mut Txn<'_>, id: &str, lease: &Issued) {
    delete(txn, id);
    expiry::forget(txn, lease.due(), name(id));
    txn.delete(&format!("{}{}", of_token_key(&lease.token), name(id)));
    txn.delete(&format!("{STUCK}{}", name(id)));
}

/// What is to be leased.
pub struct Issue {
    /// What it is of, in the engine's words.
    pub what: Value,
    /// For how long.
    pub terms: Terms,
    /// May be renewed.
    pub renewable: bool,
}

/// Records a lease for the answer `response`. `make` is what makes what it is for, given until when it lives; the lease
/// is not good before that is done.
pub fn issue(
    cx: &mut Context<'_, '_>,
    issue: Issue,
    mut response: Response,
    make: impl FnOnce(&mut Context<'_, '_>, Timestamp) -> Result<Option<Act>, Refusal>,
) -> Result<Response, Refusal> {
    let now = cx.now;
    let Terms { ttl, max_ttl } = issue.terms;
    let wish = Wish { ttl, max_ttl, ..Wish::at(cx.mount, cx.settings, now) };
    let caller = cx.caller()?;
    let granted = within(caller, grant(&wish, now)?, now);
    let stored = caller.token.kind == TokenKind::Service;
    let (token, holder) = (caller.name.clone(), Holder::of(&caller.token));
    let made = make(cx, granted.expires)?;
    let lease_name = random::base62_after(cx.random(), now, 17);
    let id = format!("{}/{lease_name}", cx.request.path.trim_end_matches('/'));
    let until = if made.is_some() { State::Making(now.plus(GUARD).nanos()) } else { State::Live };
    let lease = Issued {
        mount: cx.mount.uuid.clone(),
        kind: cx.mount.kind.clone(),
        what: issue.what,
        state: until,
        issued: now.nanos(),
        renewed: None,
        expires: granted.expires.nanos(),
        renewable: issue.renewable,
        token,
        holder,
    };
    // A token revoked at the same time takes the lease with it.
    if stored && !cx.txn.exists(&crate::token::entry_key(&lease.token))? {
        return Err(Refusal::denied("the token was revoked"));
    }
    let of_token = format!("{}{lease_name}", of_token_key(&lease.token));
    cx.txn.put(&of_token, id.as_bytes())?;
    expiry::remember(cx.txn, lease.due(), &lease_name, &Due::Lease(id.clone()))?;
    put(cx.txn, &id, &Lease::Issued(Box::new(lease.clone())))?;
    response.lease_duration = granted.ttl.as_secs();
    response.renewable = lease.renewable;
    response.warnings.extend(granted.warnings);
    if let Some(act) = made {
        response.unfinished = lease.ops()?.complete.is_some();
        cx.undertake(Undertaking { act, about: About::Make(id.clone(), Box::new(lease)) });
    }
    response.lease_id = id;
    Ok(response)
}

/// A batch token cannot be revoked and take its leases with it: they end when it does, at the latest.
fn within(caller: &Caller, granted: Granted, now: Timestamp) -> Granted {
    match caller.token.expires_at() {
        Some(end) if caller.token.kind == TokenKind::Batch && end < granted.expires => {
            Granted { ttl: Duration::from_secs(end.since(now).as_secs()), expires: end, ..granted }
        }
        _ => granted,
    }
}

/// Extends the lease `id` by `increment`, its role's usual time when that is zero.
pub fn renew(
    cx: &mut Context<'_, '_>,
    id: &str,
    lease: Issued,
    increment: Duration,
) -> Result<Response, Refusal> {
    let mount = crate::mounts::table(cx.txn)?.find(id).cloned().filter(|mount| mount.uuid == lease.mount);
    let mount =
        mount.ok_or_else(|| Refusal::invalid("the engine that issued the lease is not mounted any more"))?;
    let ops = lease.ops()?;
    let Terms { ttl, max_ttl } = (ops.terms)(cx.txn, &lease)?;
    let started = Timestamp::from_nanos(lease.issued);
    let granted = grant(&Wish { increment, ttl, max_ttl, ..Wish::at(&mount, cx.settings, started) }, cx.now)?;
    let until = granted.expires.nanos();
    match (ops.extend)(cx.txn, &lease, granted.expires)? {
        Some(act) => cx.undertake(Undertaking { act, about: About::Extend(id.to_owned(), until) }),
        None => extended(cx.txn, id, lease, until, cx.now)?,
    }
    let mut response = Response {
        lease_id: id.to_owned(),
        lease_duration: granted.ttl.as_secs(),
        renewable: true,
        ..Response::empty()
    };
    response.warnings = granted.warnings;
    Ok(response)
}

fn extended(
    txn: &mut Txn<'_>,
    id: &str,
    mut lease: Issued,
    until: u64,
    now: Timestamp,
) -> Result<(), Refusal> {
    let was_due = lease.due();
    lease.expires = until;
    lease.renewed = Some(now.nanos());
    turn(txn, id, lease, was_due)
}

/// Has `lease` taken back as soon as possible.
pub(super) fn end(txn: &mut Txn<'_>, id: &str, mut lease: Issued, force: bool) -> Result<(), Refusal> {
    let was_due = lease.due();
    match &mut lease.state {
        // A try that has begun may still succeed: the next comes when that had its time.
        State::Ending { force: forced, next, .. } => {
            *forced |= force;
            if force {
                *next = AT_ONCE;
            }
        }
        // Nobody takes back what may not be there yet.
        State::Making(until) => {
            lease.state = State::ending(*until, force);
        }
        State::Live => lease.state = State::ending(AT_ONCE, force),
    }
    turn(txn, id, lease, was_due)
}

fn pause(tries: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

/// What is to be done about the lease `id` now that its time has come. The due entry is the caller's to delete.
pub fn come_due(txn: &mut Txn<'_>, id: &str, now: Timestamp) -> Result<Option<Undertaking>, Refusal> {
    let Some(Lease::Issued(mut lease)) = txn.get_json::<Lease>(&key(id))? else { return Ok(None) };
    let was_due = lease.due();
    if was_due > now.nanos() {
        expiry::remember(txn, was_due, name(id), &Due::Lease(id.to_owned()))?;
        return Ok(None);
    }
    if lease.is_presumed() && lease.expires > now.nanos() {
        lease.state = State::Live;
        turn(txn, id, *lease, was_due)?;
        return Ok(None);
    }
    let (tries, force) = match lease.state {
        State::Ending { tries, force, .. } => (tries, force),
        _ => (0, false),
    };
    let tries = tries.saturating_add(1);
    let act = lease.ops().and_then(|ops| (ops.revoke)(txn, &lease, now));
    match act {
        Err(Refusal::Storage(fault)) => return Err(fault.into()),
        Ok(None) => {
            remove(txn, id, &lease);
            return Ok(None);
        }
        Err(_) if force => {
            remove(txn, id, &lease);
            return Ok(None);
        }
        _ => {}
    }
    // Whoever takes it on has its time; should nothing be heard of it, the next try comes then.
    let next = match &act {
        Ok(_) => now.plus(GUARD.max(pause(tries))),
        Err(_) => now.plus(pause(tries)),
    };
    let why = act.as_ref().err().map(ToString::to_string).unwrap_or_default();
    lease.state = State::Ending { tries, next: next.nanos(), why, force };
    note_if_stuck(txn, id, tries)?;
    turn(txn, id, *lease, was_due)?;
    Ok(act.ok().flatten().map(|act| Undertaking { act, about: About::Revoke(id.to_owned()) }))
}

fn note_if_stuck(txn: &mut Txn<'_>, id: &str, tries: u32) -> Result<(), Refusal> {
    if tries == TRIES + 1 { txn.put(&format!("{STUCK}{}", name(id)), id.as_bytes()) } else { Ok(()) }
}

/// Records what came of an act on the lease that `about` names, and says whether a lease that was made is good: what
/// was made for it may be handed out. What was made may end before its lease would: at `ends`.
///
/// A lease that is still as it was recorded at the revision `recorded` is not read again; should it have changed, the
/// batch conflicts.
pub fn conclude(
    txn: &mut Txn<'_>,
    about: &About,
    recorded: Option<Rev>,
    done: &Done,
    ends: Option<Timestamp>,
    now: Timestamp,
) -> Result<bool, Refusal> {
    let (About::Make(id, _) | About::Extend(id, _) | About::Revoke(id)) = about else { return Ok(false) };
    let found = match (about, recorded) {
        (About::Make(_, lease), Some(rev)) => {
            txn.want(&key(id), Want::At(rev));
            Some(lease.as_ref().clone())
        }
        _ => match txn.get_json::<Lease>(&key(id))? {
            Some(Lease::Issued(lease)) => Some(*lease),
            _ => None,
        },
    };
    let mut lease = match (found, about) {
        (Some(lease), _) => lease,
        // It was taken back before it was there.
        (None, About::Make(_, lease)) if !matches!(done, Err(failure) if failure.nothing_done) => {
            let mut lease = lease.as_ref().clone();
            lease.state = State::ending(AT_ONCE, false);
            turn(txn, id, lease, AT_ONCE)?;
            return Ok(false);
        }
        (None, _) => return Ok(false),
    };
    let was_due = lease.due();
    match (about, done, &mut lease.state) {
        (About::Make(..), Ok(()), state @ State::Making(_)) => {
            *state = State::Live;
            lease.expires = ends.map_or(lease.expires, |ends| ends.nanos().min(lease.expires));
            let good = lease.expires > now.nanos();
            match lease.expires > was_due {
                true => put(txn, id, &Lease::Issued(Box::new(lease)))?,
                false => turn(txn, id, lease, was_due)?,
            }
            return Ok(good);
        }
        (About::Make(..), _, State::Ending { next, .. }) => {
            *next = AT_ONCE;
            turn(txn, id, lease, was_due)?;
        }
        (About::Make(..), Err(failure), _) if failure.nothing_done => remove(txn, id, &lease),
        // Nobody knows how far it came.
        (About::Make(..), Err(_), _) => {
            lease.state = State::ending(AT_ONCE, false);
            turn(txn, id, lease, was_due)?;
        }
        (About::Extend(_, until), Ok(()), State::Live | State::Making(_)) => {
            extended(txn, id, lease, *until, now)?;
        }
        (About::Revoke(_), Ok(()), _) | (About::Revoke(_), Err(_), State::Ending { force: true, .. }) => {
            remove(txn, id, &lease);
        }
        (About::Revoke(_), Err(failure), State::Ending { tries, next, why, .. }) => {
            *next = now.plus(pause(*tries)).nanos();
            failure.why.clone_into(why);
            turn(txn, id, lease, was_due)?;
        }
        // It was concluded before, by a try whose answer was lost.
        (About::Make(..), Ok(()), State::Live) => return Ok(lease.expires > now.nanos()),
        _ => {}
    }
    Ok(false)
}

/// A lease that could not be taken back in several tries; they go on.
pub struct Stuck {
    /// Its id.
    pub id: String,
    /// The lease.
    pub lease: Issued,
    /// Why the last try failed.
    pub why: String,
}

/// Those leases, in no order, at most `most`.
pub fn stuck(txn: &mut Txn<'_>, most: usize) -> Result<Vec<Stuck>, Refusal> {
    let mut all = Vec::new();
    for key_of_stuck in txn.keys(STUCK, b"", most)? {
        let id =
            txn.get(&key_of_stuck)?.map(|id| String::from_utf8_lossy(&id).into_owned()).unwrap_or_default();
        if let Some(Lease::Issued(lease)) = txn.get_json::<Lease>(&key(&id))?
            && let State::Ending { why, .. } = &lease.state
        {
            all.push(Stuck { id, why: why.clone(), lease: *lease });
        }
    }
    Ok(all)
}

/// True when a lease below `path` is of the mount `uuid`, among `most` after the storage key `after`; else the last
/// key looked at, if there are more.
pub fn is_of(
    txn: &mut Txn<'_>,
    path: &str,
    uuid: &str,
    after: &str,
    most: usize,
) -> Result<(bool, Option<String>), Refusal> {
    let keys = txn.keys(&format!("{ENTRIES}{path}"), after.as_bytes(), most)?;
    for key in &keys {
        let lease = txn.unrelied(|txn| txn.get_json::<Lease>(key))?;
        if matches!(lease, Some(Lease::Issued(lease)) if lease.mount == uuid) {
            return Ok((true, None));
        }
    }
    let more = keys.len() == most;
    Ok((false, keys.into_iter().next_back().filter(|_| more)))
}
