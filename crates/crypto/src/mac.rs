//! Hashes and keyed hashes with SHA-256: FIPS 180-4, HMAC (RFC 2104), HKDF (RFC 5869).

use aws_lc_rs::{digest, hkdf, hmac};

use crate::certain;

/// An HMAC-SHA256 key with its two inner states computed once.
pub struct MacKey(hmac::Key);

impl MacKey {
    /// From a key of any length; 32 random bytes are what the algorithm is worth.
    pub fn new(key: &[u8]) -> MacKey {
        MacKey(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The keyed hash of `data`.
    pub fn tag(&self, data: &[u8]) -> [u8; 32] {
        array(hmac::sign(&self.0, data).as_ref())
    }

    /// The keyed hash of the concatenation of `parts`, without building it.
    pub fn tag_parts(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        array(context.sign().as_ref())
    }

    /// The keyed hash of `data` as 64 lower-case hexadecimal digits.
    pub fn hex(&self, data: &[u8]) -> String {
        hex::encode(self.tag(data))
    }

    /// Whether `tag` is the whole keyed hash of `data`, told in constant time.
    pub fn verify(&self, data: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, data, tag).is_ok()
    }
}

/// SHA-256 (FIPS 180-4).
pub fn sha256(data: &[u8]) -> [u8; 32] {
    array(digest::digest(&digest::SHA256, data).as_ref())
}

/// SHA-256 of what comes in pieces.
pub struct Sha256(digest::Context);

impl Default for Sha256 {
    fn default() -> Sha256 {
        Sha256(digest::Context::new(&digest::SHA256))
    }
}

impl Sha256 {
    /// Takes in the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The hash of all pieces together.
    pub fn finish(self) -> [u8; 32] {
        array(self.0.finish().as_ref())
    }
}

/// A 256-bit key from `key` by HKDF-SHA256 (RFC 5869). `salt` may be empty; `info` names the purpose, and no
/// two purposes may share one.
pub fn derive(key: &[u8], salt: &[u8], info: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    derive_into(key, salt, info, &mut out);
    out
}

/// As [`derive`], but as many bytes as `out` has: at most 255 times 32.
pub(crate) fn derive_into(key: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key);
    certain(extracted.expand(&[info], Length(out.len())).and_then(|okm| okm.fill(out)));
}

/// The second half of HKDF alone: bytes from a secret that was extracted already.
pub(crate) fn expand_into(secret: &[u8; 32], info: &[&[u8]], out: &mut [u8]) {
    let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret);
    certain(secret.expand(info, Length(out.len())).and_then(|okm| okm.fill(out)));
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn array(bytes: &[u8]) -> [u8; 32] {
    certain(bytes.try_into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    #[test]
    fn sha256_of_fips_180() {
        assert_eq!(
            hex::encode(sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex::encode(sha256(b"")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn pieces_hash_as_the_whole() {
        let mut pieces = Sha256::default();
        for piece in [&b"a"[..], b"", b"bc"] {
            pieces.update(piece);
        }
        assert_eq!(pieces.finish(), sha256(b"abc"));
    }

    #[test]
    fn hmac_of_rfc_4231() {
        let cases = [
            (
                vec![0x0b; 20],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, data, tag) in cases {
            let key = MacKey::new(&key);
            assert_eq!(key.hex(data), tag);
            let (left, right) = data.split_at(3);
            assert_eq!(hex::encode(key.tag_parts(&[left, &[], right])), tag);
            assert!(key.verify(data, &unhex(tag)));
            assert!(!key.verify(data, &unhex(tag)[..31]) && !key.verify(left, &unhex(tag)));
        }
    }

    #[test]
    fn hkdf_of_rfc_5869() {
        let (salt, info) = (unhex("000102030405060708090a0b0c"), unhex("f0f1f2f3f4f5f6f7f8f9"));
        assert_eq!(
            hex::encode(derive(&[0x0b; 22], &salt, &info)),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
        );
        assert_eq!(
            hex::encode(derive(&[0x0b; 22], &[], &[])),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
        );
        let mut longer = [0; 42];
        derive_into(&[0x0b; 22], &salt, &info, &mut longer);
        assert!(hex::encode(longer).ends_with("ecc4c5bf34007208d5b887185865"));
    }
}
