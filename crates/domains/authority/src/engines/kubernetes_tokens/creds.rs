//! Tokens made on demand, and their leases.

use super::super::named;
use super::config::{self, Config};
use super::objects::{Object, Wanted};
use super::role::Role;
use crate::act::Act;
use crate::act::http::{Call, Deed};
use crate::context::Context;
use crate::kubernetes::{is_name, selector};
use crate::lease::{self, Completion, Issue, Issued, Next, Terms};
use crate::mounts;
use crate::name_template::Subject;
use crate::outside::Hidden;
use crate::refusal::Refusal;
use crate::response::{Data, Response};
use crate::txn::Txn;
use keyward_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// The shortest time that the API server makes a token for.
const SHORTEST: u64 = 600;
/// How much longer than its lease a token may live: who is revoked in time must not be locked out before that.
const GRACE: u64 = 5;
/// How long labels of a namespace are believed.
const LOOKED_UP: Duration = Duration::from_secs(10);
/// How long the API server may take over a call: less than we wait for it, so that it never does later what we have
/// given up (`timeout` of the Kubernetes API).
const TIMEOUT: &str = "timeout=8s";

/// What a lease is of: enough to take it back when the role is gone or another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    namespace: String,
    account: String,
    /// The paths of what was made for it, in the order it is deleted.
    objects: Vec<String>,
}

fn made(lease: &Issued) -> Result<Made, Refusal> {
    serde_json::from_value(lease.what.clone())
        .map_err(|_| Refusal::Internal("a lease does not say which ServiceAccount it is of".to_owned()))
}

pub(super) fn create(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = named::name::<Role>(cx);
    let role = named::wanted::<Role>(cx)?;
    let role = role.ok_or_else(|| Refusal::invalid(format!("role '{name}' does not exist")))?;
    let prefix = cx.mount.prefix();
    let config = config::find(cx.txn, &prefix)?;
    let sent = cx.fields();
    let namespace = namespace(&role, sent.string("kubernetes_namespace")?)?;
    let cluster_wide = sent.bool("cluster_role_binding")?.unwrap_or(false);
    let terms = role.terms(sent.duration("ttl")?.unwrap_or_default());
    let audiences = sent.strings("audiences")?.filter(|sent| !sent.is_empty());
    let audiences = audiences.unwrap_or_else(|| role.audiences.clone());
    if cluster_wide && role.kind == super::role::RoleKind::Role {
        return Err(Refusal::invalid("a ClusterRoleBinding cannot ref a Role"));
    }
    check_namespace(cx, &config, &role, &namespace)?;
    let display_name = cx.caller()?.token.display_name.clone();
    let subject = Subject { display_name: &display_name, role_name: &name };
    let object_name = role.render(&subject, cx.now, cx.random())?;
    let wanted = Wanted { role: &role, namespace: &namespace, name: &object_name, cluster_wide };
    let objects = wanted.objects()?;
    let what = Made {
        namespace: namespace.clone(),
        account: wanted.account().to_owned(),
        objects: objects.iter().map(|object| format!("{}/{object_name}", object.directory)).collect(),
    };
    let what = serde_json::to_value(&what)
        .map_err(|why| Refusal::Internal(format!("a lease could not be written: {why}")))?;
    let issue = Issue { what, terms, renewable: false };
    lease::issue(cx, issue, Response::empty(), |cx, expires| {
        let seconds = expires.since(cx.now).as_secs();
        if objects.is_empty() && seconds < SHORTEST {
            return Err(Refusal::invalid(format!(
                "Kubernetes makes no token for less than {SHORTEST} seconds: ask for a longer ttl, or write \
                 token_revocable=true, so that the token ends with its lease"
            )));
        }
        let request = wanted.token_request(&audiences, SHORTEST.max(seconds.saturating_add(GRACE)));
        let token = Object { directory: wanted.tokens(), manifest: request };
        let calls = objects.iter().chain([&token]).map(|object| Call::Post {
            url: format!("{}?{TIMEOUT}", config.url(&object.directory)),
            body: object.manifest.to_string(),
        });
        Ok(Some(deed(&config, calls.collect())))
    })
}

fn deed(config: &Config, calls: Vec<Call>) -> Act {
    Act::Http(Box::new(Deed { roots: config.roots(), credential: config.credential(), calls }))
}

/// The namespace that is asked for, which the role's only one need not be.
fn namespace(role: &Role, sent: Option<String>) -> Result<String, Refusal> {
    match (sent.filter(|sent| !sent.is_empty()), &role.namespaces[..]) {
        (Some(namespace), _) if is_name(&namespace) => Ok(namespace),
        (Some(_), _) => Err(Refusal::invalid("kubernetes_namespace is no name of a namespace")),
        (None, [only]) if only != "*" && role.namespace_selector.is_empty() => Ok(only.clone()),
        (None, _) => Err(Refusal::invalid(
            "'kubernetes_namespace' is required unless the Vault role has a single namespace specified",
        )),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Namespace {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    labels: BTreeMap<String, String>,
}

fn check_namespace(
    cx: &Context<'_, '_>,
    config: &Config,
    role: &Role,
    namespace: &str,
) -> Result<(), Refusal> {
    if role.namespaces.iter().any(|allowed| allowed == "*" || allowed == namespace) {
        return Ok(());
    }
    if !role.namespace_selector.is_empty() {
        let selector = selector::parse(&role.namespace_selector)
            .map_err(|_| Refusal::Internal("a stored namespace selector cannot be read".to_owned()))?;
        let failed = |why: &str| {
            Refusal::Upstream(format!("the labels of namespace {namespace} cannot be had: {why}"))
        };
        let path = format!("/api/v1/namespaces/{namespace}");
        let reply = cx.ask(config.ask(&path, LOOKED_UP))?.as_ref().map_err(|why| failed(why))?;
        if reply.status != 200 {
            return Err(failed(&format!("HTTP status {}", reply.status)));
        }
        let found: Namespace =
            serde_json::from_slice(&reply.body).map_err(|_| failed("the answer is no namespace"))?;
        if selector.selects(&found.metadata.labels) {
            return Ok(());
        }
    }
    Err(Refusal::invalid(format!(
        "kubernetes_namespace '{namespace}' is not present in role's allowed_kubernetes_namespaces or does not match \
         role's label selector allowed_kubernetes_namespace_selector"
    )))
}

#[derive(Deserialize)]
struct TokenRequest {
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: String,
    expiration_timestamp: String,
}

/// Reads the token that the API server made.
pub(super) fn complete(lease: &Issued, yielded: &Hidden) -> Result<Completion, Refusal> {
    let Made { namespace, account, .. } = made(lease)?;
    let unreadable = |_| Refusal::Internal("the API server's answer has no token".to_owned());
    let request: TokenRequest = serde_json::from_str(yielded.0.expose()).map_err(unreadable)?;
    let ends = Timestamp::parse_rfc3339(&request.status.expiration_timestamp)
        .ok_or_else(|| Refusal::Internal("the API server does not say when its token ends".to_owned()))?;
    let data = Data::of(&json!({
        "service_account_namespace": namespace,
        "service_account_name": account,
        "service_account_token": request.status.token,
    }))?;
    // An API server may be configured to make tokens for less time than is asked for.
    let ends = Some(ends).filter(|ends| ends.nanos() < lease.expires);
    Ok(Completion { data, ends })
}

pub(super) fn revoke(txn: &mut Txn<'_>, lease: &Issued, _: Timestamp) -> Next {
    let Made { objects, .. } = made(lease)?;
    if objects.is_empty() {
        return Ok(None);
    }
    let config = config::find(txn, &mounts::prefix(&lease.mount))?;
    let delete = |path: &String| Call::Delete { url: format!("{}?{TIMEOUT}", config.url(path)) };
    let calls = objects.iter().map(delete).collect();
    Ok(Some(deed(&config, calls)))
}

/// Tokens of Kubernetes cannot be extended.
pub(super) fn terms(_: &mut Txn<'_>, _: &Issued) -> Result<Terms, Refusal> {
    Err(Refusal::invalid("lease is not renewable"))
}

pub(super) fn extend(_: &mut Txn<'_>, _: &Issued, _: Timestamp) -> Next {
    Err(Refusal::invalid("lease is not renewable"))
}
