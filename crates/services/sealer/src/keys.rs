//! Keys in files: identities to open with, and authors' keys to sign with.

use std::path::Path;
use std::sync::Arc;

use keyward_crypto::Secret;
use keyward_crypto::age::{self, Identity, Unwrap, plugin, scrypt};
use keyward_crypto::secret::SecretString;
use keyward_sealing::Signer;

use crate::{Programs, SealerError, files, terminal};

/// The longest identity file in an age file.
const LONGEST: usize = 1 << 20;

/// Identities of any kind.
#[derive(Default)]
pub struct Keys {
    identities: Vec<Identity>,
    passphrase: Option<scrypt::Passphrase>,
}

impl Keys {
    /// From files: age identities, one a line; a private key of OpenSSH; or either inside an age file under a passphrase,
    /// which is asked for.
    pub fn read<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<Keys, SealerError> {
        let host: Arc<dyn plugin::Host> = Arc::new(Programs);
        let mut keys = Keys::default();
        for path in paths {
            let bytes = files::read_key(path)?;
            let text = match is_sealed(bytes.expose()) {
                true => open_sealed(path, bytes.expose())?,
                false => as_text(path, bytes.expose())?,
            };
            let read = age::read_identities(text.expose()).map_err(|(line, why)| match line {
                0 => SealerError::at(path, why),
                line => SealerError::at(path, format!("line {line}: {why}")),
            })?;
            keys.identities.extend(read.into_iter().map(|identity| identity.with_plugins(&host)));
        }
        Ok(keys)
    }

    /// With one more.
    pub fn push(&mut self, identity: Identity) {
        self.identities.push(identity);
    }

    /// With a passphrase.
    pub fn with_passphrase(&mut self, passphrase: scrypt::Passphrase) {
        self.passphrase = Some(passphrase);
    }

    /// As what unwraps.
    pub fn unwraps(&self) -> Vec<&dyn Unwrap> {
        let mut all = age::identities(&self.identities);
        all.extend(self.passphrase.as_ref().map(|passphrase| passphrase as &dyn Unwrap));
        all
    }

    /// The identities themselves.
    pub fn identities(&self) -> &[Identity] {
        &self.identities
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty() && self.passphrase.is_none()
    }
}

fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(b"age-encryption.org/") || bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
}

fn as_text(path: &Path, bytes: &[u8]) -> Result<SecretString, SealerError> {
    let text = std::str::from_utf8(bytes).map_err(|_| SealerError::at(path, "it is not text"))?;
    Ok(Secret::new(text.to_owned()))
}

fn open_sealed(path: &Path, bytes: &[u8]) -> Result<SecretString, SealerError> {
    let question = format!("Passphrase of {}:", path.display());
    let passphrase = terminal::ask(&question, true).ok_or_else(|| {
        SealerError::at(path, "it has a passphrase, and there is no terminal to ask for it on")
    })?;
    let passphrase = scrypt::Passphrase::new(passphrase).map_err(|why| SealerError::at(path, why))?;
    let opened = age::open(bytes, &[&passphrase], LONGEST).map_err(|why| SealerError::at(path, why))?;
    as_text(path, opened.expose())
}

/// An author's key.
pub fn signer(path: &Path) -> Result<Signer, SealerError> {
    let bytes = files::read_key(path)?;
    let text = as_text(path, bytes.expose())?;
    Signer::read(text.expose()).map_err(|why| SealerError::at(path, why))
}
