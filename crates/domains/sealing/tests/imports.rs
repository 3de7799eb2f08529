//! Other tools' files, made here as their documentation and sources have them.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, KeyInit};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use keyward_crypto::age::{self, Mixing, armor, x25519};
use keyward_crypto::keys::{Hash, Key, KeyType};
use keyward_crypto::{AeadKey, SystemRandom};
use keyward_intent::{Scope, Subject, yaml};
use keyward_sealing::import::{self, PrivateKeys};

const KEY: [u8; 32] = [9; 32];

/// A value as SOPS writes it: AES-256-GCM with 32 bytes of nonce and the path as associated data.
fn sops(value: &str, path: &str, nonce: u8) -> String {
    let nonce = [nonce; 32];
    let cipher = <AesGcm<Aes256, U32> as KeyInit>::new(&KEY.into());
    let payload = Payload { msg: value.as_bytes(), aad: path.as_bytes() };
    let sealed = cipher.encrypt((&nonce).into(), payload).unwrap();
    let (data, tag) = sealed.split_at(sealed.len() - 16);
    let part = |bytes: &[u8]| BASE64.encode(bytes);
    format!("ENC[AES256_GCM,data:{},iv:{},tag:{},type:str]", part(data), part(&nonce), part(tag))
}

fn sops_file(identity: &x25519::Identity) -> String {
    let recipient = identity.recipient();
    let enc = armor::encode(&age::seal(&[&recipient], Mixing::Refuse, &SystemRandom, &KEY).unwrap()).unwrap();
    // In the order of the file, plain values too.
    let values = ["v1", "Secret", "db", "shop", "5", "s3cret", "ada"].concat();
    let hash: String =
        Hash::Sha2_512.digest(values.as_bytes()).unwrap().iter().map(|b| format!("{b:02X}")).collect();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n  namespace: shop\n  generation: 5\nstringData:\n  password: {}\n  user: {}\nsops:\n  age:\n  - recipient: {recipient}\n    enc: |\n{}  lastmodified: \"2026-11-21T00:00:00Z\"\n  mac: {}\n  version: 3.13.2\n",
        sops("s3cret", "stringData:password:", 1),
        sops("ada", "stringData:user:", 2),
        enc.lines().map(|line| format!("      {line}\n")).collect::<String>(),
        sops(&hash, "2026-11-21T00:00:00Z", 3),
    )
}

#[test]
fn a_file_of_sops_opens_and_one_that_was_altered_does_not() {
    let identity = x25519::Identity::generate(&SystemRandom);
    let text = sops_file(&identity);
    assert!(import::is_sops(&text));
    let secret = import::open_sops(&text, &[&identity]).unwrap();
    assert_eq!((secret.metadata.name.as_str(), secret.metadata.namespace.as_deref()), ("db", Some("shop")));
    assert_eq!(secret.data["password"].expose(), b"s3cret");
    let other = x25519::Identity::generate(&SystemRandom);
    assert!(import::open_sops(&text, &[&other]).is_err());
    let lines: Vec<&str> = text.lines().collect();
    let value = |at: usize| lines[at].split_once(": ").unwrap().1;
    let swapped = text
        .replace(value(7), "X")
        .replace(value(8), value(7))
        .replace("password: X", &format!("password: {}", value(8)));
    for altered in [
        swapped,
        text.replace("generation: 5", "generation: 6"),
        text.replace("name: db", "name: other"),
        text.replace(&format!("  user: {}\n", value(8)), ""),
        text.replace("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
    ] {
        assert_ne!(altered, text);
        assert!(import::open_sops(&altered, &[&identity]).is_err(), "{altered}");
    }
}

fn sealed_secret(key: &Key, name: &str, annotation: &str, label: &str) -> String {
    let Key::Rsa(rsa) = key else { unreachable!() };
    let wrapped = rsa.encrypt_labelled(Hash::Sha2_256, label.as_bytes(), &KEY).unwrap();
    let sealed = AeadKey::new(&KEY).seal([0; 12], &[], b"s3cret");
    let length = u16::try_from(wrapped.len()).unwrap().to_be_bytes();
    let value = BASE64.encode([length.as_slice(), &wrapped, &sealed].concat());
    format!(
        "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: {name}\n  namespace: shop\n  annotations: {{{annotation}}}\nspec:\n  encryptedData:\n    password: {value}\n  template:\n    type: kubernetes.io/basic-auth\n"
    )
}

#[test]
fn a_sealed_secret_opens_where_it_was_sealed_for() {
    let key = Key::generate(KeyType::Rsa2048, 0, &SystemRandom).unwrap();
    let pem = key.private_pem().unwrap();
    let in_secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: key}}\ndata:\n  tls.key: {}\n",
        BASE64.encode(pem.expose())
    );
    let wide = |name: &str| format!("\"sealedsecrets.bitnami.com/{name}\": \"true\"");
    for keys in [PrivateKeys::read(pem.expose()).unwrap(), PrivateKeys::read(&in_secret).unwrap()] {
        for (annotation, label, scope) in [
            (String::new(), "shop/db", Scope::Strict),
            (wide("namespace-wide"), "shop", Scope::Namespace),
            (wide("cluster-wide"), "", Scope::Cluster),
        ] {
            let text = sealed_secret(&key, "db", &annotation, label);
            assert!(import::is_sealed_secret(&yaml::kind(&text)));
            let (secret, found) = import::open_sealed_secret(&text, &keys).unwrap();
            assert_eq!((secret.kind.as_str(), found), ("kubernetes.io/basic-auth", scope));
            assert_eq!(secret.data["password"].expose(), b"s3cret");
            assert!(secret.metadata.annotations.is_empty());
        }
        let moved = sealed_secret(&key, "other", "", "shop/db");
        assert!(import::open_sealed_secret(&moved, &keys).is_err());
    }
    assert!(PrivateKeys::read("nothing").is_err());
}

#[test]
fn a_zenlock_keeps_its_subjects() {
    let identity = x25519::Identity::generate(&SystemRandom);
    let file = age::seal(&[&identity.recipient()], Mixing::Refuse, &SystemRandom, b"t0ken").unwrap();
    let text = format!(
        "apiVersion: security.kube-zen.io/v1alpha1\nkind: ZenLock\nmetadata: {{name: jira, namespace: zen}}\nspec:\n  algorithm: age\n  allowedSubjects:\n  - {{kind: ServiceAccount, name: foreman}}\n  encryptedData:\n    TOKEN: {}\n",
        BASE64.encode(file)
    );
    let (secret, subjects) = import::open_zenlock(&text, &[&identity]).unwrap();
    assert_eq!(secret.data["TOKEN"].expose(), b"t0ken");
    assert_eq!(subjects.into_iter().collect::<Vec<_>>(), [Subject::parse("foreman", "zen").unwrap()]);
}
