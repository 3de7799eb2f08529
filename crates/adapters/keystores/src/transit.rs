//! The transit engine of Keyward, Vault or OpenBao: a named symmetric key that never leaves the authority.
//!
//! The token's policy needs `read` on `MOUNT/keys/KEY` and `update` on `MOUNT/encrypt/KEY` and `MOUNT/decrypt/KEY`.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use keyward_authority_client::{
    Body, Client, ClientConfig, ClientError, ConfigError, Method, RequestOptions,
};
use keyward_crypto::sha256;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::breaker::{Breaker, Pause};
use crate::credentials::{Session, failed};
use crate::{Answer, Context, Credentials, Kek, KeyVersion, Keystore, KeystoreError, payload};

/// The kinds of key that encrypt with associated data.
const KINDS: [&str; 4] = ["aes256-gcm96", "aes128-gcm96", "chacha20-poly1305", "xchacha20-poly1305"];

/// Where the key is and how we may use it.
pub struct TransitOptions {
    /// The authority. Its token and its repetitions are ours to manage: they are overwritten.
    pub client: ClientConfig,
    /// Where transit is mounted: usually `transit`.
    pub mount: String,
    /// The key's name.
    pub key: String,
    /// How we authenticate.
    pub credentials: Credentials,
}

/// A key in a transit engine.
pub struct Transit {
    identity: String,
    mount: String,
    key: String,
    client: Client,
    session: Session,
    breaker: Breaker,
}

#[derive(Deserialize)]
struct Reply<T> {
    data: T,
}

#[derive(Deserialize)]
struct KeyInfo {
    #[serde(rename = "type")]
    kind: String,
    latest_version: u64,
    keys: serde_json::Map<String, Value>,
}

#[derive(Serialize)]
struct EncryptRequest<'a> {
    plaintext: &'a str,
    associated_data: &'a str,
    context: &'a str,
    key_version: u64,
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
}

#[derive(Serialize)]
struct DecryptRequest<'a> {
    ciphertext: &'a str,
    associated_data: &'a str,
    context: &'a str,
}

#[derive(Deserialize)]
struct Decrypted {
    plaintext: String,
}

#[derive(Deserialize)]
struct Health {
    server_time_utc: u64,
}

impl Transit {
    /// Checks the options and reads the TLS files; connects with the first call.
    pub fn new(options: TransitOptions) -> Result<Transit, ConfigError> {
        let (mount, key) = (options.mount.trim_matches('/').to_owned(), options.key);
        let wrong = |what: &str, value: &str| {
            ConfigError(vec![format!(
                "{value:?} is not the name of a {what}: letters, digits, - _ and . only"
            )])
        };
        let named = |text: &str| {
            let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !text.is_empty() && text.len() <= 128 && text.bytes().all(usual) && text != "." && text != ".."
        };
        if !mount.split('/').all(named) {
            return Err(wrong("mount", &mount));
        }
        if !named(&key) {
            return Err(wrong("key", &key));
        }
        let mut config = options.client;
        config.token = None;
        config.wrap_ttl = None;
        // The API server waits 3 s: failing in time is worth more than another attempt.
        config.max_retries = 0;
        let identity = format!("transit:{}:{mount}/{key}", config.namespace.trim_matches('/'));
        let client = Client::new(config)?;
        let session = Session::new(options.credentials);
        Ok(Transit { identity, mount, key, client, session, breaker: Breaker::default() })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&[u8]>,
        bad_request: fn(String) -> KeystoreError,
    ) -> Result<T, KeystoreError> {
        if let Err(Pause { wait, failures, why }) = self.breaker.admit(Instant::now()) {
            let seconds = wait.as_secs_f32();
            return Err(KeystoreError::Unavailable(format!(
                "{why} ({failures} times in a row; the next attempt is in {seconds:.1} s)"
            )));
        }
        let outcome = self.attempt(method, path, body, bad_request).await;
        let failed = outcome.as_ref().err().filter(|error| error.is_transient());
        self.breaker.record(failed.map_or(Ok(()), |error| Err(error.to_string())), Instant::now());
        outcome
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&[u8]>,
        bad_request: fn(String) -> KeystoreError,
    ) -> Result<T, KeystoreError> {
        self.session.ready(&self.client).await?;
        let options = RequestOptions::default();
        let send = || self.client.request(method, path, body.map(Body::Raw), &options);
        let reply = match send().await {
            Err(ClientError::Denied(_)) if self.session.again(&self.client).await? => send().await,
            other => other,
        };
        let reply = reply.map_err(|error| match error {
            ClientError::BadRequest(_) => bad_request(error.to_string()),
            other => failed(&other, &format!("key {}", self.key)),
        })?;
        match serde_json::from_slice::<Reply<T>>(reply.raw()) {
            Ok(reply) => Ok(reply.data),
            Err(_) => Err(KeystoreError::Unavailable(format!(
                "the answer of {} to {path} is not understood: is transit mounted at {}/?",
                self.client.address(),
                self.mount
            ))),
        }
    }

    async fn read_version(&self) -> Result<KeyVersion, KeystoreError> {
        let info: KeyInfo = self
            .call(Method::Get, &format!("{}/keys/{}", self.mount, self.key), None, KeystoreError::Key)
            .await?;
        if !KINDS.contains(&info.kind.as_str()) {
            return Err(KeystoreError::Key(format!(
                "{}/keys/{} is of type {}: make one of type {}",
                self.mount, self.key, info.kind, KINDS[0]
            )));
        }
        // A key deleted and made again starts at version 1 anew: the moment it was made tells them apart.
        let made = info.keys.get(&info.latest_version.to_string()).and_then(Value::as_u64);
        made.and_then(|made| KeyVersion::new(format!("{}@{made}", info.latest_version))).ok_or_else(|| {
            KeystoreError::Key(format!(
                "the authority does not tell when version {} was made",
                info.latest_version
            ))
        })
    }

    async fn wrap_now(
        &self,
        version: &KeyVersion,
        context: &Context<'_>,
        key: &Kek,
    ) -> Result<Vec<u8>, KeystoreError> {
        let number = number_of(version)?;
        let payload = payload::seal(key, context);
        let plaintext = Zeroizing::new(BASE64_STANDARD.encode(payload.as_slice()));
        let (associated_data, derivation) = encoded(context);
        let request = EncryptRequest {
            plaintext: &plaintext,
            associated_data: &associated_data,
            context: &derivation,
            key_version: number,
        };
        let body = json(&request)?;
        let path = format!("{}/encrypt/{}", self.mount, self.key);
        let reply: Encrypted = self.call(Method::Post, &path, Some(&body), KeystoreError::Key).await?;
        let raw = reply.ciphertext.strip_prefix(&format!("vault:v{number}:"));
        raw.and_then(|raw| BASE64_STANDARD.decode(raw).ok()).ok_or_else(|| {
            KeystoreError::Key(format!(
                "the authority did not encrypt under version {number}, as it was asked to"
            ))
        })
    }

    async fn unwrap_now(
        &self,
        version: &KeyVersion,
        context: &Context<'_>,
        wrapped: &[u8],
    ) -> Result<Kek, KeystoreError> {
        let ciphertext = format!("vault:v{}:{}", number_of(version)?, BASE64_STANDARD.encode(wrapped));
        let (associated_data, derivation) = encoded(context);
        let body = json(&DecryptRequest {
            ciphertext: &ciphertext,
            associated_data: &associated_data,
            context: &derivation,
        })?;
        let path = format!("{}/decrypt/{}", self.mount, self.key);
        let reply: Decrypted = self.call(Method::Post, &path, Some(&body), undecryptable).await?;
        let plaintext = Zeroizing::new(reply.plaintext);
        let opened = BASE64_STANDARD.decode(plaintext.as_str()).map(Zeroizing::new);
        payload::open(&opened.map_err(|_| KeystoreError::does_not_open())?, context)
    }
}

/// Why a decryption is a bad request: 400 is all there is for bytes that do not open, and for a key that is
/// gone or a version ruled out, which the message tells apart.
fn undecryptable(why: String) -> KeystoreError {
    match why.contains("too old") || why.contains("not found") {
        true => KeystoreError::Key(why),
        false => KeystoreError::does_not_open(),
    }
}

/// The associated data, and the derivation context that a derived key wants and any other ignores.
fn encoded(context: &Context<'_>) -> (String, String) {
    let bytes = context.encode();
    (BASE64_STANDARD.encode(&bytes), BASE64_STANDARD.encode(sha256(&bytes)))
}

fn json(request: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    serde_json::to_vec(request).map(Zeroizing::new).map_err(|error| KeystoreError::Key(error.to_string()))
}

fn number_of(version: &KeyVersion) -> Result<u64, KeystoreError> {
    let number = version.as_str().split_once('@').and_then(|(number, _)| number.parse().ok());
    number.ok_or_else(|| KeystoreError::Rejected(format!("{version} is no version of a transit key")))
}

impl Keystore for Transit {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn location(&self) -> String {
        format!("{} {}/keys/{}", self.client.address(), self.mount, self.key)
    }

    fn current_version(&self) -> Answer<'_, KeyVersion> {
        Box::pin(self.read_version())
    }

    fn wrap<'a>(
        &'a self,
        version: &'a KeyVersion,
        context: &'a Context<'a>,
        key: &'a Kek,
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(self.wrap_now(version, context, key))
    }

    fn unwrap<'a>(
        &'a self,
        version: &'a KeyVersion,
        context: &'a Context<'a>,
        wrapped: &'a [u8],
    ) -> Answer<'a, Kek> {
        Box::pin(self.unwrap_now(version, context, wrapped))
    }

    fn clock(&self) -> Answer<'_, Option<Duration>> {
        Box::pin(async move {
            let options = RequestOptions::default();
            let reply = self.client.send(Method::Get, "sys/health", None, &options).await;
            let reply = reply.map_err(|error| failed(&error, "sys/health"))?;
            let health: Option<Health> = serde_json::from_slice(reply.raw()).ok();
            Ok(health.map(|health| Duration::from_secs(health.server_time_utc)))
        })
    }

    fn due(&self) -> Option<Duration> {
        self.session.due()
    }

    fn notice(&self) -> Option<String> {
        self.session.notice()
    }
}
