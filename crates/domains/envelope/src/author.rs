//! Who makes sealed secrets: SSH keys of the type Ed25519, such as people sign commits with.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD as BASE64, BASE64_STANDARD_NO_PAD as PLAIN};
use keyward_crypto::keys::{Ed25519Key, Key, KeyType};
use keyward_crypto::secret::{SecretKey, SecretString};
use keyward_crypto::ssh::{self, PublicKey};
use keyward_crypto::{Secret, sha256};

use crate::violation::{Failure, invalid};

/// What signs. What is signed begins with a text no other protocol begins with.
pub struct Signer {
    key: Ed25519Key,
    public: PublicKey,
}

impl Signer {
    /// From a private key file as `ssh-keygen -t ed25519` writes it, without a passphrase.
    pub fn read(text: &str) -> Result<Signer, Failure> {
        let wrong =
            "an author's key is an SSH private key of the type Ed25519: make one with ssh-keygen -t ed25519";
        match ssh::read_private(text) {
            Ok((_, Key::Ed25519(key))) => Signer::of(key),
            Err(ssh::Error::Key(why)) => invalid(why),
            _ => invalid(wrong),
        }
    }

    /// Of a seed of 32 bytes.
    pub fn from_seed(seed: SecretKey) -> Result<Signer, Failure> {
        Signer::of(Ed25519Key::from_seed(seed))
    }

    fn of(key: Ed25519Key) -> Result<Signer, Failure> {
        let spki = Key::import_public(KeyType::Ed25519, &spki(key.public()));
        let public = spki.ok().as_ref().and_then(PublicKey::of);
        match public {
            Some(public) => Ok(Signer { key, public }),
            None => invalid("the author's key cannot be used"),
        }
    }

    /// As `authorized_keys` has it.
    pub fn public(&self) -> String {
        self.public.line()
    }

    /// As `ssh-keygen` writes private keys.
    pub fn text(&self) -> Option<SecretString> {
        let both = self.key.seed_and_public()?;
        let seed = SecretKey::from_slice(both.expose().get(..32)?)?;
        ssh::private_text(&Key::Ed25519(Ed25519Key::from_seed(seed)))
    }

    /// The signature of `message`, in base64.
    pub fn sign(&self, message: &[u8]) -> Result<String, Failure> {
        match self.key.sign(message) {
            Ok(signature) => Ok(BASE64.encode(signature)),
            Err(_) => invalid("the author's key cannot sign"),
        }
    }
}

/// A subject public key (RFC 8410, 4).
fn spki(point: &[u8; 32]) -> Vec<u8> {
    const HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    [HEAD.as_slice(), point].concat()
}

/// Whose signature is checked.
pub struct AuthorKey {
    key: Key,
    public: PublicKey,
}

impl AuthorKey {
    /// From a line as `authorized_keys` has it.
    pub fn read(line: &str) -> Result<AuthorKey, Failure> {
        let wrong = "an author is an SSH public key of the type Ed25519";
        let public = PublicKey::read(line).ok();
        let key = public.as_ref().and_then(PublicKey::ed25519);
        let key = key.and_then(|point| Key::import_public(KeyType::Ed25519, &spki(point)).ok());
        match (key, public) {
            (Some(key), Some(public)) => Ok(AuthorKey { key, public }),
            _ => invalid(wrong),
        }
    }

    /// As `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", PLAIN.encode(sha256(&self.public.wire())))
    }

    /// The same key, whatever comment stands behind it.
    pub fn is(&self, line: &str) -> bool {
        PublicKey::read(line).is_ok_and(|other| other == self.public)
    }

    /// Whether `signature`, in base64, is one of `message`.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let Ok(signature) = BASE64.decode(signature) else { return false };
        matches!(&self.key, Key::Ed25519(key) if key.verify(message, &signature))
    }
}

/// A new author's key.
pub fn generate(random: &dyn keyward_core::Random) -> Result<Signer, Failure> {
    Signer::from_seed(Secret::random(random))
}
