//! X25519 recipients, `age1...` and `AGE-SECRET-KEY-1...` (<https://c2sp.org/age>, "The X25519 recipient type").

use std::fmt;

use aws_lc_rs::agreement::PrivateKey;
use keyward_core::Random;

use super::format::{Stanza, decode, encode};
use super::{Error, FileKey, Unwrap, Wrap, wrap};
use crate::bech32;
use crate::mac::derive;
use crate::secret::{Secret, SecretKey, SecretString};

const TAG: &str = "X25519";
const LABEL: &[u8] = b"age-encryption.org/v1/X25519";
pub(super) const RECIPIENT: &str = "age";
pub(super) const IDENTITY: &str = "age-secret-key-";

/// Who can be sealed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recipient([u8; 32]);

impl Recipient {
    pub(super) fn from_data(data: &[u8]) -> Result<Recipient, Error> {
        let point = data.try_into().map_err(|_| Error::Key("an X25519 recipient has not 32 bytes"))?;
        match wrap::is_low_order(&point) {
            true => Err(Error::Key("an X25519 recipient is a point of low order, which hides nothing")),
            false => Ok(Recipient(point)),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32::encode(RECIPIENT, &self.0))
    }
}

impl Wrap for Recipient {
    fn wrap(&self, file_key: &FileKey, random: &dyn Random) -> Result<Vec<Stanza>, Error> {
        let ephemeral = wrap::private(SecretKey::random(random).expose());
        let share = wrap::public(&ephemeral);
        let shared = wrap::agree(&ephemeral, &self.0)
            .ok_or(Error::Key("an X25519 recipient is a point of low order, which hides nothing"))?;
        let body = wrap::seal(&wrap_key(&shared, &share, &self.0), file_key);
        Ok(vec![Stanza::new(TAG, &[&encode(&share)], body)])
    }
}

fn wrap_key(shared: &SecretKey, share: &[u8; 32], recipient: &[u8; 32]) -> SecretKey {
    Secret::new(derive(shared.expose(), &[share.as_slice(), recipient].concat(), LABEL))
}

/// Who opens.
pub struct Identity {
    secret: SecretKey,
    key: PrivateKey,
    public: [u8; 32],
}

impl Identity {
    /// Of a key; every 32 bytes are one.
    pub fn new(secret: SecretKey) -> Identity {
        let key = wrap::private(secret.expose());
        Identity { public: wrap::public(&key), key, secret }
    }

    /// A new one.
    pub fn generate(random: &dyn Random) -> Identity {
        Identity::new(Secret::random(random))
    }

    pub(super) fn from_data(data: &[u8]) -> Result<Identity, Error> {
        let secret = SecretKey::from_slice(data);
        secret.map(Identity::new).ok_or(Error::Key("an X25519 identity has not 32 bytes"))
    }

    /// Who to seal for.
    pub const fn recipient(&self) -> Recipient {
        Recipient(self.public)
    }

    /// As identity files have it.
    pub fn text(&self) -> SecretString {
        bech32::encode_upper(IDENTITY, self.secret.expose())
    }
}

impl Unwrap for Identity {
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, Error> {
        for stanza in stanzas.iter().filter(|stanza| stanza.tag() == TAG) {
            let [share] = stanza.exactly()?;
            let share = decode(share)?;
            let body = stanza.wrapped_key()?;
            let shared = wrap::agree(&self.key, &share)
                .ok_or(Error::Header("an X25519 share is a point of low order"))?;
            if let Some(file_key) = wrap::open(&wrap_key(&shared, &share, &self.public), body) {
                return Ok(Some(file_key));
            }
        }
        Ok(None)
    }
}
