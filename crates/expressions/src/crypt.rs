//! Digests, which policies compare and name things by, and random names. Nothing here protects anything.

use sha2::Digest as _;
use std::cell::Cell;

/// SHA-256, in hexadecimal.
pub fn sha256(text: &str) -> String {
    hex::encode(sha2::Sha256::digest(text))
}

/// SHA-1, in hexadecimal.
pub fn sha1(text: &str) -> String {
    hex::encode(sha1::Sha1::digest(text))
}

/// MD5, in hexadecimal.
pub fn md5(text: &str) -> String {
    use md5::Digest as _;
    hex::encode(md5::Md5::digest(text))
}

/// The next number of a sequence that begins at a seed (SplitMix64).
pub fn next(seed: &Cell<u64>) -> u64 {
    seed.set(seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
    let mut z = seed.get();
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A text of a pattern such as `[a-z0-9]{8}`: literal characters and classes, each with a count or a range of counts.
///
/// # Errors
/// It is no such pattern, or the text is too long.
pub fn random_text(pattern: &str, seed: &Cell<u64>) -> Result<String, String> {
    let fault = || format!("{pattern} is not a pattern such as [a-z0-9]{{8}}");
    let mut text = String::new();
    let mut rest = pattern.chars().peekable();
    while let Some(first) = rest.next() {
        let mut class: Vec<char> = Vec::new();
        match first {
            '[' => loop {
                let c = rest.next().ok_or_else(fault)?;
                if c == ']' {
                    break;
                }
                match (rest.peek(), class.len()) {
                    (Some('-'), _) => {
                        rest.next();
                        match rest.next().ok_or_else(fault)? {
                            ']' => {
                                class.extend([c, '-']);
                                break;
                            }
                            end => class.extend(c..=end),
                        }
                    }
                    _ => class.push(c),
                }
            },
            '\\' => match rest.next().ok_or_else(fault)? {
                'd' => class.extend('0'..='9'),
                'w' => class.extend(('a'..='z').chain('A'..='Z').chain('0'..='9').chain(['_'])),
                other => class.push(other),
            },
            '.' => class.extend(' '..='~'),
            other => class.push(other),
        }
        if class.is_empty() || class.len() > 4096 {
            return Err(fault());
        }
        let mut count = 1;
        if rest.peek() == Some(&'{') {
            rest.next();
            let inner: String = rest.by_ref().take_while(|c| *c != '}').collect();
            let (low, high) = inner.split_once(',').unwrap_or((&inner, &inner));
            let low: u64 = low.parse().map_err(|_| fault())?;
            let high: u64 = if high.is_empty() { low } else { high.parse().map_err(|_| fault())? };
            if high < low || high > 4096 {
                return Err(fault());
            }
            count = low + next(seed) % (high - low + 1);
        }
        for _ in 0..count {
            text.push(class[usize::try_from(next(seed) % class.len() as u64).unwrap_or(0)]);
        }
    }
    Ok(text)
}
