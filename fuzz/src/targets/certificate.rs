//! Certificates that clients show, with those above them, and revocation lists that operators hand in or servers give.

use keyward_crypto::SystemRandom;
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::x509::{
    Certificate, Extension, KeyUsages, NEVER, PublicKey, RevocationList, RevokedEntry, Revoked, San, Scheme,
    Subject, Template, attribute, client_chain,
};
use std::sync::OnceLock;

fn key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| Key::generate(KeyType::EcdsaP256, 0, &SystemRandom).unwrap())
}

fn made(name: &str, extensions: Vec<Extension>) -> Vec<u8> {
    let subject = |name: &str| Subject::new(&[(attribute::COMMON_NAME, &[name.to_owned()])]).unwrap();
    let public = PublicKey::of(key()).unwrap();
    let template = Template {
        serial: &[1],
        issuer: &subject("root"),
        subject: &subject(name),
        not_before: 0,
        not_after: NEVER,
        spki: public.spki(),
        extensions,
    };
    template.sign(key(), Scheme::of(key(), 0, false).unwrap()).unwrap()
}

fn root() -> &'static Certificate {
    static ROOT: OnceLock<Certificate> = OnceLock::new();
    ROOT.get_or_init(|| {
        let extensions = vec![
            Extension::key_usage(KeyUsages::AUTHORITY).unwrap(),
            Extension::basic_constraints(true, None).unwrap(),
        ];
        Certificate::read(&made("root", extensions)).unwrap()
    })
}

pub(crate) fn run(data: &[u8]) {
    let _ = Revoked::read(data);
    if let Ok(read) = Certificate::read(data) {
        let _ = (read.alternative_names(), read.ext_key_usages(), read.key_id(), read.subject().common_name());
        read.extensions().iter().for_each(|extension| drop(extension.text()));
    }
    let half = data.len() / 2;
    let shown = [data.to_vec(), data[..half].to_vec(), data[half..].to_vec()];
    if let Ok(chain) = client_chain(&shown, root(), 1) {
        // What is believed begins with what was shown, and ends with what is trusted.
        assert!(chain.first().is_some_and(|leaf| leaf == data), "{chain:?}");
        assert!(chain.last().is_some_and(|last| last == root().der()), "{chain:?}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let san = San::Uri("spiffe://example.com/a".to_owned());
    let leaf = made("leaf", vec![Extension::alternative_names(&[san], false).unwrap()]);
    let list = RevocationList {
        issuer: root().subject(),
        key_id: &root().key_id(),
        number: 1,
        base: None,
        this_update: 0,
        next_update: 1,
        entries: vec![RevokedEntry { serial: vec![1], at: 0, extensions: Vec::new() }],
        extensions: &[],
    };
    vec![leaf, list.sign(key(), Scheme::of(key(), 0, false).unwrap()).unwrap(), root().der().to_vec()]
}
