//! How manifests name recipients.

use keyward_crypto::age::Recipient;
use keyward_crypto::sha256;

/// How a manifest calls a recipient: 16 hexadecimal digits of the hash of its text.
pub fn recipient_id(recipient: &Recipient) -> String {
    let hash = sha256(recipient.to_string().as_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
