//! The configuration of a mount.

use crate::context::Context;
use crate::jwt::{ALGORITHMS, Fetched, Keys, PUBLISHED, Token, fetch, published};
use crate::outside::{Ask, Hidden, Roots};
use crate::refusal::Refusal;
use crate::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

const PATH: &str = "config";
/// What the provider calls redirections by a form (OAuth 2.0 Form Post Response Mode).
pub(super) const FORM_POST: &str = "form_post";
const WELL_KNOWN: &str = ".well-known/openid-configuration";

/// It may hold the client's secret: no `Debug`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    pubkeys: Vec<String>,
    jwks_url: String,
    jwks_ca: String,
    discovery_url: String,
    discovery_ca: String,
    bound_issuer: String,
    algorithms: Vec<String>,
    default_role: String,
    client_id: String,
    client_secret: String,
    form_post: bool,
}

/// Where the keys come from.
enum Signer {
    Keys(Arc<Keys>),
    KeySet { url: String, roots: Roots },
    Provider { issuer: String, roots: Roots },
}

/// The configuration, ready for use.
pub(super) struct Config {
    stored: Stored,
    signer: Signer,
}

/// What a provider says of itself (OpenID Connect Discovery 1.0, section 3).
#[derive(Deserialize)]
pub(super) struct Discovery {
    issuer: String,
    jwks_uri: String,
    /// Where people go to sign in.
    #[serde(default)]
    pub(super) authorization_endpoint: String,
    /// Where a code becomes a token.
    #[serde(default)]
    pub(super) token_endpoint: String,
    /// Empty where there is no device authorization grant (RFC 8628).
    #[serde(default)]
    pub(super) device_authorization_endpoint: String,
}

/// An OpenID provider at which we are a client.
pub(super) struct Provider<'c> {
    issuer: &'c str,
    pub(super) roots: &'c Roots,
    pub(super) client_id: &'c str,
    client_secret: &'c str,
}

impl Provider<'_> {
    /// What it says of itself.
    pub(super) fn discover(&self, cx: &Context<'_, '_>) -> Result<Fetched<Discovery>, Refusal> {
        discover(cx, self.issuer, self.roots)
    }

    /// Who we are to it: by name and secret, or by name alone.
    pub(super) fn credential(&self) -> Option<(String, Hidden)> {
        let secret = Some(self.client_secret).filter(|secret| !secret.is_empty());
        secret.map(|secret| (self.client_id.to_owned(), Hidden::new(secret)))
    }
}

impl Config {
    fn new(stored: Stored) -> Result<Config, Refusal> {
        let roots = |pem: &str| if pem.is_empty() { Roots::System } else { Roots::Pem(pem.into()) };
        let signer = match (
            stored.pubkeys.is_empty(),
            stored.jwks_url.as_str(),
            stored.discovery_url.as_str(),
        ) {
            (false, "", "") => {
                let keys = Keys::from_pem(stored.pubkeys.iter().map(String::as_str));
                Signer::Keys(Arc::new(keys.map_err(|why| {
                    Refusal::invalid(format!("error parsing public key: jwt_validation_pubkeys: {why}"))
                })?))
            }
            (true, url, "") if !url.is_empty() => {
                Signer::KeySet { url: url.to_owned(), roots: roots(&stored.jwks_ca) }
            }
            (true, "", issuer) if !issuer.is_empty() => {
                Signer::Provider { issuer: issuer.to_owned(), roots: roots(&stored.discovery_ca) }
            }
            _ => {
                return Err(Refusal::invalid(
                    "exactly one of 'jwt_validation_pubkeys', 'jwks_url' or 'oidc_discovery_url' must be set",
                ));
            }
        };
        let client = !stored.client_id.is_empty() || !stored.client_secret.is_empty();
        if client && (stored.client_id.is_empty() || !matches!(signer, Signer::Provider { .. })) {
            return Err(Refusal::invalid(
                "logins through a browser need both 'oidc_discovery_url' and 'oidc_client_id'",
            ));
        }
        Ok(Config { stored, signer })
    }

    /// Where people sign in, if logins through a browser are configured.
    pub(super) fn provider(&self) -> Option<Provider<'_>> {
        let Stored { client_id, client_secret, .. } = &self.stored;
        match &self.signer {
            Signer::Provider { issuer, roots } if !client_id.is_empty() => {
                Some(Provider { issuer, roots, client_id, client_secret })
            }
            _ => None,
        }
    }

    /// The algorithms that count; any of public keys when there are none.
    pub(super) fn algorithms(&self) -> &[String] {
        &self.stored.algorithms
    }

    /// The role of logins that name none; may be empty.
    pub(super) fn default_role(&self) -> &str {
        &self.stored.default_role
    }

    /// Whether tokens of `issuer` count. A provider's tokens name that provider, whether or not it is configured;
    /// with or without the slash that discovery puts behind it.
    pub(super) fn believes(&self, issuer: Option<&str>) -> bool {
        let bare = |issuer: &str| issuer.trim_end_matches('/').to_owned();
        match (&self.signer, self.stored.bound_issuer.as_str()) {
            (Signer::Provider { issuer: provider, .. }, "") => issuer.map(bare) == Some(bare(provider)),
            (_, "") => true,
            (_, bound) => issuer == Some(bound),
        }
    }

    /// Whether the provider has browsers post what it says, so that no code stands in an address.
    pub(super) fn form_post(&self) -> bool {
        self.stored.form_post
    }

    /// The keys that may have signed `token`, or any token. The text of a failure is for the operator.
    pub(super) fn keys(
        &self,
        cx: &Context<'_, '_>,
        token: Option<&Token<'_>>,
    ) -> Result<Fetched<Arc<Keys>>, Refusal> {
        let at = |url: &str, roots: &Roots| {
            published(cx, token, |may_be_old| Ask::get(url, roots.clone(), may_be_old))
        };
        match &self.signer {
            Signer::Keys(keys) => Ok(Ok(keys.clone())),
            Signer::KeySet { url, roots } => at(url, roots),
            Signer::Provider { issuer, roots } => match discover(cx, issuer, roots)? {
                Ok(discovery) => at(&discovery.jwks_uri, roots),
                Err(why) => Ok(Err(why)),
            },
        }
    }
}

fn discover(cx: &Context<'_, '_>, issuer: &str, roots: &Roots) -> Result<Fetched<Discovery>, Refusal> {
    let url = format!("{}/{WELL_KNOWN}", issuer.trim_end_matches('/'));
    Ok(fetch(cx, Ask::get(&url, roots.clone(), PUBLISHED))?.and_then(|reply| {
        let found: Discovery =
            serde_json::from_slice(&reply.body).map_err(|_| format!("{url} is no discovery document"))?;
        // OpenID Connect Discovery 1.0, section 4.3: a document for another issuer is not to be believed.
        if found.issuer.trim_end_matches('/') != issuer.trim_end_matches('/') {
            return Err(format!("{url} is of another issuer"));
        }
        Ok(found)
    }))
}

pub(super) fn find(cx: &mut Context<'_, '_>) -> Result<Option<Arc<Config>>, Refusal> {
    cx.built(PATH, |plain| {
        let stored = serde_json::from_slice(plain).map_err(|_| Refusal::Corrupt(PATH.to_owned()))?;
        Config::new(stored)
    })
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = find(cx)?.ok_or(Refusal::missing())?;
    let (keys, stored) = (config.keys(cx, None)?, &config.stored);
    let response = Response::data(&json!({
        "jwt_validation_pubkeys": stored.pubkeys,
        "jwks_url": stored.jwks_url,
        "jwks_ca_pem": stored.jwks_ca,
        "oidc_discovery_url": stored.discovery_url,
        "oidc_discovery_ca_pem": stored.discovery_ca,
        "oidc_client_id": stored.client_id,
        "oidc_response_mode": if stored.form_post { FORM_POST } else { "" },
        "oidc_response_types": [],
        "bound_issuer": stored.bound_issuer,
        "jwt_supported_algs": stored.algorithms,
        "default_role": stored.default_role,
        "provider_config": {},
        "namespace_in_state": true,
        "status": if keys.is_ok() { "valid" } else { "invalid" },
    }))?;
    Ok(match keys {
        Ok(_) => response,
        Err(why) => response.warn(format!("the keys cannot be had: {why}")),
    })
}

/// Replaces the configuration whole: what is not sent is at its default again.
pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let sent = cx.fields();
    let text = |name: &str| sent.string(name).map(|text| text.unwrap_or_default().trim().to_owned());
    let form_post = match text("oidc_response_mode")?.as_str() {
        "" | "query" => false,
        FORM_POST => true,
        other => {
            return Err(Refusal::invalid(format!(
                "invalid response_mode: {other:?}; use query or form_post"
            )));
        }
    };
    if sent.strings("oidc_response_types")?.is_some_and(|types| types.iter().any(|kind| kind != "code")) {
        return Err(Refusal::invalid("oidc_response_types: only code is available; leave it out"));
    }
    if sent
        .value("provider_config")?
        .as_ref()
        .and_then(Value::as_object)
        .is_some_and(|asked| !asked.is_empty())
    {
        return Err(Refusal::invalid(
            "provider_config: nothing is asked of a provider in ways of its own; leave it out, and have it put groups \
             into the token",
        ));
    }
    let (discovery_url, rest) = match text("oidc_discovery_url")?.split_once(WELL_KNOWN) {
        Some((issuer, _)) => (issuer.to_owned(), true),
        None => (text("oidc_discovery_url")?, false),
    };
    let stored = Stored {
        pubkeys: sent.strings("jwt_validation_pubkeys")?.unwrap_or_default(),
        jwks_url: text("jwks_url")?,
        jwks_ca: text("jwks_ca_pem")?,
        discovery_url,
        discovery_ca: text("oidc_discovery_ca_pem")?,
        bound_issuer: text("bound_issuer")?,
        algorithms: sent.strings("jwt_supported_algs")?.unwrap_or_default(),
        default_role: text("default_role")?.to_lowercase(),
        client_id: text("oidc_client_id")?,
        client_secret: text("oidc_client_secret")?,
        form_post,
    };
    if let Some(unknown) = stored.algorithms.iter().find(|name| !ALGORITHMS.contains(&name.as_str())) {
        return Err(Refusal::invalid(format!(
            "unsupported signing algorithm {unknown:?}: jwt_supported_algs may name {}",
            ALGORITHMS.join(", ")
        )));
    }
    let lenient = sent.bool("skip_jwks_validation")?.unwrap_or(false);
    let config = Config::new(stored)?;
    let mut warnings = Vec::new();
    if rest {
        warnings.push(format!("modifying provided oidc_discovery_url to {:?}", config.stored.discovery_url));
    }
    if let Err(why) = config.keys(cx, None)? {
        let what = if config.stored.jwks_url.is_empty() { "oidc discovery URL" } else { "jwks URL" };
        let failed = format!("error checking {what}: {why}");
        match lenient {
            true => warnings.push(failed),
            false => return Err(Refusal::invalid(failed)),
        }
    }
    cx.put_json(PATH, &config.stored)?;
    Ok(Response { warnings, ..Response::empty() })
}
