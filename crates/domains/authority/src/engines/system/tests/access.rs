//! Which paths are root-protected, seen by a token that may do everything under `sys/` but has no `sudo`.

use super::bench;
use crate::request::Operation::{self, Delete, List, Read, Update};

const ALL: &str =
    r#"path "sys/*" { capabilities = ["create", "read", "update", "delete", "list", "patch"] }"#;
const SUDO: &str =
    r#"path "sys/*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }"#;

const PROTECTED: [(Operation, &str); 20] = [
    (Read, "auth/app"),
    (Update, "auth/new"),
    (Delete, "auth/app"),
    (Read, "auth/app/tune"),
    (Update, "auth/app/tune"),
    (Update, "remount"),
    (Read, "audit"),
    (Update, "audit/x"),
    (Delete, "audit/x"),
    (Read, "config/auditing/request-headers"),
    (Read, "config/auditing/request-headers/x"),
    (Update, "config/auditing/request-headers/x"),
    (Delete, "config/auditing/request-headers/x"),
    (Read, "internal/audit-heads"),
    (Update, "rotate"),
    (Update, "rotate/keyring"),
    (Update, "seal"),
    (List, "leases/lookup/x"),
    (Update, "leases/revoke-prefix/x"),
    (Update, "leases/revoke-force/x"),
];

const FREE: [(Operation, &str); 15] = [
    (Read, "auth"),
    (Read, "mounts"),
    (Read, "mounts/kv1"),
    (Update, "mounts/new"),
    (Read, "mounts/kv1/tune"),
    (Read, "remount/status/x"),
    (Read, "policy"),
    (List, "policies/acl"),
    (Update, "audit-hash/x"),
    (Read, "key-status"),
    (Read, "rotate/config"),
    (Update, "tools/random"),
    (Read, "internal/ui/resultant-acl"),
    (Read, "plugins/catalog"),
    (Update, "capabilities-self"),
];

#[test]
fn protected_paths_need_sudo() {
    for (rules, refused) in [(ALL, true), (SUDO, false)] {
        let (mut bench, token) = bench(rules);
        bench.write("sys/auth/app", r#"{"type":"approle"}"#);
        for (operation, path) in PROTECTED {
            let answer = bench.ask(&token, operation, &format!("sys/{path}"), "");
            assert_eq!(answer.status == 403, refused, "{operation:?} {path}: {answer:?}");
        }
        for (operation, path) in FREE {
            let answer = bench.ask(&token, operation, &format!("sys/{path}"), "");
            assert_ne!(answer.status, 403, "{operation:?} {path}");
        }
    }
}

#[test]
fn nothing_is_free_but_what_says_so() {
    let (mut bench, token) = bench("");
    for (operation, path) in PROTECTED.iter().chain(&FREE) {
        let path = format!("sys/{path}");
        assert_eq!(bench.ask("", *operation, &path, "").status, 403, "{operation:?} {path}");
        let own = ["sys/internal/ui/resultant-acl", "sys/capabilities-self"].contains(&path.as_str());
        let status = bench.ask(&token, *operation, &path, "").status;
        assert_eq!(status == 403, !own, "{operation:?} {path}");
    }
}
