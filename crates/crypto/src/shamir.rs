//! Shamir's secret sharing over GF(2^8), with the field of AES (x^8 + x^4 + x^3 + x + 1).
//!
//! A share is one y byte for every byte of the secret, followed by one x byte: the format of Vault, OpenBao
//! and sops, whose shares combine here and the other way round. All arithmetic is free of branches and table
//! lookups that depend on secret bytes; x bytes are not secret.
//!
//! Shares carry no checksum: a wrong share, or one of another secret, combines to a wrong secret without an
//! error. The caller must check the result, as the barrier does by opening its key ring.
//!
//! A single share is the secret itself where Vault has "1 of 1"; that is not secret sharing, so it is the
//! caller's case and refused here.

use std::fmt;

use keyward_core::Random;

use crate::secret::{Secret, SecretBytes};

/// The most shares there can be: every nonzero x.
pub const MOST: u8 = 255;

/// Why a secret cannot be split as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitError {
    /// There is nothing to split.
    Empty,
    /// The threshold is below 2.
    LowThreshold,
    /// Fewer shares than the threshold: the secret could never be had back.
    FewerThanThreshold,
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SplitError::Empty => "cannot split an empty secret",
            SplitError::LowThreshold => "the threshold must be at least 2",
            SplitError::FewerThanThreshold => "there must be at least as many shares as the threshold",
        })
    }
}

impl std::error::Error for SplitError {}

/// Why shares do not combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CombineError {
    /// Fewer than two shares.
    TooFew,
    /// A share has no y byte.
    TooShort,
    /// The shares differ in length: they are of different secrets, or one was cut.
    UnequalLengths,
    /// A share has x = 0, where the secret itself lies: no share of anything.
    ZeroX,
    /// Two shares have the same x: the same share given twice, or shares of different secrets.
    DuplicateX,
}

impl fmt::Display for CombineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CombineError::TooFew => "at least two shares are needed",
            CombineError::TooShort => "a share is too short: it must have at least two bytes",
            CombineError::UnequalLengths => "the shares have different lengths: they do not belong together",
            CombineError::ZeroX => "a share is damaged: its last byte must not be zero",
            CombineError::DuplicateX => "a share was given twice, or the shares do not belong together",
        })
    }
}

impl std::error::Error for CombineError {}

/// Splits `secret` into `shares` shares (2..=255), any `threshold` of which (2..=shares) give it back and
/// fewer of which say nothing about it but its length.
pub fn split(
    secret: &[u8],
    shares: u8,
    threshold: u8,
    random: &dyn Random,
) -> Result<Vec<SecretBytes>, SplitError> {
    if secret.is_empty() {
        return Err(SplitError::Empty);
    }
    if threshold < 2 {
        return Err(SplitError::LowThreshold);
    }
    if shares < threshold {
        return Err(SplitError::FewerThanThreshold);
    }
    let abscissas = distinct(shares, random);
    let mut out: Vec<Vec<u8>> = abscissas.iter().map(|_| Vec::with_capacity(secret.len() + 1)).collect();
    let mut higher = Secret::new(vec![0; usize::from(threshold) - 1]);
    for constant in secret {
        random.fill(&mut higher.0);
        for (share, x) in out.iter_mut().zip(&abscissas) {
            share.push(evaluate(*constant, higher.expose(), *x));
        }
    }
    out.iter_mut().zip(abscissas).for_each(|(share, x)| share.push(x));
    Ok(out.into_iter().map(Secret::new).collect())
}

/// The secret that `shares` were split from, when they are at least as many as its threshold and belong
/// together; otherwise some other bytes (see the module's head).
pub fn combine(shares: &[&[u8]]) -> Result<SecretBytes, CombineError> {
    let [first, others @ ..] = shares else { return Err(CombineError::TooFew) };
    if others.is_empty() {
        return Err(CombineError::TooFew);
    }
    if first.len() < 2 {
        return Err(CombineError::TooShort);
    }
    if others.iter().any(|share| share.len() != first.len()) {
        return Err(CombineError::UnequalLengths);
    }
    let length = first.len() - 1;
    let abscissas: Vec<u8> = shares.iter().map(|share| share[length]).collect();
    if abscissas.contains(&0) {
        return Err(CombineError::ZeroX);
    }
    if abscissas.iter().enumerate().any(|(at, x)| abscissas[..at].contains(x)) {
        return Err(CombineError::DuplicateX);
    }
    let mut secret = vec![0; length];
    for (at, share) in shares.iter().enumerate() {
        let weight = weight_at_zero(&abscissas, at);
        secret.iter_mut().zip(*share).for_each(|(byte, y)| *byte ^= multiply(*y, weight));
    }
    Ok(Secret::new(secret))
}

/// `count` different nonzero bytes: the head of a shuffle of all of them.
fn distinct(count: u8, random: &dyn Random) -> Vec<u8> {
    let mut all: Vec<u8> = (1..=MOST).collect();
    for at in 0..usize::from(count) {
        let left = all.len() - at;
        let drawn = u16::from_le_bytes(keyward_core::random::bytes(random));
        // The slight bias of the remainder is of no consequence: x bytes are public.
        all.swap(at, at + usize::from(drawn) % left);
    }
    all.truncate(usize::from(count));
    all
}

/// The polynomial with this constant term and these higher coefficients (lowest first), at `x`.
fn evaluate(constant: u8, higher: &[u8], x: u8) -> u8 {
    multiply(higher.iter().rev().fold(0, |sum, coefficient| multiply(sum, x) ^ coefficient), x) ^ constant
}

/// The Lagrange basis polynomial of the share `at`, evaluated at zero. Subtraction is exclusive or.
fn weight_at_zero(abscissas: &[u8], at: usize) -> u8 {
    let own = abscissas[at];
    let others = abscissas.iter().enumerate().filter(|(other, _)| *other != at);
    others.fold(1, |weight, (_, x)| multiply(weight, multiply(*x, inverse(own ^ x))))
}

/// The product in GF(2^8), in the same steps whatever the operands.
fn multiply(left: u8, right: u8) -> u8 {
    let (mut product, mut shifted) = (0u8, left);
    for bit in 0..8 {
        product ^= shifted & 0u8.wrapping_sub((right >> bit) & 1);
        shifted = (shifted << 1) ^ (0x1b & 0u8.wrapping_sub(shifted >> 7));
    }
    product
}

/// The multiplicative inverse: the 254th power, since the 255th is 1. Zero gives zero.
fn inverse(value: u8) -> u8 {
    let square = |value| multiply(value, value);
    let mut power = value;
    for _ in 0..6 {
        power = multiply(square(power), value);
    }
    square(power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;
    use proptest::prelude::*;

    fn unhex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn combined(shares: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, CombineError> {
        let shares: Vec<&[u8]> = shares.iter().map(AsRef::as_ref).collect();
        combine(&shares).map(|secret| secret.expose().clone())
    }

    fn shares_of(secret: &[u8], shares: u8, threshold: u8) -> Vec<Vec<u8>> {
        split(secret, shares, threshold, &SystemRandom).unwrap().iter().map(|s| s.expose().clone()).collect()
    }

    #[test]
    fn the_field_is_that_of_aes() {
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert_eq!(multiply(0x57, 0x13), 0xfe);
        assert_eq!(inverse(0x53), 0xca);
        for value in 1..=255 {
            assert_eq!(multiply(value, inverse(value)), 1, "{value}");
            assert_eq!((multiply(value, 1), multiply(value, 0)), (value, 0));
        }
        assert_eq!(inverse(0), 0);
    }

    /// Threshold, secret and all shares, as the Go implementation that sops ships wrote them.
    #[test]
    fn shares_made_elsewhere_combine() {
        let vectors = include_str!("../testdata/shamir.txt");
        let mut count = 0;
        for block in vectors.split("\n\n") {
            let mut lines = block.lines().filter(|line| !line.starts_with('#'));
            let (threshold, secret) = lines.next().unwrap().split_once(' ').unwrap();
            let (threshold, secret): (usize, _) = (threshold.parse().unwrap(), unhex(secret));
            let shares: Vec<Vec<u8>> = lines.map(unhex).collect();
            for some in shares.windows(threshold) {
                assert_eq!(combined(some), Ok(secret.clone()));
            }
            assert_eq!(combined(&shares), Ok(secret.clone()));
            if threshold > 2 {
                assert_ne!(combined(&shares[1..threshold]), Ok(secret));
            }
            count += 1;
        }
        assert_eq!(count, 5);
    }

    #[test]
    fn bad_shares_are_told_apart() {
        let good = shares_of(b"secret", 3, 2);
        let (one, two) = (good[0].clone(), good[1].clone());
        let none: [&[u8]; 0] = [];
        assert_eq!(combined(&none), Err(CombineError::TooFew));
        assert_eq!(combined(&good[..1]), Err(CombineError::TooFew));
        assert_eq!(combined(&[&one, &one]), Err(CombineError::DuplicateX));
        assert_eq!(combined(&[&one[..], &two[1..]]), Err(CombineError::UnequalLengths));
        assert_eq!(combined(&[&[1u8][..], &[2u8][..]]), Err(CombineError::TooShort));
        assert_eq!(combined(&[&[][..], &[][..]] as &[&[u8]]), Err(CombineError::TooShort));
        let zero = [&one[..6], &[0]].concat();
        assert_eq!(combined(&[&zero, &two]), Err(CombineError::ZeroX));
    }

    #[test]
    fn impossible_splits_are_refused() {
        let refused =
            |secret: &[u8], shares, threshold| split(secret, shares, threshold, &SystemRandom).err();
        assert_eq!(refused(b"", 3, 2), Some(SplitError::Empty));
        assert_eq!(refused(b"x", 3, 1), Some(SplitError::LowThreshold));
        assert_eq!(refused(b"x", 1, 0), Some(SplitError::LowThreshold));
        assert_eq!(refused(b"x", 2, 3), Some(SplitError::FewerThanThreshold));
    }

    #[test]
    fn the_most_shares_there_can_be() {
        let shares = shares_of(b"key", 255, 255);
        assert_eq!(combined(&shares), Ok(b"key".to_vec()));
        assert_ne!(combined(&shares[1..]), Ok(b"key".to_vec()));
        let mut abscissas: Vec<u8> = shares.iter().map(|share| share[3]).collect();
        abscissas.sort_unstable();
        assert_eq!(abscissas, (1..=255).collect::<Vec<u8>>());
    }

    /// One share below the threshold leaves every value of the secret byte equally possible.
    #[test]
    fn fewer_shares_say_nothing() {
        let share = &shares_of(&[42], 2, 2)[0];
        let x = if share[1] == 7 { 8 } else { 7 };
        let mut seen: Vec<u8> =
            (0..=255).map(|y| combined(&[share.clone(), vec![y, x]]).unwrap()[0]).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
    }

    proptest! {
        #[test]
        fn any_threshold_of_shares_gives_the_secret(
            secret in proptest::collection::vec(any::<u8>(), 1..80),
            (threshold, extra) in (2u8..20, 0u8..20),
            order: u64,
        ) {
            let mut shares = shares_of(&secret, threshold + extra, threshold);
            let count = shares.len() as u64;
            let mut state = order;
            for at in (1..shares.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(count);
                shares.swap(at, (state >> 33) as usize % (at + 1));
            }
            prop_assert_eq!(combined(&shares[..usize::from(threshold)]), Ok(secret.clone()));
            prop_assert_eq!(combined(&shares), Ok(secret));
        }

        #[test]
        fn garbage_never_panics(shares: Vec<Vec<u8>>) {
            let _ = combined(&shares);
        }

        #[test]
        fn multiplication_is_that_of_a_field(a: u8, b: u8, c: u8) {
            prop_assert_eq!(multiply(a, b), multiply(b, a));
            prop_assert_eq!(multiply(a, multiply(b, c)), multiply(multiply(a, b), c));
            prop_assert_eq!(multiply(a, b ^ c), multiply(a, b) ^ multiply(a, c));
        }
    }
}
