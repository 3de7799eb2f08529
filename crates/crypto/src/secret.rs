//! Secrets in memory.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A value that must not leak: it cannot be cloned, printed or serialized, and its memory is overwritten when
/// it is dropped.
///
/// Build the value whole before wrapping it: a `Vec` or `String` that grows leaves its old buffer behind,
/// which nothing overwrites.
pub struct Secret<T: Zeroize>(pub(crate) T);

/// Secret bytes of any length.
pub type SecretBytes = Secret<Vec<u8>>;

/// A secret text.
pub type SecretString = Secret<String>;

/// A 256-bit key.
pub type SecretKey = Secret<[u8; 32]>;

impl<T: Zeroize> Secret<T> {
    /// Takes charge of `value`.
    pub const fn new(value: T) -> Secret<T> {
        Secret(value)
    }

    /// The value itself. What the caller copies out of it is the caller's to protect.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    /// Whether this is `other`, told in a time that depends only on the lengths.
    pub fn is(&self, other: &[u8]) -> bool {
        same(self.0.as_ref(), other)
    }
}

impl<const N: usize> Secret<[u8; N]> {
    /// A new key.
    pub fn random(random: &dyn keyward_core::Random) -> Secret<[u8; N]> {
        let mut key = Secret([0; N]);
        random.fill(&mut key.0);
        key
    }
}

impl Secret<[u8; 32]> {
    /// A key from a slice, when it has 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Secret<[u8; 32]>> {
        bytes.try_into().ok().map(Secret)
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Secret<T> {
        Secret(value)
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    /// Never the value, so that a struct that holds a secret can still be printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Compares in a time that depends only on the lengths, never on the contents. The lengths themselves are not
/// protected.
pub fn same(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_secret_is_never_printed() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "only printed")]
        struct Login {
            user: &'static str,
            password: SecretString,
        }
        let login = Login { user: "ada", password: Secret::new("correct horse".to_owned()) };
        let shown = format!("{login:?} {:?} {:?}", Secret::new(vec![7u8; 4]), Secret::new([9u8; 32]));
        assert!(shown.contains("ada") && shown.contains("Secret(..)"), "{shown}");
        assert!(!shown.contains("horse") && !shown.contains('7') && !shown.contains('9'), "{shown}");
    }

    #[test]
    fn dropping_overwrites() {
        struct Counted(Arc<AtomicUsize>);
        impl Zeroize for Counted {
            fn zeroize(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let wiped = Arc::new(AtomicUsize::new(0));
        let secret = Secret::new(Counted(Arc::clone(&wiped)));
        assert_eq!(wiped.load(Ordering::Relaxed), 0);
        drop(secret);
        assert_eq!(wiped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn comparison_sees_every_byte_and_the_length() {
        let reference = [5u8; 33];
        assert!(same(&reference, &reference) && same(&[], &[]));
        for at in 0..reference.len() {
            let mut other = reference;
            other[at] ^= 1;
            assert!(!same(&reference, &other), "byte {at}");
        }
        assert!(!same(&reference, &reference[..32]));
        assert!(Secret::new("abc".to_owned()).is(b"abc") && !Secret::new(vec![1u8]).is(&[2]));
    }

    #[test]
    fn a_key_has_32_bytes() {
        assert!(SecretKey::from_slice(&[1; 31]).is_none());
        assert!(SecretKey::from_slice(&[1; 33]).is_none());
        assert_eq!(SecretKey::from_slice(&[1; 32]).map(|key| *key.expose()), Some([1; 32]));
    }
}
