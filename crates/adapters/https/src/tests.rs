use super::*;
use keyward_testkit::certificates::{Authority, CertifiedKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const LIMITS: Limits = Limits { duration: Duration::from_secs(20), body: 1024 };

/// A server on a loopback port that answers every connection's requests with `answer`, and passes on what it read.
async fn serve(key: Option<&CertifiedKey>, answer: String) -> (u16, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, requests) = unbounded_channel();
    let tls = key.map(|key| {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificate = CertificateDer::from_pem_slice(key.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.key.as_bytes()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (seen, answer) = (seen.clone(), answer.clone());
            match &tls {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        tokio::spawn(converse(stream, seen, answer));
                    }
                }
                None => {
                    tokio::spawn(converse(stream, seen, answer));
                }
            }
        }
    });
    (port, requests)
}

async fn converse<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    mut stream: S,
    seen: tokio::sync::mpsc::UnboundedSender<String>,
    answer: String,
) {
    let mut read = vec![0; 8192];
    while let Ok(length @ 1..) = stream.read(&mut read).await {
        let _ = seen.send(String::from_utf8_lossy(&read[..length]).into_owned());
        if answer.is_empty() {
            // Says nothing, and keeps the connection.
            continue;
        }
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn get(url: &str, trust: Trust) -> Ask<'_> {
    Ask { url, trust, authorization: None, accept: None, verb: Verb::Get }
}

#[tokio::test]
async fn asks_who_it_was_told_to_trust() {
    let (authority, stranger) = (Authority::new("ours").unwrap(), Authority::new("other").unwrap());
    let key = authority.issue("server", &[], &["localhost"]).unwrap();
    let (port, mut requests) = serve(Some(&key), answer("200 OK", "{}")).await;
    let client = Client::new(LIMITS);
    let trust = |authority: &Authority| Trust::Pem(authority.certificate().into());
    let url = format!("https://localhost:{port}/a?b=c");
    let ask = Ask {
        authorization: Some(Secret::new("Bearer abc".to_owned())),
        verb: Verb::Post { media_type: "application/json", body: "[1]" },
        ..get(&url, trust(&authority))
    };
    let reply = client.ask(&ask).await.unwrap();
    assert_eq!((reply.status, &reply.body[..]), (200, &b"{}"[..]));
    let request = requests.recv().await.unwrap().to_lowercase();
    for part in ["post /a?b=c http/1.1", "authorization: bearer abc", "content-type: application/json", "[1]"]
    {
        assert!(request.contains(part), "{part}: {request}");
    }
    client.ask(&Ask { verb: Verb::Delete, ..get(&url, trust(&authority)) }).await.unwrap();
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("DELETE /a?b=c HTTP/1.1"), "{request}");
    let refused = client.ask(&get(&url, trust(&stranger))).await;
    assert!(matches!(&refused, Err(Error::Unreachable(why)) if why.contains("certificate")), "{refused:?}");
    let elsewhere = format!("https://127.0.0.1:{port}/");
    assert!(matches!(client.ask(&get(&elsewhere, trust(&authority))).await, Err(Error::Unreachable(_))));
    let system = client.ask(&get(&url, Trust::System)).await;
    assert!(matches!(system, Err(Error::Unreachable(_))), "{system:?}");
}

#[tokio::test]
async fn any_status_is_an_answer_and_no_redirect_is_followed() {
    let client = Client::new(LIMITS);
    for (status, number) in [("404 Not Found", 404), ("500 Oops", 500), ("307 Elsewhere", 307)] {
        let (port, _requests) = serve(None, answer(status, "why")).await;
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(client.ask(&get(&url, Trust::System)).await.unwrap().status, number);
    }
}

#[tokio::test]
async fn long_late_and_broken_answers_are_given_up() {
    let client = Client::new(Limits { duration: Duration::from_millis(300), body: 1024 });
    let url = |port| format!("http://127.0.0.1:{port}/");
    let (port, _requests) = serve(None, answer("200 OK", &"x".repeat(1025))).await;
    assert_eq!(client.ask(&get(&url(port), Trust::System)).await, Err(Error::TooLong(1024)));
    let (port, _requests) = serve(None, String::new()).await;
    assert!(matches!(client.ask(&get(&url(port), Trust::System)).await, Err(Error::Late(_))));
    let (port, _requests) = serve(None, "no http\r\n\r\n".to_owned()).await;
    assert!(matches!(client.ask(&get(&url(port), Trust::System)).await, Err(Error::Broken(_))));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    assert!(matches!(client.ask(&get(&url(closed), Trust::System)).await, Err(Error::Unreachable(_))));
}

#[tokio::test]
async fn what_cannot_be_asked_is_told() {
    let client = Client::new(LIMITS);
    for url in ["", "x", "/path", "ftp://host/", "https://", "https:///x"] {
        assert_eq!(client.ask(&get(url, Trust::System)).await, Err(Error::BadUrl), "{url}");
    }
    for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let refused = client.ask(&get("https://localhost:1/", Trust::Pem(pem.into()))).await;
        assert!(matches!(refused, Err(Error::BadTrust(_))), "{pem}");
    }
    let ask = Ask {
        authorization: Some(Secret::new("Bearer a\nb".to_owned())),
        ..get("https://localhost:1/", Trust::System)
    };
    assert_eq!(client.ask(&ask).await, Err(Error::BadCredential));
}
