//! `random`, `hash`, `cache-config` and `config/keys`.

use super::wire;
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Kind, Route, field};
use keyward_crypto::keys::Hash;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(crate) const RANDOM: Route = Route {
    operations: &[(Operation::Update, random)],
    fields: &[
        field("bytes", Kind::Int, "How many bytes; 32 unless given, at most 131072."),
        field("format", Kind::Text, "base64 or hex; base64 unless given."),
        field("source", Kind::Text, "platform, seal or all: the same here."),
    ],
    help: "Makes random bytes.",
    ..Route::EMPTY
};

pub(crate) const HASH: Route = Route {
    operations: &[(Operation::Update, hash)],
    fields: &[
        field("input", Kind::Text, "Base64 of what is to be hashed."),
        field("algorithm", Kind::Text, "The hash function; sha2-256 unless given."),
        field("format", Kind::Text, "hex or base64; hex unless given."),
    ],
    help: "Makes a hash of an input.",
    ..Route::EMPTY
};

pub(super) const ROUTES: &[Route] = &[
    Route { pattern: "random", ..RANDOM },
    Route { pattern: "random/{source}", ..RANDOM },
    Route { pattern: "random/{source}/{urlbytes}", ..RANDOM },
    Route { pattern: "hash", ..HASH },
    Route { pattern: "hash/{urlalgorithm}", ..HASH },
    Route {
        pattern: "cache-config",
        operations: &[(Operation::Read, read_cache), (Operation::Update, write_cache)],
        fields: &[field("size", Kind::Int, "Kept for clients that read it back; 0 or at least 10.")],
        help: "Kept for clients: decoded keys share the authority's own memory, which is bounded.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config/keys",
        operations: &[(Operation::Read, read_config), (Operation::Update, write_config)],
        fields: &[field("disable_upsert", Kind::Bool, "Never make a key because an encryption names it.")],
        help: "Says whether encryptions may make keys.",
        ..Route::EMPTY
    },
];

const MOST_BYTES: i64 = 128 * 1024;

/// Random bytes: serves `random` here and `sys/tools/random`.
pub(crate) fn random(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let is_source = |text: &str| matches!(text, "" | "platform" | "seal" | "all");
    let count = |text: &str| {
        text.parse::<i64>().map_err(|_| {
            Refusal::invalid(format!(
                "error parsing url-set byte count: strconv.Atoi: parsing {text:?}: invalid syntax"
            ))
        })
    };
    let asked = || Ok::<_, Refusal>(cx.fields().int("bytes")?.unwrap_or(32));
    // The first part of the path may be the source or, without one, the number of bytes.
    let (source, bytes) = match (cx.param("source"), cx.param("urlbytes")) {
        ("", _) => (cx.fields().string("source")?.unwrap_or_default(), asked()?),
        (source, "") if is_source(source) => (source.to_owned(), asked()?),
        (bytes, "") => (String::new(), count(bytes)?),
        (source, bytes) => (source.to_owned(), count(bytes)?),
    };
    if bytes < 1 {
        return Err(Refusal::invalid("\"bytes\" cannot be less than 1"));
    }
    if bytes > MOST_BYTES {
        return Err(Refusal::invalid(format!("\"bytes\" should be less than {MOST_BYTES}")));
    }
    if !is_source(&source) {
        return Err(Refusal::invalid(format!(
            "unsupported entropy source {source:?}; must be \"platform\" or \"seal\", or \"all\""
        )));
    }
    let format = cx.fields().string("format")?.unwrap_or_default();
    let write = writer(if format.is_empty() { "base64" } else { &format });
    let write = write.ok_or_else(|| unknown_format(&format!("{format:?}")))?;
    let mut made = zeroize::Zeroizing::new(vec![0; bytes as usize]);
    cx.random().fill(&mut made);
    Response::data(&json!({ "random_bytes": write(&made) }))
}

fn writer(format: &str) -> Option<fn(&[u8]) -> String> {
    match format {
        "base64" => Some(wire::encode),
        "hex" => Some(|bytes| hex::encode(bytes)),
        _ => None,
    }
}

fn unknown_format(shown: &str) -> Refusal {
    Refusal::invalid(format!("unsupported encoding format {shown}; must be \"hex\" or \"base64\""))
}

/// A hash: serves `hash` here and `sys/tools/hash`.
pub(crate) fn hash(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let input = cx.fields().string("input")?.ok_or_else(|| Refusal::invalid("input missing"))?;
    let input = wire::decode(&input)
        .map_err(|why| Refusal::invalid(format!("unable to decode input as base64: {why}")))?;
    let format = cx.fields().string("format")?.unwrap_or_default();
    let write = writer(if format.is_empty() { "hex" } else { &format });
    let write = write.ok_or_else(|| unknown_format(&format))?;
    let named = match cx.param("urlalgorithm") {
        "" => cx.fields().string("algorithm")?.unwrap_or_default(),
        name => name.to_owned(),
    };
    let named = if named.is_empty() { "sha2-256" } else { &named };
    // SHA-1 is for signatures that something old demands; nothing new should begin with it.
    let hash = Hash::parse(named)
        .filter(|hash| *hash != Hash::Sha1)
        .ok_or_else(|| Refusal::invalid(format!("unsupported algorithm {named}")))?;
    let sum = hash.digest(&input).map_err(|why| Refusal::invalid(why.to_string()))?;
    Response::data(&json!({ "sum": write(&sum) }))
}

#[derive(Default, Serialize, Deserialize)]
struct Cache {
    size: i64,
}

fn read_cache(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::data(&cx.get_json::<Cache>("config/cache")?.unwrap_or_default())
}

fn write_cache(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let size = cx.fields().int("size")?.unwrap_or(0);
    if size != 0 && size < 10 {
        return Err(Refusal::invalid("size must be 0 or a value greater or equal to 10"));
    }
    cx.put_json("config/cache", &Cache { size })?;
    Response::data(&Cache { size })
}

#[derive(Default, Serialize, Deserialize)]
struct KeysConfig {
    disable_upsert: bool,
}

const KEYS_CONFIG: &str = "config/keys";

/// Whether encryptions may not make keys.
pub(super) fn upsert_disabled(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    Ok(cx.get_json::<KeysConfig>(KEYS_CONFIG)?.unwrap_or_default().disable_upsert)
}

fn read_config(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::data(&cx.get_json::<KeysConfig>(KEYS_CONFIG)?.unwrap_or_default())
}

fn write_config(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = KeysConfig { disable_upsert: cx.fields().bool("disable_upsert")?.unwrap_or(false) };
    cx.put_json(KEYS_CONFIG, &config)?;
    Response::data(&config)
}
