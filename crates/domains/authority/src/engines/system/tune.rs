//! `sys/mounts/:path/tune` and `sys/auth/:path/tune`: what may change while something is mounted.

use super::mounts::{configure, configure_lockout, named, tunable};
use crate::context::{Context, Effect};
use crate::jobs::{self, Job};
use crate::mounts::{self, Mount};
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, Traits, field};
use keyward_core::random;
use serde_json::json;
use std::collections::BTreeMap;

const FIELDS: &[Field] = &[
    field("default_lease_ttl", Kind::Text, "Seconds, a duration, or `system`."),
    field("max_lease_ttl", Kind::Text, "Seconds, a duration, or `system`."),
    field("description", Kind::Text, "Words for people."),
    field("audit_non_hmac_request_keys", Kind::List, "Request fields that audit records show."),
    field("audit_non_hmac_response_keys", Kind::List, "Answers' fields that audit records show."),
    field("options", Kind::Pairs, "By type; `version` of key-value engines may go from 1 to 2."),
    field("listing_visibility", Kind::Text, "`unauth` to be listed for everyone; `hidden` not to be."),
    field("passthrough_request_headers", Kind::List, "Kept for clients that read it back."),
    field("allowed_response_headers", Kind::List, "Kept for clients that read it back."),
    field("token_type", Kind::Text, "What logins issue; auth methods only."),
    field("plugin_version", Kind::Text, "None but the empty one."),
    field(
        "user_lockout_config",
        Kind::Json,
        "When names that fail to log in are locked; see docs/identity.md.",
    ),
];

const EITHER: Route = Route {
    operations: &[(Operation::Read, read), (Operation::Update, write)],
    fields: FIELDS,
    help: "Shows and changes the configuration of a mount.",
    ..Route::EMPTY
};

pub(super) const ROUTES: &[Route] = &[
    Route { pattern: "mounts/{path*}/tune", ..EITHER },
    Route { pattern: "auth/{path*}/tune", traits: Traits { sudo: true, ..Route::EMPTY.traits }, ..EITHER },
];

/// Mounts that are as they are.
const FIXED: [&str; 4] = ["audit/", "cubbyhole/", "sys/", "identity/"];

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = named(cx);
    let table = mounts::table(cx.txn)?;
    let Some(mount) = table.at(&path) else {
        return Err(Refusal::invalid(format!("cannot fetch sysview for path {path:?}")));
    };
    let mut shown = tunable(mount);
    shown.insert("description".to_owned(), json!(mount.description));
    shown.insert("default_lease_ttl".to_owned(), json!(mount.default_ttl(cx.settings).as_secs()));
    shown.insert("max_lease_ttl".to_owned(), json!(mount.max_ttl(cx.settings).as_secs()));
    if mount.external_entropy_access {
        shown.insert("external_entropy_access".to_owned(), json!(true));
    }
    if !mount.options.is_empty() {
        shown.insert("options".to_owned(), json!(mount.options));
    }
    Ok(Response::data(&shown)?.flattened())
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = named(cx);
    if FIXED.iter().any(|fixed| path.starts_with(fixed)) {
        return Err(Refusal::invalid(format!("cannot tune {path:?}")));
    }
    let table = mounts::table(cx.txn)?;
    let Some(known) = table.at(&path) else {
        return Err(Refusal::invalid(format!("tune of path {path:?} failed: no mount entry found")));
    };
    let mut mount = Mount::clone(known);
    if cx.fields().has("token_type") {
        if !mount.is_auth() {
            return Err(Refusal::invalid("'token_type' can only be modified on auth mounts"));
        }
        if mount.kind == "token" {
            return Err(Refusal::invalid("'token_type' cannot be set for 'token' or 'ns_token' auth mounts"));
        }
    }
    let auth = mount.is_auth();
    configure(&mut mount.config, cx.fields(), auth)?;
    configure_lockout(&mut mount, cx.fields())?;
    let (default, max) = (mount.config.default_lease_ttl, mount.config.max_lease_ttl);
    if default > 0 && max > 0 && max < default {
        return Err(Refusal::invalid(format!(
            "backend max lease TTL of {max} would be less than backend default lease TTL of {default}"
        )));
    }
    if let Some(description) = cx.fields().string("description")? {
        mount.description = description;
    }
    let response = match cx.fields().pairs("options")? {
        Some(options) => set_options(cx, &mut mount, options)?,
        None => Response::empty(),
    };
    mounts::put(cx.txn, &mount)?;
    Ok(response)
}

fn set_options(
    cx: &mut Context<'_, '_>,
    mount: &mut Mount,
    options: BTreeMap<String, String>,
) -> Result<Response, Refusal> {
    let mut response = Response::empty();
    for (name, value) in options {
        match (name.as_str(), value.as_str()) {
            ("version", version) => response = set_version(cx, mount, version)?,
            (_, "") => drop(mount.options.remove(&name)),
            _ => drop(mount.options.insert(name, value)),
        }
    }
    Ok(response)
}

fn set_version(cx: &mut Context<'_, '_>, mount: &mut Mount, asked: &str) -> Result<Response, Refusal> {
    if mount.kind != "kv" {
        return Err(Refusal::invalid(format!(
            "secrets engine {:?} does not allow setting a version",
            mount.kind
        )));
    }
    let current = mount.options.get("version").map_or("1", String::as_str).to_owned();
    match (current.as_str(), asked) {
        ("1", "1") => drop(mount.options.insert("version".to_owned(), "1".to_owned())),
        ("1", "2") => return upgrade(cx, mount),
        ("2", "2") => {}
        ("2", "1") => return Err(Refusal::invalid("cannot downgrade mount from version 2")),
        _ => return Err(Refusal::invalid(format!("invalid version provided: {asked}"))),
    }
    Ok(Response::empty())
}

/// Version 2 stores secrets otherwise: a job writes them anew, and nobody may come between.
fn upgrade(cx: &mut Context<'_, '_>, mount: &mut Mount) -> Result<Response, Refusal> {
    if mount.upgrading {
        return Err(mounts::is_upgrading());
    }
    mount.upgrading = true;
    let to = random::uuid(cx.random());
    jobs::add(
        cx.txn,
        &Job::UpgradeKv { from: mount.uuid.clone(), to, at: cx.now.nanos(), after: String::new() },
    )?;
    cx.effects.push(Effect::RunJobs);
    Ok(Response::empty().warn(
        "Upgrading mount from version 1 to version 2. This mount will be unavailable for a brief period and will \
         resume service shortly.",
    ))
}
