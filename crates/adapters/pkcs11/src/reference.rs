//! Where a private key is: what stands in an identity file in its place.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keyward_crypto::age::Recipient;
use keyward_crypto::bech32;
use keyward_crypto::secret::SecretString;

use crate::TokenError;

/// The plugin that stock age starts for such identities: `age-plugin-keyward`.
pub const PLUGIN: &str = "keyward";
const PREFIX: &str = "age-plugin-keyward-";
const VERSION: u8 = 1;

/// A key in a token. It is no secret, and holds no PIN; who has it knows where to look, and who to seal for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Who to seal for: `age1tag1...`, or an RSA key of SSH.
    pub recipient: Recipient,
    /// The PKCS#11 module, by its whole path.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The key's `CKA_ID`.
    pub id: Vec<u8>,
}

impl Reference {
    /// As identity files have it, `AGE-PLUGIN-KEYWARD-1...`.
    pub fn text(&self) -> SecretString {
        let recipient = self.recipient.to_string();
        let mut data = vec![VERSION];
        for field in
            [recipient.as_bytes(), self.module.as_os_str().as_bytes(), self.token.as_bytes(), &self.id]
        {
            // Longer than 64 KiB is no path, no label and no id.
            data.extend_from_slice(&u16::try_from(field.len()).unwrap_or(u16::MAX).to_be_bytes());
            data.extend_from_slice(field);
        }
        bech32::encode_upper(PREFIX, &data)
    }

    /// From what an identity file has.
    pub fn read(text: &str) -> Result<Reference, TokenError> {
        let (prefix, data) = bech32::decode(text.trim()).ok_or(TokenError::Identity)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(TokenError::Identity);
        }
        Reference::of_data(&data).ok_or(TokenError::Identity)
    }

    fn of_data(data: &[u8]) -> Option<Reference> {
        let mut rest = data.strip_prefix(&[VERSION])?;
        let mut field = || {
            let (length, behind) = rest.split_first_chunk::<2>()?;
            let (field, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            rest = behind;
            Some(field)
        };
        let (recipient, module, token, id) = (field()?, field()?, field()?, field()?);
        let recipient: Recipient = std::str::from_utf8(recipient).ok()?.parse().ok()?;
        let module = Path::new(OsStr::from_bytes(module)).to_owned();
        let token = std::str::from_utf8(token).ok()?.to_owned();
        let held = matches!(recipient, Recipient::Tag(_) | Recipient::Ssh(_));
        let whole = held && module.is_absolute() && !id.is_empty() && rest.is_empty();
        whole.then(|| Reference { recipient, module, token, id: id.to_vec() })
    }

    /// The key's id in hexadecimal, as PKCS#11 tools show it.
    pub fn id_text(&self) -> String {
        hexadecimal(&self.id)
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
    use super::*;
    use proptest::prelude::*;

    const RECIPIENT: &str = "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e";

    fn reference() -> Reference {
        Reference {
            recipient: RECIPIENT.parse().unwrap(),
            module: PathBuf::from("/usr/lib/softhsm/libsofthsm2.so"),
            token: "ada's".to_owned(),
            id: vec![1, 0, 255],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = reference().text();
        assert!(text.expose().starts_with("AGE-PLUGIN-KEYWARD-1"), "{}", text.expose());
        assert_eq!(Reference::read(text.expose()), Ok(reference()));
        assert_eq!(reference().id_text(), "0100ff");
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let relative = Reference { module: PathBuf::from("libsofthsm2.so"), ..reference() };
        let nameless = Reference { id: Vec::new(), ..reference() };
        for other in [relative, nameless] {
            assert_eq!(Reference::read(other.text().expose()), Err(TokenError::Identity));
        }
        let whole = bech32::decode(reference().text().expose()).unwrap().1;
        for end in 0..whole.len() {
            assert_eq!(Reference::of_data(&whole[..end]), None, "{end}");
        }
        assert_eq!(Reference::of_data(&[&whole[..], &[0]].concat()), None);
        assert_eq!(Reference::read("AGE-PLUGIN-OTHER-1QQQQ"), Err(TokenError::Identity));
        assert_eq!(Reference::read(RECIPIENT), Err(TokenError::Identity));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reference::of_data(&data);
        }
    }
}
