//! Revocation, lists, OCSP and tidying.

use super::*;
use keyward_crypto::x509::RevocationList;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86400);

fn list(bench: &mut Bench, path: &str) -> (Vec<u8>, Vec<String>) {
    let (status, der) = raw(bench, Operation::Read, path, &json!({}));
    assert_eq!(status, 200, "{path}");
    let (_, ca) = raw(bench, Operation::Read, "ca", &json!({}));
    let entries = RevocationList::read(&der, Certificate::read(&ca).unwrap().public()).unwrap();
    let serial = |bytes: &[u8]| bytes.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<u8>>();
    (der, entries.iter().map(|entry| super::super::colons(&serial(&entry.serial))).collect())
}

fn issue(bench: &mut Bench) -> (String, String) {
    let made = ok(bench, "issue/any", &json!({"common_name": "a.example.com"}));
    (text(&made["serial_number"]).to_owned(), text(&made["certificate"]).to_owned())
}

#[test]
fn a_revoked_certificate_is_on_the_list_at_once() {
    let mut bench = rooted();
    assert_eq!(list(&mut bench, "crl").1, Vec::<String>::new());
    let (first, _) = issue(&mut bench);
    let (second, _) = issue(&mut bench);
    let done = ok(&mut bench, "revoke", &json!({"serial_number": first}));
    assert_eq!(done["state"], "revoked");
    assert_eq!(list(&mut bench, "crl").1, std::slice::from_ref(&first));
    let hyphens = second.replace(':', "-").to_uppercase();
    ok(&mut bench, "revoke", &json!({"serial_number": hyphens}));
    let (der, both) = list(&mut bench, "crl");
    assert_eq!(both, [first.clone(), second.clone()]);
    // The same list is shown until something changes: it is signed once.
    assert_eq!(list(&mut bench, "issuer/default/crl/der").0, der);
    bench.pass(Duration::from_secs(60));
    let again = ok(&mut bench, "revoke", &json!({"serial_number": first}));
    assert_eq!(again["revocation_time"], done["revocation_time"]);
    assert_eq!(list(&mut bench, "crl").0, der);
    let shown = read(&mut bench, &format!("cert/{first}"));
    assert_eq!(shown["revocation_time"], done["revocation_time"]);
    let mut listed = vec![first, second];
    listed.sort_unstable();
    assert_eq!(bench.root(Operation::List, "pki/certs/revoked", "").data()["keys"], json!(listed));
}

#[test]
fn what_cannot_be_revoked_says_why() {
    let mut bench = rooted();
    let (serial, certificate) = issue(&mut bench);
    let root = read(&mut bench, "cert/ca");
    for (body, why) in [
        (json!({}), "The serial number or certificate to revoke must be provided."),
        (
            json!({"serial_number": serial, "certificate": certificate}),
            "Must provide either the certificate or the serial",
        ),
        (json!({"serial_number": "00:11"}), "certificate with serial 00:11 not found"),
        (json!({"serial_number": "zz"}), "certificate with serial zz not found"),
        (json!({"certificate": "x"}), "certificate contains no PEM data"),
        (json!({"certificate": root["certificate"]}), "the certificate is an issuer of this mount"),
    ] {
        let found = refused(&mut bench, "revoke", &body);
        assert!(found.starts_with(why), "{body}: {found}");
    }
    let mut other = rooted();
    issue(&mut other);
    let (_, foreign) = issue(&mut other);
    assert!(
        refused(&mut bench, "revoke", &json!({"certificate": foreign}))
            .starts_with("unable to verify signature")
    );
    bench.pass(4 * DAY);
    let late = bench.write("pki/revoke", &json!({"serial_number": serial}).to_string());
    assert!(text(&late.body["warnings"][0]).contains("already expired"));
}

#[test]
fn certificates_that_were_not_kept_are_revoked_whole() {
    let mut bench = rooted();
    role(&mut bench, "gone", &json!({"allow_any_name": true, "no_store": true}));
    let made = ok(&mut bench, "issue/gone", &json!({"common_name": "a"}));
    ok(&mut bench, "revoke", &json!({"certificate": made["certificate"]}));
    assert_eq!(list(&mut bench, "crl").1, [text(&made["serial_number"]).to_owned()]);
    let made = ok(&mut bench, "issue/any", &json!({"common_name": "a"}));
    let other = ok(&mut bench, "issue/any", &json!({"common_name": "a"}));
    let wrong = json!({"serial_number": made["serial_number"], "private_key": other["private_key"]});
    assert!(
        refused(&mut bench, "revoke-with-key", &wrong).contains("does not match certificate's public key")
    );
    assert!(
        refused(&mut bench, "revoke-with-key", &json!({"serial_number": made["serial_number"]}))
            .contains("must have private key")
    );
    ok(
        &mut bench,
        "revoke-with-key",
        &json!({"serial_number": made["serial_number"], "private_key": made["private_key"]}),
    );
}

#[test]
fn lists_by_time_and_lists_of_changes() {
    let mut bench = rooted();
    assert!(
        refused(&mut bench, "config/crl", &json!({"enable_delta": true}))
            .starts_with("Delta CRLs cannot be enabled")
    );
    assert!(
        refused(&mut bench, "config/crl", &json!({"auto_rebuild": true, "expiry": "1h"}))
            .contains("grace period")
    );
    ok(&mut bench, "config/crl", &json!({"auto_rebuild": "true", "enable_delta": "true", "expiry": "72h"}));
    assert_eq!(list(&mut bench, "crl").1.len() + list(&mut bench, "crl/delta").1.len(), 0);
    let (serial, _) = issue(&mut bench);
    ok(&mut bench, "revoke", &json!({"serial_number": serial}));
    assert_eq!(list(&mut bench, "crl").1.len() + list(&mut bench, "crl/delta").1.len(), 0);
    bench.pass(Duration::from_secs(16 * 60));
    assert_eq!(list(&mut bench, "crl").1.len(), 0);
    assert_eq!(list(&mut bench, "crl/delta").1, std::slice::from_ref(&serial));
    bench.pass(Duration::from_secs(60 * 3600));
    assert_eq!(list(&mut bench, "crl").1, std::slice::from_ref(&serial));
    assert_eq!(list(&mut bench, "crl/delta").1.len(), 0);
    let (second, _) = issue(&mut bench);
    ok(&mut bench, "revoke", &json!({"serial_number": second}));
    assert_eq!(read(&mut bench, "crl/rotate-delta")["success"], json!(true));
    assert_eq!(list(&mut bench, "crl/delta").1, std::slice::from_ref(&second));
    assert_eq!(read(&mut bench, "crl/rotate")["success"], json!(true));
    assert_eq!(list(&mut bench, "crl").1, [serial, second]);
    ok(&mut bench, "config/crl", &json!({"disable": true}));
    assert_eq!(list(&mut bench, "crl").1.len(), 0);
}

#[test]
fn a_list_outgrows_a_transaction() {
    let mut bench = rooted();
    let csr = csr(&new_key(KeyType::EcdsaP256), "a.example.com", &[]);
    let count = 64 * 3 + 5;
    for _ in 0..count {
        let made = ok(&mut bench, "sign/any", &json!({"csr": csr}));
        ok(&mut bench, "revoke", &json!({"serial_number": made["serial_number"]}));
    }
    assert_eq!(list(&mut bench, "crl").1.len(), count);
    bench.pass(4 * DAY);
    assert_eq!(list(&mut bench, "crl").1.len(), count);
    let started =
        bench.write("pki/tidy", r#"{"tidy_revoked_certs":true,"tidy_cert_store":true,"safety_buffer":"1h"}"#);
    assert_eq!(started.status, 202);
    bench.pass(Duration::from_secs(1));
    let status = read(&mut bench, "tidy-status");
    assert_eq!(status["state"], "Finished", "{status}");
    assert_eq!(status["cert_store_deleted_count"], json!(count));
    assert_eq!(list(&mut bench, "crl").1.len(), 0);
    assert_eq!(bench.root(Operation::List, "pki/certs/revoked", "").status, 404);
    assert_eq!(bench.root(Operation::List, "pki/certs", "").data()["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn tidying_repeats_and_stops() {
    let mut bench = rooted();
    assert!(refused(&mut bench, "tidy", &json!({})).starts_with("No tidy targets"));
    assert_eq!(read(&mut bench, "tidy-status")["state"], "Inactive");
    assert!(
        refused(&mut bench, "config/auto-tidy", &json!({"enabled": true}))
            .starts_with("Auto-tidy enabled but no")
    );
    ok(
        &mut bench,
        "config/auto-tidy",
        &json!({
            "enabled": true, "interval_duration": "24h", "tidy_cert_store": true, "safety_buffer": "1h",
        }),
    );
    for _ in 0..3 {
        issue(&mut bench);
        bench.pass(4 * DAY);
    }
    bench.pass(DAY);
    assert_eq!(bench.root(Operation::List, "pki/certs", "").data()["keys"].as_array().unwrap().len(), 1);
    bench.write("pki/tidy", r#"{"tidy_cert_store":true}"#);
    assert_eq!(ok(&mut bench, "tidy-cancel", &json!({}))["state"], "Cancelling");
    let twice = bench.write("pki/tidy", r#"{"tidy_cert_store":true}"#);
    assert_eq!(twice.body["warnings"][0], "Tidy operation already in progress.");
    bench.pass(Duration::from_secs(1));
    assert_eq!(read(&mut bench, "tidy-status")["state"], "Cancelled");
    ok(&mut bench, "tidy", &json!({"tidy_expired_issuers": true, "issuer_safety_buffer": "1s"}));
    bench.pass(366 * DAY);
    ok(&mut bench, "tidy", &json!({"tidy_expired_issuers": true, "issuer_safety_buffer": "1s"}));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.root(Operation::List, "pki/issuers", "").status, 404);
}

#[test]
fn an_issuer_is_revoked_by_the_one_above() {
    let mut bench = rooted();
    let asked =
        ok(&mut bench, "intermediate/generate/internal", &json!({"common_name": "Middle", "key_type": "ec"}));
    let signed = ok(&mut bench, "root/sign-intermediate", &json!({"csr": asked["csr"], "ttl": "100h"}));
    let set = ok(&mut bench, "intermediate/set-signed", &json!({"certificate": signed["certificate"]}));
    let id = text(&set["imported_issuers"][0]).to_owned();
    let shown = ok(&mut bench, &format!("issuer/{id}/revoke"), &json!({}));
    assert_eq!(
        (&shown["revoked"], &shown["usage"]),
        (&json!(true), &json!("read-only,crl-signing,ocsp-signing"))
    );
    assert_eq!(list(&mut bench, "crl").1, [text(&signed["serial_number"]).to_owned()]);
    let refusal = refused(&mut bench, &format!("issuer/{id}/issue/any"), &json!({"common_name": "a"}));
    assert!(refusal.contains("does not have the usage"), "{refusal}");
    let back =
        bench.root(Operation::Patch, &format!("pki/issuer/{id}"), r#"{"usage":"issuing-certificates"}"#);
    assert!(back.errors().contains("cannot come back"), "{back:?}");
}

#[test]
fn ocsp_refuses_what_it_cannot_answer() {
    let mut bench = rooted();
    let answer = |bench: &mut Bench, req: &str| raw(bench, Operation::Update, "ocsp", &json!({ "req": req }));
    assert_eq!(answer(&mut bench, ""), (400, vec![0x30, 3, 0x0a, 1, 1]));
    assert_eq!(answer(&mut bench, "MAMCAQE="), (400, vec![0x30, 3, 0x0a, 1, 1]));
    assert_eq!(raw(&mut bench, Operation::Read, "ocsp/none", &json!({})), (400, vec![0x30, 3, 0x0a, 1, 1]));
    ok(&mut bench, "config/crl", &json!({"ocsp_disable": true}));
    assert_eq!(answer(&mut bench, "MAMCAQE="), (401, vec![0x30, 3, 0x0a, 1, 6]));
}
