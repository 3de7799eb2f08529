//! What this node remembers of its keys: every identifier it ever used, and the wrapped local keys.
//!
//! One file, replaced whole. It holds nothing secret, yet is kept from other users: who can write it could
//! make the plugin go back to an older key.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use keyward_keystores::KeyVersion;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::envelope::WrappedKek;
use crate::key_id::key_id;

const FILE: &str = "registry.json";
const EPOCH_FILE: &str = "epoch";
const FORMAT: u32 = 1;
const LONGEST: u64 = 4 << 20;

/// The folder of a plugin's state, locked for this process.
pub(crate) struct State {
    folder: PathBuf,
    _lock: File,
}

/// Every key of one provider for one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registry {
    pub(crate) cluster: String,
    pub(crate) provider: String,
    keys: Vec<Entry>, // the last one is current
}

/// One key: the identifier the API server knows, and the local key of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key_id: String,
    pub(crate) record: WrappedKek,
    pub(crate) since: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    cluster: String,
    provider: String,
    keys: Vec<DocumentEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentEntry {
    key_id: String,
    epoch: u64,
    version: String,
    wrapped: String,
    since: String,
}

impl Registry {
    pub(crate) fn new(cluster: &str, provider: &str) -> Registry {
        Registry { cluster: cluster.to_owned(), provider: provider.to_owned(), keys: Vec::new() }
    }

    pub(crate) fn current(&self) -> Option<&Entry> {
        self.keys.last()
    }

    pub(crate) fn knows(&self, key_id: &str) -> bool {
        self.keys.iter().any(|entry| entry.key_id == key_id)
    }

    /// This registry with a new current key. Its identifier must not be known yet.
    pub(crate) fn with(&self, record: WrappedKek, since: String) -> Registry {
        let mut next = self.clone();
        let key_id = key_id(&self.cluster, &self.provider, &record.version, record.epoch);
        next.keys.push(Entry { key_id, record, since });
        next
    }

    fn to_json(&self) -> Result<Vec<u8>, String> {
        let keys = self.keys.iter().map(|entry| DocumentEntry {
            key_id: entry.key_id.clone(),
            epoch: entry.record.epoch,
            version: entry.record.version.to_string(),
            wrapped: hex::encode(&entry.record.wrapped),
            since: entry.since.clone(),
        });
        let document = Document {
            format: FORMAT,
            cluster: self.cluster.clone(),
            provider: self.provider.clone(),
            keys: keys.collect(),
        };
        serde_json::to_vec_pretty(&document).map_err(|error| error.to_string())
    }

    /// Reads and checks a registry: each identifier must be the one its other fields give, and occur once.
    fn from_json(text: &[u8]) -> Result<Registry, String> {
        let document: Document = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if document.format != FORMAT {
            return Err(format!("format {} is not known to this version", document.format));
        }
        let mut registry = Registry::new(&document.cluster, &document.provider);
        for entry in document.keys {
            let version = KeyVersion::new(entry.version).ok_or("a version is malformed")?;
            let wrapped = hex::decode(&entry.wrapped).map_err(|_| "a wrapped key is malformed")?;
            let known = registry.knows(&entry.key_id);
            registry = registry.with(WrappedKek { epoch: entry.epoch, version, wrapped }, entry.since);
            if known || registry.current().is_none_or(|made| made.key_id != entry.key_id) {
                return Err(format!("{} is not the identifier of its key", entry.key_id));
            }
        }
        Ok(registry)
    }
}

impl State {
    /// Opens the folder, making it when absent, and keeps every other process out of it.
    pub(crate) fn open(folder: &Path) -> Result<State, String> {
        let shown = folder.display();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| format!("cannot make the state folder {shown}: {error}"))?;
        let metadata =
            fs::metadata(folder).map_err(|error| format!("cannot read the state folder {shown}: {error}"))?;
        let ours = rustix::process::geteuid().as_raw();
        if metadata.uid() != ours || metadata.mode() & 0o022 != 0 {
            return Err(format!(
                "the state folder {shown} can be written by others: chown {ours} and chmod 0700 it"
            ));
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join("lock"))
            .map_err(|error| format!("cannot lock the state folder {shown}: {error}"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| format!("another process uses the state folder {shown}: one plugin, one folder"))?;
        Ok(State { folder: folder.to_owned(), _lock: lock })
    }

    /// The registry, or a new one when there is none yet. A broken one is an error: it is never written over.
    pub(crate) fn load(&self, cluster: &str, provider: &str) -> Result<Registry, String> {
        let path = self.folder.join(FILE);
        let Some(text) = read(&path)? else { return Ok(Registry::new(cluster, provider)) };
        let registry = Registry::from_json(&text).map_err(|why| {
            format!(
                "{} is damaged ({why}): restore it from a copy, or move it away and start with an --epoch higher than any used",
                path.display()
            )
        })?;
        if registry.cluster != cluster || registry.provider != provider {
            return Err(format!(
                "{} belongs to cluster {:?} and provider {:?}, not to {cluster:?} and {provider:?}: \
                 another cluster or provider needs a state folder of its own",
                path.display(),
                registry.cluster,
                registry.provider
            ));
        }
        Ok(registry)
    }

    /// Replaces the registry: after this returns, the new one survives a crash.
    pub(crate) fn save(&self, registry: &Registry) -> Result<(), String> {
        write(&self.folder, FILE, &registry.to_json()?)
    }

    /// The epoch asked for by [`request_epoch`], if any.
    pub(crate) fn requested_epoch(&self) -> Result<Option<u64>, String> {
        requested(&self.folder)
    }
}

/// Asks the plugin that owns `folder` to go to a later epoch: `epoch`, or one more than the present.
/// Returns the epoch asked for. It takes effect with the plugin's next check, or at once on SIGHUP.
pub fn request_epoch(folder: &Path, epoch: Option<u64>) -> Result<u64, String> {
    let path = folder.join(FILE);
    let Some(text) = read(&path)? else {
        return Err(format!(
            "{} is not there: has the plugin ever run with this state folder?",
            path.display()
        ));
    };
    let registry =
        Registry::from_json(&text).map_err(|why| format!("{} is damaged: {why}", path.display()))?;
    let present =
        registry.current().map_or(0, |entry| entry.record.epoch).max(requested(folder)?.unwrap_or(0));
    let next = epoch.unwrap_or(present.saturating_add(1));
    if next <= present {
        return Err(format!("epoch {next} is not later than {present}: an epoch is never used again"));
    }
    write(folder, EPOCH_FILE, format!("{next}\n").as_bytes())?;
    Ok(next)
}

fn requested(folder: &Path) -> Result<Option<u64>, String> {
    let path = folder.join(EPOCH_FILE);
    let Some(text) = read(&path)? else { return Ok(None) };
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
    number
        .map(Some)
        .ok_or_else(|| format!("{} holds no whole number: write one, or remove it", path.display()))
}

/// The bytes of a file that only its owner can write; `None` when it is absent.
fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    let metadata = file.metadata().map_err(failed)?;
    if metadata.mode() & 0o022 != 0 {
        return Err(format!("{} can be written by others: chmod 0600 it", path.display()));
    }
    if metadata.len() > LONGEST {
        return Err(format!("{} is longer than {} MiB", path.display(), LONGEST >> 20));
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).map_err(failed)?;
    Ok(Some(text))
}

fn write(folder: &Path, name: &str, text: &[u8]) -> Result<(), String> {
    let (path, fresh) = (folder.join(name), folder.join(format!("{name}.new")));
    let replace = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(folder)?.sync_all()
    };
    replace().map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn record(version: &str, epoch: u64) -> WrappedKek {
        WrappedKek { epoch, version: KeyVersion::new(version).unwrap(), wrapped: vec![1, 2, 3] }
    }

    fn sample() -> Registry {
        let at = || "2026-11-21T00:00:00Z".to_owned();
        Registry::new("prod", "age-file").with(record("1", 1), at()).with(record("2", 1), at())
    }

    #[test]
    fn reads_back_and_survives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let state = State::open(&path).unwrap();
        assert_eq!(state.load("prod", "age-file").unwrap(), Registry::new("prod", "age-file"));
        state.save(&sample()).unwrap();
        assert_eq!(state.load("prod", "age-file").unwrap(), sample());
        let mode = fs::metadata(path.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(sample().knows(&sample().keys[0].key_id) && !sample().knows("kw1-other"));
    }

    #[test]
    fn a_folder_has_one_user() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let error = State::open(folder.path()).err().unwrap();
        assert!(error.contains("another process"), "{error}");
        drop(state);
        State::open(folder.path()).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o775)).unwrap();
        assert!(State::open(folder.path()).err().unwrap().contains("chmod 0700"));
    }

    #[test]
    fn another_cluster_or_provider_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        state.save(&sample()).unwrap();
        assert!(state.load("test", "age-file").unwrap_err().contains("belongs to cluster"));
        assert!(state.load("prod", "transit::transit/kube").is_err());
    }

    #[test]
    fn a_damaged_registry_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let good = String::from_utf8(sample().to_json().unwrap()).unwrap();
        let damaged = [
            good[..good.len() / 2].to_owned(),
            String::new(),
            good.replace("\"format\": 1", "\"format\": 2"),
            good.replace("\"epoch\": 1", "\"epoch\": 3"),
            good.replace("\"version\": \"2\"", "\"version\": \"1\""),
            good.replace("010203", "zz"),
            good.replace("\"cluster\": \"prod\"", "\"cluster\": \"other\""),
        ];
        for text in damaged {
            fs::write(folder.path().join(FILE), &text).unwrap();
            fs::set_permissions(folder.path().join(FILE), fs::Permissions::from_mode(0o600)).unwrap();
            let error = state.load("prod", "age-file").unwrap_err();
            assert!(error.contains("damaged"), "{text}: {error}");
            assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), text);
        }
        state.save(&sample()).unwrap();
        fs::set_permissions(folder.path().join(FILE), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(state.load("prod", "age-file").unwrap_err().contains("chmod 0600"));
    }

    #[test]
    fn epochs_only_grow() {
        let folder = tempfile::tempdir().unwrap();
        assert!(request_epoch(folder.path(), None).unwrap_err().contains("has the plugin ever run"));
        let state = State::open(folder.path()).unwrap();
        state.save(&sample()).unwrap();
        assert_eq!(state.requested_epoch(), Ok(None));
        assert_eq!(request_epoch(folder.path(), None), Ok(2));
        assert_eq!(state.requested_epoch(), Ok(Some(2)));
        assert_eq!(request_epoch(folder.path(), None), Ok(3));
        assert_eq!(request_epoch(folder.path(), Some(9)), Ok(9));
        for old in [1, 8, 9] {
            assert!(request_epoch(folder.path(), Some(old)).unwrap_err().contains("not later"));
        }
        fs::write(folder.path().join(EPOCH_FILE), "soon").unwrap();
        assert!(state.requested_epoch().is_err());
    }
}
