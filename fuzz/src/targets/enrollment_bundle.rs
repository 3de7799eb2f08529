//! What stands inside the age file of an enrollment bundle: anybody can make such a file for a known recipient.

use keyward_core::Timestamp;
use keyward_crypto::age::{self, Recipient, pq};
use keyward_crypto::{Secret, SystemRandom};
use keyward_envelope::author;
use keyward_envelope::bundle::{self, Bundle, Header};
use keyward_intent::Moment;

pub(crate) fn run(data: &[u8]) {
    if let Ok(bundle) = Bundle::parse(data) {
        assert!(bundle.open("AAAA").is_err());
        let _ = (bundle.header().id.len(), bundle.issuer(), bundle.proof());
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let signer = author::generate(&SystemRandom).unwrap();
    let identity = pq::Identity::generate(&SystemRandom);
    let at = Moment::of(Timestamp::from_secs(1_800_000_000));
    let header = Header {
        id: "b1".to_owned(),
        cluster: "prod".to_owned(),
        purpose: "agent".to_owned(),
        namespace: Some("shop".to_owned()),
        recipient: "r1".to_owned(),
        created: at,
        expires: at,
        contents: String::new(),
    };
    let items = [("token".to_owned(), Secret::new(b"hush".to_vec()))].into();
    let recipient = Recipient::PostQuantum(Box::new(identity.recipient()));
    let made = bundle::make(header, &items, &recipient, &signer, &SystemRandom).unwrap();
    let plain = age::open(made.file.as_bytes(), &[&identity], bundle::LONGEST).unwrap();
    assert!(Bundle::parse(plain.expose()).is_ok());
    vec![plain.expose().clone()]
}
