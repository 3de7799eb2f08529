//! What a token of Kubernetes says of its bearer.

use crate::jwt::Token;
use serde_json::{Map, Value};

/// A ServiceAccount, and what the token is bound to. Texts are empty where the token does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// Of tokens as Kubernetes made them before 1.22.
    pub(super) secret: String,
    pub(super) pod: String,
    pub(super) pod_uid: String,
    pub(super) node: String,
    pub(super) node_uid: String,
}

impl Account {
    /// Reads the claims: bound tokens have theirs below `kubernetes.io`, older ones beside it.
    pub(super) fn of(token: &Token<'_>) -> Account {
        let older = |name: &str| {
            token.text(&format!("kubernetes.io/serviceaccount/{name}")).unwrap_or_default().to_owned()
        };
        match token.claims.get("kubernetes.io").and_then(Value::as_object) {
            Some(bound) => Account {
                namespace: text(bound, &["namespace"]),
                name: text(bound, &["serviceaccount", "name"]),
                uid: text(bound, &["serviceaccount", "uid"]),
                secret: older("secret.name"),
                pod: text(bound, &["pod", "name"]),
                pod_uid: text(bound, &["pod", "uid"]),
                node: text(bound, &["node", "name"]),
                node_uid: text(bound, &["node", "uid"]),
            },
            None => Account {
                namespace: older("namespace"),
                name: older("service-account.name"),
                uid: older("service-account.uid"),
                secret: older("secret.name"),
                ..Account::default()
            },
        }
    }

    /// Whether this is the account that the API server named.
    pub(super) fn is_as(&self, reviewed: &Account) -> Result<(), &'static str> {
        match () {
            () if self.name != reviewed.name => Err("JWT names did not match"),
            () if self.uid != reviewed.uid => Err("JWT UIDs did not match"),
            () if self.namespace != reviewed.namespace => Err("JWT namespaces did not match"),
            () => Ok(()),
        }
    }
}

fn text(object: &Map<String, Value>, path: &[&str]) -> String {
    let (first, rest) = match path {
        [first, rest @ ..] => (first, rest),
        [] => return String::new(),
    };
    let found = rest.iter().try_fold(object.get(*first), |at, name| Some(at?.get(*name)));
    found.flatten().and_then(Value::as_str).unwrap_or_default().to_owned()
}
