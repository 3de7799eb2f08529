//! What keeps a cluster from running.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::process::TimedOut;

/// Why something about a cluster could not be done. Each text says what to do next where that is known.
#[derive(Debug)]
pub enum Error {
    /// This machine or user cannot run it; a test is then skipped.
    Unavailable(String),
    /// Another process runs a cluster of this name.
    InUse {
        /// The cluster's name.
        name: String,
        /// The process that started it.
        pid: u32,
    },
    /// A cluster's name must be 1 to 24 characters of `a-z`, `0-9` and `-`.
    BadName(String),
    /// A file, process or kernel object could not be used.
    Io {
        /// What was being done.
        doing: String,
        /// What the system answered.
        source: io::Error,
    },
    /// A command ran and failed.
    Failed {
        /// The command with its arguments.
        command: String,
        /// Its exit status and standard error.
        reason: String,
    },
    /// A component did not become what it should in time, or ended.
    NotReady {
        /// What was waited for.
        what: String,
        /// The end of the component's log.
        log: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unavailable(reason) => write!(f, "a test cluster cannot run here: {reason}"),
            Error::InUse { name, pid } => {
                write!(f, "process {pid} runs the cluster {name:?}: choose another name, or end that process")
            }
            Error::BadName(name) => {
                write!(f, "{name:?} cannot name a cluster: use 1 to 24 characters of a-z, 0-9 and '-'")
            }
            Error::Io { doing, source } => write!(f, "{doing}: {source}"),
            Error::Failed { command, reason } => write!(f, "`{command}` failed: {reason}"),
            Error::NotReady { what, log } => write!(f, "{what}\n{log}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<TimedOut> for Error {
    fn from(late: TimedOut) -> Error {
        Error::NotReady { what: late.to_string(), log: String::new() }
    }
}

impl From<crate::certificates::Error> for Error {
    fn from(error: crate::certificates::Error) -> Error {
        Error::Io { doing: "making certificates".into(), source: io::Error::other(error.to_string()) }
    }
}

/// Says what was being done when the system refused.
pub(super) fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { doing: what, source }
}

/// Runs a command to its successful end and returns its standard output.
pub(super) fn run(
    command: &mut std::process::Command,
    input: &[u8],
    limit: Duration,
) -> Result<Vec<u8>, Error> {
    let shown = shown(command);
    let finished = crate::process::run(command, input, limit).map_err(doing(shown.clone()))?;
    if finished.status.success() {
        return Ok(finished.stdout);
    }
    Err(Error::Failed { command: shown, reason: format!("{}: {}", finished.status, finished.stderr.trim()) })
}

fn shown(command: &std::process::Command) -> String {
    let parts = std::iter::once(command.get_program()).chain(command.get_args());
    parts.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The last lines of a log, for an error.
pub(super) fn tail(log: &Path) -> String {
    let text = crate::process::read_lossy(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}
