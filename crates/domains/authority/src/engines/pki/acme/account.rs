//! Accounts (RFC 8555, section 7.3).

use super::config::EabPolicy;
use super::eab;
use super::server::{Answered, Directory, check_standing, signed};
use super::wrong::{Kind, Wrong};
use crate::context::Context;
use crate::jws::Jwk;
use crate::refusal::Refusal;
use crate::response::Response;
use keyward_core::random;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(super) const ACCOUNTS: &str = "acme/account/";
const KEYS: &str = "acme/key/";

/// Contacts of one account, and the length of each in bytes.
const MOST_CONTACTS: usize = 10;
const LONGEST_CONTACT: usize = 320;

/// Whether an account may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// Yes.
    Valid,
    /// Its holder wants it no more.
    Deactivated,
    /// Tidying found it unused for long.
    Revoked,
}

impl Status {
    /// On the wire.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Status::Valid => "valid",
            Status::Deactivated => "deactivated",
            Status::Revoked => "revoked",
        }
    }
}

/// An account as stored. Moments are in seconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) status: Status,
    pub(super) contact: Vec<String>,
    /// The directory it is of, as [`Directory::path`].
    pub(super) directory: String,
    /// See [`Jwk::canonical`].
    pub(super) key: String,
    /// The external account binding that it was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) eab: Option<String>,
    pub(super) created: u64,
    /// When it ceased to be valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended: Option<u64>,
    /// When the last of its certificates ends.
    #[serde(default)]
    pub(super) certified_until: u64,
}

impl Account {
    /// Its key.
    pub(super) fn key(&self) -> Result<Jwk, Refusal> {
        Jwk::kept(&self.key).ok_or_else(|| Refusal::Corrupt(format!("{ACCOUNTS}{}", self.id)))
    }
}

/// Where the id of the account of a key is kept, below the mount.
pub(super) fn key_path(directory: &str, key: &Jwk) -> String {
    format!("{KEYS}{directory}{}", key.thumbprint())
}

/// Writes an account.
pub(super) fn put(cx: &mut Context<'_, '_>, account: &Account) -> Result<(), Refusal> {
    cx.put_json(&format!("{ACCOUNTS}{}", account.id), account)
}

fn unknown() -> Wrong {
    Kind::AccountDoesNotExist.because("there is no such account in this directory")
}

/// The account with the URL `kid`.
pub(super) fn by_url(cx: &mut Context<'_, '_>, directory: &Directory, kid: &str) -> Result<Account, Wrong> {
    let beginning = directory.at("account/");
    let id =
        kid.strip_prefix(&beginning).filter(|id| !id.is_empty() && !id.contains('/')).ok_or_else(unknown)?;
    let account = cx.get_json::<Account>(&format!("{ACCOUNTS}{id}"))?;
    account.filter(|account| account.directory == directory.path).ok_or_else(unknown)
}

/// The account of a key.
pub(super) fn by_key(
    cx: &mut Context<'_, '_>,
    directory: &Directory,
    key: &Jwk,
) -> Result<Option<Account>, Refusal> {
    match cx.get_json::<String>(&key_path(&directory.path, key))? {
        Some(id) => cx.get_json(&format!("{ACCOUNTS}{id}")),
        None => Ok(None),
    }
}

fn show(directory: &Directory, account: &Account, also: Option<&Value>) -> Answered {
    let mut shown = json!({ "status": account.status.name(), "orders": directory.at("orders") });
    if !account.contact.is_empty() {
        shown["contact"] = json!(account.contact);
    }
    if let Some(binding) = also {
        shown["externalAccountBinding"] = binding.clone();
    }
    let location = directory.at(&format!("account/{}", account.id));
    Ok(Response::verbatim_json(&shown)?.with_header("location", location))
}

/// The member `name`, if it is there, as a `T`.
fn member<T: serde::de::DeserializeOwned>(said: &Map<String, Value>, name: &str) -> Result<Option<T>, Wrong> {
    match said.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value.clone())
            .map(Some)
            .map_err(|_| Kind::Malformed.because(format!("invalid type for field '{name}'"))),
    }
}

/// The contacts, if they are said; each a `mailto` URI of one address (RFC 8555, section 7.3).
fn contacts(said: &Map<String, Value>) -> Result<Option<Vec<String>>, Wrong> {
    let Some(contacts) = member::<Vec<String>>(said, "contact")? else { return Ok(None) };
    if contacts.len() > MOST_CONTACTS {
        return Err(Kind::InvalidContact.because(format!("an account has at most {MOST_CONTACTS} contacts")));
    }
    for contact in &contacts {
        let scheme = contact.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("mailto:"));
        let address = scheme.and_then(|_| contact.get(7..)).ok_or_else(|| {
            Kind::UnsupportedContact.because("contacts are e-mail addresses, as mailto:me@example.org")
        })?;
        let one = address.split('@').filter(|part| !part.is_empty()).count() == 2;
        let odd = |c: char| matches!(c, ',' | '?') || c.is_control() || c.is_whitespace();
        if !one || contact.len() > LONGEST_CONTACT || address.contains(odd) {
            return Err(Kind::InvalidContact.because("a contact is no single e-mail address without headers"));
        }
    }
    Ok(Some(contacts))
}

pub(super) fn new(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    signed(cx, |cx, directory, request| {
        let said = request.said()?;
        if request.account.is_some() {
            return Err(Kind::Malformed.because("cannot submit to newAccount with 'kid': send jwk"));
        }
        if let Some(account) = by_key(cx, directory, &request.key)? {
            check_standing(directory, &account)?;
            return show(directory, &account, None);
        }
        if member::<bool>(said, "onlyReturnExisting")?.unwrap_or(false) {
            return Err(unknown());
        }
        make(cx, directory, &request.key, said)
    })
}

fn make(cx: &mut Context<'_, '_>, directory: &Directory, key: &Jwk, said: &Map<String, Value>) -> Answered {
    let contact = contacts(said)?.unwrap_or_default();
    let binding = said.get("externalAccountBinding").filter(|binding| !binding.is_null());
    let eab = match binding {
        Some(binding) => Some(eab::use_up(cx, directory, key, binding)?),
        None if directory.config.eab_policy == EabPolicy::Nobody => None,
        None => {
            return Err(Kind::ExternalAccountRequired.because(
                "the request must have an externalAccountBinding: ask the operator for one (new-eab)",
            ));
        }
    };
    let account = Account {
        id: random::uuid(cx.random()),
        status: Status::Valid,
        contact,
        directory: directory.path.clone(),
        key: key.canonical.clone(),
        eab,
        created: cx.now.secs(),
        ended: None,
        certified_until: 0,
    };
    put(cx, &account)?;
    cx.put_json(&key_path(&directory.path, key), &account.id)?;
    Ok(show(directory, &account, binding)?.with_status(201))
}

pub(super) fn change(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    super::server::of_account(cx, |cx, directory, request, account| {
        if account.id != cx.param("kid") {
            return Err(Kind::Unauthorized.because("the account is another's"));
        }
        let Some(said) = &request.payload else { return show(directory, account, None) };
        let mut changed = account.clone();
        if said.contains_key("externalAccountBinding") {
            return Err(Kind::Malformed.because("not allowed to update EAB data in accounts"));
        }
        if let Some(contact) = contacts(said)? {
            changed.contact = contact;
        }
        match member::<String>(said, "status")?.as_deref() {
            None | Some("valid") => {}
            Some("deactivated") => {
                changed.status = Status::Deactivated;
                changed.ended = Some(cx.now.secs());
            }
            Some(_) => {
                return Err(Kind::Malformed.because("the status of an account can only become deactivated"));
            }
        }
        put(cx, &changed)?;
        show(directory, &changed, None)
    })
}
