//! Addresses of keys for one-time passwords, and the keys in them.

use keyward_authority::otpauth::read;
use keyward_crypto::otp::{base32, from_base32};

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    if let Ok(address) = read(text) {
        let _ = from_base32(address.secret.expose());
    }
    if let Some(key) = from_base32(text) {
        assert_eq!(from_base32(&base32(&key)), Some(key), "{text}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&[
        "otpauth://totp/Big%20Co:me@example.com?secret=GEZDGNBVGY3TQOJQ&issuer=Big+Co&algorithm=SHA1&digits=6&period=30",
        "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
    ])
}
