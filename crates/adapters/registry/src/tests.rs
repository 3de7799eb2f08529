//! Registries that do what none should, scripted.

use crate::{Access, Credential, Error, Keychain, Registry, Repository, Session};
use keyward_crypto::sha256;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

type Script = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A server that answers what a script makes of the head of each request; nothing where it makes nothing.
async fn serve(script: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script: Script = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let script = script.clone();
            tokio::spawn(async move {
                let mut read = vec![0; 16 << 10];
                while let Ok(length @ 1..) = stream.read(&mut read).await {
                    let head = String::from_utf8_lossy(&read[..length]).into_owned();
                    // Who begins with TLS is told that this is not it.
                    if !head.starts_with("GET") {
                        return;
                    }
                    match script(&head) {
                        Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap_or_default(),
                        None => std::future::pending().await,
                    }
                }
            });
        }
    });
    port
}

fn ok(body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

fn status(line: &str, header: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {line}\r\n{header}content-length: 0\r\n\r\n"))
}

fn digest(text: &str) -> String {
    format!("sha256:{}", hex::encode(sha256(text.as_bytes())))
}

fn session<'r>(registry: &'r Registry, port: u16, keychain: Keychain) -> Session<'r> {
    let repository = Repository::new(&format!("127.0.0.1:{port}"), "app").unwrap();
    registry.session(&repository, &Access { insecure: false, keychain: Arc::new(keychain) })
}

#[tokio::test]
async fn contents_are_held_against_their_digest() {
    let registry = Registry::new();
    let port = serve(|_| ok(r#"{"layers":[]}"#)).await;
    let session = session(&registry, port, Keychain::default());
    let right = digest(r#"{"layers":[]}"#);
    assert_eq!(session.manifest(&right).await.unwrap().digest, right);
    assert_eq!(session.manifest("tag").await.unwrap().digest, right);
    let wrong = session.manifest(&digest("x")).await.unwrap_err();
    assert!(matches!(&wrong, Error::Unusable(why) if why.contains("another digest")), "{wrong}");
}

#[tokio::test]
async fn hostile_manifests_are_no_manifests() {
    let registry = Registry::new();
    let deep = "[".repeat(100_000);
    let many = format!(
        r#"{{"manifests":[{}]}}"#,
        vec![format!(r#"{{"digest":"{}","artifactType":"k"}}"#, digest("x")); 51].join(",")
    );
    let huge = " ".repeat(5 << 20);
    let port = serve(move |head| match head {
        _ if head.contains("/deep") => ok(&deep),
        _ if head.contains("/list") => ok("[1]"),
        _ if head.contains("/huge") => ok(&huge),
        _ if head.contains("/referrers/") => ok(&many),
        _ => status("404 Not Found", ""),
    })
    .await;
    let session = session(&registry, port, Keychain::default());
    for (reference, why) in [("deep", "not JSON"), ("list", "no JSON object"), ("huge", "bytes")] {
        let refused = session.manifest(reference).await.unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    assert!(session.manifest("none").await.unwrap_err().is_missing());
    let many = session.referrers(&digest("x"), |kind| kind == "k").await.unwrap_err().to_string();
    assert!(many.contains("more than 50"), "{many}");
    assert_eq!(session.referrers(&digest("x"), |kind| kind == "other").await.unwrap(), []);
}

#[tokio::test]
async fn redirects_have_an_end_and_do_not_carry_the_login() {
    let registry = Registry::new();
    let other = serve(|head| match head.to_lowercase().contains("authorization") {
        true => ok("told the login"),
        false => ok(r#"{"ok":true}"#),
    })
    .await;
    let port = serve(move |head| match head {
        _ if !head.contains("uthorization: Basic YTpi") && !head.contains("uthorization: basic") => {
            status("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n")
        }
        _ if head.contains("/round") => status("307 Elsewhere", "Location: /v2/app/manifests/round\r\n"),
        _ if head.contains("/file") => status("307 Elsewhere", "Location: file:///etc/passwd\r\n"),
        _ => status("307 Elsewhere", &format!("Location: http://127.0.0.1:{other}/x\r\n")),
    })
    .await;
    let mut keychain = Keychain::default();
    keychain.add(format!(r#"{{"auths":{{"127.0.0.1:{port}":{{"auth":"YTpi"}}}}}}"#).as_bytes()).unwrap();
    assert!(matches!(keychain.find(&format!("127.0.0.1:{port}"), "app"), Some(Credential::Basic(_))));
    let session = session(&registry, port, keychain);
    assert_eq!(session.manifest("there").await.unwrap().value["ok"], true);
    for (reference, why) in [("round", "more than 3 times"), ("file", "no https URL")] {
        let refused = session.manifest(reference).await.unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
}

#[tokio::test]
async fn a_token_is_had_where_the_registry_says() {
    let registry = Registry::new();
    let tokens = serve(|head| match head.contains("scope=repository%3Aapp%3Apull") {
        true => ok(r#"{"token":"abc"}"#),
        false => status("400 Bad Request", ""),
    })
    .await;
    let port = serve(move |head| match head.to_lowercase().contains("authorization: bearer abc") {
        true => ok(r#"{"ok":true}"#),
        false => status(
            "401 Unauthorized",
            &format!("WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{tokens}/token\",service=\"s\"\r\n"),
        ),
    })
    .await;
    let plain = session(&registry, port, Keychain::default());
    assert_eq!(plain.manifest("there").await.unwrap().value["ok"], true);
    let refusing = serve(|_| status("401 Unauthorized", "WWW-Authenticate: Basic\r\n")).await;
    let refused = session(&registry, refusing, Keychain::default()).manifest("x").await.unwrap_err();
    assert!(matches!(&refused, Error::Refused(why) if why.contains("no credentials")), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_silent_is_left_alone() {
    let registry = Registry::new();
    let port = serve(|_| None).await;
    let began = tokio::time::Instant::now();
    let late = session(&registry, port, Keychain::default()).manifest("x").await.unwrap_err();
    assert!(matches!(&late, Error::Unreachable(why) if why.contains("no answer")), "{late}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // Whoever comes next does not wait.
    let (real, paused) = (Instant::now(), tokio::time::Instant::now());
    let next = session(&registry, port, Keychain::default()).manifest("y").await.unwrap_err();
    assert!(next.to_string().contains("left alone"), "{next}");
    assert!(real.elapsed() < Duration::from_secs(5) && paused.elapsed() < Duration::from_secs(1));
}

#[test]
fn repositories_are_of_a_host_and_a_path() {
    let parse = |text: &str| Repository::parse(text).map(|one| one.to_string());
    assert_eq!(parse("nginx"), Some("docker.io/library/nginx".to_owned()));
    assert_eq!(parse("index.docker.io/team/app"), Some("docker.io/team/app".to_owned()));
    assert_eq!(parse("Registry.example.com:5000/a/b"), Some("registry.example.com:5000/a/b".to_owned()));
    for text in [
        "",
        "a/../b",
        "registry..",
        "a..b",
        "-a/b",
        "example.com/",
        "example.com//x",
        "example.com/a?b",
        "example.com@evil/a",
        "x.y/A",
    ] {
        assert_eq!(parse(text), None, "{text}");
    }
}
