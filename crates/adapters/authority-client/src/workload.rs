//! A client that logs in with the token that Kubernetes put into its pod.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use keyward_crypto::Secret;
use serde_json::json;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::{Body, Client, ClientConfig, ClientError, ConfigError, Method, Reply, RequestOptions};

/// The longest ServiceAccount token that is read, in bytes.
const LONGEST_TOKEN: u64 = 64 << 10;
/// Logins are at least this far apart when requests are refused.
const LOGIN_AGAIN: Duration = Duration::from_secs(10);

/// A login by the auth method `kubernetes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesLogin {
    /// Where the method is mounted below `auth/`.
    pub mount: String,
    /// The role.
    pub role: String,
    /// The ServiceAccount's token, which the kubelet keeps fresh: read again with each login.
    pub token_file: PathBuf,
}

/// A client of one authority, logged in as a workload; it logs in again before its token ends.
pub struct Workload {
    client: Client,
    login: KubernetesLogin,
    session: tokio::sync::Mutex<Option<Session>>,
}

#[derive(Clone, Copy)]
struct Session {
    since: Instant,
    until: Option<Instant>,
}

impl Workload {
    /// Connects only with the first request. A token in `config` is not used.
    pub fn new(mut config: ClientConfig, login: KubernetesLogin) -> Result<Workload, ConfigError> {
        config.token = None;
        Ok(Workload { client: Client::new(config)?, login, session: tokio::sync::Mutex::default() })
    }

    /// Sends a request, after a login if one is due. One that is refused is sent once more after a new login: a token
    /// may have been revoked, and is refused as any other.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Body<'_>>,
        options: &RequestOptions,
    ) -> Result<Reply, ClientError> {
        let session = self.session(None).await?;
        match self.client.request(method, path, body, options).await {
            Err(ClientError::Denied(_)) if session.since.elapsed() > LOGIN_AGAIN => {
                self.session(Some(session.since)).await?;
                self.client.request(method, path, body, options).await
            }
            answer => answer,
        }
    }

    /// Gives the token up, as far as the authority can be reached.
    pub async fn log_out(&self) {
        if self.client.token().is_some() {
            let path = "auth/token/revoke-self";
            // A batch token cannot be given up, and any ends by itself.
            let _ = self.client.request(Method::Post, path, None, &RequestOptions::default()).await;
            self.client.set_token(None);
        }
    }

    /// The session, made anew when it is about to end or is the one that was `refused`.
    async fn session(&self, refused: Option<Instant>) -> Result<Session, ClientError> {
        let mut kept = self.session.lock().await;
        let now = Instant::now();
        let good = |session: &Session| {
            refused != Some(session.since) && session.until.is_none_or(|until| now < until)
        };
        if let Some(session) = kept.filter(good) {
            return Ok(session);
        }
        let lease = self.log_in().await?;
        let until = (!lease.is_zero()).then(|| now + lease * 2 / 3);
        Ok(*kept.insert(Session { since: now, until }))
    }

    /// Logs in, and answers with the token's life; zero when it has no end.
    async fn log_in(&self) -> Result<Duration, ClientError> {
        let path = format!("auth/{}/login", self.login.mount.trim_matches('/'));
        let body = json!({ "role": self.login.role, "jwt": self.read_token()?.as_str() });
        // Such a login needs no token, and an old one must not be shown.
        let options = RequestOptions { token: Some(Secret::new(String::new())), ..RequestOptions::default() };
        let reply = self.client.request(Method::Post, &path, Some(Body::Json(&body)), &options).await?;
        let auth = reply.body().map(|mut body| body["auth"].take()).unwrap_or_default();
        let Some(token) = auth["client_token"].as_str().filter(|token| !token.is_empty()) else {
            return Err(ClientError::NotUnderstood {
                address: self.client.address().to_string(),
                reason: "its answer to a login has no token".to_owned(),
            });
        };
        self.client.set_token(Some(Secret::new(token.to_owned())));
        Ok(Duration::from_secs(auth["lease_duration"].as_u64().unwrap_or_default()))
    }

    fn read_token(&self) -> Result<Zeroizing<String>, ClientError> {
        let file = &self.login.token_file;
        let wrong = |why: String| ClientError::Invalid(format!("cannot read {}: {why}", file.display()));
        let opened = File::open(file).map_err(|why| wrong(why.to_string()))?;
        let mut text = Zeroizing::new(String::new());
        opened.take(LONGEST_TOKEN + 1).read_to_string(&mut text).map_err(|why| wrong(why.to_string()))?;
        match text.trim() {
            "" => Err(wrong("it is empty".to_owned())),
            _ if text.len() as u64 > LONGEST_TOKEN => Err(wrong("it is no token".to_owned())),
            token => Ok(Zeroizing::new(token.to_owned())),
        }
    }
}
