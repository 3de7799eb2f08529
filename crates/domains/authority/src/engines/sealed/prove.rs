//! Who a workload is: what the auth method wrote into its token, once the API server had vouched for it.

use super::config::Config;
use crate::context::Context;
use crate::mounts::{self, Mount};
use crate::refusal::Refusal;
use crate::response::Response;
use keyward_intent::{Subject, names};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

const ACCOUNTS: &str = "account/";

/// A pod, by the ServiceAccount it runs as.
pub(super) struct Workload {
    pub(super) subject: Subject,
    pub(super) pod: String,
    /// Where it logged in: the auth method of its cluster.
    pub(super) cluster: Arc<Mount>,
}

/// Which of all that ever had a name is meant.
#[derive(Serialize, Deserialize)]
struct Account {
    uid: String,
}

/// The workload that asks. Only a token that a login with a Kubernetes token issued proves one: what other tokens say of
/// themselves whoever made them may have chosen.
pub(super) fn workload(cx: &mut Context<'_, '_>, config: &Config) -> Result<Workload, Refusal> {
    let token = cx.caller()?.token.clone();
    let table = mounts::table(cx.txn)?;
    let proving = config.auth_mounts.iter().find_map(|path| {
        let by_login = token.path.strip_prefix(path.as_str()) == Some("login");
        table.at(path).filter(|mount| by_login && mount.kind == "kubernetes").cloned()
    });
    let Some(cluster) = proving else {
        return Err(Refusal::denied(
            "the token does not come from a login by one of auth_mounts: it proves no workload",
        ));
    };
    let said = |name: &str| token.metadata.get(name).filter(|value| !value.is_empty());
    let (Some(namespace), Some(name), Some(uid)) =
        (said("service_account_namespace"), said("service_account_name"), said("service_account_uid"))
    else {
        return Err(Refusal::denied("the token does not say which ServiceAccount it is of"));
    };
    let pod = match (said("pod_name"), said("pod_uid")) {
        (Some(pod), Some(pod_uid)) => format!("{pod} {pod_uid}"),
        _ if config.require_pod => {
            return Err(Refusal::denied(
                "the token was issued for a Kubernetes token that is not bound to a pod: project one into the pod",
            ));
        }
        _ => String::new(),
    };
    match cx.built_json::<Account>(&key(namespace, name))? {
        Some(account) if account.uid != *uid => {
            return Err(Refusal::denied(format!(
                "the ServiceAccount {namespace}/{name} is not the one of accounts/{namespace}/{name}: it was deleted and \
                 made again"
            )));
        }
        None if config.require_account_uid => {
            return Err(Refusal::denied(format!(
                "require_account_uid is set, and accounts/{namespace}/{name} says no UID"
            )));
        }
        _ => {}
    }
    let subject = Subject {
        kind: Subject::SERVICE_ACCOUNT.to_owned(),
        namespace: namespace.clone(),
        name: name.clone(),
        uid: Some(uid.clone()),
    };
    Ok(Workload { subject, pod, cluster })
}

fn key(namespace: &str, name: &str) -> String {
    [ACCOUNTS, namespace, "/", name].concat()
}

fn account(cx: &Context<'_, '_>) -> Result<String, Refusal> {
    let (namespace, name) = (cx.param("namespace"), cx.param("name"));
    names::label("the namespace", namespace).map_err(|why| Refusal::invalid(why.0))?;
    names::object("the name", name).map_err(|why| Refusal::invalid(why.0))?;
    Ok(key(namespace, name))
}

pub(super) fn list_namespaces(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(ACCOUNTS)?)
}

pub(super) fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let directory = [ACCOUNTS, cx.param("namespace"), "/"].concat();
    Response::keys(&cx.list(&directory)?)
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let key = account(cx)?;
    let account = cx.get_json::<Account>(&key)?.ok_or(Refusal::missing())?;
    Response::data(&json!({ "uid": account.uid }))
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (key, uid) = (account(cx)?, cx.fields().required("uid")?);
    match uid.len() {
        1..=names::LONGEST_LABEL => {}
        _ => {
            return Err(Refusal::invalid(
                "uid is that of the ServiceAccount: kubectl get serviceaccount -o yaml",
            ));
        }
    }
    cx.put_json(&key, &Account { uid })?;
    Ok(Response::empty())
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let key = account(cx)?;
    cx.delete(&key);
    Ok(Response::empty())
}
