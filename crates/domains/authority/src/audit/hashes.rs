//! The hashes that stand for values in records.

use keyward_crypto::MacKey;
use quick_cache::sync::Cache;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

pub(super) const MARK: &str = "hmac-sha256:";

/// The length of a hash as it stands in a record.
pub(super) const HASHED: usize = MARK.len() + 64;

/// How many hashes are kept, of some 100 bytes each.
const KEPT: usize = 512;
/// Bytes of the longest value whose hash is kept: a longer one is seldom the same again.
const LONGEST: usize = 256;

/// Hashes values, and keeps the hashes of those that come again and again: what is read often, and the times that answers
/// carry. Values are not kept: each goes by two random 64-bit hashes of it, so that a value is taken for another one
/// out of 2^128 times.
pub(super) struct Hashes {
    key: Arc<MacKey>,
    names: [RandomState; 2],
    known: Cache<[u64; 2], [u8; 64]>,
}

impl Hashes {
    pub(super) fn new(key: Arc<MacKey>) -> Hashes {
        Hashes { key, names: Default::default(), known: Cache::new(KEPT) }
    }

    /// Appends the hash that stands for `value`.
    pub(super) fn push(&self, out: &mut String, value: &[u8]) {
        let digits = match value.len() <= LONGEST {
            false => self.digits(value),
            true => {
                let name = self.names.each_ref().map(|name| name.hash_one(value));
                self.known.get(&name).unwrap_or_else(|| {
                    let digits = self.digits(value);
                    self.known.insert(name, digits);
                    digits
                })
            }
        };
        out.push_str(MARK);
        out.push_str(std::str::from_utf8(&digits).unwrap_or_default());
    }

    /// The hash by itself.
    pub(super) fn of(&self, value: &str) -> String {
        let mut hash = String::with_capacity(HASHED);
        self.push(&mut hash, value.as_bytes());
        hash
    }

    fn digits(&self, value: &[u8]) -> [u8; 64] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [b'0'; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.key.tag(value)) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_same_however_often_and_however_long() {
        let key = Arc::new(MacKey::new(b"k"));
        let hashes = Hashes::new(key.clone());
        for _ in 0..2 {
            for value in ["", "x", "y", &"z".repeat(LONGEST), &"z".repeat(LONGEST + 1)] {
                assert_eq!(hashes.of(value), format!("{MARK}{}", key.hex(value.as_bytes())));
            }
        }
        // Only the short ones are kept, each once.
        assert_eq!(hashes.known.len(), 4);
    }
}
