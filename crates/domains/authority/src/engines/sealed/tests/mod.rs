//! The engine with real sealed objects, and an API server that vouches for every token.

mod bundles;
mod opening;
mod register;
mod subjects;
mod trust;

use crate::outside::{self, Ask, Reply};
use crate::request::Operation::{Delete, Read, Update};
use crate::testing::{Answer, Bench};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keyward_core::Clock as _;
use keyward_crypto::age::{self, Mixing, Recipient};
use keyward_crypto::{Secret, SystemRandom};
use keyward_intent::{Bounds, Metadata, Moment, Phase, SealedSecret, Subject};
use keyward_sealing::author::{self, Signer};
use keyward_sealing::recipients::Sealer;
use keyward_sealing::{Audience, PlainSecret, object};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const HOST: &str = "https://api.test:6443";
/// Everything a workload's policy grants.
const POLICY: &str = r#"path "sealed/open/*" { capabilities = ["read", "update"] }"#;

/// An authority with a `sealed` mount of the cluster `prod`, a key for the namespace `shop`, and an author.
struct World {
    bench: Bench,
    signer: Signer,
    recipient: Recipient,
}

/// Whose token a login shows.
struct Pod<'a> {
    namespace: &'a str,
    account: &'a str,
    uid: &'a str,
    pod: Option<&'a str>,
}

const WEB: Pod<'static> = Pod { namespace: "shop", account: "web", uid: "uid-web", pod: Some("web-1") };

/// Vouches for every token, and has no namespaces.
fn api_server(ask: &Ask) -> outside::Answer {
    let Some((_, body)) = ask.body.as_ref() else {
        return Ok(Reply { status: 404, body: br#"{"message":"not found"}"#.to_vec().into(), version: 1 });
    };
    let sent: Value = serde_json::from_str(body.0.expose()).unwrap();
    let claims = sent["spec"]["token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let bound = &claims["kubernetes.io"];
    let mut extra = json!({});
    if bound["pod"].is_object() {
        extra = json!({
            "authentication.kubernetes.io/pod-name": [bound["pod"]["name"]],
            "authentication.kubernetes.io/pod-uid": [bound["pod"]["uid"]],
        });
    }
    let status = json!({"status": {
        "authenticated": true,
        "audiences": sent["spec"]["audiences"],
        "user": {"username": claims["sub"], "uid": bound["serviceaccount"]["uid"], "extra": extra},
    }});
    Ok(Reply { status: 201, body: status.to_string().into_bytes().into(), version: 1 })
}

impl World {
    fn new() -> World {
        let mut bench = Bench::new();
        bench.enable_audit(&[]);
        bench.world = Box::new(api_server);
        bench.mount_auth("kubernetes", "kubernetes");
        bench.write("auth/kubernetes/config", &json!({"kubernetes_host": HOST}).to_string());
        bench.write(
            "auth/kubernetes/role/all",
            r#"{"bound_service_account_names":"*","bound_service_account_namespaces":"*","audience":"keyward","token_policies":"workload"}"#,
        );
        bench.policy("workload", POLICY);
        bench.write("sys/mounts/sealed", r#"{"type":"sealed"}"#);
        let signer = author::generate(&SystemRandom).unwrap();
        let config = json!({"cluster": "prod", "authors": [signer.public()]});
        bench.write("sealed/config", &config.to_string());
        let made = bench.write("sealed/namespaces/shop", "{}");
        let recipient = made.data()["recipient"].as_str().unwrap().parse().unwrap();
        World { bench, signer, recipient }
    }

    /// The same at the phase in which things are opened.
    fn at_bootstrap() -> World {
        let mut world = World::new();
        for phase in [Phase::Git, Phase::Bootstrap] {
            assert_eq!(world.phase(phase).status, 200);
        }
        world
    }

    /// The token of a login by `pod`.
    fn token(&mut self, pod: &Pod<'_>) -> String {
        let now = self.bench.clock.now().secs();
        let mut bound = json!({
            "namespace": pod.namespace,
            "serviceaccount": {"name": pod.account, "uid": pod.uid},
        });
        if let Some(name) = pod.pod {
            bound["pod"] = json!({"name": name, "uid": format!("uid-of-{name}")});
        }
        let claims = json!({
            "sub": format!("system:serviceaccount:{}:{}", pod.namespace, pod.account),
            "aud": ["keyward"], "exp": now + 600, "iat": now, "nbf": now, "kubernetes.io": bound,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let jwt =
            format!("{}.{}.{}", part(&json!({"alg": "ES256"})), part(&claims), URL_SAFE_NO_PAD.encode("x"));
        let body = json!({"role": "all", "jwt": jwt}).to_string();
        let answer = self.bench.ask("", Update, "auth/kubernetes/login", &body);
        answer.body["auth"]["client_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }

    fn at(&self, seconds: i64) -> Moment {
        Moment::of(keyward_core::Timestamp::from_secs(
            self.bench.clock.now().secs().checked_add_signed(seconds).unwrap(),
        ))
    }

    fn bounds(&self) -> Bounds {
        Bounds { subjects: [Subject::parse("web", "shop").unwrap()].into(), ..Bounds::in_cluster("prod") }
    }

    fn seal(&self, name: &str, version: u64, bounds: Bounds) -> SealedSecret {
        self.seal_values(name, version, bounds, &[("password", b"correct horse"), ("username", b"ada")])
    }

    fn seal_values(
        &self,
        name: &str,
        version: u64,
        bounds: Bounds,
        values: &[(&str, &[u8])],
    ) -> SealedSecret {
        let metadata =
            Metadata { name: name.to_owned(), namespace: Some("shop".to_owned()), ..Metadata::default() };
        let data: BTreeMap<_, _> =
            values.iter().map(|(key, value)| ((*key).to_owned(), Secret::new(value.to_vec()))).collect();
        let secret = PlainSecret { metadata, kind: "Opaque".to_owned(), data };
        let audience = Audience::Each(vec![self.recipient.clone()]);
        let sealer = Sealer::new(&audience, Mixing::Refuse, &SystemRandom).unwrap();
        object::seal(&secret, bounds, version, &sealer, &self.signer, &SystemRandom).unwrap()
    }

    fn register(&mut self, manifest: &impl serde::Serialize, name: &str) -> Answer {
        let body = json!({ "manifest": manifest }).to_string();
        self.bench.root(Update, &format!("sealed/objects/shop/{name}"), &body)
    }

    /// Registers an object that must be taken.
    fn registered(&mut self, manifest: &SealedSecret) -> Answer {
        let answer = self.register(manifest, &manifest.metadata.name);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    fn open(&mut self, token: &str, name: &str) -> Answer {
        self.bench.ask(token, Read, &format!("sealed/open/shop/{name}"), "")
    }

    /// Why the last request was refused, as the operator reads it.
    fn reason(&self) -> String {
        self.bench.last_records().1["error"].as_str().unwrap_or_default().to_owned()
    }

    /// Asserts that opening `name` with `token` is refused as the caller may know, with `why` in the audit record.
    fn denied(&mut self, token: &str, name: &str, why: &str) {
        let answer = self.open(token, name);
        assert_eq!(answer.status, 403, "{why}: {answer:?}");
        assert_eq!(answer.errors().trim(), "1 error occurred:\n\t* permission denied", "{why}");
        assert!(self.reason().contains(why), "{why}: {}", self.reason());
    }

    fn phase(&mut self, to: Phase) -> Answer {
        self.bench.root(Update, "sealed/phase", &json!({"phase": to, "reason": "a test"}).to_string())
    }
}

fn zenlock(recipient: &str, subjects: &[&str], value: &str) -> Value {
    let recipient: Recipient = recipient.parse().unwrap();
    let file = age::seal(&[&recipient], Mixing::Refuse, &SystemRandom, value.as_bytes()).unwrap();
    let subjects: Vec<Value> =
        subjects.iter().map(|name| json!({"kind": "ServiceAccount", "name": name})).collect();
    json!({
        "apiVersion": "security.kube-zen.io/v1alpha1",
        "kind": "ZenLock",
        "metadata": {"name": "lock", "namespace": "shop", "uid": "set by the cluster", "resourceVersion": "7"},
        "spec": {"algorithm": "age", "encryptedData": {"token": STANDARD.encode(file)}, "allowedSubjects": subjects},
        "status": {"phase": "Ready"},
    })
}
