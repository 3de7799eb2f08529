//! `identity/oidc/provider`: who vouches for people to applications, and where.

use super::super::{ISSUER_IS_SET, check_issuer, name, store};
use super::{OPENID, clients, entries, scopes};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, Traits, field};
use keyward_crypto::keys::{Algorithm, JWS_ALGORITHMS};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) const PROVIDERS: &str = "oidc/provider/";
/// The one that is always there, for all applications.
const DEFAULT: &str = "default";

const OPEN: Traits = Traits { open: true, ..Route::EMPTY.traits };

const FIELDS: &[Field] = &[
    field("issuer", Kind::Text, "Scheme, host and port that tokens name; `api_addr` without it."),
    field("allowed_client_ids", Kind::List, "The applications that may use it; `*` is all."),
    field("scopes_supported", Kind::List, "The scopes they may ask for."),
];

pub(in super::super::super) const ROUTES: &[Route] = &[
    Route {
        pattern: "oidc/provider",
        operations: &[(Operation::List, list)],
        fields: &[field("allowed_client_id", Kind::Text, "Lists those that this application may use.")],
        help: "Lists the providers.",
        ..Route::EMPTY
    },
    Route {
        pattern: "oidc/provider/{name}",
        operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, delete)],
        exists: Some(exists),
        fields: FIELDS,
        help: "Shows, creates, changes and removes a provider.",
        ..Route::EMPTY
    },
    Route {
        pattern: "oidc/provider/{name}/.well-known/openid-configuration",
        operations: &[(Operation::Read, discover)],
        traits: OPEN,
        help: "What applications need to know of the provider (OpenID Connect Discovery, section 3).",
        ..Route::EMPTY
    },
    Route {
        pattern: "oidc/provider/{name}/.well-known/keys",
        operations: &[(Operation::Read, public_keys)],
        traits: OPEN,
        help: "The public keys of the provider's identity tokens.",
        ..Route::EMPTY
    },
];

/// A provider.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Provider {
    issuer: String,
    clients: Vec<String>,
    pub(super) scopes: Vec<String>,
}

impl Provider {
    /// Whether the application `id` may use it.
    pub(super) fn allows(&self, id: &str) -> bool {
        self.clients.iter().any(|allowed| allowed == "*" || allowed == id)
    }

    /// What its tokens name as their issuer.
    pub(super) fn issuer(&self, cx: &Context<'_, '_>, name: &str) -> String {
        let origin = if self.issuer.is_empty() { &cx.settings.api_addr } else { &self.issuer };
        format!("{origin}/v1/{}{PROVIDERS}{name}", cx.mount.path)
    }

    fn describe(&self, cx: &Context<'_, '_>, name: &str) -> Value {
        json!({
            "issuer": self.issuer(cx, name),
            "allowed_client_ids": self.clients,
            "scopes_supported": self.scopes,
        })
    }
}

/// The provider `name`.
pub(super) fn find(cx: &mut Context<'_, '_>, name: &str) -> Result<Option<Arc<Provider>>, Refusal> {
    let found = cx.built_json(&format!("{PROVIDERS}{name}"))?;
    let default = || Arc::new(Provider { clients: vec!["*".to_owned()], ..Provider::default() });
    Ok(found.or_else(|| (name == DEFAULT).then(default)))
}

fn named(cx: &mut Context<'_, '_>) -> Result<Arc<Provider>, Refusal> {
    let name = name(cx);
    find(cx, &name)?.ok_or(Refusal::missing())
}

fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let name = name(cx);
    Ok(find(cx, &name)?.is_some())
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let wanted = cx.fields().string("allowed_client_id")?.unwrap_or_default();
    let mut all = entries::<Provider>(cx, PROVIDERS)?;
    if all.iter().all(|(name, _)| name != DEFAULT)
        && let Some(default) = find(cx, DEFAULT)?
    {
        all.push((DEFAULT.to_owned(), (*default).clone()));
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    }
    all.retain(|(_, provider)| wanted.is_empty() || provider.allows(&wanted));
    if all.is_empty() {
        return Err(Refusal::missing());
    }
    let keys: Vec<&String> = all.iter().map(|(name, _)| name).collect();
    let info: Map<String, Value> =
        all.iter().map(|(name, provider)| (name.clone(), provider.describe(cx, name))).collect();
    Response::data(&json!({ "keys": keys, "key_info": info }))
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let provider = named(cx)?;
    Response::data(&provider.describe(cx, cx.param("name")))
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx);
    let mut provider = find(cx, &name)?.map(Arc::unwrap_or_clone).unwrap_or_default();
    let mut response = Response::empty();
    if let Some(issuer) = cx.fields().string("issuer")? {
        if !issuer.is_empty() {
            check_issuer(&issuer)?;
            response = response.warn(ISSUER_IS_SET);
        }
        provider.issuer = issuer;
    }
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names.dedup();
        names
    };
    if let Some(ids) = cx.fields().strings("allowed_client_ids")? {
        provider.clients = sorted(ids);
    }
    if let Some(names) = cx.fields().strings("scopes_supported")? {
        provider.scopes = sorted(names);
        for scope in &provider.scopes {
            scopes::check(cx, scope)?;
        }
    }
    cx.put_json(&format!("{PROVIDERS}{name}"), &provider)?;
    Ok(response)
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx);
    if name == DEFAULT {
        return Err(Refusal::invalid(format!("deletion of OIDC provider {DEFAULT:?} not allowed")));
    }
    cx.delete(&format!("{PROVIDERS}{name}"));
    Ok(Response::empty())
}

fn discover(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let provider = named(cx)?;
    let issuer = provider.issuer(cx, cx.param("name"));
    let mut scopes = provider.scopes.clone();
    scopes.push(OPENID.to_owned());
    Response::verbatim_json(&json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/keys"),
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "id_token_signing_alg_values_supported": JWS_ALGORITHMS.map(Algorithm::name),
        "response_types_supported": ["code"],
        "scopes_supported": scopes,
        "claims_supported": [],
        "subject_types_supported": ["public"],
        "grant_types_supported": ["authorization_code"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["plain", "S256"],
    }))
}

fn public_keys(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let provider = named(cx)?;
    let names = clients::keys(cx, |id| provider.allows(id))?;
    let keys = store(cx).jwks(cx.txn, cx.now, |name| names.iter().any(|known| known == name))?;
    Response::verbatim_json(&keys)
}
