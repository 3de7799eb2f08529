//! Logins by LDAP, with a real slapd: over TLS, with hostile names, and with directories that are dead or slow.

use crate::hvac::passes_with;
use keyward_testkit::certificates::Authority;
use keyward_testkit::packages::{self, SLAPD};
use keyward_testkit::process::{Process, free_port, run, wait_for};
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use keyward_tests::http::Client;
use keyward_tests::server::{SOON, Server};
use serde_json::{Value, json};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const ENTRIES: &str = "dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: cn=keyward,dc=example,dc=com
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: keyward
userPassword: service-password

dn: ou=users,dc=example,dc=com
objectClass: organizationalUnit
ou: users

dn: uid=ada,ou=users,dc=example,dc=com
objectClass: inetOrgPerson
objectClass: counted
tokenGroups:: AQUAAAAAAAUVAAAAqrsoKSoAXP8BAgMEUQQAAA==
uid: ada
cn: Ada
sn: Lovelace
userPassword: ada-password

dn: uid=o\\2c star* (x),ou=users,dc=example,dc=com
objectClass: inetOrgPerson
uid: o, star* (x)
cn: Odd
sn: Odd
userPassword: odd-password

dn: ou=groups,dc=example,dc=com
objectClass: organizationalUnit
ou: groups

dn: cn=ops,ou=groups,dc=example,dc=com
objectClass: groupOfNames
cn: ops
member: uid=ada,ou=users,dc=example,dc=com

dn: cn=dev,ou=groups,dc=example,dc=com
objectClass: groupOfNames
cn: dev
member: uid=ada,ou=users,dc=example,dc=com

dn: cn=Nested,ou=groups,dc=example,dc=com
objectClass: groupOfNames
objectClass: counted
objectSid:: AQUAAAAAAAUVAAAAqrsoKSoAXP8BAgMEUQQAAA==
cn: Nested
member: cn=ops,ou=groups,dc=example,dc=com

dn: cn=odd,ou=groups,dc=example,dc=com
objectClass: groupOfNames
cn: odd
member: uid=o\\2c star* (x),ou=users,dc=example,dc=com
";

/// What Active Directory has for groups; it is of no schema that comes with slapd.
const SCHEMA: &str = "attributetype ( 1.3.6.1.4.1.4203.666.1.1 NAME 'tokenGroups' EQUALITY octetStringMatch \
     SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
attributetype ( 1.3.6.1.4.1.4203.666.1.2 NAME 'objectSid' EQUALITY octetStringMatch \
     SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.4203.666.2.1 NAME 'counted' SUP top AUXILIARY MAY ( tokenGroups $ objectSid ) )
";

/// A directory that ends with its test.
struct Directory {
    _process: Process,
    folder: tempfile::TempDir,
    plain: u16,
    secure: u16,
}

fn finished(command: &mut Command) {
    let done = run(command, b"", Duration::from_secs(60)).unwrap();
    assert!(done.status.success(), "{command:?}: {}", done.stderr);
}

fn slapd() -> Directory {
    slapd_with("")
}

/// With more settings.
fn slapd_with(more: &str) -> Directory {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let authority = Authority::new("directory authority").unwrap();
    let leaf = authority.issue("slapd", &[], &["localhost", "127.0.0.1"]).unwrap();
    let client = authority.issue("keyward", &[], &[]).unwrap();
    for (name, text) in [
        ("ca.crt", &authority.certificate()),
        ("tls.crt", &leaf.certificate),
        ("tls.key", &leaf.key),
        ("client.crt", &client.certificate),
        ("client.key", &client.key),
        ("counted.schema", &SCHEMA.to_owned()),
    ] {
        fs::write(at.join(name), text).unwrap();
    }
    fs::create_dir(at.join("data")).unwrap();
    fs::write(at.join("entries.ldif"), ENTRIES).unwrap();
    let show = at.display();
    let config = format!(
        "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
         include /etc/ldap/schema/inetorgperson.schema\ninclude {show}/counted.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
         TLSCACertificateFile {show}/ca.crt\nTLSCertificateFile {show}/tls.crt\nTLSCertificateKeyFile {show}/tls.key\n{more}\
         database mdb\nsuffix dc=example,dc=com\ndirectory {show}/data\n\
         access to attrs=userPassword by self write by anonymous auth by * none\n\
         access to * by dn.exact=cn=keyward,dc=example,dc=com read by self read by * none\n"
    );
    fs::write(at.join("slapd.conf"), config).unwrap();
    finished(
        Command::new("/usr/sbin/slapadd")
            .arg("-f")
            .arg(at.join("slapd.conf"))
            .arg("-l")
            .arg(at.join("entries.ldif")),
    );
    let (plain, secure) = (free_port().unwrap(), free_port().unwrap());
    let mut command = Command::new("/usr/sbin/slapd");
    command.args(["-d", "0", "-h", &format!("ldap://127.0.0.1:{plain} ldaps://127.0.0.1:{secure}"), "-f"]);
    let process = Process::spawn(command.arg(at.join("slapd.conf")), &at.join("slapd.log")).unwrap();
    for port in [plain, secure] {
        let up = wait_for("slapd", SOON, || TcpStream::connect(("127.0.0.1", port)).ok());
        up.unwrap_or_else(|late| panic!("{late}: {}", process.output().unwrap()));
    }
    Directory { _process: process, folder, plain, secure }
}

fn configured(server: &Server, url: &str, more: &Value) -> Client {
    let root = server.root();
    let _ = root.write("sys/auth/ldap", &json!({"type": "ldap"}));
    let mut config = json!({
        "url": url, "binddn": "cn=keyward,dc=example,dc=com", "bindpass": "service-password",
        "userdn": "ou=users,dc=example,dc=com", "userattr": "uid", "groupdn": "ou=groups,dc=example,dc=com",
    });
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    let answer = root.write("auth/ldap/config", &config);
    assert!(answer.status < 300, "{}", String::from_utf8_lossy(&answer.body));
    root
}

fn ca(directory: &Directory) -> String {
    file(directory, "ca.crt")
}

fn file(directory: &Directory, name: &str) -> String {
    fs::read_to_string(directory.folder.path().join(name)).unwrap()
}

fn give(root: &Client, groups: &[&str]) {
    for group in groups {
        root.write(&format!("auth/ldap/groups/{group}"), &json!({ "policies": format!("p-{group}") }))
            .expect(204);
    }
}

/// The path's name as a URL has it.
fn login(server: &Server, name: &str, password: &str) -> (u16, Value) {
    let answer = server.guest().write(&format!("auth/ldap/login/{name}"), &json!({ "password": password }));
    (answer.status, answer.json())
}

#[test]
fn users_of_a_directory_log_in() {
    if !require(packages::install(SLAPD)) {
        return;
    }
    let (directory, server) = (slapd(), Server::dev());
    let secure = format!("ldaps://localhost:{}", directory.secure);
    let root = configured(&server, &secure, &json!({ "certificate": ca(&directory) }));
    give(&root, &["ops", "odd"]);
    let (status, body) = login(&server, "ada", "ada-password");
    assert_eq!((status, &body["auth"]["policies"]), (200, &json!(["default", "p-ops"])), "{body}");
    // A name full of what means something in filters and names is a name; nothing in it widens a search.
    let odd = "o%2C%20star%2A%20%28x%29";
    let (status, body) = login(&server, odd, "odd-password");
    assert_eq!((status, &body["auth"]["policies"]), (200, &json!(["default", "p-odd"])), "{body}");
    for (name, password) in [
        ("ada", "wrong"),
        ("ada", "odd-password"),
        ("nobody", "ada-password"),
        ("%2A", "ada-password"),
        ("a%2A", "ada-password"),
        ("ada%29%28uid%3D%2A", "ada-password"),
        ("%2A%29%28cn%3DAda", "ada-password"),
    ] {
        let (status, body) = login(&server, name, password);
        assert_eq!(
            (status, &body["errors"][0]),
            (400, &json!("ldap operation failed: failed to bind as user"))
        );
    }
    assert_eq!(login(&server, "ada", "").0, 400);
    // Without a service account: the name is put together, and the user searches.
    let composed = json!({"binddn": "", "bindpass": "", "certificate": ca(&directory), "groupdn": ""});
    configured(&server, &secure, &composed);
    assert_eq!(login(&server, "ada", "ada-password").0, 200);
    assert_eq!(login(&server, odd, "odd-password").0, 200);
    assert_eq!(login(&server, "ada%2Cou%3Dusers", "ada-password").0, 400);
}

#[test]
fn passwords_travel_by_tls() {
    if !require(packages::install(SLAPD)) {
        return;
    }
    let (directory, server) = (slapd(), Server::dev());
    let plain = format!("ldap://localhost:{}", directory.plain);
    configured(&server, &plain, &json!({"starttls": true, "certificate": ca(&directory)}));
    assert_eq!(login(&server, "ada", "ada-password").0, 200);
    configured(&server, &plain, &json!({"tls_min_version": "tls13"}));
    assert_eq!(login(&server, "ada", "ada-password").0, 200);
    // Another authority's word, and a name that the certificate does not have.
    let stranger = Authority::new("another authority").unwrap().certificate();
    let secure = format!("ldaps://localhost:{}", directory.secure);
    for (url, certificate) in [(&plain, stranger.clone()), (&secure, stranger)] {
        configured(&server, url, &json!({ "certificate": certificate }));
        let (status, body) = login(&server, "ada", "ada-password");
        assert_eq!((status, body["errors"][0].as_str().unwrap().contains("permission denied")), (403, true));
    }
    assert!(server.output().contains("the directory cannot be asked"), "{}", server.output());
    assert!(!server.output().contains("ada-password") && !server.output().contains("service-password"));
}

#[test]
fn a_directory_may_ask_who_asks() {
    if !require(packages::install(SLAPD)) {
        return;
    }
    let (directory, server) = (slapd_with("TLSVerifyClient demand\n"), Server::dev());
    let secure = format!("ldaps://localhost:{}", directory.secure);
    configured(&server, &secure, &json!({ "certificate": ca(&directory) }));
    assert_eq!(login(&server, "ada", "ada-password").0, 403);
    let (chain, key) = (file(&directory, "client.crt"), file(&directory, "client.key"));
    let root = configured(&server, &secure, &json!({ "client_tls_cert": chain, "client_tls_key": key }));
    assert_eq!(login(&server, "ada", "ada-password").0, 200, "{}", server.output());
    for version in ["tls12", "tls13"] {
        let only = json!({ "tls_min_version": version, "tls_max_version": version });
        root.write("auth/ldap/config", &only).expect(204);
        assert_eq!(login(&server, "ada", "ada-password").0, 200, "{version}: {}", server.output());
    }
    let shown = root.read("auth/ldap/config").expect(200).json();
    assert!(shown["data"]["client_tls_cert"] == chain && !shown.to_string().contains("PRIVATE KEY"));
}

#[test]
fn groups_come_in_pages_or_as_the_directory_counts_them() {
    if !require(packages::install(SLAPD)) {
        return;
    }
    let (directory, server) = (slapd(), Server::dev());
    let plain = format!("ldap://127.0.0.1:{}", directory.plain);
    let root = configured(&server, &plain, &json!({ "max_page_size": 1 }));
    give(&root, &["ops", "dev", "nested"]);
    let granted = || login(&server, "ada", "ada-password").1["auth"]["policies"].clone();
    assert_eq!(granted(), json!(["default", "p-dev", "p-ops"]), "{}", server.output());
    configured(&server, &plain, &json!({ "use_token_groups": true }));
    assert_eq!(granted(), json!(["default", "p-nested"]), "{}", server.output());
    configured(&server, &plain, &json!({ "use_token_groups": false, "case_sensitive_names": true }));
    give(&root, &["OPS"]);
    assert_eq!(granted(), json!(["default", "p-dev", "p-ops"]));
}

#[test]
fn the_password_of_searches_is_changed() {
    if !require(packages::install(SLAPD)) {
        return;
    }
    let (directory, server) = (slapd(), Server::dev());
    let plain = format!("ldap://127.0.0.1:{}", directory.plain);
    let root = configured(&server, &plain, &json!({}));
    root.write("auth/ldap/config/rotate-root", &json!({})).expect(204);
    assert_eq!(login(&server, "ada", "ada-password").0, 200, "{}", server.output());
    let shown = root.read("auth/ldap/config").expect(200).json();
    assert!(shown["data"]["last_bind_password_rotation"].is_string(), "{shown}");
    // By a schedule, too.
    let rotated =
        || root.read("auth/ldap/config").expect(200).json()["data"]["last_bind_password_rotation"].clone();
    let before = rotated();
    root.write("auth/ldap/config", &json!({ "rotation_period": "10s" })).expect(200);
    wait_for("another password", SOON, || (rotated() != before).then_some(())).unwrap();
    assert_eq!(login(&server, "ada", "ada-password").0, 200, "{}", server.output());
    // Nobody else knows it.
    configured(&server, &plain, &json!({ "rotation_period": 0 }));
    assert_eq!(login(&server, "ada", "ada-password").0, 403);
    let refused = root.write("auth/ldap/config/rotate-root", &json!({}));
    assert!(refused.status >= 400, "{}", refused.status);
    assert!(String::from_utf8_lossy(&refused.body).contains("refuses the bind"));
    // Of a try that failed at once nothing is left.
    root.write("auth/ldap/config", &json!({ "binddn": "", "bindpass": "", "discoverdn": false })).expect(200);
    let refused = root.write("auth/ldap/config/rotate-root", &json!({}));
    assert!(
        refused.status == 400 && String::from_utf8_lossy(&refused.body).contains("no password to rotate")
    );
}

#[test]
fn a_directory_that_is_dead_or_slow_keeps_nobody_waiting() {
    if !require(packages::install(SLAPD)) {
        return;
    }
    let (directory, server) = (slapd(), Server::dev());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = format!("ldap://127.0.0.1:{}", silent.local_addr().unwrap().port());
    let dead = format!("ldap://127.0.0.1:{}", free_port().unwrap());
    let quick = json!({"connection_timeout": 1, "request_timeout": 1});
    for url in [&slow, &dead] {
        configured(&server, url, &quick);
        let began = Instant::now();
        assert_eq!(login(&server, "ada", "ada-password").0, 403);
        assert!(began.elapsed() < Duration::from_secs(20), "{url}: {:?}", began.elapsed());
        assert!(server.output().contains("the directory"), "{}", server.output());
    }
    // The next one of the list is asked.
    configured(&server, &format!("{dead},ldap://127.0.0.1:{}", directory.plain), &quick);
    assert_eq!(login(&server, "ada", "ada-password").0, 200);
}

#[test]
fn hvac_logs_in() {
    if !require(packages::install(SLAPD)) {
        return;
    }
    let (directory, server) = (slapd(), Server::dev());
    let url = format!("ldaps://localhost:{}", directory.secure);
    passes_with("test_ldap", &server, &[("TEST_LDAP_URL", &url), ("TEST_LDAP_CA", &ca(&directory))]);
}

#[test]
fn the_command_line_logs_in() {
    if !require(packages::install(SLAPD)) {
        return;
    }
    let (directory, server) = (slapd(), Server::dev());
    configured(
        &server,
        &format!("ldaps://localhost:{}", directory.secure),
        &json!({ "certificate": ca(&directory) }),
    );
    let mut command = Command::new(keyward());
    command
        .args(["login", "--method=ldap", "--token-only", "username=ada", "password=ada-password"])
        .env("VAULT_ADDR", server.url())
        .env("HOME", Path::new(server.folder()));
    let done = run(&mut command, b"", Duration::from_secs(60)).unwrap();
    assert!(done.status.success(), "{}", done.stderr);
    let token = String::from_utf8(done.stdout).unwrap();
    let own = server.guest().with_token(token.trim()).read("auth/token/lookup-self").expect(200).json();
    assert_eq!(own["data"]["display_name"], "ldap-ada");
}
