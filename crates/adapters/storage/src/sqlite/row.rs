//! How a value is stored: revision, checksum, bytes.
//!
//! SQLite checks the structure of its pages, not their content. The checksum covers key, revision and value, so
//! a byte that changed on the disk is reported instead of returned.

use keyward_core::Rev;

/// Bytes before the value: the revision, then the checksum, both big-endian.
const HEAD: usize = 16;

/// Writes the stored form of `value` to `out`, whose earlier content is dropped.
pub(super) fn encode(key: &[u8], rev: Rev, value: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&rev.to_be_bytes());
    out.extend_from_slice(&checksum(key, rev, value).to_be_bytes());
    out.extend_from_slice(value);
}

/// The revision and value of a stored form; `None` when it is not what was written for `key`.
pub(super) fn decode<'a>(key: &[u8], stored: &'a [u8]) -> Option<(Rev, &'a [u8])> {
    let (head, value) = stored.split_at_checked(HEAD)?;
    let rev = Rev::from_be_bytes(head[..8].try_into().ok()?);
    let sum = u64::from_be_bytes(head[8..].try_into().ok()?);
    (sum == checksum(key, rev, value)).then_some((rev, value))
}

fn checksum(key: &[u8], rev: Rev, value: &[u8]) -> u64 {
    let mut sum = Checksum::default();
    // Lengths first: the last word of each part is padded.
    sum.add(&rev.to_le_bytes());
    sum.add(&(key.len() as u32).to_le_bytes());
    sum.add(&(value.len() as u32).to_le_bytes());
    sum.add(key);
    sum.add(value);
    sum.value()
}

/// The checksum of SQLite's log (section 4.2 of its file format): two 32-bit sums over pairs of little-endian
/// words. A change within one pair of words is always noticed; it is no defence against intent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checksum(pub(super) u32, pub(super) u32);

impl Checksum {
    /// Adds `bytes`, padded with zeroes to a multiple of eight.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let (pairs, rest) = bytes.as_chunks::<8>();
        pairs.iter().for_each(|pair| self.add_pair(*pair));
        if !rest.is_empty() {
            let mut pair = [0; 8];
            pair[..rest.len()].copy_from_slice(rest);
            self.add_pair(pair);
        }
    }

    fn add_pair(&mut self, [a, b, c, d, e, f, g, h]: [u8; 8]) {
        self.0 = self.0.wrapping_add(u32::from_le_bytes([a, b, c, d])).wrapping_add(self.1);
        self.1 = self.1.wrapping_add(u32::from_le_bytes([e, f, g, h])).wrapping_add(self.0);
    }

    fn value(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was_written() {
        let mut stored = vec![9; 3];
        for len in [0, 1, 7, 8, 9, 600] {
            let value = vec![7; len];
            encode(b"key", 42, &value, &mut stored);
            assert_eq!(stored[..8], 42u64.to_be_bytes());
            assert_eq!(decode(b"key", &stored), Some((42, value.as_slice())));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut stored = Vec::new();
        encode(b"some/key", 42, b"a value of an odd length", &mut stored);
        for bit in 0..stored.len() * 8 {
            stored[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(b"some/key", &stored), None, "bit {bit}");
            stored[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(decode(b"some/kez", &stored), None);
        for len in 0..stored.len() {
            assert_eq!(decode(b"some/key", &stored[..len]), None, "cut at {len}");
        }
        stored.push(0);
        assert_eq!(decode(b"some/key", &stored), None);
    }
}
