//! Policies as stored, and the compiled right of a caller.

use crate::identity::Holder;
use crate::policy::{Acl, Policy};
use crate::refusal::Refusal;
use crate::txn::Txn;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const ENTRIES: &str = "policy/acl/";
const EPOCH: &str = "core/epoch/policies";

/// A policy as written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// HCL or JSON, exactly as sent.
    pub text: String,
}

/// The text of policy `name`.
pub fn text(txn: &mut Txn<'_>, name: &str) -> Result<Option<String>, Refusal> {
    Ok(txn.get_json::<Stored>(&format!("{ENTRIES}{name}"))?.map(|stored| stored.text))
}

/// True when policy `name` is there: stored, or `root`, which has no text.
pub fn exists(txn: &mut Txn<'_>, name: &str) -> Result<bool, Refusal> {
    Ok(name == "root" || txn.exists(&format!("{ENTRIES}{name}"))?)
}

/// Stores policy `name`, once it parses.
pub fn put(txn: &mut Txn<'_>, name: &str, text: &str) -> Result<(), Refusal> {
    Policy::parse(name, text).map_err(|why| Refusal::invalid(why.to_string()))?;
    txn.bump(EPOCH)?;
    txn.put_json(&format!("{ENTRIES}{name}"), &Stored { text: text.to_owned() })
}

/// Removes policy `name`.
pub fn delete(txn: &mut Txn<'_>, name: &str) -> Result<(), Refusal> {
    txn.bump(EPOCH)?;
    txn.delete(&format!("{ENTRIES}{name}"));
    Ok(())
}

/// The names of the stored policies, in order. `root` has no text and is not among them.
pub fn names(txn: &mut Txn<'_>) -> Result<Vec<String>, Refusal> {
    txn.list(ENTRIES, "", usize::MAX)
}

/// What a token with the policies `names`, held by `holder`, may do. Policies that do not exist grant nothing.
pub fn acl(txn: &mut Txn<'_>, names: &[String], holder: Option<&Holder>) -> Result<Arc<Acl>, Refusal> {
    // What templates name, and which policies there are, is the holder's: another state of it is another right.
    let state = holder.map_or("", |holder| &holder.state);
    let mut key =
        String::with_capacity(8 + state.len() + names.iter().map(|name| name.len() + 1).sum::<usize>());
    key.push_str("acl\0");
    key.push_str(state);
    for name in names {
        key.push('\0');
        key.push_str(name);
    }
    txn.built_since(EPOCH, key.as_bytes(), |txn| {
        if names.iter().any(|name| name == "root") {
            return Ok(Acl::root());
        }
        let mut policies = Vec::with_capacity(names.len());
        let of_holder = holder.map_or(&[][..], |holder| &holder.policies);
        for name in names.iter().chain(of_holder.iter().filter(|name| !names.contains(name))) {
            let parse = |plain: &[u8]| {
                let corrupt = || Refusal::Corrupt(format!("{ENTRIES}{name}"));
                let stored: Stored = serde_json::from_slice(plain).map_err(|_| corrupt())?;
                Policy::parse(name, &stored.text).map_err(|_| corrupt())
            };
            policies.extend(txn.built(&format!("{ENTRIES}{name}"), parse)?);
        }
        Ok(Acl::compile(&policies, holder.map(Holder::subject).as_ref()))
    })
}
