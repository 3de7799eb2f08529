//! What the API server says: TokenReviews, namespaces, ServiceAccounts, its keys.

use super::account::Account;
use super::config::Config;
use crate::context::Context;
use crate::jwt::{Keys, Token, published};
use crate::kubernetes::is_name;
use crate::outside::{Ask, Credential, Hidden, Reply};
use crate::refusal::Refusal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// As long as the API server itself believes a token it has reviewed.
const REVIEWED: Duration = Duration::from_secs(10);
/// Labels and annotations of objects.
const LOOKED_UP: Duration = Duration::from_secs(10);

fn failed(what: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::denied(format!("{what}: {why}"))
}

#[derive(Deserialize)]
struct TokenReview {
    #[serde(default)]
    status: ReviewStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReviewStatus {
    authenticated: bool,
    error: String,
    audiences: Vec<String>,
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
    extra: BTreeMap<String, Vec<String>>,
}

/// Asks the API server whose token `jwt` is, for one of `audiences`.
pub(super) fn review(
    cx: &Context<'_, '_>,
    config: &Config,
    jwt: &str,
    audiences: &[&str],
) -> Result<Account, Refusal> {
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": { "token": jwt, "audiences": audiences },
    });
    let answer = cx.ask(Ask {
        url: config.url("/apis/authentication.k8s.io/v1/tokenreviews"),
        roots: config.roots(),
        credential: config.reviewer(jwt),
        body: Some(("application/json", Hidden::new(body.to_string()))),
        may_be_old: REVIEWED,
        retries: 0,
    })?;
    let reply = answer.as_ref().map_err(|why| failed("the API server cannot be asked", why))?;
    if reply.status == 401 {
        return Err(Refusal::denied(
            "lookup failed: service account unauthorized; this could mean it has been deleted or recreated with a new \
             token, or that the token_reviewer_jwt has expired",
        ));
    }
    let review: TokenReview = read(reply, "TokenReview")?;
    account(review.status, audiences)
}

fn account(status: ReviewStatus, audiences: &[&str]) -> Result<Account, Refusal> {
    if !status.error.is_empty() {
        return Err(failed("lookup failed", status.error));
    }
    if !status.authenticated {
        return Err(Refusal::denied("lookup failed: service account jwt not valid"));
    }
    // An API server that knows nothing of audiences confirms none.
    let confirmed = audiences.iter().any(|wanted| status.audiences.iter().any(|given| given == wanted));
    if !audiences.is_empty() && !confirmed {
        return Err(Refusal::denied("lookup failed: the service account jwt is for other audiences"));
    }
    let parts: Vec<&str> = status.user.username.split(':').collect();
    let [_, _, namespace, name] = parts[..] else {
        return Err(Refusal::denied("lookup failed: unexpected username format"));
    };
    if !status.user.username.starts_with("system:serviceaccount:") {
        return Err(Refusal::denied("lookup failed: username returned is not a service account"));
    }
    let extra = |name: &str| {
        let values = status.user.extra.get(&format!("authentication.kubernetes.io/{name}"));
        values.and_then(|values| values.first()).cloned().unwrap_or_default()
    };
    Ok(Account {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: status.user.uid.clone(),
        secret: String::new(),
        pod: extra("pod-name"),
        pod_uid: extra("pod-uid"),
        node: extra("node-name"),
        node_uid: extra("node-uid"),
    })
}

/// The keys that the cluster signs its tokens with; those that `token` names must be among them.
pub(super) fn keys(
    cx: &Context<'_, '_>,
    config: &Config,
    token: &Token<'_>,
    jwt: &str,
) -> Result<Arc<Keys>, Refusal> {
    let url = config.jwks_url();
    let is_own = url.starts_with(&config.url("/"));
    let ask = |may_be_old| Ask {
        url: url.clone(),
        roots: config.roots(),
        credential: if is_own { config.reviewer(jwt) } else { Credential::None },
        body: None,
        may_be_old,
        retries: 0,
    };
    published(cx, Some(token), ask)?.map_err(|why| failed("the cluster's keys cannot be had", why))
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// The labels of a namespace, as `credential` may read them.
pub(super) fn namespace_labels(
    cx: &Context<'_, '_>,
    config: &Config,
    namespace: &str,
    credential: Credential,
) -> Result<BTreeMap<String, String>, Refusal> {
    let path = format!("/api/v1/namespaces/{}", segment(namespace)?);
    Ok(object(cx, config, &path, credential)?.metadata.labels)
}

/// The annotations of a ServiceAccount that go into its alias.
pub(super) fn alias_metadata(
    cx: &Context<'_, '_>,
    config: &Config,
    account: &Account,
    jwt: &str,
) -> Result<BTreeMap<String, String>, Refusal> {
    const PREFIX: &str = "vault.hashicorp.com/alias-metadata-";
    let (namespace, name) = (segment(&account.namespace)?, segment(&account.name)?);
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
    let annotations = object(cx, config, &path, config.reviewer(jwt))?.metadata.annotations;
    let ours = annotations.into_iter().filter_map(|(name, value)| {
        let name = name.strip_prefix(PREFIX)?;
        (!name.is_empty()).then(|| (name.to_owned(), value))
    });
    Ok(ours.collect())
}

fn object(
    cx: &Context<'_, '_>,
    config: &Config,
    path: &str,
    credential: Credential,
) -> Result<Object, Refusal> {
    let answer = cx.ask(Ask {
        url: config.url(path),
        roots: config.roots(),
        credential,
        body: None,
        may_be_old: LOOKED_UP,
        retries: 0,
    })?;
    let reply = answer.as_ref().map_err(|why| failed("the API server cannot be asked", why))?;
    read(reply, path)
}

/// A name of Kubernetes as a segment of a path.
fn segment(name: &str) -> Result<&str, Refusal> {
    match is_name(name) {
        true => Ok(name),
        false => Err(Refusal::denied("the token names something that Kubernetes has no name for")),
    }
}

fn read<T: DeserializeOwned>(reply: &Reply, what: &str) -> Result<T, Refusal> {
    if !(200..300).contains(&reply.status) {
        let status: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let message = status.get("message").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
        return Err(failed(
            "the API server refused",
            format!("{what}: HTTP status {}: {message}", reply.status),
        ));
    }
    serde_json::from_slice(&reply.body).map_err(|_| failed("the API server's answer cannot be read", what))
}
