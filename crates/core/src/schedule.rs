//! When something happens again and again: schedules as `cron` has them (POSIX `crontab`), in UTC.

use crate::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::fmt;

/// Days that are looked at for the next moment: February 29 is the rarest, and comes after eight years around a century
/// without a leap day.
const DAYS: usize = 9 * 366;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A schedule of whole minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    weekdays: Set,
}

/// Numbers below 64, each a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Set {
    bits: u64,
    /// Written as `*`: says nothing about days where the other field does.
    any: bool,
}

impl Set {
    fn has(self, number: i8) -> bool {
        u32::try_from(number)
            .is_ok_and(|number| self.bits.checked_shr(number).is_some_and(|bits| bits & 1 == 1))
    }

    fn numbers(self) -> impl Iterator<Item = i8> {
        (0..60).filter(move |number| self.has(*number))
    }
}

/// What is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSchedule(String);

impl fmt::Display for BadSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; write MINUTE HOUR DAY MONTH WEEKDAY, as in `0 3 * * sat`", self.0)
    }
}

impl std::error::Error for BadSchedule {}

impl Schedule {
    /// Reads five fields: minute, hour, day of the month, month, weekday (0 and 7 are Sunday). Each is `*` or a list of
    /// numbers, names and ranges, with steps after `/`. Where both fields of days are restricted, either is enough.
    ///
    /// # Errors
    /// Text that is no schedule, and schedules that never come.
    pub fn parse(text: &str) -> Result<Schedule, BadSchedule> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(BadSchedule(format!("a schedule has 5 fields and this has {}", fields.len())));
        };
        let schedule = Schedule {
            minutes: set(minutes, 0, 59, &[])?,
            hours: set(hours, 0, 23, &[])?,
            days: set(days, 1, 31, &[])?,
            months: set(months, 1, 12, &MONTHS)?,
            weekdays: sundays(set(weekdays, 0, 7, &WEEKDAYS)?),
        };
        match schedule.next_after(Timestamp::EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(BadSchedule("the schedule never comes: no month has such a day".to_owned())),
        }
    }

    /// The first moment after `moment`; none where time ends before it.
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let start = jiff::Timestamp::from_second(i64::try_from(moment.secs()).ok()?).ok()?;
        let start = TimeZone::UTC.to_datetime(start);
        let (mut date, mut after) = (start.date(), Some((start.hour(), start.minute())));
        for _ in 0..DAYS {
            if self.is_on(date)
                && let Some((hour, minute)) = self.first_of_day(after)
            {
                let at = TimeZone::UTC.to_timestamp(date.at(hour, minute, 0, 0)).ok()?;
                return u64::try_from(at.as_second()).ok().map(Timestamp::from_secs);
            }
            (date, after) = (date.tomorrow().ok()?, None);
        }
        None
    }

    fn is_on(&self, date: Date) -> bool {
        let day = self.days.has(date.day());
        let weekday = self.weekdays.has(date.weekday().to_sunday_zero_offset());
        let either = match self.days.any || self.weekdays.any {
            true => day && weekday,
            false => day || weekday,
        };
        either && self.months.has(date.month())
    }

    fn first_of_day(&self, after: Option<(i8, i8)>) -> Option<(i8, i8)> {
        let mut moments =
            self.hours.numbers().flat_map(|hour| self.minutes.numbers().map(move |minute| (hour, minute)));
        moments.find(|moment| after.is_none_or(|after| *moment > after))
    }
}

/// Sunday has two numbers.
fn sundays(mut weekdays: Set) -> Set {
    if weekdays.has(7) {
        weekdays.bits |= 1;
    }
    weekdays
}

fn set(field: &str, least: u64, most: u64, names: &[&str]) -> Result<Set, BadSchedule> {
    let mut set = Set { bits: 0, any: false };
    for part in field.split(',') {
        let bad = || BadSchedule(format!("{part:?} is not from {least} to {most}"));
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let step_by: usize =
            step.map_or(Some(1), |step| step.parse().ok()).filter(|step| *step > 0).ok_or_else(bad)?;
        let number = |text: &str| {
            let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
            let first = if most == 12 { 1 } else { 0 };
            match named {
                Some(at) => u64::try_from(at).ok().map(|at| at + first),
                None => text.parse().ok().filter(|number| (least..=most).contains(number)),
            }
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*" | "?", _) => {
                set.any |= step_by == 1;
                // A week has seven days, whichever number Sunday has.
                (least, if most == 7 { 6 } else { most })
            }
            (_, Some((from, to))) => (number(from).ok_or_else(bad)?, number(to).ok_or_else(bad)?),
            (one, None) => {
                let one = number(one).ok_or_else(bad)?;
                (one, if step.is_some() { most } else { one })
            }
        };
        if from > to {
            return Err(bad());
        }
        set.bits |= (from..=to).step_by(step_by).fold(0, |bits, number| bits | 1 << number);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> String {
        let after = Timestamp::parse_rfc3339(after).unwrap_or_else(|| panic!("{after}"));
        let schedule = Schedule::parse(schedule).unwrap_or_else(|why| panic!("{schedule}: {why}"));
        schedule.next_after(after).map(|at| at.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_next_moment_is_found() {
        // 2026-11-21 is a Saturday.
        let now = "2026-11-21T09:30:15Z";
        for (schedule, wanted) in [
            ("* * * * *", "2026-11-21T09:31:00Z"),
            ("0 0 * * *", "2026-11-22T00:00:00Z"),
            ("30 9 * * *", "2026-11-22T09:30:00Z"),
            ("*/20 9,10 * * *", "2026-11-21T09:40:00Z"),
            ("15/20 * * * *", "2026-11-21T09:35:00Z"),
            ("0 3 * * sat", "2026-11-28T03:00:00Z"),
            ("0 3 * * 7", "2026-11-22T03:00:00Z"),
            ("0 3 * * Mon-Fri", "2026-11-23T03:00:00Z"),
            ("0 12 1 * *", "2026-12-01T12:00:00Z"),
            ("0 0 31 2-4 *", "2027-03-31T00:00:00Z"),
            ("0 0 13 * 5", "2026-11-27T00:00:00Z"),
            ("0 0 */10 * 5", "2026-11-27T00:00:00Z"),
            ("0 0 29 feb *", "2028-02-29T00:00:00Z"),
            ("59 23 31 dec ?", "2026-12-31T23:59:00Z"),
        ] {
            assert_eq!(next(schedule, now), wanted, "{schedule}");
        }
        assert_eq!(next("0 0 29 2 *", "2096-03-01T00:00:00Z"), "2104-02-29T00:00:00Z");
        assert_eq!(next("* * * * *", "2026-11-21T09:30:00Z"), "2026-11-21T09:31:00Z");
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "1,,2 * * * *",
            "-1 * * * *",
            "@daily",
            "0 0 31 2 *",
        ] {
            assert!(Schedule::parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in "[0-9*/,?a-z -]{0,30}", after in 0u64..10_000_000_000) {
            if let Ok(schedule) = Schedule::parse(&text) {
                let after = Timestamp::from_secs(after);
                proptest::prop_assert!(schedule.next_after(after).is_some_and(|next| next > after));
            }
        }
    }
}
