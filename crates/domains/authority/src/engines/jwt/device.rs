//! Logins on machines without a browser: the device authorization grant (RFC 8628). Somebody signs in at the provider with
//! another machine, while this one asks again and again whether they have.
//!
//! As in [`super::oidc`], nothing is stored in between: the state has the device code in it, sealed.

use super::config::Config;
use super::login::answer;
use super::oidc::{check, expired, form_to, invalid, provider, role, scopes, sealed, unreachable, unsealed};
use super::role::Role;
use crate::context::Context;
use crate::jwt::Token;
use crate::outside::Hidden;
use crate::refusal::Refusal;
use crate::response::Response;
use keyward_crypto::same;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What is sealed is bound to its purpose.
const PURPOSE: &[u8] = b"oidc device";
/// How long somebody may take to sign in where the provider does not say, in seconds.
const PATIENCE: u64 = 600;
/// Seconds between two questions where nobody says (RFC 8628, section 3.5).
pub(super) const INTERVAL: u64 = 5;
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A login under way.
#[derive(Serialize, Deserialize)]
struct State {
    /// The mount: a state of one is of no use at another.
    mount: String,
    role: String,
    client_nonce: String,
    device_code: String,
    /// Seconds since 1970.
    ends: u64,
}

/// What the provider says to a request for a device code (RFC 8628, section 3.2). Older ones say `url` for `uri`.
#[derive(Deserialize)]
struct Authorization {
    device_code: String,
    user_code: String,
    #[serde(alias = "verification_url")]
    verification_uri: String,
    #[serde(default, alias = "verification_url_complete")]
    verification_uri_complete: String,
    expires_in: Option<u64>,
    interval: Option<u64>,
}

/// Begins a login of `role`, called `name`.
pub(super) fn begin(
    cx: &Context<'_, '_>,
    config: &Config,
    role: &Role,
    name: String,
    client_nonce: String,
) -> Result<Response, Refusal> {
    let provider = provider(config)?;
    let endpoint = provider.discover(cx)?.map_err(unreachable)?.device_authorization_endpoint;
    if endpoint.is_empty() {
        return Err(unreachable("its discovery document has no device_authorization_endpoint".to_owned()));
    }
    let ask = form_to(&provider, endpoint, &[("scope", &scopes(role))]);
    let reply = cx.ask(ask)?.as_ref().map_err(|why| unreachable(why.clone()))?;
    if reply.status != 200 {
        return Err(unreachable(format!(
            "it answers a request for a device code with HTTP status {}",
            reply.status
        )));
    }
    let given: Authorization = serde_json::from_slice(&reply.body)
        .map_err(|_| unreachable("its answer to a request for a device code cannot be read".to_owned()))?;
    let state = State {
        mount: cx.mount.uuid.clone(),
        role: name,
        client_nonce,
        device_code: given.device_code,
        ends: cx.now.secs().saturating_add(given.expires_in.unwrap_or(PATIENCE)),
    };
    let interval = match role.poll_interval {
        0 => given.interval.unwrap_or(INTERVAL),
        own => own,
    };
    let mut shown = json!({
        "auth_url": given.verification_uri_complete,
        "state": sealed(cx, PURPOSE, &state)?,
        "poll_interval": interval.to_string(),
    });
    if given.verification_uri_complete.is_empty() {
        shown["auth_url"] = json!(given.verification_uri);
        shown["user_code"] = json!(given.user_code);
    }
    Response::data(&shown)
}

/// What the provider says to a device code (RFC 8628, section 3.5).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Polled {
    error: String,
    id_token: String,
}

/// Completes the login of the state `sent`, once somebody has signed in.
pub(super) fn poll(
    cx: &mut Context<'_, '_>,
    config: &Config,
    sent: &str,
    client_nonce: &str,
) -> Result<Response, Refusal> {
    let state: State = unsealed(cx, PURPOSE, sent).ok_or_else(expired)?;
    if state.mount != cx.mount.uuid || cx.now.secs() > state.ends {
        return Err(expired());
    }
    if !same(state.client_nonce.as_bytes(), client_nonce.as_bytes()) {
        return Err(Refusal::invalid("invalid client_nonce: only who began the login can complete it"));
    }
    let role = role(cx, &state.role)?;
    role.token.check_address(cx.request)?;
    let provider = provider(config)?;
    let discovered = provider.discover(cx)?.map_err(unreachable)?;
    let pairs = [("grant_type", GRANT), ("device_code", &state.device_code)];
    let reply = cx.ask(form_to(&provider, discovered.token_endpoint, &pairs))?;
    let reply = reply.as_ref().map_err(|why| unreachable(why.clone()))?;
    let polled: Polled = serde_json::from_slice(&reply.body).unwrap_or_default();
    let id_token = Hidden::new(polled.id_token);
    match polled.error.as_str() {
        "" => {}
        // Clients know these two by heart, and ask again.
        waiting @ ("authorization_pending" | "slow_down") => return Err(Refusal::invalid(waiting)),
        why => return Err(Refusal::invalid(format!("authorization failed: {why}"))),
    }
    if reply.status != 200 || id_token.0.expose().is_empty() {
        return Err(Refusal::invalid("Vault login failed. No id_token found in response."));
    }
    let token = Token::parse(id_token.0.expose()).map_err(invalid)?;
    check(cx, &token, &role, config, &provider, None)?;
    Ok(Response::login(answer(&role, state.role, &token)?))
}
