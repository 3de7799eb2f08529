//! Sealed objects, and an authority that opens them.

use crate::http::Client;
use keyward_crypto::age::{Mixing, Recipient};
use keyward_crypto::{Secret, SystemRandom};
use keyward_intent::{Bounds, Metadata, Phase, SealedSecret, Subject};
use keyward_sealing::author::{self, Signer};
use keyward_sealing::recipients::Sealer;
use keyward_sealing::{Audience, PlainSecret, object};
use serde_json::{Value, json};

/// Mounts the engine at `sealed/`, unless a dev server did.
///
/// # Panics
/// When the authority refuses; so do all others here.
pub fn mount(root: &Client) {
    if root.read("sys/mounts").expect(200).data()["sealed/"].is_null() {
        root.write("sys/mounts/sealed", &json!({ "type": "sealed" })).expect(204);
    }
}

/// Brings a cluster that has keys and an auth method for workloads to the phase in which things are opened.
pub fn go_to_bootstrap(root: &Client) {
    for phase in [Phase::Git, Phase::Bootstrap] {
        root.write("sealed/phase", &json!({ "phase": phase, "reason": "a test" })).expect(200);
    }
}

/// An author, and whom they seal for.
pub struct Author {
    signer: Signer,
    namespace: String,
    recipient: Recipient,
}

impl Author {
    /// Mounts the engine at `sealed/` for the cluster `prod`, with a key for `namespace` and a new author that is trusted.
    ///
    /// # Panics
    /// When the authority refuses; so do all others here.
    pub fn trusted_by(root: &Client, namespace: &str) -> Author {
        mount(root);
        Author::of(root, namespace)
    }

    /// The same of an engine that is mounted already.
    pub fn of(root: &Client, namespace: &str) -> Author {
        let signer = author::generate(&SystemRandom).unwrap();
        let config = json!({ "cluster": "prod", "authors": [signer.public()] });
        root.write("sealed/config", &config).expect(204);
        let key = root.write(&format!("sealed/namespaces/{namespace}"), &json!({})).expect(200).data();
        let recipient = key["recipient"].as_str().unwrap().parse().unwrap();
        Author { signer, namespace: namespace.to_owned(), recipient }
    }

    /// Seals `password` for the ServiceAccount `subject` of the namespace, until the end of `phase`.
    pub fn seal(&self, name: &str, subject: &str, phase: Phase, password: &str) -> SealedSecret {
        let subjects = [Subject::parse(subject, &self.namespace).unwrap()].into();
        self.seal_within(name, Bounds { subjects, phase, ..Bounds::in_cluster("prod") }, password)
    }

    /// Seals `password` within `bounds`.
    pub fn seal_within(&self, name: &str, bounds: Bounds, password: &str) -> SealedSecret {
        let metadata = Metadata {
            name: name.to_owned(),
            namespace: Some(self.namespace.clone()),
            ..Metadata::default()
        };
        let value = Secret::new(password.as_bytes().to_vec());
        let secret = PlainSecret {
            metadata,
            kind: "Opaque".to_owned(),
            data: [("password".to_owned(), value)].into(),
        };
        let audience = Audience::Each(vec![self.recipient.clone()]);
        let sealer = Sealer::new(&audience, Mixing::Refuse, &SystemRandom).unwrap();
        object::seal(&secret, bounds, 1, &sealer, &self.signer, &SystemRandom).unwrap()
    }

    /// Seals and registers; answers with what is known of it then.
    pub fn register(&self, root: &Client, name: &str, subject: &str, phase: Phase, password: &str) -> Value {
        let manifest = json!({ "manifest": self.seal(name, subject, phase, password) });
        root.write(&format!("sealed/objects/{}/{name}", self.namespace), &manifest).expect(200).data()
    }
}
