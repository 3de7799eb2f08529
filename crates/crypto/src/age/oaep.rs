//! What an RSA private operation leaves of a file key that was encrypted with OAEP and SHA-256 (RFC 8017, 7.1.2, step 3), for
//! tokens that know the operation but not this hash or the label.

use super::FileKey;
use crate::mac::{Sha256, sha256};
use crate::secret::{Secret, same};

const HASH: usize = 32;
const KEY: usize = 16;

/// The file key in a block as long as the modulus; none when `label` or anything else is not right, which takes as long as when
/// it is.
pub(super) fn unpad(label: &[u8], block: &[u8]) -> Option<FileKey> {
    let (first, rest) = block.split_first()?;
    let (seed, data) = rest.split_at_checked(HASH)?;
    let (mut seed, mut data) = (Secret::new(seed.to_vec()), Secret::new(data.to_vec()));
    mask(&mut seed.0, data.expose());
    mask(&mut data.0, seed.expose());
    // A file key has a fixed length, and so has everything in front of it.
    let (padding, key) = data.expose().split_at_checked(data.expose().len().checked_sub(KEY)?)?;
    let mut expected = sha256(label).to_vec();
    expected.resize(padding.len().checked_sub(1)?, 0);
    expected.push(1);
    let right = same(&[*first], &[0]) & same(padding, &expected);
    right.then(|| <[u8; KEY]>::try_from(key).ok().map(Secret::new)).flatten()
}

/// Adds what MGF1 makes of `seed` (RFC 8017, B.2.1).
fn mask(data: &mut [u8], seed: &[u8]) {
    for (counter, piece) in (0u32..).zip(data.chunks_mut(HASH)) {
        let mut hash = Sha256::default();
        hash.update(seed);
        hash.update(&counter.to_be_bytes());
        let made = hash.finish();
        piece.iter_mut().zip(made).for_each(|(byte, made)| *byte ^= made);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pad(label: &[u8], key: &[u8], length: usize) -> Vec<u8> {
        let mut data = sha256(label).to_vec();
        data.resize(length - 1 - HASH - 1 - key.len(), 0);
        data.push(1);
        data.extend_from_slice(key);
        let mut seed = vec![9; HASH];
        mask(&mut data, &seed);
        mask(&mut seed, &data);
        [&[0], seed.as_slice(), &data].concat()
    }

    #[test]
    fn what_was_padded_comes_out_and_nothing_else() {
        let key = [3; KEY];
        for length in [256, 384, 512] {
            let block = pad(b"label", &key, length);
            assert!(unpad(b"label", &block).is_some_and(|found| found.is(&key)));
            assert!(unpad(b"other", &block).is_none());
            for at in 0..length {
                let mut altered = block.clone();
                altered[at] ^= 1;
                assert!(unpad(b"label", &altered).is_none(), "{at} of {length}");
            }
        }
        for other in [&[3; 15][..], &[3; 17], &[]] {
            assert!(unpad(b"label", &pad(b"label", other, 256)).is_none());
        }
        for short in 0..120 {
            assert!(unpad(b"label", &vec![0; short]).is_none());
        }
    }
}
