//! Signed certificate timestamps (RFC 6962, 3): the word of a log that it has, or will have, seen a certificate.

use super::{Certificate, Extension, PublicKey, PublicKind, Scheme};
use crate::keys::Hash;
use crate::mac::sha256;

/// The extension that timestamps stand in (RFC 6962, 3.3).
const TIMESTAMPS: &str = "1.3.6.1.4.1.11129.2.4.2";
const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
/// The tag of a certificate's extensions within its contents.
const EXTENSIONS: u8 = 0xA3;

/// Whether one of `logs` signed a timestamp that stands in the certificate. `issuer` is the key of who issued it.
pub fn is_logged(certificate: &Certificate, issuer: &PublicKey, logs: &[PublicKey]) -> bool {
    let Some(list) = certificate.extensions().iter().find(|one| one.is(TIMESTAMPS)) else { return false };
    let Some(contents) = contents_before(certificate) else { return false };
    let Some(timestamps) = timestamps(list) else { return false };
    timestamps.iter().any(|timestamp| {
        let of_log = |log: &&PublicKey| sha256(log.spki()) == timestamp.log;
        let signed = timestamp.signed(issuer, &contents);
        logs.iter().filter(of_log).any(|log| log_signed(log, &signed, timestamp.signature))
    })
}

/// Whether a transparency log signed `message`: with SHA-256, as RFC 6962 (2.1.4) has it and other logs do, or by Ed25519.
pub fn log_signed(log: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let scheme = match log.kind() {
        PublicKind::Rsa(_) => Scheme::Rsa(Hash::Sha2_256),
        PublicKind::Ec(_) => Scheme::Ecdsa(Hash::Sha2_256),
        PublicKind::Ed25519 => Scheme::Ed25519,
    };
    log.verify(scheme, message, signature) == Ok(true)
}

struct Timestamp<'a> {
    log: [u8; 32],
    /// Version and milliseconds since 1970, as they came.
    version: u8,
    at: &'a [u8],
    extensions: &'a [u8],
    signature: &'a [u8],
}

impl Timestamp<'_> {
    /// What is signed: RFC 6962, 3.2, for an entry of the type `precert_entry`.
    fn signed(&self, issuer: &PublicKey, contents: &[u8]) -> Vec<u8> {
        let mut out = vec![self.version, 0];
        out.extend_from_slice(self.at);
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&sha256(issuer.spki()));
        // The lengths are of a certificate of at most 64 KiB, and of extensions that had two bytes for their length.
        out.extend_from_slice(&(contents.len() as u32).to_be_bytes()[1..]);
        out.extend_from_slice(contents);
        out.extend_from_slice(&(self.extensions.len() as u16).to_be_bytes());
        out.extend_from_slice(self.extensions);
        out
    }
}

fn timestamps(extension: &Extension) -> Option<Vec<Timestamp<'_>>> {
    let (OCTETS, list, []) = element(extension.value())? else { return None };
    let (mut list, []) = counted(list)? else { return None };
    let mut found = Vec::new();
    while !list.is_empty() {
        let (one, rest) = counted(list)?;
        list = rest;
        let (&version, one) = one.split_first()?;
        let (log, one) = one.split_first_chunk::<32>()?;
        let (at, one) = one.split_at_checked(8)?;
        let (extensions, one) = counted(one)?;
        // The algorithm: the log's key says which it is.
        let (_, one) = one.split_at_checked(2)?;
        let (signature, []) = counted(one)? else { return None };
        found.push(Timestamp { log: *log, version, at, extensions, signature });
    }
    Some(found)
}

/// What stands behind a length of two bytes, and the rest.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// The contents of a certificate as the log saw them: without the timestamps.
fn contents_before(certificate: &Certificate) -> Option<Vec<u8>> {
    let (SEQUENCE, whole, []) = element(certificate.der())? else { return None };
    let (SEQUENCE, mut contents, _) = element(whole)? else { return None };
    let mut kept = Vec::with_capacity(contents.len());
    while !contents.is_empty() {
        let (tag, value, rest) = element(contents)?;
        match tag {
            EXTENSIONS => {
                let (SEQUENCE, mut list, []) = element(value)? else { return None };
                let mut others = Vec::new();
                for extension in certificate.extensions() {
                    let (_, _, after) = element(list)?;
                    if !extension.is(TIMESTAMPS) {
                        others.extend_from_slice(&list[..list.len() - after.len()]);
                    }
                    list = after;
                }
                write(EXTENSIONS, &wrapped(SEQUENCE, &others), &mut kept);
            }
            _ => kept.extend_from_slice(&contents[..contents.len() - rest.len()]),
        }
        contents = rest;
    }
    Some(wrapped(SEQUENCE, &kept))
}

/// The tag and the value of the first element of DER, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

fn wrapped(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 5);
    write(tag, value, &mut out);
    out
}

/// An element of less than 16 MiB.
fn write(tag: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    let length = (value.len() as u32).to_be_bytes();
    match value.len() {
        0..=0x7F => out.push(length[3]),
        0x80..=0xFF => out.extend_from_slice(&[0x81, length[3]]),
        0x100..=0xFFFF => out.extend_from_slice(&[0x82, length[2], length[3]]),
        _ => out.extend_from_slice(&[0x83, length[1], length[2], length[3]]),
    }
    out.extend_from_slice(value);
}
