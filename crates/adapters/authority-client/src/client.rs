//! Requests with repetition, over one kept connection.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use keyward_crypto::Secret;
use zeroize::{Zeroize, Zeroizing};

use crate::connect::{Connection, connect};
use crate::request::{self, Body, Method, RequestOptions};
use crate::{Address, ClientConfig, ClientError, ConfigError, Reply};

/// The longest answer that is read, in bytes.
const LONGEST_REPLY: usize = 64 << 20;
/// The longest wait that a server may ask for between repetitions.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A client of one authority. Shared by reference; requests may run at the same time.
// house: two locks, since a login that sets the token must not wait for whoever holds the connection
pub struct Client {
    config: ClientConfig,
    tls: Option<Arc<rustls::ClientConfig>>,
    token: Mutex<Option<Arc<Secret<String>>>>,
    idle: Mutex<Option<(Address, Connection)>>,
}

/// A request that can be sent more than once.
struct Prepared {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

/// How sending ended without an answer.
struct Broken {
    error: ClientError,
    /// Whether the request may be sent again: it did not reach the server, or changes nothing.
    repeatable: bool,
}

impl Client {
    /// Reads the files the configuration names; connects only with the first request.
    pub fn new(mut config: ClientConfig) -> Result<Client, ConfigError> {
        // A plain connection is only ever redirected to a plain one, and the system's certificates take milliseconds to read.
        let tls = if config.address.is_tls() { Some(crate::tls::client_tls(&config)?) } else { None };
        let token = config.token.take().map(Arc::new);
        Ok(Client { config, tls, token: Mutex::new(token), idle: Mutex::new(None) })
    }

    /// The address requests go to.
    pub fn address(&self) -> &Address {
        &self.config.address
    }

    /// Replaces the token of requests to come.
    pub fn set_token(&self, token: Option<Secret<String>>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token.map(Arc::new);
    }

    /// The token requests are sent with.
    pub fn token(&self) -> Option<Arc<Secret<String>>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a request for `path` (without `/v1/`, not encoded). An answer other than 2xx is an error.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Body<'_>>,
        options: &RequestOptions,
    ) -> Result<Reply, ClientError> {
        let reply = self.send(method, path, body, options).await?;
        if (200..300).contains(&reply.status) {
            Ok(reply)
        } else {
            Err(ClientError::rejected(method, path, reply))
        }
    }

    /// As [`request`](Self::request), but any answer is a reply: for paths whose status is the answer, as `sys/health`.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Body<'_>>,
        options: &RequestOptions,
    ) -> Result<Reply, ClientError> {
        let prepared = self.prepare(method, path, body, options)?;
        let repeated = self.repeat(&prepared);
        if self.config.timeout.is_zero() {
            return repeated.await;
        }
        let timed_out = |_| ClientError::TimedOut {
            address: self.config.address.to_string(),
            after: self.config.timeout,
        };
        tokio::time::timeout(self.config.timeout, repeated).await.map_err(timed_out)?
    }

    fn prepare(
        &self,
        method: Method,
        path: &str,
        body: Option<Body<'_>>,
        options: &RequestOptions,
    ) -> Result<Prepared, ClientError> {
        let target = request::target(self.config.address.prefix(), method, path, &options.query)?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("keyward/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if body.is_some() {
            let default =
                if method == Method::Patch { "application/merge-patch+json" } else { "application/json" };
            let content_type = options.content_type.as_deref().unwrap_or(default);
            headers.insert(CONTENT_TYPE, header_value("the content type", content_type)?);
        }
        if !self.config.namespace.is_empty() {
            headers.insert("x-vault-namespace", header_value("the namespace", &self.config.namespace)?);
        }
        if let Some(ttl) = options.wrap_ttl.or(self.config.wrap_ttl) {
            let seconds = ttl.as_secs().max(1);
            headers.insert("x-vault-wrap-ttl", HeaderValue::from(seconds));
        }
        for (name, value) in &options.headers {
            let named = HeaderName::try_from(name.as_str())
                .map_err(|_| ClientError::Invalid(format!("{name:?} cannot be the name of a header")))?;
            headers.append(named, header_value(name, value)?);
        }
        let own = self.token();
        let token =
            options.token.as_ref().or(own.as_deref()).map(Secret::expose).filter(|token| !token.is_empty());
        if let Some(token) = token {
            let mut value = header_value("the token", token)?;
            value.set_sensitive(true);
            headers.insert("x-vault-token", value);
        }
        let body = body.map(Body::to_bytes).unwrap_or_default();
        Ok(Prepared { method, target, headers, body })
    }

    async fn repeat(&self, prepared: &Prepared) -> Result<Reply, ClientError> {
        let mut attempt = 0;
        loop {
            let last = attempt >= self.config.max_retries;
            let wait = match self.redirected(prepared).await {
                Ok(reply) if last || !asks_again(reply.status) => return Ok(reply),
                Ok(reply) => asked_wait(&reply.headers),
                Err(broken) if last || !broken.repeatable => return Err(broken.error),
                Err(_) => None,
            };
            attempt += 1;
            tokio::time::sleep(wait.unwrap_or_else(|| pause(attempt))).await;
        }
    }

    /// Sends to the configured address and follows one redirect, as a standby answers.
    async fn redirected(&self, prepared: &Prepared) -> Result<Reply, Broken> {
        let reply = self.once(&self.config.address, prepared, &prepared.target).await?;
        if !matches!(reply.status, 301 | 302 | 307 | 308) {
            return Ok(reply);
        }
        let refuse = |reason: &str| Broken {
            error: ClientError::NotUnderstood {
                address: self.config.address.to_string(),
                reason: reason.to_owned(),
            },
            repeatable: false,
        };
        let location =
            reply.headers.get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or_default();
        let (address, target) =
            split_location(location).ok_or_else(|| refuse("it redirects to no usable address"))?;
        if self.config.address.is_tls() != address.is_tls() {
            return Err(refuse("it redirects between https and http, which would change who is trusted"));
        }
        self.once(&address, prepared, &target).await
    }

    async fn once(&self, address: &Address, prepared: &Prepared, target: &str) -> Result<Reply, Broken> {
        let http = |target: &str| {
            let mut request = Request::new(Full::new(prepared.body.clone()));
            *request.method_mut() = prepared.method.http();
            *request.uri_mut() = target
                .parse()
                .map_err(|_| never_sent(ClientError::Invalid(format!("{target:?} cannot be asked for"))))?;
            *request.headers_mut() = prepared.headers.clone();
            let host = HeaderValue::try_from(address.host_header())
                .map_err(|_| never_sent(ClientError::Invalid(format!("{address} cannot be a host"))))?;
            request.headers_mut().insert(HOST, host);
            Ok::<_, Broken>(request)
        };
        let mut request = http(target)?;
        if let Some(mut kept) = self.take_idle(address) {
            match kept.try_send_request(request).await {
                Ok(response) => return self.read(address, kept, response, prepared.method).await,
                Err(mut failed) => match failed.take_message() {
                    // The server had closed the idle connection before this request.
                    Some(unsent) => request = unsent,
                    None if prepared.method.is_read() => request = http(target)?,
                    None => return Err(cut_off(address, failed.error(), false)),
                },
            }
        }
        let mut fresh =
            connect(address, self.tls.as_ref(), self.config.tls_server_name.as_deref()).await.map_err(
                |error| Broken { repeatable: matches!(error, ClientError::Unreachable { .. }), error },
            )?;
        let response = fresh
            .send_request(request)
            .await
            .map_err(|error| cut_off(address, &error, prepared.method.is_read()))?;
        self.read(address, fresh, response, prepared.method).await
    }

    async fn read(
        &self,
        address: &Address,
        connection: Connection,
        response: Response<Incoming>,
        method: Method,
    ) -> Result<Reply, Broken> {
        let (head, mut body) = response.into_parts();
        let mut raw = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| cut_off(address, &error, method.is_read()))?;
            let Ok(data) = frame.into_data() else { continue };
            if raw.len() + data.len() > LONGEST_REPLY {
                return Err(Broken {
                    error: ClientError::NotUnderstood {
                        address: address.to_string(),
                        reason: format!("it is longer than {} MiB", LONGEST_REPLY >> 20),
                    },
                    repeatable: false,
                });
            }
            raw.extend_from_slice(&data);
        }
        self.put_idle(address, connection);
        let kept = Zeroizing::new(raw.to_vec());
        raw.as_mut().zeroize();
        Ok(Reply::new(head.status.as_u16(), head.headers, kept))
    }

    fn take_idle(&self, address: &Address) -> Option<Connection> {
        let (to, connection) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        (to == *address && !connection.is_closed()).then_some(connection)
    }

    fn put_idle(&self, address: &Address, connection: Connection) {
        if !connection.is_closed() {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some((address.clone(), connection));
        }
    }
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, ClientError> {
    // The value itself stays unsaid: it may be a token.
    HeaderValue::try_from(value)
        .map_err(|_| ClientError::Invalid(format!("{name} has a character no header may have")))
}

fn never_sent(error: ClientError) -> Broken {
    Broken { error, repeatable: false }
}

fn cut_off(address: &Address, error: &hyper::Error, repeatable: bool) -> Broken {
    let address = address.to_string();
    let reason = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match error.is_parse() {
        true => never_sent(ClientError::NotUnderstood { address, reason }),
        false => Broken { error: ClientError::Unreachable { address, reason }, repeatable },
    }
}

fn split_location(location: &str) -> Option<(Address, String)> {
    let after_scheme = location.find("://")? + 3;
    let path = location[after_scheme..].find('/')? + after_scheme;
    let address = Address::parse(&location[..path]).ok()?;
    Some((address, location[path..].to_owned()))
}

fn asks_again(status: u16) -> bool {
    matches!(status, 412 | 429) || (status >= 500 && status != 501)
}

fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

/// Between 1 and 1.5 s for each attempt made, so that clients cut off together do not come back together.
fn pause(attempt: u32) -> Duration {
    let jitter = RandomState::new().build_hasher().finish() % 500;
    Duration::from_millis(1000 + jitter) * attempt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_what_the_server_asks_to() {
        for (status, again) in [
            (200, false),
            (400, false),
            (403, false),
            (404, false),
            (412, true),
            (429, true),
            (500, true),
            (501, false),
            (503, true),
        ] {
            assert_eq!(asks_again(status), again, "{status}");
        }
    }

    #[test]
    fn waits_as_asked_but_not_for_ever() {
        for (text, wait) in [("3", Some(3)), ("99999", Some(60)), ("soon", None), ("-1", None)] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(asked_wait(&headers), wait.map(Duration::from_secs));
        }
        assert!((1000..1500).contains(&pause(1).as_millis()));
    }

    #[test]
    fn a_location_is_an_address_and_a_path() {
        let (address, target) = split_location("https://other:8200/v1/secret/a?list=true").unwrap();
        assert_eq!(
            (address.to_string().as_str(), target.as_str()),
            ("https://other:8200", "/v1/secret/a?list=true")
        );
        for bad in ["", "/v1/secret", "https://other", "nonsense"] {
            assert!(split_location(bad).is_none(), "{bad}");
        }
    }
}
