//! `keys` and `key/`: the keys of authorities.

use super::bundle::{self, Format};
use super::params::{self, KEY_BITS, KEY_NAME, KEY_TYPE};
use super::table::{self, Config, HeldKey, Table};
use super::{HEAVY, import};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, field};
use keyward_core::random;
use keyward_crypto::x509::PublicKey;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "keys",
        operations: &[(Operation::List, list)],
        help: "Lists the keys.",
        ..Route::EMPTY
    },
    Route {
        pattern: "keys/generate/{exported}",
        operations: &[(Operation::Update, generate)],
        fields: &[KEY_NAME, KEY_TYPE, KEY_BITS],
        traits: HEAVY,
        help: "Makes a key; exported is internal or exported.",
        ..Route::EMPTY
    },
    Route {
        pattern: "keys/import",
        operations: &[(Operation::Update, import_key)],
        fields: &[KEY_NAME, field("pem_bundle", Kind::Text, "The private key in PEM.")],
        traits: HEAVY,
        help: "Takes in a key.",
        ..Route::EMPTY
    },
    Route {
        pattern: "key/{key_ref}",
        operations: &[(Operation::Read, read), (Operation::Update, rename), (Operation::Delete, delete)],
        fields: &[KEY_NAME],
        help: "Shows, renames and deletes a key; never its private part.",
        ..Route::EMPTY
    },
];

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    if table.keys.is_empty() {
        return Err(Refusal::missing());
    }
    let keys: Vec<&String> = table.keys.iter().map(|key| &key.id).collect();
    let info = |key: &Arc<HeldKey>| {
        let about = json!({ "key_name": key.name, "is_default": key.id == table.config.default_key });
        (key.id.clone(), about)
    };
    let info: Map<String, Value> = table.keys.iter().map(info).collect();
    Response::data(&json!({ "keys": keys, "key_info": info }))
}

fn generate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let shown = match cx.param("exported") {
        "internal" => false,
        "exported" => true,
        _ => return Err(Refusal::invalid("keys can be generated as internal or exported")),
    };
    let table = table::table(cx)?;
    table::make_room(&table, 1)?;
    let name = params::key_name(cx.fields(), &table)?;
    let kind = params::key_type(cx.fields())?;
    let key = params::generate(cx, kind)?;
    let public =
        PublicKey::of(&key).ok_or_else(|| Refusal::Internal("a key without a public part".to_owned()))?;
    let id = random::uuid(cx.random());
    table::put_key(cx, &id, &name, kind, &key)?;
    if table.config.default_key.is_empty() {
        let config = Config { default_key: id.clone(), ..table.config.clone() };
        table::put_config(cx, &config)?;
    }
    let mut answer = json!({ "key_id": id, "key_name": name, "key_type": public.kind().name() });
    if shown {
        let (private, _) = bundle::private_key(&key, public.kind(), Format::Pem, cx.fields())?;
        answer["private_key"] = json!(private);
    }
    Response::data(&answer)
}

fn import_key(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let text = zeroize::Zeroizing::new(cx.fields().required("pem_bundle")?);
    let (id, _, public) = import::key(cx, &text)?;
    let name = cx.fields().string("key_name")?.unwrap_or_default();
    Response::data(&json!({ "key_id": id, "key_name": name, "key_type": public.kind().name() }))
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let key = table.key(cx.param("key_ref"))?;
    describe(key, &key.name)
}

fn describe(key: &HeldKey, name: &str) -> Result<Response, Refusal> {
    Response::data(&json!({
        "key_id": key.id,
        "key_name": name,
        "key_type": key.public.kind().name(),
        "subject_key_id": super::colons(&key.public.identifier()),
    }))
}

fn rename(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let key = table.key(cx.param("key_ref"))?;
    let name = match cx.fields().string("key_name")? {
        Some(same) if same == key.name => same,
        _ => params::key_name(cx.fields(), &table)?,
    };
    table::rename_key(cx, &key.id, &name)?;
    describe(key, &name)
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let Ok(key) = table.key(cx.param("key_ref")) else { return Ok(Response::empty()) };
    if let Some(user) = user(&table, &key.id) {
        return Err(Refusal::invalid(format!(
            "Failed to delete key: it is used by the issuer {user}; delete the issuer first"
        )));
    }
    table::delete_key(cx, &key.id)?;
    if table.config.default_key != key.id {
        return Ok(Response::empty());
    }
    let config = Config { default_key: String::new(), ..table.config.clone() };
    table::put_config(cx, &config)?;
    Ok(Response::empty().warn(format!(
        "Deleted key {}; this was configured as the default key. Operations without an explicit key will not work \
         until a new default is configured.",
        key.id
    )))
}

fn user<'t>(table: &'t Table, key: &str) -> Option<&'t str> {
    table.issuers.iter().find(|issuer| issuer.key_id() == key).map(|issuer| issuer.entry.id.as_str())
}
