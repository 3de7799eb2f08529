//! `config/acme`: whether there is an ACME server, and what it may issue.

use super::super::{is_name, roles, table};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, field};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const CONFIG: &str = "acme/config";

/// Certificates are valid for at most 90 days unless configured otherwise.
const MAX_TTL: Duration = Duration::from_secs(90 * 24 * 3600);

pub(super) const ROUTES: &[Route] = &[Route {
    pattern: "config/acme",
    operations: &[(Operation::Read, read), (Operation::Update, write)],
    fields: &[
        field("enabled", Kind::Bool, "Serve ACME below acme/, and below roles and issuers."),
        field("allowed_issuers", Kind::List, "The issuers that may sign, by name or id; * is any."),
        field("allowed_roles", Kind::List, "The roles that may have a directory; * is any."),
        field(
            "allow_role_ext_key_usage",
            Kind::Bool,
            "Use the role's extended key usages, not only serverAuth.",
        ),
        field(
            "default_directory_policy",
            Kind::Text,
            "What directories without a role do: sign-verbatim, forbid or role:NAME.",
        ),
        field(
            "dns_resolver",
            Kind::Text,
            "The DNS server asked for challenges, as ADDRESS:PORT; the machine's if empty.",
        ),
        field(
            "eab_policy",
            Kind::Text,
            "External account binding: not-required, new-account-required or always-required.",
        ),
        field("max_ttl", Kind::Duration, "The longest time a certificate is valid; 90 days."),
    ],
    help: "Configures the ACME server.",
    ..Route::EMPTY
}];

/// What directories without a role do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Nothing.
    Forbid,
    /// Certify whatever was proved.
    SignVerbatim,
    /// What a role allows.
    Role(String),
}

/// Who must show an external account binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum EabPolicy {
    /// Nobody must.
    #[serde(rename = "not-required")]
    Nobody,
    /// Who makes an account.
    #[serde(rename = "new-account-required")]
    NewAccounts,
    /// Who makes an account, and accounts made without one are of no use.
    #[serde(rename = "always-required")]
    Everybody,
}

/// As it is stored, and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) enabled: bool,
    pub(super) allowed_issuers: Vec<String>,
    pub(super) allowed_roles: Vec<String>,
    pub(super) allow_role_ext_key_usage: bool,
    pub(super) default_directory_policy: String,
    pub(super) dns_resolver: String,
    pub(super) eab_policy: EabPolicy,
    /// Seconds.
    pub(super) max_ttl: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            enabled: false,
            allowed_issuers: vec!["*".to_owned()],
            allowed_roles: vec!["*".to_owned()],
            allow_role_ext_key_usage: false,
            default_directory_policy: "sign-verbatim".to_owned(),
            dns_resolver: String::new(),
            eab_policy: EabPolicy::Nobody,
            max_ttl: MAX_TTL.as_secs(),
        }
    }
}

impl Config {
    /// What directories without a role do; nothing if that cannot be read.
    pub(super) fn policy(&self) -> Policy {
        parse_policy(&self.default_directory_policy).unwrap_or(Policy::Forbid)
    }

    /// The DNS server that is asked for challenges, if not the machine's.
    pub(super) fn resolver(&self) -> Option<SocketAddr> {
        self.dns_resolver.parse().ok()
    }

    /// Whether the list `allowed` is of everything.
    pub(super) fn is_any(allowed: &[String]) -> bool {
        allowed == ["*"]
    }
}

fn parse_policy(text: &str) -> Result<Policy, Refusal> {
    match (text, text.strip_prefix("role:")) {
        ("forbid", _) => Ok(Policy::Forbid),
        ("sign-verbatim", _) => Ok(Policy::SignVerbatim),
        (_, Some(role)) if is_name(role) => Ok(Policy::Role(role.to_owned())),
        _ => Err(Refusal::invalid(format!(
            "invalid default_directory_policy: string {text} not a valid Default Directory Policy: there are forbid, \
             sign-verbatim and role:NAME"
        ))),
    }
}

/// The configuration of the request's mount.
pub(super) fn load(cx: &mut Context<'_, '_>) -> Result<Arc<Config>, Refusal> {
    Ok(cx.built_json::<Config>(CONFIG)?.unwrap_or_default())
}

/// The configuration of the mount whose entries stand below `prefix`.
pub(super) fn of_mount(txn: &mut crate::txn::Txn<'_>, prefix: &str) -> Result<Arc<Config>, Refusal> {
    Ok(txn.built_json::<Config>(&format!("{prefix}{CONFIG}"))?.unwrap_or_default())
}

/// What is missing for ACME to work.
const NO_PATH: &str = "ACME feature requires local cluster 'path' field configuration to be set: write the URL of this \
                       mount to config/cluster";

fn show(config: &Config) -> Result<Response, Refusal> {
    Response::data(config)
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = load(cx)?;
    let nowhere = table::table(cx)?.config.cluster.path.is_empty();
    let response = show(&config)?;
    Ok(if config.enabled && nowhere { response.warn(NO_PATH) } else { response })
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut config = Config::clone(&*load(cx)?);
    let fields = cx.fields();
    config.enabled = fields.bool("enabled")?.unwrap_or(config.enabled);
    config.allow_role_ext_key_usage =
        fields.bool("allow_role_ext_key_usage")?.unwrap_or(config.allow_role_ext_key_usage);
    for (name, slot) in
        [("allowed_roles", &mut config.allowed_roles), ("allowed_issuers", &mut config.allowed_issuers)]
    {
        if let Some(names) = fields.strings(name)? {
            *slot = names;
        }
        if slot.is_empty() {
            return Err(Refusal::invalid(format!(
                "{name} must take a non-zero length value; specify '*' as the value to allow anything or specify \
                 enabled=false to disable ACME entirely"
            )));
        }
        if slot.len() > 1 && slot.iter().any(|name| name == "*") {
            return Err(Refusal::invalid(format!("{name}: cannot use '*' beside names")));
        }
    }
    if let Some(policy) = fields.string("default_directory_policy")? {
        config.default_directory_policy = policy;
    }
    if let Some(resolver) = fields.string("dns_resolver")? {
        if !resolver.is_empty() && resolver.parse::<SocketAddr>().is_err() {
            return Err(Refusal::invalid(
                "failed to parse DNS resolver address: write an IPv4 or IPv6 address and a port, as 192.0.2.1:53 or \
                 [2001:db8::1]:53",
            ));
        }
        config.dns_resolver = resolver;
    }
    if let Some(policy) = fields.string("eab_policy")? {
        config.eab_policy = serde_json::from_value(json!(policy)).map_err(|_| {
            Refusal::invalid(
                "invalid eab policy name provided, valid values are 'not-required', 'new-account-required', \
                 'always-required'",
            )
        })?;
    }
    if let Some(most) = fields.duration("max_ttl")? {
        config.max_ttl = if most.is_zero() { MAX_TTL.as_secs() } else { most.as_secs() };
    }
    check(cx, &config)?;
    cx.put_json(CONFIG, &config)?;
    show(&config)
}

fn check(cx: &mut Context<'_, '_>, config: &Config) -> Result<(), Refusal> {
    let policy = parse_policy(&config.default_directory_policy)?;
    let mut usable = |what: &str, name: &str| match roles::find(cx, name)?.no_store {
        true => Err(Refusal::invalid(format!(
            "{what} {name} is not a valid ACME role: role can not be used as NoStore is set to true"
        ))),
        false => Ok(()),
    };
    if let Policy::Role(role) = &policy {
        usable("default directory policy role", role)?;
    }
    if !Config::is_any(&config.allowed_roles) {
        for name in &config.allowed_roles {
            usable("allowed_role", name)?;
        }
        if let Policy::Role(role) = &policy
            && !config.allowed_roles.contains(role)
        {
            return Err(Refusal::invalid(format!(
                "default directory policy role:{role} was not specified in allowed_roles"
            )));
        }
    }
    let table = table::table(cx)?;
    if !Config::is_any(&config.allowed_issuers) {
        for name in &config.allowed_issuers {
            table.issuer(name)?;
        }
    }
    match config.enabled && table.config.cluster.path.is_empty() {
        true => Err(Refusal::invalid(NO_PATH)),
        false => Ok(()),
    }
}
