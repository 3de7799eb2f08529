//! When passwords are changed by the clock: `rotation_period`, or `rotation_schedule` with `rotation_window`.

use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::route::{Field, Kind, field};
use keyward_core::{Schedule, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The parameters beside the period, whose bounds differ.
pub(super) const SCHEDULE: [Field; 2] = [
    field(
        "rotation_schedule",
        Kind::Text,
        "Change it at these times instead, in UTC: MINUTE HOUR DAY MONTH WEEKDAY, as `cron` has it.",
    ),
    field(
        "rotation_window",
        Kind::Duration,
        "Only so long after a scheduled time, at least an hour: what has not begun then waits for the next.",
    ),
];

/// The shortest window, in seconds; as in Vault.
const SHORTEST_WINDOW: u64 = 3600;

/// A period or a schedule, or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Times {
    /// Seconds; zero with a schedule, or without either.
    pub(super) period: u64,
    /// As `cron` has it; empty with a period, or without either.
    pub(super) schedule: String,
    /// Seconds after a scheduled moment that a change may begin in; any number when zero.
    pub(super) window: u64,
}

impl Times {
    /// Takes over what was sent, and checks the whole. A period has `shortest` seconds at least.
    pub(super) fn take(&mut self, sent: &Fields, shortest: u64) -> Result<(), Refusal> {
        let period = sent.duration("rotation_period")?.map(|period| period.as_secs());
        let schedule = sent.string("rotation_schedule")?;
        match (period, schedule) {
            (Some(1..), Some(schedule)) if !schedule.is_empty() => {
                return Err(Refusal::invalid(
                    "mutually exclusive fields rotation_period and rotation_schedule were both specified; only one of them \
                     can be provided",
                ));
            }
            (Some(period @ 1..), _) => *self = Times { period, ..Times::default() },
            (_, Some(schedule)) if !schedule.is_empty() => (self.period, self.schedule) = (0, schedule),
            (period, schedule) => {
                if period.is_some() {
                    self.period = 0;
                }
                if schedule.is_some() {
                    (self.schedule, self.window) = (String::new(), 0);
                }
            }
        }
        if let Some(window) = sent.duration("rotation_window")? {
            self.window = window.as_secs();
        }
        self.check(shortest)
    }

    fn check(&self, shortest: u64) -> Result<(), Refusal> {
        let refuse = |why: String| Err(Refusal::invalid(why));
        if self.window > 0 && self.schedule.is_empty() {
            return refuse(
                "rotation_window is invalid with use of rotation_period: it goes with rotation_schedule alone".to_owned(),
            );
        }
        if self.window > 0 && self.window < SHORTEST_WINDOW {
            return refuse(format!("rotation_window must be {SHORTEST_WINDOW} seconds or more"));
        }
        if (1..shortest).contains(&self.period) {
            return refuse(format!("rotation_period must be {shortest} seconds or more"));
        }
        if let (false, Err(why)) = (self.schedule.is_empty(), Schedule::parse(&self.schedule)) {
            return refuse(format!("could not parse rotation_schedule: {why}"));
        }
        Ok(())
    }

    /// True where there is a period or a schedule.
    pub(super) fn any(&self) -> bool {
        self.period > 0 || !self.schedule.is_empty()
    }

    /// The next time, in nanoseconds since the epoch: the period after `since`, or what the schedule has after `now`.
    pub(super) fn next(&self, since: Timestamp, now: Timestamp) -> Option<u64> {
        match (self.schedule.as_str(), self.period) {
            ("", 0) => None,
            ("", period) => Some(since.plus(Duration::from_secs(period)).nanos()),
            (schedule, _) => Some(Schedule::parse(schedule).ok()?.next_after(now)?.nanos()),
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
    use serde_json::{Value, json};

    fn taken(bodies: &[Value]) -> Result<Times, Refusal> {
        let mut times = Times::default();
        for body in bodies {
            times.take(&Fields::parse(body.to_string().as_bytes())?, 10)?;
        }
        Ok(times)
    }

    #[test]
    fn a_period_or_a_schedule() {
        let (since, now) = (Timestamp::from_secs(1_599_999_000), Timestamp::from_secs(1_600_000_000));
        let at = |bodies: &[Value]| taken(bodies).unwrap().next(since, now).map(|at| at / 1_000_000_000);
        let period = json!({"rotation_period": "1h"});
        // Midnight after 2020-09-13 12:26:40.
        let (schedule, midnight) =
            (json!({"rotation_schedule": "0 0 * * *", "rotation_window": 3600}), 1_600_041_600);
        for (bodies, wanted) in [
            (&[json!({})][..], None),
            (std::slice::from_ref(&period), Some(1_600_002_600)),
            (&[period.clone(), json!({"rotation_period": 0})], None),
            (&[period.clone(), schedule.clone()], Some(midnight)),
            (&[period.clone(), json!({"rotation_schedule": ""})], Some(1_600_002_600)),
            (&[json!({"rotation_period": 0, "rotation_schedule": "0 0 * * *"})], Some(midnight)),
            (&[schedule.clone(), period.clone()], Some(1_600_002_600)),
            (&[schedule.clone(), json!({})], Some(midnight)),
            (&[schedule.clone(), json!({"rotation_schedule": ""})], None),
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
            (json!({"rotation_period": 60, "rotation_schedule": "0 0 * * *"}), "mutually exclusive fields"),
            (json!({"rotation_window": 3600}), "goes with rotation_schedule"),
            (
                json!({"rotation_period": 60, "rotation_window": 3600}),
                "is invalid with use of rotation_period",
            ),
            (json!({"rotation_schedule": "0 0 * * *", "rotation_window": 60}), "3600 seconds or more"),
        ] {
            let refused = taken(std::slice::from_ref(&body)).unwrap_err().to_string();
            assert!(refused.contains(words), "{body}: {refused}");
        }
    }
}
