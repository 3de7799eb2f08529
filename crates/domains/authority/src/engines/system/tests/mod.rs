mod access;
mod audit;
mod keys;
mod mounts;
mod policies;
mod remount;
mod tune;
mod ui;

use crate::testing::Bench;

/// A bench with a key-value engine of each version, and a token that may do what `rules` say and no more.
fn bench(rules: &str) -> (Bench, String) {
    let mut bench = Bench::new();
    bench.write("sys/mounts/kv1", r#"{"type":"kv"}"#);
    bench.write("sys/mounts/kv2", r#"{"type":"kv-v2"}"#);
    if !rules.is_empty() {
        let policy = serde_json::json!({ "policy": rules }).to_string();
        bench.write("sys/policies/acl/tested", &policy);
    }
    let token = bench.token(&["tested"]);
    (bench, token)
}
