//! Logging in.

use super::super::named;
use super::account::Account;
use super::config::{self, Config, Verification};
use super::review;
use super::role::{AliasName, Role};
use crate::context::Context;
use crate::glob;
use crate::jwt::{Leeways, Token};
use crate::kubernetes::selector;
use crate::mounts::Mount;
use crate::policy::{Ask, Expression, Who};
use crate::posture::Seen;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::{Login, Response};
use crate::token::{Terms, TokenEntry};
use std::collections::BTreeMap;

pub(super) fn login(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (name, jwt) = (cx.fields().required("role")?, cx.fields().required("jwt")?);
    let Some(role) = named::find::<Role>(cx, &name)? else {
        return Err(Refusal::invalid(format!("invalid role name {name:?}")));
    };
    role.token.check_address(cx.request)?;
    let config = config::find(cx)?.ok_or_else(|| {
        Refusal::invalid("could not load backend configuration: write the config of this auth method first")
    })?;
    let token = Token::parse(&jwt).map_err(|why| Refusal::denied(why.to_string()))?;
    let account = prove(cx, &config, &role, &token, &jwt)?;
    let login = answer(cx, &config, &role, name, account, &jwt)?;
    let wanted = TokenEntry {
        policies: login.policies.clone(),
        path: cx.request.path.clone(),
        metadata: login.metadata.clone(),
        attested: login.attested,
        display_name: login.display_name.clone(),
        ..TokenEntry::default()
    };
    let facts = meets(cx, &role, &login.role, &wanted)?;
    Ok(Response { facts, ..Response::login(login) })
}

/// The terms of the role as it is now, for a pod that would be let in now: its condition is asked again.
pub(super) fn terms(cx: &mut Context<'_, '_>, mount: &Mount, token: &TokenEntry) -> Result<Terms, Refusal> {
    let role = named::role_of::<Role>(cx, mount, token)?;
    let facts = meets(cx, &role, &token.login, token)?;
    Ok(Terms { facts, ..role.token.terms(token) })
}

/// Whose token this is, once it is certain. What costs nothing is checked first.
fn prove(
    cx: &Context<'_, '_>,
    config: &Config,
    role: &Role,
    token: &Token<'_>,
    jwt: &str,
) -> Result<Account, Refusal> {
    let denied = |why: crate::jwt::Bad| Refusal::denied(why.to_string());
    if let Err(why) = token.check_times(cx.now, Leeways::default()) {
        // Tokens as Kubernetes made them before 1.22 have no time; only the API server can tell whether they count.
        if why != crate::jwt::Bad::Timeless || config.verification() == Verification::Keys {
            return Err(denied(why));
        }
    }
    if config.issuer().is_some_and(|issuer| token.text("iss") != Some(issuer)) {
        return Err(Refusal::denied("the token is of another issuer"));
    }
    let audiences = token.audiences();
    if !role.audience.is_empty() && !audiences.contains(&role.audience.as_str()) {
        return Err(Refusal::denied(
            "invalid audience (aud) claim: the token is for others than the role's audience",
        ));
    }
    let account = Account::of(token);
    if !role.names.iter().any(|pattern| glob::matches(pattern, &account.name)) {
        return Err(Refusal::denied("service account name not authorized"));
    }
    if let Some(keys) = &config.keys {
        keys.verify(token, &[]).map_err(denied)?;
    }
    let proved = match config.verification() {
        Verification::Keys => {
            if config.keys.is_none() {
                review::keys(cx, config, token, jwt)?.verify(token, &[]).map_err(denied)?;
            }
            account
        }
        Verification::TokenReview => {
            let wanted = if role.audience.is_empty() { audiences } else { vec![role.audience.as_str()] };
            let reviewed = review::review(cx, config, jwt, &wanted)?;
            account.is_as(&reviewed).map_err(Refusal::denied)?;
            Account { secret: account.secret, ..reviewed }
        }
    };
    // Last: it asks the API server about a namespace that an unproved token would only claim.
    may_come_from(cx, config, role, &proved.namespace, jwt)?;
    Ok(proved)
}

fn may_come_from(
    cx: &Context<'_, '_>,
    config: &Config,
    role: &Role,
    namespace: &str,
    jwt: &str,
) -> Result<(), Refusal> {
    if role.namespaces.iter().any(|pattern| glob::matches(pattern, namespace)) {
        return Ok(());
    }
    if !role.namespace_selector.is_empty() {
        let selector = selector::parse(&role.namespace_selector)
            .map_err(|_| Refusal::Internal("a stored namespace selector cannot be read".to_owned()))?;
        if selector.selects(&review::namespace_labels(cx, config, namespace, config.reviewer(jwt))?) {
            return Ok(());
        }
    }
    Err(Refusal::denied("namespace not authorized"))
}

/// Whether the condition of the role `name` holds for a token that is asked for, or is to be renewed: as it would at its
/// login, now. Answers with the verdicts that it looked at.
fn meets(
    cx: &Context<'_, '_>,
    role: &Role,
    name: &str,
    token: &TokenEntry,
) -> Result<BTreeMap<String, String>, Refusal> {
    if role.condition.is_empty() {
        return Ok(BTreeMap::new());
    }
    let condition = Expression::parse(&role.condition).map_err(Refusal::Internal)?;
    let (seen, address) = (Seen::default(), cx.request.remote.map(|remote| remote.ip()));
    let posture = Some(cx.verdicts.attest(&seen));
    let held = condition.holds(&Ask {
        path: &token.path,
        operation: Operation::Update,
        parameters: None,
        wrap_ttl: cx.request.wrap.map(|wrap| wrap.ttl),
        now: cx.now,
        who: Some(Who { token, holder: None, address, posture }),
    });
    let denied = |why: String| {
        let subject = token.metadata.get("pod_name").map(|pod| format!(", pod {pod}")).unwrap_or_default();
        Err(Refusal::denied(format!(
            "the condition of the role {} {why} for {}{subject}{}",
            name,
            token.display_name,
            seen.words()
        )))
    };
    match held {
        Ok(true) => {
            Ok(seen.digests().into_iter().map(|(of, digest)| (format!("posture_{of}"), digest)).collect())
        }
        Ok(false) => denied("does not hold".to_owned()),
        Err(why) => denied(format!("cannot be told ({why})")),
    }
}

fn answer(
    cx: &Context<'_, '_>,
    config: &Config,
    role: &Role,
    role_name: String,
    account: Account,
    jwt: &str,
) -> Result<Login, Refusal> {
    if account.uid.is_empty() || account.namespace.is_empty() || account.name.is_empty() {
        return Err(Refusal::denied("the token does not say which ServiceAccount it is of"));
    }
    let mut login = Login { attested: true, ..role.token.login() };
    login.alias_metadata = BTreeMap::from([
        ("service_account_uid".to_owned(), account.uid.clone()),
        ("service_account_name".to_owned(), account.name.clone()),
        ("service_account_namespace".to_owned(), account.namespace.clone()),
        ("service_account_secret_name".to_owned(), account.secret.clone()),
    ]);
    login.metadata = login.alias_metadata.clone();
    login.metadata.insert("role".to_owned(), role_name.clone());
    // What differs from pod to pod belongs to the token: an alias is one for all pods of its account.
    for (name, value) in [
        ("pod_name", account.pod),
        ("pod_uid", account.pod_uid),
        ("node_name", account.node),
        ("node_uid", account.node_uid),
    ] {
        if !value.is_empty() {
            login.metadata.insert(name.to_owned(), value);
        }
    }
    login.display_name = format!("{}-{}", account.namespace, account.name);
    if config.annotations() {
        let account = Account {
            namespace: account.namespace.clone(),
            name: account.name.clone(),
            ..Account::default()
        };
        let annotated = review::alias_metadata(cx, config, &account, jwt)?;
        // What is annotated never stands in for what is proved.
        for (name, value) in annotated {
            login.alias_metadata.entry(name).or_insert(value);
        }
    }
    login.alias = match role.alias_name {
        AliasName::Uid => account.uid,
        AliasName::Name => format!("{}/{}", account.namespace, account.name),
    };
    login.role = role_name;
    Ok(login)
}
