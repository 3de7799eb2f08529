//! The client against a server of our own making, over TCP, TLS and a Unix socket.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use keyward_authority_client::{
    Address, Body, Client, ClientConfig, ClientError, KubernetesLogin, Method, RequestOptions, Workload,
};
use keyward_crypto::Secret;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

/// What the server saw and what it is to answer.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Response<Full<Bytes>>>>,
    seen: Mutex<Vec<(String, http::HeaderMap, Bytes)>>,
    connections: Mutex<usize>,
}

impl Script {
    fn answering(answers: Vec<Response<Full<Bytes>>>) -> Arc<Script> {
        Arc::new(Script { answers: Mutex::new(answers.into()), ..Script::default() })
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(line, ..)| line.clone()).collect()
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self: Arc<Self>, stream: S) {
        *self.connections.lock().unwrap() += 1;
        let service = service_fn(move |request: Request<Incoming>| {
            let script = self.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                script.seen.lock().unwrap().push((
                    format!("{} {}", head.method, head.uri),
                    head.headers,
                    body,
                ));
                let answer = script.answers.lock().unwrap().pop_front();
                Ok::<_, Infallible>(answer.unwrap_or_else(|| answer_of(200, "{}")))
            }
        });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }
}

fn answer_of(status: u16, body: &str) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

async fn tcp(script: Arc<Script>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script.clone().serve(stream));
        }
    });
    address
}

fn config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new(Address::parse(address).unwrap());
    config.timeout = Duration::from_secs(20);
    config
}

async fn get(client: &Client, path: &str) -> Result<keyward_authority_client::Reply, ClientError> {
    client.request(Method::Get, path, None, &RequestOptions::default()).await
}

#[tokio::test]
async fn a_request_carries_what_it_must() {
    let script = Script::answering(vec![answer_of(200, r#"{"data":{"x":1},"warnings":["careful"]}"#)]);
    let mut config = config(&tcp(script.clone()).await);
    config.token = Some(Secret::new("hvs.own".to_owned()));
    config.namespace = "team".to_owned();
    let client = Client::new(config).unwrap();
    let value = serde_json::json!({"data": {"a": "b"}});
    let reply = client
        .request(Method::Post, "secret/data/my app", Some(Body::Json(&value)), &RequestOptions::default())
        .await
        .unwrap();
    assert_eq!(reply.data(), Some(serde_json::json!({"x": 1})));
    assert_eq!(reply.warnings(), ["careful"]);
    let options = RequestOptions {
        wrap_ttl: Some(Duration::from_secs(60)),
        token: Some(Secret::new("hvs.other".to_owned())),
        query: vec![("version".to_owned(), "2".to_owned())],
        headers: vec![("X-Extra".to_owned(), "1".to_owned())],
        content_type: None,
    };
    client.request(Method::Patch, "secret/data/x", Some(Body::Raw(b"{}")), &options).await.unwrap();
    client.request(Method::List, "secret/metadata/", None, &RequestOptions::default()).await.unwrap();
    assert_eq!(
        script.seen(),
        [
            "POST /v1/secret/data/my%20app",
            "PATCH /v1/secret/data/x?version=2",
            "GET /v1/secret/metadata/?list=true"
        ]
    );
    let seen = script.seen.lock().unwrap();
    let header = |at: usize, name: &str| seen[at].1.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header(0, "x-vault-token").as_deref(), Some("hvs.own"));
    assert_eq!(header(0, "x-vault-namespace").as_deref(), Some("team"));
    assert_eq!(header(0, "content-type").as_deref(), Some("application/json"));
    assert_eq!(header(0, "x-vault-request").as_deref(), Some("true"));
    assert_eq!(seen[0].2, r#"{"data":{"a":"b"}}"#);
    assert_eq!(header(1, "x-vault-token").as_deref(), Some("hvs.other"));
    assert_eq!(header(1, "x-vault-wrap-ttl").as_deref(), Some("60"));
    assert_eq!(header(1, "content-type").as_deref(), Some("application/merge-patch+json"));
    assert_eq!(header(1, "x-extra").as_deref(), Some("1"));
    assert_eq!(*script.connections.lock().unwrap(), 1, "the connection is kept alive");
}

#[tokio::test]
async fn errors_are_told_by_blame() {
    let script = Script::answering(vec![
        answer_of(400, r#"{"errors":["no data provided"]}"#),
        answer_of(403, r#"{"errors":["permission denied"]}"#),
        answer_of(404, r#"{"data":{"data":null}}"#),
        answer_of(503, r#"{"errors":["Vault is sealed"]}"#),
        answer_of(500, "oops"),
    ]);
    let mut config = config(&tcp(script).await);
    config.max_retries = 0;
    let client = Client::new(config).unwrap();
    let bad = get(&client, "a").await.unwrap_err();
    assert_eq!(bad.to_string(), "GET a: no data provided [400] (correct the request)");
    assert!(matches!(get(&client, "a").await, Err(ClientError::Denied(_))));
    let gone = get(&client, "a").await.unwrap_err();
    assert!(matches!(&gone, ClientError::NotFound(_)));
    assert_eq!(gone.rejection().unwrap().reply.data(), Some(serde_json::json!({"data": null})));
    assert!(matches!(get(&client, "a").await, Err(ClientError::Sealed(_))));
    let broken = get(&client, "a").await.unwrap_err();
    assert!(matches!(&broken, ClientError::Server(_)));
    assert!(broken.to_string().starts_with("GET a: Internal Server Error [500]"), "{broken}");
}

#[tokio::test]
async fn repeats_as_asked() {
    let soon = |status| {
        let mut answer = answer_of(status, "{}");
        answer.headers_mut().insert("retry-after", "0".parse().unwrap());
        answer
    };
    let script = Script::answering(vec![
        soon(429),
        soon(503),
        answer_of(200, "{}"),
        soon(501),
        soon(412),
        soon(412),
        soon(412),
    ]);
    let client = Client::new(config(&tcp(script.clone()).await)).unwrap();
    assert_eq!(get(&client, "a").await.unwrap().status, 200);
    assert_eq!(script.seen().len(), 3);
    assert!(matches!(get(&client, "a").await, Err(ClientError::Server(_))), "501 is final");
    assert_eq!(script.seen().len(), 4);
    assert!(matches!(get(&client, "a").await, Err(ClientError::BadRequest(_))), "three times in all");
    assert_eq!(script.seen().len(), 7);
}

#[tokio::test]
async fn a_write_cut_off_is_not_repeated() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(Mutex::new(0));
    let counter = accepted.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            *counter.lock().unwrap() += 1;
            let mut some = [0u8; 16];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut some).await;
            let _ = stream.shutdown().await;
        }
    });
    let client = Client::new(config(&address)).unwrap();
    let error = client.request(Method::Post, "a", None, &RequestOptions::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert_eq!(*accepted.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced() {
    let script = Script::answering(vec![]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = script.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Each connection lives for a tenth of a second.
            let _ = tokio::time::timeout(Duration::from_millis(100), server.clone().serve(stream)).await;
        }
    });
    let mut config = config(&address);
    config.max_retries = 0;
    let client = Client::new(config).unwrap();
    for _ in 0..3 {
        client.request(Method::Post, "a", None, &RequestOptions::default()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(*script.connections.lock().unwrap(), 3);
}

#[tokio::test]
async fn silence_and_absence_are_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let mut silent = config(&address);
    silent.timeout = Duration::from_millis(100);
    let error = get(&Client::new(silent).unwrap(), "a").await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
    drop(listener);
    let mut absent = config(&address);
    absent.max_retries = 0;
    let error = get(&Client::new(absent).unwrap(), "a").await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("VAULT_ADDR"), "{error}");
}

#[tokio::test]
async fn one_redirect_is_followed_and_none_that_changes_trust() {
    let active = Script::answering(vec![answer_of(200, r#"{"data":{"from":"active"}}"#)]);
    let active_address = tcp(active.clone()).await;
    let to = |location: String| {
        let mut answer = answer_of(307, "");
        answer.headers_mut().insert("location", location.parse().unwrap());
        answer
    };
    let standby = Script::answering(vec![
        to(format!("{active_address}/v1/secret/a?x=1")),
        to("https://127.0.0.1:1/v1/secret/a".to_owned()),
    ]);
    let client = Client::new(config(&tcp(standby).await)).unwrap();
    let value = serde_json::json!({"k": "v"});
    let reply = client
        .request(Method::Put, "secret/a", Some(Body::Json(&value)), &RequestOptions::default())
        .await
        .unwrap();
    assert_eq!(reply.data(), Some(serde_json::json!({"from": "active"})));
    assert_eq!(active.seen(), ["PUT /v1/secret/a?x=1"]);
    assert_eq!(active.seen.lock().unwrap()[0].2, r#"{"k":"v"}"#);
    let error = get(&client, "secret/a").await.unwrap_err();
    assert!(matches!(error, ClientError::NotUnderstood { .. }), "{error}");
}

#[tokio::test]
async fn a_unix_socket_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authority.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let script = Script::answering(vec![]);
    let server = script.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(server.clone().serve(stream));
        }
    });
    let client = Client::new(config(&format!("unix://{}", path.display()))).unwrap();
    get(&client, "sys/health").await.unwrap();
    assert_eq!(script.seen(), ["GET /v1/sys/health"]);
}

#[tokio::test]
async fn the_token_stays_out_of_errors() {
    let mut config = config("http://127.0.0.1:1");
    config.token = Some(Secret::new("canary\nbroken".to_owned()));
    let error = get(&Client::new(config).unwrap(), "a").await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
}

struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: rcgen::Issuer::new(params, key), pem }
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, rcgen::KeyPair) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// A TLS server for `localhost` that asks for a client certificate when `mutual`; tells which key exchange it saw.
async fn tls(authority: &Authority, mutual: bool) -> (String, Arc<Mutex<Vec<String>>>) {
    let (certificate, key) = authority.issue("localhost");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if mutual {
        let mut roots = rustls::RootCertStore::empty();
        let ca = rustls_pki_types::pem::PemObject::from_pem_slice(authority.pem.as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let groups = Arc::new(Mutex::new(Vec::new()));
    let seen = groups.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let session = stream.get_ref().1;
            let group = session.negotiated_key_exchange_group().unwrap().name();
            seen.lock().unwrap().push(format!("{:?} {group:?}", session.protocol_version().unwrap()));
            tokio::spawn(Script::answering(vec![]).serve(stream));
        }
    });
    (address, groups)
}

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn tls_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (address, groups) = tls(&ours, false).await;
    let mut trusted = config(&address);
    trusted.ca_file = Some(write(folder.path(), "ca.pem", &ours.pem));
    get(&Client::new(trusted).unwrap(), "a").await.unwrap();
    assert_eq!(*groups.lock().unwrap(), ["TLSv1_3 X25519MLKEM768"]);

    let folder_of_cas = folder.path().join("cas");
    std::fs::create_dir(&folder_of_cas).unwrap();
    write(&folder_of_cas, "ours.pem", &ours.pem);
    let mut by_path = config(&address);
    by_path.ca_path = Some(folder_of_cas);
    get(&Client::new(by_path).unwrap(), "a").await.unwrap();

    let mut by_text = config(&address);
    by_text.ca_pem = Some(ours.pem.clone());
    get(&Client::new(by_text).unwrap(), "a").await.unwrap();

    let mut foreign = config(&address);
    foreign.ca_file = Some(write(folder.path(), "other.pem", &theirs.pem));
    let error = get(&Client::new(foreign).unwrap(), "a").await.unwrap_err();
    assert!(matches!(error, ClientError::Untrusted { .. }), "{error}");

    let mut other_name = config(&address);
    other_name.ca_file = Some(write(folder.path(), "ca.pem", &ours.pem));
    other_name.tls_server_name = Some("elsewhere".to_owned());
    let error = get(&Client::new(other_name).unwrap(), "a").await.unwrap_err();
    assert!(matches!(error, ClientError::Untrusted { .. }), "{error}");

    let mut blind = config(&address);
    blind.skip_verify = true;
    get(&Client::new(blind).unwrap(), "a").await.unwrap();
}

#[tokio::test]
async fn a_workload_logs_in_when_it_must_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = write(folder.path(), "token", "eyJ.a.b\n");
    let login = |token: &str, life: u64| {
        answer_of(200, &format!(r#"{{"auth":{{"client_token":"{token}","lease_duration":{life}}}}}"#))
    };
    let script = Script::answering(vec![
        login("hvs.first", 3600),
        answer_of(200, "{}"),
        answer_of(403, r#"{"errors":["permission denied"]}"#),
    ]);
    let mut config = config(&tcp(script.clone()).await);
    config.token = Some(Secret::new("hvs.not-its-own".to_owned()));
    let kubernetes = KubernetesLogin { mount: "kubernetes".to_owned(), role: "web".to_owned(), token_file };
    let workload = Workload::new(config, kubernetes).unwrap();
    let ask = async || workload.request(Method::Get, "a", None, &RequestOptions::default()).await;
    ask().await.unwrap();
    // Whoever is refused right after a login is refused: a new one would change nothing.
    assert!(matches!(ask().await, Err(ClientError::Denied(_))));
    assert_eq!(script.seen(), ["POST /v1/auth/kubernetes/login", "GET /v1/a", "GET /v1/a"]);
    let seen = script.seen.lock().unwrap();
    let token = |at: usize| seen[at].1.get("x-vault-token").map(|value| value.to_str().unwrap());
    assert_eq!((token(0), token(1)), (None, Some("hvs.first")));
    assert_eq!(&seen[0].2[..], br#"{"jwt":"eyJ.a.b","role":"web"}"#);
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (address, _) = tls(&authority, true).await;
    let (certificate, key) = authority.issue("client");
    let mut known = config(&address);
    known.ca_file = Some(write(folder.path(), "ca.pem", &authority.pem));
    known.client_cert = Some(write(folder.path(), "client.pem", &certificate.pem()));
    known.client_key = Some(write(folder.path(), "client.key", &key.serialize_pem()));
    get(&Client::new(known).unwrap(), "a").await.unwrap();

    let mut unknown = config(&address);
    unknown.ca_file = Some(folder.path().join("ca.pem"));
    unknown.max_retries = 0;
    get(&Client::new(unknown).unwrap(), "a").await.unwrap_err();
}

#[tokio::test]
async fn unusable_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = write(folder.path(), "empty.pem", "");
    for file in [empty, folder.path().join("absent.pem")] {
        let mut config = config("https://localhost:1");
        config.ca_file = Some(file.clone());
        let error = Client::new(config).err().unwrap();
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn the_other_protocol_is_recognised() {
    let script = Script::answering(vec![]);
    let plain = tcp(script).await.replace("http://", "https://");
    let mut config_of_tls = config(&plain);
    config_of_tls.skip_verify = true;
    let error = get(&Client::new(config_of_tls).unwrap(), "a").await.unwrap_err();
    assert!(matches!(error, ClientError::NotUnderstood { .. }), "{error}");

    let (address, _) = tls(&Authority::new(), false).await;
    let mut config_of_plain = config(&address.replace("https://", "http://"));
    config_of_plain.max_retries = 0;
    let error = get(&Client::new(config_of_plain).unwrap(), "a").await.unwrap_err();
    assert!(error.to_string().contains("VAULT_ADDR"), "{error}");
}
