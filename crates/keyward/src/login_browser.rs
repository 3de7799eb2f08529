//! `keyward login --method=oidc`: a login through a browser, whose outcome comes to this machine.

use crate::cli::{Failure, Session};
use keyward_authority_client::{Method, Reply, RequestOptions};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// Where Vault's own command line listens, which roles allow.
const PORT: u64 = 8250;
const PATH: &str = "/oidc/callback";
const DOING: &str = "Error authenticating";
/// How long somebody may take to sign in; the authority waits no longer.
const PATIENCE: Duration = Duration::from_secs(600);
/// For a browser to send its request, and bytes of it.
const REQUEST: Duration = Duration::from_secs(10);
const LONGEST: usize = 16 * 1024;

/// Begins the login at `mount`, waits for somebody to sign in, and completes it. Of `sent` it takes `callbackmode`, which must
/// be that of the role, `port` and `redirect_uri`; `role` is the authority's.
pub(crate) async fn log_in(
    session: &Session,
    mount: &str,
    mut sent: Map<String, Value>,
) -> Result<Reply, Failure> {
    let mode = sent.remove("callbackmode");
    let nonce = hex::encode(keyward_core::random::bytes::<20>(&keyward_crypto::SystemRandom));
    sent.insert("client_nonce".to_owned(), json!(nonce));
    match mode.as_ref().and_then(Value::as_str).unwrap_or("client") {
        "client" => by_redirection(session, mount, sent, &nonce).await,
        "direct" => {
            let own = format!("{}/v1/auth/{mount}{PATH}", session.client.address());
            sent.entry("redirect_uri").or_insert_with(|| json!(own));
            by_asking(session, mount, sent, &nonce).await
        }
        "device" => by_asking(session, mount, sent, &nonce).await,
        _ => Err(Failure::Usage("callbackmode must be client, direct or device".to_owned())),
    }
}

/// Where to sign in, as the authority says, with all that it says.
async fn begin(session: &Session, mount: &str, sent: Map<String, Value>) -> Result<(String, Value), Failure> {
    let path = format!("auth/{mount}/oidc/auth_url");
    let begun = session.ask(DOING, Method::Put, &path, Some(&Value::Object(sent))).await?;
    let data = begun.data().unwrap_or_default();
    match data.get("auth_url").and_then(Value::as_str).filter(|url| !url.is_empty()) {
        Some(url) => Ok((url.to_owned(), data)),
        None => Err(Failure::Remote("the authority did not say where to sign in".to_owned())),
    }
}

/// The browser comes to this machine.
async fn by_redirection(
    session: &Session,
    mount: &str,
    mut sent: Map<String, Value>,
    nonce: &str,
) -> Result<Reply, Failure> {
    let port = match sent.remove("port") {
        None => PORT,
        Some(port) => {
            let number = port.as_u64().or_else(|| port.as_str()?.parse().ok());
            number.ok_or_else(|| Failure::Usage("port must be a number".to_owned()))?
        }
    };
    let refused = |why: std::io::Error| {
        Failure::Usage(format!(
            "cannot listen on port {port} for the browser: {why}; choose another with port=..."
        ))
    };
    let port = u16::try_from(port).map_err(|_| Failure::Usage("port must be at most 65535".to_owned()))?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(refused)?;
    let port = listener.local_addr().map_err(refused)?.port();
    sent.entry("redirect_uri").or_insert_with(|| json!(format!("http://localhost:{port}{PATH}")));
    let (url, begun) = begin(session, mount, sent).await?;
    if begun.get("state").is_some() {
        return Err(Failure::Usage(
            "the browser does not come here after logins to this role: say callbackmode=direct or callbackmode=device, as \
             the role does"
                .to_owned(),
        ));
    }
    eprintln!("Sign in with a browser on this machine:\n\n    {url}\n\nWaiting for the browser...");
    let waited = timeout(PATIENCE, outcome(&listener)).await;
    let (mut stream, mut told) = waited.map_err(|_| nobody())?;
    told.insert("client_nonce".to_owned(), json!(nonce));
    let pair = |(name, value): (String, Value)| value.as_str().map(|text| (name, text.to_owned()));
    let options =
        RequestOptions { query: told.into_iter().filter_map(pair).collect(), ..RequestOptions::default() };
    let path = format!("auth/{mount}/oidc/callback");
    let done = session.ask_with(DOING, Method::Get, &path, None, &options).await;
    let (status, said) = match &done {
        Ok(_) => ("200 OK", "You are signed in. Close this window and go back to the terminal."),
        Err(_) => ("400 Bad Request", "The login failed. The terminal says why."),
    };
    answer(&mut stream, status, said).await;
    done
}

fn nobody() -> Failure {
    Failure::Remote("nobody signed in within 10 minutes".to_owned())
}

/// The browser comes to the authority, or somebody signs in with another machine.
async fn by_asking(
    session: &Session,
    mount: &str,
    sent: Map<String, Value>,
    nonce: &str,
) -> Result<Reply, Failure> {
    let (url, begun) = begin(session, mount, sent).await?;
    let said = |name: &str| begun.get(name).and_then(Value::as_str);
    let Some(state) = said("state") else {
        return Err(Failure::Usage(
            "the browser comes here after logins to this role: leave callbackmode out".to_owned(),
        ));
    };
    eprintln!("Sign in with a browser:\n\n    {url}\n");
    if let Some(code) = said("user_code") {
        eprintln!("and enter the code {code} there.\n");
    }
    eprintln!("Waiting...");
    let mut pause =
        Duration::from_secs(said("poll_interval").and_then(|text| text.parse().ok()).unwrap_or(5));
    let asked = json!({ "state": state, "client_nonce": nonce });
    let path = format!("auth/{mount}/oidc/poll");
    let done = async {
        loop {
            sleep(pause).await;
            match session.ask(DOING, Method::Put, &path, Some(&asked)).await {
                Err(Failure::Remote(why)) if why.contains("authorization_pending") => {}
                Err(Failure::Remote(why)) if why.contains("slow_down") => pause *= 2,
                done => return done,
            }
        }
    };
    timeout(PATIENCE, done).await.map_err(|_| nobody())?
}

/// The first request that brings an outcome, and what it says; others are turned away.
async fn outcome(listener: &TcpListener) -> (TcpStream, Map<String, Value>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        match timeout(REQUEST, request(&mut stream)).await.ok().flatten().as_deref().and_then(told) {
            Some(told) => return (stream, told),
            None => answer(&mut stream, "404 Not Found", "There is nothing here.").await,
        }
    }
}

/// A request, whole: its head, and what its `Content-Length` says of a body.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    let mut part = [0; 1024];
    while !is_whole(&read) {
        let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
        read.extend_from_slice(&part[..count]);
        if read.len() > LONGEST {
            return None;
        }
    }
    String::from_utf8(read).ok()
}

fn is_whole(read: &[u8]) -> bool {
    let Some(end) = read.windows(4).position(|end| end == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&read[..end]);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    read.len() >= (end + 4).saturating_add(length.unwrap_or(0))
}

/// What a request brings of the outcome: in its query, or in a form (OAuth 2.0 Form Post Response Mode).
fn told(request: &str) -> Option<Map<String, Value>> {
    let (head, body) = request.split_once("\r\n\r\n")?;
    let mut first = head.lines().next()?.split(' ');
    let (method, target) = (first.next()?, first.next()?);
    let rest = target.strip_prefix(PATH)?;
    let form = match (method, rest) {
        ("GET", query) => query.strip_prefix('?')?,
        ("POST", "") => body,
        _ => return None,
    };
    let pairs = form.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let wanted = ["state", "code", "error", "error_description"].contains(&name);
        wanted.then(|| Some((name.to_owned(), Value::from(decode(value)?))))?
    });
    let told: Map<String, Value> = pairs.collect();
    told.contains_key("state").then_some(told)
}

/// A value of a form (WHATWG URL, application/x-www-form-urlencoded).
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(out).ok()
}

async fn answer(stream: &mut TcpStream, status: &str, said: &str) {
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: \
         no-store\r\nConnection: close\r\n\r\n{said}",
        said.len()
    );
    // A browser that is gone misses nothing.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_is_read() {
        let found = told("GET /oidc/callback?state=a%2Bb&code=x+y&session_state=z HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(Value::Object(found), json!({"state": "a+b", "code": "x y"}));
        for odd in ["/", "/favicon.ico", "/oidc/callback", "/oidc/callback?code=x", "/oidc/callbackx?state=a"]
        {
            assert_eq!(told(&format!("GET {odd} HTTP/1.1\r\n\r\n")), None, "{odd}");
        }
        for odd in
            ["GET", "GET /oidc/callback?state=%zz HTTP/1.1\r\n\r\n", "PUT /oidc/callback?state=a\r\n\r\n"]
        {
            assert_eq!(told(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_form_is_read_when_it_is_whole() {
        let text = "POST /oidc/callback HTTP/1.1\r\ncontent-LENGTH: 17\r\n\r\nstate=a%2Bb&code=x";
        let end = text.len() - 1;
        for at in 0..end {
            assert!(!is_whole(&text.as_bytes()[..at]), "{at}");
        }
        assert!(is_whole(&text.as_bytes()[..end]));
        assert_eq!(Value::Object(told(text).unwrap()), json!({"state": "a+b", "code": "x"}));
        assert_eq!(told("POST /oidc/callback?state=a HTTP/1.1\r\n\r\ncode=x"), None);
        assert!(is_whole(b"GET / HTTP/1.1\r\n\r\n"));
    }
}
