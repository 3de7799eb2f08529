//! Challenges as they are stored, and the way one goes from being called ready to being met or failed.
//!
//! The due entry of a challenge says when somebody must look at it next: at once, when whoever looks has had their time,
//! or when another try is due. It is named after the challenge, so that there is never more than one at a time.

use super::config;
use super::order::{self, Order};
use super::wrong::shown;
use crate::act::challenge::{Challenge, Identifier, Way};
use crate::act::{About, Act, Done, Undertaking};
use crate::expiry::{self, Due};
use crate::lease::GUARD;
use crate::mounts;
use crate::refusal::Refusal;
use crate::route::Resumed;
use crate::txn::Txn;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::{Random, Timestamp, random};
use keyward_crypto::sha256;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// Looks at a challenge before it has failed, as in Vault.
const TRIES: u32 = 5;
/// Before the second look; doubled before each that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Bytes of a token: 256 bits, more than the 128 of RFC 8555, section 8.
const TOKEN_BYTES: usize = 32;

/// The types of challenges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    #[serde(rename = "http-01")]
    Http01,
    #[serde(rename = "dns-01")]
    Dns01,
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Http01, Kind::Dns01, Kind::TlsAlpn01];

    /// On the wire.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Kind::Http01 => "http-01",
            Kind::Dns01 => "dns-01",
            Kind::TlsAlpn01 => "tls-alpn-01",
        }
    }

    /// The type with this name.
    pub(super) fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Those that prove `identifier`: a wildcard is proved by DNS alone (RFC 8555, section 7.1.3), an address never.
    fn of(identifier: &Identifier) -> &'static [Kind] {
        match identifier {
            Identifier::Ip(_) => &[Kind::Http01],
            Identifier::Dns(name) if name.starts_with("*.") => &[Kind::Dns01],
            Identifier::Dns(_) => &Kind::ALL,
        }
    }

    /// The error of a challenge where nothing could be seen (RFC 8555, section 6.7).
    const fn unseen(self) -> &'static str {
        match self {
            Kind::Http01 => "connection",
            Kind::Dns01 => "dns",
            Kind::TlsAlpn01 => "tls",
        }
    }
}

/// How far a challenge has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Progress {
    Pending,
    Processing,
    Valid,
    Invalid,
}

impl Progress {
    /// On the wire.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Progress::Pending => "pending",
            Progress::Processing => "processing",
            Progress::Valid => "valid",
            Progress::Invalid => "invalid",
        }
    }
}

/// Where an authorization stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Standing {
    Pending,
    Valid,
    Invalid,
    Deactivated,
}

impl Standing {
    /// On the wire; `expired` if its time is over.
    pub(super) const fn name(self, expired: bool) -> &'static str {
        match self {
            Standing::Pending if expired => "invalid",
            Standing::Pending => "pending",
            Standing::Valid if expired => "expired",
            Standing::Valid => "valid",
            Standing::Invalid => "invalid",
            Standing::Deactivated => "deactivated",
        }
    }
}

/// A challenge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Trial {
    pub(super) kind: Kind,
    pub(super) token: String,
    pub(super) progress: Progress,
    /// In seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) validated: Option<u64>,
    /// Why it was not met so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Value>,
    /// Of the account's key when the client called it ready.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    thumbprint: String,
    #[serde(default)]
    tries: u32,
    /// When somebody must look at it next, in nanoseconds since the epoch.
    #[serde(default)]
    pub(super) due: u64,
}

impl Trial {
    fn new(kind: Kind, random: &dyn Random) -> Trial {
        Trial {
            kind,
            token: URL_SAFE_NO_PAD.encode(random::bytes::<TOKEN_BYTES>(random)),
            progress: Progress::Pending,
            validated: None,
            error: None,
            thumbprint: String::new(),
            tries: 0,
            due: 0,
        }
    }

    /// To be looked at from `now` on, for the account whose key has this thumbprint.
    pub(super) fn begin(&mut self, thumbprint: &str, now: Timestamp) {
        self.progress = Progress::Processing;
        thumbprint.clone_into(&mut self.thumbprint);
        self.due = now.nanos();
    }

    /// Where the proof is shown (RFC 8555, sections 8.3 and 8.4; RFC 8737, section 3).
    fn way(&self, identifier: &Identifier) -> Way {
        let expected = format!("{}.{}", self.token, self.thumbprint);
        let digest = sha256(expected.as_bytes());
        match self.kind {
            Kind::Http01 => {
                Way::Http { path: format!("/.well-known/acme-challenge/{}", self.token), expected }
            }
            Kind::Dns01 => Way::Dns {
                name: format!("_acme-challenge.{identifier}"),
                expected: URL_SAFE_NO_PAD.encode(digest),
            },
            Kind::TlsAlpn01 => Way::TlsAlpn { expected: digest },
        }
    }
}

/// An authorization.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Authorization {
    pub(super) identifier: Identifier,
    pub(super) standing: Standing,
    pub(super) trials: Vec<Trial>,
}

impl Authorization {
    /// A pending one.
    pub(super) fn new(identifier: &Identifier, random: &dyn Random) -> Authorization {
        Authorization {
            identifier: identifier.clone(),
            standing: Standing::Pending,
            trials: Kind::of(identifier).iter().map(|kind| Trial::new(*kind, random)).collect(),
        }
    }

    /// Whether a challenge of it is being looked at.
    pub(super) fn is_under_way(&self) -> bool {
        self.standing == Standing::Pending
            && self.trials.iter().any(|trial| trial.progress == Progress::Processing)
    }

    /// Why it failed, if it did.
    pub(super) fn error(&self) -> Option<&Value> {
        let failed = self.trials.iter().find(|trial| trial.progress == Progress::Invalid)?;
        failed.error.as_ref()
    }
}

/// Which challenge.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) account: &'p str,
    pub(super) order: &'p str,
    pub(super) at: usize,
    pub(super) which: usize,
}

impl<'p> Place<'p> {
    fn parse(what: &'p str) -> Option<Place<'p>> {
        let mut parts = what.strip_prefix("challenge/")?.split('/');
        let place = Place {
            account: parts.next()?,
            order: parts.next()?,
            at: parts.next()?.parse().ok()?,
            which: parts.next()?.parse().ok()?,
        };
        Some(place)
    }

    fn what(self) -> String {
        format!("challenge/{}/{}/{}/{}", self.account, self.order, self.at, self.which)
    }

    /// Has somebody look at it at `due`, in nanoseconds since the epoch.
    pub(super) fn look_at(self, txn: &mut Txn<'_>, mount: &str, due: u64) -> Result<(), Refusal> {
        let what = Due::Engine { mount: mount.to_owned(), kind: "pki".to_owned(), what: self.what() };
        expiry::remember(txn, due, &format!("{}.{}.{}", self.order, self.at, self.which), &what)
    }

    fn forget(self, txn: &mut Txn<'_>, due: u64) {
        expiry::forget(txn, due, &format!("{}.{}.{}", self.order, self.at, self.which));
    }
}

/// The order of a challenge that is being looked at, unless it does not matter any more.
fn awaited(txn: &mut Txn<'_>, mount: &str, place: Place<'_>) -> Result<Option<Order>, Refusal> {
    let order = order::at(txn, &mounts::prefix(mount), place.account, place.order)?;
    Ok(order.filter(|order| {
        let authorization = order.authorizations.get(place.at);
        authorization.is_some_and(|found| {
            found.standing == Standing::Pending
                && found.trials.get(place.which).is_some_and(|trial| trial.progress == Progress::Processing)
        })
    }))
}

fn put(txn: &mut Txn<'_>, mount: &str, place: Place<'_>, order: &Order) -> Result<(), Refusal> {
    txn.put_json(&format!("{}{}", mounts::prefix(mount), order::path(place.account, place.order)), order)
}

/// Has somebody look at a challenge whose time has come.
pub(super) fn due(txn: &mut Txn<'_>, mount: &str, what: &str, now: Timestamp) -> Resumed {
    let Some(place) = Place::parse(what) else { return Ok(None) };
    let Some(mut order) = awaited(txn, mount, place)? else { return Ok(None) };
    let config = config::of_mount(txn, &mounts::prefix(mount))?;
    let (expired, enabled) = (now.secs() >= order.expires, config.enabled);
    let authorization = &mut order.authorizations[place.at];
    let trial = &mut authorization.trials[place.which];
    if trial.due > now.nanos() || expired || !enabled {
        return Ok(None);
    }
    let of = match &authorization.identifier {
        Identifier::Dns(name) => Identifier::Dns(name.strip_prefix("*.").unwrap_or(name).to_owned()),
        address @ Identifier::Ip(_) => address.clone(),
    };
    let challenge = Challenge { way: trial.way(&of), of, resolver: config.resolver() };
    // Should nothing be heard of whoever looks, the next does then.
    trial.due = now.plus(GUARD).nanos();
    place.look_at(txn, mount, trial.due)?;
    put(txn, mount, place, &order)?;
    let about = About::Engine { mount: mount.to_owned(), kind: "pki".to_owned(), what: what.to_owned() };
    Ok(Some(Undertaking { act: Act::Challenge(Box::new(challenge)), about }))
}

/// Records what was seen.
pub(super) fn conclude(
    txn: &mut Txn<'_>,
    mount: &str,
    what: &str,
    done: &Done,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(place) = Place::parse(what) else { return Ok(()) };
    let Some(mut order) = awaited(txn, mount, place)? else { return Ok(()) };
    let authorization = &mut order.authorizations[place.at];
    let trial = &mut authorization.trials[place.which];
    place.forget(txn, trial.due);
    match done {
        Ok(()) => {
            trial.progress = Progress::Valid;
            trial.validated = Some(now.secs());
            trial.error = None;
            authorization.standing = Standing::Valid;
        }
        Err(failure) => {
            trial.tries += 1;
            let kind = if failure.nothing_done { trial.kind.unseen() } else { "incorrectResponse" };
            trial.error = Some(shown(kind, &failure.why));
            if trial.tries >= TRIES {
                trial.progress = Progress::Invalid;
                authorization.standing = Standing::Invalid;
            } else {
                trial.due = now.plus(FIRST_PAUSE.saturating_mul(1 << (trial.tries - 1))).nanos();
                place.look_at(txn, mount, trial.due)?;
            }
        }
    }
    put(txn, mount, place, &order)
}
