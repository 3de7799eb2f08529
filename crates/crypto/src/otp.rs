//! One-time passwords: by counter (HOTP, RFC 4226) and by time (TOTP, RFC 6238).

use crate::keys::Hash;
use crate::secret::same;

/// The hash functions of RFC 6238, section 1.2.
pub const HASHES: [Hash; 3] = [Hash::Sha1, Hash::Sha2_256, Hash::Sha2_512];

/// The most digits a code can have: section 5.3 of RFC 4226 cuts 31 bits to decimals.
pub const MOST_DIGITS: u32 = 9;

/// How codes are made of a key and a counter or the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// One of [`HASHES`].
    pub hash: Hash,
    /// Decimal digits of a code, 6 or 8 as applications know it; at most [`MOST_DIGITS`].
    pub digits: u32,
    /// Seconds for which one code is right; never zero.
    pub period: u64,
}

impl Default for Parameters {
    /// SHA-1, six digits, thirty seconds: what every application knows.
    fn default() -> Parameters {
        Parameters { hash: Hash::Sha1, digits: 6, period: 30 }
    }
}

impl Parameters {
    /// The code of `key` at `counter` (RFC 4226, section 5.3), with leading zeros. `None` when the hash function has
    /// no keyed form or there are more than [`MOST_DIGITS`].
    pub fn code(&self, key: &[u8], counter: u64) -> Option<String> {
        let tag = self.hash.mac(key, &counter.to_be_bytes()).ok()?;
        let offset = usize::from(tag.last()? & 0x0f);
        let cut: [u8; 4] = tag.get(offset..offset + 4)?.try_into().ok()?;
        let number = u32::from_be_bytes(cut) & 0x7fff_ffff;
        if self.digits > MOST_DIGITS {
            return None;
        }
        let width = self.digits as usize;
        Some(format!("{:0width$}", number % 10u32.pow(self.digits)))
    }

    /// The counter at `seconds` after the epoch (RFC 6238, section 4.2).
    pub fn counter(&self, seconds: u64) -> u64 {
        seconds / self.period.max(1)
    }

    /// The counter, at most `skew` periods away from `seconds` after the epoch, at which `key` gives `code`; the
    /// present one first. Each comparison takes the same time whatever the code is.
    pub fn matching(&self, key: &[u8], code: &str, seconds: u64, skew: u64) -> Option<u64> {
        let present = self.counter(seconds);
        let around = (1..=skew).flat_map(|by| [present.checked_sub(by), present.checked_add(by)]);
        std::iter::once(Some(present)).chain(around).flatten().find(|counter| {
            self.code(key, *counter).is_some_and(|right| same(right.as_bytes(), code.as_bytes()))
        })
    }
}

/// A key as applications read it: base 32 (RFC 4648, section 6) without padding.
pub fn base32(key: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(key.len().div_ceil(5) * 8);
    for chunk in key.chunks(5) {
        let bits = (0..5).fold(0u64, |bits, at| bits << 8 | u64::from(chunk.get(at).copied().unwrap_or(0)));
        let digits = (chunk.len() * 8).div_ceil(5);
        text.extend((0..digits).map(|at| char::from(ALPHABET[(bits >> (35 - 5 * at)) as usize & 31])));
    }
    text
}

/// The key that `text` is in base 32: in any case, with or without padding and blanks. `None` when it is none, or empty.
pub fn from_base32(text: &str) -> Option<Vec<u8>> {
    let (mut key, mut bits, mut have) = (Vec::with_capacity(text.len() * 5 / 8), 0u32, 0);
    for c in text.trim_end_matches('=').chars().filter(|c| !c.is_ascii_whitespace()) {
        let digit = match c.to_ascii_uppercase() {
            c @ 'A'..='Z' => u32::from(c) - u32::from('A'),
            c @ '2'..='7' => u32::from(c) - u32::from('2') + 26,
            _ => return None,
        };
        bits = bits << 5 | digit;
        have += 5;
        if have >= 8 {
            have -= 8;
            key.push(u8::try_from(bits >> have & 0xff).ok()?);
            // What is left are fewer bits than a byte has.
            bits &= (1 << have) - 1;
        }
    }
    (!key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_of_rfc_4226() {
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
            "520489",
        ];
        for (counter, code) in (0..).zip(codes) {
            assert_eq!(Parameters::default().code(KEY, counter).as_deref(), Some(code));
        }
    }

    /// RFC 6238, appendix B; its keys repeat the digits up to the length of the hash.
    #[test]
    fn codes_of_rfc_6238() {
        let long = KEY.repeat(4);
        for (seconds, codes) in [
            (59, ["94287082", "46119246", "90693936"]),
            (1_111_111_109, ["07081804", "68084774", "25091201"]),
            (1_234_567_890, ["89005924", "91819424", "93441116"]),
            (20_000_000_000, ["65353130", "77737706", "47863826"]),
        ] {
            for (hash, code) in HASHES.into_iter().zip(codes) {
                let parameters = Parameters { hash, digits: 8, period: 30 };
                let key = &long[..hash.length()];
                assert_eq!(
                    parameters.code(key, parameters.counter(seconds)).as_deref(),
                    Some(code),
                    "{hash}"
                );
                assert_eq!(parameters.matching(key, code, seconds, 0), Some(seconds / 30));
            }
        }
    }

    #[test]
    fn a_code_is_right_for_its_time_and_the_skew() {
        let parameters = Parameters::default();
        let code = parameters.code(KEY, 100).unwrap();
        for (seconds, skew, found) in [
            (3000, 0, true),
            (3029, 0, true),
            (3030, 0, false),
            (2999, 0, false),
            (3030, 1, true),
            (2999, 1, true),
        ] {
            assert_eq!(
                parameters.matching(KEY, &code, seconds, skew),
                found.then_some(100),
                "{seconds} {skew}"
            );
        }
        for wrong in ["", "0", &code[1..], &format!("{code}0")] {
            assert_eq!(parameters.matching(KEY, wrong, 3000, 1), None);
        }
        assert_eq!(parameters.matching(KEY, &parameters.code(KEY, 0).unwrap(), 0, 2), Some(0));
    }

    /// RFC 4648, section 10.
    #[test]
    fn keys_are_written_in_base_32() {
        let words = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let texts = ["", "MY", "MZXQ", "MZXW6", "MZXW6YQ", "MZXW6YTB", "MZXW6YTBOI"];
        for (word, text) in words.into_iter().zip(texts) {
            assert_eq!(base32(word.as_bytes()), text);
            assert_eq!(from_base32(text).unwrap_or_default(), word.as_bytes());
        }
    }

    #[test]
    fn what_cannot_be_made_is_not() {
        let long = Parameters { digits: 10, ..Parameters::default() };
        let unkeyed = Parameters { hash: Hash::Sha3_256, ..Parameters::default() };
        assert_eq!((long.code(KEY, 1), unkeyed.code(KEY, 1)), (None, None));
        let longest = Parameters { digits: 9, ..Parameters::default() };
        assert_eq!(longest.code(KEY, 0).as_deref(), Some("284755224"));
    }

    #[test]
    fn keys_are_read_as_people_copy_them() {
        for text in ["MZXW6YTBOI", "mzxw6ytboi", "MZXW 6YTB OI", "MZXW6YTBOI======"] {
            assert_eq!(from_base32(text).as_deref(), Some(&b"foobar"[..]), "{text}");
        }
        for odd in ["", "A", "MZXW1", "M=ZX", "MZXW8", "ü"] {
            assert_eq!(from_base32(odd), None, "{odd}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(key in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..80)) {
            assert_eq!(from_base32(&base32(&key)), Some(key));
        }
    }
}
