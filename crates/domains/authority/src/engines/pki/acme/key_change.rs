//! Another key for an account (RFC 8555, section 7.3.5): the old one signs what the new one has signed.

use super::account::{self, Account};
use super::server::{Directory, Signed, of_account, payload, read, verify};
use super::wrong::{Kind, Wrong};
use crate::context::Context;
use crate::jws::{Jwk, Signer};
use crate::refusal::Refusal;
use crate::response::Response;
use serde_json::{Map, Value, json};

pub(super) fn change(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    of_account(cx, |cx, directory, request, account| {
        let new = new_key(directory, request, account)?;
        if let Some(holder) = cx.get_json::<String>(&account::key_path(&directory.path, &new))? {
            return Err(Kind::Malformed
                .because("the new key is that of an account")
                .with_status(409)
                .with_header("location", directory.at(&format!("account/{holder}"))));
        }
        let old = account::key_path(&directory.path, &request.key);
        cx.delete(&old);
        let changed = Account { key: new.canonical.clone(), ..account.clone() };
        account::put(cx, &changed)?;
        cx.put_json(&account::key_path(&directory.path, &new), &account.id)?;
        let location = directory.at(&format!("account/{}", account.id));
        let shown = json!({ "status": changed.status.name(), "orders": directory.at("orders") });
        Ok(Response::verbatim_json(&shown)?.with_header("location", location))
    })
}

/// The key that the inner JWS gives the account.
fn new_key(directory: &Directory, request: &Signed, account: &Account) -> Result<Jwk, Wrong> {
    let malformed = |why: &str| Kind::Malformed.because(format!("the inner JWS: {why}"));
    let said = request.said()?;
    let member = |name: &str| {
        said.get(name).and_then(Value::as_str).ok_or_else(|| malformed(&format!("{name} must be a text")))
    };
    let inner = read(member("protected")?, member("payload")?, member("signature")?)?;
    let Signer::Key(new) = &inner.signer else { return Err(malformed("it must have the new key (jwk)")) };
    verify(&inner, new)?;
    if inner.nonce.is_some() || inner.url != directory.url {
        return Err(malformed("it must have no nonce, and the URL of the outer one"));
    }
    let said: Map<String, Value> = payload(&inner)?.unwrap_or_default();
    if said.get("account").and_then(Value::as_str) != Some(&directory.at(&format!("account/{}", account.id)))
    {
        return Err(malformed("account is not the URL of the account"));
    }
    let old = said.get("oldKey").and_then(Value::as_object).and_then(|jwk| Jwk::read(jwk).ok());
    match old.is_some_and(|old| old == request.key) {
        true => Ok(Jwk::clone(new)),
        false => Err(malformed("oldKey is not the account's key")),
    }
}
