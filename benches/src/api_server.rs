//! What a service needs of an API server, and no more. A real one would take the processor and the memory that are measured.

use crate::Failure;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Collected, Full, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What there is in a cluster.
pub(crate) trait Content: Send + Sync + 'static {
    /// The answer to a request other than a watch.
    fn answer(&self, method: &Method, uri: &Uri, sent: &[u8], watches: &Watches) -> (StatusCode, Value);
}

/// Runs as long as its runtime, which it owns.
pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

type Body = BoxBody<Bytes, Infallible>;

impl ApiServer {
    /// One with this in it.
    pub(crate) fn start(content: Arc<impl Content>) -> Result<ApiServer, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let watches = Arc::new(Watches::default());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, content.clone(), watches.clone()));
            }
        });
        Ok(ApiServer { address, _runtime: runtime })
    }

    /// How to reach it.
    pub(crate) fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "bench", "user": {}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        })
        .to_string()
    }
}

async fn connection(stream: TcpStream, content: Arc<impl Content>, watches: Arc<Watches>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (content, watches) = (content.clone(), watches.clone());
        async move { Ok::<_, Infallible>(respond(request, &*content, &watches).await) }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Who watches which path. They stay as long as the server, so that no watch ends.
#[derive(Default)]
pub(crate) struct Watches(Mutex<Vec<(String, Wanted, UnboundedSender<Bytes>)>>);

/// What is sent of objects.
#[derive(Clone, Copy)]
enum Wanted {
    Everything,
    Metadata,
}

impl Wanted {
    /// As a request asks for it (Kubernetes API concepts, "Receiving resources as PartialObjectMetadata").
    fn by(request: &Request<Incoming>) -> Wanted {
        let accepted = request.headers().get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
        match accepted.is_some_and(|accepted| accepted.contains("as=PartialObjectMetadata")) {
            true => Wanted::Metadata,
            false => Wanted::Everything,
        }
    }

    fn of(self, object: &Value) -> Value {
        match self {
            Wanted::Everything => object.clone(),
            Wanted::Metadata => {
                let kind = "PartialObjectMetadata";
                json!({"apiVersion": "meta.k8s.io/v1", "kind": kind, "metadata": object["metadata"]})
            }
        }
    }

    /// An answer: an object or a list.
    fn of_answer(self, answer: Value) -> Value {
        match (self, answer["items"].as_array()) {
            (Wanted::Everything, _) => answer,
            (Wanted::Metadata, None) => self.of(&answer),
            (Wanted::Metadata, Some(items)) => {
                let items: Vec<Value> = items.iter().map(|item| self.of(item)).collect();
                let kind = "PartialObjectMetadataList";
                json!({"apiVersion": "meta.k8s.io/v1", "kind": kind, "metadata": answer["metadata"], "items": items})
            }
        }
    }
}

impl Watches {
    fn begin(&self, path: &str, wanted: Wanted) -> Watch {
        let (sender, receiver) = unbounded_channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((path.to_owned(), wanted, sender));
        Watch(receiver)
    }

    /// Tells everybody who watches `path` that `object` has changed.
    pub(crate) fn modified(&self, path: &str, object: &Value) {
        let watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, wanted, watcher) in watches.iter().filter(|(watched, ..)| watched == path) {
            let event = json!({"type": "MODIFIED", "object": wanted.of(object)});
            // Who has gone away is told nothing.
            let _ = watcher.send(Bytes::from(format!("{event}\n")));
        }
    }
}

struct Watch(UnboundedReceiver<Bytes>);

impl hyper::body::Body for Watch {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

async fn respond(request: Request<Incoming>, content: &impl Content, watches: &Watches) -> Response<Body> {
    let (method, uri, wanted) = (request.method().clone(), request.uri().clone(), Wanted::by(&request));
    let sent = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    let (status, body) = if uri.query().is_some_and(|query| query.contains("watch=true")) {
        (StatusCode::OK, watches.begin(uri.path(), wanted).boxed())
    } else {
        let (status, body) = content.answer(&method, &uri, &sent, watches);
        let body = if status.is_success() { wanted.of_answer(body) } else { body };
        (status, Full::new(Bytes::from(body.to_string())).boxed())
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// There is no such object.
pub(crate) fn missing() -> (StatusCode, Value) {
    let status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"});
    (StatusCode::NOT_FOUND, status)
}
