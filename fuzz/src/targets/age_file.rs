//! What the age-file provider is given to unwrap: the API server had it from etcd.

use crate::open::runtime;
use keyward_crypto::{Secret, SystemRandom, age};
use keyward_keystores::{AgeFile, Context, KeyVersion, Keystore};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;
use tempfile::TempDir;

/// A provider with an identity file, which stays as long as the process.
pub(super) struct Provider {
    pub(super) folder: TempDir,
    pub(super) keystore: AgeFile,
}

impl Provider {
    pub(super) fn with(identity: &[u8]) -> Provider {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(identity).unwrap();
        Provider { folder, keystore: AgeFile::new(path) }
    }

    pub(super) fn version(&self) -> Option<KeyVersion> {
        runtime().block_on(self.keystore.current_version()).ok()
    }
}

/// An identity nobody uses.
pub(super) const IDENTITY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

const CONTEXT: Context<'_> = Context { cluster: "c", provider: "p", key_id: "kw1-1", epoch: 1 };

fn provider() -> &'static Provider {
    static PROVIDER: OnceLock<Provider> = OnceLock::new();
    PROVIDER.get_or_init(|| Provider::with(IDENTITY.as_bytes()))
}

pub(crate) fn run(data: &[u8]) {
    let provider = provider();
    let version = provider.version().unwrap();
    let _ = runtime().block_on(provider.keystore.unwrap(&version, &CONTEXT, data));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let provider = provider();
    let version = provider.version().unwrap();
    let key = Secret::from_slice(&[7; 32]).unwrap();
    let wrapped = runtime().block_on(provider.keystore.wrap(&version, &CONTEXT, &key)).unwrap();
    assert!(runtime().block_on(provider.keystore.unwrap(&version, &CONTEXT, &wrapped)).is_ok());
    let recipient: age::Recipient = version.as_str().parse().unwrap();
    vec![wrapped, age::seal(&[&recipient], age::Mixing::Refuse, &SystemRandom, b"no payload").unwrap()]
}
