//! HTTP/1.1 in and out: section 0 of Vault's API, free of any decision.

use crate::config::Listener;
use crate::front;
use crate::ids;
use crate::node::Node;
use crate::reply::Reply;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use keyward_authority::fields::Fields;
use keyward_authority::refusal::Refusal;
use keyward_authority::request::{Media, Operation, Request, Shown, Wrap, normalize_path};
use keyward_core::parse_duration;
use keyward_crypto::Secret;
use std::borrow::Cow;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// Bytes of the largest OCSP request; a usual one has about 100.
const MOST_OCSP: usize = 2048;

/// Limits of one listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request body; larger ones get 413. Vault's default is 32 MiB.
    pub body: usize,
    /// From the first byte of a request to the last of its answer.
    pub duration: Duration,
    /// For a request's head to arrive.
    pub head: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { body: 32 * 1024 * 1024, duration: Duration::from_secs(90), head: Duration::from_secs(10) }
    }
}

/// What is known of the connection a request came by.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address, unless it came by a Unix socket.
    pub address: Option<SocketAddr>,
    /// The connection is encrypted.
    pub tls: bool,
    /// What the client showed in TLS; see [`Request::certificates`].
    pub certificates: Arc<[Vec<u8>]>,
}

/// Answers one request.
pub async fn answer(
    node: &Arc<Node>,
    listener: &Listener,
    peer: &Peer,
    request: http::Request<Incoming>,
) -> http::Response<Full<Bytes>> {
    let head = request.method() == Method::HEAD;
    let deadline = Instant::now() + listener.limits.duration;
    write(dispatch(node, listener, peer, request, deadline).await.unwrap_or_else(|refused| *refused), head)
}

fn write(reply: Reply, head: bool) -> http::Response<Full<Bytes>> {
    let body = if head { Bytes::new() } else { reply.body };
    let mut response = http::Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000; includeSubDomains"),
    );
    if reply.status != 204 {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    }
    for (name, value) in reply.headers {
        // One that cannot be sent is none that a client could use.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.append(name, value);
        }
    }
    response
}

type Refused = Box<Reply>;

fn refuse(refusal: &Refusal) -> Refused {
    Box::new(Reply::refused(refusal))
}

async fn dispatch(
    node: &Arc<Node>,
    listener: &Listener,
    peer: &Peer,
    request: http::Request<Incoming>,
    deadline: Instant,
) -> Result<Reply, Refused> {
    let (parts, body) = request.into_parts();
    let path = path_below_v1(parts.uri.path())?;
    check_namespace(&parts.headers)?;
    let address = client_address(listener, peer.address, &parts.headers)?;
    let peer = Peer { address, ..peer.clone() };
    let query = parse_query(parts.uri.query().unwrap_or(""));
    if front::serves(&path) {
        let fields = if parts.method == Method::GET || parts.method == Method::HEAD {
            Fields::from_pairs(query.iter().map(|(name, value)| (&**name, &**value)))
        } else {
            Fields::parse(&read_body(body, listener.limits.body, deadline).await?)
                .map_err(|refusal| refuse(&refusal))?
        };
        let front = Box::pin(front::serve(node, &parts.method, &path, &fields));
        return carried_out(front, deadline).await;
    }
    let operation = operation(&parts.method, &query)?;
    let body = read_body(body, listener.limits.body, deadline).await?;
    let request = assemble(node, operation, path, &query, &parts.headers, &body, peer);
    let mut request = request.map_err(|refusal| refuse(&refusal))?;
    request.head = parts.method == Method::HEAD;
    if matches!(operation, Operation::Read | Operation::List | Operation::Help) {
        return carried_out(pin!(node.serve(request)), deadline).await;
    }
    let changed = seen_through(node.clone(), request, deadline).await;
    // What others asked for is made first: an answer wakes its client, which then takes the processor and its caches from
    // those that are not made yet. Whoever is alone waits for nobody, and reads are too short to wait.
    tokio::task::yield_now().await;
    changed
}

/// Makes a change, and sees it through to its last record, whether or not its client waits for it; what is done at once needs
/// nobody to see to that.
async fn seen_through(node: Arc<Node>, request: Request, deadline: Instant) -> Result<Reply, Refused> {
    let mut change = Box::pin(async move { node.serve(request).await });
    if let Poll::Ready(reply) = poll_fn(|cx| Poll::Ready(change.as_mut().poll(cx))).await {
        return Ok(reply);
    }
    let change = tokio::spawn(change);
    let failed = || Reply::refused(&Refusal::Internal("the request's handler failed".to_owned()));
    until(deadline, change).await.map_or_else(|_| Err(late()), |done| Ok(done.unwrap_or_else(|_| failed())))
}

async fn carried_out(work: impl Future<Output = Reply> + Unpin, deadline: Instant) -> Result<Reply, Refused> {
    until(deadline, work).await.map_err(|_| late())
}

fn late() -> Refused {
    Box::new(Reply::errors(503, &["the request took too long and was given up".to_owned()]))
}

/// [`timeout_at`], but what is ready at once, as most work is, costs no timer. What is waited for is pinned by its
/// caller: moving it would cost more than polling it.
async fn until<F: Future + Unpin>(deadline: Instant, mut work: F) -> Result<F::Output, Elapsed> {
    match poll_fn(|cx| Poll::Ready(Pin::new(&mut work).poll(cx))).await {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => timeout_at(deadline, work).await,
    }
}

fn path_below_v1(path: &str) -> Result<String, Refused> {
    let Some(below) = path.strip_prefix("/v1/") else {
        return Err(Box::new(Reply::errors(404, &[])));
    };
    let decoded = percent_decode(below)
        .ok_or_else(|| refuse(&Refusal::invalid("the path is not UTF-8 in percent-encoding (RFC 3986)")))?;
    normalize_path(&decoded).ok_or_else(|| {
        refuse(&Refusal::invalid(
            "the path has '.' or '..' segments, control characters, or over 1,024 bytes",
        ))
    })
}

/// Namespaces are absent: a request for one must not land among the root's secrets.
fn check_namespace(headers: &HeaderMap) -> Result<(), Refused> {
    match headers.get("x-vault-namespace").map(|value| value.to_str().unwrap_or("?")) {
        None => Ok(()),
        Some(name) if matches!(name.trim_matches('/'), "" | "root") => Ok(()),
        Some(_) => Err(refuse(&Refusal::invalid(
            "namespaces are not available: leave out the X-Vault-Namespace header (VAULT_NAMESPACE)",
        ))),
    }
}

/// Who the client is, by the proxies this listener trusts.
fn client_address(
    listener: &Listener,
    connected: Option<SocketAddr>,
    headers: &HeaderMap,
) -> Result<Option<SocketAddr>, Refused> {
    let (Some(forwarded), Some(connected)) = (&listener.forwarded, connected) else {
        return Ok(connected);
    };
    let values = headers.get_all("x-forwarded-for").iter().map(|value| value.to_str().unwrap_or("?"));
    match forwarded.client(connected, values) {
        Ok(address) => Ok(Some(address)),
        Err(why) => Err(refuse(&Refusal::invalid(why.to_string()))),
    }
}

fn operation(method: &Method, query: &[(Cow<'_, str>, Cow<'_, str>)]) -> Result<Operation, Refused> {
    let asks = |name: &str| {
        query
            .iter()
            .any(|(known, value)| known == name && matches!(&**value, "1" | "true" | "t" | "True" | "TRUE"))
    };
    if asks("help") {
        return Ok(Operation::Help);
    }
    match method.as_str() {
        "GET" if asks("list") => Ok(Operation::List),
        "GET" | "HEAD" => Ok(Operation::Read),
        "LIST" => Ok(Operation::List),
        "POST" | "PUT" => Ok(Operation::Update),
        "PATCH" => Ok(Operation::Patch),
        "DELETE" => Ok(Operation::Delete),
        _ => Err(refuse(&Refusal::Unsupported)),
    }
}

async fn read_body(mut body: Incoming, most: usize, deadline: Instant) -> Result<Bytes, Refused> {
    let refused = |status, why: String| Box::new(Reply::errors(status, &[why]));
    let mut read = BytesMut::new();
    // A length is believed before a byte is read.
    let mut length = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    while length <= most {
        match until(deadline, pin!(body.frame())).await {
            Ok(None) => return Ok(read.freeze()),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(whole) if read.is_empty() && body.is_end_stream() => return Ok(whole),
                Ok(part) => {
                    length = read.len().saturating_add(part.len());
                    read.extend_from_slice(&part);
                }
                Err(_) => {}
            },
            Ok(Some(Err(_))) => {
                return Err(refuse(&Refusal::invalid("the request body ended before it was complete")));
            }
            // Not a 5xx: a client that is slow once more is no help.
            Err(_) => return Err(refused(408, "the request body did not arrive in time".to_owned())),
        }
    }
    tokio::spawn(timeout_at(deadline, discard(body, most)));
    let why = "the request body is larger than";
    Err(refused(413, format!("{why} {most} bytes; send less, or raise max_request_size")))
}

/// Reads on, up to a point: a client that is cut off while it sends would not see why.
async fn discard(mut body: Incoming, most: usize) {
    let mut discarded = 0;
    while let Some(Ok(frame)) = body.frame().await {
        discarded += frame.data_ref().map_or(0, Bytes::len);
        if discarded > most.saturating_mul(2) {
            return;
        }
    }
}

fn assemble(
    node: &Node,
    operation: Operation,
    mut path: String,
    query: &[(Cow<'_, str>, Cow<'_, str>)],
    headers: &HeaderMap,
    body: &[u8],
    peer: Peer,
) -> Result<Request, Refusal> {
    if operation == Operation::List && !path.ends_with('/') {
        path.push('/');
    }
    let bodiless =
        matches!(operation, Operation::Read | Operation::List | Operation::Delete | Operation::Help);
    let mut fields = match content_type(headers) {
        // The one body that clients send in DER (RFC 6960, appendix A.1).
        "application/ocsp-request" => ocsp_fields(body)?,
        _ if bodiless && body.is_empty() => Fields::default(),
        // Some clients say so of JSON, too.
        form if form.starts_with("application/x-www-form-urlencoded") && !is_json(body) => form_fields(body)?,
        _ => Fields::parse(body)?,
    };
    if bodiless {
        for (name, value) in query.iter().filter(|(name, _)| !matches!(&**name, "list" | "help")) {
            fields.set(name, value);
        }
    }
    Ok(Request {
        id: ids::next(node.random()),
        operation,
        path,
        fields,
        token: token(headers)?,
        shown: shown(headers)?,
        wrap: wrap(headers)?,
        headers: recorded(node, headers),
        remote: peer.address,
        certificates: peer.certificates,
        media: media(headers),
        head: false,
        arrived: node.now(),
    })
}

/// An OCSP request as the field it is on routes that take it.
fn ocsp_fields(body: &[u8]) -> Result<Fields, Refusal> {
    if body.len() > MOST_OCSP {
        return Err(Refusal::invalid(format!("an OCSP request may have at most {MOST_OCSP} bytes")));
    }
    Ok(Fields::from_pairs([("req", &*BASE64.encode(body))].into_iter()))
}

fn is_json(body: &[u8]) -> bool {
    body.trim_ascii_start().first().is_none_or(|byte| *byte == b'{')
}

/// A form as applications send it to an OAuth token endpoint (RFC 6749, appendix B).
fn form_fields(body: &[u8]) -> Result<Fields, Refusal> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Refusal::invalid("the form is not UTF-8 in percent-encoding (RFC 3986)"))?;
    let pairs = parse_query(text.trim());
    Ok(Fields::from_pairs(pairs.iter().map(|(name, value)| (&**name, &**value))))
}

/// What the client shows of itself besides a token.
fn shown(headers: &HeaderMap) -> Result<Shown, Refusal> {
    let basic = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, encoded) = value.to_str().ok()?.trim().split_once(' ')?;
        let plain = BASE64.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        String::from_utf8(plain).ok().map(Secret::new)
    });
    let factor = |value: &HeaderValue| {
        let text = value.to_str().map(|text| Secret::new(text.trim().to_owned()));
        text.map_err(|_| Refusal::invalid("X-Vault-MFA has characters that are not ASCII"))
    };
    let factors = headers.get_all("x-vault-mfa").iter().map(factor).collect::<Result<Vec<_>, _>>()?;
    Ok(Shown { basic, factors })
}

/// The headers that audit records show.
fn recorded(node: &Node, headers: &HeaderMap) -> Vec<(String, String)> {
    let shown = node.recorded_headers();
    let values = |name: &String| {
        let values =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        values.map(|value| (name.clone(), value)).collect::<Vec<_>>()
    };
    shown.iter().flat_map(values).collect()
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("")
}

fn media(headers: &HeaderMap) -> Media {
    match content_type(headers).split(';').next().unwrap_or("").trim() {
        "application/merge-patch+json" => Media::MergePatch,
        "application/jose+json" => Media::Jose,
        _ => Media::Json,
    }
}

fn token(headers: &HeaderMap) -> Result<Option<Secret<String>>, Refusal> {
    let readable = |value: &HeaderValue| {
        let text = value.to_str().map(str::trim);
        text.map(str::to_owned).map_err(|_| Refusal::invalid("the token has characters that are not ASCII"))
    };
    if let Some(value) = headers.get("x-vault-token") {
        let token = readable(value)?;
        if !token.is_empty() {
            return Ok(Some(Secret::new(token)));
        }
    }
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = readable(value)?;
    let bearer = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Ok(bearer
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty())
        .map(|token| Secret::new(token.to_owned())))
}

fn wrap(headers: &HeaderMap) -> Result<Option<Wrap>, Refusal> {
    let Some(value) = headers.get("x-vault-wrap-ttl") else { return Ok(None) };
    let text = value.to_str().unwrap_or("?");
    let ttl =
        parse_duration(text).map_err(|why| Refusal::invalid(format!("invalid X-Vault-Wrap-TTL: {why}")))?;
    if let Some(format) = headers.get("x-vault-wrap-format")
        && !format.is_empty()
    {
        return Err(Refusal::invalid(
            "X-Vault-Wrap-Format: only plain wrapping tokens are available; leave it out",
        ));
    }
    Ok((!ttl.is_zero()).then_some(Wrap { ttl }))
}

fn parse_query(query: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let decode = |text: &str| percent_decode(&text.replace('+', " ")).unwrap_or_default();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (Cow::Owned(decode(name)), Cow::Owned(decode(value))))
        .collect()
}

/// Percent-decoding (RFC 3986, section 2.1); none when it is malformed or not UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone_once() {
        for (text, wanted) in [
            ("a/b", Some("a/b")),
            ("a%20b", Some("a b")),
            ("a%2Fb", Some("a/b")),
            ("%25%32%30", Some("%20")),
            ("%e2%82%ac", Some("€")),
            ("%ff", None),
            ("%2", None),
            ("%zz", None),
        ] {
            assert_eq!(percent_decode(text).as_deref(), wanted, "{text}");
        }
        assert_eq!(
            parse_query("a=1&b=x+y&c&=&d=%26"),
            [
                ("a".into(), "1".into()),
                ("b".into(), "x y".into()),
                ("c".into(), "".into()),
                ("".into(), "".into()),
                ("d".into(), "&".into()),
            ] as [(Cow<'_, str>, Cow<'_, str>); 5]
        );
    }
}
