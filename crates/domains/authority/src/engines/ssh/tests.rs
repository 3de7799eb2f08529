use crate::request::Operation;
use crate::testing::{Answer, Bench};
use keyward_crypto::SystemRandom;
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::ssh::{PublicKey, private_text};
use serde_json::{Value, json};
use std::time::Duration;

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.write("sys/mounts/ssh", r#"{"type":"ssh"}"#);
    bench.write("ssh/config/ca", r#"{"key_type":"ed25519"}"#);
    bench
}

fn line(kind: KeyType) -> String {
    PublicKey::of(&Key::generate(kind, 0, &SystemRandom).unwrap()).unwrap().line()
}

fn role(bench: &mut Bench, more: &Value) {
    let mut role = json!({"key_type": "ca", "allow_user_certificates": true, "allowed_users": "ubuntu,root"});
    for (name, value) in more.as_object().unwrap() {
        role[name] = value.clone();
    }
    bench.write("ssh/roles/r", &role.to_string());
}

fn sign_as(bench: &mut Bench, token: &str, more: &Value) -> Answer {
    let mut body = json!({"public_key": line(KeyType::Ed25519), "valid_principals": "ubuntu"});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    bench.ask(token, Operation::Update, "ssh/sign/r", &body.to_string())
}

fn sign(bench: &mut Bench, more: &Value) -> Answer {
    let root = bench.root.clone();
    sign_as(bench, &root, more)
}

/// The texts in a certificate, one after the other: names, options, key id.
fn texts(answer: &Answer) -> String {
    use base64::Engine as _;
    assert_eq!(answer.status, 200, "{answer:?}");
    let signed = answer.data()["signed_key"].as_str().unwrap();
    let encoded = signed.split(' ').nth(1).unwrap().trim();
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn refused(answer: &Answer, words: &str) {
    assert!(answer.status == 400 && answer.errors().contains(words), "{words}: {answer:?}");
}

#[test]
fn a_key_is_signed_under_a_role() {
    let mut bench = bench();
    role(&mut bench, &json!({"default_extensions": {"permit-pty": ""}, "default_user": "ubuntu"}));
    let answer = sign(&mut bench, &json!({}));
    assert!(answer.data()["signed_key"].as_str().unwrap().starts_with("ssh-ed25519-cert-v01@openssh.com "));
    let said = texts(&answer);
    for part in ["ubuntu", "permit-pty", "vault-root-"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(u64::from_str_radix(answer.data()["serial_number"].as_str().unwrap(), 16).is_ok());
    assert!(texts(&sign(&mut bench, &json!({"valid_principals": null}))).contains("ubuntu"));
    refused(&sign(&mut bench, &json!({"public_key": "no key"})), "failed to parse public_key as SSH key");
    refused(&sign(&mut bench, &json!({"public_key": null})), "missing public_key");
    let unknown = bench.root(Operation::Update, "ssh/sign/x", "{}");
    refused(&unknown, "Unknown role: x");
}

#[test]
fn a_key_is_made_and_signed() {
    let mut bench = bench();
    role(&mut bench, &json!({}));
    for (kind, begins) in [("ed25519", "OPENSSH"), ("ec", "EC")] {
        let body = json!({"key_type": kind, "valid_principals": "root"}).to_string();
        let answer = bench.write("ssh/issue/r", &body);
        let private = answer.data()["private_key"].as_str().unwrap();
        assert!(private.starts_with(&format!("-----BEGIN {begins} PRIVATE KEY-----")), "{kind}");
        assert_eq!(answer.data()["private_key_type"], kind);
    }
    let odd = bench.root(Operation::Update, "ssh/issue/r", r#"{"key_type":"rsa","key_bits":1024}"#);
    refused(&odd, "there are no \"rsa\" keys of 1024 bits");
}

#[test]
fn principals_are_those_the_role_allows() {
    let mut bench = bench();
    role(&mut bench, &json!({}));
    refused(&sign(&mut bench, &json!({"valid_principals": "ubuntu,eve"})), "eve is not a valid value");
    refused(&sign(&mut bench, &json!({"valid_principals": ""})), "empty valid principals not allowed");
    refused(&sign(&mut bench, &json!({"cert_type": "host"})), "cert_type 'host' is not allowed by role");
    refused(&sign(&mut bench, &json!({"cert_type": "odd"})), "cert_type must be either");
    role(&mut bench, &json!({"allowed_users": ""}));
    refused(&sign(&mut bench, &json!({})), "role is not configured to allow any principals");
    role(&mut bench, &json!({"allowed_users": "*"}));
    assert!(texts(&sign(&mut bench, &json!({"valid_principals": "eve"}))).contains("eve"));
    refused(&sign(&mut bench, &json!({"valid_principals": ""})), "empty valid principals not allowed");
    role(&mut bench, &json!({"allowed_users": "*", "allow_empty_principals": true}));
    assert_eq!(sign(&mut bench, &json!({"valid_principals": ""})).status, 200);
    role(&mut bench, &json!({"default_user": "root"}));
    assert!(texts(&sign(&mut bench, &json!({"valid_principals": ""}))).contains("root"));

    let host = json!({"cert_type": "host"});
    let hosts = |bench: &mut Bench, more: Value| {
        role(bench, &more);
        let mut outcomes = Vec::new();
        for name in ["example.com", "a.example.com", "xexample.com", ".example.com", "example.org"] {
            let asked = json!({"cert_type": host["cert_type"], "valid_principals": name});
            outcomes.push(sign(bench, &asked).status == 200);
        }
        outcomes
    };
    let base = json!({"allow_host_certificates": true, "allowed_domains": "example.com"});
    assert_eq!(hosts(&mut bench, base), [false; 5]);
    let bare = json!({"allow_host_certificates": true, "allowed_domains": "example.com", "allow_bare_domains": true});
    assert_eq!(hosts(&mut bench, bare), [true, false, false, false, false]);
    let below =
        json!({"allow_host_certificates": true, "allowed_domains": "example.com", "allow_subdomains": true});
    assert_eq!(hosts(&mut bench, below), [false, true, false, false, false]);
}

#[test]
fn roles_are_what_was_written_under_names_with_case() {
    let mut bench = bench();
    // As in Vault, `update` is enough to make one.
    bench.policy("maker", r#"path "ssh/roles/*" { capabilities = ["update"] }"#);
    let maker = bench.token(&["maker"]);
    let body = json!({"key_type": "ca", "allow_user_certificates": true, "allowed_users": "ubuntu, root"});
    assert_eq!(bench.ask(&maker, Operation::Update, "ssh/roles/r", &body.to_string()).status, 204);
    assert_eq!(bench.read("ssh/roles/r").data()["allowed_users"], "ubuntu, root");
    assert!(texts(&sign(&mut bench, &json!({"valid_principals": "root"}))).contains("root"));
    bench.write("ssh/roles/R", &json!({"key_type": "otp", "default_user": "a", "port": 0}).to_string());
    assert_eq!(bench.read("ssh/roles/R").data()["port"], 22);
    assert_eq!(bench.read("ssh/roles/r").data()["key_type"], "ca");
    let keys = bench.root(Operation::List, "ssh/roles", "").data()["keys"].clone();
    assert_eq!(keys, json!(["R", "r"]));
    // A key without its type, as some clients send it.
    let line = line(KeyType::Ed25519);
    let bare = line.split(' ').nth(1).unwrap();
    assert_eq!(sign(&mut bench, &json!({"public_key": bare})).status, 200);
}

#[test]
fn options_and_extensions_are_those_the_role_allows() {
    let mut bench = bench();
    role(&mut bench, &json!({"default_critical_options": {"force-command": "/bin/default"}}));
    assert!(texts(&sign(&mut bench, &json!({}))).contains("/bin/default"));
    let own = json!({"critical_options": {"force-command": "/bin/own"}});
    assert!(texts(&sign(&mut bench, &own)).contains("/bin/own"));
    refused(&sign(&mut bench, &json!({"extensions": {"permit-pty": ""}})), "not on allowed list");
    role(
        &mut bench,
        &json!({"allowed_critical_options": "source-address", "allowed_extensions": "permit-pty,permit-user-rc"}),
    );
    refused(&sign(&mut bench, &own), "critical options not on allowed list");
    assert!(texts(&sign(&mut bench, &json!({"extensions": {"permit-pty": ""}}))).contains("permit-pty"));
    refused(
        &sign(&mut bench, &json!({"extensions": {"permit-x11-forwarding": ""}})),
        "permit-x11-forwarding",
    );
    refused(&sign(&mut bench, &json!({"key_id": "mine"})), "setting key_id is not allowed by role");
    role(
        &mut bench,
        &json!({"allow_user_key_ids": true, "key_id_format": "{{role_name}}+{{token_display_name}}"}),
    );
    assert!(texts(&sign(&mut bench, &json!({"key_id": "mine"}))).contains("mine"));
    assert!(texts(&sign(&mut bench, &json!({}))).contains("r+root"));
}

#[test]
fn names_may_come_from_an_identity() {
    let mut bench = bench();
    bench.policy("signer", r#"path "ssh/sign/r" { capabilities = ["update"] }"#);
    bench.write("sys/auth/userpass", r#"{"type":"userpass"}"#);
    let mounts = bench.read("sys/auth");
    let accessor = mounts.data()["userpass/"]["accessor"].as_str().unwrap().to_owned();
    let mut token = |name: &str| {
        bench.write(&format!("auth/userpass/users/{name}"), r#"{"password":"p","token_policies":"signer"}"#);
        let login =
            bench.ask("", Operation::Update, &format!("auth/userpass/login/{name}"), r#"{"password":"p"}"#);
        login.body["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    let (ada, comma) = (token("ada"), token("root,eve"));
    let named = format!("{{{{identity.entity.aliases.{accessor}.name}}}}");
    role(
        &mut bench,
        &json!({
            "allowed_users": format!("dev-{named}"), "allowed_users_template": true,
            "default_user": format!("dev-{named}"), "default_user_template": true,
            "default_extensions": {"login@example.com": named, "permit-pty": ""}, "default_extensions_template": true,
        }),
    );
    let said = texts(&sign_as(&mut bench, &ada, &json!({"valid_principals": null})));
    assert!(said.contains("dev-ada") && said.contains("login@example.com"), "{said}");
    assert_eq!(sign_as(&mut bench, &ada, &json!({"valid_principals": "dev-ada"})).status, 200);
    refused(&sign_as(&mut bench, &ada, &json!({"valid_principals": "dev-eve"})), "not a valid value");
    // A comma in a name makes no second one.
    refused(&sign_as(&mut bench, &comma, &json!({"valid_principals": "eve"})), "not a valid value");
    // Who has no identity has no such name.
    refused(&sign(&mut bench, &json!({"valid_principals": "dev-"})), "role is not configured to allow any");
    refused(&sign(&mut bench, &json!({"valid_principals": null})), "empty valid principals not allowed");
    role(
        &mut bench,
        &json!({"default_extensions": {"a@example.com": named, "permit-pty": ""}, "default_extensions_template": true}),
    );
    let answer = sign(&mut bench, &json!({}));
    assert!(answer.body["warnings"][0].as_str().unwrap().contains("lacked identity entity information"));
    assert!(!texts(&answer).contains("a@example.com"));
}

#[test]
fn only_keys_the_role_allows_are_signed() {
    let (ed, p256, p384) = (line(KeyType::Ed25519), line(KeyType::EcdsaP256), line(KeyType::EcdsaP384));
    let rsa = line(KeyType::Rsa2048);
    for (allowed, wanted) in [
        (json!({}), [true, true, true, true]),
        (json!({"ed25519": 0}), [true, false, false, false]),
        (json!({"ec": [256]}), [false, true, false, false]),
        (json!({"ecdsa-sha2-nistp384": 0}), [false, false, true, false]),
        (json!({"rsa": "2048"}), [false, false, false, true]),
        (json!({"rsa": "2048, 3072", "ec": "384,521"}), [false, false, true, true]),
        (json!({"ssh-rsa": [3072, 4096]}), [false, false, false, false]),
        (json!("{\"rsa\": 2048, \"ssh-ed25519\": 0}"), [true, false, false, true]),
    ] {
        let mut bench = bench();
        role(&mut bench, &json!({ "allowed_user_key_lengths": allowed }));
        let signed: Vec<bool> = [&ed, &p256, &p384, &rsa]
            .map(|key| sign(&mut bench, &json!({ "public_key": key })).status == 200)
            .into();
        assert_eq!(signed, wanted, "{allowed}");
    }
}

#[test]
fn certificates_live_as_long_as_the_role_allows() {
    let mut bench = bench();
    role(&mut bench, &json!({"ttl": "1h", "max_ttl": "2h"}));
    assert_eq!(sign(&mut bench, &json!({"ttl": "2h"})).status, 200);
    refused(&sign(&mut bench, &json!({"ttl": "3h"})), "ttl is larger than maximum allowed 7200");
    let body = json!({"key_type": "ca", "allow_user_certificates": true, "ttl": "2h", "max_ttl": "1h"});
    refused(&bench.root(Operation::Update, "ssh/roles/r", &body.to_string()), "must be less than");
}

#[test]
fn roles_are_replaced_whole() {
    let mut bench = bench();
    role(&mut bench, &json!({"default_user": "root", "allowed_user_key_lengths": {"rsa": [4096]}}));
    let shown = bench.read("ssh/roles/r").data().clone();
    assert_eq!((&shown["default_user"], &shown["not_before_duration"]), (&json!("root"), &json!(30)));
    assert_eq!(shown["allowed_user_key_lengths"], json!({"rsa": [4096]}));
    for (body, words) in [
        (json!({}), "missing key type"),
        (json!({"key_type": "dynamic"}), "set key_type=ca or key_type=otp"),
        (json!({"key_type": "ca"}), "must be set to 'true'"),
        (json!({"key_type": "ca", "allow_user_certificates": true, "algorithm_signer": "ssh-rsa"}), "SHA-1"),
        (
            json!({"key_type": "ca", "allow_user_certificates": true, "algorithm_signer": "odd"}),
            "unknown algorithm",
        ),
        (
            json!({"key_type": "ca", "allow_user_certificates": true, "allowed_user_key_lengths": []}),
            "object",
        ),
    ] {
        refused(&bench.root(Operation::Update, "ssh/roles/r", &body.to_string()), words);
    }
    assert_eq!(bench.read("ssh/roles/r").data(), &shown);
    role(&mut bench, &json!({}));
    assert_eq!(bench.read("ssh/roles/r").data()["default_user"], "");
    let listed = bench.root(Operation::List, "ssh/roles", "");
    assert_eq!(listed.data(), &json!({"keys": ["r"], "key_info": {"r": {"key_type": "ca"}}}));
    bench.root(Operation::Delete, "ssh/roles/r", "");
    assert_eq!(bench.root(Operation::Read, "ssh/roles/r", "").status, 404);
}

#[test]
fn the_authority_is_made_or_given() {
    let mut bench = Bench::new();
    bench.write("sys/mounts/ssh", r#"{"type":"ssh"}"#);
    refused(&bench.root(Operation::Read, "ssh/config/ca", ""), "haven't been configured yet");
    assert_eq!(bench.ask("", Operation::Read, "ssh/public_key", "").status, 404);
    let key = Key::generate(KeyType::EcdsaP256, 0, &SystemRandom).unwrap();
    let (private, public) = (private_text(&key).unwrap(), PublicKey::of(&key).unwrap().line());
    let private = private.expose();
    for (body, words) in [
        (json!({"generate_signing_key": true, "public_key": public}), "must not be set when"),
        (json!({"public_key": public}), "only one of public_key and private_key set"),
        (json!({"generate_signing_key": false}), "missing public_key"),
        (json!({"public_key": public, "private_key": "odd"}), "could not parse private_key provided"),
        (json!({"public_key": "odd", "private_key": private}), "could not parse public_key provided"),
        (json!({"public_key": line(KeyType::Ed25519), "private_key": private}), "not that of private_key"),
        (json!({"key_type": "dsa"}), "there are no \"dsa\" keys"),
        (json!({"managed_key_name": "hsm"}), "keys in other systems are not available"),
    ] {
        refused(&bench.root(Operation::Update, "ssh/config/ca", &body.to_string()), words);
    }
    bench.write("ssh/config/ca", &json!({"public_key": public, "private_key": private}).to_string());
    assert_eq!(bench.read("ssh/config/ca").data()["public_key"], format!("{public}\n"));
    refused(&bench.root(Operation::Update, "ssh/config/ca", "{}"), "keys are already configured");
    // Whoever is to trust it has no token.
    let request = bench.request("", Operation::Read, "ssh/public_key", "");
    let answer = bench.answer(&request).unwrap().verbatim.unwrap();
    assert_eq!((answer.content_type, answer.body), ("text/plain", format!("{public}\n").into_bytes()));
    bench.root(Operation::Delete, "ssh/config/ca", "");
    let made = bench.write("ssh/config/ca", r#"{"generate_signing_key":true,"key_type":"ed25519"}"#);
    assert!(made.data()["public_key"].as_str().unwrap().starts_with("ssh-ed25519 "));
}

fn password(bench: &mut Bench, body: &Value) -> Answer {
    bench.root(Operation::Update, "ssh/creds/login", &body.to_string())
}

fn verify(bench: &mut Bench, password: &Value) -> Answer {
    bench.ask("", Operation::Update, "ssh/verify", &json!({ "otp": password }).to_string())
}

fn bench_of_passwords() -> Bench {
    let mut bench = bench();
    let role = json!({
        "key_type": "otp", "default_user": "ubuntu", "allowed_users": "root,ops", "cidr_list": "10.0.0.0/8,fd00::/8",
        "exclude_cidr_list": "10.1.0.0/16",
    });
    bench.write("ssh/roles/login", &role.to_string());
    bench
}

#[test]
fn a_password_is_good_once() {
    let mut bench = bench_of_passwords();
    let made = password(&mut bench, &json!({ "ip": "10.2.3.4" }));
    let (key, data) = (made.data()["key"].clone(), made.data().clone());
    assert_eq!(
        (&data["username"], &data["ip"], &data["port"]),
        (&json!("ubuntu"), &json!("10.2.3.4"), &json!(22))
    );
    assert_eq!((&data["key_type"], &made.body["renewable"]), (&json!("otp"), &json!(false)));
    let stored = bench.store.entries().map(|(name, _)| String::from_utf8_lossy(name).into_owned());
    assert!(stored.into_iter().all(|name| !name.contains(key.as_str().unwrap())));
    let verified = verify(&mut bench, &key);
    assert_eq!(*verified.data(), json!({ "ip": "10.2.3.4", "username": "ubuntu", "role_name": "login" }));
    refused(&verify(&mut bench, &key), "OTP not found");
    refused(&verify(&mut bench, &json!("guessed")), "OTP not found");
    assert_eq!(verify(&mut bench, &json!("verify-echo-request")).data()["message"], "verify-echo-response");
    let lease = json!({ "lease_id": made.body["lease_id"] }).to_string();
    refused(&bench.root(Operation::Update, "sys/leases/renew", &lease), "not renewable");
}

#[test]
fn a_password_ends_with_its_lease() {
    let mut bench = bench_of_passwords();
    bench.write("sys/mounts/ssh/tune", r#"{"default_lease_ttl":"10m"}"#);
    let made = password(&mut bench, &json!({ "ip": "fd00::1", "username": "ops" }));
    assert_eq!((&made.data()["username"], &made.body["lease_duration"]), (&json!("ops"), &json!(600)));
    bench.clock.advance(Duration::from_secs(600));
    refused(&verify(&mut bench, &made.data()["key"]), "OTP not found");
    bench.pass(Duration::ZERO);
    assert_eq!(bench.count("lease/"), 0);
    let made = password(&mut bench, &json!({ "ip": "fd00::1" }));
    bench.write("sys/leases/revoke", &json!({ "lease_id": made.body["lease_id"] }).to_string());
    refused(&verify(&mut bench, &made.data()["key"]), "OTP not found");
    assert_eq!(
        bench.store.entries().filter(|(name, _)| name.windows(5).any(|part| part == b"/otp/")).count(),
        0
    );
}

#[test]
fn passwords_are_for_servers_and_users_that_the_role_names() {
    let mut bench = bench_of_passwords();
    for (body, words) in [
        (json!({}), "missing ip"),
        (json!({ "ip": "server" }), "ip must be an address"),
        (json!({ "ip": "192.168.0.1" }), "does not belong to role"),
        (json!({ "ip": "10.1.0.1" }), "does not belong to role"),
        (json!({ "ip": "10.2.0.1", "username": "admin" }), "not present in allowed users"),
    ] {
        refused(&password(&mut bench, &body), words);
    }
    let roles = |bench: &mut Bench, ip: &str| {
        let body = json!({ "ip": ip }).to_string();
        bench.root(Operation::Update, "ssh/lookup", &body).data()["roles"].clone()
    };
    assert_eq!((roles(&mut bench, "10.2.0.1"), roles(&mut bench, "10.1.0.1")), (json!(["login"]), json!([])));
    role(&mut bench, &json!({}));
    for (body, words) in [(json!({}), "missing roles"), (json!({ "roles": "r" }), "not of the type otp")] {
        refused(&bench.root(Operation::Update, "ssh/config/zeroaddress", &body.to_string()), words);
    }
    // A role that is made anew is another one.
    let again = bench.read("ssh/roles/login").data().to_string();
    bench.write("ssh/config/zeroaddress", r#"{"roles":"login"}"#);
    bench.root(Operation::Delete, "ssh/roles/login", "");
    assert_eq!(bench.read("ssh/config/zeroaddress").data()["roles"], json!([]));
    bench.write("ssh/roles/login", &again);
    refused(&password(&mut bench, &json!({ "ip": "192.168.0.1" })), "does not belong");
    let mapped = password(&mut bench, &json!({ "ip": "::ffff:10.2.3.4" }));
    assert_eq!(mapped.data()["ip"], "10.2.3.4");
    bench.write("ssh/config/zeroaddress", r#"{"roles":"login"}"#);
    assert_eq!(bench.read("ssh/config/zeroaddress").data()["roles"], json!(["login"]));
    assert_eq!(roles(&mut bench, "192.168.0.1"), json!(["login"]));
    assert_eq!(password(&mut bench, &json!({ "ip": "192.168.0.1" })).status, 200);
    assert_eq!(bench.root(Operation::Delete, "ssh/config/zeroaddress", "").status, 204);
    refused(&password(&mut bench, &json!({ "ip": "192.168.0.1" })), "does not belong");
    refused(&bench.root(Operation::Update, "ssh/creds/r", r#"{"ip":"10.0.0.1"}"#), "is for certificates");
    let key = json!({ "public_key": line(KeyType::Ed25519) }).to_string();
    refused(&bench.root(Operation::Update, "ssh/sign/login", &key), "signs no keys");
    for (more, words) in [
        (json!({ "default_user": "" }), "missing default user"),
        (json!({ "cidr_list": "x" }), "neither an address nor a network"),
        (json!({ "port": 70_000 }), "port must be"),
        (json!({ "port": -1 }), "port must be"),
    ] {
        let mut body = json!({ "key_type": "otp", "default_user": "a" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        refused(&bench.root(Operation::Update, "ssh/roles/x", &body.to_string()), words);
    }
    assert_eq!(bench.read("ssh/roles/login").data()["cidr_list"], "10.0.0.0/8,fd00::/8");
}
