//! SSH keys that operators and callers hand in, public and private.

use keyward_crypto::SystemRandom;
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::ssh::{PublicKey, private_text, read_private};

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    if let Ok(key) = PublicKey::read(text) {
        assert_eq!(PublicKey::read(&key.line()).as_ref(), Ok(&key), "{text}");
        let _ = (key.kind(), key.algorithm(), key.wire());
    }
    if let Ok((_, key)) = read_private(text) {
        // What is read can be written, and is the same again.
        let again = read_private(private_text(&key).unwrap().expose()).unwrap().1;
        assert_eq!(PublicKey::of(&again), PublicKey::of(&key));
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let made = [KeyType::Ed25519, KeyType::EcdsaP256, KeyType::Rsa2048]
        .map(|kind| Key::generate(kind, 0, &SystemRandom).unwrap());
    let texts = made.iter().flat_map(|key| {
        let public = PublicKey::of(key).unwrap().line().into_bytes();
        [public, private_text(key).unwrap().expose().clone().into_bytes()]
    });
    texts.collect()
}
