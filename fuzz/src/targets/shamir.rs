//! Unseal shares. The first byte is the length of each.

use keyward_crypto::shamir::{combine, split};
use keyward_testkit::fakes::SeededRandom;

pub(crate) fn run(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let shares: Vec<&[u8]> = rest.chunks(usize::from(*length).max(1)).collect();
    if let Ok(secret) = combine(&shares) {
        assert_eq!(secret.expose().len() + 1, shares[0].len());
    }
    // What is split comes back from as few shares as were asked for.
    if let ([shares @ 2..=5, secret @ ..], random) = (rest, SeededRandom::new(1))
        && let Ok(made) = split(secret, *shares, 2, &random)
    {
        let two: Vec<&[u8]> = made.iter().rev().take(2).map(|share| share.expose().as_slice()).collect();
        assert!(combine(&two).is_ok_and(|whole| whole.expose() == secret));
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let shares = split(&[5; 32], 3, 2, &SeededRandom::new(1)).unwrap();
    let joined: Vec<u8> = shares.iter().flat_map(|share| share.expose().clone()).collect();
    vec![[&[33], joined.as_slice()].concat(), vec![33, 3, 1, 2, 3]]
}
