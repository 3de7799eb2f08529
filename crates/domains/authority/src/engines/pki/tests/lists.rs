//! Lists of what is kept elsewhere.

use super::*;
use keyward_crypto::x509::RevocationList;

fn read_list(bench: &mut Bench, text: &str) -> Vec<(String, u64, usize)> {
    let (_, ca) = raw(bench, Operation::Read, "ca", &json!({}));
    let der = pem::first(&[pem::CRL], text).unwrap();
    let entries = RevocationList::read(&der, Certificate::read(&ca).unwrap().public()).unwrap();
    entries.iter().map(|entry| (hex::encode(&entry.serial), entry.at, entry.extensions.len())).collect()
}

#[test]
fn lists_are_signed_and_joined() {
    let mut bench = rooted();
    // The reason: key compromise.
    let reason = json!([{"id": "2.5.29.21", "value": "CgEB"}]);
    let first = json!({
        "crl_number": 3, "next_update": "1h",
        "revoked_certs": [
            {"serial_number": "11:22", "revocation_time": "2026-01-01T00:00:10Z", "extensions": reason},
            {"serial_number": "33-44", "revocation_time": 1_767_225_700},
        ],
        "extensions": [{"id": "1.2.3.4", "critical": false, "value": "BQA="}],
    });
    let second = json!({"crl_number": 4, "revoked_certs": [{"serial_number": "1122", "revocation_time": "2026-01-02T00:00:00Z"}]});
    let path = "issuer/default/sign-revocation-list";
    let first = text(&ok(&mut bench, path, &first)["crl"]).to_owned();
    let second = text(&ok(&mut bench, path, &second)["crl"]).to_owned();
    let at = 1_767_225_610;
    assert_eq!(
        read_list(&mut bench, &first),
        [("1122".to_owned(), at, 1), ("3344".to_owned(), 1_767_225_700, 0)]
    );
    let body = json!({"crls": [first, second], "crl_number": 5, "delta_crl_base_number": 2});
    let joined = text(&ok(&mut bench, "issuer/default/resign-crls", &body)["crl"]).to_owned();
    assert_eq!(
        read_list(&mut bench, &joined),
        [("1122".to_owned(), at, 1), ("3344".to_owned(), 1_767_225_700, 0)]
    );
    let body = json!({"crls": joined, "format": "der"});
    assert!(!text(&ok(&mut bench, "issuer/default/resign-crls", &body)["crl"]).contains("BEGIN"));

    let other = root(&mut bench, &json!({"common_name": "Other", "issuer_name": "other"}));
    assert!(!other.is_null());
    for (path, body, why) in [
        ("issuer/other/resign-crls", json!({ "crls": joined }), "signed with the issuer's key"),
        ("issuer/default/resign-crls", json!({}), "at least one list"),
        ("issuer/default/resign-crls", json!({"crls": ["none"]}), "no PEM"),
        ("issuer/default/resign-crls", json!({"crls": joined, "next_update": "0"}), "greater than 0"),
        (path, json!({"crl_number": -1}), "0 or greater"),
        (path, json!({"revoked_certs": [{"serial_number": "x"}]}), "serial_number"),
        (path, json!({"revoked_certs": [{"serial_number": "11"}]}), "revocation_time"),
        (
            path,
            json!({"revoked_certs": [{"serial_number": "11", "revocation_time": 1}, {"serial_number": "0x11", "revocation_time": 1}]}),
            "serial_number",
        ),
        (path, json!({"extensions": [{"id": "2.5.29.20", "value": "AgEB"}]}), "reserved"),
        (path, json!({"extensions": [{"id": "1.2.3", "value": "!"}]}), "base64"),
    ] {
        let said = refused(&mut bench, path, &body);
        assert!(said.contains(why), "{path} {body}: {said}");
    }
}
