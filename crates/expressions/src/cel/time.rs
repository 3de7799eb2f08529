//! Times and durations.

use super::eval::{Fault, Found};
use super::library::no;
use super::value::Val;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

/// Nanoseconds since 1970 of an RFC 3339 time.
pub(super) fn parse(text: &str) -> Option<i128> {
    text.parse::<Timestamp>().ok().map(jiff::Timestamp::as_nanosecond)
}

pub(super) fn print_timestamp(nanos: i128) -> Option<String> {
    Some(Timestamp::from_nanosecond(nanos).ok()?.to_string())
}

/// Seconds, as CEL prints durations.
pub(super) fn print_duration(nanos: i64) -> String {
    let (whole, fraction) = (nanos / 1_000_000_000, (nanos % 1_000_000_000).unsigned_abs());
    if fraction == 0 {
        return format!("{whole}s");
    }
    let sign = if nanos < 0 && whole == 0 { "-" } else { "" };
    format!("{sign}{whole}.{}s", format!("{fraction:09}").trim_end_matches('0'))
}

fn zoned(nanos: i128, zone: Option<&str>) -> Result<Zoned, Fault> {
    let time = Timestamp::from_nanosecond(nanos).map_err(|why| Fault::no(why.to_string()))?;
    let zone = match zone {
        None | Some("" | "UTC" | "Z") => TimeZone::UTC,
        Some(text) => {
            let (sign, digits) = match text.strip_prefix('-') {
                Some(rest) => (-1, rest),
                None => (1, text.strip_prefix('+').unwrap_or(text)),
            };
            let offset = digits.split_once(':').and_then(|(hours, minutes)| {
                let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
                Offset::from_seconds(sign * seconds).ok()
            });
            TimeZone::fixed(offset.ok_or_else(|| {
                Fault::no(format!("{text} is not an offset such as +02:00; zones by name are not known"))
            })?)
        }
    };
    Ok(time.to_zoned(zone))
}

/// Functions of times and durations.
pub(super) fn call<'a>(target: &Val<'a>, name: &str, arguments: &[Val<'a>]) -> Found<'a> {
    match target {
        Val::Timestamp(nanos) => {
            let time = zoned(*nanos, arguments.first().and_then(Val::as_str))?;
            Ok(Val::Int(i64::from(match name {
                "getFullYear" => i32::from(time.year()),
                "getMonth" => i32::from(time.month()) - 1,
                "getDate" => i32::from(time.day()),
                "getDayOfMonth" => i32::from(time.day()) - 1,
                "getDayOfYear" => i32::from(time.day_of_year()) - 1,
                "getDayOfWeek" => i32::from(time.weekday().to_sunday_zero_offset()),
                "getHours" => i32::from(time.hour()),
                "getMinutes" => i32::from(time.minute()),
                "getSeconds" => i32::from(time.second()),
                "getMilliseconds" => i32::from(time.millisecond()),
                _ => return no(name, std::slice::from_ref(target)),
            })))
        }
        Val::Duration(nanos) => Ok(Val::Int(match name {
            "getHours" => nanos / 3_600_000_000_000,
            "getMinutes" => nanos / 60_000_000_000,
            "getSeconds" => nanos / 1_000_000_000,
            "getMilliseconds" => nanos / 1_000_000 % 1000,
            _ => return no(name, std::slice::from_ref(target)),
        })),
        _ => no(name, std::slice::from_ref(target)),
    }
}

/// `time.now()` and its like.
pub(super) fn spaced<'a>(name: &str, arguments: &[Val<'a>], now: i128) -> Found<'a> {
    match (name, arguments) {
        ("now", []) => Ok(Val::Timestamp(now)),
        ("toCron", [Val::Timestamp(nanos)]) => {
            let time = zoned(*nanos, None)?;
            let weekday = time.weekday().to_sunday_zero_offset();
            Ok(Val::text(format!(
                "{} {} {} {} {weekday}",
                time.minute(),
                time.hour(),
                time.day(),
                time.month()
            )))
        }
        ("truncate", [Val::Timestamp(nanos), Val::Duration(step @ 1..)]) => {
            Ok(Val::Timestamp(nanos - nanos.rem_euclid(i128::from(*step))))
        }
        _ => no(name, arguments),
    }
}
