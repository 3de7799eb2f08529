//! A key in a file, for a laptop or a rehearsal: an age identity (<https://c2sp.org/age>), post-quantum or X25519.
//!
//! Whoever reads the file opens everything wrapped by it. It protects copies of etcd that leave the machine,
//! not the machine.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use keyward_crypto::SystemRandom;
use keyward_crypto::age::{self, Identity, Mixing, Unwrap};

use crate::credentials::{self, Privacy};
use crate::{Answer, Context, Kek, KeyVersion, Keystore, KeystoreError, payload};

/// The longest unwrapped payload that is read out of an age file.
const LONGEST_PAYLOAD: usize = 1024;

/// An age identity file: comments, and one `AGE-SECRET-KEY-PQ-1...` or `AGE-SECRET-KEY-1...` a line. The first identity wraps, all unwrap,
/// so that a key is rotated by putting a new one in front. The file is read again whenever it changes.
pub struct AgeFile {
    path: PathBuf,
    loaded: Mutex<Option<Arc<Loaded>>>,
}

struct Loaded {
    stamp: Stamp,
    identities: Vec<Key>,
}

/// An identity, and how its version is called.
struct Key {
    identity: Identity,
    version: KeyVersion,
}

/// What tells one state of a file from the next without reading it.
#[derive(PartialEq, Eq)]
struct Stamp(u64, u64, i64, i64, u64);

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp(metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len())
    }
}

impl AgeFile {
    /// Names the file; it is read with the first use, since it may appear later than this process.
    pub fn new(path: impl Into<PathBuf>) -> AgeFile {
        AgeFile { path: path.into(), loaded: Mutex::new(None) }
    }

    fn load(&self) -> Result<Arc<Loaded>, KeystoreError> {
        let file = credentials::open_private(&self.path, Privacy::OwnerOnly)?;
        let stamp = Stamp::of(&file.metadata().map_err(|error| unreadable(&self.path, &error))?);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = loaded.as_ref().filter(|known| known.stamp == stamp) {
            return Ok(known.clone());
        }
        let text = credentials::read(file, &self.path)?;
        let fresh = Arc::new(Loaded { stamp, identities: identities(&text, &self.path)? });
        *loaded = Some(fresh.clone());
        Ok(fresh)
    }

    fn wrap_now(
        &self,
        version: &KeyVersion,
        context: &Context<'_>,
        key: &Kek,
    ) -> Result<Vec<u8>, KeystoreError> {
        let loaded = self.load()?;
        let Some(key_of_version) = loaded.identities.iter().find(|key| key.version == *version) else {
            return Err(KeystoreError::Key(format!("{} no longer holds {version}", self.path.display())));
        };
        let recipient = key_of_version.identity.recipient().ok_or_else(KeystoreError::does_not_open)?;
        age::seal(&[&recipient], Mixing::Refuse, &SystemRandom, payload::seal(key, context).as_slice())
            .map_err(|error| KeystoreError::Key(format!("age cannot encrypt: {error}")))
    }

    fn unwrap_now(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<Kek, KeystoreError> {
        let loaded = self.load()?;
        let identities: Vec<&dyn Unwrap> =
            loaded.identities.iter().map(|key| &key.identity as &dyn Unwrap).collect();
        let opened = age::open(wrapped, &identities, LONGEST_PAYLOAD);
        payload::open(opened.map_err(|_| KeystoreError::does_not_open())?.expose(), context)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> KeystoreError {
    KeystoreError::Denied(format!("cannot read {}: {error}", path.display()))
}

fn identities(text: &str, path: &Path) -> Result<Vec<Key>, KeystoreError> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let unusable = || {
            KeystoreError::Key(format!(
                "line {} of {} is no identity: write AGE-SECRET-KEY-PQ-1... or AGE-SECRET-KEY-1..., as age-keygen does",
                at + 1,
                path.display()
            ))
        };
        let identity: Identity = line.parse().map_err(|_| unusable())?;
        let version = version_of(&identity).ok_or_else(unusable)?;
        found.push(Key { identity, version });
    }
    match found.is_empty() {
        true => Err(KeystoreError::Key(format!("{} holds no age identity", path.display()))),
        false => Ok(found),
    }
}

/// A classic recipient is short enough to be the version's name; of a post-quantum one its hash stands for it. A plugin's
/// is not known here, where nobody is asked to touch anything.
fn version_of(identity: &Identity) -> Option<KeyVersion> {
    match identity {
        Identity::X25519(identity) => KeyVersion::new(identity.recipient().to_string()),
        Identity::PostQuantum(identity) => {
            let hash = keyward_crypto::sha256(identity.recipient().to_string().as_bytes());
            let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            KeyVersion::new(format!("age1pq-sha256-{digits}"))
        }
        Identity::Ssh(_) | Identity::Plugin(_) => None,
    }
}

impl Keystore for AgeFile {
    fn identity(&self) -> &str {
        // The versions are public keys, which no two files share by chance: the path adds nothing but trouble
        // when the file is moved.
        "age-file"
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn current_version(&self) -> Answer<'_, KeyVersion> {
        Box::pin(async move {
            let loaded = self.load()?;
            let first = loaded.identities.first().map(|key| key.version.clone());
            first.ok_or_else(|| KeystoreError::Key("no identity".to_owned()))
        })
    }

    fn wrap<'a>(
        &'a self,
        version: &'a KeyVersion,
        context: &'a Context<'a>,
        key: &'a Kek,
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(async move { self.wrap_now(version, context, key) })
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a KeyVersion,
        context: &'a Context<'a>,
        wrapped: &'a [u8],
    ) -> Answer<'a, Kek> {
        Box::pin(async move { self.unwrap_now(context, wrapped) })
    }
}
