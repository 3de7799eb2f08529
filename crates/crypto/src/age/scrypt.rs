//! Passphrases (<https://c2sp.org/age>, "The scrypt recipient type"; RFC 7914).

use keyward_core::Random;

use super::format::{Stanza, decode, encode};
use super::{Error, FileKey, Unwrap, Wrap, wrap};
use crate::secret::{Secret, SecretKey, SecretString};

pub(super) const TAG: &str = "scrypt";
const LABEL: &[u8] = b"age-encryption.org/v1/scrypt";

/// The work for new files: 2^18, a second and 256 MiB, as age has it.
pub const WORK: u8 = 18;
/// The most work that is done for a file somebody else made: 2^22, 16 seconds and 4 GiB.
pub const MOST_WORK: u8 = 22;

/// A passphrase, to seal and to open with. It stands alone in a file.
pub struct Passphrase {
    passphrase: SecretString,
    work: u8,
    most_work: u8,
}

impl Passphrase {
    /// Of a passphrase that is not empty.
    pub fn new(passphrase: SecretString) -> Result<Passphrase, Error> {
        match passphrase.expose().is_empty() {
            true => Err(Error::Key("the passphrase is empty")),
            false => Ok(Passphrase { passphrase, work: WORK, most_work: MOST_WORK }),
        }
    }

    /// With another cost: two to the power of `work` (1 to 30), which doubles time and memory with each step.
    #[must_use]
    pub fn with_work(mut self, work: u8) -> Passphrase {
        self.work = work.clamp(1, 30);
        self.most_work = self.most_work.max(self.work);
        self
    }

    fn key(&self, salt: &[u8; 16], work: u8) -> Result<SecretKey, Error> {
        let params = ::scrypt::Params::new(work, 8, 1, 32)
            .map_err(|_| Error::Header("the work factor is impossible"))?;
        let mut key = Secret::new([0; 32]);
        let salt = [LABEL, salt].concat();
        let done = ::scrypt::scrypt(self.passphrase.expose().as_bytes(), &salt, &params, &mut key.0);
        done.map(|()| key).map_err(|_| Error::Header("the work factor is impossible"))
    }
}

impl Wrap for Passphrase {
    fn wrap(&self, file_key: &FileKey, random: &dyn Random) -> Result<Vec<Stanza>, Error> {
        let salt: [u8; 16] = keyward_core::random::bytes(random);
        let body = wrap::seal(&self.key(&salt, self.work)?, file_key);
        Ok(vec![Stanza::new(TAG, &[&encode(&salt), &self.work.to_string()], body)])
    }

    fn alone(&self) -> bool {
        true
    }
}

impl Unwrap for Passphrase {
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, Error> {
        let Some(stanza) = stanzas.iter().find(|stanza| stanza.tag() == TAG) else { return Ok(None) };
        if stanzas.len() > 1 {
            return Err(Error::Header("a passphrase stands beside other recipients"));
        }
        let [salt, work] = stanza.exactly()?;
        let salt = decode(salt)?;
        let work = self.work_of(work)?;
        let body = stanza.wrapped_key()?;
        Ok(wrap::open(&self.key(&salt, work)?, body))
    }
}

impl Passphrase {
    /// A decimal number without leading zeros, and not more than is reasonable.
    fn work_of(&self, text: &str) -> Result<u8, Error> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        let work = text.parse::<u8>().ok().filter(|_| plain);
        match work.ok_or(Error::Header("the work factor is no number as age writes it"))? {
            work if work > self.most_work => {
                Err(Error::Header("the work factor is above 22: it would take minutes"))
            }
            work => Ok(work),
        }
    }
}
