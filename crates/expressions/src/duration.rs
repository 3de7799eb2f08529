//! Durations as Go writes them: `1h30m`, `500ms`, `-1.5s`.

use std::fmt::Write;

const NANOS: i64 = 1_000_000_000;

/// Nanoseconds; None where the text is not a duration, or one beyond what fits.
pub fn parse(text: &str) -> Option<i64> {
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        sum = sum.checked_add(whole.checked_mul(unit)?)?;
        if !fraction.is_empty() {
            let digits = &fraction[..fraction.len().min(18)];
            let scale = 10i128.pow(u32::try_from(digits.len()).ok()?);
            sum = sum.checked_add(digits.parse::<i128>().ok()? * unit / scale)?;
        }
        rest = next;
    }
    i64::try_from(if negative { -sum } else { sum }).ok()
}

/// As Go prints a duration: `1h30m0s`, `1.5s`, `250ms`.
pub fn format(nanos: i64) -> String {
    let mut text = String::new();
    let total = nanos.unsigned_abs();
    if nanos < 0 {
        text.push('-');
    }
    if total == 0 {
        return "0s".to_owned();
    }
    let unit = NANOS.unsigned_abs();
    if total < unit {
        let (value, divisor, suffix) = match total {
            0..1_000 => (total, 1, "ns"),
            1_000..1_000_000 => (total, 1_000, "µs"),
            _ => (total, 1_000_000, "ms"),
        };
        decimal(&mut text, value, divisor);
        text.push_str(suffix);
        return text;
    }
    let (hours, minutes) = (total / (3600 * unit), total / (60 * unit) % 60);
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    decimal(&mut text, total % (60 * unit), unit);
    text.push('s');
    text
}

fn decimal(text: &mut String, value: u64, divisor: u64) {
    let _ = write!(text, "{}", value / divisor);
    let fraction = value % divisor;
    if fraction > 0 {
        let width = divisor.ilog10() as usize;
        let digits = format!("{fraction:0width$}");
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_reads_and_writes_them() {
        for (text, nanos, printed) in [
            ("0", 0, "0s"),
            ("1h30m", 5_400 * NANOS, "1h30m0s"),
            ("1.5s", 1_500_000_000, "1.5s"),
            ("500ms", 500_000_000, "500ms"),
            ("-2m", -120 * NANOS, "-2m0s"),
            ("1h0.5s", 3_600 * NANOS + NANOS / 2, "1h0m0.5s"),
            ("1us", 1_000, "1µs"),
        ] {
            assert_eq!(parse(text), Some(nanos), "{text}");
            assert_eq!(format(nanos), printed);
        }
        for text in ["", "1", "s", "1d", "1h30", ".s", "1..5s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
