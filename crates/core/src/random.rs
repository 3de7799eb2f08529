//! Randomness as an argument.

use crate::Timestamp;

/// A source of cryptographically secure random bytes. The binary hands in the operating system's; tests hand
/// in a seeded one, so that a handler's result can be compared.
pub trait Random: Send + Sync {
    /// Fills `out` with random bytes.
    fn fill(&self, out: &mut [u8]);
}

/// `N` random bytes.
pub fn bytes<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut out = [0; N];
    random.fill(&mut out);
    out
}

/// The digits of base 62, in the order of their bytes.
pub const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Characters of [`base62_after`] that tell its time.
pub const MOMENT: usize = 7;

/// A random string of `len` characters of `[0-9A-Za-z]` behind [`MOMENT`] that tell `now` in milliseconds: what is made
/// later sorts later, until they begin anew in 2081. Entries under such names are written side by side.
pub fn base62_after(random: &dyn Random, now: Timestamp, len: usize) -> String {
    let mut rest = now.nanos() / 1_000_000;
    let mut moment = [b'0'; MOMENT];
    for digit in moment.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    let mut out: String = moment.into_iter().map(char::from).collect();
    out.push_str(&base62(random, len));
    out
}

/// A random string of `len` characters of `[0-9A-Za-z]`, each equally likely (5.95 bits a character).
pub fn base62(random: &dyn Random, len: usize) -> String {
    let mut out = String::with_capacity(len);
    let mut pool = [0u8; 64];
    while out.len() < len {
        random.fill(&mut pool);
        // 248 is the largest multiple of 62 in a byte: anything above would favour some characters.
        for byte in pool.iter().filter(|byte| **byte < 248) {
            if out.len() < len {
                out.push(char::from(BASE62[usize::from(byte % 62)]));
            }
        }
    }
    out
}

/// A random version 4 UUID (RFC 9562) in its hyphenated form.
pub fn uuid(random: &dyn Random) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut raw: [u8; 16] = bytes(random);
    raw[6] = (raw[6] & 0x0f) | 0x40;
    raw[8] = (raw[8] & 0x3f) | 0x80;
    let mut out = String::with_capacity(36);
    for (at, byte) in raw.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    struct Counting(AtomicU8);
    impl Random for Counting {
        fn fill(&self, out: &mut [u8]) {
            out.iter_mut().for_each(|byte| *byte = self.0.fetch_add(1, Ordering::Relaxed));
        }
    }

    #[test]
    fn strings_have_their_length_and_alphabet() {
        let random = Counting(AtomicU8::new(240));
        for len in [0, 1, 24, 200] {
            let text = base62(&random, len);
            assert_eq!(text.len(), len);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn names_of_later_moments_sort_later() {
        let random = Counting(AtomicU8::new(0));
        let at = |millis: u64| base62_after(&random, Timestamp::from_nanos(millis * 1_000_000), 5);
        let moments = [0, 1, 61, 62, 1_767_225_600_000, 1_767_225_600_001, 3_521_614_606_207];
        let names = moments.map(at);
        assert!(names.is_sorted(), "{names:?}");
        assert!(names.iter().all(|name| name.len() == MOMENT + 5));
        assert!(names[0].starts_with("0000000") && names[6].starts_with("zzzzzzz"), "{names:?}");
    }

    #[test]
    fn a_uuid_names_its_version_and_variant() {
        let text = uuid(&Counting(AtomicU8::new(0)));
        assert_eq!(text, "00010203-0405-4607-8809-0a0b0c0d0e0f");
    }
}
