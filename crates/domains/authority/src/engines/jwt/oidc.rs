//! Logins through a browser: the authorization code flow (OpenID Connect Core 1.0, section 3.1) with PKCE (RFC 7636).
//!
//! Nothing is stored between the two halves. The state that the provider repeats is sealed and carries what the second
//! half needs, so that anybody may begin as many logins as they like at no cost to the store. A code is the provider's
//! to accept once; whoever gets hold of the redirection cannot complete the login without the client's nonce.

use super::super::named;
use super::config::{self, Config, FORM_POST, Provider};
use super::login::answer;
use super::role::{Callback, Role};
use super::{device, direct};
use crate::context::Context;
use crate::jwt::{Bad, Token};
use crate::otpauth::encode;
use crate::outside::{Ask, Credential, Hidden};
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::random;
use keyward_crypto::{same, sha256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How long somebody may take to sign in.
const PATIENCE: u64 = 600;
/// What is sealed is bound to its purpose.
const PURPOSE: &[u8] = b"oidc state";
/// Bytes of the longest text a client chooses.
const LONGEST: usize = 2048;

/// A login under way.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    /// The mount: a state of one is of no use at another.
    mount: String,
    pub(super) role: String,
    redirect_uri: String,
    pub(super) client_nonce: String,
    pub(super) nonce: String,
    /// Shows the provider that who began the login completes it (RFC 7636, section 4.1).
    verifier: String,
    /// Where the request to begin came from.
    pub(super) from: String,
    /// Seconds since 1970.
    pub(super) ends: u64,
}

pub(super) fn configured(cx: &mut Context<'_, '_>) -> Result<Arc<Config>, Refusal> {
    config::find(cx)?.filter(|config| config.provider().is_some()).ok_or_else(|| {
        Refusal::invalid(
            "OIDC login is not configured: write oidc_discovery_url and oidc_client_id to the config",
        )
    })
}

pub(super) fn provider(config: &Config) -> Result<Provider<'_>, Refusal> {
    config.provider().ok_or_else(|| Refusal::Internal("a provider was there and is not".to_owned()))
}

pub(super) fn role(cx: &mut Context<'_, '_>, name: &str) -> Result<Arc<Role>, Refusal> {
    let role = named::find::<Role>(cx, name)?;
    role.filter(|role| role.oidc).ok_or_else(|| {
        Refusal::invalid(format!("role {name:?} could not be found, or is not of the type oidc"))
    })
}

fn random_text(cx: &Context<'_, '_>) -> String {
    URL_SAFE_NO_PAD.encode(random::bytes::<32>(cx.random()))
}

pub(super) fn begin(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = configured(cx)?;
    let text = |name: &str| cx.fields().string(name).map(Option::unwrap_or_default);
    let (asked, redirect_uri, client_nonce) = (text("role")?, text("redirect_uri")?, text("client_nonce")?);
    if asked.len() + redirect_uri.len() + client_nonce.len() > LONGEST {
        return Err(Refusal::invalid("role, redirect_uri and client_nonce are too long"));
    }
    let name = if asked.is_empty() { config.default_role().to_owned() } else { asked.to_lowercase() };
    let role = role(cx, &name)?;
    if role.callback != Callback::Client && client_nonce.is_empty() {
        return Err(Refusal::invalid("missing client_nonce"));
    }
    if role.callback == Callback::Device {
        return device::begin(cx, &config, &role, name, client_nonce);
    }
    if redirect_uri.is_empty() {
        return Err(Refusal::invalid("missing redirect_uri"));
    }
    if !role.redirect_uris.iter().any(|allowed| may_go_to(allowed, &redirect_uri)) {
        return Err(Refusal::invalid(
            "unauthorized redirect_uri: it must be one of the role's allowed_redirect_uris",
        ));
    }
    let provider = provider(&config)?;
    let endpoint = provider.discover(cx)?.map_err(unreachable)?.authorization_endpoint;
    if endpoint.is_empty() {
        return Err(unreachable("its discovery document has no authorization_endpoint".to_owned()));
    }
    let state = State {
        mount: cx.mount.uuid.clone(),
        role: name,
        redirect_uri,
        client_nonce,
        nonce: random_text(cx),
        verifier: random_text(cx),
        from: cx.request.remote.map(|remote| remote.ip().to_string()).unwrap_or_default(),
        ends: cx.now.secs() + PATIENCE,
    };
    let sent = sealed(cx, PURPOSE, &state)?;
    let challenge = URL_SAFE_NO_PAD.encode(sha256(state.verifier.as_bytes()));
    let mut query = form(&[
        ("client_id", provider.client_id),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("nonce", &state.nonce),
        ("redirect_uri", &state.redirect_uri),
        ("response_type", "code"),
        ("scope", &scopes(&role)),
        ("state", &sent),
    ]);
    if config.form_post() {
        query.push_str(&format!("&response_mode={FORM_POST}"));
    }
    if role.max_age > 0 {
        query.push_str(&format!("&max_age={}", role.max_age));
    }
    let separator = if endpoint.contains('?') { '&' } else { '?' };
    let mut shown = json!({ "auth_url": format!("{endpoint}{separator}{query}") });
    if role.callback == Callback::Direct {
        shown["state"] = json!(sent);
        shown["poll_interval"] = json!(direct::interval(&role).to_string());
    }
    Response::data(&shown)
}

/// What is asked of the provider, with a blank between.
pub(super) fn scopes(role: &Role) -> String {
    let more = role.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid");
    std::iter::once("openid").chain(more).collect::<Vec<_>>().join(" ")
}

/// A state that only this authority can read, bound to its purpose.
pub(super) fn sealed(
    cx: &Context<'_, '_>,
    purpose: &[u8],
    state: &impl Serialize,
) -> Result<String, Refusal> {
    let plain = serde_json::to_vec(state)
        .map_err(|why| Refusal::Internal(format!("a login's state could not be written: {why}")))?;
    Ok(URL_SAFE_NO_PAD.encode(cx.txn.keyring().batch.seal_with(cx.random(), purpose, &plain)))
}

/// What [`sealed`] made, whoever shows it.
pub(super) fn unsealed<T: DeserializeOwned>(cx: &Context<'_, '_>, purpose: &[u8], state: &str) -> Option<T> {
    let sealed = URL_SAFE_NO_PAD.decode(state).ok()?;
    let plain = cx.txn.keyring().batch.open_prefixed(purpose, &sealed).ok()?;
    serde_json::from_slice(&plain).ok()
}

/// The state of a login that is under way here.
pub(super) fn opened(cx: &Context<'_, '_>, state: &str) -> Option<State> {
    let state: State = unsealed(cx, PURPOSE, state)?;
    (state.mount == cx.mount.uuid && cx.now.secs() <= state.ends).then_some(state)
}

/// The refusal of states that are nobody's, or nobody's any more.
pub(super) fn expired() -> Refusal {
    Refusal::invalid("Vault login failed. Expired or missing OAuth state: begin the login anew")
}

/// Whether a redirection is allowed: as it is written, and to this machine with any port (RFC 8252, section 7.3).
pub(super) fn may_go_to(allowed: &str, asked: &str) -> bool {
    fn loopback(uri: &str) -> Option<(&str, &str)> {
        let rest = uri.strip_prefix("http://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        };
        matches!(host, "localhost" | "127.0.0.1" | "[::1]").then_some((host, path))
    }
    allowed == asked || loopback(allowed).is_some_and(|own| loopback(asked) == Some(own))
}

pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

pub(super) fn unreachable(why: String) -> Refusal {
    Refusal::denied(format!("the provider cannot be asked: {why}"))
}

pub(super) fn complete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = configured(cx)?;
    let text = |name: &str| cx.fields().string(name).map(Option::unwrap_or_default);
    let (sent, code, client_nonce) = (text("state")?, text("code")?, text("client_nonce")?);
    let error = text("error")?;
    let state = opened(cx, &sent).ok_or_else(expired)?;
    let role = role(cx, &state.role)?;
    if role.callback == Callback::Direct {
        return direct::arrive(cx, &config, &role, &state, &direct::Brought { state: &sent, code, error });
    }
    if config.form_post() && cx.operation != Operation::Read {
        return Ok(direct::not_here());
    }
    if !same(state.client_nonce.as_bytes(), client_nonce.as_bytes()) {
        return Err(Refusal::invalid("invalid client_nonce: only who began the login can complete it"));
    }
    if !error.is_empty() || code.is_empty() {
        let why = if error.is_empty() { "no code was sent".to_owned() } else { error };
        return Err(Refusal::invalid(format!("Vault login failed. The provider refused: {why}")));
    }
    role.token.check_address(cx.request)?;
    let provider = provider(&config)?;
    let id_token = exchange(cx, &provider, &state, &code)?;
    let token = Token::parse(id_token.0.expose()).map_err(invalid)?;
    check(cx, &token, &role, &config, &provider, Some(&state.nonce))?;
    Ok(Response::login(answer(&role, state.role, &token)?))
}

/// Completes a login whose outcome the browser does not bring to whoever began it.
pub(super) fn poll(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = configured(cx)?;
    let text = |name: &str| cx.fields().string(name).map(Option::unwrap_or_default);
    let (sent, client_nonce) = (text("state")?, text("client_nonce")?);
    match opened(cx, &sent) {
        Some(state) => direct::poll(cx, &config, state, &sent, &client_nonce),
        None => device::poll(cx, &config, &sent, &client_nonce),
    }
}

pub(super) fn invalid(why: Bad) -> Refusal {
    Refusal::invalid(format!("error validating the provider's token: {why}"))
}

/// The ID token that the provider gives for the code.
pub(super) fn exchange(
    cx: &Context<'_, '_>,
    provider: &Provider<'_>,
    state: &State,
    code: &str,
) -> Result<Hidden, Refusal> {
    #[derive(Deserialize)]
    struct Given {
        id_token: String,
    }
    let discovered = provider.discover(cx)?.map_err(unreachable)?;
    let ask = form_to(
        provider,
        discovered.token_endpoint,
        &[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &state.redirect_uri),
            ("code_verifier", &state.verifier),
        ],
    );
    let reply = cx.ask(ask)?.as_ref().map_err(|why| unreachable(why.clone()))?;
    if reply.status != 200 {
        return Err(Refusal::invalid(format!(
            "Vault login failed. Error exchanging the code: the provider answers with HTTP status {}",
            reply.status
        )));
    }
    let given: Given = serde_json::from_slice(&reply.body)
        .map_err(|_| Refusal::invalid("Vault login failed. No id_token found in response."))?;
    Ok(Hidden::new(given.id_token))
}

/// A form for the provider, with what proves who we are.
pub(super) fn form_to(provider: &Provider<'_>, url: String, pairs: &[(&str, &str)]) -> Ask {
    let mut body = form(pairs);
    let credential = match provider.credential() {
        // Both parts are encoded as in a form (RFC 6749, section 2.3.1).
        Some((name, secret)) => Credential::Basic(encode(&name), Hidden::new(encode(secret.0.expose()))),
        None => {
            body.push_str(&format!("&{}", form(&[("client_id", provider.client_id)])));
            Credential::None
        }
    };
    Ask {
        url,
        roots: provider.roots.clone(),
        credential,
        body: Some(("application/x-www-form-urlencoded", Hidden::new(body))),
        may_be_old: Duration::ZERO,
        retries: 0,
    }
}

/// Whether the token is the provider's, for us, for this login, and for now (OpenID Connect Core 1.0, section 3.1.3.7). A
/// login without redirections has no `nonce`: its device code is what binds it.
pub(super) fn check(
    cx: &Context<'_, '_>,
    token: &Token<'_>,
    role: &Role,
    config: &Config,
    provider: &Provider<'_>,
    nonce: Option<&str>,
) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(format!("error validating the provider's token: {why}")));
    token.check_times(cx.now, role.leeways()).map_err(invalid)?;
    if !config.believes(token.text("iss")) {
        return refuse("invalid issuer (iss) claim");
    }
    let audiences = token.audiences();
    if !audiences.contains(&provider.client_id) {
        return refuse("invalid audience (aud) claim: it is for another client");
    }
    if token.text("azp").is_some_and(|party| party != provider.client_id)
        || audiences.len() > 1 && token.text("azp").is_none()
    {
        return refuse("invalid authorized party (azp) claim");
    }
    if !role.audiences.is_empty() && !role.audiences.iter().any(|bound| audiences.contains(&bound.as_str())) {
        return refuse("invalid audience (aud) claim");
    }
    if !role.subject.is_empty() && token.text("sub") != Some(&role.subject) {
        return refuse("invalid subject (sub) claim");
    }
    let is_same =
        |wanted: &str| token.text("nonce").is_some_and(|nonce| same(nonce.as_bytes(), wanted.as_bytes()));
    if !nonce.is_none_or(is_same) {
        return refuse("invalid nonce: the token is of another login");
    }
    if role.max_age > 0 {
        let signed_in = token.claims.get("auth_time").and_then(serde_json::Value::as_u64);
        let latest = role.max_age + role.leeways().skew.as_secs();
        if signed_in.is_none_or(|at| cx.now.secs() > at.saturating_add(latest)) {
            return refuse("the sign-in at the provider is longer ago than max_age allows");
        }
    }
    let keys = config.keys(cx, Some(token))?.map_err(unreachable)?;
    keys.verify(token, config.algorithms()).map_err(invalid)
}
