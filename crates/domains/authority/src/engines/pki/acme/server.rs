//! What all ACME requests go through: which directory they are of, who signed them, and that they are new.

use super::super::role::Role;
use super::super::table::{self, DEFAULT, Issuer, Table};
use super::super::{is_name, roles};
use super::account::{self, Account, Status};
use super::config::{self, Config, EabPolicy, Policy};
use super::wrong::{Kind, Wrong};
use crate::context::Context;
use crate::jws::{Bad, Jwk, Jws, Signer};
use crate::problem::Problem;
use crate::refusal::Refusal;
use crate::request::Media;
use crate::response::Response;
use keyward_crypto::keys::{Algorithm, JWS_ALGORITHMS};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What is answered, or why not.
pub(super) type Answered = Result<Response, Wrong>;

/// A directory: what ACME is served under one path of the mount.
pub(super) struct Directory {
    /// See [`Config`].
    pub(super) config: Arc<Config>,
    /// Its path below the mount, with a slash at the end.
    pub(super) path: String,
    /// Its URL, with a slash at the end.
    pub(super) base: String,
    /// The URL of this request.
    pub(super) url: String,
    /// The mount's authorities.
    pub(super) table: Arc<Table>,
    /// What may be certified.
    pub(super) role: Role,
    /// Who signs: an issuer's id.
    pub(super) issuer: String,
}

impl Directory {
    /// The URL of a resource.
    pub(super) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Who signs.
    pub(super) fn issuer(&self) -> Result<&Arc<Issuer>, Refusal> {
        self.table.issuer(&self.issuer)
    }
}

/// A request whose signature is good, and that nobody has sent before.
pub(super) struct Signed {
    /// The key that signed it.
    pub(super) key: Jwk,
    /// The account that it is of, if it names one.
    pub(super) account: Option<Account>,
    /// What is said; nothing where a resource is only asked for (RFC 8555, section 6.3).
    pub(super) payload: Option<Map<String, Value>>,
}

impl Signed {
    /// What is said, or an error where nothing is.
    pub(super) fn said(&self) -> Result<&Map<String, Value>, Wrong> {
        self.payload
            .as_ref()
            .ok_or_else(|| Kind::Malformed.because("the payload is empty: it must be a JSON object"))
    }

    /// The account, or an error where the request names none.
    pub(super) fn account(&self) -> Result<&Account, Wrong> {
        self.account
            .as_ref()
            .ok_or_else(|| Kind::Malformed.because("the request must name its account: send kid, not jwk"))
    }
}

/// Serves a request that is not signed.
pub(super) fn open(
    cx: &mut Context<'_, '_>,
    act: impl FnOnce(&mut Context<'_, '_>, &Directory) -> Answered,
) -> Result<Response, Refusal> {
    let directory = directory(cx).map_err(|why| refusal(cx, None, why))?;
    answered(cx, &directory, |cx| act(cx, &directory))
}

/// Serves a signed request.
pub(super) fn signed(
    cx: &mut Context<'_, '_>,
    act: impl FnOnce(&mut Context<'_, '_>, &Directory, &Signed) -> Answered,
) -> Result<Response, Refusal> {
    open(cx, |cx, directory| {
        let signed = prove(cx, directory)?;
        act(cx, directory, &signed)
    })
}

/// Serves a signed request of an account in good standing.
pub(super) fn of_account(
    cx: &mut Context<'_, '_>,
    act: impl FnOnce(&mut Context<'_, '_>, &Directory, &Signed, &Account) -> Answered,
) -> Result<Response, Refusal> {
    signed(cx, |cx, directory, signed| {
        let account = signed.account()?;
        check_standing(directory, account)?;
        act(cx, directory, signed, account)
    })
}

/// Refuses accounts that are no good any more.
pub(super) fn check_standing(directory: &Directory, account: &Account) -> Result<(), Wrong> {
    if directory.config.eab_policy == EabPolicy::Everybody && account.eab.is_none() {
        return Err(Kind::ExternalAccountRequired.because(
            "accounts without an external account binding may not be used any more: make one with a binding",
        ));
    }
    match account.status {
        Status::Valid => Ok(()),
        other => Err(Kind::Unauthorized.because(format!("the account is {}", other.name()))),
    }
}

fn answered(
    cx: &mut Context<'_, '_>,
    directory: &Directory,
    act: impl FnOnce(&mut Context<'_, '_>) -> Answered,
) -> Result<Response, Refusal> {
    match act(cx) {
        Ok(response) => {
            let nonce = nonce(cx);
            Ok(response.with_header("replay-nonce", nonce).with_header("link", index(directory)))
        }
        Err(why) => Err(refusal(cx, Some(directory), why)),
    }
}

/// A nonce for the next request.
fn nonce(cx: &Context<'_, '_>) -> String {
    cx.nonces.issue(&cx.mount.uuid, cx.random())
}

fn index(directory: &Directory) -> String {
    format!("<{}>;rel=\"index\"", directory.at("directory"))
}

fn refusal(cx: &Context<'_, '_>, directory: Option<&Directory>, why: Wrong) -> Refusal {
    match why {
        Wrong::Refusal(refusal) => refusal,
        Wrong::Problem(mut problem) => {
            problem.headers.push(("replay-nonce", nonce(cx)));
            problem.headers.extend(directory.map(|directory| ("link", index(directory))));
            Refusal::Problem(Box::new(Problem { ..problem }))
        }
    }
}

/// The directory that the request's path is below.
fn directory(cx: &mut Context<'_, '_>) -> Result<Directory, Wrong> {
    let config = config::load(cx)?;
    if !config.enabled {
        return Err(Wrong::Refusal(Refusal::missing()));
    }
    let table = table::table(cx)?;
    let cluster = table.config.cluster.path.trim_end_matches('/');
    if cluster.is_empty() {
        return Err(Kind::ServerInternal
            .because("ACME is not configured: the operator must write the mount's URL to config/cluster"));
    }
    let below = cx.request.path.get(cx.mount.path.len()..).unwrap_or("");
    // The last one: a role may be called acme.
    let path = below
        .rfind("acme/")
        .and_then(|at| below.get(..at + "acme/".len()))
        .ok_or_else(|| Kind::Malformed.because("the path is below no ACME directory"))?
        .to_owned();
    let (base, url) = (format!("{cluster}/{path}"), format!("{cluster}/{below}"));
    let role = role(cx, &config)?;
    let reference = match (cx.param("issuer_ref"), role.issuer_ref.as_str()) {
        ("", "") => DEFAULT,
        ("", of_role) => of_role,
        (named, _) => named,
    };
    let issuer = issuer(&table, &config, reference)?;
    Ok(Directory { config, path, base, url, table: table.clone(), role, issuer })
}

/// What the directory's role, or the policy for those without one, allows.
fn role(cx: &mut Context<'_, '_>, config: &Config) -> Result<Role, Wrong> {
    let named = match (cx.param("role").to_owned(), config.policy()) {
        (name, Policy::Forbid) if name.is_empty() => {
            return Err(Kind::ServerInternal
                .because("default directory not allowed by ACME policy: use the directory of a role"));
        }
        (name, Policy::SignVerbatim) if name.is_empty() => None,
        (name, Policy::Role(role)) if name.is_empty() => Some(role),
        (name, _) if Config::is_any(&config.allowed_roles) || config.allowed_roles.contains(&name) => {
            Some(name)
        }
        _ => return Err(Kind::ServerInternal.because("specified role not allowed by ACME policy")),
    };
    let mut role = match named {
        Some(name) => {
            let unknown = || Kind::Malformed.because("role does not exist");
            let role = if is_name(&name) { roles::known(cx, &name)? } else { None };
            Role::clone(&*role.ok_or_else(unknown)?)
        }
        None => Role::of_proved_names(),
    };
    if role.no_store {
        return Err(Kind::ServerInternal.because("role can not be used as NoStore is set to true"));
    }
    if !config.allow_role_ext_key_usage {
        role.only_for_servers();
    }
    Ok(role)
}

fn issuer(table: &Table, config: &Config, reference: &str) -> Result<String, Wrong> {
    let issuer = table.find(reference).ok_or_else(|| Kind::Malformed.because("issuer does not exist"))?;
    if !issuer.entry.usage.issuing || issuer.key.is_none() || !issuer.is_authority {
        return Err(Kind::ServerInternal.because("issuer missing proper issuance usage or key"));
    }
    let named = |name: &String| table.find(name).is_some_and(|known| known.entry.id == issuer.entry.id);
    match Config::is_any(&config.allowed_issuers) || config.allowed_issuers.iter().any(named) {
        true => Ok(issuer.entry.id.clone()),
        false => Err(Kind::ServerInternal.because("specified issuer not allowed by ACME policy")),
    }
}

/// One of the three members of the flattened form.
fn member(cx: &Context<'_, '_>, name: &str) -> Result<String, Wrong> {
    match cx.fields().typed::<String>(name) {
        Ok(Some(text)) => Ok(text),
        _ => Err(Kind::Malformed.because(format!("the request is no flattened JWS: {name} must be a text"))),
    }
}

fn unreadable(why: &Bad) -> Wrong {
    let kind = if matches!(why, Bad::Key(_)) { Kind::BadPublicKey } else { Kind::Malformed };
    kind.because(why.to_string())
}

/// Reads the flattened JWS with these members.
pub(super) fn read(protected: &str, payload: &str, signature: &str) -> Result<Jws, Wrong> {
    let jws = Jws::read(protected, payload, signature).map_err(|why| unreadable(&why))?;
    if Algorithm::parse(&jws.algorithm).is_none() {
        let known = JWS_ALGORITHMS.map(Algorithm::name);
        return Err(Kind::BadSignatureAlgorithm
            .because("the algorithm (alg) is not available")
            .with("algorithms", json!(known)));
    }
    Ok(jws)
}

/// Whether the holder of `key` signed `jws`, or an error.
pub(super) fn verify(jws: &Jws, key: &Jwk) -> Result<(), Wrong> {
    if !key.algorithms().contains(&jws.algorithm.as_str()) {
        return Err(Kind::BadSignatureAlgorithm
            .because("the algorithm (alg) is not one of the key's")
            .with("algorithms", json!(key.algorithms())));
    }
    match jws.signed_by(&key.public) {
        true => Ok(()),
        false => Err(Kind::Malformed.because("the signature is not that of the key")),
    }
}

/// What a JWS says; nothing if its payload is empty.
pub(super) fn payload(jws: &Jws) -> Result<Option<Map<String, Value>>, Wrong> {
    if jws.payload.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&jws.payload)
        .map(Some)
        .map_err(|_| Kind::Malformed.because("the payload is no JSON object"))
}

fn prove(cx: &mut Context<'_, '_>, directory: &Directory) -> Result<Signed, Wrong> {
    if cx.request.media != Media::Jose {
        return Err(Kind::Malformed.because("send Content-Type: application/jose+json").with_status(415));
    }
    // Nobody has signed the unprotected header, or more signatures (RFC 8555, section 6.2).
    if cx.fields().has("header") || cx.fields().has("signatures") {
        return Err(Kind::Malformed.because("the JWS must have one signature and no unprotected header"));
    }
    let jws = read(&member(cx, "protected")?, &member(cx, "payload")?, &member(cx, "signature")?)?;
    if jws.url != directory.url {
        return Err(Kind::Unauthorized.because(format!(
            "the JWS is for another URL: this is {}; the operator sets its beginning",
            directory.url
        )));
    }
    let (key, account) = match &jws.signer {
        Signer::Key(key) => (Jwk::clone(key), None),
        Signer::Known(kid) => {
            let account = account::by_url(cx, directory, kid)?;
            (account.key()?, Some(account))
        }
    };
    verify(&jws, &key)?;
    let fresh = |nonce: &str| cx.nonces.spend(&cx.mount.uuid, nonce, &cx.request.id, cx.random());
    if !jws.nonce.as_deref().is_some_and(fresh) {
        return Err(Kind::BadNonce
            .because("the nonce was used before, or is none of this server since it was started"));
    }
    Ok(Signed { key, account, payload: payload(&jws)? })
}
