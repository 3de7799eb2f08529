//! Requests to an open authority, one after another, by root: `OPERATION PATH`, and the body on the next line.

use crate::open::Open;
use keyward_authority::fields::Fields;
use keyward_authority::request::{Operation, normalize_path};

const MOST: usize = 8;
const OPERATIONS: [Operation; 7] = [
    Operation::Create,
    Operation::Read,
    Operation::Update,
    Operation::Patch,
    Operation::Delete,
    Operation::List,
    Operation::Help,
];

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    let lines: Vec<&str> = text.lines().collect();
    let open = Open::new();
    for request in lines.chunks(2).take(MOST) {
        let Some((operation, path)) = request[0].split_once(' ') else { return };
        let Some(operation) = OPERATIONS.into_iter().find(|known| known.name() == operation) else { return };
        let Some(path) = normalize_path(path) else { return };
        let Ok(fields) = Fields::parse(request.get(1).unwrap_or(&"").as_bytes()) else { return };
        let reply = open.ask(&open.root, operation, &path, fields);
        // Whatever is asked is the asker's mistake, never the authority's.
        assert_ne!(reply.status, 500, "{path}: {}", String::from_utf8_lossy(&reply.body));
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&[
        "update sys/mounts/kv\n{\"type\":\"kv\",\"options\":{\"version\":\"2\"}}\nupdate kv/data/a\n{\"data\":{\"b\":1},\
         \"options\":{\"cas\":0}}\npatch kv/data/a\n{\"data\":{\"b\":null}}\nread kv/data/a\n{\"version\":\"1\"}\nlist \
         kv/metadata/\n\nread kv/subkeys/a\n{\"depth\":1}\nupdate kv/destroy/a\n{\"versions\":[1]}",
        "update sys/mounts/t\n{\"type\":\"transit\"}\nupdate t/keys/k\n{\"type\":\"ed25519\",\"derived\":true}\nupdate \
         t/sign/k\n{\"input\":\"YQ==\",\"context\":\"YQ==\"}\nupdate t/keys/k/config\n{\"min_decryption_version\":1}\n\
         update t/keys/k/trim\n{\"min_available_version\":1}\nread t/export/signing-key/k\n\nupdate t/random/8\n{}",
        "update sys/auth/approle\n{\"type\":\"approle\"}\nupdate auth/approle/role/r\n{\"token_policies\":\"p\",\
         \"secret_id_bound_cidrs\":\"10.0.0.0/8\",\"token_ttl\":\"1h\"}\nread auth/approle/role/r/role-id\n\nupdate \
         auth/approle/role/r/secret-id\n{\"metadata\":\"{\\\"a\\\":\\\"b\\\"}\"}\nlist auth/approle/role/\n",
        "update auth/token/roles/r\n{\"allowed_policies\":\"a,b\",\"token_period\":\"1h\"}\nupdate \
         auth/token/create/r\n{\"policies\":[\"a\"],\"num_uses\":\"2\",\"meta\":{\"k\":\"v\"}}\nlist \
         auth/token/accessors\n\nupdate sys/policies/acl/p\n{\"policy\":\"path \\\"a\\\" {}\"}\nupdate \
         sys/capabilities-self\n{\"paths\":[\"a\"]}\nupdate sys/remount\n{\"from\":\"cubbyhole\",\"to\":\"x\"}",
        "update sys/wrapping/wrap\n{\"a\":\"b\"}\nupdate sys/tools/hash/sha2-256\n{\"input\":\"YQ==\",\"format\":\
         \"base64\"}\nread sys/internal/ui/mounts/secret\n\nread sys/internal/specs/openapi\n\nhelp sys/mounts/x\n",
    ])
}
