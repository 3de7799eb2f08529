//! What Kubernetes calls things.

use crate::{Invalid, invalid};

/// The longest name of an object: a subdomain (RFC 1123).
pub const LONGEST_NAME: usize = 253;
/// The longest name of a namespace or cluster: a label (RFC 1123).
pub const LONGEST_LABEL: usize = 63;

fn is_label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LONGEST_LABEL).contains(&text.len())
        && text.bytes().all(plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A namespace or a cluster: a label.
pub fn label(what: &str, text: &str) -> Result<(), Invalid> {
    match is_label(text) {
        true => Ok(()),
        false => invalid(format!(
            "{what} is no name: 1 to 63 of a-z, 0-9 and -, which it may not begin or end with"
        )),
    }
}

/// The name of an object: labels with dots between.
pub fn object(what: &str, text: &str) -> Result<(), Invalid> {
    match text.len() <= LONGEST_NAME && text.split('.').all(is_label) {
        true => Ok(()),
        false => invalid(format!(
            "{what} is no name: up to 253 of a-z, 0-9, - and ., beginning and ending with a letter or digit"
        )),
    }
}

/// The digest of an image, from itself or from a reference that is pinned to it: `sha256:` and 64 hexadecimal digits in lower case
/// (OCI Image Format, Descriptors).
pub fn image_digest(text: &str) -> Result<&str, Invalid> {
    let digest = text.split_once('@').map_or(text, |(_, digest)| digest);
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    match hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        true => Ok(digest),
        false => invalid(
            "an image is named by its digest, sha256: and 64 hexadecimal digits, by itself or behind the @ of a reference: what a \
             tag names changes",
        ),
    }
}

/// A key of a Secret's data.
pub fn item(text: &str) -> Result<(), Invalid> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(plain);
    match fits && text != "." && !text.starts_with("..") {
        true => Ok(()),
        false => invalid(
            "an item's key has 1 to 253 of letters, digits, -, _ and ., and does not begin with two dots",
        ),
    }
}
