//! The floor: a server of the same HTTP library and the same headers that only answers, or makes a certificate before. Over TLS it
//! is a webhook that allows everything: it reads a review to answer with its uid.

use crate::Failure;
use crate::certificate::Issuer;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use keyward_tls::{Clients, TlsFiles, configure};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// What starts one whose answers have `body` bytes.
pub(crate) fn command(body: usize) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare", &body.to_string()]);
    Ok(command)
}

/// The same that makes a certificate for each answer, which it does not send.
pub(crate) fn certifying(body: usize) -> Result<Command, Failure> {
    let mut command = command(body)?;
    command.arg("--certify");
    Ok(command)
}

/// Serves until it is ended; over TLS with a certificate and its key.
pub(crate) fn run(body: usize, certify: bool, tls: Option<(PathBuf, PathBuf)>) -> Result<(), Failure> {
    let acceptor = tls.map(|(certificate, key)| {
        let files = TlsFiles { certificate, key, clients: Clients::Silent, tls12: false };
        configure(&files).map(TlsAcceptor::from)
    });
    let acceptor = acceptor.transpose()?;
    let issuer = certify.then(Issuer::new).transpose()?.map(Arc::new);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(body, issuer, acceptor))
}

async fn serve(
    body: usize,
    issuer: Option<Arc<Issuer>>,
    acceptor: Option<TlsAcceptor>,
) -> Result<(), Failure> {
    let body = Bytes::from(vec![b'x'; body]);
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let listener = socket.listen(4096)?;
    println!("Address: {}\n", listener.local_addr()?);
    std::io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (body, issuer, acceptor) = (body.clone(), issuer.clone(), acceptor.clone());
        tokio::spawn(async move {
            match acceptor {
                None => {
                    let answer = move |_| {
                        let made = issuer.as_ref().map_or(Ok(()), |issuer| issuer.issue());
                        made.is_ok().then(|| body.clone())
                    };
                    connection(stream, answer).await;
                }
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        connection(stream, allow).await;
                    }
                }
            }
        });
    }
}

/// What a webhook answers that allows everything.
fn allow(review: Bytes) -> Option<Bytes> {
    let review: Value = serde_json::from_slice(&review).unwrap_or_default();
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": review["request"]["uid"], "allowed": true},
    });
    Some(answer.to_string().into())
}

/// What has no answer ends the measurement.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Bytes) -> Option<Bytes> + Clone,
) {
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let answer = answer.clone();
        async move {
            let asked = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
            let answered = answer(asked.unwrap_or_default());
            let status = if answered.is_some() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
            let mut response = http::Response::new(Full::new(answered.unwrap_or_default()));
            *response.status_mut() = status;
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(
                header::STRICT_TRANSPORT_SECURITY,
                HeaderValue::from_static("max-age=31536000; includeSubDomains"),
            );
            Ok::<_, Infallible>(response)
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
