//! When an engine changes a password of its own by itself: `rotation_period`, `rotation_schedule`, `rotation_window` and
//! `disable_automated_rotation`.

use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::route::{Field, Kind, field};
use keyward_core::{Schedule, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The parameters.
pub(super) const FIELDS: [Field; 4] = [
    field(
        "rotation_period",
        Kind::Duration,
        "Change the password this often, at least every 10 s; never when 0.",
    ),
    SCHEDULE,
    field(
        "rotation_window",
        Kind::Duration,
        "Only so long after a scheduled time, at least an hour: what has not begun then waits for the next.",
    ),
    field("disable_automated_rotation", Kind::Bool, "Change it only when asked to."),
];

/// The times in the place of a period.
pub(super) const SCHEDULE: Field = field(
    "rotation_schedule",
    Kind::Text,
    "Change it at these times instead, in UTC: MINUTE HOUR DAY MONTH WEEKDAY, as `cron` has it.",
);

/// The shortest period, in seconds; as in Vault.
const SHORTEST: u64 = 10;
/// The shortest window, in seconds; as in Vault.
const SHORTEST_WINDOW: u64 = 3600;

/// As configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Automated {
    /// Seconds; zero with a schedule, or without either.
    period: u64,
    /// Empty with a period, or without either.
    schedule: String,
    /// Seconds after a scheduled moment that a change may begin in; any number when zero.
    window: u64,
    disabled: bool,
}

impl Automated {
    /// Takes over what was sent, and checks the whole.
    pub(super) fn take(&mut self, sent: &Fields) -> Result<(), Refusal> {
        let period = sent.duration("rotation_period")?.map(|period| period.as_secs());
        let schedule = sent.string("rotation_schedule")?;
        match (period, schedule) {
            (Some(1..), Some(schedule)) if !schedule.is_empty() => {
                return Err(Refusal::invalid(
                    "rotation_period and rotation_schedule exclude each other: send one of them",
                ));
            }
            (Some(period @ 1..), _) => (self.period, self.schedule, self.window) = (period, String::new(), 0),
            (period, Some(schedule)) if !schedule.is_empty() || period.is_none() => {
                (self.period, self.schedule) = (if schedule.is_empty() { self.period } else { 0 }, schedule);
            }
            (Some(_), _) => self.period = 0,
            (None, _) => {}
        }
        if let Some(window) = sent.duration("rotation_window")? {
            self.window = window.as_secs();
        }
        if let Some(disabled) = sent.bool("disable_automated_rotation")? {
            self.disabled = disabled;
        }
        self.check()
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.window > 0 && self.schedule.is_empty() {
            return Err(Refusal::invalid("rotation_window goes with rotation_schedule alone"));
        }
        if self.window > 0 && self.window < SHORTEST_WINDOW {
            return Err(Refusal::invalid(format!(
                "rotation_window must be {SHORTEST_WINDOW} seconds or more"
            )));
        }
        if (1..SHORTEST).contains(&self.period) {
            return Err(Refusal::invalid(format!("rotation_period must be {SHORTEST} seconds or more")));
        }
        if let (false, Err(why)) = (self.schedule.is_empty(), Schedule::parse(&self.schedule)) {
            return Err(Refusal::invalid(format!("could not parse rotation_schedule: {why}")));
        }
        Ok(())
    }

    /// Adds it to a configuration that is shown.
    pub(super) fn show(&self, shown: &mut Map<String, Value>) {
        for (name, value) in [
            ("rotation_period", json!(self.period)),
            ("rotation_schedule", json!(self.schedule)),
            ("rotation_window", json!(self.window)),
            ("disable_automated_rotation", json!(self.disabled)),
        ] {
            shown.insert(name.to_owned(), value);
        }
    }

    /// When the password is changed next, in nanoseconds since the epoch; never when none.
    pub(super) fn next_after(&self, now: Timestamp) -> Option<u64> {
        match (self.disabled, self.schedule.as_str(), self.period) {
            (true, ..) | (false, "", 0) => None,
            (false, "", period) => Some(now.plus(Duration::from_secs(period)).nanos()),
            (false, schedule, _) => Some(Schedule::parse(schedule).ok()?.next_after(now)?.nanos()),
        }
    }

    /// Whether it is too late `now` to begin what was to begin at `scheduled`.
    pub(super) fn missed(&self, scheduled: u64, now: Timestamp) -> bool {
        let ends = Timestamp::from_nanos(scheduled).plus(Duration::from_secs(self.window));
        self.window > 0 && now > ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bodies: &[Value]) -> Result<Automated, Refusal> {
        let mut automated = Automated::default();
        for body in bodies {
            automated.take(&Fields::parse(body.to_string().as_bytes())?)?;
        }
        Ok(automated)
    }

    #[test]
    fn a_period_or_a_schedule() {
        let now = Timestamp::from_secs(1_600_000_000);
        let at = |bodies: &[Value]| taken(bodies).unwrap().next_after(now).map(|at| at / 1_000_000_000);
        let period = json!({"rotation_period": "1h"});
        // Midnight after 2020-09-13 12:26:40.
        let (schedule, midnight) =
            (json!({"rotation_schedule": "0 0 * * *", "rotation_window": 3600}), 1_600_041_600);
        for (bodies, wanted) in [
            (&[json!({})][..], None),
            (std::slice::from_ref(&period), Some(1_600_003_600)),
            (&[period.clone(), json!({"rotation_period": 0})], None),
            (&[period.clone(), json!({"disable_automated_rotation": true})], None),
            (&[period.clone(), schedule.clone()], Some(midnight)),
            (&[schedule.clone(), period.clone()], Some(1_600_003_600)),
            (&[schedule.clone(), json!({})], Some(midnight)),
            (&[schedule.clone(), json!({"rotation_schedule": "", "rotation_window": 0})], None),
        ] {
            assert_eq!(at(bodies), wanted, "{bodies:?}");
        }
        let windowed = taken(&[schedule]).unwrap();
        let scheduled = now.nanos();
        assert!(!windowed.missed(scheduled, now.plus(Duration::from_secs(3600))));
        assert!(windowed.missed(scheduled, now.plus(Duration::from_secs(3601))));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (body, words) in [
            (json!({"rotation_period": 5}), "10 seconds or more"),
            (json!({"rotation_schedule": "often"}), "could not parse"),
            (json!({"rotation_period": 60, "rotation_schedule": "0 0 * * *"}), "exclude each other"),
            (json!({"rotation_window": 3600}), "goes with rotation_schedule"),
            (json!({"rotation_schedule": "0 0 * * *", "rotation_window": 60}), "3600 seconds or more"),
        ] {
            let refused = taken(std::slice::from_ref(&body)).unwrap_err().to_string();
            assert!(refused.contains(words), "{body}: {refused}");
        }
    }
}
