use super::*;
use crate::SystemRandom;
use std::sync::OnceLock;

fn new(kind: KeyType) -> Key {
    Key::generate(kind, 64, &SystemRandom).unwrap()
}

/// One RSA key for all tests: making one takes most of a second.
fn rsa() -> &'static RsaKey {
    static KEY: OnceLock<Key> = OnceLock::new();
    match KEY.get_or_init(|| new(KeyType::Rsa2048)) {
        Key::Rsa(key) => key,
        _ => unreachable!(),
    }
}

fn ecdsa(kind: KeyType) -> EcdsaKey {
    match new(kind) {
        Key::Ecdsa(key) => *key,
        _ => unreachable!(),
    }
}

fn secret(bytes: &[u8]) -> SecretBytes {
    Secret::new(bytes.to_vec())
}

fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(' ').collect())
}

#[test]
fn every_type_is_made_stored_and_read_back() {
    for kind in ALL_KEY_TYPES {
        let key = new(kind);
        assert!(key.has_private(), "{kind}");
        assert_eq!(key.public().is_some(), kind.is_asymmetric(), "{kind}");
        let stored = key.private().unwrap();
        let again = Key::import(kind, secret(stored.expose())).unwrap();
        assert_eq!(again.public(), key.public(), "{kind}");
        assert_eq!(again.private().unwrap().expose(), stored.expose(), "{kind}");
        assert_eq!(format!("{key:?}"), "Key(..)");
        for other in ALL_KEY_TYPES {
            let sizes_agree = !kind.is_asymmetric() && !other.is_asymmetric();
            if other != kind && !sizes_agree && other != KeyType::Hmac {
                assert!(Key::import(other, secret(stored.expose())).is_err(), "{kind} as {other}");
            }
        }
    }
}

#[test]
fn the_public_part_stands_alone() {
    for kind in ALL_KEY_TYPES.into_iter().filter(|kind| kind.is_asymmetric()) {
        let key = new(kind);
        let public = Key::import_public_pem(kind, key.public_pem().unwrap().as_bytes()).unwrap();
        assert!(!public.has_private() && public.private().is_none() && public.private_pem().is_none());
        assert_eq!(public.public(), key.public(), "{kind}");
        let refused = match &public {
            Key::Ed25519(key) => key.sign(b"m").err(),
            Key::Ecdsa(key) => key.sign(&[1; 32], Marshaling::Asn1).err(),
            Key::Rsa(key) => key.sign(Scheme::Pkcs1v15, Hash::Sha2_256, &[1; 32]).err(),
            Key::MlDsa(key) => key.sign(b"m").err(),
            _ => unreachable!(),
        };
        assert_eq!(refused, Some(UseError::NoPrivatePart), "{kind}");
        for other in ALL_KEY_TYPES.into_iter().filter(|other| *other != kind) {
            assert!(Key::import_public(other, &key.public().unwrap()).is_err(), "{kind} as {other}");
        }
    }
    assert_eq!(
        Key::import_public(KeyType::Aes256Gcm96, &[]).err(),
        Some(ImportError::NoPublicPart(KeyType::Aes256Gcm96))
    );
    assert_eq!(Key::import_public_pem(KeyType::Rsa2048, b"-").err(), Some(ImportError::NotPem));
}

#[test]
fn imports_say_what_is_wrong() {
    let text = |kind, bytes: &[u8]| Key::import(kind, secret(bytes)).err().unwrap().to_string();
    let p384 = ecdsa(KeyType::EcdsaP384);
    let pkcs8 = p384.pkcs8().unwrap();
    assert_eq!(text(KeyType::EcdsaP256, pkcs8.expose()), "invalid curve: expected P-256, got P-384");
    assert_eq!(text(KeyType::Rsa2048, pkcs8.expose()), "invalid key type: expected rsa-2048, got ECDSA");
    assert_eq!(
        text(KeyType::Rsa4096, rsa().pkcs8().unwrap().expose()),
        "invalid key size: expected 512 bytes, got 256 bytes"
    );
    let older = der::from_pem("EC PRIVATE KEY", p384.sec1_pem().unwrap().expose().as_bytes()).unwrap();
    assert_eq!(
        text(KeyType::EcdsaP384, &older),
        "error parsing asymmetric key: private key must be encoded as PKCS#8; detected key format: EC PRIVATE \
         KEY (SEC1)"
    );
    let older = der::from_pem("RSA PRIVATE KEY", rsa().pkcs1_pem().unwrap().expose().as_bytes()).unwrap();
    assert!(text(KeyType::Rsa2048, &older).ends_with("RSA PRIVATE KEY (PKCS#1)"));
    assert!(text(KeyType::Ed25519, b"junk").ends_with("PKCS#8"));
    assert_eq!(text(KeyType::Hmac, &[1; 31]), "invalid key size 31 bytes for key type hmac");
    assert_eq!(text(KeyType::Hmac, &[1; 513]), "invalid key size 513 bytes for key type hmac");
    assert!(Key::generate(KeyType::Hmac, usize::MAX, &SystemRandom).is_err());
    let ml = new(KeyType::MlDsa65).private().unwrap();
    assert_eq!(
        text(KeyType::MlDsa44, ml.expose()),
        "invalid key type: expected ml-dsa, got ML-DSA (parameter_set 44 is expected)"
    );
    for kind in [KeyType::EcdsaP384, KeyType::Rsa2048] {
        let whole = if kind.is_rsa() { rsa().pkcs8() } else { p384.pkcs8() }.unwrap();
        let mut damaged = whole.expose().clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        assert!(Key::import(kind, secret(&damaged)).is_err(), "{kind}");
    }
}

#[test]
fn a_key_marked_for_pss_is_an_rsa_key() {
    let whole = rsa().pkcs8().unwrap();
    let marked = der::pkcs8(der::RSA_PSS, &[], der::private_info(whole.expose()).unwrap().key);
    let key = Key::import(KeyType::Rsa2048, secret(&marked)).unwrap();
    assert_eq!(key.public().as_deref(), Some(rsa().spki()));
}

#[test]
fn older_formats_have_their_labels() {
    let sec1 = ecdsa(KeyType::EcdsaP521).sec1_pem().unwrap();
    assert!(sec1.expose().starts_with("-----BEGIN EC PRIVATE KEY-----\n"));
    let pkcs1 = rsa().pkcs1_pem().unwrap();
    assert!(pkcs1.expose().starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
    let pkcs8 = new(KeyType::Ed25519).private_pem().unwrap();
    assert!(pkcs8.expose().starts_with("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI"));
    assert!(new(KeyType::Aes256Gcm96).private_pem().is_none());
}

/// RFC 8032, 7.1, tests 1 to 3.
#[test]
fn ed25519_vectors_of_the_standard() {
    for (seed, public, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ] {
        let seed = Secret::from_slice(&hex::decode(seed).unwrap()).unwrap();
        let (message, signature) = (hex::decode(message).unwrap(), hex::decode(signature).unwrap());
        let key = Ed25519Key::from_seed(seed);
        assert_eq!(hex::encode(key.public()), public);
        assert_eq!(key.sign(&message).unwrap(), signature);
        assert!(key.verify(&message, &signature));
        assert!(!key.verify(b"other", &signature) && !key.verify(&message, &signature[1..]));
        for at in [0, 31, 32, 63] {
            let mut altered = signature.clone();
            altered[at] ^= 0x20;
            assert!(!key.verify(&message, &altered), "byte {at}");
        }
    }
}

/// A signature of Vault's own implementation by a derived key.
#[test]
fn a_derived_ed25519_key_made_elsewhere() {
    let seed = hex::decode("bcb03a2e4ec366b40ec861c1baddae5f289512189eb02fb2e5e227d5b7bac21e").unwrap();
    let key = Ed25519Key::from_seed(Secret::from_slice(&seed).unwrap());
    let derived = key.derived(b"context").unwrap();
    assert_eq!(
        hex::encode(derived.public()),
        "ca618718b7037119f9dea459cac5deab51a67b153ee47a5f1281cb19cbe62248"
    );
    assert_eq!(
        hex::encode(derived.sign(b"message").unwrap()),
        "ed19c9f3730a0461924c4fd96c59a0c47b46889fa73d5bb6ec4f2c940335de923fdd63b4849fe0409294067871a03953e8d20408c2f12e6362d1ce6a4ea07a0f"
    );
    assert_ne!(key.derived(b"other").unwrap().public(), derived.public());
    assert_eq!(key.seed_and_public().unwrap().expose()[..32], seed);
}

#[test]
fn signatures_made_elsewhere_verify() {
    let mut count = 0;
    for fields in lines(include_str!("../../testdata/signatures.txt")) {
        let [kind, spki, variant, hash, digest, signature] = fields[..] else { panic!("{fields:?}") };
        let kind = KeyType::parse(kind, None).unwrap();
        let key = Key::import_public(kind, &hex::decode(spki).unwrap()).unwrap();
        let hash = Hash::parse(hash).unwrap();
        let (digest, signature) = (hex::decode(digest).unwrap(), hex::decode(signature).unwrap());
        let verify = |digest: &[u8], signature: &[u8]| match (&key, variant) {
            (Key::Ecdsa(key), "jws") => key.verify(digest, signature, Marshaling::Jws),
            (Key::Ecdsa(key), _) => key.verify(digest, signature, Marshaling::Asn1),
            (Key::Rsa(key), "pkcs1v15") => key.verify(Scheme::Pkcs1v15, hash, digest, signature),
            (Key::Rsa(key), _) => {
                let salt = variant.strip_prefix("pss-").unwrap().parse().unwrap();
                let exact = key.verify(Scheme::Pss(Salt::Bytes(salt)), hash, digest, signature)?;
                let found = key.verify(Scheme::Pss(Salt::Auto), hash, digest, signature)?;
                assert_eq!(exact, found);
                let other = Scheme::Pss(Salt::Bytes(salt - 1));
                assert_eq!(key.verify(other, hash, digest, signature), Ok(false));
                Ok(found)
            }
            _ => unreachable!(),
        };
        assert_eq!(verify(&digest, &signature), Ok(true), "{kind} {variant} {hash}");
        let mut other = digest.clone();
        other[0] ^= 1;
        assert_eq!(verify(&other, &signature), Ok(false), "{kind} {variant} {hash}");
        let mut altered = signature.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert_eq!(verify(&digest, &altered), Ok(false), "{kind} {variant} {hash}");
        count += 1;
    }
    assert_eq!(count, 51);
}

#[test]
fn ecdsa_signs_hashes_of_any_function() {
    for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::EcdsaP521] {
        let key = ecdsa(kind);
        for length in [1, 20, 28, 32, 48, 64] {
            let hash = vec![7; length];
            for marshaling in [Marshaling::Asn1, Marshaling::Jws] {
                let signature = key.sign(&hash, marshaling).unwrap();
                assert_eq!(key.verify(&hash, &signature, marshaling), Ok(true), "{kind} {length}");
                assert_ne!(key.verify(&vec![8; length], &signature, marshaling), Ok(true), "{kind} {length}");
            }
        }
        let size = match kind {
            KeyType::EcdsaP256 => 64,
            KeyType::EcdsaP384 => 96,
            _ => 132,
        };
        let jws = key.sign(&[1; 32], Marshaling::Jws).unwrap();
        assert_eq!(jws.len(), size);
        assert_eq!(key.verify(&[1; 32], &jws, Marshaling::Asn1), Err(UseError::Signature));
        assert_eq!(key.verify(&[1; 32], &jws[1..], Marshaling::Jws), Ok(false));
        assert_eq!(key.verify(&[1; 32], &vec![0; size], Marshaling::Jws), Ok(false));
        assert_eq!(key.verify(&[1; 32], &[0x30, 6, 2, 1, 0, 2, 1, 0], Marshaling::Asn1), Ok(false));
        assert!(matches!(key.sign(&[], Marshaling::Jws), Err(UseError::DigestLength { .. })));
        assert!(matches!(key.sign(&[1; 65], Marshaling::Jws), Err(UseError::DigestLength { .. })));
    }
}

#[test]
fn rsa_signs_with_every_salt_there_can_be() {
    let key = rsa();
    for hash in [Hash::Sha2_256, Hash::Sha2_384, Hash::Sha2_512] {
        let digest = vec![9; hash.length()];
        let longest = (256 - 2 - hash.length()) as u16;
        for (salt, bytes) in [
            (Salt::Auto, longest),
            (Salt::Hash, hash.length() as u16),
            (Salt::Bytes(0), 0),
            (Salt::Bytes(11), 11),
            (Salt::Bytes(longest), longest),
        ] {
            let signature = key.sign(Scheme::Pss(salt), hash, &digest).unwrap();
            let verify = |salt| key.verify(Scheme::Pss(salt), hash, &digest, &signature);
            assert_eq!(verify(Salt::Bytes(bytes)), Ok(true), "{hash} {salt:?}");
            assert_eq!(verify(Salt::Auto), Ok(true), "{hash} {salt:?}");
            let another = if bytes == 0 { 1 } else { bytes - 1 };
            assert_eq!(verify(Salt::Bytes(another)), Ok(false), "{hash} {salt:?}");
            assert_eq!(key.verify(Scheme::Pkcs1v15, hash, &digest, &signature), Ok(false));
        }
        let beyond = Scheme::Pss(Salt::Bytes(longest + 1));
        assert_eq!(key.sign(beyond, hash, &digest).err(), Some(UseError::SaltLength(longest + 1)));
        assert_eq!(key.verify(beyond, hash, &digest, &[]).err(), Some(UseError::SaltLength(longest + 1)));
        let signature = key.sign(Scheme::Pkcs1v15, hash, &digest).unwrap();
        assert_eq!(key.verify(Scheme::Pkcs1v15, hash, &digest, &signature), Ok(true));
        assert_eq!(key.verify(Scheme::Pss(Salt::Auto), hash, &digest, &signature), Ok(false));
        assert_eq!(
            key.sign(Scheme::Pkcs1v15, hash, &digest[1..]).err(),
            Some(UseError::DigestLength { expected: hash.length(), found: hash.length() - 1 })
        );
    }
    for hash in [Hash::Sha1, Hash::Sha2_224, Hash::Sha3_256] {
        let refused = key.sign(Scheme::Pkcs1v15, hash, &vec![0; hash.length()]).err();
        assert_eq!(refused, Some(UseError::Hash { hash, purpose: "RSA signatures" }));
    }
}

#[test]
fn rsa_encrypts_with_every_padding() {
    let key = rsa();
    let paddings = [
        (Padding::Oaep(Hash::Sha1), 214),
        (Padding::Oaep(Hash::Sha2_256), 190),
        (Padding::Oaep(Hash::Sha2_384), 158),
        (Padding::Oaep(Hash::Sha2_512), 126),
        (Padding::Pkcs1v15, 245),
    ];
    for (padding, limit) in paddings {
        for length in [0, 1, limit] {
            let plaintext = vec![3; length];
            let ciphertext = key.encrypt(padding, &plaintext).unwrap();
            assert_eq!(ciphertext.len(), 256);
            assert_eq!(
                key.decrypt(padding, &ciphertext).unwrap().expose(),
                &plaintext,
                "{padding:?} {length}"
            );
        }
        assert_eq!(key.encrypt(padding, &vec![3; limit + 1]), Err(UseError::TooLong { limit }));
        let ciphertext = key.encrypt(padding, b"x").unwrap();
        for (other, _) in paddings.iter().filter(|(other, _)| *other != padding) {
            // PKCS#1 v1.5 rejects implicitly: it may return some other bytes.
            let opened = key.decrypt(*other, &ciphertext).map(|plaintext| plaintext.expose().clone());
            assert_ne!(opened, Ok(b"x".to_vec()), "{padding:?} as {other:?}");
        }
        assert_eq!(key.decrypt(padding, &ciphertext[1..]).err(), Some(UseError::Decrypt));
    }
    let hash = Hash::Sha2_224;
    assert_eq!(key.encrypt(Padding::Oaep(hash), b"x"), Err(UseError::Hash { hash, purpose: "OAEP" }));
}

#[test]
fn ml_dsa_signs() {
    for (kind, size) in [(KeyType::MlDsa44, 2420), (KeyType::MlDsa65, 3309), (KeyType::MlDsa87, 4627)] {
        let Key::MlDsa(key) = new(kind) else { unreachable!() };
        let signature = key.sign(b"message").unwrap();
        assert_eq!(signature.len(), size);
        assert!(key.verify(b"message", &signature) && !key.verify(b"other", &signature));
        assert!(!key.verify(b"message", &signature[1..]));
    }
}

#[test]
fn keys_wrapped_elsewhere_unwrap() {
    for fields in lines(include_str!("../../testdata/wrapped.txt")) {
        let [pkcs8, hash, plain, blob] = fields[..] else { panic!("{fields:?}") };
        let own = Key::import(KeyType::Rsa2048, secret(&hex::decode(pkcs8).unwrap())).unwrap();
        let Key::Rsa(own) = own else { unreachable!() };
        let (hash, blob) = (Hash::parse(hash).unwrap(), hex::decode(blob).unwrap());
        assert_eq!(hex::encode(unwrap_for_import(&own, hash, &blob).unwrap().expose()), plain);
        let other = if hash == Hash::Sha1 { Hash::Sha2_256 } else { Hash::Sha1 };
        assert_eq!(unwrap_for_import(&own, other, &blob).err(), Some(UnwrapError::OneTimeKey));
        assert_eq!(unwrap_for_import(rsa(), hash, &blob).err(), Some(UnwrapError::OneTimeKey));
    }
}

#[test]
fn wrapping_reads_back() {
    let (own, hash) = (rsa(), Hash::Sha2_256);
    for length in [1, 7, 8, 16, 32, 33, 1200] {
        let key: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let blob = wrap_for_import(own, hash, &key, &SystemRandom).unwrap();
        assert_eq!(unwrap_for_import(own, hash, &blob).unwrap().expose(), &key);
        for at in [0, 255, 256, blob.len() - 1] {
            let mut altered = blob.clone();
            altered[at] ^= 1;
            assert!(unwrap_for_import(own, hash, &altered).is_err(), "{length}, byte {at}");
        }
        assert_eq!(unwrap_for_import(own, hash, &blob[..256]).err(), Some(UnwrapError::Wrapped));
        assert_eq!(unwrap_for_import(own, hash, &blob[..255]).err(), Some(UnwrapError::TooShort));
    }
    assert_eq!(wrap_for_import(own, hash, &[], &SystemRandom), Err(UseError::Failed));
    let odd = own.encrypt(Padding::Oaep(hash), &[0; 24]).unwrap();
    assert_eq!(unwrap_for_import(own, hash, &odd).err(), Some(UnwrapError::OneTimeKeySize(24)));
}
