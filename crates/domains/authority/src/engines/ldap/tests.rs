use crate::act::{Act, Failure};
use crate::outside::ldap::{Answer as Said, Ask, Entry, Found, Versions};
use crate::request::Operation;
use crate::testing::{Answer, Bench};
use keyward_testkit::certificates::Authority;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// What was asked: who bound, below what was searched, for what.
type Asked = Rc<RefCell<Vec<(String, String, String)>>>;

const SERVICE: (&str, &str) = ("cn=keyward,dc=example,dc=com", "service-password");
const ADA: (&str, &str) = ("uid=ada,ou=users,dc=example,dc=com", "ada-password");

fn entry(dn: &str, attributes: &[(&str, &str)]) -> Entry {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in attributes {
        all.entry((*name).to_owned()).or_default().push((*value).to_owned());
    }
    Entry { dn: dn.to_owned(), attributes: all, bytes: BTreeMap::new() }
}

/// A directory that knows the service, Ada and her groups, by the texts of the filters it is to be asked with.
fn directory(bench: &mut Bench) -> Asked {
    let asked = Asked::default();
    let heard = asked.clone();
    bench.directory = Box::new(move |ask: &Ask| -> Said {
        let who = ask.bind.as_ref().map(|(name, _)| name.clone()).unwrap_or_default();
        let search = ask.search.as_ref();
        let text = |part: Option<&String>| part.cloned().unwrap_or_default();
        let (base, filter) = (text(search.map(|s| &s.base)), text(search.map(|s| &s.filter)));
        heard.borrow_mut().push((who, base, filter.clone()));
        if let Some((name, password)) = &ask.bind {
            let known = [SERVICE, ADA, ("ada@example.com", ADA.1), ("cn=ada\\,x,dc=example,dc=com", "p")];
            if !known.contains(&(name.as_str(), password.0.expose().as_str())) {
                return Ok(Found::Denied("code 49: invalidCredentials".to_owned()));
            }
        }
        Ok(Found::Entries(match filter.as_str() {
            "(uid=ada)" | "(userPrincipalName=ada@example.com)" => vec![entry(ADA.0, &[("uid", "ada")])],
            "(uid=twice)" => vec![entry("uid=a,dc=x", &[]), entry("uid=b,dc=x", &[])],
            "(uid=nameless)" => vec![entry(ADA.0, &[])],
            "(uid=empty)" => vec![entry("", &[("uid", "empty")])],
            "(member=uid=ada,ou=users,dc=example,dc=com)" => vec![
                entry("cn=Ops,ou=groups,dc=example,dc=com", &[("cn", "Ops")]),
                entry("cn=dev,ou=groups,dc=example,dc=com", &[]),
                entry("x", &[("cn", "cn=nested,dc=example,dc=com")]),
            ],
            _ => Vec::new(),
        }))
    });
    asked
}

fn bench(more: &Value) -> (Bench, Asked) {
    let mut bench = Bench::new();
    bench.write("sys/auth/ldap", r#"{"type":"ldap"}"#);
    let mut config = json!({
        "url": "ldaps://one.example.com,ldaps://two.example.com:1636", "binddn": SERVICE.0, "bindpass": SERVICE.1,
        "userdn": "ou=users,dc=example,dc=com", "userattr": "uid", "groupdn": "ou=groups,dc=example,dc=com",
        "groupfilter": "(member={{.UserDN}})", "token_policies": "everybody", "token_ttl": "1h",
    });
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    bench.write("auth/ldap/config", &config.to_string());
    let asked = directory(&mut bench);
    (bench, asked)
}

fn login(bench: &mut Bench, name: &str, password: &str) -> Answer {
    let body = json!({ "password": password }).to_string();
    bench.ask("", Operation::Update, &format!("auth/ldap/login/{name}"), &body)
}

fn policies(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["auth"]["policies"].clone()
}

#[test]
fn a_password_of_the_directory_logs_in() {
    let (mut bench, asked) = bench(&json!({}));
    for (group, policy) in [("ops", "p-ops"), ("DEV", "p-dev"), ("nested", "p-nested"), ("local", "p-local")]
    {
        bench.write(&format!("auth/ldap/groups/{group}"), &json!({ "policies": policy }).to_string());
    }
    bench.write("auth/ldap/users/Ada", r#"{"policies":"p-ada","groups":"local,unknown"}"#);
    let answer = login(&mut bench, "Ada", ADA.1);
    // The filter is asked for as the user wrote the name; the directory's own rules say whether case counts.
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = login(&mut bench, "ada", ADA.1);
    assert_eq!(
        policies(&answer),
        json!(["default", "everybody", "p-ada", "p-dev", "p-local", "p-nested", "p-ops"])
    );
    let auth = &answer.body["auth"];
    assert_eq!((&auth["metadata"], &auth["lease_duration"]), (&json!({"username": "ada"}), &json!(3600)));
    let users = "ou=users,dc=example,dc=com".to_owned();
    let (service, none) = (SERVICE.0.to_owned(), String::new());
    assert_eq!(
        asked.borrow()[1..],
        [
            (service.clone(), users, "(uid=ada)".to_owned()),
            (ADA.0.to_owned(), none.clone(), none),
            (service, "ou=groups,dc=example,dc=com".to_owned(), format!("(member={})", ADA.0)),
        ]
    );
    let again = login(&mut bench, "ada", ADA.1);
    assert_eq!(again.body["auth"]["entity_id"], auth["entity_id"]);
}

#[test]
fn nothing_is_told_about_who_is_known() {
    let (mut bench, _) = bench(&json!({}));
    for (name, password) in
        [("ada", "wrong"), ("nobody", ADA.1), ("twice", ADA.1), ("empty", ADA.1), (&"a".repeat(1100), ADA.1)]
    {
        let answer = login(&mut bench, name, password);
        assert_eq!(answer.status, 400, "{name:.20}");
        if name.len() < 1000 {
            assert_eq!(answer.errors(), "ldap operation failed: failed to bind as user", "{name}");
        }
    }
    assert!(login(&mut bench, "ada", "").errors().contains("zero length"));
    // Known, and of no use: for the operator.
    assert_eq!(login(&mut bench, "nameless", ADA.1).status, 403);
}

#[test]
fn groups_of_the_directory_are_identity_groups_and_names_are_locked() {
    let (mut bench, _) = bench(&json!({}));
    let accessor = bench.read("sys/auth").data()["ldap/"]["accessor"].clone();
    let group =
        bench.write("identity/group", r#"{"type":"external","policies":"from-ops"}"#).data()["id"].clone();
    let alias = json!({"name": "OPS", "mount_accessor": accessor, "canonical_id": group});
    bench.write("identity/group-alias", &alias.to_string());
    let auth = login(&mut bench, "ada", ADA.1).body["auth"].clone();
    assert_eq!(auth["identity_policies"], json!(["from-ops"]), "{auth}");
    for _ in 0..5 {
        assert_eq!(login(&mut bench, "Ada", ADA.1).status, 400, "the directory knows no such name");
    }
    assert_eq!(login(&mut bench, "ada", ADA.1).status, 403);
}

#[test]
fn names_are_values_and_nothing_else() {
    let (mut bench, asked) = bench(&json!({}));
    for (name, filter) in [
        ("*", "(uid=\\2a)"),
        ("ada)(uid=*", "(uid=ada\\29\\28uid=\\2a)"),
        ("ada)(|(uid=*", "(uid=ada\\29\\28|\\28uid=\\2a)"),
        ("a\\2a", "(uid=a\\5c2a)"),
    ] {
        assert_eq!(login(&mut bench, name, ADA.1).status, 400, "{name}");
        assert_eq!(asked.borrow().last().unwrap().2, filter);
    }
    let composed = json!({"binddn": "", "bindpass": "", "userdn": "dc=example,dc=com", "userattr": "cn"});
    bench.write("auth/ldap/config", &composed.to_string());
    asked.borrow_mut().clear();
    assert_eq!(login(&mut bench, "ada,x", "p").status, 200);
    assert_eq!(asked.borrow()[0].0, "cn=ada\\,x,dc=example,dc=com");
    assert_eq!(login(&mut bench, "ada,ou=users", ADA.1).status, 400);
    assert_eq!(asked.borrow().last().unwrap().0, "cn=ada\\,ou\\=users,dc=example,dc=com");
}

#[test]
fn users_may_bind_by_their_principal_name() {
    let (mut bench, asked) = bench(&json!({"binddn": "", "bindpass": "", "upndomain": "example.com"}));
    bench.write("auth/ldap/groups/ops", r#"{"policies":"p-ops"}"#);
    assert_eq!(policies(&login(&mut bench, "ada", ADA.1)), json!(["default", "everybody", "p-ops"]));
    let who: Vec<String> = asked.borrow().iter().map(|(who, _, _)| who.clone()).collect();
    assert_eq!(who, ["ada@example.com"; 3]);
}

#[test]
fn groups_may_be_searched_for_as_nobody() {
    let (mut bench, asked) = bench(&json!({"anonymous_group_search": true}));
    let answer = login(&mut bench, "ada", ADA.1);
    assert_eq!((answer.status, asked.borrow()[2].0.as_str()), (200, ""));
    bench.write("auth/ldap/config", r#"{"groupdn":""}"#);
    let answer = login(&mut bench, "ada", ADA.1);
    assert!(answer.body["warnings"][0].as_str().unwrap().contains("no LDAP groups found"));
    assert_eq!(asked.borrow().len(), 5);
}

#[test]
fn a_directory_that_fails_is_not_the_callers_business() {
    let (mut bench, _) = bench(&json!({}));
    bench.enable_audit(&[("log_raw", "false")]);
    bench.directory = Box::new(|_| Err("ldaps://one.example.com: connection refused".to_owned()));
    let answer = login(&mut bench, "ada", ADA.1);
    assert!(answer.status == 403 && answer.errors().contains("permission denied"), "{answer:?}");
    assert!(!answer.errors().contains("example.com"));
    assert!(!bench.records.iter().any(|record| record.contains(ADA.1) || record.contains(SERVICE.1)));
    bench.directory = Box::new(|ask| match &ask.bind {
        Some((name, _)) if name == SERVICE.0 => Ok(Found::Denied("code 49".to_owned())),
        _ => Ok(Found::Entries(Vec::new())),
    });
    assert_eq!(login(&mut bench, "ada", ADA.1).status, 403);
}

/// A certificate and its key in PEM.
fn shown(name: &str) -> (String, String) {
    let authority = Authority::new("clients").unwrap();
    let leaf = authority.issue(name, &[], &[]).unwrap();
    (leaf.certificate, leaf.key)
}

#[test]
fn how_the_directory_is_reached_is_handed_on() {
    let (chain, key) = shown("keyward");
    let settings = json!({
        "client_tls_cert": chain, "client_tls_key": key, "tls_max_version": "tls12", "max_page_size": 500,
    });
    let (mut bench, _) = bench(&settings);
    let read = bench.read("auth/ldap/config").data().clone();
    assert_eq!((&read["client_tls_cert"], &read["max_page_size"]), (&json!(chain), &json!(500)));
    assert!(read.get("client_tls_key").is_none());
    let seen = Rc::new(RefCell::new(Vec::new()));
    let heard = seen.clone();
    bench.directory = Box::new(move |ask: &Ask| {
        let identity = ask.server.identity.as_ref().map(|(chain, _)| chain.to_string());
        let page = ask.search.as_ref().map(|search| search.page);
        heard.borrow_mut().push((ask.server.versions, identity, page));
        Ok(Found::Entries(vec![entry(ADA.0, &[("uid", "ada")])]))
    });
    assert_eq!(login(&mut bench, "ada", ADA.1).status, 200);
    let pages = [Some(500), None, Some(500)];
    assert_eq!(*seen.borrow(), pages.map(|page| (Versions::Only12, Some(chain.clone()), page)));
}

#[test]
fn names_may_have_case() {
    let (mut bench, _) = bench(&json!({"case_sensitive_names": true}));
    for (group, policy) in [("Ops", "p-ops"), ("DEV", "p-dev")] {
        bench.write(&format!("auth/ldap/groups/{group}"), &json!({ "policies": policy }).to_string());
    }
    bench.write("auth/ldap/users/Ada", r#"{"policies":"p-ada"}"#);
    assert_eq!(bench.root(Operation::List, "auth/ldap/groups", "").data()["keys"], json!(["DEV", "Ops"]));
    assert_eq!(bench.root(Operation::Read, "auth/ldap/groups/ops", "").status, 404);
    assert_eq!(policies(&login(&mut bench, "ada", ADA.1)), json!(["default", "everybody", "p-ops"]));
    bench.root(Operation::Delete, "auth/ldap/groups/Ops", "");
    assert_eq!(policies(&login(&mut bench, "ada", ADA.1)), json!(["default", "everybody"]));
}

#[test]
fn active_directory_may_count_the_groups() {
    let (mut bench, _) = bench(&json!({"use_token_groups": true, "groupdn": ""}));
    bench.write("auth/ldap/groups/nested", r#"{"policies":"p-nested"}"#);
    let asked = Rc::new(RefCell::new(Vec::new()));
    let heard = asked.clone();
    bench.directory = Box::new(move |ask: &Ask| {
        let Some(search) = &ask.search else { return Ok(Found::Entries(Vec::new())) };
        heard.borrow_mut().push((search.base.clone(), search.alone, search.filter.clone()));
        let mut found = entry(ADA.0, &[("uid", "ada")]);
        let all: [&[u8]; 3] = [&[1, 5, 0, 0xff], &[1, 2, 0, 0x29], &[0; 100]];
        found.bytes.insert("tokengroups".to_owned(), all.map(<[u8]>::to_vec).to_vec());
        match search.filter.starts_with("(|") {
            true => Ok(Found::Entries(vec![entry("cn=Nested,dc=example,dc=com", &[("cn", "Nested")])])),
            false => Ok(Found::Entries(vec![found])),
        }
    });
    assert_eq!(policies(&login(&mut bench, "ada", ADA.1)), json!(["default", "everybody", "p-nested"]));
    let of = |base: &str, alone, filter: &str| (base.to_owned(), alone, filter.to_owned());
    assert_eq!(
        asked.borrow()[1..],
        [
            of(ADA.0, true, "(objectClass=*)"),
            of("dc=example,dc=com", false, "(|(objectSid=\\01\\02\\00\\29)(objectSid=\\01\\05\\00\\ff))"),
        ]
    );
}

#[test]
fn users_are_found_by_either_name_of_active_directory() {
    let names = json!({"upndomain": "example.com", "enable_samaccountname_login": true});
    let (mut bench, asked) = bench(&names);
    login(&mut bench, "ada)", ADA.1);
    let wanted = "(|(userPrincipalName=ada\\29@example.com)(sAMAccountName=ada\\29))";
    assert_eq!(asked.borrow()[0].2, wanted);
}

#[test]
fn the_configuration_is_checked() {
    let (mut bench, _) = bench(&json!({}));
    let before = bench.read("auth/ldap/config").data().clone();
    assert_eq!((&before["userattr"], &before["deny_null_bind"]), (&json!("uid"), &json!(true)));
    assert!(!before.to_string().contains(SERVICE.1) && before.get("bindpass").is_none());
    let (mine, other) = (shown("keyward"), shown("another").1);
    for (body, words) in [
        (json!({"url": "http://example.com"}), "url must be"),
        (json!({"url": "ldap://"}), "url must be"),
        (json!({"url": "ldapi:///run/slapd"}), "url must be"),
        (json!({"userfilter": "(uid={{.Name}})"}), "userfilter: the places"),
        (json!({"groupfilter": "(member={{.UserDN)"}), "groupfilter: the places"),
        (json!({"certificate": "none"}), "no certificate in PEM"),
        (json!({"request_timeout": "90s"}), "request_timeout must be from 1 to 30"),
        (json!({"connection_timeout": 0}), "connection_timeout must be from 1 to 30"),
        (json!({"deny_null_bind": false}), "deny_null_bind must be true"),
        (json!({"insecure_tls": true}), "insecure_tls"),
        (json!({"client_tls_cert": "x"}), "must be given together"),
        (json!({"client_tls_key": "x"}), "must be given together"),
        (json!({"client_tls_cert": "x", "client_tls_key": "x"}), "client_tls_cert has no certificate"),
        (json!({"client_tls_cert": mine.0, "client_tls_key": "x"}), "client_tls_key has no private key"),
        (json!({"client_tls_cert": mine.0, "client_tls_key": other}), "is not the key of client_tls_cert"),
        (json!({"tls_min_version": "tls10"}), "tls_min_version"),
        (json!({"tls_max_version": "tls11"}), "tls_max_version"),
        (json!({"tls_min_version": "tls13", "tls_max_version": "tls12"}), "cannot be above"),
        (json!({"dereference_aliases": "often"}), "dereference_aliases"),
        (json!({"max_page_size": 100_000}), "max_page_size"),
    ] {
        let answer = bench.root(Operation::Update, "auth/ldap/config", &body.to_string());
        assert!(answer.status == 400 && answer.errors().contains(words), "{body}: {answer:?}");
    }
    assert_eq!(bench.read("auth/ldap/config").data(), &before);
    let warned = bench.write("auth/ldap/config", r#"{"url":"ldap://example.com"}"#);
    assert!(warned.body["warnings"][0].as_str().unwrap().contains("unencrypted"));
    assert_eq!(bench.write("auth/ldap/config", r#"{"starttls":true}"#).status, 204);
    // What was not sent stays.
    assert_eq!(bench.read("auth/ldap/config").data()["binddn"], SERVICE.0);
}

#[test]
fn users_and_groups_are_kept() {
    let (mut bench, _) = bench(&json!({}));
    bench.write("auth/ldap/users/Bob", r#"{"policies":["B","a"],"groups":["Ops","dev"]}"#);
    assert_eq!(
        bench.read("auth/ldap/users/bob").data(),
        &json!({"policies": ["a", "b"], "groups": "Ops,dev"})
    );
    bench.write("auth/ldap/groups/ops", r#"{"policies":"a"}"#);
    assert_eq!(bench.read("auth/ldap/groups/OPS").data(), &json!({"policies": ["a"]}));
    assert_eq!(bench.root(Operation::List, "auth/ldap/users", "").data(), &json!({"keys": ["bob"]}));
    bench.root(Operation::Delete, "auth/ldap/users/bob", "");
    assert_eq!(bench.root(Operation::Read, "auth/ldap/users/bob", "").status, 404);
}

#[test]
fn tokens_are_renewed_without_asking() {
    let (mut bench, asked) = bench(&json!({}));
    let token = login(&mut bench, "ada", ADA.1).body["auth"]["client_token"].as_str().unwrap().to_owned();
    let before = asked.borrow().len();
    bench.write("auth/ldap/config", r#"{"token_ttl":"30m"}"#);
    let renewed = bench.ask(&token, Operation::Update, "auth/token/renew-self", "");
    assert_eq!((renewed.body["auth"]["lease_duration"].clone(), asked.borrow().len()), (json!(1800), before));
}

/// The password that the directory has for the service, how often it was asked to change it, and whether it says so.
#[derive(Default)]
struct Service {
    password: String,
    asked: usize,
    mute: bool,
    down: bool,
}

fn with_service(more: &Value) -> (Bench, Rc<RefCell<Service>>) {
    let (mut bench, _) = bench(more);
    let service = Rc::new(RefCell::new(Service { password: SERVICE.1.to_owned(), ..Service::default() }));
    let (told, world) = (service.clone(), service.clone());
    bench.deeds = Box::new(move |act| {
        let Act::Ldap(deed) = act else { panic!("{act:?}") };
        let mut service = told.borrow_mut();
        service.asked += 1;
        let knows = deed.passwords.iter().any(|one| *one.0.expose() == service.password);
        if service.down || deed.name != SERVICE.0 || !knows {
            return Err(Failure { why: "the directory refuses the bind".to_owned(), nothing_done: true });
        }
        service.password = deed.new.0.expose().clone();
        match service.mute {
            true => Err(Failure { why: "the connection was lost".to_owned(), nothing_done: false }),
            false => Ok(None),
        }
    });
    bench.directory = Box::new(move |ask: &Ask| {
        let Some((name, password)) = &ask.bind else { return Ok(Found::Entries(Vec::new())) };
        let given = || std::iter::once(password).chain(&ask.also);
        let wanted = if name == SERVICE.0 { world.borrow().password.clone() } else { ADA.1.to_owned() };
        match given().any(|one| *one.0.expose() == wanted) {
            true => Ok(Found::Entries(vec![entry(ADA.0, &[("uid", "ada")])])),
            false => Ok(Found::Denied("code 49".to_owned())),
        }
    });
    (bench, service)
}

#[test]
fn the_password_of_searches_is_changed() {
    let (mut bench, service) = with_service(&json!({}));
    bench.enable_audit(&[]);
    assert_eq!(bench.root(Operation::Update, "auth/ldap/config/rotate-root", "").status, 204);
    let new = service.borrow().password.clone();
    assert!(new != SERVICE.1 && new.len() >= 20, "{new}");
    assert_eq!(login(&mut bench, "ada", ADA.1).status, 200);
    // Whether it was done is not known: both passwords are tried until it is.
    service.borrow_mut().mute = true;
    assert!(bench.root(Operation::Update, "auth/ldap/rotate-root", "").status >= 500);
    assert_ne!(service.borrow().password, new);
    assert_eq!(login(&mut bench, "ada", ADA.1).status, 200);
    let set = service.borrow().password.clone();
    service.borrow_mut().mute = false;
    bench.pass(Duration::from_secs(61));
    assert_eq!((service.borrow().password.clone(), service.borrow().asked), (set.clone(), 3));
    bench.pass(Duration::from_secs(86_400));
    assert_eq!((login(&mut bench, "ada", ADA.1).status, service.borrow().asked), (200, 3));
    // What was refused leaves nothing behind.
    service.borrow_mut().down = true;
    let refused = bench.root(Operation::Update, "auth/ldap/config/rotate-root", "");
    assert!(refused.errors().contains("refuses the bind"), "{refused:?}");
    bench.pass(Duration::from_secs(86_400));
    assert_eq!(service.borrow().asked, 4);
    assert!(!bench.records.iter().any(|record| record.contains(&new) || record.contains(&set)));
}

#[test]
fn the_password_of_searches_is_changed_by_the_clock() {
    let (mut bench, service) = with_service(&json!({"rotation_period": "1h"}));
    let asked = || service.borrow().asked;
    bench.pass(Duration::from_secs(3599));
    assert_eq!(asked(), 0);
    for hours in 1..4 {
        bench.pass(Duration::from_secs(3600));
        assert_eq!((asked(), login(&mut bench, "ada", ADA.1).status), (hours, 200));
    }
    // Other settings leave it as it is.
    bench.write("auth/ldap/config", r#"{"userattr":"uid"}"#);
    service.borrow_mut().down = true;
    bench.pass(Duration::from_secs(3600));
    service.borrow_mut().down = false;
    assert_eq!(asked(), 4);
    bench.pass(Duration::from_secs(3600));
    assert_eq!(asked(), 5);
    bench.write("auth/ldap/config", r#"{"disable_automated_rotation":true}"#);
    bench.pass(Duration::from_secs(86_400));
    assert_eq!((asked(), login(&mut bench, "ada", ADA.1).status), (5, 200));
    let config = bench.read("auth/ldap/config").data().clone();
    assert_eq!(
        (&config["rotation_period"], &config["disable_automated_rotation"]),
        (&json!(3600), &json!(true))
    );
    assert_eq!(config["last_vault_rotation"], config["last_bind_password_rotation"]);
    assert!(config["last_vault_rotation"].is_string() && config["next_vault_rotation"].is_null());
    let nobody = json!({"disable_automated_rotation": false, "binddn": ""}).to_string();
    let refused = bench.root(Operation::Update, "auth/ldap/config", &nobody);
    assert!(refused.status == 400 && refused.errors().contains("no password to rotate"), "{refused:?}");
}

#[test]
fn guessing_locks_a_name() {
    let (mut bench, asked) = bench(&json!({}));
    for _ in 0..5 {
        assert_eq!(login(&mut bench, "ada", "wrong").status, 400);
    }
    let before = asked.borrow().len();
    // Whoever knows the password waits too, and the directory is left alone.
    assert_eq!((login(&mut bench, "ADA", ADA.1).status, asked.borrow().len()), (403, before));
    bench.pass(Duration::from_secs(901));
    assert_eq!(login(&mut bench, "ada", ADA.1).status, 200);
}

#[test]
fn groups_of_the_directory_are_groups_of_identities() {
    let (mut bench, _) = bench(&json!({}));
    let accessor = bench.read("sys/auth").data()["ldap/"]["accessor"].clone();
    let group = json!({"name": "operators", "type": "external", "policies": "p-operators"}).to_string();
    let id = bench.write("identity/group", &group).data()["id"].clone();
    let alias = json!({"name": "Ops", "mount_accessor": accessor, "canonical_id": id}).to_string();
    bench.write("identity/group-alias", &alias);
    let answer = login(&mut bench, "ada", ADA.1);
    assert_eq!(answer.body["auth"]["identity_policies"], json!(["p-operators"]), "{answer:?}");
}
