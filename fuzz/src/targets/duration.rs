//! Times: durations and RFC 3339 timestamps.

use keyward_authority::token::go_duration;
use keyward_core::{Timestamp, parse_duration};
use std::time::Duration;

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    if let Ok(span) = parse_duration(text) {
        // Vault shows whole seconds.
        let (shown, seconds) = (go_duration(span), Duration::from_secs(span.as_secs()));
        assert_eq!(parse_duration(&shown).as_ref(), Ok(&seconds), "{text:?} is shown as {shown:?}");
    }
    if let Some(moment) = Timestamp::parse_rfc3339(text) {
        assert_eq!(Timestamp::parse_rfc3339(&moment.to_string()), Some(moment), "{text:?}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&["30", "1h30m", "5d", "250ms", "1.5h", "2000000000s", "2024-02-29T12:00:00.5+01:00"])
}
