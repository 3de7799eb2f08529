//! Claims templates, identity tokens, codes and second factors as strangers send them. The first byte chooses what is
//! done with the rest.

use crate::open::Open;
use keyward_authority::fields::Fields;
use keyward_authority::request::Operation;
use serde_json::json;
use std::sync::OnceLock;

fn open() -> &'static Open {
    static OPEN: OnceLock<Open> = OnceLock::new();
    OPEN.get_or_init(|| {
        let open = Open::new();
        open.write("identity/oidc/key/k", &json!({"algorithm": "EdDSA", "allowed_client_ids": "*"}));
        open.write("identity/oidc/role/r", &json!({"key": "k"}));
        open
    })
}

/// A path and the field that takes what others made.
const USES: [(&str, &str); 6] = [
    ("identity/oidc/role/r", "template"),
    ("identity/oidc/scope/s", "template"),
    ("identity/oidc/introspect", "token"),
    ("identity/oidc/provider/default/token", "code"),
    ("sys/mfa/validate", "mfa_payload"),
    ("identity/entity", "name"),
];

pub(crate) fn run(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    let Some(text) = crate::text(rest) else { return };
    let (path, field) = USES[usize::from(*which) % USES.len()];
    let mut fields = Fields::default();
    fields.set(field, &text);
    for (name, value) in [("mfa_request_id", "x"), ("grant_type", "authorization_code"), ("client_id", "x")] {
        if field != name {
            fields.set(name, &value);
        }
    }
    let reply = open().ask(&open().root, Operation::Update, path, fields);
    let body = String::from_utf8_lossy(&reply.body);
    assert!(matches!(reply.status, 200 | 204 | 400 | 401), "{}: {body}", reply.status);
    // Nobody signs anything here, so nothing may count.
    assert!(field != "token" || body.contains("\"active\":false"), "{text}");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seeds = [
        (0, r#"{"who": {{identity.entity.name}}, "until": {{time.now.plus.1h}}}"#),
        (1, r#"{"a": {"b": {{identity.entity.aliases.x.custom_metadata.k}}}}"#),
        (2, "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.eyJzdWIiOiJhIiwiaXNzIjoiL3YxL2lkZW50aXR5L29pZGMifQ.AAAA"),
        (3, "AbCdEfGhIjKlMnOpQrStUvWxYz012345"),
        (4, r#"{"app": ["passcode=123456"]}"#),
        (5, "ann/%2f Ä"),
    ];
    seeds.iter().map(|(which, text)| [&[*which], text.as_bytes()].concat()).collect()
}
