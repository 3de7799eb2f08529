//! Providers that wrap a key-encryption key made here, so that it can rest beside what it protects.
//!
//! A provider never sees what the key encrypts, and keeps nothing of ours: it wraps 32 bytes, and unwraps them
//! for whoever it allows. Every wrapped key is bound to its [`Context`] twice: as associated data where the
//! provider knows such a thing, and by a digest inside the wrapped bytes ([`payload`]) with every provider.

mod age_file;
mod breaker;
mod credentials;
mod error;
mod payload;
mod transit;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use keyward_crypto::{Secret, sha256};

pub use age_file::AgeFile;
pub use credentials::{Credentials, secret_file};
pub use error::KeystoreError;
pub use transit::{Transit, TransitOptions};

/// What a provider's calls return.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, KeystoreError>> + Send + 'a>>;

/// A 256-bit key-encryption key.
pub type Kek = Secret<[u8; 32]>;

/// A provider of key wrapping.
pub trait Keystore: Send + Sync {
    /// Which key this is, for ever and on every node: kind and name, never an address or a credential. Public.
    fn identity(&self) -> &str;

    /// Where the provider is, for people: an address or a path.
    fn location(&self) -> String;

    /// The version that wraps now. Another one after a rotation, or after the key was replaced by another of
    /// the same name; never one that an earlier, different key had.
    fn current_version(&self) -> Answer<'_, KeyVersion>;

    /// Wraps `key` under `version`, which must be one that [`current_version`](Self::current_version) told.
    fn wrap<'a>(
        &'a self,
        version: &'a KeyVersion,
        context: &'a Context<'a>,
        key: &'a Kek,
    ) -> Answer<'a, Vec<u8>>;

    /// Unwraps what `wrap` made with the same version and context.
    fn unwrap<'a>(
        &'a self,
        version: &'a KeyVersion,
        context: &'a Context<'a>,
        wrapped: &'a [u8],
    ) -> Answer<'a, Kek>;

    /// The provider's clock, as the time since 1970, where it has one of its own.
    fn clock(&self) -> Answer<'_, Option<Duration>> {
        Box::pin(async { Ok(None) })
    }

    /// How long until the provider's credentials want renewing, which any call does. `None`: never.
    fn due(&self) -> Option<Duration> {
        None
    }

    /// What an operator should know although everything works, as a token that cannot be renewed for ever.
    fn notice(&self) -> Option<String> {
        None
    }
}

/// The version of a provider's key: at most 128 printable ASCII characters without spaces. Public.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyVersion(String);

impl KeyVersion {
    /// Most characters of a version.
    pub const LONGEST: usize = 128;

    /// Checks and takes `text`.
    pub fn new(text: impl Into<String>) -> Option<KeyVersion> {
        let text = text.into();
        let fits =
            (1..=Self::LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then_some(KeyVersion(text))
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a wrapped key belongs to. It opens in no other context. Public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// The Kubernetes cluster.
    pub cluster: &'a str,
    /// The name of the plugin's provider, as the API server's configuration has it.
    pub provider: &'a str,
    /// The identifier under which the API server knows the provider's key.
    pub key_id: &'a str,
    /// The operator's rotation counter.
    pub epoch: u64,
}

impl Context<'_> {
    /// The context as bytes; different contexts never give the same ones.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = b"keyward kek v1".to_vec();
        for field in [self.cluster, self.provider, self.key_id] {
            out.extend_from_slice(&(field.len() as u64).to_be_bytes());
            out.extend_from_slice(field.as_bytes());
        }
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out
    }

    fn digest(&self) -> [u8; 32] {
        sha256(&self.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_do_not_run_together() {
        let context =
            |cluster, provider, key_id, epoch| Context { cluster, provider, key_id, epoch }.encode();
        assert_ne!(context("ab", "c", "d", 1), context("a", "bc", "d", 1));
        assert_ne!(context("a", "b", "cd", 1), context("a", "bc", "d", 1));
        assert_ne!(context("a", "b", "c", 1), context("a", "b", "c", 2));
        assert_eq!(context("a", "b", "c", 1), context("a", "b", "c", 1));
    }

    #[test]
    fn a_version_is_short_and_printable() {
        assert!(KeyVersion::new("3@1732170000").is_some());
        for bad in ["", "a b", "a\n", "é", &"x".repeat(129)] {
            assert!(KeyVersion::new(bad).is_none(), "{bad:?}");
        }
        assert!(KeyVersion::new("x".repeat(128)).is_some());
    }
}
