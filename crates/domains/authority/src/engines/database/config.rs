//! Connections: how a database is reached, and as whom.

use super::super::automated::{self, Rotation};
use super::address::{self, Address};
use super::dialect::{self, Values};
use super::username::UsernameTemplate;
use crate::act::Act;
use crate::act::database::{Deed, Dialect, Limits, Server, Tls, TlsMode, Work};
use crate::context::{Context, Effect};
use crate::fields::Fields;
use crate::glob;
use crate::mounts;
use crate::outside::Hidden;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::txn::Txn;
use keyward_core::{Random, random};
use keyward_crypto::scram;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub(super) const DIRECTORY: &str = "config/";

/// Connections at a time, as in Vault.
const OPEN: u32 = 4;
/// More than any server likes.
const MOST_OPEN: i64 = 100;
const REDIS_PORT: u16 = 6379;

// house: what one request configures is one entry, so that nobody sees half of it
/// A connection as stored. It holds a password: no `Debug`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Stored {
    pub(super) plugin: String,
    pub(super) allowed_roles: Vec<String>,
    pub(super) url: String,
    pub(super) username: String,
    pub(super) password: String,
    /// Of the password.
    pub(super) rotation: Rotation,
    pub(super) rotation_statements: Vec<String>,
    pub(super) password_policy: String,
    pub(super) username_template: String,
    pub(super) verify: bool,
    pub(super) open: u32,
    /// Kept while nobody needs them, `open` at most.
    pub(super) idle: u32,
    /// Seconds.
    pub(super) lifetime: u64,
    pub(super) ca: String,
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) server_name: String,
    pub(super) skip_verify: bool,
    /// PostgreSQL only: it is told verifiers of passwords (RFC 7677), and no password.
    pub(super) scram: bool,
    /// Redis only.
    pub(super) tls: bool,
    /// Redis only: `ACLFILE`, `REWRITE` or nothing.
    pub(super) persistence: String,
    /// Changed to have sessions closed.
    pub(super) resets: u32,
    /// New static roles leave the password as it is, unless they say otherwise.
    pub(super) skip_import: bool,
}

/// A connection, read once per change.
pub(super) struct Connection {
    pub(super) stored: Stored,
    pub(super) dialect: Dialect,
    pub(super) usernames: UsernameTemplate,
    address: Address,
    /// What acts are handed of it, with the revision that it is of.
    server: OnceLock<Arc<Server>>,
}

impl Connection {
    fn of(stored: Stored) -> Result<Connection, Refusal> {
        let dialect = Dialect::of_plugin(&stored.plugin)?;
        let address = match dialect {
            Dialect::PostgreSql => address::postgresql(&stored.url)?,
            Dialect::MySql => address::mysql(&stored.url)?,
            Dialect::Redis => redis(&stored)?,
        };
        let usernames = UsernameTemplate::parse(&stored.username_template, dialect)?;
        Ok(Connection { stored, dialect, usernames, address, server: OnceLock::new() })
    }

    /// `command` for a Redis server, and what has it remembered when the server restarts.
    pub(super) fn commands(&self, command: &[&str]) -> Work {
        let words = |words: &[&str]| words.iter().map(|word| Hidden::new(*word)).collect::<Vec<_>>();
        let save: Option<&[&str]> = match self.stored.persistence.as_str() {
            "ACLFILE" => Some(&["ACL", "SAVE"]),
            "REWRITE" => Some(&["CONFIG", "REWRITE"]),
            _ => None,
        };
        Work::Commands(std::iter::once(command).chain(save).map(words).collect())
    }

    /// What the server is told `password` is. `random` salts it, where that is a verifier.
    pub(super) fn told<'p>(&self, password: &'p str, random: &dyn Random) -> Result<Cow<'p, str>, Refusal> {
        if !self.stored.scram {
            return Ok(Cow::Borrowed(password));
        }
        let verifier = scram::verifier(password, &random::bytes(random));
        verifier.map(Cow::Owned).ok_or_else(|| {
            Refusal::invalid(
                "the password policy yields more than printable ASCII, which password_authentication=scram-sha-256 cannot \
                 have: leave the rest out of its charset",
            )
        })
    }

    /// What sets the password of `username`: its `own` statements, else what is usual.
    pub(super) fn set_password(
        &self,
        username: &str,
        password: &str,
        own: &[String],
        random: &dyn Random,
    ) -> Result<Work, Refusal> {
        let told = self.told(password, random)?;
        Ok(match self.dialect {
            // Nothing but the password: the user keeps its rights.
            Dialect::Redis => {
                let shown = format!(">{password}");
                self.commands(&["ACL", "SETUSER", username, "resetpass", &shown])
            }
            dialect => {
                let usual = [dialect.rotation().to_owned()];
                let values = Values { username, password: &told, expires: None };
                dialect::work(if own.is_empty() { &usual } else { own }, &values)
            }
        })
    }

    /// True when the role `name` may use it.
    pub(super) fn allows(&self, name: &str) -> bool {
        self.stored.allowed_roles.iter().any(|allowed| glob::matches(allowed, name))
    }

    /// The server as it is reached by `passwords`, the stored ones if there are none.
    fn server(&self, uuid: &str, name: &str, version: u64) -> Server {
        let filled = |text: &str, password: &str| {
            text.replace("{{username}}", &self.stored.username).replace("{{password}}", password)
        };
        let passwords = std::iter::once(self.stored.password.as_str()).chain(self.stored.rotation.next());
        let passwords = passwords.map(|one| match self.address.password.as_str() {
            "{{password}}" => Arc::new(Hidden::new(one)),
            other => Arc::new(Hidden::new(filled(other, one))),
        });
        Server {
            pool: format!("{uuid}/{name}"),
            version,
            dialect: self.dialect,
            hosts: self.address.hosts.clone(),
            database: filled(&self.address.database, ""),
            user: match self.address.user.as_str() {
                "{{username}}" => self.stored.username.clone(),
                other => filled(other, ""),
            },
            passwords: passwords.collect(),
            tls: self.tls(),
            options: self.address.options.clone(),
            limits: Limits {
                open: self.stored.open.max(1) as usize,
                idle: self.stored.idle.min(self.stored.open) as usize,
                lifetime: Duration::from_secs(self.stored.lifetime),
            },
        }
    }

    fn tls(&self) -> Tls {
        let stored = &self.stored;
        let asked = match self.dialect {
            Dialect::PostgreSql => self.address.tls.unwrap_or(TlsMode::Prefer),
            Dialect::MySql => self.address.tls.unwrap_or(match stored.ca.is_empty() {
                true => TlsMode::Disable,
                false => TlsMode::VerifyFull,
            }),
            Dialect::Redis if stored.tls => TlsMode::VerifyFull,
            Dialect::Redis => TlsMode::Disable,
        };
        let mode = match asked {
            TlsMode::VerifyCa | TlsMode::VerifyFull if stored.skip_verify => TlsMode::Require,
            asked => asked,
        };
        let identity = (!stored.certificate.is_empty())
            .then(|| (stored.certificate.as_str().into(), Arc::new(Hidden::new(stored.key.clone()))));
        Tls {
            mode,
            authorities: (!stored.ca.is_empty()).then(|| stored.ca.as_str().into()),
            server_name: (!stored.server_name.is_empty()).then(|| stored.server_name.clone()),
            identity,
        }
    }
}

fn redis(stored: &Stored) -> Result<Address, Refusal> {
    let (host, port) = stored.url.rsplit_once(':').unwrap_or((&stored.url, ""));
    if host.is_empty() {
        return Err(Refusal::invalid("host cannot be empty"));
    }
    Ok(Address {
        hosts: vec![(host.to_owned(), port.parse().unwrap_or(REDIS_PORT))],
        database: String::new(),
        user: "{{username}}".to_owned(),
        password: "{{password}}".to_owned(),
        tls: None,
        options: Vec::new(),
    })
}

pub(super) fn path(name: &str) -> String {
    format!("{DIRECTORY}{name}")
}

/// Says that the connection `name` is not there.
pub(super) fn absent(name: &str) -> Refusal {
    Refusal::invalid(format!("failed to find entry for connection with name: {name:?}"))
}

/// The storage key of the connection `name` of the mount `uuid`.
fn key(uuid: &str, name: &str) -> String {
    mounts::prefix(uuid) + &path(name)
}

/// The connection `name` of the mount `uuid`.
pub(super) fn find(txn: &mut Txn<'_>, uuid: &str, name: &str) -> Result<Arc<Connection>, Refusal> {
    let key = key(uuid, name);
    let corrupt = || Refusal::Corrupt(key.clone());
    let found = txn.built(&key, |plain| {
        Connection::of(serde_json::from_slice(plain).map_err(|_| corrupt())?).map_err(|_| corrupt())
    })?;
    found.ok_or_else(|| absent(name))
}

/// The server of the connection `name`, with what was found of it.
pub(super) fn server(
    txn: &mut Txn<'_>,
    uuid: &str,
    name: &str,
) -> Result<(Arc<Connection>, Arc<Server>), Refusal> {
    let connection = find(txn, uuid, name)?;
    let version = txn.revision(&key(uuid, name))?;
    let server = connection.server.get_or_init(|| Arc::new(connection.server(uuid, name, version))).clone();
    Ok((connection, server))
}

/// The connection `name`, if the role `role` may use it.
pub(super) fn for_role(
    txn: &mut Txn<'_>,
    uuid: &str,
    name: &str,
    role: &str,
) -> Result<(Arc<Connection>, Arc<Server>), Refusal> {
    let (connection, server) = server(txn, uuid, name)?;
    match connection.allows(role) {
        true => Ok((connection, server)),
        false => Err(Refusal::invalid(format!(
            "{role:?} is not an allowed role: add it to allowed_roles of the connection {name:?}"
        ))),
    }
}

pub(super) fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let path = path(cx.param("name"));
    cx.exists(&path)
}

pub(super) fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(DIRECTORY)?)
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx.param("name"));
    if let Some(stored) = cx.get_json::<Stored>(&path)? {
        let uuid = cx.mount.uuid.clone();
        super::place(&uuid, &path).delete(cx.txn, stored.rotation.due());
    }
    Ok(Response::empty())
}

pub(super) fn reset(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx.param("name"));
    let mut stored = cx.get_json::<Stored>(&path)?.ok_or(Refusal::missing())?;
    stored.resets = stored.resets.wrapping_add(1);
    cx.put_json(&path, &stored)?;
    Ok(Response::empty())
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = path(cx.param("name"));
    let stored = cx.get_json::<Stored>(&path)?.ok_or(Refusal::missing())?;
    let mut details = Map::new();
    let mut show = |name: &str, value: Value| {
        if !matches!(&value, Value::String(text) if text.is_empty()) {
            details.insert(name.to_owned(), value);
        }
    };
    if Dialect::of_plugin(&stored.plugin)? == Dialect::Redis {
        let (host, port) = stored.url.rsplit_once(':').unwrap_or((&stored.url, ""));
        show("host", json!(host));
        show("port", json!(port.parse().unwrap_or(REDIS_PORT)));
        show("tls", json!(stored.tls));
        show("persistence_mode", json!(stored.persistence));
    } else {
        show("connection_url", json!(stored.url));
        show("max_open_connections", json!(stored.open));
        show("max_idle_connections", json!(stored.idle.min(stored.open)));
        show(
            "max_connection_lifetime",
            json!(crate::token::go_duration(Duration::from_secs(stored.lifetime))),
        );
    }
    if stored.scram {
        show("password_authentication", json!("scram-sha-256"));
    }
    show("username", json!(stored.username));
    show("username_template", json!(stored.username_template));
    show("tls_ca", json!(stored.ca));
    show("tls_certificate", json!(stored.certificate));
    show("tls_server_name", json!(stored.server_name));
    if stored.skip_verify {
        show("tls_skip_verify", json!(true));
    }
    let mut shown = json!({
        "allowed_roles": stored.allowed_roles,
        "connection_details": details,
        "password_policy": stored.password_policy,
        "plugin_name": stored.plugin,
        "plugin_version": "",
        "root_credentials_rotate_statements": stored.rotation_statements,
        "skip_static_role_import_rotation": stored.skip_import,
        "verify_connection": stored.verify,
    });
    for (name, value) in stored.rotation.describe() {
        shown[name] = value;
    }
    Response::data(&shown)
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("name").to_owned();
    let path = path(&name);
    let new = Stored { open: OPEN, idle: u32::MAX, verify: true, ..Stored::default() };
    let mut stored = cx.get_json::<Stored>(&path)?.unwrap_or(new);
    let was_due = stored.rotation.due();
    let sent = cx.fields();
    take_over(&mut stored, sent)?;
    stored.rotation.take(sent, sent.has("password"), cx.now)?;
    let mut response = Response::empty();
    if stored.password.is_empty() && !stored.url.contains("{{password}}") && stored.url.contains("://") {
        response = response.warn(
            "the connection's password stands in connection_url, where it is shown: write {{password}} there, and send \
             it as password",
        );
    }
    let uuid = cx.mount.uuid.clone();
    automated::configure(cx.txn, &super::place(&uuid, &path), &stored, was_due)?;
    let connection = Connection::of(stored)?;
    crate::password_policy::wanted(cx.txn, &connection.stored.password_policy)?;
    if connection.stored.verify {
        // Not yet the connections of what is stored: a pool of its own.
        let server = connection.server(&uuid, &format!("{name} (new)"), cx.now.nanos());
        cx.effects.push(Effect::Prove(Act::Database(Box::new(Deed {
            server: Arc::new(server),
            work: Work::Verify,
        }))));
    }
    Ok(response)
}

/// Parameters of Vault's that are not here: whoever sends one would find out too late that it was passed over.
const ABSENT: [(&str, &str); 2] = [
    ("auth_type", "logins by a cloud's identity are not available: send username and password"),
    ("self_managed", "connections without a user of their own are not available: send username and password"),
];

/// Refuses what is `absent`, unless it is sent as nothing.
pub(super) fn refuse_absent(sent: &Fields, absent: &[(&str, &str)]) -> Result<(), Refusal> {
    for (name, why) in absent {
        match sent.value(name)? {
            None | Some(Value::Null | Value::Bool(false)) => {}
            Some(Value::String(text)) if matches!(text.as_str(), "" | "0" | "false") => {}
            Some(Value::Number(number)) if number.as_u64() == Some(0) => {}
            Some(_) => return Err(Refusal::invalid(format!("{name}: {why}"))),
        }
    }
    Ok(())
}

fn take_over(stored: &mut Stored, sent: &Fields) -> Result<(), Refusal> {
    refuse_absent(sent, &ABSENT)?;
    if let Some(plugin) = sent.string("plugin_name")? {
        stored.plugin = plugin;
    }
    let dialect = Dialect::of_plugin(&stored.plugin)?;
    if sent.string("plugin_version")?.is_some_and(|version| !version.is_empty()) {
        return Err(Refusal::invalid(
            "every kind of database is built in and has one version: leave plugin_version out",
        ));
    }
    for (name, text) in [
        ("connection_url", &mut stored.url),
        ("username", &mut stored.username),
        ("password_policy", &mut stored.password_policy),
        ("username_template", &mut stored.username_template),
        ("tls_ca", &mut stored.ca),
        ("tls_certificate", &mut stored.certificate),
        ("private_key", &mut stored.key),
        ("tls_server_name", &mut stored.server_name),
    ] {
        if let Some(sent) = sent.string(name)? {
            *text = sent;
        }
    }
    // As the plugin for Redis calls them.
    if let Some(ca) = sent.string("ca_cert")? {
        stored.ca = ca;
    }
    if let Some(skip) = sent.bool("insecure_tls")? {
        stored.skip_verify = skip;
    }
    if let Some(password) = sent.string("password")? {
        stored.password = password;
    }
    if let Some(both) = sent.string("tls_certificate_key")? {
        let at = both.find("-----BEGIN").and_then(|first| {
            let key = both.find("PRIVATE KEY-----").and_then(|end| both[..end].rfind("-----BEGIN"))?;
            Some((first, key))
        });
        let (_, key) = at.ok_or_else(|| {
            Refusal::invalid("tls_certificate_key must hold a certificate and its key in PEM")
        })?;
        let end = both[key..].find("-----END").map_or(both.len(), |end| key + end);
        let end = both[end..].find('\n').map_or(both.len(), |line| end + line + 1);
        stored.certificate = [&both[..key], &both[end..]].concat();
        stored.key = both[key..end].to_owned();
    }
    if stored.certificate.is_empty() != stored.key.is_empty() {
        return Err(Refusal::invalid("tls_certificate and private_key must be sent together"));
    }
    for (name, flag) in [
        ("verify_connection", &mut stored.verify),
        ("tls_skip_verify", &mut stored.skip_verify),
        ("tls", &mut stored.tls),
        ("skip_static_role_import_rotation", &mut stored.skip_import),
    ] {
        if let Some(sent) = sent.bool(name)? {
            *flag = sent;
        }
    }
    if let Some(roles) = sent.strings("allowed_roles")? {
        stored.allowed_roles = roles.into_iter().filter(|role| !role.is_empty()).collect();
    }
    for name in ["root_rotation_statements", "root_credentials_rotate_statements"] {
        if let Some(statements) = statements(sent, name)? {
            stored.rotation_statements = statements;
        }
    }
    take_over_limits(stored, sent)?;
    if dialect == Dialect::Redis {
        take_over_redis(stored, sent)?;
    } else if stored.url.is_empty() {
        return Err(Refusal::invalid("connection_url cannot be empty"));
    }
    match sent.string("password_authentication")?.as_deref() {
        None => {}
        Some("" | "password") => stored.scram = false,
        Some("scram-sha-256") if dialect == Dialect::PostgreSql => stored.scram = true,
        Some("scram-sha-256") => {
            return Err(Refusal::invalid("password_authentication=scram-sha-256 is for PostgreSQL alone"));
        }
        Some(other) => {
            return Err(Refusal::invalid(format!(
                "unknown password_authentication {other:?}: write password or scram-sha-256"
            )));
        }
    }
    Ok(())
}

fn take_over_redis(stored: &mut Stored, sent: &Fields) -> Result<(), Refusal> {
    let (host, port) = stored.url.rsplit_once(':').unwrap_or(("", ""));
    let host = sent.string("host")?.unwrap_or_else(|| host.to_owned());
    let port = match sent.int("port")? {
        Some(port) => u16::try_from(port).map_err(|_| Refusal::invalid("port must be from 1 to 65535"))?,
        None => port.parse().unwrap_or(REDIS_PORT),
    };
    if host.is_empty() {
        return Err(Refusal::invalid("host cannot be empty"));
    }
    if stored.username.is_empty() || stored.password.is_empty() {
        return Err(Refusal::invalid("username and password cannot be empty"));
    }
    stored.url = format!("{host}:{port}");
    if let Some(mode) = sent.string("persistence_mode")? {
        stored.persistence = match mode.to_uppercase().as_str() {
            "" | "NONE" => String::new(),
            mode @ ("ACLFILE" | "REWRITE") => mode.to_owned(),
            _ => return Err(Refusal::invalid("persistence_mode must be ACLFILE, REWRITE or None")),
        };
    }
    Ok(())
}

fn take_over_limits(stored: &mut Stored, sent: &Fields) -> Result<(), Refusal> {
    let count = |name: &str| match sent.int(name)? {
        Some(count) if (-1..=MOST_OPEN).contains(&count) => Ok(Some(u32::try_from(count).unwrap_or(0))),
        Some(_) => Err(Refusal::invalid(format!("{name} must be at most {MOST_OPEN}"))),
        None => Ok(None),
    };
    if let Some(open) = count("max_open_connections")? {
        stored.open = if open == 0 { OPEN } else { open };
    }
    // As Vault has it: 0 is as many as may be open, and less is none.
    match sent.int("max_idle_connections")? {
        Some(0) => stored.idle = u32::MAX,
        Some(_) => stored.idle = count("max_idle_connections")?.unwrap_or(0),
        None => {}
    }
    if let Some(lifetime) = sent.duration("max_connection_lifetime")? {
        stored.lifetime = lifetime.as_secs();
    }
    Ok(())
}

/// Statements as they were sent: a text is one, whatever commas it has; a list is several.
pub(super) fn statements(sent: &Fields, name: &str) -> Result<Option<Vec<String>>, Refusal> {
    let statements = match sent.value(name)? {
        None => return Ok(None),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(Refusal::invalid(format!("{name} must be texts"))),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(Refusal::invalid(format!("{name} must be text or a list of texts"))),
    };
    Ok(Some(statements.into_iter().filter(|statement| !statement.trim().is_empty()).collect()))
}
