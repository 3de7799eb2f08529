//! What travels: base64, and texts that name the key version in front.

use crate::refusal::Refusal;
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use keyward_crypto::Secret;
use keyward_crypto::keys::{Hash, Padding, UseError};
use std::borrow::Cow;

/// Padded base64 as Go reads it: bits left over at the end need not be zero.
const PADDED: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Unpadded, URL-safe base64, as JWS has it (RFC 7515).
const URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Standard base64.
pub(crate) fn encode(bytes: &[u8]) -> String {
    PADDED.encode(bytes)
}

/// Reads standard base64; line breaks are skipped, as command-line tools write them. The message is the one
/// Vault's clients know.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, String> {
    decode_by(&PADDED, text)
}

fn decode_by(engine: &GeneralPurpose, text: &str) -> Result<Vec<u8>, String> {
    let text = match text.contains(['\n', '\r']) {
        true => Cow::Owned(text.replace(['\n', '\r'], "")),
        false => Cow::Borrowed(text),
    };
    engine.decode(&*text).map_err(|why| {
        let at = match why {
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            // Where the incomplete group of four begins.
            base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => text.len() / 4 * 4,
        };
        format!("illegal base64 data at input byte {at}")
    })
}

/// How the bytes behind the version are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Padded.
    Standard,
    /// URL-safe, for JWS.
    Url,
}

const PREFIX: &str = "vault:v";

/// `vault:v<version>:` and the bytes.
pub(super) fn versioned(version: u64, bytes: &[u8], coding: Coding) -> String {
    let mut out = String::with_capacity(PREFIX.len() + 8 + bytes.len() * 4 / 3 + 4);
    out.push_str(PREFIX);
    out.push_str(&version.to_string());
    out.push(':');
    match coding {
        Coding::Standard => PADDED.encode_string(bytes, &mut out),
        Coding::Url => URL.encode_string(bytes, &mut out),
    }
    out
}

/// Splits a text at its version. `what` is what the text is called in messages.
pub(super) fn split_version<'t>(text: &'t str, what: &str) -> Result<(u64, &'t str), String> {
    let rest = text.strip_prefix(PREFIX).ok_or_else(|| match what {
        "HMAC" => "invalid HMAC to verify: no prefix".to_owned(),
        _ => format!("invalid {what}: no prefix"),
    })?;
    let (version, rest) =
        rest.split_once(':').ok_or_else(|| format!("invalid {what}: wrong number of fields"))?;
    match version.parse() {
        Ok(version) => Ok((version, rest)),
        Err(_) => Err(format!("invalid {what}: version number could not be decoded")),
    }
}

/// Reads the bytes behind the version.
pub(super) fn decode_coded(text: &str, coding: Coding) -> Result<Vec<u8>, String> {
    match coding {
        Coding::Standard => decode(text),
        Coding::Url => decode_by(&URL, text),
    }
}

/// The hash function of an import or export by RSA-OAEP; SHA-256 when none is named.
pub(super) fn oaep_hash(name: Option<String>) -> Result<Hash, Refusal> {
    let name = name.unwrap_or_default();
    match name.to_ascii_uppercase().as_str() {
        "" | "SHA256" => Ok(Hash::Sha2_256),
        "SHA1" => Ok(Hash::Sha1),
        "SHA384" => Ok(Hash::Sha2_384),
        "SHA512" => Ok(Hash::Sha2_512),
        "SHA224" => {
            Err(Refusal::invalid(UseError::Hash { hash: Hash::Sha2_224, purpose: "OAEP" }.to_string()))
        }
        _ => Err(Refusal::invalid(format!("unknown hash function: {name}"))),
    }
}

/// The RSA padding with this name; OAEP with SHA-256 when none is named.
pub(super) fn padding(name: &str) -> Result<Padding, String> {
    match name {
        "" | "oaep" => Ok(Padding::Oaep(Hash::Sha2_256)),
        "pkcs1v15" => Ok(Padding::Pkcs1v15),
        _ => Err(format!("unknown padding scheme: {name}")),
    }
}

/// Bytes in stored JSON as base64, overwritten when dropped.
pub(crate) struct Hidden(pub(crate) Secret<Vec<u8>>);

impl serde::Serialize for Hidden {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&zeroize::Zeroizing::new(encode(self.0.expose())))
    }
}

impl<'de> serde::Deserialize<'de> for Hidden {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Hidden, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Hidden;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("base64")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Hidden, E> {
                decode(text).map(|bytes| Hidden(Secret::new(bytes))).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_go_reads_it() {
        assert_eq!(decode("aGVsbG8="), Ok(b"hello".to_vec()));
        assert_eq!(decode("aGVs\r\nbG8=\n"), Ok(b"hello".to_vec()));
        assert_eq!(decode("aGVsbG9="), Ok(b"hello".to_vec()));
        assert_eq!(decode(""), Ok(vec![]));
        assert_eq!(decode("aG!s"), Err("illegal base64 data at input byte 2".to_owned()));
        assert_eq!(decode("aGVsbG8"), Err("illegal base64 data at input byte 4".to_owned()));
        for bad in ["aGVsbG8", "aGVsbG8==", "aG-_", "=", "a"] {
            assert!(decode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_stand_in_front() {
        let text = versioned(12, &[0xfb, 0xff], Coding::Url);
        assert_eq!(text, "vault:v12:-_8");
        assert_eq!(split_version(&text, "ciphertext"), Ok((12, "-_8")));
        assert_eq!(decode_coded("-_8", Coding::Url), Ok(vec![0xfb, 0xff]));
        assert_eq!(versioned(1, &[0xfb, 0xff], Coding::Standard), "vault:v1:+/8=");
        for (bad, message) in [
            ("v1:x", "invalid ciphertext: no prefix"),
            ("vault:v1", "invalid ciphertext: wrong number of fields"),
            ("vault:vx:a", "invalid ciphertext: version number could not be decoded"),
            ("vault:v-1:a", "invalid ciphertext: version number could not be decoded"),
        ] {
            assert_eq!(split_version(bad, "ciphertext").unwrap_err(), message);
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,60}") {
            if let Ok((_, rest)) = split_version(&text, "signature") {
                let _ = (decode_coded(rest, Coding::Standard), decode_coded(rest, Coding::Url));
            }
        }

        #[test]
        fn reads_back(version: u64, bytes: Vec<u8>) {
            for coding in [Coding::Standard, Coding::Url] {
                let text = versioned(version, &bytes, coding);
                let (found, rest) = split_version(&text, "x").unwrap();
                proptest::prop_assert_eq!((found, decode_coded(rest, coding).unwrap()), (version, bytes.clone()));
            }
        }
    }
}
