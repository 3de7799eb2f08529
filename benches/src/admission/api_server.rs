//! What `keyward policy serve` needs of an API server, and no more: which kinds there are, policies to list, watches in which nothing
//! ever happens, and writes that are taken as they come. A real one would take the processor that is measured.

use crate::Failure;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Collected, Full, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};

/// Runs as long as its runtime, which it owns.
pub(super) struct ApiServer {
    pub(super) address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

type Body = BoxBody<Bytes, Infallible>;

impl ApiServer {
    /// One whose ClusterPolicies are these.
    pub(super) fn start(policies: Vec<Value>) -> Result<ApiServer, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let policies = Arc::new(policies);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, policies.clone()));
            }
        });
        Ok(ApiServer { address, _runtime: runtime })
    }

    /// How to reach it.
    pub(super) fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "bench", "user": {}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        })
        .to_string()
    }
}

async fn connection(stream: TcpStream, policies: Arc<Vec<Value>>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let policies = policies.clone();
        async move { Ok::<_, Infallible>(answer(request, &policies).await) }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A watch: it stays open, and nothing comes.
struct Nothing;

impl hyper::body::Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

async fn answer(request: Request<Incoming>, policies: &[Value]) -> Response<Body> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let sent = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    if uri.query().is_some_and(|query| query.contains("watch=true")) {
        return respond(StatusCode::OK, Nothing.boxed());
    }
    let (status, body) = match (method, uri.path()) {
        (Method::GET, "/api") => (StatusCode::OK, groups(&[("", "v1", "pods", "Pod", true)])),
        (Method::GET, "/apis") => {
            let policies = ("kyverno.io", "v1", "clusterpolicies", "ClusterPolicy", false);
            (StatusCode::OK, groups(&[policies]))
        }
        (Method::GET, path) if path.contains("/leases/") || path.contains("configurations/") => {
            (StatusCode::NOT_FOUND, refused())
        }
        (Method::GET, path) => {
            let items = if path.ends_with("/clusterpolicies") { policies } else { &[] };
            (
                StatusCode::OK,
                json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items}),
            )
        }
        (_, path) if path.ends_with("/selfsubjectreviews") => {
            (StatusCode::CREATED, json!({"status": {"userInfo": {"username": "bench"}}}))
        }
        _ => {
            let mut object: Value = serde_json::from_slice(&sent).unwrap_or_default();
            object["metadata"]["resourceVersion"] = json!("2");
            (StatusCode::OK, object)
        }
    };
    respond(status, Full::new(Bytes::from(body.to_string())).boxed())
}

fn respond(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn refused() -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"})
}

/// Group, version, plural name, kind, and whether it has namespaces.
type Resource = (&'static str, &'static str, &'static str, &'static str, bool);

/// What is served, as aggregated discovery has it.
fn groups(resources: &[Resource]) -> Value {
    let item = |(group, version, plural, kind, namespaced): &Resource| {
        json!({"metadata": {"name": group}, "versions": [{"version": version, "freshness": "Current", "resources": [{
            "resource": plural, "singularResource": kind.to_lowercase(),
            "responseKind": {"group": group, "version": version, "kind": kind},
            "scope": if *namespaced { "Namespaced" } else { "Cluster" },
            "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
        }]}]})
    };
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": resources.iter().map(item).collect::<Vec<_>>()})
}
