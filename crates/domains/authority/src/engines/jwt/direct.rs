//! Logins whose browser comes back to the authority (`callback_mode=direct`): for programs that no browser can reach, such
//! as a command line on another machine. Whoever began asks `oidc/poll` for the outcome.
//!
//! Until somebody has signed in nothing is stored, as in [`super::oidc`]; then the provider's token is, until it is
//! asked for or ten minutes are over. Whoever signs in gives their rights to whoever began: they are shown from where that
//! was, and asked, unless the role says otherwise.

use super::config::Config;
use super::device::INTERVAL;
use super::login::answer;
use super::oidc::{State, check, exchange, invalid, provider, role};
use super::role::Role;
use crate::context::Context;
use crate::expiry::{self, Due};
use crate::jwt::Token;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use keyward_core::Timestamp;
use keyward_crypto::{Secret, same, sha256};
use serde::{Deserialize, Serialize};

const ARRIVED: &str = "arrived/";
const HTML: &str = "text/html; charset=utf-8";
/// Bytes of the longest ID token that is kept.
const LONGEST: usize = 64 * 1024;
const PENDING: &str = "authorization_pending";

/// What a browser brings from the provider.
pub(super) struct Brought<'a> {
    pub(super) state: &'a str,
    pub(super) code: String,
    pub(super) error: String,
}

/// A sign-in that nobody has asked for yet.
#[derive(Serialize, Deserialize)]
struct Arrived {
    id_token: String,
}

/// Where the outcome of a state is kept. The state itself is a credential.
fn key(state: &str) -> String {
    format!("{ARRIVED}{}", hex::encode(sha256(state.as_bytes())))
}

/// Seconds between two questions.
pub(super) fn interval(role: &Role) -> u64 {
    if role.poll_interval == 0 { INTERVAL } else { role.poll_interval }
}

/// A browser comes back: asks who signs in whether they began, and keeps what the provider says.
pub(super) fn arrive(
    cx: &mut Context<'_, '_>,
    config: &Config,
    role: &Role,
    state: &State,
    brought: &Brought<'_>,
) -> Result<Response, Refusal> {
    if !brought.error.is_empty() || brought.code.is_empty() {
        return Ok(page(
            400,
            "The login failed",
            "The provider refused the sign-in, or sent no code. Begin anew.",
        ));
    }
    let confirmed = cx.fields().string("confirmation")?.is_some_and(|text| !text.is_empty());
    if !confirmed && !role.disable_confirmation {
        return Ok(confirmation(cx.operation, state, brought));
    }
    let path = key(brought.state);
    if cx.exists(&path)? {
        return Ok(page(400, "The login failed", "Somebody has signed in for it already."));
    }
    let provider = provider(config)?;
    let id_token = match exchange(cx, &provider, state, &brought.code) {
        Ok(id_token) => id_token,
        Err(Refusal::Invalid(why)) => return Ok(page(400, "The login failed", &why.join(" "))),
        Err(other) => return Err(other),
    };
    let token = Token::parse(id_token.0.expose()).map_err(invalid)?;
    check(cx, &token, role, config, &provider, Some(&state.nonce))?;
    // Refused here, where whoever signed in sees it, and not only where they look later.
    answer(role, state.role.clone(), &token)?;
    if id_token.0.expose().len() > LONGEST {
        return Err(Refusal::invalid(format!("the provider's token has more than {LONGEST} bytes")));
    }
    cx.put_json(&path, &Arrived { id_token: id_token.0.expose().clone() })?;
    let due = Due::Entry(cx.key(&path));
    let ends = Timestamp::from_secs(state.ends).nanos();
    expiry::remember(cx.txn, ends, &hex::encode(sha256(brought.state.as_bytes())), &due)?;
    Ok(page(200, "You are signed in", "Close this window and go back to where you began."))
}

/// The login of the state `sent`, once somebody has signed in for it. It is given once.
pub(super) fn poll(
    cx: &mut Context<'_, '_>,
    config: &Config,
    state: State,
    sent: &str,
    client_nonce: &str,
) -> Result<Response, Refusal> {
    if !same(state.client_nonce.as_bytes(), client_nonce.as_bytes()) {
        return Err(Refusal::invalid("invalid client_nonce: only who began the login can complete it"));
    }
    let role = role(cx, &state.role)?;
    role.token.check_address(cx.request)?;
    let path = key(sent);
    let Some(arrived) = cx.get_json::<Arrived>(&path)? else { return Err(Refusal::invalid(PENDING)) };
    let id_token = Secret::new(arrived.id_token);
    let token = Token::parse(id_token.expose()).map_err(invalid)?;
    check(cx, &token, &role, config, &provider(config)?, Some(&state.nonce))?;
    let login = answer(&role, state.role, &token)?;
    cx.delete(&path);
    expiry::forget(cx.txn, Timestamp::from_secs(state.ends).nanos(), &hex::encode(sha256(sent.as_bytes())));
    Ok(Response::login(login))
}

/// What a browser is shown that brings a form for somebody else to complete.
pub(super) fn not_here() -> Response {
    page(200, "The provider has answered", "The login is completed where you began it.")
}

/// Asks whether who signs in began the login; what they say comes as what the provider said did.
fn confirmation(operation: Operation, state: &State, brought: &Brought<'_>) -> Response {
    let method = if operation == Operation::Read { "get" } else { "post" };
    let from = if state.from.is_empty() { "an unknown address" } else { &state.from };
    let text = format!(
        "<p>Somebody at <b>{}</b> waits to be logged in as you, to the role <b>{}</b>. Go on only if that is you: they \
         get your rights.</p><form method=\"{method}\"><input type=\"hidden\" name=\"state\" value=\"{}\"><input \
         type=\"hidden\" name=\"code\" value=\"{}\"><input type=\"hidden\" name=\"confirmation\" value=\"yes\"><button>That is \
         me: log in</button></form>",
        escaped(from),
        escaped(&state.role),
        escaped(brought.state),
        escaped(&brought.code)
    );
    document(200, "Confirm the login", &text)
}

fn page(status: u16, title: &str, text: &str) -> Response {
    document(status, title, &format!("<p>{}</p>", escaped(text)))
}

fn document(status: u16, title: &str, body: &str) -> Response {
    let text = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head><body><h1>{title}</h1>\
         {body}</body></html>"
    );
    let response = Response { status: Some(status), ..Response::raw(HTML, text.into_bytes()) };
    // Nothing is loaded, and nobody is led to click it inside a page of theirs.
    response.with_header(
        "content-security-policy",
        "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
    )
}

/// As text of HTML, in attributes too.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            plain => out.push(plain),
        }
    }
    out
}
