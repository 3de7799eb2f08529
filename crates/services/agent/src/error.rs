//! Why values are not there, by blame.

use std::fmt;
use std::path::Path;

use keyward_authority_client::ClientError;

/// Why the agent cannot do its work. Never holds a value.
#[derive(Debug)]
pub enum AgentError {
    /// It was started wrongly.
    Options(String),
    /// The folder cannot hold secrets.
    Folder(String),
    /// The authority is sealed or not initialised.
    Sealed,
    /// The authority cannot be asked.
    Unreachable(String),
    /// The authority refuses this workload.
    Refused(String),
    /// What the authority says cannot be understood.
    NotUnderstood(String),
    /// The API server cannot be asked, or refuses.
    Cluster(String),
    /// Etcd does not keep Secrets encrypted, or nobody can tell.
    AtRest(String),
    /// A Secret is there that somebody else made.
    Taken(String),
}

impl AgentError {
    pub(crate) fn file(path: &Path, why: impl fmt::Display) -> AgentError {
        AgentError::Folder(format!("{}: {why}", path.display()))
    }

    /// Whether somebody must act before it can get better.
    pub fn is_lasting(&self) -> bool {
        matches!(self, AgentError::Options(_) | AgentError::Folder(_))
    }
}

/// On one line: an event shows no other.
fn flat(messages: &[String]) -> String {
    let lines = messages.iter().flat_map(|message| message.lines());
    let said = lines.map(|line| line.trim_start_matches(['\t', ' ', '*']).trim_end());
    said.filter(|line| !line.is_empty() && !line.ends_with("occurred:")).collect::<Vec<_>>().join("; ")
}

impl From<ClientError> for AgentError {
    fn from(error: ClientError) -> AgentError {
        match &error {
            ClientError::Sealed(_) => AgentError::Sealed,
            ClientError::Denied(said) | ClientError::NotFound(said) | ClientError::BadRequest(said) => {
                AgentError::Refused(format!("{}: {}", said.path, flat(&said.messages)))
            }
            ClientError::Invalid(why) => AgentError::Refused(why.clone()),
            _ => AgentError::Unreachable(error.to_string()),
        }
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentError::Options(why) | AgentError::Folder(why) => f.write_str(why),
            AgentError::Sealed => f.write_str(
                "the authority is sealed: the pod waits until it is unsealed (keyward operator unseal)",
            ),
            AgentError::Unreachable(why) => write!(f, "the authority cannot be asked: {why}"),
            AgentError::Refused(why) => write!(
                f,
                "the authority does not open it for this pod: {why}; see that the object is there and Ready, that this pod's \
                 ServiceAccount is among its subjects, and that the role allows to open it"
            ),
            AgentError::Cluster(why) => write!(f, "the Secret cannot be written: {why}"),
            AgentError::AtRest(why) => write!(
                f,
                "no values are written to Secrets, for etcd would keep them in the open: {why}; have the API server encrypt \
                 Secrets by a KMS plugin (keyward kms doctor), let this ServiceAccount read /metrics (the ClusterRole \
                 system:monitoring), or say with --at-rest how they are kept"
            ),
            AgentError::Taken(why) => f.write_str(why),
            AgentError::NotUnderstood(why) => write!(f, "the authority's answer cannot be understood: {why}"),
        }
    }
}

impl std::error::Error for AgentError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_authority_says_fits_on_a_line() {
        let said = ["1 error occurred:\n\t* permission denied\n\n".to_owned(), "sealed".to_owned()];
        assert_eq!(flat(&said), "permission denied; sealed");
    }
}
