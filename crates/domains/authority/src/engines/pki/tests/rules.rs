//! What roles allow.

use super::*;
use keyward_crypto::x509::{KeyUsages, PublicKey, PublicKind, oid};

#[test]
fn a_role_reads_back_as_it_was_written() {
    let mut bench = mounted();
    let written = json!({
        "allowed_domains": "a.example.com,b.example.com", "allow_subdomains": "true", "ttl": "1h", "max_ttl": 7200,
        "key_type": "ec", "key_bits": "384", "ou": ["one", "two"], "key_usage": "DigitalSignature",
        "policy_identifiers": [{"oid": "1.3.6.1.4.1.7.8", "cps": "https://example.com"}],
    });
    let answer = bench.write("pki/roles/web", &written.to_string());
    assert!(answer.body["warnings"][0].as_str().unwrap().contains("no default issuing certificate"));
    let shown = read(&mut bench, "roles/web");
    assert_eq!(shown, *answer.data());
    for (name, value) in [
        ("allowed_domains", json!(["a.example.com", "b.example.com"])),
        ("allow_subdomains", json!(true)),
        ("allow_wildcard_certificates", json!(true)),
        ("ttl", json!(3600)),
        ("max_ttl", json!(7200)),
        ("key_bits", json!(384)),
        ("key_usage", json!(["DigitalSignature"])),
        ("not_before_duration", json!(30)),
        ("issuer_ref", json!("default")),
        ("cn_validations", json!(["email", "hostname"])),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    let patched = bench.root(Operation::Patch, "pki/roles/web", r#"{"ttl": 60}"#);
    assert_eq!((patched.data()["ttl"].clone(), patched.data()["key_bits"].clone()), (json!(60), json!(384)));
    ok(&mut bench, "roles/web", &json!({}));
    assert_eq!(read(&mut bench, "roles/web")["key_type"], "rsa");
    assert_eq!(bench.root(Operation::List, "pki/roles", "").data()["keys"], json!(["web"]));
    assert_eq!(bench.root(Operation::Delete, "pki/roles/web", "").status, 204);
    assert_eq!(get(&mut bench, "roles/web").status, 404);
    assert_eq!(bench.root(Operation::Patch, "pki/roles/web", "{}").status, 400);
}

#[test]
fn roles_that_make_no_sense_are_refused() {
    let mut bench = mounted();
    for (body, why) in [
        (json!({"ttl": "2h", "max_ttl": "1h"}), "\"ttl\" value must be less than \"max_ttl\" value"),
        (json!({"key_type": "dsa"}), "unknown key type dsa"),
        (json!({"key_bits": 1024}), "unsupported bit length for RSA key: 1024"),
        (json!({"key_type": "ec", "key_bits": 224}), "unsupported bit length for EC key: 224"),
        (json!({"signature_bits": 160}), "unsupported signature_bits: 160"),
        (json!({"cn_validations": "email,disabled"}), "cn_validations value incorrect"),
        (json!({"cn_validations": "phone"}), "cn_validations value incorrect"),
        (json!({"ext_key_usage_oids": "1.x"}), "\"1.x\" could not be parsed as a valid oid"),
        (json!({"allowed_other_sans": "1.2.3;utf8"}), "error parsing allowed_other_sans: expected a colon"),
        (json!({"policy_identifiers": "one"}), "policy_identifiers"),
        (json!({"not_after": "tomorrow"}), "not_after"),
        (json!({"key_bits": -1}), "key_bits must not be negative"),
    ] {
        let found = refused(&mut bench, "roles/bad", &body);
        assert!(found.starts_with(why), "{body}: {found}");
    }
}

#[test]
fn issued_certificates_say_what_the_role_says() {
    let mut bench = rooted();
    role(
        &mut bench,
        "web",
        &json!({
            "allowed_domains": "example.com", "allow_subdomains": true, "organization": "Example,Other", "country": "DE",
            "ou": ["b", "b", "a"], "code_signing_flag": true, "ext_key_usage_oids": "1.3.6.1.4.1.7", "client_flag": false,
            "policy_identifiers": "1.3.6.1.4.1.7.8", "basic_constraints_valid_for_non_ca": true, "ttl": "2h",
            "not_before_duration": "10m",
        }),
    );
    let made = ok(
        &mut bench,
        "issue/web",
        &json!({
            "common_name": "a.example.com", "alt_names": "b.example.com, *.c.example.com", "ip_sans": "10.0.0.1,::1",
        }),
    );
    let leaf = certificate(&made["certificate"]);
    let root = certificate(&made["issuing_ca"]);
    assert!(leaf.signed_by(&root) && root.self_signed());
    assert_eq!(made["ca_chain"], json!([made["issuing_ca"]]));
    assert_eq!(made["serial_number"], json!(super::super::colons(leaf.serial())));
    assert_eq!(leaf.serial().len(), 20);
    let now = crate::testing::now(&bench).secs();
    assert_eq!((leaf.not_before(), leaf.not_after()), (now - 600, now + 7200));
    assert_eq!(
        (made["not_before"].clone(), made["expiration"].clone()),
        (json!(now - 600), json!(now + 7200))
    );
    assert_eq!(leaf.subject().common_name(), "a.example.com");
    assert_eq!(leaf.subject().values(attribute::ORGANIZATION), ["Other", "Example"].map(str::to_owned));
    assert_eq!(leaf.subject().values(attribute::ORGANIZATIONAL_UNIT).len(), 2);
    assert_eq!(leaf.key_usages(), Some(KeyUsages(1 | 1 << 2 | 1 << 4)));
    assert_eq!(leaf.authority_key_id(), Some(root.key_id()));
    assert!(!leaf.is_authority());
    for wanted in [oid::BASIC_CONSTRAINTS, oid::EXT_KEY_USAGE, oid::CERTIFICATE_POLICIES] {
        assert!(leaf.extensions().iter().any(|extension| extension.is(wanted)), "{wanted}");
    }
    let ip = |text: &str| San::Ip(text.parse().unwrap());
    let names =
        [dns("b.example.com"), dns("*.c.example.com"), ip("10.0.0.1"), ip("::1"), dns("a.example.com")];
    assert_eq!(sans(&made["certificate"]), names);
    let (_, key) = Key::import_der(&pem::blocks(text(&made["private_key"])).unwrap()[0].der).unwrap();
    assert_eq!(PublicKey::of(&key).as_ref(), Some(leaf.public()));
    assert_eq!(made["private_key_type"], "ec");
    let kept = read(&mut bench, &format!("cert/{}", text(&made["serial_number"])));
    assert_eq!(kept["certificate"], made["certificate"]);
}

#[test]
fn a_role_that_was_changed_counts_with_the_next_certificate() {
    let mut bench = rooted();
    role(&mut bench, "web", &json!({ "allow_any_name": true, "client_flag": false }));
    let usages = |bench: &mut Bench| {
        let made = ok(bench, "issue/web", &json!({ "common_name": "a.example.com" }));
        let leaf = certificate(&made["certificate"]);
        (leaf.key_usages(), leaf.ext_key_usages().map(|usages| usages.len()))
    };
    assert_eq!(usages(&mut bench), (Some(KeyUsages(1 | 1 << 2 | 1 << 4)), Some(1)));
    let change = json!({ "client_flag": true, "key_usage": "DigitalSignature" }).to_string();
    assert_eq!(bench.root(Operation::Patch, "pki/roles/web", &change).status, 200);
    assert_eq!(usages(&mut bench), (Some(KeyUsages(1)), Some(2)));
}

#[test]
fn names_are_held_against_the_role() {
    let mut bench = rooted();
    role(
        &mut bench,
        "web",
        &json!({
            "allowed_domains": "example.com", "allow_subdomains": true, "allow_ip_sans": false,
            "allowed_serial_numbers": "A-*", "allowed_user_ids": "u*", "allowed_other_sans": "1.2.3;utf8:*@example.com",
            "allowed_uri_sans": "spiffe://example.com/*",
        }),
    );
    let good = json!({
        "common_name": "a.example.com", "serial_number": "A-7", "user_ids": "u1", "uri_sans": "spiffe://example.com/x",
        "other_sans": "1.2.3;UTF8:me@example.com",
    });
    let made = ok(&mut bench, "issue/web", &good);
    assert_eq!(certificate(&made["certificate"]).subject().values(attribute::USER_ID), ["u1"]);
    assert_eq!(certificate(&made["certificate"]).subject().values(attribute::SERIAL_NUMBER), ["A-7"]);
    for (more, why) in [
        (json!({"common_name": ""}), "the common_name field is required"),
        (json!({"common_name": "example.com"}), "common name example.com not allowed by this role"),
        (json!({"common_name": "a.example.org"}), "common name a.example.org not allowed by this role"),
        (json!({"alt_names": "b.example.org"}), "subject alternate name b.example.org not allowed"),
        (json!({"alt_names": "b c.example.com"}), "subject alternate name b c.example.com not allowed"),
        (json!({"alt_names": "x@evil.org"}), "email address x@evil.org not allowed"),
        (json!({"alt_names": "b\u{0}.example.com"}), "subject alternate name b"),
        (json!({"alt_names": "ä.example.com"}), "alt_names: ä.example.com is not ASCII"),
        (json!({"ip_sans": "10.0.0.1"}), "IP Subject Alternative Names are not allowed in this role"),
        (json!({"ip_sans": "10.0.0.256"}), "the value \"10.0.0.256\" is not a valid IP address"),
        (json!({"uri_sans": "https://evil.org"}), "URI Subject Alternative Names were provided via the API"),
        (json!({"other_sans": "1.2.4;UTF8:x"}), "other SAN OID 1.2.4 not allowed by this role"),
        (json!({"other_sans": "1.2.3;UTF8:x"}), "other SAN x not allowed for OID 1.2.3 by this role"),
        (json!({"other_sans": "1.2.3;IA5:x"}), "could not parse requested other SAN: only utf8"),
        (json!({"serial_number": "B-7"}), "serial_number B-7 not allowed by this role"),
        (json!({"user_ids": "root"}), "user_id root is not allowed by this role"),
        (
            json!({"ttl": "1h", "not_after": "2026-01-02T00:00:00Z"}),
            "either ttl or not_after should be provided",
        ),
        (json!({"not_after": "2025-01-02T00:00:00Z"}), "The certificate's Not Before"),
        (json!({"not_after": "soon"}), "not_after: write a time"),
        (json!({"format": "jks"}), "the \"format\" path parameter must be"),
        (json!({"private_key_format": "p12"}), "private_key_format must be"),
        (json!({"ttl": "x"}), "Field validation failed"),
    ] {
        let mut body = good.clone();
        merge(&mut body, &more);
        let found = refused(&mut bench, "issue/web", &body);
        assert!(found.starts_with(why), "{more}: {found}");
    }
    assert_eq!(refused(&mut bench, "issue/none", &good), "unknown role: none");
}

#[test]
fn how_long_a_certificate_lives() {
    let mut bench = rooted();
    let now = crate::testing::now(&bench).secs();
    role(&mut bench, "short", &json!({"allow_any_name": true, "ttl": "1h", "max_ttl": "2h"}));
    let long = bench.write("pki/issue/short", r#"{"common_name":"a","ttl":"3h"}"#);
    assert_eq!(long.data()["expiration"], json!(now + 7200));
    assert!(text(&long.body["warnings"][0]).contains("is longer than permitted maxTTL"));
    let usual = ok(&mut bench, "issue/short", &json!({"common_name": "a"}));
    assert_eq!(usual["expiration"], json!(now + 3600));
    role(&mut bench, "fixed", &json!({"allow_any_name": true, "not_after": "2026-03-01T00:00:00Z"}));
    let fixed = ok(&mut bench, "issue/fixed", &json!({"common_name": "a"}));
    assert_eq!(fixed["expiration"], json!(now + 59 * 86400));
    role(&mut bench, "long", &json!({"allow_any_name": true, "max_ttl": "87600h"}));
    let beyond = refused(&mut bench, "issue/long", &json!({"common_name": "a", "ttl": "43800h"}));
    assert!(beyond.starts_with("cannot satisfy request, as TTL would result in notAfter of"), "{beyond}");
    let never = json!({"common_name": "a", "not_after": "9999-12-31T23:59:59Z"});
    refused(&mut bench, "issue/long", &never);
    bench.root(Operation::Patch, "pki/issuer/default", r#"{"leaf_not_after_behavior":"truncate"}"#);
    let cut = ok(&mut bench, "issue/long", &never);
    assert_eq!(cut["expiration"], json!(certificate(&cut["issuing_ca"]).not_after()));
    bench.root(Operation::Patch, "pki/issuer/default", r#"{"leaf_not_after_behavior":"permit"}"#);
    assert_eq!(ok(&mut bench, "issue/long", &never)["expiration"], json!(253_402_300_799u64));
}

#[test]
fn keys_are_of_the_type_asked_for() {
    let mut bench = rooted();
    for (kind, bits, wanted) in [
        ("ec", 0, PublicKind::Ec(256)),
        ("ec", 384, PublicKind::Ec(384)),
        ("ec", 521, PublicKind::Ec(521)),
        ("ed25519", 0, PublicKind::Ed25519),
        ("rsa", 2048, PublicKind::Rsa(2048)),
    ] {
        role(&mut bench, "kind", &json!({"allow_any_name": true, "key_type": kind, "key_bits": bits}));
        for format in ["", "pkcs8"] {
            let made =
                ok(&mut bench, "issue/kind", &json!({"common_name": "a", "private_key_format": format}));
            assert_eq!(certificate(&made["certificate"]).public().kind(), wanted);
            let label = match (format, kind) {
                ("", "rsa") => "RSA PRIVATE KEY",
                ("", "ec") => "EC PRIVATE KEY",
                _ => "PRIVATE KEY",
            };
            assert!(
                text(&made["private_key"]).starts_with(&format!("-----BEGIN {label}-----")),
                "{kind} {format}"
            );
        }
    }
    role(&mut bench, "open", &json!({"allow_any_name": true, "key_type": "any"}));
    let unnamed = refused(&mut bench, "issue/open", &json!({"common_name": "a"}));
    assert!(unnamed.starts_with("role key type \"any\" not allowed"), "{unnamed}");
    ok(&mut bench, "issue/open", &json!({"common_name": "a", "key_type": "ed25519"}));
    let ignored = bench.write("pki/issue/any", r#"{"common_name":"a","key_type":"rsa"}"#);
    assert_eq!(
        ignored.body["warnings"][0],
        "parameters key_type and key_bits ignored as role had specific values"
    );
}

#[test]
fn formats() {
    let mut bench = rooted();
    let made = ok(&mut bench, "issue/any", &json!({"common_name": "a", "format": "pem_bundle"}));
    let labels: Vec<_> =
        pem::blocks(text(&made["certificate"])).unwrap().into_iter().map(|block| block.label).collect();
    assert_eq!(labels, ["EC PRIVATE KEY", "CERTIFICATE", "CERTIFICATE"]);
    let made = ok(
        &mut bench,
        "issue/any",
        &json!({"common_name": "a", "format": "der", "private_key_format": "pkcs8"}),
    );
    let decode = |value: &Value| crate::engines::transit::wire::decode(text(value)).unwrap();
    let leaf = Certificate::read(&decode(&made["certificate"])).unwrap();
    assert!(leaf.signed_by(&Certificate::read(&decode(&made["ca_chain"][0])).unwrap()));
    assert!(Key::import_der(&decode(&made["private_key"])).is_ok());
    let made = ok(&mut bench, "issue/any", &json!({"common_name": "a", "remove_roots_from_chain": true}));
    assert_eq!(made.get("ca_chain"), None);
}

#[test]
fn cert_manager_sends_every_value_as_text() {
    let mut bench = rooted();
    role(
        &mut bench,
        "web",
        &json!({
            "allowed_domains": "example.com", "allow_subdomains": true, "use_csr_common_name": false, "use_csr_sans": false,
            "require_cn": false, "allowed_uri_sans": "spiffe://*",
        }),
    );
    let key = new_key(KeyType::EcdsaP256);
    let body = json!({
        "csr": csr(&key, "", &[]), "common_name": "a.example.com", "alt_names": "a.example.com,b.example.com",
        "ip_sans": "10.0.0.1", "uri_sans": "spiffe://x/y", "ttl": "48h0m0s", "exclude_cn_from_sans": "true",
    });
    let made = ok(&mut bench, "sign/web", &body);
    assert!(made.get("private_key").is_none());
    let leaf = certificate(&made["certificate"]);
    assert_eq!(leaf.public(), &PublicKey::of(&key).unwrap());
    assert_eq!(leaf.not_after(), crate::testing::now(&bench).secs() + 48 * 3600);
    assert_eq!(sans(&made["certificate"]).len(), 4);
    assert_eq!(made["ca_chain"][0], made["issuing_ca"]);
}

#[test]
fn requests_give_names_when_the_role_takes_them() {
    let mut bench = rooted();
    let key = new_key(KeyType::Ed25519);
    role(
        &mut bench,
        "take",
        &json!({"key_type": "any", "allowed_domains": "example.com", "allow_subdomains": true}),
    );
    let request = csr(&key, "a.example.com", &[dns("b.example.com"), dns("b.example.com")]);
    let answer =
        bench.write("pki/sign/take", &json!({"csr": request, "common_name": "c.example.com"}).to_string());
    assert_eq!(sans(&answer.data()["certificate"]), [dns("b.example.com"), dns("a.example.com")]);
    assert!(text(&answer.body["warnings"][0]).contains("use_csr_common_name"));
    let evil = csr(&key, "a.example.com", &[dns("b.example.org")]);
    assert!(refused(&mut bench, "sign/take", &json!({"csr": evil})).contains("b.example.org not allowed"));
}

#[test]
fn nothing_is_kept_where_the_role_says_so() {
    let mut bench = rooted();
    role(&mut bench, "gone", &json!({"allow_any_name": true, "no_store": true}));
    let before = stored(&bench);
    let made = ok(&mut bench, "issue/gone", &json!({"common_name": "a"}));
    assert_eq!(stored(&bench), before);
    assert_eq!(get(&mut bench, &format!("cert/{}", text(&made["serial_number"]))).status, 404);
}

#[test]
fn domains_are_filled_in_with_who_asks() {
    let mut bench = rooted();
    bench.write("sys/auth/userpass", r#"{"type":"userpass"}"#);
    let accessor = text(&bench.read("sys/auth").data()["userpass/"]["accessor"]).to_owned();
    bench.policy("web", "path \"pki/*\" { capabilities = [\"update\"] }");
    let mut token = |name: &str| {
        bench.write(&format!("auth/userpass/users/{name}"), r#"{"password":"p","token_policies":"web"}"#);
        let login =
            bench.ask("", Operation::Update, &format!("auth/userpass/login/{name}"), r#"{"password":"p"}"#);
        login.body["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    let (ada, star) = (token("ada"), token("*"));
    let named = format!("{{{{identity.entity.aliases.{accessor}.name}}}}");
    role(
        &mut bench,
        "own",
        &json!({
            "allowed_domains": format!("{named}.example.com,shared.example.com"), "allowed_domains_template": true,
            "allow_bare_domains": true, "allow_glob_domains": true,
            "allowed_uri_sans": format!("spiffe://example.com/{named}"), "allowed_uri_sans_template": true,
        }),
    );
    let mut issue = |token: &str, name: &str, uri: &str| {
        let body = json!({"common_name": name, "uri_sans": uri}).to_string();
        bench.ask(token, Operation::Update, "pki/issue/own", &body).status
    };
    assert_eq!(issue(&ada, "ada.example.com", ""), 200);
    assert_eq!(issue(&ada, "shared.example.com", "spiffe://example.com/ada"), 200);
    for (name, uri) in [("eve.example.com", ""), ("shared.example.com", "spiffe://example.com/eve")] {
        assert_eq!(issue(&ada, name, uri), 400, "{name} {uri}");
    }
    // A star in a name allows no more than the name.
    assert_eq!(issue(&star, "eve.example.com", ""), 400);
    assert_eq!(issue(&star, "shared.example.com", "spiffe://example.com/eve"), 400);
    let answer = bench.root(Operation::Update, "pki/issue/own", r#"{"common_name":"ada.example.com"}"#);
    assert_eq!(answer.status, 400, "who has no identity has no such name");
    let bad = json!({"allowed_domains": "{{identity.nothing.at.all}}", "allowed_domains_template": true});
    assert!(refused(&mut bench, "roles/bad", &bad).contains("template"));
}
