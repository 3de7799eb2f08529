//! The operator's log: one line an event on standard error, never a secret.

use std::sync::atomic::{AtomicU8, Ordering};

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Level {
    Error = 0,
    Warn = 1,
    Info = 2,
    Debug = 3,
    Trace = 4,
}

/// Says everything up to `level` from now on.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

fn say(level: Level, name: &str, message: &str) {
    if level as u8 <= LEVEL.load(Ordering::Relaxed) {
        use std::io::Write as _;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let at = keyward_core::Timestamp::EPOCH.plus(now);
        // One write, so that lines of several threads do not mix; a closed standard error is nobody's loss.
        let _ = std::io::stderr().write_all(format!("{at} [{name}] {message}\n").as_bytes());
    }
}

/// Something failed and needs an operator.
pub fn error(message: &str) {
    say(Level::Error, "ERROR", message);
}

/// Something an operator should know.
pub fn warn(message: &str) {
    say(Level::Warn, "WARN", message);
}

/// What happens in a normal day.
pub fn info(message: &str) {
    say(Level::Info, "INFO", message);
}

/// What helps to find a mistake.
pub fn debug(message: &str) {
    say(Level::Debug, "DEBUG", message);
}
