//! External account bindings (RFC 8555, section 7.3.4): a name and a secret that an operator hands out, each for one new
//! account in one directory.

use super::server::Directory;
use super::wrong::{Kind, Wrong};
use crate::context::Context;
use crate::engines::transit::wire::Hidden;
use crate::jws::{Jwk, Jws, Signer};
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::Route;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::{Timestamp, random};
use keyward_crypto::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(super) const BINDINGS: &str = "acme/eab/";

/// What all secrets begin with in base64url, so that none begins with a dash, which command lines take for an option.
const PREFIX: &str = "vault-eab-0-";
const SECRET_BYTES: usize = 32;

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "eab",
        operations: &[(Operation::List, list)],
        help: "Lists the external account bindings that were not used yet.",
        ..Route::EMPTY
    },
    Route {
        pattern: "eab/{key_id}",
        operations: &[(Operation::Delete, delete)],
        help: "Deletes an external account binding that was not used yet.",
        ..Route::EMPTY
    },
];

/// As stored.
#[derive(Serialize, Deserialize)]
pub(super) struct Binding {
    secret: Hidden,
    /// As [`Directory::path`].
    directory: String,
    /// Seconds since 1970.
    pub(super) created: u64,
}

impl Binding {
    fn describe(&self) -> Value {
        json!({
            "key_type": "hs",
            "acme_directory": format!("{}directory", self.directory),
            "created_on": Timestamp::from_secs(self.created).to_string(),
        })
    }
}

fn path(id: &str) -> String {
    format!("{BINDINGS}{id}")
}

pub(super) fn make(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let below = cx.request.path.get(cx.mount.path.len()..).unwrap_or("");
    let directory = below.strip_suffix("new-eab").unwrap_or(below).to_owned();
    let id = random::uuid(cx.random());
    let secret = random::bytes::<SECRET_BYTES>(cx.random());
    let prefix = URL_SAFE_NO_PAD
        .decode(PREFIX)
        .map_err(|_| Refusal::Internal("the beginning of bindings is not base64url".to_owned()))?;
    let secret = Hidden(Secret::new([prefix.as_slice(), &secret].concat()));
    let binding = Binding { secret, directory, created: cx.now.secs() };
    cx.put_json(&path(&id), &binding)?;
    let mut shown = binding.describe();
    shown["id"] = json!(id);
    shown["key"] = json!(URL_SAFE_NO_PAD.encode(binding.secret.0.expose()));
    Response::data(&shown)
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let ids = cx.list(BINDINGS)?;
    if ids.is_empty() {
        return Err(Refusal::missing());
    }
    let mut info = Map::new();
    for id in &ids {
        if let Some(binding) = cx.get_json::<Binding>(&path(id))? {
            info.insert(id.clone(), binding.describe());
        }
    }
    Response::data(&json!({ "keys": ids, "key_info": info }))
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let id = cx.param("key_id").to_owned();
    if !cx.exists(&path(&id))? {
        return Ok(Response::empty().warn(format!("No key id found with id: {id}")));
    }
    cx.delete(&path(&id));
    Ok(Response::empty())
}

/// Verifies that `shown` binds the account key `key`, and uses the binding up. Answers its id.
pub(super) fn use_up(
    cx: &mut Context<'_, '_>,
    directory: &Directory,
    key: &Jwk,
    shown: &Value,
) -> Result<String, Wrong> {
    let malformed = |why: &str| Kind::Malformed.because(format!("externalAccountBinding: {why}"));
    let member = |name: &str| {
        shown.get(name).and_then(Value::as_str).ok_or_else(|| malformed(&format!("{name} must be a text")))
    };
    let read = Jws::read(member("protected")?, member("payload")?, member("signature")?);
    let jws = read.map_err(|why| malformed(&why.to_string()))?;
    let Signer::Known(id) = &jws.signer else { return Err(malformed("it must name its key (kid)")) };
    if jws.nonce.is_some() {
        return Err(malformed("it must have no nonce"));
    }
    // The same whatever is not right, so that nobody learns which bindings there are.
    let refused = || {
        Kind::Unauthorized.because("the external account binding is unknown, was used, or is not for this")
    };
    if jws.url != directory.url {
        return Err(refused());
    }
    let safe = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let binding = if safe { cx.get_json::<Binding>(&path(id))? } else { None };
    let binding = binding.filter(|known| known.directory == directory.path).ok_or_else(refused)?;
    if !jws.authenticated_by(binding.secret.0.expose()) {
        return Err(refused());
    }
    let bound = serde_json::from_slice::<Map<String, Value>>(&jws.payload).ok();
    let bound = bound.and_then(|jwk| Jwk::read(&jwk).ok());
    if bound.is_none_or(|bound| bound != *key) {
        return Err(malformed("its payload is not the key that signed the request"));
    }
    cx.delete(&path(id));
    Ok(id.clone())
}
