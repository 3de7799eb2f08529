//! What stands inside the age file of a sealed value: anybody can make such a file for a known recipient.

use keyward_crypto::{Secret, SystemRandom};
use keyward_intent::Bounds;
use keyward_sealing::author;
use keyward_sealing::envelope::{Envelope, Header};

pub(crate) fn run(data: &[u8]) {
    if let Ok(envelope) = Envelope::read(Secret::new(data.to_vec())) {
        assert!(data.ends_with(envelope.value()));
        let _ = (envelope.check_signature(), envelope.seal());
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let signer = author::generate(&SystemRandom).unwrap();
    let header = Header {
        namespace: Some("shop".to_owned()),
        name: Some("db".to_owned()),
        item: "password".to_owned(),
        bounds: Bounds::in_cluster("prod"),
        version: 1,
        author: signer.public(),
        salt: String::new(),
    };
    let envelope = Envelope::sign(header, b"value\n\n", &signer).unwrap();
    assert!(envelope.check_signature().is_ok());
    vec![envelope.bytes().expose().clone()]
}
