//! Requests to other systems over HTTPS (and plain HTTP, where an operator configured that): one answer for one
//! request, bounded in time and size, trusting what the caller says and nothing else.
//!
//! Connections are kept and shared by requests of one trust. Nothing is repeated and no redirect is followed: who
//! is asked is who the operator named.

mod error;

pub use error::Error;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use keyward_crypto::Secret;
use keyward_tls::Trust;
use parking_lot::Mutex;
use std::time::Duration;

/// How long a connection is kept without a request.
const IDLE: Duration = Duration::from_secs(60);
/// Trusts whose connections are kept; the one used longest ago makes room.
const MOST_TRUSTS: usize = 64;

/// JSON under any of its names: Kubernetes gives its keys only to who asks for `application/jwk-set+json`.
const ACCEPTED: &str = "application/json, application/jwk-set+json, */*;q=0.1";

type Connections = Pool<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Limits of every request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first attempt to connect to the last byte of the answer.
    pub duration: Duration,
    /// Bytes of an answer's body.
    pub body: usize,
}

/// What is asked.
pub struct Ask<'a> {
    /// An absolute `https` or `http` URL.
    pub url: &'a str,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// The value of the `Authorization` header.
    pub authorization: Option<Secret<String>>,
    /// The value of the `Accept` header; JSON before anything else where there is none.
    pub accept: Option<&'static str>,
    /// What is done.
    pub verb: Verb<'a>,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb<'a> {
    /// Reads.
    Get,
    /// Sends a body.
    Post {
        /// Its media type.
        media_type: &'static str,
        /// The body.
        body: &'a str,
    },
    /// Deletes.
    Delete,
}

/// What was answered, whatever the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Asks. Shared by reference; one for the whole process.
pub struct Client {
    limits: Limits,
    kept: Mutex<Vec<(Trust, Connections)>>,
}

impl Client {
    /// Connects only when asked.
    pub fn new(limits: Limits) -> Client {
        Client { limits, kept: Mutex::default() }
    }

    /// Sends one request and waits for its answer.
    pub async fn ask(&self, ask: &Ask<'_>) -> Result<Reply, Error> {
        let request = prepare(ask)?;
        let connections = self.connections(&ask.trust)?;
        let answered = async {
            let (head, body) = connections.request(request).await.map_err(Error::from)?.into_parts();
            let body = read(body, self.limits.body).await?;
            Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
        };
        match tokio::time::timeout(self.limits.duration, answered).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Late(self.limits.duration)),
        }
    }

    fn connections(&self, trust: &Trust) -> Result<Connections, Error> {
        let mut kept = self.kept.lock();
        let known = match kept.iter().position(|(known, _)| known == trust) {
            Some(at) => kept.remove(at),
            None => (trust.clone(), connect_with(trust)?),
        };
        let connections = known.1.clone();
        if kept.len() >= MOST_TRUSTS {
            kept.remove(0);
        }
        kept.push(known);
        Ok(connections)
    }
}

fn connect_with(trust: &Trust) -> Result<Connections, Error> {
    let mut plain = HttpConnector::new();
    plain.enforce_http(false);
    plain.set_nodelay(true);
    let secure = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(trust.tls()?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(plain);
    Ok(Pool::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(secure))
}

fn prepare(ask: &Ask<'_>) -> Result<Request<Full<Bytes>>, Error> {
    let url: Uri = ask.url.parse().map_err(|_| Error::BadUrl)?;
    if !matches!(url.scheme_str(), Some("https" | "http")) || url.host().is_none_or(str::is_empty) {
        return Err(Error::BadUrl);
    }
    let (method, body) = match ask.verb {
        Verb::Get => (Method::GET, Bytes::new()),
        Verb::Post { body, .. } => (Method::POST, Bytes::copy_from_slice(body.as_bytes())),
        Verb::Delete => (Method::DELETE, Bytes::new()),
    };
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = url;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("keyward/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT, HeaderValue::from_static(ask.accept.unwrap_or(ACCEPTED)));
    if let Verb::Post { media_type, .. } = ask.verb {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    if let Some(credential) = &ask.authorization {
        let mut value = HeaderValue::try_from(credential.expose()).map_err(|_| Error::BadCredential)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(request)
}

async fn read(mut body: Incoming, most: usize) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|why| Error::Broken(why.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > most {
            return Err(Error::TooLong(most));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests;
