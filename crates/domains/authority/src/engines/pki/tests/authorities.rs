//! Roots, intermediates, issuers and keys.

use super::*;
use keyward_crypto::x509::PublicKind;

#[test]
fn everybody_may_read_the_authority() {
    let mut bench = mounted();
    let made = root(&mut bench, &json!({"issuer_name": "top", "key_name": "k"}));
    let der = certificate(&made["certificate"]).der().to_vec();
    for (path, wanted) in [
        ("ca", der.clone()),
        ("ca/pem", text(&made["certificate"]).as_bytes().to_vec()),
        ("ca_chain", text(&made["certificate"]).as_bytes().to_vec()),
        ("issuer/top/der", der),
        ("issuer/default/pem", text(&made["certificate"]).as_bytes().to_vec()),
    ] {
        assert_eq!(raw(&mut bench, Operation::Read, path, &json!({})), (200, wanted), "{path}");
    }
    for path in ["cert/ca", "cert/ca_chain", "issuer/top/json"] {
        let answer = bench.ask("", Operation::Read, &format!("pki/{path}"), "");
        assert_eq!(answer.data()["certificate"], made["certificate"], "{path}");
    }
    let listed = bench.ask("", Operation::List, "pki/issuers", "");
    assert_eq!(listed.data()["keys"], json!([made["issuer_id"]]));
    let info = &listed.data()["key_info"][text(&made["issuer_id"])];
    assert_eq!((&info["issuer_name"], &info["is_default"]), (&json!("top"), &json!(true)));
    assert_eq!(bench.ask("", Operation::Read, "pki/issuer/top", "").status, 403);
    assert_eq!(bench.ask("", Operation::List, "pki/certs", "").status, 403);
    let mut empty = mounted();
    assert_eq!(raw(&mut empty, Operation::Read, "ca", &json!({})), (204, Vec::new()));
}

#[test]
fn roots_of_every_kind() {
    let mut bench = mounted();
    for (kind, bits, wanted) in [
        ("rsa", 2048, PublicKind::Rsa(2048)),
        ("ec", 521, PublicKind::Ec(521)),
        ("ed25519", 0, PublicKind::Ed25519),
    ] {
        let body = json!({
            "common_name": kind, "key_type": kind, "key_bits": bits, "use_pss": true, "max_path_length": 1,
            "permitted_dns_domains": "example.com",
        });
        let made = ok(&mut bench, "root/generate/exported", &body);
        let root = certificate(&made["certificate"]);
        assert!(root.self_signed() && root.is_authority());
        assert_eq!((root.public().kind(), root.path_len()), (wanted, Some(1)));
        let (_, key) = Key::import_der(&pem::blocks(text(&made["private_key"])).unwrap()[0].der).unwrap();
        assert_eq!(key.public().as_deref(), Some(root.public().spki()));
    }
    assert_eq!(bench.root(Operation::List, "pki/issuers", "").data()["keys"].as_array().unwrap().len(), 3);
    for (path, body, why) in [
        ("root/generate/kms", json!({}), "managed keys are not available"),
        ("root/generate/other", json!({}), "the \"exported\" path parameter"),
        ("root/generate/internal", json!({"key_type": "any"}), "key_type any cannot be made"),
        ("root/generate/internal", json!({"issuer_name": "default"}), "reserved keyword 'default'"),
        ("root/generate/internal", json!({"issuer_name": "a b"}), "issuer name contained invalid characters"),
        ("root/generate/internal", json!({"max_path_length": 256}), "max_path_length must be at most 255"),
        ("root/generate/existing", json!({"key_ref": "none"}), "unable to find PKI key for reference: none"),
    ] {
        let found = refused(&mut bench, path, &body);
        assert!(found.starts_with(why), "{path} {body}: {found}");
    }
    let deleted = bench.root(Operation::Delete, "pki/root", "");
    assert!(text(&deleted.body["warnings"][0]).starts_with("DELETE /root deletes all keys and issuers"));
    assert_eq!(bench.root(Operation::List, "pki/issuers", "").status, 404);
    assert_eq!(bench.root(Operation::List, "pki/keys", "").status, 404);
}

/// An intermediate in the mount `int`, signed by the root in `pki`: its certificate and the root's.
fn intermediate(bench: &mut Bench) -> (Value, Value) {
    bench.write("sys/mounts/int", r#"{"type":"pki"}"#);
    let asked =
        bench.write("int/intermediate/generate/internal", r#"{"common_name":"Middle","key_type":"ec"}"#);
    let body = json!({"csr": asked.data()["csr"], "ttl": "4000h", "max_path_length": 0});
    let signed = ok(bench, "root/sign-intermediate", &body);
    let bundle = format!("{}\n{}", text(&signed["certificate"]), text(&signed["issuing_ca"]));
    let set = bench.write("int/intermediate/set-signed", &json!({ "certificate": bundle }).to_string());
    assert_eq!(set.data()["imported_issuers"].as_array().unwrap().len(), 2);
    (signed["certificate"].clone(), signed["issuing_ca"].clone())
}

#[test]
fn an_intermediate_stands_below_its_root() {
    let mut bench = rooted();
    let (middle, top) = intermediate(&mut bench);
    let (middle_certificate, top_certificate) = (certificate(&middle), certificate(&top));
    assert!(middle_certificate.signed_by(&top_certificate) && middle_certificate.is_authority());
    assert_eq!(
        (middle_certificate.path_len(), middle_certificate.subject().common_name()),
        (Some(0), "Middle".to_owned())
    );
    bench.write("int/roles/web", r#"{"allow_any_name":true,"key_type":"ec"}"#);
    let leaf = bench.write("int/issue/web", r#"{"common_name":"a.example.com"}"#);
    assert!(certificate(&leaf.data()["certificate"]).signed_by(&middle_certificate));
    assert_eq!(leaf.data()["ca_chain"], json!([middle, top]));
    let csr = csr(&new_key(KeyType::EcdsaP256), "Below", &[]);
    let further =
        bench.root(Operation::Update, "int/root/sign-intermediate", &json!({"csr": csr}).to_string());
    assert!(further.errors().contains("max path length of zero"), "{further:?}");
    let foreign = bench.write("int/config/issuers", r#"{"default_follows_latest_issuer":true}"#);
    assert_eq!(foreign.data()["default_follows_latest_issuer"], json!(true));
}

#[test]
fn roots_are_rotated_and_cross_signed() {
    let mut bench = rooted();
    let old = read(&mut bench, "issuer/default");
    let next = ok(&mut bench, "root/rotate/internal", &json!({"common_name": "Next", "key_type": "ec"}));
    assert_eq!(next["issuer_name"], "next");
    assert_eq!(read(&mut bench, "config/issuers")["default"], old["issuer_id"]);
    let crossed = ok(&mut bench, "root/sign-self-issued", &json!({"certificate": next["certificate"]}));
    let crossed = certificate(&crossed["certificate"]);
    assert!(crossed.signed_by(&certificate(&old["certificate"])));
    assert_eq!(crossed.key_id(), certificate(&next["certificate"]).key_id());
    ok(&mut bench, "root/replace", &json!({}));
    assert_eq!(read(&mut bench, "config/issuers")["default"], next["issuer_id"]);
    let asked =
        ok(&mut bench, "intermediate/cross-sign", &json!({"common_name": "Next", "key_ref": next["key_id"]}));
    assert!(text(&asked["csr"]).starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    let leaf = ok(&mut bench, "issue/any", &json!({"common_name": "a"}));
    assert_eq!(leaf["issuing_ca"], next["certificate"]);
    let old_id = text(&old["issuer_id"]).to_owned();
    let named = ok(&mut bench, &format!("issuer/{old_id}/issue/any"), &json!({"common_name": "a"}));
    assert_eq!(named["issuing_ca"], old["certificate"]);
}

#[test]
fn issuers_change_by_write_and_patch() {
    let mut bench = rooted();
    let body = json!({
        "issuer_name": "one", "usage": "read-only,issuing-certificates", "leaf_not_after_behavior": "permit",
        "ocsp_servers": "http://a/ocsp", "crl_distribution_points": ["http://a/crl"],
    });
    let shown = ok(&mut bench, "issuer/default", &body);
    assert_eq!(shown["usage"], "read-only,issuing-certificates");
    assert_eq!(read(&mut bench, "issuer/one")["ocsp_servers"], json!(["http://a/ocsp"]));
    assert!(bench.ask("", Operation::Read, "pki/crl", "").errors().contains("crl-signing"));
    let patched = bench.root(Operation::Patch, "pki/issuer/one", r#"{"usage":"crl-signing"}"#);
    assert_eq!(
        (&patched.data()["issuer_name"], &patched.data()["usage"]),
        (&json!("one"), &json!("read-only,crl-signing"))
    );
    let refusal = refused(&mut bench, "issue/any", &json!({"common_name": "a"}));
    assert!(refusal.contains("does not have the usage issuing-certificates"), "{refusal}");
    for (body, why) in [
        (json!({"usage": "everything"}), "Unable to parse specified usages"),
        (json!({"leaf_not_after_behavior": "ignore"}), "unknown value for field `leaf_not_after_behavior`"),
        (json!({"manual_chain": "none"}), "unable to find PKI issuer for reference: none"),
        (json!({"ocsp_servers": "no url"}), "invalid URL found in ocsp_servers"),
        (json!({"revocation_signature_algorithm": "SHA256WithRSA"}), "the issuer's key cannot sign with"),
        (json!({"revocation_signature_algorithm": "MD5"}), "unknown signature algorithm: MD5"),
    ] {
        let found = refused(&mut bench, "issuer/one", &body);
        assert!(found.starts_with(why), "{body}: {found}");
    }
    assert!(bench.root(Operation::Delete, "pki/issuer/one", "").body["warnings"][0].is_string());
    assert_eq!(
        refused(&mut bench, "issue/any", &json!({"common_name": "a"})),
        "could not fetch the CA certificate (was one set?): no default issuer currently configured"
    );
}

#[test]
fn urls_stand_in_certificates() {
    let mut bench = rooted();
    ok(&mut bench, "config/cluster", &json!({"path": "https://pki.example.com/v1/pki"}));
    ok(
        &mut bench,
        "config/urls",
        &json!({
            "issuing_certificates": "{{cluster_path}}/issuer/{{issuer_id}}/der", "enable_templating": true,
            "ocsp_servers": "{{cluster_path}}/ocsp", "crl_distribution_points": "{{cluster_path}}/crl",
        }),
    );
    let made = ok(&mut bench, "issue/any", &json!({"common_name": "a"}));
    let der = String::from_utf8_lossy(certificate(&made["certificate"]).der()).into_owned();
    let id = text(&read(&mut bench, "config/issuers")["default"]).to_owned();
    assert!(der.contains(&format!("https://pki.example.com/v1/pki/issuer/{id}/der")));
    assert!(
        der.contains("https://pki.example.com/v1/pki/ocsp")
            && der.contains("https://pki.example.com/v1/pki/crl")
    );
    ok(&mut bench, "config/urls", &json!({"ocsp_servers": "{{cluster_aia_path}}/ocsp"}));
    assert!(
        refused(&mut bench, "issue/any", &json!({"common_name": "a"}))
            .contains("{{cluster_aia_path}} has no value")
    );
    assert!(refused(&mut bench, "config/urls", &json!({"enable_templating": false})).contains("invalid URL"));
}

#[test]
fn keys_have_a_life_of_their_own() {
    let mut bench = mounted();
    let made = ok(&mut bench, "keys/generate/exported", &json!({"key_name": "one", "key_type": "ec"}));
    assert_eq!(made["key_type"], "ec");
    let again = ok(&mut bench, "keys/import", &json!({"pem_bundle": made["private_key"]}));
    assert_eq!(again["key_id"], made["key_id"]);
    assert_eq!(read(&mut bench, "config/keys")["default"], made["key_id"]);
    let root = ok(&mut bench, "root/generate/existing", &json!({"common_name": "R", "key_ref": "one"}));
    assert_eq!(root["key_id"], made["key_id"]);
    let shown = read(&mut bench, "key/one");
    assert_eq!((shown["key_name"].clone(), shown.get("private_key").is_none()), (json!("one"), true));
    ok(&mut bench, "key/one", &json!({"key_name": "two"}));
    let used = bench.root(Operation::Delete, "pki/key/two", "");
    assert!(used.errors().starts_with("Failed to delete key"), "{used:?}");
    ok(&mut bench, "keys/generate/internal", &json!({"key_name": "spare", "key_type": "ed25519"}));
    assert_eq!(bench.root(Operation::List, "pki/keys", "").data()["keys"].as_array().unwrap().len(), 2);
    assert_eq!(bench.root(Operation::Delete, "pki/key/spare", "").status, 204);
    assert!(
        refused(&mut bench, "keys/import", &json!({"pem_bundle": root["certificate"]}))
            .contains("no private key")
    );
}

#[test]
fn bundles_are_taken_in_once() {
    let mut bench = mounted();
    let made = ok(
        &mut bench,
        "root/generate/exported",
        &json!({"common_name": "R", "key_type": "ec", "format": "pem_bundle"}),
    );
    let bundle = json!({"pem_bundle": made["certificate"]});
    bench.root(Operation::Delete, "pki/root", "");
    assert!(refused(&mut bench, "issuers/import/cert", &bundle).starts_with("private keys found"));
    let first = ok(&mut bench, "config/ca", &bundle);
    assert_eq!(first["imported_keys"].as_array().unwrap().len(), 1);
    let issuer = text(&first["imported_issuers"][0]);
    assert_eq!(first["mapping"][issuer], first["imported_keys"][0]);
    let second = ok(&mut bench, "issuers/import/bundle", &bundle);
    assert_eq!((&second["existing_issuers"], &second["imported_issuers"]), (&json!([issuer]), &Value::Null));
    role(&mut bench, "any", &json!({"allow_any_name": true}));
    let leaf = ok(&mut bench, "issue/any", &json!({"common_name": "a"}));
    let no_authority =
        refused(&mut bench, "issuers/import/cert", &json!({"pem_bundle": leaf["certificate"]}));
    assert!(no_authority.contains("is not marked as CA"), "{no_authority}");
    for (body, why) in [
        (json!({}), "'pem_bundle' and 'certificate' parameters were empty"),
        (
            json!({"pem_bundle": "a", "certificate": "b"}),
            "'pem_bundle' and 'certificate' parameters were both provided",
        ),
        (json!({"pem_bundle": "/etc/ca.pem"}), "provided data is no PEM"),
    ] {
        assert!(refused(&mut bench, "config/ca", &body).starts_with(why), "{body}");
    }
}
