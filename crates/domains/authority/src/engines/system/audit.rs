//! `sys/audit` and what belongs to it: devices, hashes, recorded headers, the heads of chains.

use super::directory;
use crate::audit::{self, Device};
use crate::context::{Context, Effect};
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, Traits, field};
use serde_json::{Map, Value, json};

const SUDO: Traits = Traits { sudo: true, ..Route::EMPTY.traits };

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "audit",
        operations: &[(Operation::Read, list)],
        traits: SUDO,
        help: "Lists the audit devices.",
        ..Route::EMPTY
    },
    Route {
        pattern: "audit/{path*}",
        operations: &[(Operation::Update, enable), (Operation::Delete, disable)],
        fields: &[
            field("type", Kind::Text, "`file`, `socket`, `syslog` or `stdout`."),
            field("description", Kind::Text, "Words for people."),
            field("options", Kind::Pairs, "By type; see docs/audit.md."),
            field("local", Kind::Bool, "Kept for clients that read it back."),
        ],
        traits: SUDO,
        help: "Enables and disables an audit device.",
        ..Route::EMPTY
    },
    Route {
        pattern: "audit-hash/{path*}",
        operations: &[(Operation::Update, hash)],
        fields: &[field("input", Kind::Text, "The value.")],
        help: "Tells the hash that stands for a value in audit records.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config/auditing/request-headers",
        operations: &[(Operation::Read, headers)],
        traits: SUDO,
        help: "Lists the request headers that audit records show.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config/auditing/request-headers/{header}",
        operations: &[
            (Operation::Read, header),
            (Operation::Update, show_header),
            (Operation::Delete, hide_header),
        ],
        fields: &[field("hmac", Kind::Bool, "Hash the value.")],
        traits: SUDO,
        help: "Says whether audit records show a request header.",
        ..Route::EMPTY
    },
    Route {
        pattern: "internal/audit-heads",
        operations: &[(Operation::Read, heads)],
        traits: SUDO,
        help: "Shows the last record of each device: its number and its hash, to be kept as evidence.",
        ..Route::EMPTY
    },
];

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let auditing = audit::auditing(cx.txn)?;
    let describe = |device: &Device| {
        let about = json!({
            "type": device.kind,
            "description": device.description,
            "local": device.local,
            "options": device.options,
            "path": device.path,
        });
        (device.path.clone(), about)
    };
    let shown: Map<String, Value> = auditing.devices().iter().map(|(device, _)| describe(device)).collect();
    Ok(Response::data(&shown)?.flattened())
}

/// The path of a device, with a slash at its end.
fn named(cx: &Context<'_, '_>) -> Result<String, Refusal> {
    match directory(cx.param("path")).as_str() {
        "/" => Err(Refusal::invalid("audit device path must be specified")),
        path => Ok(path.to_owned()),
    }
}

fn enable(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let device = Device {
        path: named(cx)?,
        kind: cx.fields().string("type")?.unwrap_or_default(),
        description: cx.fields().string("description")?.unwrap_or_default(),
        local: cx.fields().bool("local")?.unwrap_or(false),
        options: cx.fields().pairs("options")?.unwrap_or_default(),
    };
    audit::enable(cx.txn, device.clone())?;
    cx.effects.push(Effect::ProbeAudit(device));
    Ok(Response::empty())
}

fn disable(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = named(cx)?;
    audit::disable(cx.txn, &path)?;
    Ok(Response::empty())
}

fn hash(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let input = cx.fields().string("input")?.filter(|input| !input.is_empty());
    let input = input.ok_or_else(|| Refusal::invalid("the \"input\" parameter is empty"))?;
    let path = named(cx)?;
    let auditing = audit::auditing(cx.txn)?;
    if !auditing.devices().iter().any(|(device, _)| device.path == path) {
        return Err(Refusal::invalid(format!("unknown audit backend {path:?}")));
    }
    Ok(Response::data(&json!({ "hash": auditing.hash(&input) }))?.flattened())
}

fn headers(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let auditing = audit::auditing(cx.txn)?;
    let shown: Map<String, Value> = auditing
        .headers()
        .map(|name| (name.to_owned(), json!({ "hmac": auditing.header(name).unwrap_or(true) })))
        .collect();
    Ok(Response::data(&json!({ "headers": shown }))?.flattened())
}

fn header(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("header").to_owned();
    match audit::auditing(cx.txn)?.header(&name) {
        Some(hashed) => Ok(Response::data(&json!({ name: { "hmac": hashed } }))?.flattened()),
        None => Err(Refusal::invalid("Could not find header in config")),
    }
}

fn show_header(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("header").to_owned();
    let hashed = cx.fields().bool("hmac")?.unwrap_or(false);
    audit::show_header(cx.txn, &name, hashed)?;
    Ok(Response::empty())
}

fn hide_header(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("header").to_owned();
    audit::hide_header(cx.txn, &name)?;
    Ok(Response::empty())
}

/// The server, which writes the records, has the heads.
fn heads(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    cx.effects.push(Effect::ShowAuditHeads);
    Response::data(&json!({}))
}
