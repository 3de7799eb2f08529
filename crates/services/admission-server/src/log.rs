//! The operator's log: one line an event on standard error.

use keyward_core::{Clock, Timestamp};
use std::io::Write as _;

/// The wall's clock.
pub(crate) struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp::EPOCH.plus(since.unwrap_or_default())
    }
}

fn say(level: &str, message: &str) {
    // One write, so that lines of several threads do not mix; a closed standard error is nobody's loss.
    let _ = std::io::stderr().write_all(format!("{} [{level}] {message}\n", Wall.now()).as_bytes());
}

/// Something an operator should look at.
pub(crate) fn warn(message: &str) {
    say("WARN", message);
}

/// What happens in a normal day.
pub(crate) fn info(message: &str) {
    say("INFO", message);
}
