//! The header: strict in, canonical out (<https://c2sp.org/age>, "Header").

use std::io::{BufRead, Read};

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;

use super::{Error, FileKey, header_key};
use crate::secret::same;

const VERSION: &[u8] = b"age-encryption.org/v1";
/// Columns of a full line of a body.
const COLUMNS: usize = 64;
/// The longest header that is read: room for 2,000 post-quantum recipients.
const LONGEST: u64 = 4 << 20;

/// One recipient's share of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stanza {
    /// What kind it is, and what that kind writes in clear; never empty.
    pub arguments: Vec<String>,
    /// The wrapped file key.
    pub body: Vec<u8>,
}

impl Stanza {
    /// Of the kind `tag`.
    pub fn new(tag: &str, arguments: &[&str], body: Vec<u8>) -> Stanza {
        let arguments = std::iter::once(tag).chain(arguments.iter().copied()).map(str::to_owned).collect();
        Stanza { arguments, body }
    }

    /// Its kind.
    pub fn tag(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    /// What stands behind the kind, when there are exactly `N`.
    pub(super) fn exactly<const N: usize>(&self) -> Result<[&str; N], Error> {
        let rest: Vec<&str> = self.arguments.iter().skip(1).map(String::as_str).collect();
        rest.try_into().map_err(|_| Error::Header("a stanza has too few or too many arguments"))
    }

    /// The body, when it is a file key under an AEAD: 32 bytes, checked before anything is tried with it.
    pub(super) fn wrapped_key(&self) -> Result<[u8; 32], Error> {
        self.body.as_slice().try_into().map_err(|_| Error::Header("a wrapped file key has not 32 bytes"))
    }

    /// Writes it as the header and the plugins' protocol have it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"->");
        for argument in &self.arguments {
            out.push(b' ');
            out.extend_from_slice(argument.as_bytes());
        }
        out.push(b'\n');
        let body = BASE64.encode(&self.body);
        for line in body.as_bytes().chunks(COLUMNS) {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        // A body ends with a line that is not full, be it empty.
        if body.len().is_multiple_of(COLUMNS) {
            out.push(b'\n');
        }
    }

    /// Reads what stands behind `-> ` and the body.
    pub(super) fn read(arguments: &[u8], lines: &mut Lines<'_>) -> Result<Stanza, Error> {
        let text = std::str::from_utf8(arguments).map_err(|_| Error::Header("an argument is not ASCII"))?;
        let arguments: Vec<String> = text.split(' ').map(str::to_owned).collect();
        if !arguments.iter().all(|argument| !argument.is_empty() && argument.bytes().all(is_visible)) {
            return Err(Error::Header("an argument is empty or has odd characters"));
        }
        let mut body = Vec::new();
        loop {
            let line = lines.next()?;
            if line.len() > COLUMNS {
                return Err(Error::Header("a line is too long"));
            }
            let piece = BASE64.decode(&line).map_err(|_| Error::Header("a body is not canonical base64"))?;
            body.extend_from_slice(&piece);
            if line.len() < COLUMNS {
                return Ok(Stanza { arguments, body });
            }
        }
    }
}

fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

/// Canonical base64 of exactly `N` bytes, as arguments have it.
pub(super) fn decode<const N: usize>(text: &str) -> Result<[u8; N], Error> {
    decode_any(text)?.try_into().map_err(|_| Error::Header("an argument has the wrong length"))
}

/// Canonical base64 of any length.
pub(super) fn decode_any(text: &str) -> Result<Vec<u8>, Error> {
    BASE64.decode(text).map_err(|_| Error::Header("an argument is not canonical base64"))
}

/// As the format writes bytes everywhere.
pub(super) fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Lines up to a total length; each is kept in `seen` with its line feed.
pub(super) struct Lines<'a> {
    input: std::io::Take<&'a mut dyn BufRead>,
    seen: Vec<u8>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(input: &'a mut dyn BufRead) -> Lines<'a> {
        Lines { input: input.take(LONGEST), seen: Vec::new() }
    }

    /// The next line, without its line feed.
    pub(super) fn next(&mut self) -> Result<Vec<u8>, Error> {
        let from = self.seen.len();
        self.input.read_until(b'\n', &mut self.seen)?;
        match self.seen.get(from..).and_then(|line| line.strip_suffix(b"\n")) {
            Some(line) => Ok(line.to_vec()),
            None if self.input.limit() == 0 => Err(Error::Header("it is longer than 4 MiB")),
            None => Err(Error::Header("it is cut off")),
        }
    }
}

/// A header: stanzas under a MAC.
#[derive(Clone, Debug)]
pub struct Header {
    bytes: Vec<u8>,
    stanzas: Vec<Stanza>,
    mac: [u8; 32],
}

impl Header {
    /// The header of a file whose key is `file_key`.
    pub(super) fn seal(stanzas: Vec<Stanza>, file_key: &FileKey) -> Header {
        let mut bytes = [VERSION, b"\n"].concat();
        stanzas.iter().for_each(|stanza| stanza.write(&mut bytes));
        bytes.extend_from_slice(b"---");
        let mac = header_key(file_key).tag(&bytes);
        bytes.push(b' ');
        bytes.extend_from_slice(encode(&mac).as_bytes());
        bytes.push(b'\n');
        Header { bytes, stanzas, mac }
    }

    /// Reads a header, and nothing behind it.
    pub fn read(input: &mut dyn BufRead) -> Result<Header, Error> {
        let mut lines = Lines::new(input);
        if lines.next()? != VERSION {
            return Err(Error::Header("it does not begin with age-encryption.org/v1"));
        }
        let mut stanzas = Vec::new();
        loop {
            let line = lines.next()?;
            if let Some(arguments) = line.strip_prefix(b"-> ") {
                stanzas.push(Stanza::read(arguments, &mut lines)?);
                continue;
            }
            let Some(mac) = line.strip_prefix(b"--- ") else {
                return Err(Error::Header("a line begins with neither -> nor ---"));
            };
            let mac = std::str::from_utf8(mac).map_err(|_| Error::Header("the MAC is not base64"))?;
            let mac = decode(mac)?;
            return match stanzas.is_empty() {
                true => Err(Error::Header("it has no recipient")),
                false => Ok(Header { bytes: lines.seen, stanzas, mac }),
            };
        }
    }

    /// Whether the MAC is that of `file_key`, told in constant time.
    pub(super) fn is_of(&self, file_key: &FileKey) -> bool {
        // All up to and including the mark: what is behind it is a space, 43 characters and a line feed.
        let covered = self.bytes.get(..self.bytes.len().saturating_sub(45)).unwrap_or_default();
        same(&header_key(file_key).tag(covered), &self.mac)
    }

    /// What the file key is wrapped in.
    pub fn stanzas(&self) -> &[Stanza] {
        &self.stanzas
    }

    /// As it stands in the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
