//! What the subcommands have in common: the way out, and for clients of the authority the connection and the token.

#[cfg(feature = "authority")]
mod advice;
#[cfg(feature = "authority")]
pub(crate) mod input;
pub(crate) mod output;
#[cfg(feature = "authority")]
mod session;
#[cfg(feature = "authority")]
pub(crate) mod token_helper;

use output::Format;
#[cfg(feature = "authority")]
use serde_json::Value;
use std::fmt;

#[cfg(feature = "authority")]
pub(crate) use session::{Connection, Session, client_config};

/// How to show the answer
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// How to write the answer; VAULT_FORMAT otherwise
    #[arg(long, short, global = true, value_enum, alias = "format", env = "VAULT_FORMAT")]
    output: Option<Format>,
    /// Write only this field, without a newline at the end where no terminal reads it
    #[arg(long, global = true, value_name = "NAME")]
    field: Option<String>,
}

/// Why a command failed, and the exit code that tells.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or its input is wrong: 1.
    Usage(String),
    /// The authority refused or cannot be reached: 2.
    #[cfg(feature = "authority")]
    Remote(String),
    #[cfg(feature = "authority")]
    /// There is nothing at the path: 2. Of a deleted version the authority tells the metadata.
    Absent {
        /// As an error of any other kind is told.
        said: String,
        /// The answer's data.
        data: Option<Value>,
    },
    /// The exit code is the whole answer.
    Code(u8),
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 1,
            #[cfg(feature = "authority")]
            Failure::Remote(_) | Failure::Absent { .. } => 2,
            Failure::Code(code) => *code,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(why) => f.write_str(why),
            #[cfg(feature = "authority")]
            Failure::Remote(why) | Failure::Absent { said: why, .. } => f.write_str(why),
            Failure::Code(_) => Ok(()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(why: std::io::Error) -> Failure {
        Failure::Usage(why.to_string())
    }
}
