//! `authorize`: somebody with a token lets an application know who they are. The answer is a code, which the application
//! exchanges once, within five minutes.

use super::super::name;
use super::{Fault, OPENID, assignments, clients, oauth, providers, text};
use crate::context::Context;
use crate::expiry::{self, Due};
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, field};
use crate::txn::Txn;
use keyward_core::random;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// How long a code counts.
const LIFETIME: Duration = Duration::from_secs(300);
/// The longest nonce or state, in bytes.
const LONGEST: usize = 4096;

pub(in super::super::super) const ROUTES: &[Route] = &[Route {
    pattern: "oidc/provider/{name}/authorize",
    operations: &[(Operation::Read, authorize), (Operation::Update, authorize)],
    fields: &[
        field("client_id", Kind::Text, "The application."),
        field("scope", Kind::Text, "`openid` and other scopes, separated by spaces."),
        field("redirect_uri", Kind::Text, "Where the application is told of it."),
        field("response_type", Kind::Text, "`code`."),
        field("state", Kind::Text, "Repeated in the answer."),
        field("nonce", Kind::Text, "Repeated in the identity token."),
        field("max_age", Kind::Int, "Seconds since the login, at most."),
        field("prompt", Kind::Text, "Not looked at: the login is over."),
        field("code_challenge", Kind::Text, "The proof key (RFC 7636)."),
        field("code_challenge_method", Kind::Text, "`plain` or `S256`."),
    ],
    help: "Gives an application a code that stands for the caller.",
    ..Route::EMPTY
}];

/// What a code stands for.
#[derive(Serialize, Deserialize)]
pub(super) struct Grant {
    pub(super) provider: String,
    pub(super) client: String,
    pub(super) entity: String,
    pub(super) redirect_uri: String,
    pub(super) nonce: String,
    pub(super) scopes: Vec<String>,
    /// The challenge, and whether it is a hash.
    pub(super) challenge: Option<(String, bool)>,
    /// Seconds since the epoch; zero when it was not asked for.
    pub(super) auth_time: u64,
    /// Nanoseconds since the epoch.
    pub(super) ends: u64,
}

/// Where a code is kept, below the mount: under a keyed hash.
fn path(txn: &Txn<'_>, code: &str) -> (String, String) {
    let tag = txn.keyring().names.tag_parts(&[b"oidc code\0", code.as_bytes()]);
    let name = hex::encode(&tag[..20]);
    (format!("oidc/code/{name}"), format!("code-{name}"))
}

/// Takes the grant of `code`: it counts once.
pub(super) fn take(cx: &mut Context<'_, '_>, code: &str) -> Result<Option<Grant>, Refusal> {
    let (path, due) = path(cx.txn, code);
    let grant = cx.get_json::<Grant>(&path)?;
    if let Some(grant) = &grant {
        expiry::forget(cx.txn, grant.ends, &due);
        cx.delete(&path);
    }
    let now = cx.now.nanos();
    Ok(grant.filter(|grant| grant.ends > now))
}

fn authorize(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let state = text(cx, "state")?;
    if state.len() > LONGEST || text(cx, "nonce")?.len() > LONGEST {
        return Err(Refusal::invalid(format!("state and nonce have at most {LONGEST} bytes")));
    }
    match grant(cx)? {
        Ok(grant) => {
            let code = random::base62(cx.random(), 32);
            let (path, due) = path(cx.txn, &code);
            expiry::remember(cx.txn, grant.ends, &due, &Due::Entry(cx.key(&path)))?;
            cx.put_json(&path, &grant)?;
            oauth(200, &json!({ "code": code, "state": state }))
        }
        Err(Fault(error, why)) => {
            oauth(400, &json!({ "error": error, "error_description": why, "state": state }))
        }
    }
}

fn grant(cx: &mut Context<'_, '_>) -> Result<Result<Grant, Fault>, Refusal> {
    let fault = |error, why: &str| Ok(Err(Fault::new(error, why)));
    let client_id = text(cx, "client_id")?;
    if client_id.is_empty() {
        return fault("invalid_client_id", "client_id parameter is required");
    }
    let Some(client) = clients::by_id(cx, &client_id)? else {
        return fault("invalid_client_id", "client with client_id not found");
    };
    let redirect_uri = text(cx, "redirect_uri")?;
    if redirect_uri.is_empty() {
        return fault("invalid_request", "redirect_uri parameter is required");
    }
    if !client.redirects_to(&redirect_uri) {
        return fault("invalid_redirect_uri", "redirect_uri is not allowed for the client");
    }
    let name = name(cx);
    let Some(provider) = providers::find(cx, &name)? else {
        return fault("invalid_request", "provider not found");
    };
    if !provider.allows(&client_id) {
        return fault("unauthorized_client", "client is not authorized to use the provider");
    }
    for (parameter, error) in
        [("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")]
    {
        if cx.fields().has(parameter) {
            return fault(error, "requests within requests are not supported");
        }
    }
    let asked = text(cx, "scope")?;
    let mut asked = asked.split(' ');
    if !asked.clone().any(|scope| scope == OPENID) {
        return fault("invalid_request", "scope parameter must contain the \"openid\" value");
    }
    let known = |scope: &&str| *scope == OPENID || provider.scopes.iter().any(|known| known == scope);
    let mut scopes: Vec<String> = asked.by_ref().filter(known).map(str::to_owned).collect();
    scopes.sort_unstable();
    scopes.dedup();
    match text(cx, "response_type")?.as_str() {
        "code" => {}
        "" => return fault("invalid_request", "response_type parameter is required"),
        _ => return fault("unsupported_response_type", "unsupported response_type value"),
    }
    let Some(holder) = cx.caller()?.holder.clone() else {
        return fault("access_denied", "identity entity must be associated with the request");
    };
    if !assignments::assigned(cx, &client.assignments, &holder)? {
        return fault("access_denied", "identity entity not authorized by client assignment");
    }
    let challenge = match challenge(cx)? {
        Ok(None) if client.is_public() => {
            return fault("invalid_request", "PKCE is required for public clients");
        }
        Ok(challenge) => challenge,
        Err(why) => return Ok(Err(why)),
    };
    let created = cx.caller()?.token.created_at();
    let auth_time = match cx.fields().int("max_age")? {
        None => 0,
        Some(..1) => return fault("invalid_request", "max_age must be greater than zero"),
        Some(most) if cx.now.since(created).as_secs() > most.unsigned_abs() => {
            return fault("max_age_violation", "active re-authentication is required by max_age");
        }
        Some(_) => created.secs(),
    };
    Ok(Ok(Grant {
        provider: name,
        client: client_id,
        entity: holder.entity.id.clone(),
        redirect_uri,
        nonce: text(cx, "nonce")?,
        scopes,
        challenge,
        auth_time,
        ends: cx.now.plus(LIFETIME).nanos(),
    }))
}

/// The proof key, and whether it is a hash.
fn challenge(cx: &Context<'_, '_>) -> Result<Result<Option<(String, bool)>, Fault>, Refusal> {
    let challenge = text(cx, "code_challenge")?;
    let hashed = match text(cx, "code_challenge_method")?.as_str() {
        "" | "plain" => false,
        "S256" => true,
        _ => return Ok(Err(Fault::new("invalid_request", "invalid code_challenge_method"))),
    };
    Ok(match challenge.len() {
        0 => Ok(None),
        43..=128 => Ok(Some((challenge, hashed))),
        _ => Err(Fault::new("invalid_request", "invalid code_challenge")),
    })
}
