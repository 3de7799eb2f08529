//! Times: RFC 3339, Go's layouts, and cron expressions.

use crate::duration;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use serde_json::Value;

pub(crate) fn call(name: &str, arguments: &[&str], now: i128) -> Result<Value, String> {
    let time = |index: usize| moment(arguments[index], now);
    Ok(match name {
        "time_now" | "time_now_utc" => Value::from(print(&moment("", now)?)),
        "time_since" => {
            let read = |text: &str| {
                if arguments[0].is_empty() { moment(text, now) } else { by_layout(arguments[0], text) }
            };
            let since = read(arguments[1])?;
            let until = if arguments[2].is_empty() { moment("", now)? } else { read(arguments[2])? };
            Value::from(duration::format(nanos(&until) - nanos(&since)))
        }
        "time_add" => {
            let sum =
                nanos(&time(0)?).checked_add(span(arguments[1])?).ok_or("the time is beyond the calendar")?;
            Value::from(print(&at(sum, time(0)?.offset())?))
        }
        "time_diff" => Value::from(duration::format(nanos(&time(1)?) - nanos(&time(0)?))),
        "time_before" => Value::from(time(0)? < time(1)?),
        "time_after" => Value::from(time(0)? > time(1)?),
        "time_between" => Value::from(time(0)? > time(1)? && time(0)? < time(2)?),
        "time_parse" => Value::from(print(&by_layout(arguments[0], arguments[1])?)),
        "time_utc" => Value::from(print(&time(0)?.with_time_zone(TimeZone::UTC))),
        "time_truncate" => {
            let (whole, step) = (time(0)?, span(arguments[1])?);
            let cut = if step > 0 { nanos(&whole) - nanos(&whole).rem_euclid(step) } else { nanos(&whole) };
            Value::from(print(&at(cut, whole.offset())?))
        }
        "time_to_cron" => {
            let time = time(0)?;
            let weekday = time.weekday().to_sunday_zero_offset();
            Value::from(format!(
                "{} {} {} {} {weekday}",
                time.minute(),
                time.hour(),
                time.day(),
                time.month()
            ))
        }
        other => return Err(format!("{other} is no function of times")),
    })
}

fn nanos(time: &Zoned) -> i64 {
    i64::try_from(time.timestamp().as_nanosecond()).unwrap_or(i64::MAX)
}

fn at(nanos: i64, offset: Offset) -> Result<Zoned, String> {
    let timestamp = Timestamp::from_nanosecond(i128::from(nanos)).map_err(|why| why.to_string())?;
    Ok(timestamp.to_zoned(TimeZone::fixed(offset)))
}

fn span(text: &str) -> Result<i64, String> {
    duration::parse(text).ok_or_else(|| format!("{text} is not a duration"))
}

/// RFC 3339; the empty text is now.
fn moment(text: &str, now: i128) -> Result<Zoned, String> {
    if text.is_empty() {
        let timestamp = Timestamp::from_nanosecond(now).map_err(|why| why.to_string())?;
        return Ok(timestamp.to_zoned(TimeZone::UTC));
    }
    let no_time = |_| format!("{text} is not a time such as 2026-01-02T15:04:05Z");
    let timestamp: Timestamp = text.parse().map_err(no_time)?;
    let offset = match text.rfind(['+', '-']) {
        Some(at) if at > 18 && !text.ends_with(['Z', 'z']) => {
            let (hours, minutes) = text[at + 1..].split_once(':').unwrap_or((&text[at + 1..], "0"));
            let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
            let part = |text: &str| text.parse::<i32>().unwrap_or(0);
            Offset::from_seconds(sign * (part(hours) * 3600 + part(minutes) * 60)).unwrap_or(Offset::UTC)
        }
        _ => Offset::UTC,
    };
    Ok(timestamp.to_zoned(TimeZone::fixed(offset)))
}

fn print(time: &Zoned) -> String {
    let format = if time.offset() == Offset::UTC { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%:z" };
    time.strftime(format).to_string()
}

/// The parts of Go's layouts, longest first.
const LAYOUT: [(&str, &str); 22] = [
    ("January", "%B"),
    ("Monday", "%A"),
    ("-07:00", "%:z"),
    ("Z07:00", "%:z"),
    ("-0700", "%z"),
    ("Z0700", "%z"),
    ("2006", "%Y"),
    ("Jan", "%b"),
    ("Mon", "%a"),
    ("MST", "%Z"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("_2", "%e"),
    ("1", "%m"),
    ("2", "%d"),
];

fn by_layout(layout: &str, text: &str) -> Result<Zoned, String> {
    if layout.starts_with("2006-01-02T15:04:05") && layout.ends_with("Z07:00") {
        return moment(text, 0);
    }
    let (mut format, mut rest) = (String::new(), layout);
    while let Some(first) = rest.chars().next() {
        match LAYOUT.iter().find(|(part, _)| rest.starts_with(part)) {
            Some((part, directive)) => {
                format.push_str(directive);
                rest = &rest[part.len()..];
            }
            None => {
                format.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    // Zone names are not known here; UTC and GMT are read as what they are.
    let (format, text) = if format.contains("%Z") {
        let plain = text.replace("UTC", "").replace("GMT", "");
        (format.replace("%Z", "").trim().to_owned(), plain.trim().to_owned())
    } else {
        (format, text.to_owned())
    };
    let no_time = |_| format!("{text} is not a time of the layout {layout}");
    let broken = jiff::fmt::strtime::parse(&format, &text).map_err(no_time)?;
    if let Ok(timestamp) = broken.to_timestamp() {
        let offset = broken.offset().unwrap_or(Offset::UTC);
        return Ok(timestamp.to_zoned(TimeZone::fixed(offset)));
    }
    let date = broken.to_date().map_err(no_time)?;
    let time = broken.to_time().unwrap_or(jiff::civil::Time::midnight());
    date.to_datetime(time).to_zoned(TimeZone::UTC).map_err(no_time)
}
