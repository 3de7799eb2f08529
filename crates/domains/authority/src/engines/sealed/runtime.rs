//! Where the authority keeps what was handed over to it: a secret of a key-value mount with versions, which is written and
//! read in the same transaction as the register.

use super::manifest::Items;
use crate::context::Context;
use crate::engines;
use crate::fields::Fields;
use crate::mounts;
use crate::params::Params;
use crate::policy::{Ask, Parameters};
use crate::posture::Seen;
use crate::refusal::Refusal;
use crate::request::{Media, Operation, Request, Shown};
use crate::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_core::random;
use serde_json::{Map, Value, json};

/// How values that are bytes become texts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As they are; they must be UTF-8.
    Text,
    /// All in base64.
    Base64,
}

/// Does `operation` at `target`, the path of a secret below a key-value mount, as a request of the caller would.
fn at(
    cx: &mut Context<'_, '_>,
    target: &str,
    operation: Operation,
    body: &Value,
) -> Result<Response, Refusal> {
    let wrong = || {
        Refusal::invalid(format!(
            "target {target} is not the data path of a key-value mount with versions: write it as secret/data/NAME"
        ))
    };
    let mount = mounts::table(cx.txn)?.find(target).cloned().ok_or_else(wrong)?;
    let below = target.get(mount.path.len()..).unwrap_or("");
    let has_versions =
        mount.kind == "kv" && mount.options.get("version").is_some_and(|version| version == "2");
    if mount.is_auth()
        || !has_versions
        || !below.starts_with("data/")
        || below.ends_with('/')
        || mount.upgrading
    {
        return Err(wrong());
    }
    let (route, params): (_, Params) =
        engines::of(&mount).and_then(|backend| backend.find(below, operation)).ok_or_else(wrong)?;
    let handler = route.handler(operation).ok_or_else(wrong)?;
    let request = Request {
        id: random::uuid(cx.random()),
        operation,
        path: target.to_owned(),
        fields: Fields::parse(body.to_string().as_bytes())?,
        token: None,
        shown: Shown::default(),
        wrap: None,
        headers: Vec::new(),
        remote: cx.request.remote,
        certificates: Default::default(),
        media: Media::Json,
        head: false,
        arrived: cx.request.arrived,
    };
    let response = handler(&mut Context {
        txn: &mut *cx.txn,
        request: &request,
        operation,
        mount: &mount,
        params: &params,
        caller: cx.caller,
        now: cx.now,
        root: cx.root,
        settings: cx.settings,
        gathered: cx.gathered,
        nonces: cx.nonces,
        verdicts: cx.verdicts,
        effects: &mut *cx.effects,
    })?;
    if operation == Operation::Update {
        mounts::rely(cx.txn, &mount)?;
    }
    Ok(response)
}

/// Writes `items` at `target`, where nothing may be yet. The caller needs the policy for it. Answers with the digest of
/// what was written.
pub(super) fn write(
    cx: &mut Context<'_, '_>,
    target: &str,
    items: &Items,
    encoding: Encoding,
) -> Result<String, Refusal> {
    let data = texts(items, encoding)?;
    let body = json!({ "data": data, "options": { "cas": 0 } });
    let (caller, seen) = (cx.caller()?, Seen::default());
    let verdict = caller.acl.check(&Ask {
        path: target,
        operation: Operation::Create,
        parameters: Some(&Fields::parse(body.to_string().as_bytes())? as &dyn Parameters),
        wrap_ttl: None,
        now: cx.now,
        who: Some(caller.who(cx.request, cx.verdicts.attest(&seen))),
    });
    if !verdict.allowed {
        return Err(Refusal::denied(format!("no policy of the token allows to create {target}")));
    }
    at(cx, target, Operation::Update, &body)?;
    Ok(digest(cx, &data))
}

fn texts(items: &Items, encoding: Encoding) -> Result<Value, Refusal> {
    let mut data = Map::new();
    for (key, value) in items {
        let text = match encoding {
            Encoding::Base64 => STANDARD.encode(value.expose()),
            Encoding::Text => std::str::from_utf8(value.expose()).map(str::to_owned).map_err(|_| {
                Refusal::invalid(format!("the value of {key} is not UTF-8: send encoding=base64"))
            })?,
        };
        data.insert(key.clone(), Value::String(text));
    }
    Ok(Value::Object(data))
}

/// The digest of what is at `target` now; none when there is nothing.
pub(super) fn current(cx: &mut Context<'_, '_>, target: &str) -> Result<Option<String>, Refusal> {
    let response = match at(cx, target, Operation::Read, &json!({})) {
        Err(Refusal::Missing(_)) => return Ok(None),
        response => response?,
    };
    let read = response.data.map_or(Ok(Value::Null), |data| serde_json::from_str(data.get()));
    let read: Value = read.map_err(|_| Refusal::Corrupt(target.to_owned()))?;
    Ok(read.get("data").filter(|data| !data.is_null()).map(|data| digest(cx, data)))
}

/// Names values without telling anything of them to who does not have the authority's keys.
fn digest(cx: &Context<'_, '_>, data: &Value) -> String {
    let text = zeroize::Zeroizing::new(data.to_string());
    let tag = cx.txn.keyring().names.tag_parts(&[
        b"sealed value\0",
        cx.mount.uuid.as_bytes(),
        b"\0",
        text.as_bytes(),
    ]);
    format!("hmac-sha256:{}", hex::encode(tag))
}
