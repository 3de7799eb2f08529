//! What is given to a provider to wrap: one format byte, the key, and a digest of its context.
//!
//! Not every provider knows associated data (age does not), and one that ignores it would not say so.

use keyward_crypto::{Secret, same};
use zeroize::Zeroizing;

use crate::{Context, Kek, KeystoreError};

const FORMAT: u8 = 1;
/// Bytes of a payload.
pub(crate) const LENGTH: usize = 65;

/// The bytes to wrap.
pub(crate) fn seal(key: &Kek, context: &Context<'_>) -> Zeroizing<[u8; LENGTH]> {
    let mut out = Zeroizing::new([0; LENGTH]);
    out[0] = FORMAT;
    out[1..33].copy_from_slice(key.expose());
    out[33..].copy_from_slice(&context.digest());
    out
}

/// The key in unwrapped bytes, when they were wrapped in this context.
pub(crate) fn open(payload: &[u8], context: &Context<'_>) -> Result<Kek, KeystoreError> {
    if payload.len() != LENGTH || payload[0] != FORMAT || !same(&payload[33..], &context.digest()) {
        return Err(KeystoreError::does_not_open());
    }
    Secret::from_slice(&payload[1..33]).ok_or_else(KeystoreError::does_not_open)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: Context<'_> = Context { cluster: "prod", provider: "keyward", key_id: "id", epoch: 1 };

    #[test]
    fn opens_in_its_context_only() {
        let sealed = seal(&Secret::new([7; 32]), &CONTEXT);
        assert_eq!(open(sealed.as_slice(), &CONTEXT).unwrap().expose(), &[7; 32]);
        for other in [
            Context { cluster: "test", ..CONTEXT },
            Context { provider: "other", ..CONTEXT },
            Context { key_id: "di", ..CONTEXT },
            Context { epoch: 2, ..CONTEXT },
        ] {
            assert!(open(sealed.as_slice(), &other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn other_bytes_do_not_open() {
        let sealed = seal(&Secret::new([7; 32]), &CONTEXT);
        assert!(open(&sealed[..64], &CONTEXT).is_err());
        assert!(open(&[sealed.as_slice(), &[0]].concat(), &CONTEXT).is_err());
        assert!(open(&[], &CONTEXT).is_err());
        let mut other_format = sealed.clone();
        other_format[0] = 2;
        assert!(open(other_format.as_slice(), &CONTEXT).is_err());
    }
}
