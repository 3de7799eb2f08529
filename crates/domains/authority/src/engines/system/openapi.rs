//! `sys/internal/specs/openapi`: the description of what the caller may reach, made from the route tables.

use super::ui::visible;
use super::unsealed::UNSEALED;
use crate::context::Context;
use crate::help;
use crate::mounts::Mount;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, Traits, field};
use serde_json::{Map, Value, json};

pub(super) const ROUTES: &[Route] = &[Route {
    pattern: "internal/specs/openapi",
    operations: &[(Operation::Read, document), (Operation::Update, document)],
    fields: &[
        field("context", Kind::Text, "Not looked at."),
        field("generic_mount_paths", Kind::Bool, "Write mounts as parameters, for making clients."),
    ],
    traits: Traits { open: true, ..Route::EMPTY.traits },
    help: "Describes the mounts the caller may use as an OpenAPI 3.0.2 document.",
    ..Route::EMPTY
}];

fn document(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let generic = cx.fields().bool("generic_mount_paths")?.unwrap_or(false);
    let (mounts, _) = visible(cx)?;
    let mut paths = Map::new();
    for mount in mounts {
        let Some(backend) = crate::engines::of(&mount) else { continue };
        let (prefix, parameter) = place(&mount, generic);
        for route in backend.routes.iter().flat_map(|table| table.iter()) {
            let pattern = route.pattern.replace("*}", "}");
            let mut item = help::path_item(route);
            item["parameters"] = json!(parameters(parameter.as_deref(), &pattern));
            if route.traits.sudo {
                item["x-vault-sudo"] = json!(true);
            }
            if route.traits.open {
                item["x-vault-unauthenticated"] = json!(true);
            }
            merge(&mut paths, format!("/{prefix}{pattern}"), item);
        }
        if mount.kind == "system" {
            for served in &UNSEALED {
                let mut item = help::described_item(served.help, served.operations, served.fields);
                item["x-vault-unauthenticated"] = json!(true);
                merge(&mut paths, format!("/{}", served.path), item);
            }
        }
    }
    Response::verbatim_json(&json!({
        "openapi": "3.0.2",
        "info": {
            "title": "Keyward API",
            "description": "HTTP API that gives you full access to Keyward. All API routes are prefixed with `/v1/`.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0" },
        },
        "paths": paths,
    }))
}

/// The mount's path, or a parameter that stands for it.
fn place(mount: &Mount, generic: bool) -> (String, Option<String>) {
    let singleton = matches!(mount.kind.as_str(), "system" | "cubbyhole" | "token");
    if !generic || singleton {
        return (mount.path.clone(), None);
    }
    let version = mount.options.get("version").filter(|_| mount.kind == "kv");
    let name = match version {
        Some(version) => format!("kv_v{version}_mount_path"),
        None => format!("{}_mount_path", mount.kind.replace('-', "_")),
    };
    let group = if mount.is_auth() { "auth/" } else { "" };
    (format!("{group}{{{name}}}/"), Some(name))
}

fn parameters(mount: Option<&str>, pattern: &str) -> Vec<Value> {
    let captured = pattern
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| (name, "A part of the path."));
    let mount = mount.map(|name| (name, "Where the engine or method is mounted."));
    mount
        .into_iter()
        .chain(captured)
        .map(|(name, about)| {
            json!({
                "name": name, "in": "path", "required": true, "description": about,
                "schema": { "type": "string" },
            })
        })
        .collect()
}

/// Two routes may share a pattern and differ in their operations; the first of each counts.
fn merge(paths: &mut Map<String, Value>, path: String, item: Value) {
    match (paths.get_mut(&path), item) {
        (Some(Value::Object(known)), Value::Object(more)) => {
            for (name, value) in more {
                known.entry(name).or_insert(value);
            }
        }
        (_, item) => {
            paths.insert(path, item);
        }
    }
}
