//! What stands inside the age file of one value.
//!
//! ```text
//! keyward.io/sealed-item/v1
//! {"cluster ...": the header, JSON in one line}
//! the author's signature of the lines above and of the value's hash, in base64
//!
//! the value, byte for byte
//! ```
//!
//! The signature also covers the hash of the value, which stands nowhere: it would tell a guess from another.

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use keyward_core::Random;
use keyward_crypto::secret::SecretBytes;
use keyward_crypto::{Secret, sha256};
use keyward_intent::Bounds;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::author::{AuthorKey, Signer};
use crate::violation::{Failure, Violation, invalid};

/// The first line.
const MAGIC: &str = "keyward.io/sealed-item/v1";
/// The longest header that is read: a thousand subjects fit.
pub const LONGEST_HEADER: usize = 1 << 20;
/// The longest value: far above what etcd takes, for files that are never applied.
pub const LONGEST_VALUE: usize = 32 << 20;

/// What a value is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// The namespace, where the scope binds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name, where the scope binds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The key it stands under.
    pub item: String,
    /// Everything else.
    pub bounds: Bounds,
    /// The object's version when it was sealed.
    pub version: u64,
    /// Who made it.
    pub author: String,
    /// 16 random bytes in base64, so that equal values have different seals.
    pub salt: String,
}

impl Header {
    /// With a salt of its own.
    pub fn salted(self, random: &dyn Random) -> Header {
        let salt: [u8; 16] = keyward_core::random::bytes(random);
        Header { salt: BASE64.encode(salt), ..self }
    }
}

/// A value and its header, signed: the plaintext of an age file.
pub struct Envelope {
    /// Header, signature and value, as they stand in the file.
    bytes: SecretBytes,
    /// Where the value begins.
    value: usize,
    header: Header,
    signature: String,
}

fn signed(head: &str, value: &[u8]) -> Vec<u8> {
    [MAGIC.as_bytes(), b"\n", head.as_bytes(), b"\n", &sha256(value)].concat()
}

impl Envelope {
    /// Signs a value.
    pub fn sign(header: Header, value: &[u8], signer: &Signer) -> Result<Envelope, Failure> {
        if value.len() > LONGEST_VALUE {
            return invalid(format!("the value of {} is longer than 32 MiB", header.item));
        }
        let Ok(head) = serde_json::to_string(&header) else { return invalid("the header cannot be written") };
        if head.len() > LONGEST_HEADER {
            return invalid("the header is longer than 1 MiB: name fewer subjects");
        }
        let signature = signer.sign(&signed(&head, value))?;
        let before = format!("{MAGIC}\n{head}\n{signature}\n\n");
        // Made once and never grown, so that no copy stays behind.
        let bytes = Secret::new([before.as_bytes(), value].concat());
        Ok(Envelope { bytes, value: before.len(), header, signature })
    }

    /// Reads one. Nothing is checked yet but its form; see [`Envelope::check_signature`].
    pub fn read(bytes: SecretBytes) -> Result<Envelope, Failure> {
        let whole = bytes.expose();
        let mut lines = whole.splitn(5, |byte| *byte == b'\n');
        let mut line = || lines.next().and_then(|line| std::str::from_utf8(line).ok());
        let not_one = "the age file holds no sealed value: was it made by another program?";
        if line() != Some(MAGIC) {
            return invalid(not_one);
        }
        let (Some(head), Some(signature), Some("")) = (line(), line(), line()) else {
            return invalid(not_one);
        };
        if head.len() > LONGEST_HEADER {
            return invalid("the header is longer than 1 MiB");
        }
        let value = MAGIC.len() + head.len() + signature.len() + 4;
        let header = serde_json::from_str(head).map_err(|why| {
            Failure::Invalid(format!("the sealed header cannot be read: column {}", why.column()))
        })?;
        let signature = signature.to_owned();
        match value <= whole.len() {
            true => Ok(Envelope { value, header, signature, bytes }),
            false => invalid(not_one),
        }
    }

    /// Whether the author in the header signed header and value.
    pub fn check_signature(&self) -> Result<(), Failure> {
        let author = AuthorKey::read(&self.header.author)?;
        let whole = self.bytes.expose();
        let head = whole
            .get(MAGIC.len() + 1..self.value.saturating_sub(self.signature.len() + 3))
            .and_then(|head| std::str::from_utf8(head).ok())
            .unwrap_or_default();
        let message = Zeroizing::new(signed(head, self.value()));
        match author.verifies(&message, &self.signature) {
            true => Ok(()),
            false => Err(Violation::ItemSignature(self.header.item.clone()).into()),
        }
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        self.bytes.expose().get(self.value..).unwrap_or_default()
    }

    /// Names this header and value: the hash of the signature, in base64.
    pub fn seal(&self) -> String {
        BASE64.encode(sha256(self.signature.as_bytes()))
    }

    /// What is encrypted.
    pub const fn bytes(&self) -> &SecretBytes {
        &self.bytes
    }
}
