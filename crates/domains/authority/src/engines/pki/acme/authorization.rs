//! Authorizations and challenges (RFC 8555, sections 7.1.4 and 7.5), as clients see them.

use super::account::Account;
use super::order::{self, Order};
use super::server::{Answered, Directory, of_account};
use super::validation::{self, Authorization, Progress, Standing, Trial};
use super::wrong::{Kind, Wrong};
use crate::act::challenge::Identifier;
use crate::context::Context;
use crate::refusal::Refusal;
use crate::response::Response;
use keyward_core::Timestamp;
use serde_json::{Value, json};

/// Seconds after which a client may look again.
const LOOK_AGAIN: &str = "1";

/// The order and the place in it that an authorization's id names.
fn asked(cx: &mut Context<'_, '_>, account: &Account) -> Result<(Order, usize), Wrong> {
    let id = cx.param("auth_id").to_owned();
    let unknown = || Kind::Malformed.because("the account has no such authorization").with_status(404);
    let (order, at) = id.split_once('.').ok_or_else(unknown)?;
    let at: usize = at.parse().map_err(|_| unknown())?;
    let order = order::find(cx, account, order)?;
    match at < order.authorizations.len() {
        true => Ok((order, at)),
        false => Err(unknown()),
    }
}

fn describe_trial(directory: &Directory, id: &str, trial: &Trial) -> Value {
    let mut shown = json!({
        "type": trial.kind.name(),
        "url": directory.at(&format!("challenge/{id}/{}", trial.kind.name())),
        "status": trial.progress.name(),
        "token": trial.token,
    });
    if let Some(at) = trial.validated {
        shown["validated"] = json!(Timestamp::from_secs(at).to_string());
    }
    if let Some(error) = &trial.error {
        shown["error"] = error.clone();
    }
    shown
}

fn display(cx: &Context<'_, '_>, directory: &Directory, order: &Order, at: usize) -> Answered {
    let id = format!("{}.{at}", order.id);
    let authorization = &order.authorizations[at];
    let expired = cx.now.secs() >= order.expires;
    let (identifier, wildcard) = match &authorization.identifier {
        Identifier::Dns(name) => match name.strip_prefix("*.") {
            Some(base) => (Identifier::Dns(base.to_owned()), true),
            None => (authorization.identifier.clone(), false),
        },
        address @ Identifier::Ip(_) => (address.clone(), false),
    };
    let mut shown = json!({
        "identifier": identifier,
        "status": authorization.standing.name(expired),
        "expires": Timestamp::from_secs(order.expires).to_string(),
        "challenges": authorization.trials.iter().map(|trial| describe_trial(directory, &id, trial)).collect::<Vec<_>>(),
    });
    if wildcard {
        shown["wildcard"] = json!(true);
    }
    let response = Response::verbatim_json(&shown)?;
    Ok(match authorization.is_under_way() {
        true => response.with_header("retry-after", LOOK_AGAIN),
        false => response,
    })
}

pub(super) fn show(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    of_account(cx, |cx, directory, request, account| {
        let (mut order, at) = asked(cx, account)?;
        match request.payload.as_ref().map(|said| said.get("status").and_then(Value::as_str)) {
            None => {}
            Some(Some("deactivated")) => {
                order.authorizations[at].standing = Standing::Deactivated;
                cx.put_json(&order::path(&account.id, &order.id), &order)?;
            }
            Some(_) => {
                return Err(
                    Kind::Malformed.because("the status of an authorization can only become deactivated")
                );
            }
        }
        display(cx, directory, &order, at)
    })
}

pub(super) fn answer(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    of_account(cx, |cx, directory, request, account| {
        let (mut order, at) = asked(cx, account)?;
        let kind = validation::Kind::named(cx.param("challenge_type"));
        let which = order.authorizations[at].trials.iter().position(|trial| Some(trial.kind) == kind);
        let which = which.ok_or_else(|| {
            Kind::Malformed.because("the authorization has no challenge of this type").with_status(404)
        })?;
        if let Some(said) = &request.payload {
            // Clients of drafts send the key authorization; it is known here.
            if said.keys().any(|name| name != "keyAuthorization") {
                return Err(Kind::Malformed.because("unexpected request parameters: send {}"));
            }
            if accept(&order, at, which, cx.now.secs())? {
                order.authorizations[at].trials[which].begin(&request.key.thumbprint(), cx.now);
                cx.put_json(&order::path(&account.id, &order.id), &order)?;
                let place = validation::Place { account: &account.id, order: &order.id, at, which };
                let mount = cx.mount.uuid.clone();
                place.look_at(cx.txn, &mount, order.authorizations[at].trials[which].due)?;
            }
        }
        let id = format!("{}.{at}", order.id);
        let trial = &order.authorizations[at].trials[which];
        let response = Response::verbatim_json(&describe_trial(directory, &id, trial))?;
        let up = format!("<{}>;rel=\"up\"", directory.at(&format!("authorization/{id}")));
        let response = response.with_header("link", up);
        Ok(match trial.progress {
            Progress::Processing => response.with_header("retry-after", LOOK_AGAIN),
            _ => response,
        })
    })
}

/// Whether a challenge that its client calls ready is to be looked at now.
fn accept(order: &Order, at: usize, which: usize, now: u64) -> Result<bool, Wrong> {
    let Authorization { standing, trials, .. } = &order.authorizations[at];
    match trials[which].progress {
        Progress::Processing | Progress::Valid => return Ok(false),
        Progress::Invalid => {
            return Err(Kind::Malformed.because("the challenge has failed: make another order"));
        }
        Progress::Pending => {}
    }
    if *standing != Standing::Pending || now >= order.expires {
        return Err(Kind::Malformed.because("the authorization is not pending any more: make another order"));
    }
    match trials.iter().all(|trial| trial.progress == Progress::Pending) {
        true => Ok(true),
        false => Err(Kind::Malformed
            .because("only a single challenge within an authorization can be accepted, and another one was")),
    }
}
