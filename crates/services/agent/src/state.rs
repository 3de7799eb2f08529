//! How the agent is, for its startup probe: what that prints the kubelet writes into an Event of the pod.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::AgentError;

const LOOK: Duration = Duration::from_millis(50);

#[derive(Serialize, Deserialize)]
struct Content {
    ready: bool,
    message: String,
}

/// A file that says how the agent is.
pub(crate) struct State {
    folder: Option<PathBuf>,
}

fn file(folder: &Path) -> PathBuf {
    folder.join("state")
}

impl State {
    pub(crate) fn new(folder: Option<PathBuf>) -> State {
        State { folder }
    }

    /// Says how it is, from now on.
    pub(crate) fn tell(&self, ready: bool, message: &str) -> Result<(), AgentError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let content = Content { ready, message: message.to_owned() };
        let text = serde_json::to_vec(&content).map_err(|why| AgentError::file(folder, why))?;
        let (next, now) = (folder.join(".state"), file(folder));
        let written = fs::write(&next, text).and_then(|()| fs::rename(&next, &now));
        written.map_err(|why| AgentError::file(&now, why))
    }
}

/// Waits until the agent whose state lies in `folder` has delivered everything, for `patience` at most; the error is why it
/// has not.
pub fn check(folder: &Path, patience: Duration) -> Result<(), String> {
    let end = Instant::now() + patience;
    loop {
        let read = fs::read(file(folder)).ok().and_then(|text| serde_json::from_slice::<Content>(&text).ok());
        match read {
            Some(Content { ready: true, .. }) => return Ok(()),
            Some(content) if Instant::now() >= end => return Err(content.message),
            None if Instant::now() >= end => return Err("the agent has not begun".to_owned()),
            _ => std::thread::sleep(LOOK),
        }
    }
}
