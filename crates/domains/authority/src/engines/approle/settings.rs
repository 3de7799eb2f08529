//! A role's settings one at a time, each at a path of its own.

use super::super::named::wanted;
use super::role::{self, OLDER, Role};
use super::{BIND, BOUND, OLD_BOUND, OLD_PERIOD, OLD_POLICIES, TTL, USES};
use crate::cidr;
use crate::context::Context;
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use serde_json::{Map, Value, json};

const fn setting(pattern: &'static str, fields: &'static [Field], help: &'static str) -> Route {
    Route {
        pattern,
        operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, reset)],
        fields,
        help,
        ..Route::EMPTY
    }
}

const POLICIES: Field = field("token_policies", Kind::List, "The tokens' policies.");
const PERIOD: Field =
    field("token_period", Kind::Duration, "The tokens may be renewed for ever, by this much each time.");
const TOKEN_BOUND: Field = field("token_bound_cidrs", Kind::List, "Networks the tokens may be used from.");
const TOKEN_USES: Field =
    field("token_num_uses", Kind::Int, "How often a token may be used; any number of times when 0.");
const TOKEN_TTL: Field = field("token_ttl", Kind::Duration, "How long a token lives when it is issued.");
const TOKEN_MAX: Field = field("token_max_ttl", Kind::Duration, "The most a token's renewals may add up to.");

pub(super) const ROUTES: &[Route] = &[
    setting("role/{role_name}/policies", &[OLD_POLICIES, POLICIES], "The tokens' policies."),
    setting("role/{role_name}/bound-cidr-list", &[OLD_BOUND], "Networks that logins may come from."),
    setting("role/{role_name}/secret-id-bound-cidrs", &[BOUND], "Networks that logins may come from."),
    setting("role/{role_name}/token-bound-cidrs", &[TOKEN_BOUND], "Networks the tokens may be used from."),
    setting("role/{role_name}/bind-secret-id", &[BIND], "Whether a login needs a secret id."),
    setting("role/{role_name}/secret-id-num-uses", &[USES], "Logins a secret id is good for."),
    setting("role/{role_name}/secret-id-ttl", &[TTL], "How long a secret id is good."),
    setting("role/{role_name}/period", &[OLD_PERIOD, PERIOD], "By how much each renewal extends a token."),
    setting("role/{role_name}/token-num-uses", &[TOKEN_USES], "How often a token may be used."),
    setting("role/{role_name}/token-ttl", &[TOKEN_TTL], "How long a token lives when it is issued."),
    setting("role/{role_name}/token-max-ttl", &[TOKEN_MAX], "The most a token's renewals may add up to."),
    Route {
        pattern: "role/{role_name}/local-secret-ids",
        operations: &[(Operation::Read, read)],
        help: "Always false: there is one cluster.",
        ..Route::EMPTY
    },
];

/// One setting, known by the last segment of its path.
struct Setting {
    /// What is read and written; the last of them is the present name.
    names: &'static [&'static str],
    /// Sets it to what it is in a new role.
    reset: fn(&mut Role),
}

fn requested(cx: &Context<'_, '_>) -> Result<Setting, Refusal> {
    let path = cx.request.path.trim_end_matches('/');
    let (names, reset): (&'static [&'static str], fn(&mut Role)) = match path.rsplit('/').next().unwrap_or("")
    {
        "policies" => (&["policies", "token_policies"], |role| role.token.policies.clear()),
        "bound-cidr-list" => (&["bound_cidr_list"], |role| role.bound_cidrs.clear()),
        "secret-id-bound-cidrs" => (&["secret_id_bound_cidrs"], |role| role.bound_cidrs.clear()),
        "token-bound-cidrs" => (&["token_bound_cidrs"], |role| role.token.bound_cidrs.clear()),
        "bind-secret-id" => (&["bind_secret_id"], |role| role.bind_secret_id = true),
        "secret-id-num-uses" => (&["secret_id_num_uses"], |role| role.num_uses = 0),
        "secret-id-ttl" => (&["secret_id_ttl"], |role| role.ttl = 0),
        "period" => (&["period", "token_period"], |role| role.token.period = 0),
        "token-num-uses" => (&["token_num_uses"], |role| role.token.num_uses = 0),
        "token-ttl" => (&["token_ttl"], |role| role.token.ttl = 0),
        "token-max-ttl" => (&["token_max_ttl"], |role| role.token.max_ttl = 0),
        "local-secret-ids" => (&["local_secret_ids"], |_| {}),
        _ => return Err(Refusal::NoRoute(cx.request.path.clone())),
    };
    Ok(Setting { names, reset })
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let setting = requested(cx)?;
    let role = wanted::<Role>(cx)?.ok_or(Refusal::missing())?;
    let mut all = role.token.describe(OLDER);
    for (name, value) in [
        ("bind_secret_id", json!(role.bind_secret_id)),
        ("bound_cidr_list", json!(role.bound_cidrs)),
        ("local_secret_ids", json!(role.local)),
        ("secret_id_bound_cidrs", json!(role.bound_cidrs)),
        ("secret_id_num_uses", json!(role.num_uses)),
        ("secret_id_ttl", json!(role.ttl)),
    ] {
        all.insert(name.to_owned(), value);
    }
    let wanted = |(name, _): &(String, Value)| setting.names.contains(&name.as_str());
    let shown: Map<String, Value> = all.into_iter().filter(wanted).collect();
    let response = Response::data(&shown)?;
    Ok(match setting.names {
        ["bound_cidr_list"] => response.warn(
            "The \"bound_cidr_list\" field is deprecated and will be removed. Please use \
             \"secret_id_bound_cidrs\" instead.",
        ),
        _ => response,
    })
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let setting = requested(cx)?;
    let before = role::required(cx)?;
    let mut role = (*before).clone();
    // Only what this path is for, whatever else was sent.
    let mut sent = Fields::default();
    for name in setting.names.iter().filter(|name| cx.fields().has(name)) {
        sent.set(name, &cx.fields().raw(name));
    }
    if sent.names().next().is_none() {
        return Err(Refusal::invalid(format!("missing {}", setting.names.last().unwrap_or(&""))));
    }
    for name in ["secret_id_bound_cidrs", "bound_cidr_list"] {
        if let Some(networks) = sent.strings(name)? {
            cidr::check(&networks)?;
            if networks.is_empty() {
                return Err(Refusal::invalid(format!("missing {name}")));
            }
        }
    }
    role.token.read(&sent, OLDER)?;
    role::read_own_fields(&mut role, &sent)?;
    role::store(cx, Some(&before), &role)?;
    Ok(Response::empty())
}

fn reset(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let setting = requested(cx)?;
    let Some(before) = wanted::<Role>(cx)? else { return Ok(Response::empty()) };
    let mut role = (*before).clone();
    (setting.reset)(&mut role);
    for name in setting.names {
        role.token.older.remove(*name);
    }
    role::store(cx, Some(&before), &role)?;
    Ok(Response::empty())
}
