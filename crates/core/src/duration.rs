//! Durations as people write them in configuration and requests.
//!
//! Accepted, as Vault's clients send them: whole seconds (`30`), Go's duration syntax (`1h30m`, `1.5s`,
//! `250ms`), and days (`5d`). Answers always carry whole seconds.

use std::fmt;
use std::time::Duration;

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationError(String);

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a duration: write seconds (30), or numbers with units (1h30m, 5d, 250ms)",
            self.0
        )
    }
}

impl std::error::Error for DurationError {}

/// Reads a duration. The empty text is zero, as clients send it for "not set".
///
/// Negative durations, unknown units and numbers past 2^63 nanoseconds (292 years) are errors.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let wrong = || DurationError(text.to_owned());
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok(Duration::ZERO);
    }
    let nanos = if trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
        trimmed.parse::<u128>().ok().and_then(|seconds| seconds.checked_mul(1_000_000_000))
    } else {
        parse_units(trimmed)
    };
    match nanos {
        Some(nanos) if nanos <= i64::MAX as u128 => Ok(Duration::from_nanos(nanos as u64)),
        _ => Err(wrong()),
    }
}

fn parse_units(text: &str) -> Option<u128> {
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_len);
        total = total.checked_add(scaled(number, unit_nanos(unit)?)?)?;
        rest = next;
    }
    Some(total)
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        "w" => 604_800_000_000_000,
        _ => return None,
    })
}

fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let mut nanos = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()?.checked_mul(unit)? };
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        nanos = nanos.checked_add(place.checked_mul(u128::from(digit - b'0'))?)?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_send() {
        for (text, millis) in [
            ("", 0),
            ("0", 0),
            ("30", 30_000),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("5d", 432_000_000),
            ("1.5s", 1_500),
            (".5m", 30_000),
            ("250ms", 250),
            ("2160h0m0s", 7_776_000_000),
            (" 10s ", 10_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text:?}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "-1",
            "-5s",
            "1x",
            "s",
            "1h30",
            "1..5s",
            ".s",
            "ten",
            "1e3s",
            "99999999999999999999",
            "999999999h",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn seconds_read_back(seconds in 0u64..9_000_000_000) {
            proptest::prop_assert_eq!(parse_duration(&seconds.to_string()), Ok(Duration::from_secs(seconds)));
            proptest::prop_assert_eq!(parse_duration(&format!("{seconds}s")), Ok(Duration::from_secs(seconds)));
        }
    }
}
