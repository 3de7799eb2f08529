//! One-time passwords: a server that has Vault's helper asks whether a password is one that we made for it, which is
//! true once.

use super::super::named;
use super::role::{Role, listing};
use crate::cidr;
use crate::context::Context;
use crate::fields::Fields;
use crate::lease::{self, Issue, Issued, Next, Terms};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::txn::Txn;
use keyward_core::{Timestamp, random};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::sync::Arc;

/// The passwords that were not shown yet, by their hash.
const DIRECTORY: &str = "otp/";
/// The roles that are for any address, by their names.
const ZERO_ADDRESS: &str = "zeroaddress";
/// What a server asks to find out whether we are there, and what it wants to hear.
const ECHO: (&str, &str) = ("verify-echo-request", "verify-echo-response");

/// What a role for passwords allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Passwords {
    default_user: String,
    /// Names with commas between; `*` for all.
    allowed_users: String,
    networks: Vec<String>,
    excluded: Vec<String>,
    port: u16,
}

impl Passwords {
    /// Reads a role as it is written.
    pub(super) fn read(sent: &Fields) -> Result<Passwords, Refusal> {
        let port = sent.int("port")?.filter(|port| *port != 0).unwrap_or(22);
        let passwords = Passwords {
            default_user: sent.string("default_user")?.unwrap_or_default(),
            allowed_users: listing(sent, "allowed_users")?,
            networks: sent.strings("cidr_list")?.unwrap_or_default(),
            excluded: sent.strings("exclude_cidr_list")?.unwrap_or_default(),
            port: u16::try_from(port).ok().ok_or_else(|| Refusal::invalid("port must be from 1 to 65535"))?,
        };
        cidr::check(&passwords.networks)?;
        cidr::check(&passwords.excluded)?;
        match passwords.default_user.as_str() {
            "" => Err(Refusal::invalid("missing default user: set default_user")),
            _ => Ok(passwords),
        }
    }

    /// As it is read back.
    pub(super) fn describe(&self) -> Map<String, Value> {
        let fields = [
            ("key_type", json!("otp")),
            ("default_user", json!(self.default_user)),
            ("allowed_users", json!(self.allowed_users)),
            ("cidr_list", json!(self.networks.join(","))),
            ("exclude_cidr_list", json!(self.excluded.join(","))),
            ("port", json!(self.port)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn user(&self, sent: Option<String>) -> Result<String, Refusal> {
        let is_allowed = |user: &str| {
            user == self.default_user
                || self.allowed_users == "*"
                || self.allowed_users.split(',').any(|allowed| allowed.trim() == user)
        };
        match sent.filter(|user| !user.is_empty()) {
            None => Ok(self.default_user.clone()),
            Some(user) if is_allowed(&user) => Ok(user),
            Some(_) => Err(Refusal::invalid("username is not present in allowed users list")),
        }
    }

    fn covers(&self, address: IpAddr) -> bool {
        cidr::any(&self.networks, address) && !cidr::any(&self.excluded, address)
    }
}

/// A password as stored, under its hash.
#[derive(Serialize, Deserialize)]
struct Made {
    role: String,
    username: String,
    ip: IpAddr,
    /// When its lease ends, in nanoseconds since the epoch.
    ends: u64,
}

fn path(password: &str) -> String {
    // As random as it is, a password is not found from its hash.
    format!("{DIRECTORY}{}", hex::encode(keyward_crypto::sha256(password.as_bytes())))
}

fn address(cx: &Context<'_, '_>) -> Result<IpAddr, Refusal> {
    let sent = cx.fields().required("ip")?;
    let ip: IpAddr =
        sent.parse().map_err(|_| Refusal::invalid("ip must be an address: 10.0.0.1 or 2001:db8::1"))?;
    // Servers compare it with their own addresses.
    Ok(ip.to_canonical())
}

fn zero_address(cx: &mut Context<'_, '_>) -> Result<Vec<String>, Refusal> {
    Ok(cx.get_json(ZERO_ADDRESS)?.unwrap_or_default())
}

pub(super) fn create(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("role").to_owned();
    let role = named::wanted::<Role>(cx)?;
    let role = role.ok_or_else(|| Refusal::invalid(format!("role {name:?} not found")))?;
    let Some(passwords) = &role.passwords else {
        return Err(Refusal::invalid(format!("role {name:?} is for certificates: ask ssh/sign/{name}")));
    };
    let ip = address(cx)?;
    let username = passwords.user(cx.fields().string("username")?)?;
    if !passwords.covers(ip) && !zero_address(cx)?.contains(&name) {
        return Err(Refusal::invalid(format!("IP {ip} does not belong to role {name:?}: see its cidr_list")));
    }
    let password = random::uuid(cx.random());
    let response = Response::data(&json!({
        "key_type": "otp", "key": password, "username": username, "ip": ip, "port": passwords.port,
    }))?;
    let stored = path(&password);
    let issue = Issue { what: json!({ "stored": stored }), terms: Terms::default(), renewable: false };
    lease::issue(cx, issue, response, |cx, expires| {
        cx.put_json(&stored, &Made { role: name, username, ip, ends: expires.nanos() })?;
        // Nothing outside needs to know.
        Ok(None)
    })
}

pub(super) fn verify(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let password = cx.fields().string("otp")?.unwrap_or_default();
    if password == ECHO.0 {
        return Response::data(&json!({ "message": ECHO.1 }));
    }
    let stored = path(&password);
    let made = cx.get_json::<Made>(&stored)?.filter(|made| cx.now.nanos() < made.ends);
    let made = made.ok_or_else(|| Refusal::invalid("OTP not found"))?;
    cx.delete(&stored);
    Response::data(&json!({ "ip": made.ip, "username": made.username, "role_name": made.role }))
}

pub(super) fn lookup(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let ip = address(cx)?;
    let anywhere = zero_address(cx)?;
    let mut roles = Vec::new();
    for name in cx.list(<Role as named::Named>::DIRECTORY)? {
        let role = named::find::<Role>(cx, &name)?;
        let passwords = role.as_deref().and_then(|role| role.passwords.as_ref());
        if passwords.is_some_and(|passwords| passwords.covers(ip) || anywhere.contains(&name)) {
            roles.push(name);
        }
    }
    Response::data(&json!({ "roles": roles }))
}

pub(super) fn read_zero_address(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    match cx.get_json::<Vec<String>>(ZERO_ADDRESS)? {
        Some(roles) => Response::data(&json!({ "roles": roles })),
        None => Err(Refusal::missing()),
    }
}

pub(super) fn write_zero_address(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let roles = cx.fields().strings("roles")?.unwrap_or_default();
    if roles.is_empty() {
        return Err(Refusal::invalid("missing roles"));
    }
    for name in &roles {
        let role: Option<Arc<Role>> = named::find(cx, name)?;
        if role.is_none_or(|role| role.passwords.is_none()) {
            return Err(Refusal::invalid(format!("role {name:?} is not there, or not of the type otp")));
        }
    }
    cx.put_json(ZERO_ADDRESS, &roles)?;
    Ok(Response::empty())
}

/// Takes the role `name`, which is no more, off the list: one that is made by this name later is another.
pub(super) fn forget(cx: &mut Context<'_, '_>, name: &str) -> Result<(), Refusal> {
    let mut roles = zero_address(cx)?;
    if roles.iter().any(|role| role == name) {
        roles.retain(|role| role != name);
        cx.put_json(ZERO_ADDRESS, &roles)?;
    }
    Ok(())
}

pub(super) fn delete_zero_address(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    cx.delete(ZERO_ADDRESS);
    Ok(Response::empty())
}

pub(super) fn revoke(txn: &mut Txn<'_>, lease: &Issued, _: Timestamp) -> Next {
    if let Some(stored) = lease.what.get("stored").and_then(Value::as_str) {
        txn.delete(&lease.key(stored));
    }
    Ok(None)
}

/// A password is for one login: there is nothing to extend.
pub(super) fn terms(_: &mut Txn<'_>, _: &Issued) -> Result<Terms, Refusal> {
    Err(Refusal::invalid("lease is not renewable"))
}

pub(super) fn extend(_: &mut Txn<'_>, _: &Issued, _: Timestamp) -> Next {
    Err(Refusal::invalid("lease is not renewable"))
}
