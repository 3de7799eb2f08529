//! How long a token or a lease may live.

use crate::mounts::Mount;
use crate::refusal::Refusal;
use crate::settings::Settings;
use keyward_core::Timestamp;
use std::time::Duration;

/// Everything that bears on a time to live. Spans of zero are "not set"; fractions of a second are dropped.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// What a renewal asks for.
    pub increment: Duration,
    /// What the role or the creator asks for.
    pub ttl: Duration,
    /// Granted at every renewal, for ever, instead of the two above.
    pub period: Duration,
    /// The role's maximum, counted from `started`.
    pub max_ttl: Duration,
    /// A maximum, counted from `started`, that binds periods too.
    pub explicit_max_ttl: Duration,
    /// The mount's default.
    pub mount_default: Duration,
    /// The mount's maximum, counted from `started`.
    pub mount_max: Duration,
    /// When the token was created.
    pub started: Timestamp,
}

impl Wish {
    /// Nothing wished for, within the limits of `mount`.
    pub fn at(mount: &Mount, settings: &Settings, started: Timestamp) -> Wish {
        Wish {
            increment: Duration::ZERO,
            ttl: Duration::ZERO,
            period: Duration::ZERO,
            max_ttl: Duration::ZERO,
            explicit_max_ttl: Duration::ZERO,
            mount_default: mount.default_ttl(settings),
            mount_max: mount.max_ttl(settings),
            started,
        }
    }
}

/// What came of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// In whole seconds.
    pub ttl: Duration,
    /// `ttl` from now, and never past a maximum.
    pub expires: Timestamp,
    /// What was cut, in the words clients show.
    pub warnings: Vec<String>,
}

/// Grants as much of a wish as every maximum allows; refuses when nothing is left.
pub fn grant(wish: &Wish, now: Timestamp) -> Result<Granted, Refusal> {
    let max = smallest(&[wish.mount_max, wish.max_ttl, wish.explicit_max_ttl]);
    let mut warnings = Vec::new();
    let (mut ttl, limit) = match wish.period.as_secs() {
        0 => (first_set(&[wish.increment, wish.ttl, wish.mount_default]), max),
        period => (cut("period", period, max, &mut warnings), wish.explicit_max_ttl.as_secs()),
    };
    let mut latest = Timestamp::from_nanos(u64::MAX);
    if limit > 0 {
        let left = limit.saturating_sub(now.secs().saturating_sub(wish.started.secs()));
        if left == 0 {
            return Err(Refusal::invalid("past the max TTL, cannot renew"));
        }
        ttl = cut("TTL", ttl, left, &mut warnings);
        latest = wish.started.plus(Duration::from_secs(limit));
    }
    let ttl = Duration::from_secs(ttl);
    Ok(Granted { ttl, expires: now.plus(ttl).min(latest), warnings })
}

fn cut(what: &str, wanted: u64, max: u64, warnings: &mut Vec<String>) -> u64 {
    if max == 0 || wanted <= max {
        return wanted;
    }
    warnings.push(format!(
        "{what} of \"{}\" exceeded the effective max_ttl of \"{}\"; {what} value is capped accordingly",
        human(wanted),
        human(max)
    ));
    max
}

fn smallest(spans: &[Duration]) -> u64 {
    spans.iter().map(Duration::as_secs).filter(|seconds| *seconds > 0).min().unwrap_or(0)
}

fn first_set(spans: &[Duration]) -> u64 {
    spans.iter().map(Duration::as_secs).find(|seconds| *seconds > 0).unwrap_or(0)
}

/// Seconds as people write them: `1h`, `1h30m`, `1h5s`.
pub fn human(seconds: u64) -> String {
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let text: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// As Go writes durations of whole seconds: `1h0m0s`.
pub fn go_duration(span: Duration) -> String {
    let seconds = span.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn wish() -> Wish {
        Wish {
            increment: Duration::ZERO,
            ttl: Duration::ZERO,
            period: Duration::ZERO,
            max_ttl: Duration::ZERO,
            explicit_max_ttl: Duration::ZERO,
            mount_default: 768 * HOUR,
            mount_max: 768 * HOUR,
            started: Timestamp::from_secs(1000),
        }
    }

    fn seconds(wish: Wish, now: u64) -> (u64, Vec<String>) {
        let granted = grant(&wish, Timestamp::from_secs(now)).unwrap();
        assert_eq!(granted.expires, Timestamp::from_secs(now).plus(granted.ttl));
        (granted.ttl.as_secs(), granted.warnings)
    }

    #[test]
    fn spans_are_written_without_zeroes() {
        for (seconds, wanted) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3600, "1h"),
            (5400, "1h30m"),
            (3605, "1h5s"),
            (3661, "1h1m1s"),
        ] {
            assert_eq!(human(seconds), wanted);
        }
    }

    #[test]
    fn the_wish_is_bounded_by_every_maximum() {
        assert_eq!(seconds(wish(), 1000), (768 * 3600, vec![]));
        assert_eq!(seconds(Wish { ttl: HOUR, ..wish() }, 1000), (3600, vec![]));
        assert_eq!(seconds(Wish { ttl: HOUR, increment: 2 * HOUR, ..wish() }, 1000), (7200, vec![]));
        let warning =
            "TTL of \"1h\" exceeded the effective max_ttl of \"10m\"; TTL value is capped accordingly";
        let capped = Wish { ttl: HOUR, max_ttl: HOUR / 6, ..wish() };
        assert_eq!(seconds(capped, 1000), (600, vec![warning.to_owned()]));
        let capped = Wish { ttl: HOUR, explicit_max_ttl: HOUR / 6, ..wish() };
        assert_eq!(seconds(capped, 1000), (600, vec![warning.to_owned()]));
        assert_eq!(seconds(capped, 1500).0, 100);
        let refused = grant(&capped, Timestamp::from_secs(1600)).err();
        assert_eq!(refused, Some(Refusal::invalid("past the max TTL, cannot renew")));
    }

    #[test]
    fn periods_outlast_the_mount_but_not_an_explicit_maximum() {
        let periodic = Wish { period: HOUR, ttl: 5 * HOUR, mount_max: 2 * HOUR, ..wish() };
        assert_eq!(seconds(periodic, 1_000_000), (3600, vec![]));
        let long = Wish { period: 3 * HOUR, ..periodic };
        let warning =
            "period of \"3h\" exceeded the effective max_ttl of \"2h\"; period value is capped accordingly";
        assert_eq!(seconds(long, 1000), (7200, vec![warning.to_owned()]));
        let bound = Wish { explicit_max_ttl: HOUR, ..periodic };
        assert_eq!(seconds(bound, 1000 + 3000).0, 600);
    }

    proptest! {
        #[test]
        fn no_maximum_is_ever_passed(
            spans in prop::array::uniform7(0u64..5000),
            started in 0u64..5_000_000_000_000,
            later in 0u64..5_000_000_000_000,
        ) {
            let [increment, ttl, period, max_ttl, explicit_max_ttl, mount_default, mount_max] =
                spans.map(Duration::from_secs);
            let mount_max = mount_max + Duration::from_secs(1);
            let wish = Wish {
                increment, ttl, period, max_ttl, explicit_max_ttl, mount_max,
                mount_default: mount_default + Duration::from_secs(1),
                started: Timestamp::from_nanos(started),
            };
            let now = Timestamp::from_nanos(started + later);
            if let Ok(granted) = grant(&wish, now) {
                prop_assert!(granted.ttl >= Duration::from_secs(1));
                prop_assert!(granted.expires <= now.plus(granted.ttl));
                for max in [max_ttl, mount_max] {
                    let end = if period.is_zero() { wish.started.plus(max) } else { now.plus(max) };
                    prop_assert!(max.is_zero() || granted.expires <= end);
                }
                prop_assert!(explicit_max_ttl.is_zero() || granted.expires <= wish.started.plus(explicit_max_ttl));
            } else {
                prop_assert!(later > 0);
            }
        }
    }
}
