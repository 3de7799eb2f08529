//! The little of DER (X.690) and PEM (RFC 7468) that private keys are wrapped in.

use zeroize::Zeroizing;

use crate::certain;
use crate::secret::{Secret, SecretString};

/// Tags of the types that occur.
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// Object identifiers as their encoded contents.
pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
pub(super) const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
pub(super) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
pub(super) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
pub(super) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub(super) const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
pub(super) const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
pub(super) const ML_DSA: [&[u8]; 3] = [
    &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11],
    &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12],
    &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x13],
];

/// What `PrivateKeyInfo` (RFC 5208) or `SubjectPublicKeyInfo` (RFC 5280) say about the key in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Info<'a> {
    /// The algorithm's object identifier.
    pub(super) algorithm: &'a [u8],
    /// The first parameter when it is an object identifier: the curve.
    pub(super) curve: Option<&'a [u8]>,
    /// The key itself; empty for a public key, which is not looked into.
    pub(super) key: &'a [u8],
}

/// Reads the next element, which must have `tag`: its contents and what follows it.
fn take(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = input.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    (found == tag && length <= rest.len()).then(|| rest.split_at(length))
}

/// Reads an `AlgorithmIdentifier`; `key` is what follows it.
fn algorithm(input: &[u8]) -> Option<Info<'_>> {
    let (identifier, key) = take(SEQUENCE, input)?;
    let (algorithm, parameters) = take(OBJECT, identifier)?;
    Some(Info { algorithm, curve: take(OBJECT, parameters).map(|(curve, _)| curve), key })
}

/// Looks into a PKCS#8 private key of either version.
pub(super) fn private_info(pkcs8: &[u8]) -> Option<Info<'_>> {
    let (info, rest) = take(SEQUENCE, pkcs8)?;
    let (version, info) = take(INTEGER, info)?;
    let info = algorithm(info)?;
    let (key, _) = take(OCTET_STRING, info.key)?;
    (rest.is_empty() && matches!(version, [0 | 1])).then_some(Info { key, ..info })
}

/// Looks into a `SubjectPublicKeyInfo`.
pub(super) fn public_info(spki: &[u8]) -> Option<Info<'_>> {
    let (info, rest) = take(SEQUENCE, spki)?;
    let info = algorithm(info)?;
    take(BIT_STRING, info.key)?;
    rest.is_empty().then_some(Info { key: &[], ..info })
}

/// Which of the older private key formats `der` looks like, to say so in an error.
pub(super) fn older_format(der: &[u8]) -> Option<&'static str> {
    let (key, _) = take(SEQUENCE, der)?;
    let (version, key) = take(INTEGER, key)?;
    match version {
        [0] => take(INTEGER, key).map(|_| "RSA PRIVATE KEY (PKCS#1)"),
        [1] => take(OCTET_STRING, key).map(|_| "EC PRIVATE KEY (SEC1)"),
        _ => None,
    }
}

/// Whether `der` is exactly one sequence, whatever is in it.
pub(super) fn is_sequence(der: &[u8]) -> bool {
    take(SEQUENCE, der).is_some_and(|(_, rest)| rest.is_empty())
}

/// One element. Contents above 65,535 bytes do not occur in keys.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let [high, low] = certain(u16::try_from(length)).to_be_bytes();
    let mut out = Zeroizing::new(Vec::with_capacity(length + 4));
    match (high, low) {
        (0, 0..=0x7f) => out.extend_from_slice(&[tag, low]),
        (0, _) => out.extend_from_slice(&[tag, 0x81, low]),
        _ => out.extend_from_slice(&[tag, 0x82, high, low]),
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// An `ECPrivateKey` (RFC 5915) with its curve and public point.
pub(super) fn sec1(curve: &[u8], scalar: &[u8], point: &[u8]) -> Zeroizing<Vec<u8>> {
    let named = element(0xa0, &[&element(OBJECT, &[curve])]);
    let public = element(0xa1, &[&element(BIT_STRING, &[&[0], point])]);
    element(SEQUENCE, &[&[INTEGER, 1, 1], &element(OCTET_STRING, &[scalar]), &named, &public])
}

/// PKCS#8 around the key `inner` of a curve or none.
pub(super) fn pkcs8(algorithm: &[u8], parameters: &[u8], inner: &[u8]) -> Zeroizing<Vec<u8>> {
    let identifier = element(SEQUENCE, &[&element(OBJECT, &[algorithm]), parameters]);
    element(SEQUENCE, &[&[INTEGER, 1, 0], &identifier, &element(OCTET_STRING, &[inner])])
}

/// PEM with lines of 64 characters and a final line feed.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    certain(pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der))
}

/// PEM of something secret.
pub(super) fn secret_pem(label: &str, der: &[u8]) -> SecretString {
    Secret::new(pem(label, der))
}

/// The bytes of the first PEM block that has `label`.
pub(super) fn from_pem(label: &str, text: &[u8]) -> Option<Vec<u8>> {
    // Surrounding blanks come from shells and editors; the decoder is strict about them.
    pem_rfc7468::decode_vec(text.trim_ascii()).ok().filter(|(found, _)| *found == label).map(|(_, der)| der)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_reads_back() {
        for length in [0, 1, 127, 128, 255, 256, 65_535] {
            let contents = vec![7; length];
            let written = element(OCTET_STRING, &[&contents]);
            assert_eq!(take(OCTET_STRING, &written), Some((&contents[..], &[][..])), "{length}");
            assert_eq!(take(INTEGER, &written), None);
            assert_eq!(take(OCTET_STRING, &written[..written.len() - 1]), None);
        }
        let key = pkcs8(EC, &element(OBJECT, &[P256]), &[1, 2, 3]);
        assert_eq!(private_info(&key), Some(Info { algorithm: EC, curve: Some(P256), key: &[1, 2, 3] }));
        let longer = [&key[..], &[0]].concat();
        assert_eq!(private_info(&longer), None);
        assert_eq!(older_format(&sec1(P256, &[1], &[4, 2])), Some("EC PRIVATE KEY (SEC1)"));
        assert_eq!(older_format(&key), None);
    }

    #[test]
    fn pem_blocks_read_back() {
        let text = pem("PUBLIC KEY", &[9; 100]);
        assert!(text.starts_with("-----BEGIN PUBLIC KEY-----\nCQkJ") && text.ends_with("KEY-----\n"));
        assert_eq!(from_pem("PUBLIC KEY", text.as_bytes()), Some(vec![9; 100]));
        assert_eq!(from_pem("PUBLIC KEY", format!("\r\n {text} ").as_bytes()), Some(vec![9; 100]));
        assert_eq!(from_pem("PUBLIC KEY", text.replace('\n', "\r\n").as_bytes()), Some(vec![9; 100]));
        assert_eq!(from_pem("PRIVATE KEY", text.as_bytes()), None);
        assert_eq!(from_pem("PUBLIC KEY", b"none"), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics(input: Vec<u8>) {
            let _ = (private_info(&input), public_info(&input), older_format(&input));
            let _ = from_pem("PUBLIC KEY", &input);
        }

        #[test]
        fn reading_what_was_damaged_never_panics(at in 0usize..60, to: u8, cut in 0usize..70) {
            let mut key = pkcs8(EC, &element(OBJECT, &[P256]), &[5; 32]).to_vec();
            let at = at % key.len();
            key[at] = to;
            let _ = private_info(&key);
            let _ = private_info(&key[..cut.min(key.len())]);
        }
    }
}
