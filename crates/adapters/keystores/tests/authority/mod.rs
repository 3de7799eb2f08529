//! A small authority: AppRole and token life, and one transit key, with the paths, bodies and statuses of Vault.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use keyward_crypto::{AeadKey, SystemRandom};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The authority's state, which tests change under the client's feet.
#[derive(Default)]
pub(crate) struct Authority {
    tokens: Mutex<HashMap<String, Option<Instant>>>,
    key: Mutex<Option<Key>>,
    made: AtomicU64,
    pub(crate) ttl: AtomicU64,
    pub(crate) renewable: AtomicBool,
    pub(crate) sealed: AtomicBool,
    pub(crate) ignores_associated_data: AtomicBool,
    pub(crate) min_decryption: AtomicU64,
    pub(crate) logins: AtomicU64,
    pub(crate) renewals: AtomicU64,
    pub(crate) requests: AtomicU64,
}

/// The key's type, and for each version when it was made and the key itself.
type Key = (String, Vec<(u64, [u8; 32])>);

type Answer = (u16, Value);

impl Authority {
    pub(crate) async fn start() -> (Arc<Authority>, String) {
        let authority = Arc::new(Authority::default());
        authority.renewable.store(true, SeqCst);
        authority.ttl.store(3600, SeqCst);
        authority.replace_key();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let served = authority.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let authority = served.clone();
                let service = service_fn(move |request| {
                    let authority = authority.clone();
                    async move { Ok::<_, Infallible>(authority.answer(request).await) }
                });
                tokio::spawn(async move {
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        (authority, address)
    }

    pub(crate) fn allow(&self, token: &str, ttl: u64) {
        let end = (ttl > 0).then(|| Instant::now() + Duration::from_secs(ttl));
        self.tokens.lock().unwrap().insert(token.to_owned(), end);
    }

    pub(crate) fn revoke_all(&self) {
        self.tokens.lock().unwrap().clear();
    }

    pub(crate) fn rotate(&self) {
        let made = self.next_moment();
        if let Some((_, versions)) = self.key.lock().unwrap().as_mut() {
            versions.push((made, [made as u8; 32]));
        }
    }

    pub(crate) fn replace_key(&self) {
        let made = self.next_moment();
        *self.key.lock().unwrap() = Some(("aes256-gcm96".to_owned(), vec![(made, [made as u8; 32])]));
    }

    pub(crate) fn delete_key(&self) {
        *self.key.lock().unwrap() = None;
    }

    pub(crate) fn set_kind(&self, kind: &str) {
        if let Some((known, _)) = self.key.lock().unwrap().as_mut() {
            kind.clone_into(known);
        }
    }

    fn next_moment(&self) -> u64 {
        1_700_000_001 + self.made.fetch_add(1, SeqCst)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.requests.fetch_add(1, SeqCst);
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let token = head.headers.get("x-vault-token").map(|token| token.to_str().unwrap().to_owned());
        let (status, answer) = self.route(head.method.as_str(), head.uri.path(), token.as_deref(), &body);
        let answer = Bytes::from(answer.to_string());
        Response::builder().status(status).body(Full::new(answer)).unwrap()
    }

    fn route(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        if path == "/v1/sys/health" {
            return (200, json!({"server_time_utc": 1_700_000_000}));
        }
        if self.sealed.load(SeqCst) {
            return (503, json!({"errors": ["Vault is sealed"]}));
        }
        if (method, path) == ("POST", "/v1/auth/approle/login") {
            return match (body["role_id"].as_str(), body["secret_id"].as_str()) {
                (Some("role-1"), Some("secret-1")) => self.log_in(),
                _ => (400, json!({"errors": ["invalid role or secret ID"]})),
            };
        }
        let Some(left) = token.and_then(|token| self.left(token)) else {
            return (403, json!({"errors": ["permission denied"]}));
        };
        match (method, path) {
            ("GET", "/v1/auth/token/lookup-self") => {
                (200, json!({"data": {"ttl": left, "renewable": self.renewable.load(SeqCst)}}))
            }
            ("POST", "/v1/auth/token/renew-self") => {
                self.renewals.fetch_add(1, SeqCst);
                self.grant(token.unwrap_or_default())
            }
            ("GET", "/v1/transit/keys/kube") => self.describe(),
            ("POST", "/v1/transit/encrypt/kube") => self.encrypt(body),
            ("POST", "/v1/transit/decrypt/kube") => self.decrypt(body),
            _ => (404, json!({"errors": ["no handler for route"]})),
        }
    }

    fn left(&self, token: &str) -> Option<u64> {
        match *self.tokens.lock().unwrap().get(token)? {
            None => Some(0),
            Some(end) => end.checked_duration_since(Instant::now()).map(|left| left.as_secs()),
        }
    }

    fn log_in(&self) -> Answer {
        let number = self.logins.fetch_add(1, SeqCst);
        self.grant(&format!("hvs.login-{number}"))
    }

    fn grant(&self, token: &str) -> Answer {
        let ttl = self.ttl.load(SeqCst);
        self.allow(token, ttl);
        let renewable = self.renewable.load(SeqCst);
        (200, json!({"auth": {"client_token": token, "lease_duration": ttl, "renewable": renewable}}))
    }

    fn describe(&self) -> Answer {
        let key = self.key.lock().unwrap();
        let Some((kind, versions)) = key.as_ref() else { return (404, json!({"errors": []})) };
        let made: serde_json::Map<String, Value> = versions
            .iter()
            .zip(1..)
            .map(|((made, _), number)| (i32::to_string(&number), json!(made)))
            .collect();
        (200, json!({"data": {"type": kind, "latest_version": versions.len(), "keys": made}}))
    }

    fn aad(&self, body: &Value) -> Vec<u8> {
        match self.ignores_associated_data.load(SeqCst) {
            true => Vec::new(),
            false => BASE64_STANDARD.decode(body["associated_data"].as_str().unwrap()).unwrap(),
        }
    }

    fn encrypt(&self, body: &Value) -> Answer {
        let key = self.key.lock().unwrap();
        let versions = &key.as_ref().unwrap().1;
        let number = body["key_version"].as_u64().unwrap();
        let plaintext = BASE64_STANDARD.decode(body["plaintext"].as_str().unwrap()).unwrap();
        let sealed = AeadKey::new(&versions[number as usize - 1].1).seal_with(
            &SystemRandom,
            &self.aad(body),
            &plaintext,
        );
        (200, json!({"data": {"ciphertext": format!("vault:v{number}:{}", BASE64_STANDARD.encode(sealed))}}))
    }

    fn decrypt(&self, body: &Value) -> Answer {
        let key = self.key.lock().unwrap();
        let versions = &key.as_ref().unwrap().1;
        let text = body["ciphertext"].as_str().unwrap().strip_prefix("vault:v").unwrap();
        let (number, sealed) = text.split_once(':').unwrap();
        let number: u64 = number.parse().unwrap();
        if number < self.min_decryption.load(SeqCst) {
            return (
                400,
                json!({"errors": ["ciphertext or signature version is disallowed by policy (too old)"]}),
            );
        }
        let opened = BASE64_STANDARD.decode(sealed).ok().and_then(|sealed| {
            AeadKey::new(&versions[number as usize - 1].1).open_prefixed(&self.aad(body), &sealed).ok()
        });
        match opened {
            Some(plaintext) => (200, json!({"data": {"plaintext": BASE64_STANDARD.encode(plaintext)}})),
            None => (400, json!({"errors": ["cipher: message authentication failed"]})),
        }
    }
}
