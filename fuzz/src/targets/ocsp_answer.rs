//! OCSP answers: what a responder says to a login, over plain HTTP perhaps.

use keyward_crypto::SystemRandom;
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::x509::{
    CertStatus, Certificate, NEVER, OcspAnswer, OcspRequest, OcspWord, PublicKey, Scheme, Subject, Template,
    attribute, ocsp_request,
};
use std::sync::OnceLock;

/// An authority whose key nobody else has, and what it says of itself.
struct World {
    root: Certificate,
    answer: Vec<u8>,
    word: OcspWord,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let key = Key::generate(KeyType::EcdsaP256, 0, &SystemRandom).unwrap();
        let (public, scheme) = (PublicKey::of(&key).unwrap(), Scheme::of(&key, 0, false).unwrap());
        let name = Subject::new(&[(attribute::COMMON_NAME, &["root".to_owned()])]).unwrap();
        let template = Template {
            serial: &[1],
            issuer: &name,
            subject: &name,
            not_before: 0,
            not_after: NEVER,
            spki: public.spki(),
            extensions: Vec::new(),
        };
        let root = Certificate::read(&template.sign(&key, scheme).unwrap()).unwrap();
        let request = OcspRequest::read(&ocsp_request(&root, &root).unwrap()).unwrap();
        let answer = OcspAnswer {
            request: &request,
            statuses: &[CertStatus::Revoked(1)],
            signer: &root,
            at: 2,
            until: 3,
        };
        let answer = answer.sign(&key, scheme).unwrap();
        let word = OcspWord::read(&answer, &root, &root, &[], 2).unwrap();
        World { root, answer, word }
    })
}

pub(crate) fn run(data: &[u8]) {
    let World { root, word, .. } = world();
    // Whatever is believed is what was signed.
    if let Ok(read) = OcspWord::read(data, root, root, &[], 2) {
        assert_eq!(read, *word);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    vec![world().answer.clone(), vec![0x30, 3, 0x0a, 1, 6]]
}
