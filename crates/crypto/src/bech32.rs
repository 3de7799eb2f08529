//! Bech32 (BIP 173) without a limit on the length, which is how age writes keys: letters and digits that find typing errors.

use ::bech32::{FromBase32, ToBase32, Variant};
use zeroize::{Zeroize, Zeroizing};

use crate::secret::SecretString;

/// The longest key that is read: a post-quantum recipient has 1,959 characters, a plugin's may have more.
const LONGEST: usize = 16 * 1024;

/// Human-readable part, in lower case, and data.
pub fn decode(text: &str) -> Option<(String, Zeroizing<Vec<u8>>)> {
    if text.len() > LONGEST {
        return None;
    }
    let (prefix, mut digits, variant) = ::bech32::decode(text).ok()?;
    let data = Vec::from_base32(&digits).map(Zeroizing::new);
    digits.iter_mut().for_each(|digit| *digit = ::bech32::u5::default());
    (variant == Variant::Bech32).then_some((prefix, data.ok()?))
}

/// In lower case, as recipients are written.
pub fn encode(prefix: &str, data: &[u8]) -> String {
    let mut digits = data.to_base32();
    let text = crate::certain(::bech32::encode(prefix, &digits, Variant::Bech32));
    digits.iter_mut().for_each(|digit| *digit = ::bech32::u5::default());
    text
}

/// In upper case, as secrets are written.
pub fn encode_upper(prefix: &str, data: &[u8]) -> SecretString {
    let mut lower = encode(&prefix.to_ascii_lowercase(), data);
    let upper = lower.to_ascii_uppercase();
    lower.zeroize();
    crate::Secret::new(upper)
}
