//! Ciphertexts and signatures that transit is given back. The first byte chooses what is done with the rest.

use crate::open::Open;
use keyward_authority::fields::Fields;
use keyward_authority::request::Operation;
use serde_json::json;
use std::sync::OnceLock;

fn open() -> &'static Open {
    static OPEN: OnceLock<Open> = OnceLock::new();
    OPEN.get_or_init(|| {
        let open = Open::new();
        open.write("sys/mounts/t", &json!({"type": "transit"}));
        for (name, kind) in [("a", "aes256-gcm96"), ("c", "chacha20-poly1305"), ("s", "ed25519"), ("e", "ecdsa-p256")] {
            open.write(&format!("t/keys/{name}"), &json!({ "type": kind }));
        }
        open
    })
}

/// A path and the field that takes what others made.
const USES: [(&str, &str); 8] = [
    ("t/decrypt/a", "ciphertext"),
    ("t/decrypt/c", "ciphertext"),
    ("t/rewrap/a", "ciphertext"),
    ("t/verify/s", "signature"),
    ("t/verify/e", "signature"),
    ("t/verify/a", "hmac"),
    ("t/encrypt/a", "plaintext"),
    ("t/restore/r", "backup"),
];

pub(crate) fn run(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    let Some(text) = crate::text(rest) else { return };
    let (path, field) = USES[usize::from(*which) % USES.len()];
    let mut fields = Fields::default();
    fields.set(field, &text);
    fields.set("input", &"YQ==");
    let reply = open().ask(&open().root, Operation::Update, path, fields);
    assert!(matches!(reply.status, 200 | 204 | 400), "{}: {}", reply.status, String::from_utf8_lossy(&reply.body));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let made = |path: &str, field: &str| {
        let answer = open().write(path, &json!({"plaintext": "YQ==", "input": "YQ=="}));
        answer["data"][field].as_str().unwrap().to_owned()
    };
    let seeds = [
        (0, made("t/encrypt/a", "ciphertext")),
        (1, made("t/encrypt/c", "ciphertext")),
        (2, made("t/encrypt/a", "ciphertext")),
        (3, made("t/sign/s", "signature")),
        (4, made("t/sign/e", "signature")),
        (5, made("t/hmac/a", "hmac")),
        (6, "YQ==".to_owned()),
        (7, "eyJwb2xpY3kiOnt9fQ==".to_owned()),
    ];
    seeds.iter().map(|(which, text)| [&[*which], text.as_bytes()].concat()).collect()
}
