//! `keyward login --method=oidc`: a login through a browser, whose outcome comes to this machine.

use crate::cli::{Failure, Session};
use keyward_authority_client::{Method, Reply};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Where Vault's own command line listens, which roles allow.
const PORT: u64 = 8250;
const PATH: &str = "/oidc/callback";
/// How long somebody may take to sign in; the authority waits no longer.
const PATIENCE: Duration = Duration::from_secs(600);
/// For a browser to send its request, and bytes of it.
const REQUEST: Duration = Duration::from_secs(10);
const LONGEST: usize = 16 * 1024;

/// Begins the login at `mount`, waits for the browser, and completes it. Of `sent` it takes `role` and `port`.
pub(crate) async fn log_in(
    session: &Session,
    mount: &str,
    mut sent: Map<String, Value>,
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
    let nonce = hex::encode(keyward_core::random::bytes::<20>(&keyward_crypto::SystemRandom));
    sent.insert("redirect_uri".to_owned(), json!(format!("http://localhost:{port}{PATH}")));
    sent.insert("client_nonce".to_owned(), json!(nonce));
    let doing = "Error authenticating";
    let path = format!("auth/{mount}/oidc/auth_url");
    let begun = session.ask(doing, Method::Put, &path, Some(&Value::Object(sent))).await?;
    let body = begun.body().unwrap_or(Value::Null);
    let url = body.pointer("/data/auth_url").and_then(Value::as_str).unwrap_or_default();
    if url.is_empty() {
        return Err(Failure::Remote("the authority did not say where to sign in".to_owned()));
    }
    eprintln!("Sign in with a browser on this machine:\n\n    {url}\n\nWaiting for the browser...");
    let waited = timeout(PATIENCE, outcome(&listener)).await;
    let (mut stream, mut told) =
        waited.map_err(|_| Failure::Remote("nobody signed in within 10 minutes".to_owned()))?;
    told.insert("client_nonce".to_owned(), json!(nonce));
    let path = format!("auth/{mount}/oidc/callback");
    let done = session.ask(doing, Method::Put, &path, Some(&Value::Object(told))).await;
    let (status, said) = match &done {
        Ok(_) => ("200 OK", "You are signed in. Close this window and go back to the terminal."),
        Err(_) => ("400 Bad Request", "The login failed. The terminal says why."),
    };
    answer(&mut stream, status, said).await;
    done
}

/// The first request that brings an outcome, and what it says; others are turned away.
async fn outcome(listener: &TcpListener) -> (TcpStream, Map<String, Value>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        match timeout(REQUEST, target(&mut stream)).await.ok().flatten().as_deref().and_then(told) {
            Some(told) => return (stream, told),
            None => answer(&mut stream, "404 Not Found", "There is nothing here.").await,
        }
    }
}

/// What a request asks for, of a request that is a GET.
async fn target(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
        head.extend_from_slice(&part[..read]);
        if head.len() > LONGEST {
            return None;
        }
    }
    let head = String::from_utf8(head).ok()?;
    let target = head.strip_prefix("GET ")?.split(' ').next()?;
    Some(target.to_owned())
}

/// The parameters of the redirection.
fn told(target: &str) -> Option<Map<String, Value>> {
    let query = target.strip_prefix(PATH)?.strip_prefix('?')?;
    let pairs = query.split('&').filter_map(|pair| {
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
        let found = told("/oidc/callback?state=a%2Bb&code=x+y&session_state=z").unwrap();
        assert_eq!(Value::Object(found), json!({"state": "a+b", "code": "x y"}));
        for odd in ["/", "/favicon.ico", "/oidc/callback", "/oidc/callback?code=x", "/oidc/callbackx?state=a"]
        {
            assert_eq!(told(odd), None, "{odd}");
        }
        assert_eq!(told("/oidc/callback?state=%zz"), None);
    }
}
