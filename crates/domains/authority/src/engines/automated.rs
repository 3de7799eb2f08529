//! Changing a password of an engine's own, on demand or by the clock: `rotation_period`, `rotation_schedule`,
//! `rotation_window` and `disable_automated_rotation`.
//!
//! The new password is stored beside the old one before the server is asked. Until it is known which of the two the
//! server has, both are tried; setting it once more does no harm.

use super::journaled::Place;
use super::rotation_times::{SCHEDULE, Times};
use crate::act::{Act, Done, Undertaking};
use crate::context::Context;
use crate::fields::Fields;
use crate::lease::GUARD;
use crate::password_policy;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::route::{Field, Kind, Resumed, field, joined};
use crate::txn::Txn;
use keyward_core::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// The parameters.
pub(super) const FIELDS: [Field; 4] = joined::<4>(&[
    &[field(
        "rotation_period",
        Kind::Duration,
        "Change the password this often, at least every 10 s; never when 0.",
    )],
    &SCHEDULE,
    &[field("disable_automated_rotation", Kind::Bool, "Change it only when asked to.")],
]);

/// The shortest period, in seconds; as in Vault.
const SHORTEST: u64 = 10;
/// Before another try.
const PAUSE: Duration = Duration::from_secs(30);

/// A password that is being set.
#[derive(Clone, Serialize, Deserialize)]
struct Next {
    password: String,
    tries: u32,
}

/// When a password is changed, and what is under way. It holds one: no `Debug`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Rotation {
    times: Times,
    disabled: bool,
    /// When it was changed last, in nanoseconds since the epoch; zero before the first time.
    rotated: u64,
    /// When somebody must look at it next, in nanoseconds since the epoch; never when zero.
    due: u64,
    /// Going to be the password, or already.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Next>,
}

impl Rotation {
    /// Takes over what was sent. `told` says that the operator sent the password: none is being set any more then.
    pub(super) fn take(&mut self, sent: &Fields, told: bool, now: Timestamp) -> Result<(), Refusal> {
        if sent.string("rotation_policy")?.is_some_and(|policy| !policy.is_empty()) {
            return Err(Refusal::invalid(
                "rotation_policy: there are no policies of rotations: leave it out",
            ));
        }
        let (before, pending) = ((self.times.clone(), self.disabled), self.next.is_some());
        if told {
            self.next = None;
        }
        self.times.take(sent, SHORTEST)?;
        if let Some(disabled) = sent.bool("disable_automated_rotation")? {
            self.disabled = disabled;
        }
        let changed = self.due == 0 || pending || before != (self.times.clone(), self.disabled);
        if self.next.is_none() && changed {
            self.plan(now);
        }
        Ok(())
    }

    /// As it is shown in a configuration.
    pub(super) fn describe(&self) -> [(&'static str, Value); 6] {
        let moment = |nanos: u64| (nanos != 0).then(|| Timestamp::from_nanos(nanos).to_string());
        [
            ("rotation_period", json!(self.times.period)),
            ("rotation_schedule", json!(self.times.schedule)),
            ("rotation_window", json!(self.times.window)),
            ("disable_automated_rotation", json!(self.disabled)),
            ("last_vault_rotation", json!(self.last())),
            ("next_vault_rotation", json!(moment(self.due))),
        ]
    }

    /// When the password was changed last.
    pub(super) fn last(&self) -> Option<String> {
        (self.rotated != 0).then(|| Timestamp::from_nanos(self.rotated).to_string())
    }

    /// Going to be the password, or already; none most of the time.
    pub(super) fn next(&self) -> Option<&str> {
        self.next.as_ref().map(|next| next.password.as_str())
    }

    /// When somebody must look at it next; zero for never.
    pub(super) fn due(&self) -> u64 {
        self.due
    }

    fn plan(&mut self, now: Timestamp) {
        self.due = if self.disabled { 0 } else { self.times.next(now, now).unwrap_or(0) };
    }

    /// True where the clock changes it.
    fn automated(&self) -> bool {
        !self.disabled && self.times.any()
    }

    fn missed(&self, now: Timestamp) -> bool {
        self.next.is_none() && self.times.missed(self.due, now)
    }

    /// Has a password be set: the one that was perhaps set already, rather than a third one, else a `new` one.
    fn begin(
        &mut self,
        new: impl FnOnce() -> Result<String, Refusal>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let next = match self.next.take() {
            Some(next) => Next { tries: next.tries.saturating_add(1), ..next },
            None => Next { password: new()?, tries: 0 },
        };
        self.due = now.plus(GUARD.max(PAUSE.saturating_mul(next.tries.min(20)))).nanos();
        self.next = Some(next);
        Ok(())
    }

    /// Records in `password` what came of setting the next one. False where it is tried again when it is due.
    fn conclude(&mut self, password: &mut String, done: &Done, now: Timestamp) -> bool {
        let Some(next) = self.next.take() else { return false };
        match done {
            Ok(()) => {
                *password = next.password;
                self.rotated = now.nanos();
            }
            // The first try did not get through: there is nothing to go on with.
            Err(failure) if failure.nothing_done && next.tries == 0 => {}
            Err(_) => {
                self.next = Some(next);
                return false;
            }
        }
        self.plan(now);
        true
    }
}

/// A configuration with such a password.
pub(super) trait Own: Clone + Serialize + DeserializeOwned {
    /// Changing it.
    fn rotation(&self) -> &Rotation;

    /// The same, and the password.
    fn parts(&mut self) -> (&mut Rotation, &mut String);

    /// The name of the policy of its passwords.
    fn policy(&self) -> &str;

    /// Refuses where there is no password to change.
    fn check(&self) -> Result<(), Refusal>;

    /// What sets the next password, now that the configuration is stored with it.
    fn act(&self, txn: &mut Txn<'_>, place: &Place<'_>) -> Result<Act, Refusal>;
}

/// Stores a configuration as an operator wrote it. It `was_due` before.
pub(super) fn configure(
    txn: &mut Txn<'_>,
    place: &Place<'_>,
    own: &impl Own,
    was_due: u64,
) -> Result<(), Refusal> {
    if own.rotation().automated() {
        own.check()?;
    }
    place.put(txn, own, (was_due, own.rotation().due))
}

/// Stores the next password, and says what sets it.
fn begin<T: Own>(
    txn: &mut Txn<'_>,
    place: &Place<'_>,
    mut own: T,
    now: Timestamp,
) -> Result<Undertaking, Refusal> {
    own.check()?;
    let policy = password_policy::wanted(txn, own.policy())?;
    let was_due = own.rotation().due;
    own.parts().0.begin(|| policy.generate(txn.random()), now)?;
    place.put(txn, &own, (was_due, own.rotation().due))?;
    Ok(Undertaking { act: own.act(txn, place)?, about: place.about() })
}

/// Has the password of the configuration at `place` changed now; `absent` says that it is not there.
pub(super) fn rotate<T: Own>(
    cx: &mut Context<'_, '_>,
    place: &Place<'_>,
    absent: impl FnOnce() -> Refusal,
) -> Result<Response, Refusal> {
    let own = place.get::<T>(cx.txn)?.ok_or_else(absent)?;
    let undertaking = begin(cx.txn, place, own, cx.now)?;
    cx.undertake(undertaking);
    Ok(Response::empty())
}

/// Goes on with the configuration at `place`, whose time has come.
pub(super) fn due<T: Own>(txn: &mut Txn<'_>, place: &Place<'_>, now: Timestamp) -> Resumed {
    let Some(mut own) = place.get::<T>(txn)? else { return Ok(None) };
    let was_due = own.rotation().due;
    if was_due == 0 || was_due > now.nanos() {
        return Ok(None);
    }
    if !own.rotation().missed(now) {
        match begin(txn, place, own.clone(), now) {
            Err(Refusal::Storage(fault)) => return Err(fault.into()),
            Ok(undertaking) => return Ok(Some(undertaking)),
            // There is nothing to rotate any more, or no policy to do it by.
            Err(_) => {}
        }
    }
    own.parts().0.plan(now);
    place.put(txn, &own, (was_due, own.rotation().due)).map(|()| None)
}

/// Records what came of changing the password of the configuration at `place`.
pub(super) fn conclude<T: Own>(
    txn: &mut Txn<'_>,
    place: &Place<'_>,
    done: &Done,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(mut own) = place.get::<T>(txn)? else { return Ok(()) };
    let was_due = own.rotation().due;
    let (rotation, password) = own.parts();
    match rotation.conclude(password, done, now) {
        true => place.put(txn, &own, (was_due, own.rotation().due)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::Failure;

    fn taken(bodies: &[Value], now: Timestamp) -> Rotation {
        let mut rotation = Rotation::default();
        for body in bodies {
            let sent = Fields::parse(body.to_string().as_bytes()).unwrap();
            rotation.take(&sent, sent.has("password"), now).unwrap();
        }
        rotation
    }

    #[test]
    fn the_clock_may_be_stopped() {
        let now = Timestamp::from_secs(1_600_000_000);
        let due = |bodies: &[Value]| taken(bodies, now).due / 1_000_000_000;
        let (period, off) = (json!({"rotation_period": "1h"}), json!({"disable_automated_rotation": true}));
        assert_eq!(due(std::slice::from_ref(&period)), 1_600_003_600);
        assert_eq!(due(&[period.clone(), off.clone()]), 0);
        assert_eq!(due(&[period, off, json!({"disable_automated_rotation": "false"})]), 1_600_003_600);
        let sent = Fields::parse(br#"{"rotation_policy":"gentle"}"#).unwrap();
        let refused = Rotation::default().take(&sent, false, now).unwrap_err().to_string();
        assert!(refused.starts_with("rotation_policy"), "{refused}");
    }

    #[test]
    fn what_was_perhaps_set_is_set_again_until_it_is_known() {
        let now = Timestamp::from_secs(1_600_000_000);
        let (mut rotation, mut password) = (taken(&[json!({})], now), "old".to_owned());
        let failed = |nothing_done| Err(Failure { why: String::new(), nothing_done });
        rotation.begin(|| Ok("new".to_owned()), now).unwrap();
        assert!(!rotation.conclude(&mut password, &failed(false), now));
        // A later try that does not get through says nothing of the first.
        rotation.begin(|| panic!("a third password"), now).unwrap();
        assert!(!rotation.conclude(&mut password, &failed(true), now));
        assert_eq!((rotation.next(), password.as_str()), (Some("new"), "old"));
        rotation.begin(|| panic!("a third password"), now).unwrap();
        assert!(rotation.conclude(&mut password, &Ok(()), now));
        assert_eq!((rotation.next(), password.as_str(), rotation.due), (None, "new", 0));
        rotation.begin(|| Ok("newer".to_owned()), now).unwrap();
        assert!(rotation.conclude(&mut password, &failed(true), now));
        assert_eq!((rotation.next(), password.as_str()), (None, "new"));
        // What an operator says counts, whatever is under way.
        rotation.begin(|| Ok("newest".to_owned()), now).unwrap();
        let sent = Fields::parse(b"{}").unwrap();
        rotation.take(&sent, true, now).unwrap();
        assert_eq!((rotation.next(), rotation.due), (None, 0));
    }
}
