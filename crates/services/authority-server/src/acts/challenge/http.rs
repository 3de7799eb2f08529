//! Fetching the document of an http-01 challenge (RFC 8555, section 8.3), with redirects.

use super::{Reach, connect, tls};
use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, LOCATION, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use keyward_authority::act::challenge::{LONGEST_ANSWER, Seen};
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};

/// Redirects that are followed, as in Vault.
const REDIRECTS: usize = 10;
/// The longest URL that is followed, in bytes, as in Vault.
const LONGEST_URL: usize = 2000;

/// Where the next request goes to.
struct Target {
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

pub(super) async fn get(
    reach: &Reach,
    resolver: Option<SocketAddr>,
    host: &str,
    path: &str,
) -> Result<Seen, String> {
    let mut target =
        Target { secure: false, host: host.to_owned(), port: reach.http_port, path: path.to_owned() };
    for _ in 0..=REDIRECTS {
        let stream = connect(reach, resolver, &target.host, target.port).await?;
        let answer = match target.secure {
            true => ask(tls::unverified(stream, &target.host).await?, &target).await?,
            false => ask(stream, &target).await?,
        };
        if !answer.status().is_redirection() {
            let status = answer.status().as_u16();
            return Ok(Seen::Http { status, body: beginning(answer.into_body()).await? });
        }
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or("the server redirects to nowhere")?;
        target =
            next(reach, &target, location).ok_or("the server redirects to where no challenge may lead")?;
    }
    Err(format!("the server redirects more than {REDIRECTS} times"))
}

/// Where `location` leads from `from`: to the ports of HTTP and HTTPS only.
fn next(reach: &Reach, from: &Target, location: &str) -> Option<Target> {
    if location.len() > LONGEST_URL {
        return None;
    }
    let uri: Uri = location.parse().ok()?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let Some(scheme) = uri.scheme_str() else {
        // An absolute path on the same host; a host without a scheme is none.
        let same = Target { path, host: from.host.clone(), ..*from };
        return (location.starts_with('/') && !location.starts_with("//")).then_some(same);
    };
    let secure = match scheme {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let usual = if secure { reach.tls_port } else { reach.http_port };
    let port = match uri.port_u16() {
        None => usual,
        Some(port) if [80, 443, reach.http_port, reach.tls_port].contains(&port) => port,
        Some(_) => return None,
    };
    Some(Target { secure, host: uri.host()?.to_owned(), port, path })
}

async fn ask<S>(stream: S, target: &Target) -> Result<http::Response<Incoming>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |_| "the server's answer is no HTTP".to_owned();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with the answer, or when nobody waits for that any more.
    tokio::spawn(connection);
    let unfit = "the server redirects to what is no URL";
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = target.path.parse().map_err(|_| unfit)?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::try_from(&target.host).map_err(|_| unfit)?);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("keyward/", env!("CARGO_PKG_VERSION"))));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    sender.send_request(request).await.map_err(broken)
}

/// As much of the body as matters, and one byte more if there is more.
async fn beginning(mut body: Incoming) -> Result<Vec<u8>, String> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| "the server's answer broke off".to_owned())?;
        read.extend_from_slice(frame.data_ref().map_or(&[], |data| data.as_ref()));
        if read.len() > LONGEST_ANSWER {
            read.truncate(LONGEST_ANSWER + 1);
            break;
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_the_ports_of_the_web_alone() {
        let reach = Reach { http_port: 8080, ..Reach::default() };
        let from = Target { secure: true, host: "a.example".to_owned(), port: 443, path: "/x".to_owned() };
        let to = |location: &str| {
            next(&reach, &from, location)
                .map(|target| format!("{} {}:{}{}", target.secure, target.host, target.port, target.path))
        };
        for (location, wanted) in [
            ("/y?z", Some("true a.example:443/y?z")),
            ("http://b.example/y", Some("false b.example:8080/y")),
            ("https://b.example", Some("true b.example:443/")),
            ("http://b.example:80/", Some("false b.example:80/")),
            ("http://[2001:db8::1]/", Some("false [2001:db8::1]:8080/")),
            ("http://b.example:22/", None),
            ("ftp://b.example/", None),
            ("//b.example/y", None),
            ("b.example", None),
            ("", None),
        ] {
            assert_eq!(to(location).as_deref(), wanted, "{location}");
        }
        assert!(to(&format!("/{}", "x".repeat(LONGEST_URL))).is_none());
    }
}
