use crate::request::Operation;
use crate::testing::{Answer, Bench, now};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::SystemRandom;
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::x509::{
    Certificate, Extension, KeyUsages, NEVER, PublicKey, RevocationList, RevokedEntry, San, Scheme, Subject,
    Template, attribute, oid, pem,
};
use serde_json::{Value, json};
use std::time::Duration;

/// 2025-12-31: a day before the bench begins.
pub(super) const YESTERDAY: u64 = 1_767_139_200;
pub(super) const DAY: u64 = 86_400;

pub(super) struct Authority {
    pub(super) key: Key,
    pub(super) certificate: Certificate,
}

/// What a leaf says beside what all say.
pub(super) struct Leaf<'a> {
    pub(super) name: &'a str,
    pub(super) serial: u8,
    pub(super) sans: &'a [San],
    pub(super) usages: &'a [&'a str],
    pub(super) until: u64,
}

pub(super) const LEAF: Leaf<'static> =
    Leaf { name: "client", serial: 7, sans: &[], usages: &[oid::CLIENT_AUTH], until: YESTERDAY + 30 * DAY };

fn key() -> Key {
    Key::generate(KeyType::EcdsaP256, 0, &SystemRandom).unwrap()
}

fn subject(name: &str) -> Subject {
    let name: &[String] = &[name.to_owned()];
    let unit: &[String] = &["infra".to_owned()];
    let name = if name[0].is_empty() { &[] } else { name };
    Subject::new(&[(attribute::ORGANIZATIONAL_UNIT, unit), (attribute::COMMON_NAME, name)]).unwrap()
}

impl Authority {
    pub(super) fn root(name: &str) -> Authority {
        let (key, name) = (key(), subject(name));
        let certificate = Authority::certified(1, &key, &name, &name, &key);
        Authority { key, certificate }
    }

    fn certified(serial: u8, signer: &Key, issuer: &Subject, name: &Subject, key: &Key) -> Certificate {
        let public = PublicKey::of(key).unwrap();
        let template = Template {
            serial: &[serial],
            issuer,
            subject: name,
            not_before: YESTERDAY,
            not_after: YESTERDAY + 365 * DAY,
            spki: public.spki(),
            extensions: vec![
                Extension::key_usage(KeyUsages::AUTHORITY).unwrap(),
                Extension::basic_constraints(true, None).unwrap(),
                Extension::subject_key_id(&public.identifier()).unwrap(),
            ],
        };
        let scheme = Scheme::of(signer, 0, false).unwrap();
        Certificate::read(&template.sign(signer, scheme).unwrap()).unwrap()
    }

    /// An authority below this one.
    pub(super) fn below(&self, name: &str) -> Authority {
        let key = key();
        let issuer = self.certificate.subject();
        let certificate = Authority::certified(2, &self.key, issuer, &subject(name), &key);
        Authority { key, certificate }
    }

    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(super) fn issue(&self, leaf: &Leaf<'_>) -> Vec<u8> {
        self.issue_with(leaf, Vec::new())
    }

    pub(super) fn issue_with(&self, leaf: &Leaf<'_>, more: Vec<Extension>) -> Vec<u8> {
        let public = PublicKey::of(&key()).unwrap();
        let usages: Vec<String> = leaf.usages.iter().map(|oid| (*oid).to_owned()).collect();
        let mut extensions = vec![
            Extension::subject_key_id(&public.identifier()).unwrap(),
            Extension::authority_key_id(&self.certificate.key_id()).unwrap(),
            // A UTF8String "blue".
            Extension::raw("1.2.3.4", false, b"\x0c\x04blue").unwrap(),
        ];
        extensions.extend(more);
        if !usages.is_empty() {
            extensions.push(Extension::ext_key_usage(&usages).unwrap());
        }
        if !leaf.sans.is_empty() {
            extensions.push(Extension::alternative_names(leaf.sans, false).unwrap());
        }
        let template = Template {
            serial: &[leaf.serial],
            issuer: self.certificate.subject(),
            subject: &subject(leaf.name),
            not_before: YESTERDAY,
            not_after: leaf.until,
            spki: public.spki(),
            extensions,
        };
        template.sign(&self.key, Scheme::of(&self.key, 0, false).unwrap()).unwrap()
    }
}

pub(super) fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.write("sys/auth/cert", r#"{"type":"cert"}"#);
    assert!(now(&bench).secs() > YESTERDAY);
    bench
}

pub(super) fn entry(bench: &mut Bench, name: &str, body: &Value) {
    bench.write(&format!("auth/cert/certs/{name}"), &body.to_string());
}

pub(super) fn ask_with(
    bench: &mut Bench,
    token: &str,
    path: &str,
    body: &Value,
    chain: &[Vec<u8>],
) -> Answer {
    let mut request = bench.request(token, Operation::Update, path, &body.to_string());
    request.certificates = chain.into();
    bench.send(&request)
}

pub(super) fn login(bench: &mut Bench, chain: &[Vec<u8>]) -> Answer {
    ask_with(bench, "", "auth/cert/login", &json!({}), chain)
}

pub(super) fn refused(bench: &mut Bench, chain: &[Vec<u8>], words: &str) {
    let answer = login(bench, chain);
    assert!(answer.status == 400 && answer.errors().contains(words), "{words}: {answer:?}");
}

#[test]
fn a_certificate_of_a_trusted_authority_logs_in() {
    let (mut bench, root) = (bench(), Authority::root("root"));
    let between = root.below("between");
    entry(
        &mut bench,
        "Web",
        &json!({
            "certificate": root.pem(), "token_policies": "web", "token_ttl": "1h", "display_name": "shown",
            "allowed_metadata_extensions": "1.2.3.4,1.2.3.5", "required_extensions": ["1.2.3.4:bl*"],
        }),
    );
    let direct = root.issue(&LEAF);
    let answer = login(&mut bench, std::slice::from_ref(&direct));
    let auth = &answer.body["auth"];
    assert_eq!((answer.status, &auth["policies"]), (200, &json!(["default", "web"])), "{answer:?}");
    let metadata = &auth["metadata"];
    assert_eq!(metadata["common_name"], "client");
    assert_eq!((&metadata["cert_name"], &metadata["serial_number"]), (&json!("web"), &json!("7")));
    assert_eq!((&metadata["1-2-3-4"], &metadata["1-2-3-5"]), (&json!("blue"), &Value::Null));
    assert_eq!(metadata["authority_key_id"].as_str().map(str::len), Some(59));
    // Through an authority that the client shows too, in any order; without it there is no way.
    let far = between.issue(&LEAF);
    let link = between.certificate.der().to_vec();
    assert_eq!(login(&mut bench, &[far.clone(), direct, link]).status, 200);
    refused(&mut bench, &[far], "no trusted certificate issued it");
    refused(&mut bench, &[], "client certificate must be supplied");
    refused(&mut bench, &[b"no certificate".to_vec()], "malformed DER");
    refused(&mut bench, &[Authority::root("root").issue(&LEAF)], "no trusted certificate issued it");
}

#[test]
fn an_entry_may_be_named() {
    let (mut bench, one, two) = (bench(), Authority::root("one"), Authority::root("two"));
    entry(&mut bench, "a", &json!({"certificate": one.pem(), "allowed_names": "nobody"}));
    entry(&mut bench, "b", &json!({"certificate": format!("{}\n{}", two.pem(), one.pem())}));
    let leaf = [one.issue(&LEAF)];
    assert_eq!(login(&mut bench, &leaf).body["auth"]["metadata"]["cert_name"], "b");
    let named = |bench: &mut Bench, name: &str| {
        ask_with(bench, "", "auth/cert/login", &json!({ "name": name }), &leaf)
    };
    assert_eq!(named(&mut bench, "B").status, 200);
    assert!(named(&mut bench, "a").errors().ends_with("login certificate: allowed_names"));
    assert_eq!(named(&mut bench, "c").status, 400);
}

#[test]
fn time_and_usage_count() {
    let (mut bench, root) = (bench(), Authority::root("root"));
    entry(&mut bench, "web", &json!({"certificate": root.pem()}));
    let server = Leaf { usages: &["1.3.6.1.5.5.7.3.1"], ..LEAF };
    refused(&mut bench, &[root.issue(&server)], "extended key usage");
    assert_eq!(login(&mut bench, &[root.issue(&Leaf { usages: &[], ..LEAF })]).status, 200);
    refused(&mut bench, &[root.issue(&Leaf { until: YESTERDAY + 60, ..LEAF })], "no longer");
    refused(&mut bench, &[root.certificate.der().to_vec()], "extended key usage");
    // The authority's own time is over: nothing it issued counts any more.
    let long = root.issue(&Leaf { until: NEVER, ..LEAF });
    assert_eq!(login(&mut bench, std::slice::from_ref(&long)).status, 200);
    bench.pass(Duration::from_secs(366 * DAY));
    refused(&mut bench, &[long], "no longer");
}

#[test]
fn names_are_held_against_patterns() {
    let root = Authority::root("root");
    let sans = [
        San::Dns("a.example.com".to_owned()),
        San::Email("me@example.com".to_owned()),
        San::Uri("spiffe://example.com/ns/prod/sa/api".to_owned()),
    ];
    let leaf = [root.issue(&Leaf { sans: &sans, ..LEAF })];
    for (field, good, bad) in [
        ("allowed_names", "cl*", "x*"),
        ("allowed_names", "*.example.com", "*.example.org"),
        ("allowed_names", "x,me@*", "spiffe://*"),
        ("allowed_common_names", "x,client", "a.example.com"),
        ("allowed_dns_sans", "*.example.com", "client"),
        ("allowed_email_sans", "*@example.com", "a.example.com"),
        ("allowed_uri_sans", "spiffe://example.com/ns/prod/*", "spiffe://example.com/ns/dev/*"),
        ("allowed_organizational_units", "inf*", "client"),
        ("required_extensions", "1.2.3.4:*", "1.2.3.4:red,1.2.3.4:blue"),
        ("required_extensions", "1.2.3.4:blue", "1.2.3.5:*"),
    ] {
        let mut bench = bench();
        entry(&mut bench, "web", &json!({"certificate": root.pem(), field: good}));
        assert_eq!(login(&mut bench, &leaf).status, 200, "{field} {good}");
        entry(&mut bench, "web", &json!({ field: bad }));
        refused(&mut bench, &leaf, field);
    }
}

#[test]
fn names_of_other_kinds_do_no_harm() {
    let (mut bench, root) = (bench(), Authority::root("root"));
    entry(&mut bench, "web", &json!({"certificate": root.pem(), "allowed_dns_sans": "a.example.com"}));
    // A Kerberos principal, whose value is a sequence (RFC 4556), beside a DNS name.
    let principal =
        [&[0xa0, 0x0e][..], b"\x06\x06\x2b\x06\x01\x05\x02\x02", &[0xa0, 0x04, 0x30, 0x02, 0x05, 0x00]];
    let name = [&[0x82, 13][..], b"a.example.com"].concat();
    let names = [principal.concat(), name].concat();
    let value = [&[0x30, u8::try_from(names.len()).unwrap()][..], &names].concat();
    let extension = Extension::raw(oid::SUBJECT_ALT_NAME, false, &value).unwrap();
    let leaf = root.issue_with(&LEAF, vec![extension]);
    assert!(Certificate::read(&leaf).unwrap().alternative_names().is_err());
    assert_eq!(login(&mut bench, &[leaf]).status, 200);
}

#[test]
fn a_spiffe_id_is_an_identity() {
    let (mut bench, root) = (bench(), Authority::root("root"));
    entry(&mut bench, "mesh", &json!({"certificate": root.pem(), "alias_name_source": "spiffe_id"}));
    let id = |path: &str| San::Uri(format!("spiffe://example.com/{path}"));
    let svid =
        |bench: &mut Bench, sans: &[San]| login(bench, &[root.issue(&Leaf { name: "", sans, ..LEAF })]);
    let entity = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["auth"]["entity_id"].as_str().unwrap().to_owned()
    };
    let first = svid(&mut bench, &[id("a")]);
    assert_eq!(first.body["auth"]["metadata"]["spiffe_id"], "spiffe://example.com/a");
    let again = svid(&mut bench, &[id("a")]);
    assert_eq!(entity(&first), entity(&again));
    let other = svid(&mut bench, &[id("b")]);
    assert_ne!(entity(&first), entity(&other));
    // An X.509-SVID has one URI and no more.
    for sans in [&[][..], &[id("a"), id("b")], &[San::Uri("https://example.com".to_owned())]] {
        assert!(svid(&mut bench, sans).errors().contains("spiffe_id"));
    }
    entry(&mut bench, "mesh", &json!({"alias_name_source": "common_name"}));
    assert!(svid(&mut bench, &[id("a")]).errors().contains("no common name"));
}

#[test]
fn one_certificate_may_be_trusted_alone() {
    let (mut bench, root) = (bench(), Authority::root("root"));
    let pinned = root.issue(&LEAF);
    let text = pem::encode(pem::CERTIFICATE, &pinned);
    entry(&mut bench, "one", &json!({ "certificate": text }));
    assert_eq!(login(&mut bench, std::slice::from_ref(&pinned)).status, 200);
    refused(&mut bench, &[root.issue(&LEAF)], "no trusted certificate issued it");
    bench.pass(Duration::from_secs(31 * DAY));
    refused(&mut bench, &[pinned], "no longer");
    let server = root.issue(&Leaf { usages: &["1.3.6.1.5.5.7.3.1"], ..LEAF });
    let body = json!({ "certificate": pem::encode(pem::CERTIFICATE, &server) }).to_string();
    let answer = bench.root(Operation::Update, "auth/cert/certs/two", &body);
    assert!(answer.errors().contains("nonCA certificates should have TLS client authentication"));
}

#[test]
fn what_is_revoked_does_not_log_in() {
    let (mut bench, root) = (bench(), Authority::root("root"));
    let between = root.below("between");
    entry(&mut bench, "web", &json!({"certificate": root.pem()}));
    let list = |authority: &Authority, serial: &[u8]| {
        let list = RevocationList {
            issuer: authority.certificate.subject(),
            key_id: &authority.certificate.key_id(),
            number: 1,
            base: None,
            this_update: YESTERDAY,
            next_update: YESTERDAY + DAY,
            entries: vec![RevokedEntry { serial: serial.to_vec(), at: YESTERDAY, extensions: Vec::new() }],
            extensions: &[],
        };
        list.sign(&authority.key, Scheme::of(&authority.key, 0, false).unwrap()).unwrap()
    };
    let (good, bad) = (root.issue(&LEAF), root.issue(&Leaf { serial: 200, ..LEAF }));
    let far = [between.issue(&Leaf { serial: 200, ..LEAF }), between.certificate.der().to_vec()];
    let write = json!({"crl": pem::encode(pem::CRL, &list(&root, &[200]))}).to_string();
    bench.write("auth/cert/crls/mine", &write);
    assert_eq!(bench.read("auth/cert/crls/mine").data()["serials"], json!({"200": {}}));
    assert_eq!(login(&mut bench, std::slice::from_ref(&good)).status, 200);
    refused(&mut bench, std::slice::from_ref(&bad), "revoked");
    // The same number of another issuer is another certificate; an issuer that is revoked takes all it issued along.
    assert_eq!(login(&mut bench, &far).status, 200);
    bench.write("auth/cert/crls/mine", &json!({"crl": STANDARD.encode(list(&root, &[2]))}).to_string());
    assert_eq!(login(&mut bench, std::slice::from_ref(&bad)).status, 200);
    refused(&mut bench, &far, "revoked");
    assert_eq!(bench.root(Operation::List, "auth/cert/crls", "").data(), &json!({"keys": ["mine"]}));
    bench.root(Operation::Delete, "auth/cert/crls/mine", "");
    assert_eq!(login(&mut bench, &far).status, 200);
    for body in
        [json!({}), json!({"crl": "?"}), json!({"crl": "AAAA"}), json!({"url": "ftp://example.com/crl"})]
    {
        let answer = bench.root(Operation::Update, "auth/cert/crls/bad", &body.to_string());
        assert_eq!(answer.status, 400, "{body}");
    }
}

#[test]
fn a_token_is_renewed_by_who_logged_in() {
    let (mut bench, root) = (bench(), Authority::root("root"));
    entry(&mut bench, "web", &json!({"certificate": root.pem(), "token_ttl": "1h"}));
    let leaf = [root.issue(&LEAF)];
    let token = login(&mut bench, &leaf).body["auth"]["client_token"].as_str().unwrap().to_owned();
    let renew = |bench: &mut Bench, chain: &[Vec<u8>]| {
        ask_with(bench, &token, "auth/token/renew-self", &json!({}), chain)
    };
    assert_eq!(renew(&mut bench, &leaf).status, 200);
    // A new certificate for the same name by the same authority; not one for another name.
    assert_eq!(renew(&mut bench, &[root.issue(&Leaf { serial: 9, ..LEAF })]).status, 200);
    for stranger in
        [vec![root.issue(&Leaf { name: "other", ..LEAF })], vec![], vec![Authority::root("x").issue(&LEAF)]]
    {
        assert_eq!(renew(&mut bench, &stranger).status, 400);
    }
    bench.write("auth/cert/config", r#"{"disable_binding":true}"#);
    assert_eq!(renew(&mut bench, &[]).status, 200);
    bench.root(Operation::Delete, "auth/cert/certs/web", "");
    assert!(renew(&mut bench, &leaf).errors().contains("role web does not exist during renewal"));
}

#[test]
fn bad_entries_change_nothing() {
    let (mut bench, root) = (bench(), Authority::root("root"));
    entry(&mut bench, "web", &json!({"certificate": root.pem(), "allowed_names": "a"}));
    let before = bench.read("auth/cert/certs/web").data().clone();
    assert_eq!(
        (&before["allowed_names"], &before["alias_name_source"]),
        (&json!(["a"]), &json!("common_name"))
    );
    for (body, words) in [
        (json!({"certificate": ""}), "no certificate in PEM"),
        (json!({"certificate": "-----BEGIN CERTIFICATE-----\nAAAA"}), "damaged"),
        (json!({"certificate": pem::encode(pem::CERTIFICATE, b"odd")}), "malformed DER"),
        (json!({"required_extensions": "1.2.3"}), "OID:PATTERN"),
        (json!({"allowed_metadata_extensions": "blue"}), "not an OID"),
        (json!({"alias_name_source": "serial"}), "alias_name_source"),
        (json!({"ocsp_servers_override": "ldap://ocsp.example.com"}), "no http or https URL"),
        (json!({"ocsp_servers_override": ["http://a", "http://b", "http://c", "http://d"]}), "at most 3"),
        (json!({"ocsp_ca_certificates": "?"}), "ocsp_ca_certificates"),
        (json!({"ocsp_ca_certificates": pem::encode(pem::CERTIFICATE, b"odd")}), "ocsp_ca_certificates"),
        (json!({"ocsp_max_retries": -1}), "negative"),
    ] {
        let answer = bench.root(Operation::Update, "auth/cert/certs/web", &body.to_string());
        assert!(answer.status == 400 && answer.errors().contains(words), "{body}: {answer:?}");
    }
    assert_eq!(bench.read("auth/cert/certs/web").data(), &before);
}
