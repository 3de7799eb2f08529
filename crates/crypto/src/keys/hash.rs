//! The hash functions that signatures, keyed hashes and the hash endpoint choose from.

use std::fmt;

use aws_lc_rs::{digest, hmac};

use super::UseError;

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-1: only where something old demands it.
    Sha1,
    /// SHA-224.
    Sha2_224,
    /// SHA-256.
    Sha2_256,
    /// SHA-384.
    Sha2_384,
    /// SHA-512.
    Sha2_512,
    /// SHA3-224: known by name, not available.
    Sha3_224,
    /// SHA3-256.
    Sha3_256,
    /// SHA3-384.
    Sha3_384,
    /// SHA3-512.
    Sha3_512,
}

const ALL: [Hash; 9] = [
    Hash::Sha1,
    Hash::Sha2_224,
    Hash::Sha2_256,
    Hash::Sha2_384,
    Hash::Sha2_512,
    Hash::Sha3_224,
    Hash::Sha3_256,
    Hash::Sha3_384,
    Hash::Sha3_512,
];

impl Hash {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Hash::Sha1 => "sha1",
            Hash::Sha2_224 => "sha2-224",
            Hash::Sha2_256 => "sha2-256",
            Hash::Sha2_384 => "sha2-384",
            Hash::Sha2_512 => "sha2-512",
            Hash::Sha3_224 => "sha3-224",
            Hash::Sha3_256 => "sha3-256",
            Hash::Sha3_384 => "sha3-384",
            Hash::Sha3_512 => "sha3-512",
        }
    }

    /// The hash function with this name.
    pub fn parse(name: &str) -> Option<Hash> {
        ALL.into_iter().find(|hash| hash.name() == name)
    }

    /// Bytes of the hash.
    pub const fn length(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha2_224 | Hash::Sha3_224 => 28,
            Hash::Sha2_256 | Hash::Sha3_256 => 32,
            Hash::Sha2_384 | Hash::Sha3_384 => 48,
            Hash::Sha2_512 | Hash::Sha3_512 => 64,
        }
    }

    /// The hash of `data`. SHA3-224 is refused: the cryptographic library does not have it.
    pub fn digest(self, data: &[u8]) -> Result<Vec<u8>, UseError> {
        let algorithm = match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha2_224 => &digest::SHA224,
            Hash::Sha2_256 => &digest::SHA256,
            Hash::Sha2_384 => &digest::SHA384,
            Hash::Sha2_512 => &digest::SHA512,
            Hash::Sha3_224 => return Err(UseError::Hash { hash: self, purpose: "hashing" }),
            Hash::Sha3_256 => &digest::SHA3_256,
            Hash::Sha3_384 => &digest::SHA3_384,
            Hash::Sha3_512 => &digest::SHA3_512,
        };
        Ok(digest::digest(algorithm, data).as_ref().to_vec())
    }

    /// The HMAC (RFC 2104) of `data` under `key`. The SHA-3 family is refused.
    pub fn mac(self, key: &[u8], data: &[u8]) -> Result<Vec<u8>, UseError> {
        Ok(hmac::sign(&self.mac_key(key)?, data).as_ref().to_vec())
    }

    /// Whether `tag` is the HMAC of `data` under `key`, told in constant time.
    pub fn verify_mac(self, key: &[u8], data: &[u8], tag: &[u8]) -> Result<bool, UseError> {
        Ok(hmac::verify(&self.mac_key(key)?, data, tag).is_ok())
    }

    fn mac_key(self, key: &[u8]) -> Result<hmac::Key, UseError> {
        let algorithm = match self {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha2_224 => hmac::HMAC_SHA224,
            Hash::Sha2_256 => hmac::HMAC_SHA256,
            Hash::Sha2_384 => hmac::HMAC_SHA384,
            Hash::Sha2_512 => hmac::HMAC_SHA512,
            Hash::Sha3_224 | Hash::Sha3_256 | Hash::Sha3_384 | Hash::Sha3_512 => {
                return Err(UseError::Hash { hash: self, purpose: "HMAC" });
            }
        };
        Ok(hmac::Key::new(algorithm, key))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_the_standards() {
        let hashes = [
            ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("sha2-224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
            ("sha2-256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "sha2-384",
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            ),
            ("sha3-256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
            (
                "sha3-384",
                "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
            ),
        ];
        for (name, expected) in hashes {
            let hash = Hash::parse(name).unwrap();
            let digest = hash.digest(b"abc").unwrap();
            assert_eq!((hex::encode(&digest).as_str(), digest.len()), (expected, hash.length()), "{name}");
        }
        for hash in ALL {
            assert_eq!(Hash::parse(hash.name()), Some(hash));
            if hash != Hash::Sha3_224 {
                assert_eq!(hash.digest(b"x").unwrap().len(), hash.length());
            }
        }
        assert_eq!(Hash::parse("none"), None);
        let refused = Hash::Sha3_224.digest(b"").unwrap_err();
        assert!(refused.to_string().contains("sha3-224"), "{refused}");
    }

    /// RFC 4231, test case 2; RFC 2202, test case 2.
    #[test]
    fn keyed_hashes_of_the_standards() {
        let (key, data) = (&b"Jefe"[..], &b"what do ya want for nothing?"[..]);
        for (hash, expected) in [
            (Hash::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (Hash::Sha2_224, "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44"),
            (Hash::Sha2_256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                Hash::Sha2_384,
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
            ),
        ] {
            let tag = hash.mac(key, data).unwrap();
            assert_eq!(hex::encode(&tag), expected, "{hash}");
            assert_eq!(hash.verify_mac(key, data, &tag), Ok(true));
            assert_eq!(hash.verify_mac(key, data, &tag[1..]), Ok(false));
            assert_eq!(hash.verify_mac(key, &data[1..], &tag), Ok(false));
        }
        for hash in [Hash::Sha3_224, Hash::Sha3_256, Hash::Sha3_384, Hash::Sha3_512] {
            assert_eq!(hash.mac(key, data), Err(UseError::Hash { hash, purpose: "HMAC" }));
        }
    }
}
