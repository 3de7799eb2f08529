//! How the API server is reached.

use crate::context::Context;
use crate::kubernetes::{base, check_roots};
use crate::outside::{Ask, Credential, Hidden, Roots};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::txn::Txn;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

const PATH: &str = "config";

/// Where the API server is for pods of its cluster, whatever its address.
const LOCAL: &str = "https://kubernetes.default.svc";

/// The configuration. It holds a token: no `Debug`. The default is that of an authority in a pod.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    host: String,
    ca_cert: String,
    jwt: String,
    disable_local: bool,
}

impl Config {
    /// `path` at the API server.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", if self.host.is_empty() { LOCAL } else { &self.host })
    }

    pub(super) fn roots(&self) -> Roots {
        match self.ca_cert.as_str() {
            "" if self.disable_local => Roots::System,
            "" => Roots::Pod,
            pem => Roots::Pem(pem.into()),
        }
    }

    pub(super) fn credential(&self) -> Credential {
        match self.jwt.as_str() {
            "" => Credential::Pod,
            jwt => Credential::Bearer(Hidden::new(jwt)),
        }
    }

    /// A question of the API server; see [`Ask`].
    pub(super) fn ask(&self, path: &str, may_be_old: Duration) -> Ask {
        Ask {
            url: self.url(path),
            roots: self.roots(),
            credential: self.credential(),
            body: None,
            may_be_old,
            retries: 0,
        }
    }
}

/// The configuration of the mount whose entries stand below the storage key `prefix`.
pub(super) fn find(txn: &mut Txn<'_>, prefix: &str) -> Result<Config, Refusal> {
    Ok(txn.get_json::<Config>(&[prefix, PATH].concat())?.unwrap_or_default())
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = cx.get_json::<Config>(PATH)?.ok_or(Refusal::missing())?;
    Response::data(&json!({
        "kubernetes_host": config.host,
        "kubernetes_ca_cert": config.ca_cert,
        "disable_local_ca_jwt": config.disable_local,
    }))
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut config = cx.get_json::<Config>(PATH)?.unwrap_or_default();
    let sent = cx.fields();
    if let Some(host) = sent.string("kubernetes_host")? {
        config.host = if host.trim().is_empty() { String::new() } else { base(host.trim())? };
    }
    if let Some(pem) = sent.string("kubernetes_ca_cert")? {
        config.ca_cert = pem.trim().to_owned();
    }
    if let Some(jwt) = sent.string("service_account_jwt")? {
        config.jwt = jwt.trim().to_owned();
    }
    if let Some(disable) = sent.bool("disable_local_ca_jwt")? {
        config.disable_local = disable;
    }
    check_roots(&config.ca_cert, config.disable_local)?;
    if config.disable_local && config.jwt.is_empty() {
        return Err(Refusal::invalid("service_account_jwt must be given when disable_local_ca_jwt is true"));
    }
    cx.put_json(PATH, &config)?;
    Ok(Response::empty())
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    cx.delete(PATH);
    Ok(Response::empty())
}

pub(super) fn check(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = cx.get_json::<Config>(PATH)?.unwrap_or_default();
    match cx.ask(config.ask("/version", Duration::ZERO))? {
        Ok(reply) if reply.status == 200 => Ok(Response::empty()),
        Ok(reply) if reply.status == 401 => Err(Refusal::invalid(
            "the API server does not take our credential: write service_account_jwt, or leave it out in a pod",
        )),
        Ok(reply) => {
            Err(Refusal::invalid(format!("the API server answers with HTTP status {}", reply.status)))
        }
        Err(why) => Err(Refusal::invalid(format!("the API server cannot be asked: {why}"))),
    }
}
