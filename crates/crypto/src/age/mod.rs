//! The age file format (<https://c2sp.org/age>, v1): a header that wraps a file key for recipients, and a payload in
//! chunks of 64 KiB.
//!
//! Recipients and identities are X25519, X25519 with ML-KEM-768 ([`pq`], the default here), passphrases ([`scrypt`]),
//! OpenSSH's Ed25519 and RSA keys ([`ssh`]), keys in hardware ([`tag`], [`held`]), and whatever a plugin knows ([`plugin`];
//! starting its process is up to the caller). The header is read as strictly as the format's test vectors ask: one way to write everything.
//!
//! # Threats
//! age authenticates a file to nobody: whoever knows a recipient can make one. It has no associated data either. Who needs
//! to know the author or the place a file belongs to puts both inside, as `keyward-envelope` does.

pub mod armor;
mod dhkem;
mod format;
pub mod held;
pub mod identity;
mod oaep;
pub mod plugin;
pub mod pq;
mod recipient;
pub mod scrypt;
pub mod ssh;
mod stream;
pub mod tag;
mod wrap;
pub mod x25519;

use std::fmt;
use std::io::{self, BufRead, Read, Write};

use keyward_core::Random;

use crate::MacKey;
use crate::mac::derive;
use crate::secret::{Secret, SecretBytes};

pub use format::{Header, Stanza};
pub use identity::{Identity, Unwrap, identities, read_identities};
pub use recipient::{Recipient, Wrap};
pub use stream::{CHUNK, StreamReader, StreamWriter};

/// The key of one file, which each stanza wraps: 128 bits.
pub type FileKey = Secret<[u8; 16]>;

/// Why a file is not made or not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The header breaks a rule of the format, which is named.
    Header(&'static str),
    /// None of the identities is among the recipients.
    NoMatch,
    /// The header was altered: its MAC is not that of the file key.
    Mac,
    /// The payload was altered, cut off or lengthened.
    Payload,
    /// The armor breaks a rule of RFC 7468 as age reads it, which is named.
    Armor(&'static str),
    /// Recipients that must not stand side by side; the text says which.
    Mixed(&'static str),
    /// A key that cannot be read or used; the text says what it should be.
    Key(&'static str),
    /// A plugin refused or misbehaved. The text may be the plugin's own.
    Plugin(String),
    /// Reading or writing failed.
    Io(io::ErrorKind),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Header(why) => write!(f, "the header is no age header: {why}"),
            Error::NoMatch => f.write_str("none of the identities is among the recipients"),
            Error::Mac => f.write_str("the header was altered after it was made"),
            Error::Payload => f.write_str("the payload was altered or cut off after it was made"),
            Error::Armor(why) => write!(f, "the armor is damaged: {why}"),
            Error::Mixed(why) | Error::Key(why) => f.write_str(why),
            Error::Plugin(why) => f.write_str(why),
            Error::Io(kind) => write!(f, "reading or writing failed: {kind}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    /// What a reader of this module said through `std::io` comes back as itself.
    fn from(error: io::Error) -> Error {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(known) => known.clone(),
            None => Error::Io(error.kind()),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error {
            Error::Io(kind) => kind.into(),
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// Whether recipients that withstand a quantum computer may stand beside such that do not. A file is only as strong
/// as the weakest of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mixing {
    /// Refused, as age refuses it.
    Refuse,
    /// Taken: somebody decided so.
    Allow,
}

/// Begins a file for `recipients` on `out`: writes the header, and yields what encrypts the payload. Nothing is whole
/// before [`StreamWriter::finish`].
pub fn encrypt<W: Write>(
    recipients: &[&dyn Wrap],
    mixing: Mixing,
    random: &dyn Random,
    mut out: W,
) -> Result<StreamWriter<W>, Error> {
    check_mixing(recipients, mixing)?;
    let file_key: FileKey = Secret::random(random);
    let mut stanzas = Vec::with_capacity(recipients.len());
    for recipient in recipients {
        stanzas.extend(recipient.wrap(&file_key, random)?);
    }
    let header = Header::seal(stanzas, &file_key);
    let nonce: [u8; 16] = keyward_core::random::bytes(random);
    out.write_all(header.bytes())?;
    out.write_all(&nonce)?;
    Ok(StreamWriter::new(&payload_key(&file_key, &nonce), out))
}

fn check_mixing(recipients: &[&dyn Wrap], mixing: Mixing) -> Result<(), Error> {
    if recipients.is_empty() {
        return Err(Error::Mixed("there is no recipient: name at least one"));
    }
    if recipients.len() > 1 && recipients.iter().any(|recipient| recipient.alone()) {
        return Err(Error::Mixed("a passphrase stands alone: leave the other recipients out"));
    }
    let strong = recipients.iter().filter(|recipient| recipient.post_quantum()).count();
    if mixing == Mixing::Refuse && strong != 0 && strong != recipients.len() {
        return Err(Error::Mixed(
            "post-quantum and classic recipients are mixed, and the file would be as weak as the classic ones: use \
             one kind, or allow the mixture",
        ));
    }
    Ok(())
}

/// A whole file for `recipients`.
pub fn seal(
    recipients: &[&dyn Wrap],
    mixing: Mixing,
    random: &dyn Random,
    plaintext: &[u8],
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(plaintext.len() + 4096);
    let mut writer = encrypt(recipients, mixing, random, &mut out)?;
    writer.write_all(plaintext)?;
    writer.finish()?;
    Ok(out)
}

/// Finds the file key and checks the header with it.
pub fn unwrap(header: &Header, identities: &[&dyn Unwrap]) -> Result<FileKey, Error> {
    let stanzas = header.stanzas();
    if stanzas.len() > 1 && stanzas.iter().any(|stanza| stanza.tag() == scrypt::TAG) {
        return Err(Error::Header("a passphrase stands beside other recipients"));
    }
    for identity in identities {
        if let Some(file_key) = identity.unwrap(stanzas)? {
            return if header.is_of(&file_key) { Ok(file_key) } else { Err(Error::Mac) };
        }
    }
    Err(Error::NoMatch)
}

/// Begins to read a file, in armor or not: finds the file key, and yields what decrypts the payload.
///
/// What is read is authentic, but only the end of the reader, reached without an error, says that it is whole.
pub fn decrypt<'a, R: BufRead + 'a>(
    input: R,
    identities: &[&dyn Unwrap],
) -> Result<StreamReader<Box<dyn BufRead + 'a>>, Error> {
    let mut input = armor::detect(input)?;
    let header = Header::read(&mut input)?;
    let file_key = unwrap(&header, identities)?;
    begin_payload(&file_key, input)
}

/// Begins to read what stands behind a header whose file key is known.
pub fn begin_payload<R: BufRead>(file_key: &FileKey, mut input: R) -> Result<StreamReader<R>, Error> {
    let mut nonce = [0; 16];
    // A nonce that is cut off belongs to the header: the vectors say so.
    input.read_exact(&mut nonce).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Header("the nonce is cut off"),
        _ => Error::from(error),
    })?;
    Ok(StreamReader::new(&payload_key(file_key, &nonce), input))
}

/// Opens a whole file of at most `limit` bytes inside; all of it or nothing.
pub fn open(sealed: &[u8], identities: &[&dyn Unwrap], limit: usize) -> Result<SecretBytes, Error> {
    // Never grown past its capacity, so that no copy is left behind.
    let mut out = Secret::new(Vec::with_capacity(sealed.len().min(limit).saturating_add(1)));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut reader = decrypt(sealed, identities)?;
    reader.by_ref().take(most).read_to_end(&mut out.0)?;
    if out.0.len() > limit {
        return Err(Error::Io(io::ErrorKind::FileTooLarge));
    }
    Ok(out)
}

fn payload_key(file_key: &FileKey, nonce: &[u8; 16]) -> Secret<[u8; 32]> {
    Secret::new(derive(file_key.expose(), nonce, b"payload"))
}

fn header_key(file_key: &FileKey) -> MacKey {
    let key = Secret::new(derive(file_key.expose(), &[], b"header"));
    MacKey::new(key.expose())
}

#[cfg(test)]
mod tests;
