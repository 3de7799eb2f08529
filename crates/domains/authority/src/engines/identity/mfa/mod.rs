//! `identity/mfa`: second factors, and who must show one.

#[cfg(test)]
mod tests;

use crate::barcode;
use crate::context::Context;
use crate::fields::Fields;
use crate::identity::mfa::{self, Enforcement, Method};
use crate::identity::{self, Entity};
use crate::mounts;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_core::random;
use serde_json::{Map, Value, json};
use std::sync::Arc;

const TOTP: &[Field] = &[
    field("method_name", Kind::Text, "A name that clients may use instead of the id."),
    field("issuer", Kind::Text, "What applications show."),
    field("period", Kind::Duration, "How long a code is right; 30 seconds."),
    field("algorithm", Kind::Text, "SHA1, SHA256 or SHA512; SHA1."),
    field("digits", Kind::Int, "6 or 8; 6."),
    field("skew", Kind::Int, "Periods before and after the present one that count: 0 or 1; 1."),
    field("key_size", Kind::Int, "Bytes of a key; 20."),
    field("qr_size", Kind::Int, "Pixels of the side of the barcode; 200, none when 0."),
    field("max_validation_attempts", Kind::Int, "Wrong codes before the method rests; 5."),
];

const METHOD_ID: Field = field("method_id", Kind::Text, "The method's id.");
const ENTITY_ID: Field = field("entity_id", Kind::Text, "The entity's id.");

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "mfa/method",
        operations: &[(Operation::List, list_methods)],
        help: "Lists the second factors.",
        ..Route::EMPTY
    },
    Route {
        pattern: "mfa/method/totp",
        operations: &[(Operation::List, list_methods), (Operation::Update, write_method)],
        fields: TOTP,
        help: "Lists and creates one-time passwords as second factors.",
        ..Route::EMPTY
    },
    Route {
        pattern: "mfa/method/totp/generate",
        operations: &[(Operation::Update, generate)],
        fields: &[METHOD_ID],
        help: "Gives the caller a key.",
        ..Route::EMPTY
    },
    Route {
        pattern: "mfa/method/totp/admin-generate",
        operations: &[(Operation::Update, generate_for)],
        fields: &[METHOD_ID, ENTITY_ID],
        help: "Gives an entity a key.",
        ..Route::EMPTY
    },
    Route {
        pattern: "mfa/method/totp/admin-destroy",
        operations: &[(Operation::Update, destroy)],
        fields: &[METHOD_ID, ENTITY_ID],
        help: "Takes an entity's key away.",
        ..Route::EMPTY
    },
    Route {
        pattern: "mfa/method/totp/{id}",
        operations: &[
            (Operation::Read, read_method),
            (Operation::Update, write_method),
            (Operation::Delete, delete_method),
        ],
        fields: TOTP,
        help: "Shows, changes and removes a second factor.",
        ..Route::EMPTY
    },
    Route {
        pattern: "mfa/method/{id}",
        operations: &[(Operation::Read, read_method)],
        help: "Shows a second factor.",
        ..Route::EMPTY
    },
    Route {
        pattern: "mfa/login-enforcement",
        operations: &[(Operation::List, list_enforcements)],
        help: "Lists who must show a second factor.",
        ..Route::EMPTY
    },
    Route {
        pattern: "mfa/login-enforcement/{name}",
        operations: &[
            (Operation::Read, read_enforcement),
            (Operation::Update, write_enforcement),
            (Operation::Delete, delete_enforcement),
        ],
        fields: &[
            field("mfa_method_ids", Kind::List, "The methods, of which one is enough."),
            field("auth_method_accessors", Kind::List, "Logins at these mounts,"),
            field("auth_method_types", Kind::List, "by these methods,"),
            field("identity_group_ids", Kind::List, "of members of these groups,"),
            field("identity_entity_ids", Kind::List, "and of these entities."),
        ],
        help: "Shows, creates, changes and removes a rule of who must show a second factor.",
        ..Route::EMPTY
    },
];

fn describe_method(method: &Method) -> Map<String, Value> {
    let told = json!({
        "algorithm": method.algorithm,
        "digits": method.digits,
        "id": method.id,
        "issuer": method.issuer,
        "key_size": method.key_size,
        "max_validation_attempts": method.max_attempts,
        "name": method.name,
        "namespace_id": "root",
        "namespace_path": "",
        "period": method.period,
        "qr_size": method.qr_size,
        "skew": method.skew,
        "type": "totp",
    });
    match told {
        Value::Object(told) => told,
        _ => Map::new(),
    }
}

fn list_methods(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let rules = mfa::rules(cx.txn)?;
    if rules.methods.is_empty() {
        return Err(Refusal::missing());
    }
    let keys: Vec<&String> = rules.methods.keys().collect();
    let info: Map<String, Value> =
        rules.methods.iter().map(|(id, method)| (id.clone(), describe_method(method).into())).collect();
    Response::data(&json!({ "keys": keys, "key_info": info }))
}

fn method(cx: &mut Context<'_, '_>, id: &str) -> Result<Option<Arc<Method>>, Refusal> {
    Ok(mfa::rules(cx.txn)?.methods.get(id).cloned())
}

fn read_method(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let id = cx.param("id").to_owned();
    Response::data(&describe_method(&*method(cx, &id)?.ok_or(Refusal::missing())?))
}

fn write_method(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let id = cx.param("id").to_owned();
    let known = match id.is_empty() {
        true => None,
        false => Some(method(cx, &id)?.ok_or(Refusal::missing())?),
    };
    let name = cx.fields().string("method_name")?.unwrap_or_default();
    let rules = mfa::rules(cx.txn)?;
    let taken = rules.methods.values().find(|other| !name.is_empty() && other.name == name);
    if let (Some(other), Some(known)) = (taken, &known)
        && other.id != known.id
    {
        return Err(Refusal::invalid(format!(
            "a login MFA method configuration with the method name {name} already exists"
        )));
    }
    let id = match known.as_ref().or(taken) {
        Some(known) => known.id.clone(),
        None => random::uuid(cx.random()),
    };
    let name = match (name.is_empty(), known.as_ref()) {
        (true, Some(known)) => known.name.clone(),
        _ => name,
    };
    let method = read_totp(cx.fields(), id, name)?;
    mfa::save_method(cx.txn, &method)?;
    match known {
        Some(_) => Ok(Response::empty()),
        None => Response::data(&json!({ "method_id": method.id })),
    }
}

fn read_totp(sent: &Fields, id: String, name: String) -> Result<Method, Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(why));
    let number = |name: &str, otherwise: i64| sent.int(name).map(|number| number.unwrap_or(otherwise));
    let issuer = sent.string("issuer")?.unwrap_or_default();
    if issuer.is_empty() {
        return refuse("issuer must be set");
    }
    let algorithm = sent.string("algorithm")?.unwrap_or_else(|| "SHA1".to_owned());
    if Method::hash(&algorithm).is_none() {
        return refuse("unrecognized algorithm");
    }
    let digits = match number("digits", 6)? {
        6 => 6,
        8 => 8,
        _ => return refuse("digits can only be 6 or 8"),
    };
    let period = sent.duration("period")?.map_or(30, |span| span.as_secs());
    if period == 0 {
        return refuse("period must be greater than zero");
    }
    let skew = match number("skew", 1)? {
        0 => 0,
        1 => 1,
        _ => return refuse("skew must be 0 or 1"),
    };
    let key_size = match number("key_size", 20)? {
        size @ 16..=64 => usize::try_from(size).unwrap_or(20),
        _ => return refuse("key_size must be from 16 to 64: a shorter key can be guessed"),
    };
    let max_attempts = match number("max_validation_attempts", 0)? {
        0 => 5,
        most @ 1..=1000 => u32::try_from(most).unwrap_or(5),
        _ => return refuse("max_validation_attempts must be greater than zero, and at most 1000"),
    };
    let qr_size = match number("qr_size", 200)? {
        size if (0..=i64::from(barcode::LARGEST)).contains(&size) => size,
        _ => return refuse("qr_size must be from 0 to 1000 pixels"),
    };
    Ok(Method { id, name, issuer, period, algorithm, digits, skew, key_size, qr_size, max_attempts })
}

fn delete_method(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let id = cx.param("id").to_owned();
    let rules = mfa::rules(cx.txn)?;
    if let Some(user) = rules.enforcements.iter().find(|rule| rule.methods.contains(&id)) {
        return Err(Refusal::invalid(format!(
            "methodID is still used by an enforcement configuration with ID: {}",
            user.id
        )));
    }
    if rules.methods.contains_key(&id) {
        mfa::remove_method(cx.txn, &id)?;
    }
    Ok(Response::empty())
}

fn asked(cx: &mut Context<'_, '_>) -> Result<Arc<Method>, Refusal> {
    let id = cx.fields().string("method_id")?.unwrap_or_default();
    if id.is_empty() {
        return Err(Refusal::invalid("missing method ID"));
    }
    method(cx, &id)?
        .ok_or_else(|| Refusal::invalid(format!("configuration for method ID {id:?} does not exist")))
}

fn named_entity(cx: &mut Context<'_, '_>) -> Result<Arc<Entity>, Refusal> {
    let id = cx.fields().string("entity_id")?.unwrap_or_default();
    if id.is_empty() {
        return Err(Refusal::invalid("missing entity ID"));
    }
    identity::by_id(cx.txn, &id)?.ok_or_else(|| Refusal::invalid("invalid entity ID"))
}

fn generate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let method = asked(cx)?;
    let holder = cx.caller()?.holder.clone();
    let holder = holder.ok_or_else(|| Refusal::invalid("missing entityID"))?;
    enroll(cx, &method, &holder.entity)
}

fn generate_for(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let method = asked(cx)?;
    let entity = named_entity(cx)?;
    enroll(cx, &method, &entity)
}

fn enroll(cx: &mut Context<'_, '_>, method: &Method, entity: &Entity) -> Result<Response, Refusal> {
    match mfa::enroll(cx.txn, method, entity)? {
        Some(url) => {
            let picture = match u32::try_from(method.qr_size) {
                Ok(0) | Err(_) => String::new(),
                Ok(size) => STANDARD.encode(barcode::png(url.expose(), size)?),
            };
            Response::data(&json!({ "url": url.expose(), "barcode": picture }))
        }
        None => {
            let why = format!("Entity already has a secret for MFA method {:?}", method.name);
            Ok(Response::empty().warn(why))
        }
    }
}

fn destroy(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let method = asked(cx)?;
    let entity = named_entity(cx)?;
    mfa::disenroll(cx.txn, &method.id, &entity.id);
    Ok(Response::empty())
}

fn describe_enforcement(rule: &Enforcement) -> Value {
    json!({
        "auth_method_accessors": rule.accessors,
        "auth_method_types": rule.kinds,
        "id": rule.id,
        "identity_entity_ids": rule.entities,
        "identity_group_ids": rule.groups,
        "mfa_method_ids": rule.methods,
        "name": rule.name,
        "namespace_id": "root",
        "namespace_path": "",
    })
}

fn list_enforcements(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let rules = mfa::rules(cx.txn)?;
    let keys: Vec<String> = rules.enforcements.iter().map(|rule| rule.name.clone()).collect();
    if keys.is_empty() {
        return Err(Refusal::missing());
    }
    let info: Map<String, Value> =
        rules.enforcements.iter().map(|rule| (rule.name.clone(), describe_enforcement(rule))).collect();
    Response::data(&json!({ "keys": keys, "key_info": info }))
}

fn enforcement(cx: &mut Context<'_, '_>) -> Result<Option<Arc<Enforcement>>, Refusal> {
    let name = cx.param("name").to_owned();
    Ok(mfa::rules(cx.txn)?.enforcements.iter().find(|rule| rule.name == name).cloned())
}

fn read_enforcement(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::data(&describe_enforcement(&*enforcement(cx)?.ok_or(Refusal::missing())?))
}

fn write_enforcement(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    identity::check_name(&name)?;
    let known = enforcement(cx)?.map(Arc::unwrap_or_clone);
    let mut rule = known.unwrap_or_else(|| Enforcement {
        id: random::uuid(cx.random()),
        name,
        ..Enforcement::default()
    });
    rule.methods =
        cx.fields().strings("mfa_method_ids")?.ok_or_else(|| Refusal::invalid("missing method ids"))?;
    for id in &rule.methods {
        if method(cx, id)?.is_none() {
            return Err(Refusal::invalid("one of the provided method ids doesn't exist"));
        }
    }
    for (name, list) in [
        ("auth_method_accessors", &mut rule.accessors),
        ("auth_method_types", &mut rule.kinds),
        ("identity_group_ids", &mut rule.groups),
        ("identity_entity_ids", &mut rule.entities),
    ] {
        if let Some(sent) = cx.fields().strings(name)? {
            *list = sent;
        }
    }
    check(cx, &rule)?;
    mfa::save_enforcement(cx.txn, &rule)?;
    Ok(Response::empty())
}

fn check(cx: &mut Context<'_, '_>, rule: &Enforcement) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(why));
    if [&rule.accessors, &rule.kinds, &rule.groups, &rule.entities].iter().all(|list| list.is_empty()) {
        return refuse(
            "One of auth_method_accessors, auth_method_types, identity_group_ids, identity_entity_ids must be \
             specified",
        );
    }
    let table = mounts::table(cx.txn)?;
    let methods = || table.iter().filter(|mount| mount.is_auth());
    if !rule.accessors.iter().all(|accessor| methods().any(|mount| mount.accessor == *accessor)) {
        return refuse("one of the auth method accessors provided is invalid");
    }
    if !rule.kinds.iter().all(|kind| methods().any(|mount| mount.kind == *kind)) {
        return refuse("one of the auth method types provided is invalid");
    }
    let graph = identity::graph(cx.txn)?;
    if !rule.groups.iter().all(|id| graph.get(id).is_some()) {
        return refuse("one of the provided group ids doesn't exist");
    }
    for id in &rule.entities {
        if cx.txn.unrelied(|txn| identity::by_id(txn, id))?.is_none() {
            return refuse("one of the provided entity ids doesn't exist");
        }
    }
    Ok(())
}

fn delete_enforcement(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    if let Some(rule) = enforcement(cx)? {
        mfa::remove_enforcement(cx.txn, &rule.name)?;
    }
    Ok(Response::empty())
}
