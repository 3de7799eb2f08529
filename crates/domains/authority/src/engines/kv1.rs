//! The key-value engine, version 1: one value a path, no history.

use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::{Data, Response};
use crate::route::{Backend, Route, Traits};

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "kv",
    about: "Stores arbitrary secrets, encrypted, one value a path.",
    routes: &[&[Route {
        pattern: "{path*}",
        operations: &[
            (Operation::Read, read),
            (Operation::Update, write),
            (Operation::Delete, delete),
            (Operation::List, list),
        ],
        exists: Some(exists),
        traits: Traits { any_fields: true, ..Route::EMPTY.traits },
        help: "Reads, writes, lists and deletes secrets.",
        ..Route::EMPTY
    }]],
    ..Backend::EMPTY
};

fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let path = cx.param("path").to_owned();
    cx.exists(&path)
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = cx.param("path").to_owned();
    let Some(stored) = cx.get(&path)? else { return Err(Refusal::missing()) };
    let text = String::from_utf8(stored).map_err(|_| Refusal::Corrupt(cx.key(&path)))?;
    let data = Data::from_json(text).ok_or_else(|| Refusal::Corrupt(cx.key(&path)))?;
    // `ttl` and `lease` in the value are hints for readers how long to keep it.
    let hint = crate::fields::Fields::parse(data.get().as_bytes())?;
    let mut wished = hint.duration("ttl").ok().flatten();
    if wished.is_none() {
        wished = hint.duration("lease").ok().flatten();
    }
    let lease = wished.filter(|span| !span.is_zero()).unwrap_or_else(|| cx.default_ttl());
    Ok(Response { lease_duration: lease.as_secs(), data: Some(data), ..Response::default() })
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = cx.param("path").to_owned();
    if path.is_empty() || path.ends_with('/') {
        return Err(Refusal::invalid("cannot write to a path ending in '/'"));
    }
    if cx.fields().names().next().is_none() {
        return Err(Refusal::invalid("missing data fields"));
    }
    let plain = cx.fields().to_json();
    cx.put(&path, plain.as_bytes())?;
    Ok(Response::empty())
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = cx.param("path").to_owned();
    cx.delete(&path);
    Ok(Response::empty())
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = cx.param("path").to_owned();
    Response::keys(&cx.list(&path)?)
}

#[cfg(test)]
mod tests {
    use crate::request::Operation::{Delete, List, Read, Update};
    use crate::testing::Bench;
    use serde_json::json;

    fn mounted() -> Bench {
        let mut bench = Bench::new();
        bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
        bench
    }

    #[test]
    fn values_are_kept_listed_and_deleted() {
        let mut bench = mounted();
        for path in ["kv/a", "kv/a/b", "kv/a/c/d", "kv/z"] {
            assert_eq!(bench.write(path, r#"{"n":12345678901234567890123,"s":"x"}"#).status, 204);
        }
        let read = bench.read("kv/a/b");
        assert_eq!(read.body["lease_duration"], 2_764_800);
        assert_eq!(read.data()["s"], "x");
        assert_eq!(bench.root(List, "kv", "").data()["keys"], json!(["a", "a/", "z"]));
        assert_eq!(bench.root(List, "kv/a", "").data()["keys"], json!(["b", "c/"]));
        assert_eq!(bench.root(List, "kv?limit=1", "").data()["keys"], json!(["a"]));
        assert_eq!(bench.root(List, "kv?after=a/", "").data()["keys"], json!(["z"]));
        assert_eq!(bench.root(Delete, "kv/a", "").status, 204);
        assert_eq!(
            bench.root(Read, "kv/a", ""),
            crate::testing::Answer { status: 404, body: json!({"errors": []}) }
        );
        assert_eq!(bench.root(List, "kv/none", "").status, 404);
        assert_eq!(bench.root(Update, "kv/x", "").errors(), "missing data fields");
    }

    #[test]
    fn a_ttl_in_the_value_is_the_hint() {
        let mut bench = mounted();
        bench.write("kv/a", r#"{"ttl":"1h"}"#);
        assert_eq!(bench.read("kv/a").body["lease_duration"], 3600);
        bench.write("kv/a", r#"{"ttl":"later"}"#);
        assert_eq!(bench.read("kv/a").body["lease_duration"], 2_764_800);
    }

    #[test]
    fn unmounting_leaves_nothing() {
        let mut bench = mounted();
        for at in 0..200 {
            bench.write(&format!("kv/{at}"), r#"{"a":1}"#);
        }
        assert_eq!(bench.root(Delete, "sys/mounts/kv", "").status, 204);
        assert_eq!(bench.root(Read, "kv/1", "").status, 404);
        assert!(!bench.store.entries().any(|(key, _)| key.starts_with(b"m/") || key.starts_with(b"job/")));
    }

    #[test]
    fn an_entry_moved_in_the_store_does_not_open() {
        let mut bench = mounted();
        bench.write("kv/a", r#"{"a":1}"#);
        bench.write("kv/b", r#"{"b":1}"#);
        let find = |end: &[u8]| {
            bench
                .store
                .entries()
                .find(|(key, _)| key.ends_with(end))
                .map(|(key, entry)| (key.clone(), entry.clone()))
        };
        let ((_, a), (b, _)) = (find(b"/a").unwrap(), find(b"/b").unwrap());
        bench.store.tamper(&b, &a.value);
        assert_eq!(bench.root(Read, "kv/b", "").status, 500);
        assert_eq!(bench.read("kv/a").data(), &json!({"a": 1}));
    }
}
