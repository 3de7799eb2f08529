//! What Vault Enterprise shows of all its clusters, and lists with details.

use super::*;

#[test]
fn the_lists_of_all_clusters_are_the_lists() {
    let mut bench = rooted();
    let made = ok(&mut bench, "issue/any", &json!({"common_name": "a.example.com"}));
    let serial = text(&made["serial_number"]);
    ok(&mut bench, "revoke", &json!({ "serial_number": serial }));
    let usual = raw(&mut bench, Operation::Read, "crl", &json!({}));
    for path in ["unified-crl", "issuer/default/unified-crl", "issuer/default/unified-crl/der"] {
        assert_eq!(raw(&mut bench, Operation::Read, path, &json!({})), usual, "{path}");
    }
    assert_eq!(read(&mut bench, "cert/unified-crl"), read(&mut bench, "cert/crl"));
    let listed = bench.root(Operation::List, "pki/certs/unified-revoked", "").data().clone();
    assert_eq!(listed["keys"], json!([serial]));
    let clusters = listed["key_info"][serial]["revoking_clusters"].as_array().unwrap();
    assert_eq!((clusters.len(), text(&clusters[0]).len()), (1, 36));
    assert_eq!(bench.root(Operation::List, "pki/certs/revocation-queue", "").status, 404);
    assert_eq!(get(&mut bench, "unified-crl/delta").status, 404);
    ok(&mut bench, "config/crl", &json!({"auto_rebuild": true, "enable_delta": true}));
    let delta = raw(&mut bench, Operation::Read, "crl/delta", &json!({}));
    assert_eq!(raw(&mut bench, Operation::Read, "unified-crl/delta", &json!({})), delta);
}

#[test]
fn the_settings_of_all_clusters_are_kept() {
    let mut bench = rooted();
    let refusal = refused(&mut bench, "config/crl", &json!({"unified_crl_on_existing_paths": true}));
    assert!(refusal.contains("requires unified_crl=true"), "{refusal}");
    let body = json!({
        "auto_rebuild": true, "unified_crl": true, "unified_crl_on_existing_paths": true,
        "cross_cluster_revocation": true,
    });
    ok(&mut bench, "config/crl", &body);
    let shown = read(&mut bench, "config/crl");
    for name in ["unified_crl", "unified_crl_on_existing_paths", "cross_cluster_revocation"] {
        assert_eq!(shown[name], true, "{name}");
    }
    // Nothing waits for another cluster: a number that nobody knows is refused at once.
    let refusal = refused(&mut bench, "revoke", &json!({"serial_number": "00:11"}));
    assert!(refusal.contains("not found"), "{refusal}");
}

#[test]
fn certificates_are_listed_with_what_they_are() {
    let mut bench = rooted();
    let body = json!({"common_name": "a.example.com", "alt_names": "b.example.com"});
    let made = ok(&mut bench, "issue/any", &body);
    let serial = text(&made["serial_number"]);
    let listed = bench.root(Operation::List, "pki/certs/detailed", "").data().clone();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
    let about = &listed["key_info"][serial];
    assert_eq!(about["dns_names"], json!(["b.example.com", "a.example.com"]));
    for (name, wanted) in
        [("common_name", json!("a.example.com")), ("issuer", json!("CN=Root")), ("key_type", json!("ec"))]
    {
        assert_eq!(about[name], wanted);
    }
    assert_eq!(about["key_bits"], 256);
    assert_eq!(bench.root(Operation::List, "pki/certs/revoked/detailed", "").status, 404);
    let done = ok(&mut bench, "revoke", &json!({ "serial_number": serial }));
    let listed = bench.root(Operation::List, "pki/certs/revoked/detailed", "").data().clone();
    assert_eq!(listed["keys"], json!([serial]));
    assert_eq!(listed["key_info"][serial]["revocation_time"], done["revocation_time"]);
    assert_eq!(listed["key_info"][serial]["not_after"], about["not_after"]);
}
