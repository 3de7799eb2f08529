//! Why the plugin does not run, by blame.

use std::fmt;

/// Why the plugin did not start, or stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServeError {
    /// The options are wrong; one line per mistake.
    Options(Vec<String>),
    /// The socket cannot be ours.
    Socket(String),
    /// The state folder or the registry is unusable.
    State(String),
    /// The operating system failed us.
    System(String),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Options(mistakes) => f.write_str(&mistakes.join("\n")),
            ServeError::Socket(why) | ServeError::State(why) | ServeError::System(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ServeError {}
