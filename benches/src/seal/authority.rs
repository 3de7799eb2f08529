//! An authority that takes sealed objects.

use crate::Failure;
use crate::authority::setup::Keyward;
use keyward_crypto::age::{Mixing, Recipient};
use keyward_crypto::{Secret, SystemRandom};
use keyward_intent::{Bounds, Metadata, Scope, SealedSecret, Subject};
use keyward_sealing::author;
use keyward_sealing::recipients::Sealer;
use keyward_sealing::{Audience, PlainSecret, object};
use serde_json::{Value, json};
use std::path::Path;

/// Starts `program` on `data`, and seals an object for its namespace `bench`. It is bound to the namespace alone, so that it may
/// have any name there.
pub(super) fn start(program: &Path, data: &Path) -> Result<(Keyward, SealedSecret), Failure> {
    let keyward = Keyward::start(program, data)?;
    let signer = author::generate(&SystemRandom)?;
    keyward.manage("POST", "sealed/config", &json!({ "cluster": "prod", "authors": [signer.public()] }))?;
    let key: Value = keyward.manage("POST", "sealed/namespaces/bench", &json!({}))?;
    let recipient: Recipient = key["data"]["recipient"].as_str().ok_or("no recipient")?.parse()?;
    let bounds = Bounds {
        scope: Scope::Namespace,
        subjects: [Subject::parse("web", "bench").map_err(|why| why.0)?].into(),
        ..Bounds::in_cluster("prod")
    };
    let metadata =
        Metadata { name: "db".to_owned(), namespace: Some("bench".to_owned()), ..Metadata::default() };
    let data = [("password".to_owned(), Secret::new(vec![7; 64]))].into();
    let secret = PlainSecret { metadata, kind: "Opaque".to_owned(), data };
    let sealer = Sealer::new(&Audience::Each(vec![recipient]), Mixing::Refuse, &SystemRandom)?;
    Ok((keyward, object::seal(&secret, bounds, 1, &sealer, &signer, &SystemRandom)?))
}
