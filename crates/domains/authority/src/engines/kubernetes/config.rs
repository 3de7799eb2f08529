//! The configuration of a mount.

use crate::context::Context;
use crate::jwt::Keys;
use crate::kubernetes::{base, check_roots};
use crate::mounts::Mount;
use crate::outside::{Credential, Hidden, Roots};
use crate::refusal::Refusal;
use crate::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

const PATH: &str = "config";

/// What proves a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verification {
    /// The API server's word on it.
    #[default]
    TokenReview,
    /// A signature by a key of the cluster.
    Keys,
}

impl Verification {
    fn named(name: &str) -> Result<Verification, Refusal> {
        match name {
            "" | "token-review" => Ok(Verification::TokenReview),
            "keys" => Ok(Verification::Keys),
            _ => Err(Refusal::invalid("verification must be token-review or keys")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Verification::TokenReview => "token-review",
            Verification::Keys => "keys",
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    host: String,
    ca_cert: String,
    reviewer: String,
    pem_keys: Vec<String>,
    issuer: String,
    disable_iss_validation: bool,
    disable_local: bool,
    annotations: bool,
    verification: Verification,
    jwks_url: String,
}

/// The configuration, ready for use. It holds the reviewer's token: no `Debug`, no copies.
pub(super) struct Config {
    stored: Stored,
    pem: Option<Arc<str>>,
    /// Of `pem_keys`; none when there are none.
    pub(super) keys: Option<Keys>,
}

impl Config {
    fn new(stored: Stored) -> Result<Config, Refusal> {
        let bad = |why: String| Refusal::invalid(format!("pem_keys cannot be used: {why}"));
        let keys = match stored.pem_keys.is_empty() {
            true => None,
            false => Some(Keys::from_pem(stored.pem_keys.iter().map(String::as_str)).map_err(bad)?),
        };
        let pem = (!stored.ca_cert.is_empty()).then(|| Arc::from(stored.ca_cert.as_str()));
        Ok(Config { stored, pem, keys })
    }

    pub(super) fn verification(&self) -> Verification {
        self.stored.verification
    }

    pub(super) fn annotations(&self) -> bool {
        self.stored.annotations
    }

    /// The issuer that tokens must name.
    pub(super) fn issuer(&self) -> Option<&str> {
        (!self.stored.disable_iss_validation && !self.stored.issuer.is_empty())
            .then_some(self.stored.issuer.as_str())
    }

    /// `path` at the API server.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.stored.host)
    }

    /// Where the cluster's keys are.
    pub(super) fn jwks_url(&self) -> String {
        match self.stored.jwks_url.as_str() {
            "" => self.url("/openid/v1/jwks"),
            url => url.to_owned(),
        }
    }

    pub(super) fn roots(&self) -> Roots {
        match &self.pem {
            Some(pem) => Roots::Pem(pem.clone()),
            None if self.stored.disable_local => Roots::System,
            None => Roots::Pod,
        }
    }

    /// Who asks the API server, when `jwt` logs in.
    pub(super) fn reviewer(&self, jwt: &str) -> Credential {
        match (self.stored.reviewer.as_str(), self.stored.disable_local) {
            ("", true) => Credential::Bearer(Hidden::new(jwt)),
            ("", false) => Credential::PodOr(Hidden::new(jwt)),
            (reviewer, _) => Credential::Bearer(Hidden::new(reviewer)),
        }
    }

    /// Who asks the API server when nobody logs in; nobody where only the tokens that log in are shown to it.
    pub(super) fn own(&self) -> Option<Credential> {
        match (self.stored.reviewer.as_str(), self.stored.disable_local) {
            ("", true) => None,
            ("", false) => Some(Credential::Pod),
            (reviewer, _) => Some(Credential::Bearer(Hidden::new(reviewer))),
        }
    }
}

pub(super) fn find(cx: &mut Context<'_, '_>) -> Result<Option<Arc<Config>>, Refusal> {
    let mount = cx.mount.clone();
    of(cx, &mount)
}

/// The configuration of `mount`, which may be another than the request's.
pub(super) fn of(cx: &mut Context<'_, '_>, mount: &Mount) -> Result<Option<Arc<Config>>, Refusal> {
    cx.txn.built(&[&mount.prefix(), PATH].concat(), |plain| {
        let stored = serde_json::from_slice(plain).map_err(|_| Refusal::Corrupt(PATH.to_owned()))?;
        Config::new(stored)
    })
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = find(cx)?.ok_or(Refusal::missing())?;
    let stored = &config.stored;
    Response::data(&json!({
        "kubernetes_host": stored.host,
        "kubernetes_ca_cert": stored.ca_cert,
        "pem_keys": stored.pem_keys,
        "issuer": stored.issuer,
        "disable_iss_validation": stored.disable_iss_validation,
        "disable_local_ca_jwt": stored.disable_local,
        "token_reviewer_jwt_set": !stored.reviewer.is_empty(),
        "use_annotations_as_alias_metadata": stored.annotations,
        "verification": stored.verification.name(),
        "jwks_url": stored.jwks_url,
    }))
}

/// Replaces the configuration whole: what is not sent is at its default again.
pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let sent = cx.fields();
    let text = |name: &str| sent.string(name).map(|text| text.unwrap_or_default().trim().to_owned());
    let flag = |name: &str, otherwise: bool| sent.bool(name).map(|is| is.unwrap_or(otherwise));
    let stored = Stored {
        host: base(&text("kubernetes_host")?)?,
        ca_cert: text("kubernetes_ca_cert")?,
        reviewer: text("token_reviewer_jwt")?,
        pem_keys: sent.strings("pem_keys")?.unwrap_or_default(),
        issuer: text("issuer")?,
        disable_iss_validation: flag("disable_iss_validation", true)?,
        disable_local: flag("disable_local_ca_jwt", false)?,
        annotations: flag("use_annotations_as_alias_metadata", false)?,
        verification: Verification::named(&text("verification")?)?,
        jwks_url: text("jwks_url")?,
    };
    check_roots(&stored.ca_cert, stored.disable_local)?;
    Config::new(stored.clone())?;
    cx.put_json(PATH, &stored)?;
    Ok(Response::empty())
}
