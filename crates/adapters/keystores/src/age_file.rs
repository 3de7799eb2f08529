//! A key in a file, for a laptop or a rehearsal: an age identity (<https://age-encryption.org/v1>, X25519).
//!
//! Whoever reads the file opens everything wrapped by it. It protects copies of etcd that leave the machine,
//! not the machine.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use age::x25519::Identity;
use zeroize::Zeroizing;

use crate::credentials::{self, Privacy};
use crate::{Answer, Context, Kek, KeyVersion, Keystore, KeystoreError, payload};

/// The longest unwrapped payload that is read out of an age file.
const LONGEST_PAYLOAD: u64 = 1024;

/// An age identity file: comments, and one `AGE-SECRET-KEY-1...` a line. The first identity wraps, all unwrap,
/// so that a key is rotated by putting a new one in front. The file is read again whenever it changes.
pub struct AgeFile {
    path: PathBuf,
    loaded: Mutex<Option<Arc<Loaded>>>,
}

struct Loaded {
    stamp: Stamp,
    identities: Vec<Identity>,
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
        let named = |identity: &&Identity| identity.to_public().to_string() == version.as_str();
        let Some(identity) = loaded.identities.iter().find(named) else {
            return Err(KeystoreError::Key(format!("{} no longer holds {version}", self.path.display())));
        };
        let recipient = identity.to_public();
        age::encrypt(&recipient, payload::seal(key, context).as_slice())
            .map_err(|error| KeystoreError::Key(format!("age cannot encrypt: {error}")))
    }

    fn unwrap_now(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<Kek, KeystoreError> {
        let loaded = self.load()?;
        let refused = |_| KeystoreError::does_not_open();
        let decryptor = age::Decryptor::new_buffered(wrapped).map_err(|_| KeystoreError::does_not_open())?;
        let identities = loaded.identities.iter().map(|identity| identity as &dyn age::Identity);
        let reader = decryptor.decrypt(identities).map_err(|_| KeystoreError::does_not_open())?;
        let mut opened = Zeroizing::new(Vec::with_capacity(payload::LENGTH + 1));
        reader.take(LONGEST_PAYLOAD).read_to_end(&mut opened).map_err(refused)?;
        payload::open(&opened, context)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> KeystoreError {
    KeystoreError::Denied(format!("cannot read {}: {error}", path.display()))
}

fn identities(text: &str, path: &Path) -> Result<Vec<Identity>, KeystoreError> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let identity = line.parse().map_err(|_| {
            KeystoreError::Key(format!(
                "line {} of {} is no X25519 identity: write AGE-SECRET-KEY-1..., as age-keygen does",
                at + 1,
                path.display()
            ))
        })?;
        found.push(identity);
    }
    match found.is_empty() {
        true => Err(KeystoreError::Key(format!("{} holds no age identity", path.display()))),
        false => Ok(found),
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
            let first = loaded.identities.first().map(|identity| identity.to_public().to_string());
            first.and_then(KeyVersion::new).ok_or_else(|| KeystoreError::Key("no identity".to_owned()))
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
