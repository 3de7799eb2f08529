//! What a server of SCRAM-SHA-256 keeps of a password (RFC 5802, 7677), written as PostgreSQL does.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use crate::mac::{MacKey, sha256};

/// What RFC 7677 (section 4) asks for at least, and PostgreSQL takes.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// The verifier of `password`, with a `salt` that no other has. It proves the password of who logs in, and is of no use for
/// logging in elsewhere. Takes about a millisecond.
///
/// None for a password with anything but printable ASCII: two programs may write such a one differently (RFC 4013).
pub fn verifier(password: &str, salt: &[u8; 16]) -> Option<String> {
    if !password.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return None;
    }
    let mut salted = Zeroizing::new([0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, password.as_bytes(), &mut *salted);
    let key = MacKey::new(&*salted);
    let stored = sha256(&key.tag(b"Client Key"));
    let server = key.tag(b"Server Key");
    let [salt, stored, server] = [&salt[..], &stored, &server].map(|bytes| BASE64.encode(bytes));
    Some(format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7677() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        assert_eq!(
            verifier("pencil", &salt).unwrap(),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=\
             :wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
        for odd in ["p\u{e4}ncil", "pen\u{7f}cil", "pen\ncil"] {
            assert_eq!(verifier(odd, &salt), None);
        }
    }
}
