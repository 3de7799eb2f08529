//! What `keyward policy serve` finds in a cluster: which kinds there are, policies to list, and writes that are taken as they come.

use crate::api_server::{Content, Watches, missing};
use http::{Method, StatusCode, Uri};
use serde_json::{Value, json};

/// A cluster whose ClusterPolicies are these.
pub(super) struct Policies(pub(super) Vec<Value>);

impl Content for Policies {
    fn answer(&self, method: &Method, uri: &Uri, sent: &[u8], _: &Watches) -> (StatusCode, Value) {
        match (method, uri.path()) {
            (&Method::GET, "/api") => (StatusCode::OK, groups(&[("", "v1", "pods", "Pod", true)])),
            (&Method::GET, "/apis") => {
                let policies = ("kyverno.io", "v1", "clusterpolicies", "ClusterPolicy", false);
                (StatusCode::OK, groups(&[policies]))
            }
            (&Method::GET, path) if path.contains("/leases/") || path.contains("configurations/") => {
                missing()
            }
            (&Method::GET, path) => {
                let items = if path.ends_with("/clusterpolicies") { &self.0[..] } else { &[] };
                (
                    StatusCode::OK,
                    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items}),
                )
            }
            (_, path) if path.ends_with("/selfsubjectreviews") => {
                (StatusCode::CREATED, json!({"status": {"userInfo": {"username": "bench"}}}))
            }
            _ => {
                let mut object: Value = serde_json::from_slice(sent).unwrap_or_default();
                object["metadata"]["resourceVersion"] = json!("2");
                (StatusCode::OK, object)
            }
        }
    }
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
