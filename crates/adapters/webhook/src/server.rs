//! The HTTPS server: connections to reviews, reviews to answers.

use crate::certificate::Certificate;
use crate::review::{Answer, Review};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// How long running reviews may take once the server is told to stop: no API server waits longer.
const DRAIN: Duration = Duration::from_secs(30);
/// What the API server is given less than it waits for, for the way back.
const WAY_BACK: Duration = Duration::from_millis(200);

/// What answers reviews.
pub trait Handler: Send + Sync + 'static {
    /// Answers a review that came to `path`. It is given up at the review's deadline.
    fn review(&self, path: &str, review: Review) -> impl Future<Output = Answer> + Send;

    /// Whether reviews of `path` are answered at all; others end in 404.
    fn serves(&self, path: &str) -> bool;

    /// Whether reviews can be answered now.
    ///
    /// # Errors
    ///
    /// What is waited for.
    fn ready(&self) -> Result<(), String>;

    /// Another page, such as `/metrics`.
    fn page(&self, path: &str) -> Option<Page> {
        let _ = path;
        None
    }
}

/// Something to read for people and their tools.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its media type.
    pub media_type: &'static str,
    /// The whole of it.
    pub body: String,
}

/// What a request may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body. An object has at most 1.5 MiB in etcd, and a review two of them.
    pub body: usize,
    /// For a review, from its first byte to its answer; less where the API server says that it waits less.
    pub duration: Duration,
    /// For a handshake, and for a request's head to arrive.
    pub head: Duration,
    /// Reviews at once, which bounds memory; those beyond wait.
    pub at_once: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body: 3 * 1024 * 1024,
            duration: Duration::from_secs(30),
            head: Duration::from_secs(10),
            at_once: 128,
        }
    }
}

/// A server, bound.
pub struct Server {
    socket: TcpListener,
    address: SocketAddr,
    certificate: Arc<Certificate>,
    limits: Limits,
}

/// What all connections share.
struct Shared<H> {
    handler: Arc<H>,
    limits: Limits,
    places: Semaphore,
}

impl Server {
    /// Binds an address; port 0 is one that is free. To be called within a runtime.
    ///
    /// # Errors
    ///
    /// Why the address cannot be bound.
    pub fn bind(address: SocketAddr, certificate: Arc<Certificate>, limits: Limits) -> io::Result<Server> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Else a restart would wait for connections that are long over.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let socket = socket.listen(BACKLOG)?;
        let address = socket.local_addr()?;
        Ok(Server { socket, address, certificate, limits })
    }

    /// The address bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` turns true, then lets running reviews finish.
    pub async fn serve<H: Handler>(self, handler: Arc<H>, stop: watch::Receiver<bool>) {
        let places = Semaphore::new(self.limits.at_once);
        let shared = Arc::new(Shared { handler, limits: self.limits, places });
        let (open, mut told) = (watch::Sender::new(()), stop.clone());
        loop {
            let accepted = tokio::select! {
                () = stopped(&mut told) => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let acceptor = TlsAcceptor::from(self.certificate.config());
                    let (shared, stop, open) = (shared.clone(), stop.clone(), open.subscribe());
                    tokio::spawn(async move {
                        shared.connection(acceptor, stream, stop).await;
                        drop(open);
                    });
                }
                // Out of descriptors, most likely: waiting lets some connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        drop(self.socket);
        let _ = tokio::time::timeout(DRAIN, open.closed()).await;
    }
}

/// Ready once the server is told to stop, or is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

impl<H: Handler> Shared<H> {
    async fn connection(&self, acceptor: TlsAcceptor, stream: TcpStream, mut stop: watch::Receiver<bool>) {
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(self.limits.head, acceptor.accept(stream));
        let stream = tokio::select! {
            () = stopped(&mut stop) => return,
            shaken = handshake => match shaken {
                Ok(Ok(stream)) => stream,
                _ => return,
            },
        };
        let service = service_fn(|request| async { Ok::<_, Infallible>(self.answer(request).await) });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.duration.max(Duration::from_secs(90)))
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stopped(&mut stop) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        if self.handler.serves(path) {
            if parts.method != Method::POST {
                return text(StatusCode::METHOD_NOT_ALLOWED, "an AdmissionReview is posted");
            }
            let deadline = Instant::now() + self.patience(parts.uri.query().unwrap_or_default());
            let late = || text(StatusCode::GATEWAY_TIMEOUT, "the review took too long");
            let answered = tokio::time::timeout_at(deadline.into(), self.review(path, body, deadline)).await;
            return answered.unwrap_or_else(|_| late());
        }
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return text(StatusCode::NOT_FOUND, "there is no webhook here");
        }
        match path {
            "/livez" => text(StatusCode::OK, "ok"),
            "/readyz" => match self.handler.ready() {
                Ok(()) => text(StatusCode::OK, "ok"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, &why),
            },
            other => match self.handler.page(other) {
                Some(page) => respond(StatusCode::OK, page.media_type, page.body.into()),
                None => text(StatusCode::NOT_FOUND, "there is nothing here"),
            },
        }
    }

    /// How long the API server waits, which it says as `?timeout=10s`.
    fn patience(&self, query: &str) -> Duration {
        let said = query.split('&').find_map(|pair| pair.strip_prefix("timeout="));
        let said = said.and_then(|text| keyward_core::parse_duration(text).ok());
        said.map_or(self.limits.duration, |said| said.saturating_sub(WAY_BACK).min(self.limits.duration))
    }

    async fn review(&self, path: &str, body: Incoming, deadline: Instant) -> Response<Full<Bytes>> {
        // Bodies are only read by those who have a place, so that a flood waits in the kernel's buffers.
        let Ok(_place) = self.places.acquire().await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the server stops");
        };
        let body = match read(body, self.limits.body).await {
            Ok(body) => body,
            Err((status, why)) => return text(status, why),
        };
        let review = match Review::read(&body, deadline) {
            Ok(review) => review,
            Err(why) => return text(StatusCode::BAD_REQUEST, &why.to_string()),
        };
        drop(body);
        let uid = review.uid.clone();
        let answer = self.handler.review(path, review).await;
        respond(StatusCode::OK, "application/json", answer.write(&uid).into())
    }
}

async fn read(mut body: Incoming, most: usize) -> Result<Bytes, (StatusCode, &'static str)> {
    const LARGE: (StatusCode, &str) = (StatusCode::PAYLOAD_TOO_LARGE, "the review is too large");
    if body.size_hint().lower() > most as u64 {
        return Err(LARGE);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, "the body was cut off"))?;
        if let Some(data) = frame.data_ref() {
            if whole.len() + data.len() > most {
                return Err(LARGE);
            }
            whole.extend_from_slice(data);
        }
    }
    Ok(whole.freeze())
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", format!("{text}\n").into())
}

fn respond(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

#[cfg(test)]
mod tests;
