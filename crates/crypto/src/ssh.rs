//! OpenSSH's keys and certificates (RFC 4253, 6.6; PROTOCOL.certkeys), bytes in and bytes out.
//!
//! Reading and encoding is the RustCrypto project's `ssh-key`, signatures are aws-lc-rs's by way of [`crate::keys`].
//!
//! Absent, and refused by name: DSA, signatures with SHA-1, private keys with a passphrase, RSA and
//! ECDSA private keys in OpenSSH's own format.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::{EcdsaPublicKey, Ed25519PublicKey, KeyData, RsaPublicKey};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, LineEnding, Mpint, PrivateKey, Signature};

use crate::keys::{self, Ed25519Key, Hash, Key, KeyType, Marshaling, UseError};
use crate::secret::{Secret, SecretString};
use crate::x509;

/// Bytes of the longest key that is read.
const MOST: usize = 16 * 1024;

/// Why a key cannot be read, or a certificate not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not a line as `authorized_keys` has it.
    Public,
    /// Not a private key in PEM or OpenSSH's format.
    Private,
    /// A key of a type or form that is not available; the text says which and what to do.
    Key(&'static str),
    /// A certificate cannot say this, such as an end before its beginning.
    Value,
    /// The signing key failed.
    Use(UseError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Public => f.write_str("it is no SSH public key: write TYPE BASE64, as in authorized_keys"),
            Error::Private => f.write_str("it is no private key in PEM or OpenSSH's format"),
            Error::Key(why) => f.write_str(why),
            Error::Value => f.write_str("the certificate cannot be written: check its times and names"),
            Error::Use(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

/// What a public key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RSA with a modulus of so many bits.
    Rsa(usize),
    /// ECDSA on a curve of so many bits.
    Ecdsa(usize),
    /// Ed25519.
    Ed25519,
    /// In a hardware token.
    Token,
}

/// A public key, without a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(ssh_key::PublicKey);

impl PublicKey {
    /// From a line as `authorized_keys` has it, without options, or from its BASE64 alone.
    pub fn read(line: &str) -> Result<PublicKey, Error> {
        if line.len() > MOST {
            return Err(Error::Public);
        }
        let line = line.trim();
        let read = match line.contains(' ') {
            true => ssh_key::PublicKey::from_openssh(line).map_err(|_| Error::Public)?,
            false => {
                let wire = STANDARD.decode(line).map_err(|_| Error::Public)?;
                ssh_key::PublicKey::from_bytes(&wire).map_err(|_| Error::Public)?
            }
        };
        match read.key_data() {
            KeyData::Dsa(_) => Err(Error::Key("DSA keys are not available: make an Ed25519 key")),
            KeyData::Other(_) => Err(Error::Key("keys of this type are not available: make an Ed25519 key")),
            data => Ok(PublicKey(ssh_key::PublicKey::new(data.clone(), ""))),
        }
    }

    /// The public part of an RSA, ECDSA or Ed25519 key; none for others.
    pub fn of(key: &Key) -> Option<PublicKey> {
        let data = match key {
            Key::Ed25519(key) => KeyData::Ed25519(Ed25519PublicKey(*key.public())),
            Key::Ecdsa(_) => {
                let point = x509::PublicKey::of(key)?;
                KeyData::Ecdsa(EcdsaPublicKey::from_sec1_bytes(point.key_bits()).ok()?)
            }
            Key::Rsa(_) => {
                let (n, e) = x509::PublicKey::of(key)?.rsa_numbers()?;
                return PublicKey::of_rsa(&n, &e);
            }
            Key::Symmetric(_) | Key::Hmac(_) | Key::MlDsa(_) => return None,
        };
        Some(PublicKey(ssh_key::PublicKey::new(data, "")))
    }

    /// Of an RSA key's modulus and public exponent, most significant byte first.
    pub fn of_rsa(modulus: &[u8], exponent: &[u8]) -> Option<PublicKey> {
        let number = |bytes: &[u8]| Mpint::from_positive_bytes(bytes).ok();
        let data = KeyData::Rsa(RsaPublicKey { e: number(exponent)?, n: number(modulus)? });
        Some(PublicKey(ssh_key::PublicKey::new(data, "")))
    }

    /// The name of its type, such as `ssh-ed25519`.
    pub fn algorithm(&self) -> String {
        self.0.algorithm().as_str().to_owned()
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.0.key_data() {
            KeyData::Rsa(key) => {
                let modulus = key.n.as_positive_bytes().unwrap_or_default();
                let unused = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
                Kind::Rsa(modulus.len() * 8 - unused)
            }
            KeyData::Ecdsa(key) => Kind::Ecdsa(match key.curve() {
                EcdsaCurve::NistP256 => 256,
                EcdsaCurve::NistP384 => 384,
                EcdsaCurve::NistP521 => 521,
            }),
            KeyData::Ed25519(_) => Kind::Ed25519,
            _ => Kind::Token,
        }
    }

    /// As `authorized_keys` has it, without a comment.
    pub fn line(&self) -> String {
        crate::certain(self.0.to_openssh())
    }

    /// The point of an Ed25519 key (RFC 8032, 5.1.2).
    pub fn ed25519(&self) -> Option<&[u8; 32]> {
        match self.0.key_data() {
            KeyData::Ed25519(key) => Some(&key.0),
            _ => None,
        }
    }

    /// An RSA key of a size that is available.
    pub fn rsa(&self) -> Option<keys::RsaKey> {
        match self.0.key_data() {
            KeyData::Rsa(key) => {
                keys::RsaKey::of_numbers(key.n.as_positive_bytes()?, key.e.as_positive_bytes()?).ok()
            }
            _ => None,
        }
    }

    /// The bytes that fingerprints hash.
    pub fn wire(&self) -> Vec<u8> {
        crate::certain(self.0.to_bytes())
    }
}

/// Everything a certificate says, but for the signature.
pub struct Template<'a> {
    /// Names it in revocation lists and logs.
    pub serial: u64,
    /// For a server rather than a user.
    pub host: bool,
    /// Shown in the server's log.
    pub key_id: &'a str,
    /// The user or host names it is for. Without any it is for all of them.
    pub principals: &'a [String],
    /// Seconds since 1970.
    pub valid_after: u64,
    /// Seconds since 1970.
    pub valid_before: u64,
    /// What a server that does not know it must refuse.
    pub critical_options: &'a BTreeMap<String, String>,
    /// What a server may ignore.
    pub extensions: &'a BTreeMap<String, String>,
    /// Random, so that nobody can choose what is signed.
    pub nonce: [u8; 32],
}

impl Template<'_> {
    /// The certificate of `key`, signed by `authority`, as a line without a comment. RSA signs with SHA-256 or
    /// SHA-512, whichever `hash` is.
    pub fn sign(&self, key: &PublicKey, authority: &Key, hash: Hash) -> Result<String, Error> {
        let unwritten = |_| Error::Value;
        let data = key.0.key_data().clone();
        let mut made =
            Builder::new(self.nonce, data, self.valid_after, self.valid_before).map_err(unwritten)?;
        made.serial(self.serial).map_err(unwritten)?;
        made.cert_type(if self.host { CertType::Host } else { CertType::User }).map_err(unwritten)?;
        made.key_id(self.key_id).map_err(unwritten)?;
        match self.principals {
            [] => drop(made.all_principals_valid().map_err(unwritten)?),
            names => {
                for name in names {
                    made.valid_principal(name).map_err(unwritten)?;
                }
            }
        }
        for (name, value) in self.critical_options {
            made.critical_option(name, value).map_err(unwritten)?;
        }
        for (name, value) in self.extensions {
            made.extension(name, value).map_err(unwritten)?;
        }
        let public = PublicKey::of(authority).ok_or(Error::Key("the key cannot sign certificates"))?;
        let signer = Signer { key: authority, public, hash };
        made.sign(&signer).and_then(|made| made.to_openssh()).map_err(unwritten)
    }
}

/// What the certificate's library asks to sign.
struct Signer<'k> {
    key: &'k Key,
    public: PublicKey,
    hash: Hash,
}

impl From<&Signer<'_>> for KeyData {
    fn from(signer: &Signer<'_>) -> KeyData {
        signer.public.0.key_data().clone()
    }
}

impl signature::Signer<Signature> for Signer<'_> {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, signature::Error> {
        sign(self.key, self.hash, message).map_err(|_| signature::Error::new())
    }
}

fn sign(key: &Key, hash: Hash, message: &[u8]) -> Result<Signature, Error> {
    let (algorithm, bytes) = match key {
        Key::Ed25519(key) => (Algorithm::Ed25519, key.sign(message).map_err(Error::Use)?),
        Key::Ecdsa(key) => {
            let (curve, hash) = match key.curve() {
                "P-384" => (EcdsaCurve::NistP384, Hash::Sha2_384),
                "P-521" => (EcdsaCurve::NistP521, Hash::Sha2_512),
                _ => (EcdsaCurve::NistP256, Hash::Sha2_256),
            };
            let digest = hash.digest(message).map_err(Error::Use)?;
            let numbers = key.sign(&digest, Marshaling::Jws).map_err(Error::Use)?;
            let (r, s) = numbers.split_at(numbers.len() / 2);
            (Algorithm::Ecdsa { curve }, [mpint(r)?, mpint(s)?].concat())
        }
        Key::Rsa(key) => {
            let named = if hash == Hash::Sha2_512 { HashAlg::Sha512 } else { HashAlg::Sha256 };
            let digest = hash.digest(message).map_err(Error::Use)?;
            let signed = key.sign(keys::Scheme::Pkcs1v15, hash, &digest).map_err(Error::Use)?;
            (Algorithm::Rsa { hash: Some(named) }, signed)
        }
        Key::Symmetric(_) | Key::Hmac(_) | Key::MlDsa(_) => {
            return Err(Error::Key("the key cannot sign certificates"));
        }
    };
    Signature::new(algorithm, bytes).map_err(|_| Error::Value)
}

/// A number with its length in front (RFC 4251, 5).
fn mpint(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let number = Mpint::from_positive_bytes(bytes).map_err(|_| Error::Value)?;
    let length = u32::try_from(number.as_bytes().len()).map_err(|_| Error::Value)?;
    Ok([&length.to_be_bytes()[..], number.as_bytes()].concat())
}

/// A private key as `ssh` reads it: in PEM, and Ed25519 in OpenSSH's own format. None without a private part.
pub fn private_text(key: &Key) -> Option<SecretString> {
    match key {
        Key::Rsa(key) => key.pkcs1_pem(),
        Key::Ecdsa(key) => key.sec1_pem(),
        Key::Ed25519(key) => {
            let both = key.seed_and_public()?;
            let seed: &[u8; 32] = both.expose().first_chunk()?;
            let pair = Ed25519Keypair {
                public: Ed25519PublicKey(*key.public()),
                private: Ed25519PrivateKey::from_bytes(seed),
            };
            let text = PrivateKey::from(pair).to_openssh(LineEnding::LF).ok()?;
            Some(Secret::new(text.as_str().to_owned()))
        }
        Key::Symmetric(_) | Key::Hmac(_) | Key::MlDsa(_) => None,
    }
}

/// Reads a private key in PEM, or Ed25519 in OpenSSH's own format.
pub fn read_private(text: &str) -> Result<(KeyType, Key), Error> {
    if text.len() > MOST {
        return Err(Error::Private);
    }
    if !text.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
        let block = x509::pem::blocks(text).and_then(|blocks| blocks.into_iter().next());
        let block = block.ok_or(Error::Private)?;
        return Key::import_der(&block.der).map_err(|_| Error::Private);
    }
    // Of other types it is not certain that they can be read: `ssh-key` 0.6 cannot where a number is short.
    let other = Error::Key(
        "of private keys in OpenSSH's own format only Ed25519 is read: ssh-keygen -p -m PEM -f FILE writes others in PEM",
    );
    match PrivateKey::from_openssh(text.trim()).map_err(|_| other)?.key_data() {
        KeypairData::Ed25519(pair) => {
            let seed = Secret::new(pair.private.to_bytes());
            Ok((KeyType::Ed25519, Key::Ed25519(Ed25519Key::from_seed(seed))))
        }
        KeypairData::Encrypted(_) => {
            Err(Error::Key("the private key has a passphrase: remove it with ssh-keygen -p -f FILE"))
        }
        _ => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;
    use proptest::prelude::*;

    const KINDS: [KeyType; 5] =
        [KeyType::Ed25519, KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::EcdsaP521, KeyType::Rsa2048];

    fn key(kind: KeyType) -> Key {
        Key::generate(kind, 0, &SystemRandom).unwrap()
    }

    #[test]
    fn keys_are_read_as_they_were_written() {
        for kind in KINDS {
            let key = key(kind);
            let public = PublicKey::of(&key).unwrap();
            assert_eq!(
                PublicKey::read(&format!("{} someone@example.com\n", public.line())),
                Ok(public.clone())
            );
            let text = private_text(&key).unwrap();
            let (found, read) = read_private(text.expose()).unwrap();
            assert_eq!((found, PublicKey::of(&read)), (kind, Some(public)));
        }
        assert_eq!(PublicKey::of(&key(KeyType::Rsa2048)).unwrap().kind(), Kind::Rsa(2048));
        assert_eq!(PublicKey::of(&key(KeyType::EcdsaP384)).unwrap().kind(), Kind::Ecdsa(384));
    }

    #[test]
    fn certificates_say_what_was_asked() {
        let subject = PublicKey::of(&key(KeyType::Ed25519)).unwrap();
        let options = BTreeMap::from([("force-command".to_owned(), "/bin/true".to_owned())]);
        let extensions = BTreeMap::from([("permit-pty".to_owned(), String::new())]);
        let principals = ["root".to_owned(), "ubuntu".to_owned()];
        for kind in KINDS {
            let template = Template {
                serial: 7,
                host: false,
                key_id: "me",
                principals: &principals,
                valid_after: 1_000,
                valid_before: 2_000,
                critical_options: &options,
                extensions: &extensions,
                nonce: [5; 32],
            };
            let authority = key(kind);
            let line = template.sign(&subject, &authority, Hash::Sha2_512).unwrap();
            let read = ssh_key::Certificate::from_openssh(&line).unwrap();
            assert_eq!((read.serial(), read.key_id(), read.valid_principals()), (7, "me", &principals[..]));
            assert_eq!((read.valid_after(), read.valid_before()), (1_000, 2_000));
            assert_eq!(read.critical_options().get("force-command").map(String::as_str), Some("/bin/true"));
            assert_eq!(read.public_key(), subject.0.key_data());
            assert_eq!(read.signature_key(), PublicKey::of(&authority).unwrap().0.key_data());
            let backwards = Template { valid_after: 3_000, ..template };
            assert_eq!(backwards.sign(&subject, &authority, Hash::Sha2_256), Err(Error::Value));
        }
    }

    #[test]
    fn odd_keys_are_refused_with_a_way_out() {
        let dsa = "ssh-dss AAAAB3NzaC1kc3MAAAABAQAAAAEBAAAAAQEAAAABAQ==";
        assert!(matches!(PublicKey::read(dsa), Err(Error::Key(_) | Error::Public)));
        for odd in ["", "ssh-ed25519", "ssh-ed25519 AAAA", "odd AAAA", &"a".repeat(MOST + 1)] {
            assert_eq!(PublicKey::read(odd), Err(Error::Public), "{odd:.20}");
            assert!(read_private(odd).is_err());
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            use x509::pem;
            let _ = (PublicKey::read(&text), read_private(&text));
            let _ = PublicKey::read(&format!("ssh-ed25519 {text}"));
            let _ = read_private(&pem::encode("OPENSSH PRIVATE KEY", &bytes));
        }
    }
}
