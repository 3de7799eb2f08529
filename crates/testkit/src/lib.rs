//! Fakes, a fixed clock and real components for tests; never shipped.

#[cfg(feature = "certificates")]
pub mod certificates;
#[cfg(all(feature = "cluster", target_os = "linux"))]
pub mod cluster;
pub mod conformance;
pub mod fakes;
#[cfg(target_os = "linux")]
pub mod packages;
#[cfg(target_os = "linux")]
pub mod process;
pub mod store;
#[cfg(all(feature = "cluster", target_os = "linux"))]
pub mod tools;

use std::fmt::Display;
use std::io::Write;

/// Writes a line to standard error, past the test harness's capture: what takes long or is skipped is said aloud.
pub fn say(line: impl Display) {
    // A closed standard error must not fail a test.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// True when a test can run here. Otherwise says aloud that it is skipped and why, and panics where `CI=true`:
/// a skip nobody reads must not pass for a success.
///
/// ```no_run
/// # fn probe() -> Result<(), String> { Ok(()) }
/// if !keyward_testkit::require(probe()) {
///     return;
/// }
/// ```
#[must_use]
pub fn require<T, E: Display>(condition: Result<T, E>) -> bool {
    let Err(reason) = condition else { return true };
    assert!(!continuous_integration(), "a test cannot run, and CI=true forbids to skip it: {reason}");
    say(format_args!("SKIPPED: {reason}"));
    false
}

/// Whether this runs where nobody reads the output of a success.
pub fn continuous_integration() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_is_a_failure_where_nobody_reads_it() {
        assert!(require(Ok::<(), String>(())));
        let skip = std::panic::catch_unwind(|| require(Err::<(), _>("this line is a test's own")));
        assert_eq!(skip.is_err(), continuous_integration());
        assert!(!skip.unwrap_or(false));
    }
}
