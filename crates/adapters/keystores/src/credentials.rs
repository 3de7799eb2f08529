//! What we show to a provider: read from files, renewed before it ends, shown anew when refused.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keyward_authority_client::{Body, Client, ClientError, Method, RequestOptions};
use keyward_crypto::Secret;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::KeystoreError;

/// The longest file that is read.
const LONGEST_FILE: u64 = 64 << 10;
/// A renewal that failed is tried again after this at the latest.
const RENEW_AGAIN: Duration = Duration::from_secs(15);
/// Logins are at least this far apart when calls are refused.
const LOGIN_AGAIN: Duration = Duration::from_secs(10);
/// A token with less than this left is worth telling an operator about.
const NEAR_END: Duration = Duration::from_secs(24 * 3600);

/// How we authenticate to an authority. Secrets come from files only, so that none is in an argument list, an
/// environment or a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A token in a file, as an agent or an operator writes it. Read again whenever it changes.
    TokenFile(PathBuf),
    /// An AppRole login.
    AppRole {
        /// Where the method is mounted under `auth/`: usually `approle`.
        mount: String,
        /// A file with the role's id.
        role_id_file: PathBuf,
        /// A file with a secret id. Read again with each login.
        secret_id_file: PathBuf,
    },
}

/// Who else than the owner may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privacy {
    /// Nobody.
    OwnerOnly,
    /// The group: agents write tokens so.
    OwnerAndGroup,
    /// Anyone: it is no secret.
    Public,
}

/// Reads a secret from a file that only its owner (us or root) and its group may read; surrounding white space is cut.
pub fn secret_file(path: &Path) -> Result<Secret<String>, KeystoreError> {
    let text = read(open_private(path, Privacy::OwnerAndGroup)?, path)?;
    Ok(Secret::new(text.trim().to_owned()))
}

/// Opens a file after checking that it is one, whose it is and who may read it.
pub(crate) fn open_private(path: &Path, privacy: Privacy) -> Result<File, KeystoreError> {
    let shown = path.display();
    let denied = |why: String| Err(KeystoreError::Denied(why));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return denied(format!("cannot read {shown}: {error}")),
    };
    let metadata = match file.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return denied(format!("cannot read {shown}: {error}")),
    };
    let ours = rustix::process::geteuid().as_raw();
    let forbidden = match privacy {
        Privacy::OwnerOnly => 0o077,
        Privacy::OwnerAndGroup => 0o037,
        Privacy::Public => 0o002,
    };
    if !metadata.is_file() {
        return denied(format!("{shown} is no regular file"));
    }
    if metadata.uid() != ours && metadata.uid() != 0 {
        return denied(format!("{shown} belongs to user {}: chown it to {ours}", metadata.uid()));
    }
    if metadata.mode() & forbidden != 0 {
        return denied(format!("{shown} has mode {:04o}: chmod 0600 it", metadata.mode() & 0o7777));
    }
    Ok(file)
}

/// The text of an opened file.
pub(crate) fn read(file: File, path: &Path) -> Result<Zeroizing<String>, KeystoreError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let denied = |why: String| KeystoreError::Denied(format!("cannot read {}: {why}", path.display()));
    file.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(|error| denied(error.to_string()))?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(denied(format!("it is longer than {} KiB", LONGEST_FILE >> 10)));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) if !text.trim().is_empty() => Ok(Zeroizing::new(text.to_owned())),
        Ok(_) => Err(denied("it is empty".to_owned())),
        Err(_) => Err(denied("it is no text".to_owned())),
    }
}

/// A token and what is known of its life.
// house: two locks, since the life is read while a login or renewal, one at a time, is under way
pub(crate) struct Session {
    credentials: Credentials,
    life: Mutex<Option<Life>>,
    turn: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Clone, Copy)]
struct Life {
    file: Option<(i64, i64, u64)>,
    renew_at: Option<Instant>,
    ends_at: Option<Instant>,
    renewable: bool,
    /// The longest life given in one go.
    granted: Duration,
}

#[derive(Serialize)]
struct AppRoleLogin<'a> {
    role_id: &'a str,
    secret_id: &'a str,
}

#[derive(Deserialize)]
struct AuthReply {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Deserialize)]
struct LookupReply {
    data: Lookup,
}

#[derive(Deserialize)]
struct Lookup {
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

impl Session {
    pub(crate) fn new(credentials: Credentials) -> Session {
        Session { credentials, life: Mutex::new(None), turn: tokio::sync::Mutex::new(None) }
    }

    /// Sees to it that the client has a token that lives.
    pub(crate) async fn ready(&self, client: &Client) -> Result<(), KeystoreError> {
        if self.is_fresh() {
            return Ok(());
        }
        let mut turn = self.turn.lock().await;
        match self.life() {
            _ if self.is_fresh() => return Ok(()),
            Some(life) if life.file == self.stamp() && life.renewable => self.renew(client, life).await?,
            _ => self.log_in(client).await?,
        }
        *turn = Some(Instant::now());
        Ok(())
    }

    /// Shows the credentials again after a refusal; whether that was worth trying. A refusal right after a
    /// login is about what the credentials allow, and more logins would only pile up tokens.
    pub(crate) async fn again(&self, client: &Client) -> Result<bool, KeystoreError> {
        let mut turn = self.turn.lock().await;
        if turn.is_some_and(|at| at.elapsed() < LOGIN_AGAIN) {
            return Ok(false);
        }
        *turn = Some(Instant::now());
        self.log_in(client).await.map(|()| true)
    }

    /// How long until a renewal is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.life()?.renew_at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// That the token ends soon, and nothing here prolongs it.
    pub(crate) fn notice(&self) -> Option<String> {
        let (Credentials::TokenFile(path), life) = (&self.credentials, self.life()?) else { return None };
        let left = life.ends_at?.saturating_duration_since(Instant::now());
        (!life.renewable && left < NEAR_END).then(|| {
            format!(
                "the token in {} ends in {} minutes and cannot be renewed: write a new one into the file in time",
                path.display(),
                left.as_secs() / 60
            )
        })
    }

    fn life(&self) -> Option<Life> {
        *self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_life(&self, life: Option<Life>) {
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = life;
    }

    fn is_fresh(&self) -> bool {
        let Some(life) = self.life() else { return false };
        life.file == self.stamp() && life.renew_at.is_none_or(|at| Instant::now() < at)
    }

    /// The state of the token file; constant for a login.
    fn stamp(&self) -> Option<(i64, i64, u64)> {
        let Credentials::TokenFile(path) = &self.credentials else { return None };
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.mtime(), metadata.mtime_nsec(), metadata.ino()))
    }

    async fn log_in(&self, client: &Client) -> Result<(), KeystoreError> {
        self.set_life(None);
        match &self.credentials {
            Credentials::TokenFile(path) => self.take_token(client, path).await,
            Credentials::AppRole { mount, role_id_file, secret_id_file } => {
                let role_id = read(open_private(role_id_file, Privacy::Public)?, role_id_file)?;
                let secret_id = secret_file(secret_id_file)?;
                let login = AppRoleLogin { role_id: role_id.trim(), secret_id: secret_id.expose() };
                let body =
                    serde_json::to_vec(&login).map(Zeroizing::new).map_err(|_| not_understood("a login"))?;
                let path = format!("auth/{mount}/login");
                let without_token =
                    RequestOptions { token: Some(Secret::new(String::new())), ..RequestOptions::default() };
                let reply = client.request(Method::Post, &path, Some(Body::Raw(&body)), &without_token).await;
                let reply = reply.map_err(|error| match error {
                    // Authorities call wrong credentials a bad request.
                    ClientError::BadRequest(_) => {
                        KeystoreError::Denied(format!("the AppRole login: {error}"))
                    }
                    other => failed(&other, "the AppRole login"),
                })?;
                self.accept(client, reply.raw(), None)
            }
        }
    }

    async fn take_token(&self, client: &Client, path: &Path) -> Result<(), KeystoreError> {
        // Before the file is read: a change in between is then seen by the next call.
        let file = self.stamp();
        client.set_token(Some(secret_file(path)?));
        let what = format!("the token in {}", path.display());
        let reply =
            client.request(Method::Get, "auth/token/lookup-self", None, &RequestOptions::default()).await;
        let reply = reply.map_err(|error| failed(&error, &what))?;
        let found: LookupReply =
            serde_json::from_slice(reply.raw()).map_err(|_| not_understood("a token lookup"))?;
        self.set_life(Some(Life::starting(file, found.data.ttl, found.data.renewable)));
        Ok(())
    }

    async fn renew(&self, client: &Client, life: Life) -> Result<(), KeystoreError> {
        let (body, options) = (Some(Body::Raw(b"{}")), RequestOptions::default());
        match client.request(Method::Post, "auth/token/renew-self", body, &options).await {
            Ok(reply) => {
                self.accept(client, reply.raw(), life.file)?;
                match (self.life(), &self.credentials) {
                    // The longest life allowed is near: better a new token than ever shorter renewals.
                    (Some(new), Credentials::AppRole { .. }) if new.granted < life.granted / 2 => {
                        self.log_in(client).await
                    }
                    (Some(new), _) => {
                        self.set_life(Some(Life { granted: life.granted.max(new.granted), ..new }));
                        Ok(())
                    }
                    (None, _) => Ok(()),
                }
            }
            Err(error) if error_is_transient(&error) => {
                // The token still lives; the call that wanted it may well succeed.
                let soon = Instant::now() + RENEW_AGAIN.min(life.left() / 4);
                self.set_life(Some(Life { renew_at: Some(soon), ..life }));
                Ok(())
            }
            Err(_) => self.log_in(client).await,
        }
    }

    fn accept(
        &self,
        client: &Client,
        raw: &[u8],
        file: Option<(i64, i64, u64)>,
    ) -> Result<(), KeystoreError> {
        let reply: AuthReply =
            serde_json::from_slice(raw).map_err(|_| not_understood("a login or renewal"))?;
        if reply.auth.client_token.is_empty() {
            return Err(KeystoreError::Denied(
                "the login needs a second factor, which no service can show: leave its AppRole out of the login \
                 enforcement"
                    .to_owned(),
            ));
        }
        client.set_token(Some(Secret::new(reply.auth.client_token)));
        self.set_life(Some(Life::starting(file, reply.auth.lease_duration, reply.auth.renewable)));
        Ok(())
    }
}

impl Life {
    /// A life of `seconds` from now; zero is for ever.
    fn starting(file: Option<(i64, i64, u64)>, seconds: u64, renewable: bool) -> Life {
        let now = Instant::now();
        let whole = Duration::from_secs(seconds.min(10 * 365 * 86_400));
        let ends_at = (seconds > 0).then(|| now + whole);
        // Not renewable: a login is repeated at the same point, a file is left to whoever writes it.
        let renew_at = (seconds > 0).then(|| now + whole * 2 / 3);
        Life { file, renew_at, ends_at, renewable, granted: whole }
    }

    fn left(&self) -> Duration {
        self.ends_at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()))
    }
}

fn error_is_transient(error: &ClientError) -> bool {
    failed(error, "").is_transient()
}

fn not_understood(what: &str) -> KeystoreError {
    KeystoreError::Unavailable(format!("its answer to {what} is not understood: is it an authority?"))
}

/// A failed request by blame. `what` was being done.
pub(crate) fn failed(error: &ClientError, what: &str) -> KeystoreError {
    let why = format!("{what}: {error}");
    match error {
        ClientError::Unreachable { .. }
        | ClientError::TimedOut { .. }
        | ClientError::NotUnderstood { .. }
        | ClientError::Sealed(_)
        | ClientError::Limited(_)
        | ClientError::Server(_) => KeystoreError::Unavailable(why),
        ClientError::Invalid(_) | ClientError::Untrusted { .. } | ClientError::Denied(_) => {
            KeystoreError::Denied(why)
        }
        ClientError::BadRequest(_) | ClientError::NotFound(_) => KeystoreError::Key(why),
    }
}
