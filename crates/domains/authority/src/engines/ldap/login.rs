//! Logging in.

use super::super::named;
use super::config::{self, Bearer, Config, Stored, TOKEN_GROUPS};
use super::groups::{Group, User};
use super::names::common_name;
use crate::context::Context;
use crate::lockout::{self, Attempt};
use crate::mounts::Mount;
use crate::outside::Hidden;
use crate::outside::ldap::{Ask, Entry, Found, Search};
use crate::refusal::Refusal;
use crate::response::{Login, Response};
use crate::token::{Terms, TokenEntry};
use std::collections::{BTreeMap, BTreeSet};

/// Security identifiers that are searched for at a time, and the longest there is, in bytes ([MS-DTYP], 2.4.2).
const SIDS: usize = 100;
const LONGEST_SID: usize = 68;
/// The longest name and password that the directory is asked about, in bytes.
const LONGEST: usize = 1024;

/// Whether a user is unknown or a password wrong cannot be told from the answer.
fn wrong() -> Refusal {
    Refusal::invalid("ldap operation failed: failed to bind as user")
}

pub(super) fn login(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = config::find(cx)?.ok_or_else(|| Refusal::invalid(config::ABSENT))?;
    config.stored.token.check_address(cx.request)?;
    let username = cx.param("username").to_owned();
    let password = cx.fields().string("password")?.unwrap_or_default();
    if password.is_empty() {
        return Err(Refusal::invalid(
            "password cannot be of zero length when passwordless binds are being denied",
        ));
    }
    if username.len() > LONGEST || password.len() > LONGEST {
        return Err(wrong());
    }
    // Whatever names are here, to the directory they usually have no case: nobody may guess on under other capitals.
    let name = username.to_lowercase();
    lockout::guarded(cx, &name, |cx| {
        let Some(person) = prove(cx, &config, &username, &password)? else {
            return Ok(Attempt::Wrong(wrong()));
        };
        let found = groups(cx, &config, &username, &password, &person.dn)?;
        answer(cx, &config, username, person, found).map(|login| Attempt::Good(Box::new(login)))
    })
}

/// Whoever the password is of.
struct Person {
    /// Their entry; or, where only that is known, what they bound as.
    dn: String,
    /// What they are an identity by.
    alias: String,
}

/// The entries that `search` finds for whoever binds, or why not: for the operator.
fn searched(
    cx: &Context<'_, '_>,
    config: &Config,
    bind: Option<(String, Hidden)>,
    search: Search,
) -> Result<Vec<Entry>, Refusal> {
    let is_service = bind == config.service();
    let also = config.service_next().filter(|_| is_service);
    let ask = Ask { server: config.server.clone(), bind, also, search: Some(search) };
    match cx.ask_directory(ask)? {
        Ok(Found::Entries(entries)) => Ok(entries.clone()),
        Ok(Found::Denied(why)) => {
            Err(Refusal::denied(format!("the directory refuses the search's bind: {why}")))
        }
        Err(why) => Err(Refusal::denied(format!("the directory cannot be asked: {why}"))),
    }
}

/// Whose password it is, if it is somebody's.
fn prove(
    cx: &Context<'_, '_>,
    config: &Config,
    username: &str,
    password: &str,
) -> Result<Option<Person>, Refusal> {
    let (dn, alias) = match config.bearer(username)? {
        Bearer::Named(name) => (name.clone(), name),
        Bearer::Found(search) => {
            let entries = searched(cx, config, config.service(), search)?;
            let [entry] = &entries[..] else { return Ok(None) };
            let values = entry.attributes.get(&config.userattr().to_lowercase());
            let alias = values.and_then(|values| values.first()).cloned().unwrap_or_default();
            (entry.dn.clone(), alias)
        }
    };
    // An entry without a name would make the bind one that succeeds for everybody.
    if dn.is_empty() {
        return Ok(None);
    }
    let bind = Some((dn.clone(), Hidden::new(password)));
    match cx.ask_directory(Ask { server: config.server.clone(), bind, also: None, search: None })? {
        Ok(Found::Entries(_)) => {}
        Ok(Found::Denied(_)) => return Ok(None),
        Err(why) => return Err(Refusal::denied(format!("the directory cannot be asked: {why}"))),
    }
    let alias = match config.stored.username_as_alias {
        true => username.to_owned(),
        false if alias.is_empty() => {
            return Err(Refusal::denied(format!(
                "the entry of the user has no {} to be known by: set userattr or username_as_alias",
                config.userattr()
            )));
        }
        false => alias,
    };
    Ok(Some(Person { dn, alias }))
}

/// The names of the groups that the directory has them in.
fn groups(
    cx: &Context<'_, '_>,
    config: &Config,
    username: &str,
    password: &str,
    bound_as: &str,
) -> Result<BTreeSet<String>, Refusal> {
    let own = || (bound_as.to_owned(), Hidden::new(password));
    let bind = || config.service().or_else(|| Some(own()));
    // Who bound as NAME@DOMAIN has an entry of another name.
    let dn = match config.principal(username) {
        None => bound_as.to_owned(),
        Some(search) => match &searched(cx, config, bind(), search)?[..] {
            [entry] => entry.dn.clone(),
            _ => bound_as.to_owned(),
        },
    };
    let bind = || if config.anonymous_groups() { None } else { bind() };
    let entries = if config.stored.use_token_groups {
        token_groups(cx, config, bind, &dn)?
    } else {
        let Some(search) = config.groups(username, &dn)? else { return Ok(BTreeSet::new()) };
        searched(cx, config, bind(), search)?
    };
    Ok(entries.iter().flat_map(|entry| names_of(entry, config.groupattr())).collect())
}

/// The groups that Active Directory counts the entry `dn` to.
fn token_groups(
    cx: &Context<'_, '_>,
    config: &Config,
    bind: impl Fn() -> Option<(String, Hidden)>,
    dn: &str,
) -> Result<Vec<Entry>, Refusal> {
    let own = searched(cx, config, bind(), config.token_groups(dn))?;
    let sids = own.iter().flat_map(|entry| entry.values(TOKEN_GROUPS));
    let mut sids: Vec<&[u8]> = sids.filter(|sid| sid.len() <= LONGEST_SID).collect();
    sids.sort_unstable();
    sids.dedup();
    let mut found = Vec::new();
    for some in sids.chunks(SIDS) {
        found.extend(searched(cx, config, bind(), config.identified(some, dn))?);
    }
    Ok(found)
}

/// What a group is called: what its attribute says, or the entry's own name; of names of entries the common name.
fn names_of(entry: &Entry, attribute: &str) -> Vec<String> {
    let short = |name: &String| common_name(name).unwrap_or_else(|| name.clone());
    match entry.attributes.get(&attribute.to_lowercase()) {
        Some(values) if !values.is_empty() => values.iter().map(short).collect(),
        _ => vec![short(&entry.dn)],
    }
}

fn answer(
    cx: &mut Context<'_, '_>,
    config: &Config,
    username: String,
    person: Person,
    found: BTreeSet<String>,
) -> Result<Response, Refusal> {
    let mut warnings = Vec::new();
    if found.is_empty() {
        warnings.push(format!(
            "no LDAP groups found in groupDN {:?}; only policies from locally-defined groups available",
            config.groupdn()
        ));
    }
    let username = config::fold(cx, &username)?;
    let user = named::find::<User>(cx, &username)?;
    let mut login = config.stored.token.login();
    let local = user.iter().flat_map(|user| user.groups.iter().cloned());
    let mut all = BTreeSet::new();
    for name in found.into_iter().chain(local) {
        all.insert(config::fold(cx, &name)?);
    }
    for name in &all {
        if let Some(group) = named::find::<Group>(cx, name)? {
            login.policies.extend(group.policies.iter().cloned());
        }
    }
    login.policies.extend(user.iter().flat_map(|user| user.policies.iter().cloned()));
    let login = Login {
        alias: person.alias,
        metadata: BTreeMap::from([("username".to_owned(), username.clone())]),
        display_name: username.clone(),
        groups: Some(all.into_iter().collect()),
        role: username,
        ..login
    };
    Ok(Response { warnings, ..Response::login(login) })
}

/// The terms of the configuration as it is now. The directory is not asked: no password is kept to ask with.
pub(super) fn terms(cx: &mut Context<'_, '_>, mount: &Mount, token: &TokenEntry) -> Result<Terms, Refusal> {
    let config = cx.txn.built_json::<Stored>(&format!("{}{}", mount.prefix(), config::PATH))?;
    match config {
        Some(config) => Ok(config.token.terms(token)),
        None => Err(Refusal::invalid("the auth method is not configured any more: log in again")),
    }
}
