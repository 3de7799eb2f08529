//! Keys from outside: PKCS#8 and SubjectPublicKeyInfo in DER and PEM. The first byte chooses the type.

use keyward_crypto::Secret;
use keyward_crypto::keys::{Key, KeyType};
use keyward_testkit::fakes::SeededRandom;

const KINDS: [KeyType; 8] = [
    KeyType::Ed25519,
    KeyType::EcdsaP256,
    KeyType::EcdsaP384,
    KeyType::EcdsaP521,
    KeyType::Rsa2048,
    KeyType::MlDsa44,
    KeyType::Aes256Gcm96,
    KeyType::Hmac,
];

pub(crate) fn run(data: &[u8]) {
    let Some((kind, key)) = data.split_first() else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let _ = Key::import_public(kind, key);
    let _ = Key::import_public_pem(kind, key);
    if let Ok(read) = Key::import(kind, Secret::new(key.to_vec())) {
        let written = read.private().unwrap();
        assert!(Key::import(kind, written).is_ok());
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let random = SeededRandom::new(1);
    let mut seeds = Vec::new();
    for (at, kind) in KINDS.into_iter().enumerate() {
        let key = Key::generate(kind, 32, &random).unwrap();
        let pem = key.public_pem().map(String::into_bytes);
        let private = key.private().map(|secret| secret.expose().clone());
        for bytes in [private, key.public(), pem].into_iter().flatten() {
            seeds.push([&[at as u8], bytes.as_slice()].concat());
        }
    }
    seeds
}
