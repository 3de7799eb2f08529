//! Certificates with leases.

use super::*;
use std::time::Duration;

fn revoked(bench: &mut Bench, serial: &str) -> bool {
    read(bench, &format!("cert/{serial}"))["revocation_time"] != 0
}

/// An answer whose certificate is leased: its serial number, the lease's id and its seconds.
fn leased(bench: &mut Bench, token: &str, body: &Value) -> (String, String, u64) {
    let answer = bench.ask(token, Operation::Update, "pki/issue/leased", &body.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    let field = |name: &str| answer.body[name].clone();
    assert_eq!(field("renewable"), false);
    (
        text(&answer.data()["serial_number"]).to_owned(),
        text(&field("lease_id")).to_owned(),
        field("lease_duration").as_u64().unwrap(),
    )
}

#[test]
fn a_certificate_is_revoked_with_its_lease_or_its_token() {
    let mut bench = rooted();
    role(&mut bench, "leased", &json!({"allow_any_name": true, "generate_lease": true}));
    let root = bench.root.clone();
    let body = json!({"common_name": "a.example.com", "ttl": "1h"});
    let (serial, lease, seconds) = leased(&mut bench, &root, &body);
    assert!(lease.starts_with("pki/issue/leased/"), "{lease}");
    assert_eq!(seconds, 3600);
    let renewal =
        bench.root(Operation::Update, "sys/leases/renew", &json!({ "lease_id": lease }).to_string());
    assert!(renewal.errors().contains("not renewable"), "{renewal:?}");
    assert!(!revoked(&mut bench, &serial));
    bench.write("sys/leases/revoke", &json!({ "lease_id": lease }).to_string());
    bench.pass(Duration::from_secs(1));
    assert!(revoked(&mut bench, &serial));

    bench.policy("issuer", "path \"pki/issue/leased\" { capabilities = [\"update\"] }");
    let token = bench.token(&["issuer"]);
    let many: Vec<String> = (0..30).map(|_| leased(&mut bench, &token, &body).0).collect();
    bench.write("auth/token/revoke", &json!({ "token": token }).to_string());
    bench.pass(Duration::from_secs(1));
    for serial in &many {
        assert!(revoked(&mut bench, serial), "{serial}");
    }
    assert_eq!(
        bench.root(Operation::List, "pki/certs/revoked", "").data()["keys"].as_array().unwrap().len(),
        31
    );
}

#[test]
fn what_has_expired_is_on_no_list_and_what_is_not_kept_has_no_lease() {
    let mut bench = rooted();
    role(&mut bench, "leased", &json!({"allow_any_name": true, "generate_lease": true}));
    let root = bench.root.clone();
    let (serial, lease, _) = leased(&mut bench, &root, &json!({"common_name": "a.example.com", "ttl": "1h"}));
    bench.pass(Duration::from_secs(3601));
    assert!(!revoked(&mut bench, &serial));
    let gone = bench.root(Operation::Update, "sys/leases/lookup", &json!({ "lease_id": lease }).to_string());
    assert_eq!(gone.status, 400, "{gone:?}");

    role(&mut bench, "unkept", &json!({"allow_any_name": true, "generate_lease": true, "no_store": true}));
    assert_eq!(read(&mut bench, "roles/unkept")["generate_lease"], false);
    let answer = bench.root(Operation::Update, "pki/issue/unkept", r#"{"common_name":"a.example.com"}"#);
    assert_eq!((answer.status, &answer.body["lease_id"]), (200, &json!("")));
}
