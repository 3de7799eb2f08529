//! What every auth method's login ends with: a token.

use super::{NewToken, TokenEntry, TokenKind, Wish, grant, issue};
use crate::identity;
use crate::identity::mfa::{self, Factor};
use crate::mounts::{self, Mount};
use crate::policy;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::{Auth, Login, Response};
use crate::settings::Settings;
use crate::txn::Txn;
use keyward_core::Timestamp;

/// Issues the token that `login` asks for, and puts it into `response`.
pub fn log_in(
    txn: &mut Txn<'_>,
    settings: &Settings,
    request: &Request,
    mount: &Mount,
    login: Login,
    now: Timestamp,
    response: &mut Response,
) -> Result<(), Refusal> {
    // Relying on the mount table: a method disabled at the same time issues no token that would outlive it.
    if mounts::table(txn)?.at(&mount.path).is_none_or(|there| there.uuid != mount.uuid) {
        return Err(Refusal::NoRoute(request.path.clone()));
    }
    let policies = policies(&login)?;
    let granted = grant(
        &Wish {
            ttl: login.ttl,
            period: login.period,
            max_ttl: login.max_ttl,
            explicit_max_ttl: login.explicit_max_ttl,
            ..Wish::at(mount, settings, now)
        },
        now,
    )?;
    response.warnings.extend(granted.warnings);
    let entity_id = match login.alias.is_empty() {
        true => String::new(),
        false => entity(txn, mount, &login, now)?,
    };
    let name = mount.path.trim_start_matches("auth/").trim_end_matches('/').replace('/', "-");
    let display_name = match login.display_name.is_empty() {
        true => name,
        false => format!("{name}-{}", login.display_name),
    };
    let entry = TokenEntry {
        policies,
        path: request.path.clone(),
        metadata: login.metadata,
        attested: login.attested,
        display_name,
        num_uses: login.num_uses,
        max_ttl: login.max_ttl.as_secs(),
        explicit_max_ttl: login.explicit_max_ttl.as_secs(),
        period: login.period.as_secs(),
        login: login.role,
        bound_cidrs: login.bound_cidrs,
        kind: kind(login.kind, &mount.config.token_type),
        entity_id,
        renewable: true,
        ..TokenEntry::default()
    };
    let new = NewToken { entry, ttl: granted.ttl, id: None };
    let enforced = mfa::enforced(txn, mount, &new.entry.entity_id)?;
    if !enforced.is_empty() {
        let shown = request.shown.factors.iter().map(|factor| Factor::from_header(factor.expose()));
        let shown: Vec<Factor> = shown.collect();
        if shown.is_empty() {
            let requirement = mfa::wait(txn, &enforced, mount, new, now)?;
            response.auth = Some(Box::new(Auth { mfa_requirement: Some(requirement), ..Auth::default() }));
            response.warnings.push(WAITS.to_owned());
            return Ok(());
        }
        if let Err(refusal) = mfa::satisfied(txn, &enforced, &new.entry.entity_id, &shown, now)? {
            response.refused = Some(refusal);
            return Ok(());
        }
    }
    response.auth = Some(Box::new(issue(txn, new, now)?));
    Ok(())
}

/// What is said of a login that waits for a second factor.
const WAITS: &str = "A login request was issued that is subject to MFA validation. Please make sure to validate the login by \
     sending another request to sys/mfa/validate endpoint.";

/// The id of whom the login is of.
fn entity(txn: &mut Txn<'_>, mount: &Mount, login: &Login, now: Timestamp) -> Result<String, Refusal> {
    let known = identity::Known {
        accessor: &mount.accessor,
        name: &login.alias,
        metadata: &login.alias_metadata,
        groups: login.groups.as_deref(),
    };
    let entity = identity::of_login(txn, known, now)?;
    if entity.disabled {
        return Err(Refusal::denied("the entity that the login is of is disabled"));
    }
    Ok(entity.id.clone())
}

fn policies(login: &Login) -> Result<Vec<String>, Refusal> {
    let default = (!login.no_default_policy).then_some("default");
    let policies = policy::sanitize(login.policies.iter().map(String::as_str).chain(default));
    if policies.iter().any(|policy| policy == "root") {
        return Err(Refusal::invalid("auth methods cannot create root tokens"));
    }
    match policies.iter().find(|policy| !policy::is_assignable(policy)) {
        Some(policy) => Err(Refusal::invalid(format!("cannot assign policy {policy:?}"))),
        None => Ok(policies),
    }
}

/// The mount's word counts over the role's when it is not a default.
fn kind(role: Option<TokenKind>, mount: &str) -> TokenKind {
    match (mount, role) {
        ("service", _) => TokenKind::Service,
        ("batch", _) => TokenKind::Batch,
        (_, Some(kind)) => kind,
        ("default-batch", None) => TokenKind::Batch,
        (_, None) => TokenKind::Service,
    }
}
