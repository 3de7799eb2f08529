//! The objects that a token needs, as manifests and as paths of the API server.

use super::role::{Role, RoleKind};
use crate::refusal::Refusal;
use serde_json::{Value, json};

/// The group of roles and bindings.
const RBAC: &str = "rbac.authorization.k8s.io";

/// An object that is made, and goes with its lease.
#[derive(Debug, PartialEq)]
pub(super) struct Object {
    /// The directory that it is made in.
    pub(super) directory: String,
    /// Its manifest.
    pub(super) manifest: Value,
}

/// What is made in one place under one name.
pub(super) struct Wanted<'a> {
    pub(super) role: &'a Role,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// Bind the role in the whole cluster.
    pub(super) cluster_wide: bool,
}

impl Wanted<'_> {
    /// What a token needs beside itself, in the order it is made. Whom the token is of, or what it is bound to, comes
    /// first: when that is deleted the token is dead, whatever becomes of the rest.
    pub(super) fn objects(&self) -> Result<Vec<Object>, Refusal> {
        let role = self.role;
        if !role.service_account.is_empty() {
            return Ok(if role.revocable { vec![self.secret()] } else { Vec::new() });
        }
        let mut objects = vec![self.service_account()];
        if !role.rules.is_empty() {
            objects.push(self.generated_role()?);
        }
        objects.push(self.binding());
        Ok(objects)
    }

    /// The name of the ServiceAccount that the token is of.
    pub(super) fn account(&self) -> &str {
        match self.role.service_account.as_str() {
            "" => self.name,
            account => account,
        }
    }

    /// The path at which its tokens are made.
    pub(super) fn tokens(&self) -> String {
        format!("{}/{}/token", core(self.namespace, "serviceaccounts"), self.account())
    }

    /// Asks for a token (TokenRequest of `authentication.k8s.io/v1`) that lives for so many seconds.
    pub(super) fn token_request(&self, audiences: &[String], seconds: u64) -> Value {
        let mut spec = json!({ "audiences": audiences, "expirationSeconds": seconds });
        if !self.role.service_account.is_empty() && self.role.revocable {
            spec["boundObjectRef"] = json!({ "apiVersion": "v1", "kind": "Secret", "name": self.name });
        }
        json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec })
    }

    fn metadata(&self, namespaced: bool) -> Value {
        let mut labels = self.role.labels.clone();
        // Last: it tells people and tools whose this is.
        labels.insert("app.kubernetes.io/managed-by".to_owned(), "keyward".to_owned());
        let mut metadata =
            json!({ "name": self.name, "labels": labels, "annotations": self.role.annotations });
        if namespaced {
            metadata["namespace"] = json!(self.namespace);
        }
        metadata
    }

    fn secret(&self) -> Object {
        Object {
            directory: core(self.namespace, "secrets"),
            manifest: json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true,
                "metadata": self.metadata(true),
            }),
        }
    }

    fn service_account(&self) -> Object {
        Object {
            directory: core(self.namespace, "serviceaccounts"),
            manifest: json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": self.metadata(true),
                // Who uses the token is elsewhere; pods get none of it.
                "automountServiceAccountToken": false,
            }),
        }
    }

    fn generated_role(&self) -> Result<Object, Refusal> {
        let kind = self.role.kind;
        let namespaced = kind == RoleKind::Role;
        Ok(Object {
            directory: rbac(
                namespaced.then_some(self.namespace),
                if namespaced { "roles" } else { "clusterroles" },
            ),
            manifest: json!({
                "apiVersion": format!("{RBAC}/v1"), "kind": kind.name(),
                "metadata": self.metadata(namespaced),
                "rules": super::role::rules(&self.role.rules)?,
            }),
        })
    }

    fn binding(&self) -> Object {
        let namespaced = !self.cluster_wide;
        let (kind, directory) = match self.cluster_wide {
            true => ("ClusterRoleBinding", "clusterrolebindings"),
            false => ("RoleBinding", "rolebindings"),
        };
        let role = if self.role.role.is_empty() { self.name } else { &self.role.role };
        Object {
            directory: rbac(namespaced.then_some(self.namespace), directory),
            manifest: json!({
                "apiVersion": format!("{RBAC}/v1"), "kind": kind,
                "metadata": self.metadata(namespaced),
                "subjects": [{ "kind": "ServiceAccount", "name": self.name, "namespace": self.namespace }],
                "roleRef": { "apiGroup": RBAC, "kind": self.role.kind.name(), "name": role },
            }),
        }
    }
}

fn core(namespace: &str, directory: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{directory}")
}

fn rbac(namespace: Option<&str>, directory: &str) -> String {
    match namespace {
        Some(namespace) => format!("/apis/{RBAC}/v1/namespaces/{namespace}/{directory}"),
        None => format!("/apis/{RBAC}/v1/{directory}"),
    }
}
