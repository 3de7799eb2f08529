//! `sys/mounts` and `sys/auth`: secrets engines and auth methods, which differ in little but their paths.

use super::directory;
use crate::context::{Context, Effect};
use crate::engines;
use crate::fields::Fields;
use crate::jobs::{self, Job};
use crate::lockout;
use crate::mounts::{self, Mount, MountConfig};
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, Traits, field};
use serde_json::{Map, Value, json};

const FIELDS: &[Field] = &[
    field("type", Kind::Text, "The engine's or method's type."),
    field("description", Kind::Text, "Words for people."),
    field("config", Kind::Json, "What can be tuned later."),
    field("options", Kind::Pairs, "By type; `version` of key-value engines."),
    field("local", Kind::Bool, "Kept for clients that read it back."),
    field("seal_wrap", Kind::Bool, "Kept for clients that read it back."),
    field("external_entropy_access", Kind::Bool, "Kept for clients that read it back."),
    field("plugin_name", Kind::Text, "An older way to name the type."),
];

const SUDO: Traits = Traits { sudo: true, ..Route::EMPTY.traits };

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "mounts",
        operations: &[(Operation::Read, list)],
        help: "Lists the secrets engines.",
        ..Route::EMPTY
    },
    Route {
        pattern: "mounts/{path*}",
        operations: &[(Operation::Read, read), (Operation::Update, enable), (Operation::Delete, disable)],
        fields: FIELDS,
        help: "Mounts, shows and unmounts a secrets engine.",
        ..Route::EMPTY
    },
    Route {
        pattern: "auth",
        operations: &[(Operation::Read, list)],
        help: "Lists the auth methods.",
        ..Route::EMPTY
    },
    Route {
        pattern: "auth/{path*}",
        operations: &[(Operation::Read, read), (Operation::Update, enable), (Operation::Delete, disable)],
        fields: FIELDS,
        traits: SUDO,
        help: "Enables, shows and disables an auth method.",
        ..Route::EMPTY
    },
];

/// Paths below which no secrets engine is mounted, moved or unmounted.
pub(super) const PROTECTED: [&str; 5] = ["audit/", "auth/", "sys/", "cubbyhole/", "identity/"];

/// Types that every authority has once.
const SINGLETONS: [&str; 4] = ["cubbyhole", "system", "token", "identity"];

/// Whether the request is about auth methods.
pub(super) fn of_auth(cx: &Context<'_, '_>) -> bool {
    cx.request.path.starts_with("sys/auth")
}

/// The mount's path that the request's own path names.
pub(super) fn named(cx: &Context<'_, '_>) -> String {
    let path = directory(cx.param("path"));
    if of_auth(cx) { format!("auth/{path}") } else { path }
}

/// A mount's path as it is listed: below `sys/auth` without `auth/`.
pub(super) fn shown_path(mount: &Mount) -> &str {
    mount.path.strip_prefix("auth/").unwrap_or(&mount.path)
}

/// A mount as clients read it.
pub(super) fn describe(mount: &Mount) -> Map<String, Value> {
    let config = &mount.config;
    let mut shown = tunable(mount);
    shown.insert("default_lease_ttl".to_owned(), json!(config.default_lease_ttl));
    shown.insert("max_lease_ttl".to_owned(), json!(config.max_lease_ttl));
    let about = json!({
        "accessor": mount.accessor,
        "config": shown,
        "deprecation_status": "supported",
        "description": mount.description,
        "external_entropy_access": mount.external_entropy_access,
        "local": mount.local,
        "options": if mount.options.is_empty() { Value::Null } else { json!(mount.options) },
        "plugin_version": "",
        "running_plugin_version": "",
        "running_sha256": "",
        "seal_wrap": mount.seal_wrap,
        "type": mount.kind,
        "uuid": mount.uuid,
    });
    match about {
        Value::Object(about) => about,
        _ => Map::new(),
    }
}

/// What both a mount's description and its tuning show; lists and words only where there are some.
pub(super) fn tunable(mount: &Mount) -> Map<String, Value> {
    let config = &mount.config;
    let mut shown = Map::from_iter([("force_no_cache".to_owned(), json!(config.force_no_cache))]);
    for (name, list) in [
        ("audit_non_hmac_request_keys", &config.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &config.audit_non_hmac_response_keys),
        ("passthrough_request_headers", &config.passthrough_request_headers),
        ("allowed_response_headers", &config.allowed_response_headers),
    ] {
        if !list.is_empty() {
            shown.insert(name.to_owned(), json!(list));
        }
    }
    if !config.listing_visibility.is_empty() {
        shown.insert("listing_visibility".to_owned(), json!(config.listing_visibility));
    }
    if mount.is_auth() {
        let kind = if config.token_type.is_empty() { "default-service" } else { &config.token_type };
        shown.insert("token_type".to_owned(), json!(kind));
    }
    if let Some(lockout) = &config.user_lockout {
        for (name, value) in [
            ("user_lockout_threshold", json!(lockout.threshold())),
            ("user_lockout_duration", json!(lockout.duration().as_secs())),
            ("user_lockout_counter_reset_duration", json!(lockout.counter_reset().as_secs())),
            ("user_lockout_disable", json!(lockout.disable)),
        ] {
            shown.insert(name.to_owned(), value);
        }
    }
    shown
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let auth = of_auth(cx);
    let table = mounts::table(cx.txn)?;
    let shown: Map<String, Value> = table
        .iter()
        .filter(|mount| mount.is_auth() == auth)
        .map(|mount| (shown_path(mount).to_owned(), describe(mount).into()))
        .collect();
    Ok(Response::data(&shown)?.flattened())
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = named(cx);
    let kind = if of_auth(cx) { "auth" } else { "secret" };
    match mounts::table(cx.txn)?.at(&path) {
        Some(mount) => Ok(Response::data(&describe(mount))?.flattened()),
        None => Err(Refusal::invalid(format!("No {kind} engine mount at {}", directory(cx.param("path"))))),
    }
}

fn enable(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (path, auth) = (named(cx), of_auth(cx));
    let config = match cx.fields().raw("config") {
        Some(config) => Fields::parse(config.get().as_bytes())?,
        None => Fields::default(),
    };
    let mut options = cx.fields().pairs("options")?.unwrap_or_default();
    let asked = asked_type(cx.fields(), &config)?;
    let kind = match asked.as_str() {
        _ if auth => asked.as_str(),
        "kv-v1" | "kv-v2" => {
            options.insert("version".to_owned(), asked.trim_start_matches("kv-v").to_owned());
            "kv"
        }
        other => other,
    };
    check_place(cx, &path, kind, auth)?;
    check_version(kind, auth, options.get("version").map_or("", String::as_str))?;
    let mut mount = Mount::new(kind, &path, cx.random());
    let table = mounts::table(cx.txn)?;
    while table.iter().any(|known| known.accessor == mount.accessor) {
        mount = Mount::new(kind, &path, cx.random());
    }
    mount.options = options;
    mount.description = cx.fields().string("description")?.unwrap_or_default();
    mount.local = cx.fields().bool("local")?.unwrap_or(false);
    mount.seal_wrap = cx.fields().bool("seal_wrap")?.unwrap_or(false);
    mount.external_entropy_access = cx.fields().bool("external_entropy_access")?.unwrap_or(false);
    configure(&mut mount.config, &config, auth)?;
    configure_lockout(&mut mount, &config)?;
    check_ttls(cx, &mount.config)?;
    if let Some(no_cache) = config.bool("force_no_cache")? {
        mount.config.force_no_cache = no_cache;
    }
    if !engines::kinds(auth).contains(&kind) || engines::of(&mount).is_none() {
        return Err(Refusal::invalid(format!(
            "plugin not found in the catalog: {asked}; known types: {}",
            engines::kinds(auth).join(", ")
        )));
    }
    mounts::put(cx.txn, &mount)?;
    Ok(unknown_config(&config).into_iter().fold(Response::empty(), Response::warn))
}

/// The type, which older clients give as a plugin's name.
fn asked_type(sent: &Fields, config: &Fields) -> Result<String, Refusal> {
    let given =
        |fields: &Fields, name: &str| Ok::<_, Refusal>(fields.string(name)?.filter(|text| !text.is_empty()));
    match given(sent, "type")?.as_deref() {
        None => Err(Refusal::invalid("backend type must be specified as a string")),
        Some("plugin") => given(config, "plugin_name")?
            .or(given(sent, "plugin_name")?)
            .ok_or_else(|| Refusal::invalid("plugin_name must be provided for plugin backend")),
        Some(kind) => Ok(kind.to_owned()),
    }
}

fn check_place(cx: &mut Context<'_, '_>, path: &str, kind: &str, auth: bool) -> Result<(), Refusal> {
    if auth && kind == "token" {
        return Err(Refusal::invalid("token credential backend cannot be instantiated"));
    }
    if directory(cx.param("path")) == "/" {
        return Err(Refusal::invalid("backend path must be specified"));
    }
    if !auth && PROTECTED.iter().any(|protected| path.starts_with(protected)) {
        return Err(Refusal::invalid(format!("cannot mount {path:?}")));
    }
    if SINGLETONS.contains(&kind) {
        return Err(Refusal::invalid(format!("mount type of {kind:?} is not mountable")));
    }
    match conflict(cx, path)? {
        Some(taken) => Err(Refusal::invalid(format!("path is already in use at {taken}"))),
        None => Ok(()),
    }
}

/// A mount that is at `path`, above or below it, as it is listed.
pub(super) fn conflict(cx: &mut Context<'_, '_>, path: &str) -> Result<Option<String>, Refusal> {
    let table = mounts::table(cx.txn)?;
    let taken = table.iter().find(|mount| mount.path.starts_with(path) || path.starts_with(&mount.path));
    Ok(taken.map(|mount| shown_path(mount).to_owned()))
}

fn check_version(kind: &str, auth: bool, version: &str) -> Result<(), Refusal> {
    match (auth, kind, version) {
        (_, _, "") | (false, "kv", "1" | "2") => Ok(()),
        (false, "kv", other) => Err(Refusal::invalid(format!("invalid version provided: {other}"))),
        (false, ..) => {
            Err(Refusal::invalid(format!("secrets engine {kind:?} does not allow setting a version")))
        }
        (true, ..) => Err(Refusal::invalid(format!("auth method {kind:?} does not allow setting a version"))),
    }
}

fn check_ttls(cx: &Context<'_, '_>, config: &MountConfig) -> Result<(), Refusal> {
    let most = cx.settings.max_ttl.as_secs();
    if config.max_lease_ttl > 0 && config.default_lease_ttl > config.max_lease_ttl {
        return Err(Refusal::invalid("given default lease TTL greater than given max lease TTL"));
    }
    if config.max_lease_ttl == 0 && config.default_lease_ttl > most {
        return Err(Refusal::invalid(format!(
            "given default lease TTL greater than system max lease TTL of {most}"
        )));
    }
    Ok(())
}

const CONFIG: [&str; 11] = [
    "default_lease_ttl",
    "max_lease_ttl",
    "force_no_cache",
    "audit_non_hmac_request_keys",
    "audit_non_hmac_response_keys",
    "listing_visibility",
    "passthrough_request_headers",
    "allowed_response_headers",
    "token_type",
    "plugin_name",
    "plugin_version",
];

fn unknown_config(sent: &Fields) -> Option<String> {
    let known = |name: &&str| CONFIG.contains(name) || matches!(*name, "user_lockout_config");
    let unknown: Vec<String> =
        sent.names().filter(|name| !known(name)).map(|name| format!("config.{name}")).collect();
    (!unknown.is_empty())
        .then(|| format!("Endpoint ignored these unrecognized parameters: [{}]", unknown.join(" ")))
}

/// Reads what `config` and `tune` may change. What is not sent stays.
pub(super) fn configure(config: &mut MountConfig, sent: &Fields, auth: bool) -> Result<(), Refusal> {
    if let Some(seconds) = ttl(sent, "default_lease_ttl")? {
        config.default_lease_ttl = seconds;
    }
    if let Some(seconds) = ttl(sent, "max_lease_ttl")? {
        config.max_lease_ttl = seconds;
    }
    for (name, list) in [
        ("audit_non_hmac_request_keys", &mut config.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &mut config.audit_non_hmac_response_keys),
        ("passthrough_request_headers", &mut config.passthrough_request_headers),
        ("allowed_response_headers", &mut config.allowed_response_headers),
    ] {
        if let Some(mut sent) = sent.strings(name)? {
            sent.retain(|item| !item.is_empty());
            *list = sent;
        }
    }
    if let Some(visibility) = sent.string("listing_visibility")? {
        if !matches!(visibility.as_str(), "" | "hidden" | "unauth") {
            return Err(Refusal::invalid(format!("invalid listing_visibility {visibility}")));
        }
        config.listing_visibility = visibility;
    }
    if let Some(kind) = sent.string("token_type")?.filter(|_| auth) {
        config.token_type = match kind.as_str() {
            "" => "default-service".to_owned(),
            "default-service" | "default-batch" | "service" | "batch" => kind,
            _ => return Err(Refusal::invalid("invalid value for 'token_type'")),
        };
    }
    if sent.string("plugin_version")?.is_some_and(|version| !version.is_empty()) {
        return Err(Refusal::invalid("every type is built in and has one version: leave plugin_version out"));
    }
    Ok(())
}

/// Reads when names are locked. What is not sent stays.
pub(super) fn configure_lockout(mount: &mut Mount, sent: &Fields) -> Result<(), Refusal> {
    // Clients on a command line send the text of an object.
    let lockout = match sent.value("user_lockout_config")? {
        Some(Value::String(text)) => text,
        Some(lockout) => lockout.to_string(),
        None => return Ok(()),
    };
    if matches!(lockout.as_str(), "" | "{}") {
        return Ok(());
    }
    if !mount.is_auth() || !lockout::METHODS.contains(&mount.kind.as_str()) {
        return Err(Refusal::invalid(format!(
            "tuning of user lockout configuration for auth type {:?} not allowed",
            mount.kind
        )));
    }
    let sent = Fields::parse(lockout.as_bytes())?;
    let mut config = mount.config.user_lockout.clone().unwrap_or_default();
    if let Some(threshold) = sent.int("lockout_threshold")? {
        config.threshold =
            u64::try_from(threshold).map_err(|_| Refusal::invalid("lockout_threshold cannot be negative"))?;
    }
    if let Some(span) = sent.duration("lockout_duration")? {
        config.duration = span.as_secs();
    }
    if let Some(span) = sent.duration("lockout_counter_reset_duration")? {
        config.counter_reset = span.as_secs();
    }
    if let Some(disable) = sent.bool("lockout_disable")? {
        config.disable = disable;
    }
    mount.config.user_lockout = Some(config);
    Ok(())
}

/// Whole seconds; zero, the authority's own, for `system`; none when not sent.
fn ttl(sent: &Fields, name: &str) -> Result<Option<u64>, Refusal> {
    match sent.value(name)? {
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text == "system" => Ok(Some(0)),
        _ => Ok(sent.duration(name)?.map(|span| span.as_secs())),
    }
}

fn disable(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (path, auth) = (named(cx), of_auth(cx));
    if auth && path == "auth/token/" {
        return Err(Refusal::invalid("token credential backend cannot be disabled"));
    }
    if !auth && PROTECTED.iter().any(|protected| path.starts_with(protected)) {
        return Err(Refusal::invalid(format!("cannot unmount {path:?}")));
    }
    // Unmounting what is not there succeeds too, so that nobody learns what is.
    if let Some(mount) = mounts::table(cx.txn)?.at(&path) {
        mounts::remove(cx.txn, mount)?;
        jobs::add(cx.txn, &Job::RevokePrefix { path, force: false, after: String::new() })?;
        mounts::wipe_later(cx.txn, mount)?;
        if auth {
            jobs::add(cx.txn, &Job::ForgetAliases { accessor: mount.accessor.clone() })?;
        }
        cx.effects.push(Effect::RunJobs);
    }
    Ok(Response::empty())
}
