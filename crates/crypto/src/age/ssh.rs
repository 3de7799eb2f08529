//! OpenSSH's Ed25519 and RSA keys as recipients and identities, as age and rage have them: `ssh-ed25519` by way of
//! X25519, `ssh-rsa` by OAEP with SHA-256. Four bytes of the key's hash stand in clear in every file.

use std::fmt;

use curve25519_dalek::edwards::CompressedEdwardsY;
use keyward_core::Random;

use super::format::{Stanza, decode, encode};
use super::{Error, FileKey, Unwrap, Wrap, held, oaep, wrap};
use crate::keys::{Hash, Key, RsaKey};
use crate::mac::{derive, sha256};
use crate::secret::{Secret, SecretKey};
use crate::ssh::{self, PublicKey};

const ED25519: &str = "ssh-ed25519";
const RSA: &str = "ssh-rsa";
const ED25519_LABEL: &[u8] = b"age-encryption.org/v1/ssh-ed25519";
const RSA_LABEL: &[u8] = b"age-encryption.org/v1/ssh-rsa";
const UNUSABLE: Error =
    Error::Key("of SSH keys only Ed25519 and RSA with 2048, 3072 or 4096 bits can be sealed for");

/// Who can be sealed for: a line of `authorized_keys`.
#[derive(Clone)]
pub struct Recipient {
    public: PublicKey,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// The point on the curve's other form.
    Ed25519([u8; 32]),
    Rsa(std::sync::Arc<RsaKey>),
}

impl Recipient {
    /// From a line as `ssh-keygen` writes it.
    pub fn read(line: &str) -> Result<Recipient, Error> {
        let public = PublicKey::read(line).map_err(|_| UNUSABLE)?;
        Recipient::of(public)
    }

    fn of(public: PublicKey) -> Result<Recipient, Error> {
        let kind = match (public.ed25519(), public.rsa()) {
            (Some(point), _) => Kind::Ed25519(montgomery(point).ok_or(UNUSABLE)?),
            (_, Some(key)) => Kind::Rsa(std::sync::Arc::new(key)),
            _ => return Err(UNUSABLE),
        };
        Ok(Recipient { public, kind })
    }

    /// Of an RSA key's modulus and public exponent, most significant byte first.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Recipient, Error> {
        Recipient::of(PublicKey::of_rsa(modulus, exponent).ok_or(UNUSABLE)?)
    }

    /// The public key.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Opens with an RSA key that is held elsewhere. It is used only on stanzas that name it.
    pub(super) fn unwrap_with(
        &self,
        stanzas: &[Stanza],
        operate: held::Operation<'_>,
    ) -> Result<Option<FileKey>, Error> {
        let Kind::Rsa(key) = &self.kind else { return Err(Error::Key("a token's SSH key is an RSA key")) };
        let mine = tag(&self.public);
        for stanza in stanzas.iter().filter(|stanza| stanza.tag() == RSA) {
            if is_for(stanza, &mine)? && stanza.body.len() == key.size() {
                let block = operate(&stanza.body)?;
                if let Some(file_key) = oaep::unpad(RSA_LABEL, block.expose()) {
                    return Ok(Some(file_key));
                }
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public.line())
    }
}

/// The same point on Montgomery's form of the curve; none for what is no point, or one of low order.
fn montgomery(point: &[u8; 32]) -> Option<[u8; 32]> {
    let point = CompressedEdwardsY(*point).decompress()?.to_montgomery().to_bytes();
    (!wrap::is_low_order(&point)).then_some(point)
}

/// What a stanza says of the key it is for.
fn tag(key: &PublicKey) -> String {
    encode(sha256(&key.wire()).first_chunk::<4>().unwrap_or(&[0; 4]))
}

/// Binds the shared secret to the SSH key: multiplied by what the key derives.
fn tweaked(key: &PublicKey, shared: &SecretKey) -> Option<SecretKey> {
    let tweak = Secret::new(derive(&[], &key.wire(), ED25519_LABEL));
    wrap::agree(&wrap::private(tweak.expose()), shared.expose())
}

fn wrap_key(shared: &SecretKey, share: &[u8; 32], point: &[u8; 32]) -> SecretKey {
    Secret::new(derive(shared.expose(), &[share.as_slice(), point].concat(), ED25519_LABEL))
}

impl Wrap for Recipient {
    fn wrap(&self, file_key: &FileKey, random: &dyn Random) -> Result<Vec<Stanza>, Error> {
        let tag = tag(&self.public);
        let stanza = match &self.kind {
            Kind::Ed25519(point) => {
                let ephemeral = wrap::private(SecretKey::random(random).expose());
                let share = wrap::public(&ephemeral);
                let shared = wrap::agree(&ephemeral, point).and_then(|shared| tweaked(&self.public, &shared));
                let key = wrap_key(&shared.ok_or(UNUSABLE)?, &share, point);
                Stanza::new(ED25519, &[&tag, &encode(&share)], wrap::seal(&key, file_key))
            }
            Kind::Rsa(key) => {
                let body = key.encrypt_labelled(Hash::Sha2_256, RSA_LABEL, file_key.expose());
                Stanza::new(RSA, &[&tag], body.map_err(|_| UNUSABLE)?)
            }
        };
        Ok(vec![stanza])
    }
}

/// Who opens: a private key without a passphrase.
pub struct Identity {
    recipient: Recipient,
    secret: IdentitySecret,
}

enum IdentitySecret {
    Ed25519(SecretKey),
    Rsa(Box<RsaKey>),
}

impl Identity {
    /// From a file as `ssh-keygen` writes it. What cannot be read is told with what to do.
    pub fn read(text: &str) -> Result<Identity, Error> {
        let (_, key) = ssh::read_private(text).map_err(|error| match error {
            ssh::Error::Key(why) => Error::Key(why),
            _ => Error::Key("the file is no SSH private key that can be read"),
        })?;
        let recipient = Recipient::of(PublicKey::of(&key).ok_or(UNUSABLE)?)?;
        let secret = match key {
            Key::Ed25519(key) => IdentitySecret::Ed25519(scalar(&key).ok_or(UNUSABLE)?),
            Key::Rsa(key) => IdentitySecret::Rsa(key),
            _ => return Err(UNUSABLE),
        };
        Ok(Identity { recipient, secret })
    }

    /// Who to seal for.
    pub const fn recipient(&self) -> &Recipient {
        &self.recipient
    }
}

/// The scalar that a seed stands for (RFC 8032, 5.1.5), which X25519 clamps.
fn scalar(key: &crate::keys::Ed25519Key) -> Option<SecretKey> {
    let both = key.seed_and_public()?;
    let hashed = Hash::Sha2_512.digest(both.expose().get(..32)?).ok().map(zeroize::Zeroizing::new)?;
    SecretKey::from_slice(hashed.get(..32)?)
}

impl Unwrap for Identity {
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, Error> {
        let kind = match self.secret {
            IdentitySecret::Ed25519(_) => ED25519,
            IdentitySecret::Rsa(_) => RSA,
        };
        let mine = tag(&self.recipient.public);
        for stanza in stanzas.iter().filter(|stanza| stanza.tag() == kind) {
            let found = match (&self.secret, &self.recipient.kind) {
                (IdentitySecret::Ed25519(scalar), Kind::Ed25519(point)) => {
                    self.open_ed25519(stanza, &mine, scalar, point)?
                }
                (IdentitySecret::Rsa(key), _) => open_rsa(stanza, &mine, key)?,
                _ => None,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

impl Identity {
    fn open_ed25519(
        &self,
        stanza: &Stanza,
        mine: &str,
        scalar: &SecretKey,
        point: &[u8; 32],
    ) -> Result<Option<FileKey>, Error> {
        let [tag, share] = stanza.exactly()?;
        decode::<4>(tag)?;
        let share = decode(share)?;
        let body = stanza.wrapped_key()?;
        if tag != mine {
            return Ok(None);
        }
        let shared = wrap::agree(&wrap::private(scalar.expose()), &share)
            .and_then(|shared| tweaked(&self.recipient.public, &shared))
            .ok_or(Error::Header("an X25519 share is a point of low order"))?;
        Ok(wrap::open(&wrap_key(&shared, &share, point), body))
    }
}

/// Whether a stanza of RSA names the key.
fn is_for(stanza: &Stanza, mine: &str) -> Result<bool, Error> {
    let [tag] = stanza.exactly()?;
    decode::<4>(tag)?;
    Ok(tag == mine)
}

fn open_rsa(stanza: &Stanza, mine: &str, key: &RsaKey) -> Result<Option<FileKey>, Error> {
    if !is_for(stanza, mine)? {
        return Ok(None);
    }
    let opened = key.decrypt_labelled(Hash::Sha2_256, RSA_LABEL, &stanza.body);
    Ok(opened.ok().and_then(|bytes| bytes.expose().as_slice().try_into().ok()).map(Secret::new))
}
