//! The phases of trust of a cluster (RFC-SECOPS, "Trust Establishment Timeline").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Invalid, invalid};

/// Who is trusted so far. Phases follow each other, and a cluster may stay in any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// 0: only the offline root exists.
    Root,
    /// 1: Git, and what applies it to a cluster.
    Git,
    /// 2: bootstrap secrets are opened.
    Bootstrap,
    /// 3: the runtime authority is up, and takes over.
    Authority,
    /// 4: the runtime authority owns every secret.
    Steady,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Phase; 5] = [Phase::Root, Phase::Git, Phase::Bootstrap, Phase::Authority, Phase::Steady];

    /// As manifests have it.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Root => "root",
            Phase::Git => "git",
            Phase::Bootstrap => "bootstrap",
            Phase::Authority => "authority",
            Phase::Steady => "steady",
        }
    }

    /// 0 to 4.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Phase {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Phase, Invalid> {
        match Phase::ALL.into_iter().find(|phase| phase.name() == text) {
            Some(phase) => Ok(phase),
            None => invalid("a phase is root, git, bootstrap, authority or steady"),
        }
    }
}
