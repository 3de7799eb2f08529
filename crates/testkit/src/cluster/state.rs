//! What is on disk about a cluster, so that whoever comes next can end it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Component;
use super::binaries::lock;
use super::error::{Error, doing};
use crate::process::ProcessId;
use crate::say;

/// Where clusters are, the same for everyone on the machine, as are the names of their namespaces and control
/// groups. Only root runs them.
const ROOT: &str = "/var/lib/keyward-test";

/// How long a test waits for another process's test that uses the same name.
const IN_USE_LIMIT: Duration = Duration::from_secs(600);

/// Everything a later process must know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) name: String,
    pub(super) node: bool,
    /// The process whose test this is; none for a cluster started to stay.
    pub(super) owner: Option<ProcessId>,
    /// Flags of the API server, after the ones every cluster has.
    pub(super) api_server_flags: Vec<String>,
    pub(super) components: BTreeMap<Component, ProcessId>,
    /// Holds the node's mount namespace.
    pub(super) mounts: Option<ProcessId>,
}

impl State {
    /// Reads what was recorded of `name`; none when there is nothing, or nothing readable.
    pub(super) fn load(name: &str) -> Result<Option<State>, Error> {
        match fs::read(state_file(&folder(name)?)) {
            // A half-written state cannot exist, but an older version's can; its processes are found without it.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(doing(format!("reading the state of cluster {name}"))(error)),
        }
    }

    /// Writes the state, whole or not at all.
    pub(super) fn save(&self) -> Result<(), Error> {
        let file = state_file(&folder(&self.name)?);
        let partial = file.with_extension("partial");
        let text = serde_json::to_vec_pretty(self).map_err(|error| doing("writing state")(error.into()))?;
        fs::write(&partial, text)
            .and_then(|()| fs::rename(&partial, &file))
            .map_err(doing(format!("writing {}", file.display())))
    }
}

/// Where the cluster called `name` keeps everything.
pub(super) fn folder(name: &str) -> Result<PathBuf, Error> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 24 || !name.bytes().all(allowed) {
        return Err(Error::BadName(name.to_owned()));
    }
    Ok(Path::new(ROOT).join("clusters").join(name))
}

/// Where the logs of a cluster called `name` are kept when it failed.
pub(super) fn kept_logs(name: &str) -> PathBuf {
    Path::new(ROOT).join("logs").join(name)
}

/// Keeps others from starting or ending the cluster called `name`.
pub(super) fn lock_name(name: &str) -> Result<File, Error> {
    let folder = folder(name)?;
    let parent = folder.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(doing(format!("making {}", parent.display())))?;
    lock(&folder.with_extension("lock"), "another process starts or ends this cluster; waiting for it")
}

/// Takes the name's lock once no live process owns a cluster of that name; waits for one that does, aloud.
pub(super) fn claim(name: &str) -> Result<File, Error> {
    let began = Instant::now();
    let mut told = false;
    loop {
        let lock = lock_name(name)?;
        let owner = State::load(name)?.and_then(|state| state.owner).filter(|owner| owner.is_running());
        let Some(owner) = owner else { return Ok(lock) };
        if owner.pid() == std::process::id() || began.elapsed() >= IN_USE_LIMIT {
            return Err(Error::InUse { name: name.to_owned(), pid: owner.pid() });
        }
        drop(lock);
        if !std::mem::replace(&mut told, true) {
            say(format_args!("process {} runs the cluster {name}; waiting for it to end", owner.pid()));
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// The names of the clusters something is recorded of.
pub(super) fn names() -> Result<Vec<String>, Error> {
    let clusters = Path::new(ROOT).join("clusters");
    let entries = match fs::read_dir(&clusters) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(doing(format!("reading {}", clusters.display()))(error)),
    };
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn state_file(folder: &Path) -> PathBuf {
    folder.join("state.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_segment_and_nothing_more() {
        assert!(folder("kms-1").unwrap().ends_with("clusters/kms-1"));
        for bad in ["", "..", "a/b", "A", "a b", "x23456789012345678901234y"] {
            assert!(matches!(folder(bad), Err(Error::BadName(_))), "{bad:?}");
        }
    }
}
