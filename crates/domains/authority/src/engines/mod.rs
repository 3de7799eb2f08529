//! What can be mounted. Each backend is a static table of routes.

pub mod approle;
mod automated;
pub mod cert;
pub mod cubbyhole;
pub mod database;
pub mod identity;
mod journaled;
pub mod jwt;
pub mod kubernetes;
pub mod kubernetes_tokens;
pub mod kv1;
pub mod kv2;
pub mod ldap;
mod named;
pub mod pki;
mod rotation_times;
pub mod sealed;
pub mod ssh;
pub mod system;
pub mod token_auth;
mod token_params;
pub mod totp;
pub mod transit;
pub mod userpass;

use crate::context::Context;
use crate::mounts::{self, Mount};
use crate::refusal::Refusal;
use crate::route::{Backend, Journal};
use crate::token::{Terms, TokenEntry};
use std::sync::Arc;

/// What serves `mount`.
pub fn of(mount: &Mount) -> Option<&'static Backend> {
    backend(mount.is_auth(), &mount.kind, mount.options.get("version").map(String::as_str))
}

/// The mount that issued `entry`, and what its role or user allows now that it is to be renewed.
pub fn issuer(cx: &mut Context<'_, '_>, entry: &TokenEntry) -> Result<(Arc<Mount>, Terms), Refusal> {
    let table = mounts::table(cx.txn)?;
    let found = table.find(&entry.path).and_then(|mount| Some((mount, of(mount)?.renew?)));
    let (mount, terms) = found.ok_or_else(|| {
        Refusal::invalid("the auth method that issued the token is not there any more: log in elsewhere")
    })?;
    Ok((mount.clone(), terms(cx, mount, entry)?))
}

/// The backend that serves mounts of `kind`, among auth methods or secrets engines. `version` is the mount
/// option that tells the two key-value engines apart.
pub fn backend(auth: bool, kind: &str, version: Option<&str>) -> Option<&'static Backend> {
    match (auth, kind) {
        (false, "kv" | "generic") if version != Some("2") => Some(&kv1::BACKEND),
        (false, "kv") => Some(&kv2::BACKEND),
        (false, "cubbyhole") => Some(&cubbyhole::BACKEND),
        (false, "database") => Some(&database::BACKEND),
        (false, "identity") => Some(&identity::BACKEND),
        (false, "kubernetes") => Some(&kubernetes_tokens::BACKEND),
        (false, "pki") => Some(&pki::BACKEND),
        (false, "sealed") => Some(&sealed::BACKEND),
        (false, "ssh") => Some(&ssh::BACKEND),
        (false, "totp") => Some(&totp::BACKEND),
        (false, "transit") => Some(&transit::BACKEND),
        (false, "system") => Some(&system::BACKEND),
        (true, "token") => Some(&token_auth::BACKEND),
        (true, "approle") => Some(&approle::BACKEND),
        (true, "cert") => Some(&cert::BACKEND),
        (true, "jwt" | "oidc") => Some(&jwt::BACKEND),
        (true, "kubernetes") => Some(&kubernetes::BACKEND),
        (true, "ldap") => Some(&ldap::BACKEND),
        (true, "userpass") => Some(&userpass::BACKEND),
        _ => None,
    }
}

/// How mounts of `kind` go on with what they do outside; no kind of both auth methods and secrets engines does for both.
pub fn journal(kind: &str) -> Option<&'static Journal> {
    [false, true].into_iter().find_map(|auth| backend(auth, kind, None)?.journal.as_ref())
}

/// The types an operator can mount.
pub fn kinds(auth: bool) -> &'static [&'static str] {
    if auth {
        &["approle", "cert", "jwt", "kubernetes", "ldap", "oidc", "userpass"]
    } else {
        &["database", "kubernetes", "kv", "pki", "sealed", "ssh", "totp", "transit"]
    }
}
