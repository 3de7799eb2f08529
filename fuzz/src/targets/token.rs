//! Tokens, which anyone may send: service and batch tokens, and wrapping tokens.

use crate::open::Open;
use keyward_authority::fields::Fields;
use keyward_authority::request::Operation;
use serde_json::json;
use std::sync::OnceLock;

fn open() -> &'static (Open, String) {
    static OPEN: OnceLock<(Open, String)> = OnceLock::new();
    OPEN.get_or_init(|| {
        let open = Open::new();
        let made = open.write("auth/token/create", &json!({"type": "batch", "policies": ["default"], "ttl": "9h"}));
        let batch = made["auth"]["client_token"].as_str().unwrap().to_owned();
        (open, batch)
    })
}

pub(crate) fn run(data: &[u8]) {
    let Some(token) = crate::text(data) else { return };
    let (open, batch) = open();
    let reply = open.ask(token, Operation::Read, "auth/token/lookup-self", Fields::default());
    let known = token == open.root || token == batch;
    assert_eq!(reply.status, if known { 200 } else { 403 }, "{}", String::from_utf8_lossy(&reply.body));
    let mut fields = Fields::default();
    fields.set("token", &token);
    let reply = open.ask(&open.root, Operation::Update, "sys/wrapping/lookup", fields);
    assert_eq!(reply.status, 400, "{}", String::from_utf8_lossy(&reply.body));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (open, batch) = open();
    crate::texts(&[&open.root, batch, "hvs.CAESIJ", "s.old", "root"])
}
