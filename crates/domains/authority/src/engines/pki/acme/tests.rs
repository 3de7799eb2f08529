//! The ACME server through an authority, as its clients call it, with a world of the tests' own outside.

mod accounts;
mod hostile;
mod orders;

use crate::act::challenge::{Challenge, Identifier, Seen, Way};
use crate::act::{Act, Failure, Yielded};
use crate::problem::Problem;
use crate::refusal::Refusal;
use crate::request::{Media, Operation, Request};
use crate::response::Response;
use crate::testing::Bench;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_crypto::SystemRandom;
use keyward_crypto::keys::{Algorithm, Key, KeyType, PublicParts};
use keyward_crypto::x509::{Extension, San, Scheme, Subject, attribute, sign_request};
use serde_json::{Value, json};
use std::time::Duration;

const BASE: &str = "https://vault.example/v1/pki/";

/// A mount with a root, and ACME enabled with `config` besides.
fn enabled(config: &Value) -> Bench {
    let mut bench = Bench::new();
    bench.write("sys/mounts/pki", r#"{"type":"pki","config":{"max_lease_ttl":"87600h"}}"#);
    bench.write(
        "pki/root/generate/internal",
        r#"{"common_name":"Root","key_type":"ec","ttl":"80000h","issuer_name":"root"}"#,
    );
    bench.write("pki/config/cluster", &json!({ "path": BASE }).to_string());
    configure(&mut bench, config);
    bench
}

fn configure(bench: &mut Bench, config: &Value) {
    let mut body = json!({ "enabled": true });
    body.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    bench.write("pki/config/acme", &body.to_string());
}

/// Outside, everything is as it should be.
fn honest() -> Box<dyn FnMut(&Act) -> Yielded> {
    Box::new(|act| match act {
        Act::Challenge(challenge) => judged(challenge, &right(challenge)),
        other => panic!("nobody else is asked: {other:?}"),
    })
}

fn judged(challenge: &Challenge, seen: &Seen) -> Yielded {
    challenge.judge(seen).map(|()| None).map_err(|why| Failure { why: why.to_owned(), nothing_done: false })
}

/// What an honest client shows by HTTP or DNS.
fn right(challenge: &Challenge) -> Seen {
    match &challenge.way {
        Way::Http { expected, .. } => Seen::Http { status: 200, body: expected.clone().into_bytes() },
        Way::Dns { expected, .. } => Seen::Dns(vec![expected.clone()]),
        Way::TlsAlpn { .. } => panic!("the tests of challenges have certificates"),
    }
}

/// What came back.
struct Reply {
    status: u16,
    body: Value,
    text: String,
    headers: Vec<(&'static str, String)>,
}

impl Reply {
    fn of(outcome: Result<Response, Refusal>) -> Reply {
        match outcome {
            Ok(response) => {
                let text = String::from_utf8(response.body("").unwrap()).unwrap();
                let body = serde_json::from_str(&text).unwrap_or(Value::Null);
                Reply { status: response.http_status(), body, text, headers: response.headers }
            }
            Err(Refusal::Problem(problem)) => {
                let Problem { status, ref headers, .. } = *problem;
                Reply { status, body: problem.document(), text: String::new(), headers: headers.clone() }
            }
            Err(other) => Reply {
                status: other.status(),
                body: Value::Null,
                text: other.to_string(),
                headers: Vec::new(),
            },
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    #[track_caller]
    fn expect(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{} {}", self.body, self.text);
        self
    }

    /// A refusal with this status and error type.
    #[track_caller]
    fn refused(&self, status: u16, kind: &str) {
        let wanted = json!(format!("urn:ietf:params:acme:error:{kind}"));
        assert_eq!((self.status, &self.body["type"]), (status, &wanted), "{} {}", self.body, self.text);
        assert!(!self.header("replay-nonce").is_empty(), "clients go on with the nonce of a refusal");
    }

    /// Where in the directory a URL of the body leads to.
    fn path(&self, member: &str) -> String {
        below(self.body[member].as_str().unwrap_or_else(|| panic!("no {member}: {}", self.body)))
    }
}

fn below(url: &str) -> String {
    url.strip_prefix(BASE).unwrap_or_else(|| panic!("{url} is not below {BASE}")).to_owned()
}

/// A client: a key, and what is known of its account.
struct Client {
    key: Key,
    algorithm: Algorithm,
    directory: String,
    kid: Option<String>,
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn jwk(key: &Key) -> Value {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    match key.public_parts().unwrap() {
        PublicParts::Rsa { modulus, exponent } => {
            json!({"kty": "RSA", "n": text(&modulus), "e": text(&exponent)})
        }
        PublicParts::Ec { curve, x, y } => json!({"kty": "EC", "crv": curve, "x": text(&x), "y": text(&y)}),
        PublicParts::Ed25519(x) => json!({"kty": "OKP", "crv": "Ed25519", "x": text(&x)}),
    }
}

impl Client {
    fn new(directory: &str, algorithm: Algorithm) -> Client {
        let key = Key::generate(algorithm.key_type(), 0, &SystemRandom).unwrap();
        Client { key, algorithm, directory: directory.to_owned(), kid: None }
    }

    /// A client with an account in the mount's own directory.
    fn registered(bench: &mut Bench) -> Client {
        Client::registered_in(bench, "acme/")
    }

    fn registered_in(bench: &mut Bench, directory: &str) -> Client {
        let mut client = Client::new(directory, Algorithm::Es256);
        client.register(bench, &json!({"contact": ["mailto:me@example.org"]})).expect(201);
        client
    }

    fn register(&mut self, bench: &mut Bench, said: &Value) -> Reply {
        let path = format!("{}new-account", self.directory);
        let reply = self.post(bench, &path, Some(said));
        if reply.status < 300 {
            self.kid = Some(reply.header("location").to_owned());
        }
        reply
    }

    fn header(&self, url: &str, nonce: &str) -> Value {
        let mut header = json!({"alg": self.algorithm.name(), "nonce": nonce, "url": url});
        match &self.kid {
            Some(kid) => header["kid"] = json!(kid),
            None => header["jwk"] = jwk(&self.key),
        }
        header
    }

    /// Signs a header and a payload as they are.
    fn sign(&self, header: &Value, payload: &str) -> Value {
        let protected = encode(header);
        let signature =
            self.key.jws_sign(self.algorithm, format!("{protected}.{payload}").as_bytes()).unwrap();
        json!({"protected": protected, "payload": payload, "signature": URL_SAFE_NO_PAD.encode(signature)})
    }

    /// A good request; without `said` for a resource as it is.
    fn request(&self, bench: &mut Bench, path: &str, said: Option<&Value>) -> Request {
        let header = self.header(&format!("{BASE}{path}"), &nonce(bench, &self.directory));
        let body = self.sign(&header, &said.map(encode).unwrap_or_default());
        jose(bench, path, &body)
    }

    fn post(&self, bench: &mut Bench, path: &str, said: Option<&Value>) -> Reply {
        let request = self.request(bench, path, said);
        Reply::of(bench.answer(&request))
    }

    fn get(&self, bench: &mut Bench, path: &str) -> Reply {
        self.post(bench, path, None)
    }

    fn order(&self, bench: &mut Bench, identifiers: &Value) -> Reply {
        let path = format!("{}new-order", self.directory);
        self.post(bench, &path, Some(&json!({ "identifiers": identifiers })))
    }

    /// Calls the first challenge of a type ready in every authorization of an order, and lets time pass.
    fn prove(&self, bench: &mut Bench, order: &Reply, kind: &str) {
        for url in order.body["authorizations"].as_array().unwrap() {
            let authorization = self.get(bench, &below(url.as_str().unwrap())).expect(200);
            let challenges = authorization.body["challenges"].as_array().unwrap();
            let challenge = challenges.iter().find(|challenge| challenge["type"] == kind).unwrap();
            let path = below(challenge["url"].as_str().unwrap());
            let ready = self.post(bench, &path, Some(&json!({}))).expect(200);
            assert_eq!(ready.body["status"], "processing");
        }
        bench.pass(Duration::from_secs(1));
    }

    fn finalize(&self, bench: &mut Bench, order: &Reply, csr: &[u8]) -> Reply {
        self.post(bench, &order.path("finalize"), Some(&json!({ "csr": URL_SAFE_NO_PAD.encode(csr) })))
    }
}

/// A nonce, as a client gets its first.
fn nonce(bench: &mut Bench, directory: &str) -> String {
    let mut request = bench.request("", Operation::Read, &format!("pki/{directory}new-nonce"), "");
    request.head = true;
    let reply = Reply::of(bench.answer(&request)).expect(200);
    reply.header("replay-nonce").to_owned()
}

/// A request with a body as it is.
fn jose(bench: &Bench, path: &str, body: &Value) -> Request {
    let mut request = bench.request("", Operation::Update, &format!("pki/{path}"), &body.to_string());
    request.media = Media::Jose;
    request
}

fn dns(name: &str) -> Value {
    json!({"type": "dns", "value": name})
}

/// A request for a certificate with these names, by a new key.
fn csr(common_name: &str, sans: &[San]) -> Vec<u8> {
    csr_by(&Key::generate(KeyType::EcdsaP256, 0, &SystemRandom).unwrap(), common_name, sans)
}

fn csr_by(key: &Key, common_name: &str, sans: &[San]) -> Vec<u8> {
    let names: &[String] = &[common_name.to_owned()];
    let names = if common_name.is_empty() { &[][..] } else { names };
    let subject = Subject::new(&[(attribute::COMMON_NAME, names)]).unwrap();
    let extensions = match sans {
        [] => Vec::new(),
        sans => vec![Extension::alternative_names(sans, false).unwrap()],
    };
    sign_request(&subject, &extensions, key, Scheme::of(key, 0, false).unwrap()).unwrap()
}

fn named(names: &[&str]) -> Vec<San> {
    names.iter().map(|name| San::Dns((*name).to_owned())).collect()
}
