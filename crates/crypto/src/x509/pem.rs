//! PEM (RFC 7468), read as leniently as what people paste: text between blocks, blanks, lines of any length.

use pem_rfc7468::LineEnding;

/// One block.
pub struct Block {
    /// What stands behind `BEGIN`.
    pub label: String,
    /// The bytes; they may be a key.
    pub der: zeroize::Zeroizing<Vec<u8>>,
}

/// A certificate.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// A certificate request.
pub const REQUEST: &str = "CERTIFICATE REQUEST";
/// A revocation list.
pub const CRL: &str = "X509 CRL";

/// PEM without a line feed at the end, as Vault's clients concatenate it.
pub fn encode(label: &str, der: &[u8]) -> String {
    let mut text = crate::certain(pem_rfc7468::encode_string(label, LineEnding::LF, der));
    text.truncate(text.trim_end().len());
    text
}

/// All blocks in `text`, in order; none when one of them is damaged.
pub fn blocks(text: &str) -> Option<Vec<Block>> {
    const BEGIN: &str = "-----BEGIN ";
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        rest = rest.get(at + BEGIN.len()..)?;
        let (label, body) = rest.split_once("-----")?;
        let (body, after) = body.split_once(&format!("-----END {label}-----"))?;
        found.push(Block { label: label.to_owned(), der: decode(label, body)? });
        rest = after;
    }
    Some(found)
}

/// The first block of `text` whose label is one of `labels`.
pub fn first(labels: &[&str], text: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    blocks(text)?.into_iter().find(|block| labels.contains(&block.label.as_str())).map(|block| block.der)
}

/// The decoder wants lines of 64 characters: the body is written anew before it is read. Header lines, as OpenSSL
/// writes for encrypted keys, are refused.
fn decode(label: &str, body: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let digits = zeroize::Zeroizing::new(body.split_ascii_whitespace().collect::<String>());
    let mut text = zeroize::Zeroizing::new(String::with_capacity(digits.len() + digits.len() / 64 + 80));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in digits.as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).ok()?);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    pem_rfc7468::decode_vec(text.as_bytes()).ok().map(|(_, der)| zeroize::Zeroizing::new(der))
}
