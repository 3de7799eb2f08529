//! Questions to an audit log: who read this, what did this pod see, what is alive of it.

use keyward_testkit::process::{run, wait_for};
use keyward_tests::binary::keyward;
use keyward_tests::databases::{PASSWORD, Postgres};
use keyward_tests::http::Client;
use keyward_tests::server::{SOON, Server};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// What a search says: its exit code, its answer and what it tells beside that.
struct Said {
    code: Option<i32>,
    answer: Value,
    beside: String,
}

impl Said {
    /// `operation path outcome` of each request.
    fn requests(&self) -> Vec<String> {
        let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        let tell = |row: &Value| ["operation", "path", "outcome"].map(|name| text(row, name)).join(" ");
        self.answer["requests"].as_array().unwrap().iter().map(tell).collect()
    }

    /// What is alive, by kind.
    fn alive(&self) -> Vec<&str> {
        self.answer["alive"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect()
    }
}

/// `keyward audit search` with `token`, or where no authority can be reached.
fn search_as(server: &Server, token: Option<&str>, arguments: &[&str], input: &[u8]) -> Said {
    let mut command = Command::new(keyward());
    command.args(["audit", "search"]).args(arguments).current_dir(server.folder());
    command.env("HOME", server.folder()).env("VAULT_MAX_RETRIES", "0").env_remove("VAULT_TOKEN");
    match token {
        Some(token) => command.env("VAULT_ADDR", server.url()).env("VAULT_TOKEN", token),
        None => command.env("VAULT_ADDR", "http://127.0.0.1:1"),
    };
    let done = run(&mut command, input, Duration::from_secs(60)).unwrap();
    let answer = serde_json::from_slice(&done.stdout).unwrap_or_default();
    Said { code: done.status.code(), answer, beside: done.stderr }
}

fn offline(server: &Server, arguments: &[&str]) -> Said {
    search_as(server, None, &[arguments, &["--output", "json"]].concat(), b"")
}

fn online(server: &Server, arguments: &[&str]) -> Said {
    search_as(server, Some(&server.keys().root), &[arguments, &["--output", "json"]].concat(), b"")
}

/// Everything is written to `audit.log`, and to `shown.log` with accessors as they are.
fn audited() -> Server {
    let server = Server::dev();
    let root = server.root();
    for (name, hashed) in [("audit", "true"), ("shown", "false")] {
        let options =
            json!({"file_path": server.folder().join(format!("{name}.log")), "hmac_accessor": hashed});
        root.write(&format!("sys/audit/{name}"), &json!({"type": "file", "options": options})).expect(204);
    }
    let rules = r#"path "secret/data/web" { capabilities = ["read"] } path "database/creds/app" { capabilities = ["read"] }"#;
    root.write("sys/policies/acl/app", &json!({ "policy": rules })).expect(204);
    root.write("secret/data/web", &json!({"data": {"password": "a password"}})).expect(200);
    server
}

/// Waits until both logs have what was asked so far: a request is answered once one of them has it.
fn written(server: &Server) {
    let last = server.root().read("sys/auth").expect(200).json()["request_id"].as_str().unwrap().to_owned();
    for log in ["audit.log", "shown.log"] {
        let log = server.folder().join(log);
        let both = || (fs::read_to_string(&log).unwrap().matches(&last).count() == 2).then_some(());
        wait_for("both records of the last request", SOON, both).unwrap();
    }
}

/// A token as a login of the pod prod/web-1 gives it.
fn in_pod(root: &Client) -> Client {
    let meta = json!({"service_account_namespace": "prod", "pod_name": "web-1", "pod_uid": "u-1"});
    let wish = json!({"policies": "app", "meta": meta, "display_name": "web", "ttl": "1h"});
    let made = root.write("auth/token/create", &wish).expect(200).json();
    root.with_token(made["auth"]["client_token"].as_str().unwrap())
}

/// The accessor of a login by AppRole, which read the secret.
fn by_approle(root: &Client) -> String {
    root.write("sys/auth/approle", &json!({"type": "approle"})).expect(204);
    root.write("auth/approle/role/batch", &json!({"token_policies": "app"})).expect(204);
    let role = root.read("auth/approle/role/batch/role-id").expect(200).data()["role_id"].clone();
    let secret = root.write("auth/approle/role/batch/secret-id", &json!({})).expect(200).data();
    let body = json!({"role_id": role, "secret_id": secret["secret_id"]});
    let auth = root.guest().write("auth/approle/login", &body).expect(200).json()["auth"].clone();
    root.with_token(auth["client_token"].as_str().unwrap()).read("secret/data/web").expect(200);
    auth["accessor"].as_str().unwrap().to_owned()
}

#[test]
fn a_log_answers_who_read_a_secret_and_what_a_pod_saw() {
    let server = audited();
    let root = server.root();
    let pod = in_pod(&root);
    pod.read("secret/data/web").expect(200);
    pod.read("secret/data/other").expect(403);
    let accessor = by_approle(&root);
    written(&server);

    let readers = offline(&server, &["--path", "secret/web", "--operation", "read", "audit.log"]);
    assert_eq!(readers.code, Some(0), "{}", readers.beside);
    assert_eq!(readers.requests(), ["read secret/data/web done"; 2]);
    let rows = &readers.answer["requests"];
    assert_eq!((&rows[0]["pod"], &rows[0]["pod_uid"]), (&json!("prod/web-1"), &json!("u-1")));
    assert_eq!(rows[1]["display_name"], "approle");
    assert!(rows[1]["entity_id"].as_str().is_some_and(|id| !id.is_empty()));
    assert_eq!(readers.answer["log"]["whole"], true);

    let all = ["update auth/token/create done", "read secret/data/web done", "read secret/data/other denied"];
    for who in [["--pod", "prod/web-1"], ["--pod-uid", "u-1"]] {
        assert_eq!(offline(&server, &[&who[..], &["audit.log"]].concat()).requests(), all);
    }
    assert_eq!(offline(&server, &["--denied", "audit.log"]).requests(), all[2..]);
    assert!(offline(&server, &["--since", "0s", "audit.log"]).requests().is_empty());
    assert_eq!(offline(&server, &["--since", "1h", "--denied", "audit.log"]).requests().len(), 1);
    let last = offline(&server, &["--pod", "prod/web-1", "--limit", "1", "audit.log"]);
    assert_eq!(
        (last.requests(), &last.answer["found"]),
        (all[2..].iter().map(|s| (*s).to_owned()).collect(), &json!(3))
    );

    // What is there only as a hash the authority finds, or a log that shows it.
    let login = ["update auth/approle/login done", "read secret/data/web done"];
    assert!(offline(&server, &["--who", &accessor, "audit.log"]).requests().is_empty());
    assert_eq!(offline(&server, &["--who", &accessor, "shown.log"]).requests(), login);
    assert_eq!(online(&server, &["--who", &accessor, "--device", "audit", "audit.log"]).requests(), login);
    let value = root.write("sys/audit-hash/audit", &json!({"input": "a password"})).expect(200).data();
    let seen =
        offline(&server, &["--hashed", value["hash"].as_str().unwrap(), "--operation", "read", "audit.log"]);
    assert_eq!(seen.requests(), ["read secret/data/web done"; 2]);
    let unknown = online(&server, &["--who", "x", "--device", "none", "audit.log"]);
    assert!(
        unknown.code == Some(2) && unknown.beside.contains("unknown audit backend"),
        "{}",
        unknown.beside
    );
    let token = offline(&server, &["--who", root.token().unwrap(), "audit.log"]);
    assert!(token.code == Some(1) && !token.beside.contains(root.token().unwrap()), "{}", token.beside);
}

#[test]
fn a_table_is_for_people_and_a_changed_log_is_told() {
    let server = audited();
    let pod = in_pod(&server.root());
    pod.read("secret/data/web").expect(200);
    pod.read("secret/data/other").expect(403);
    written(&server);
    let log = server.folder().join("audit.log");
    let text = fs::read_to_string(&log).unwrap();
    let piped = search_as(&server, None, &["--pod", "prod/web-1", "--output", "json", "-"], text.as_bytes());
    assert_eq!(piped.requests().len(), 3, "{}", piped.beside);
    let table = search_as(&server, None, &["--pod", "prod/web-1", "audit.log"], b"");
    assert!(table.beside.starts_with("3 requests found.\nThe log is whole where it was read: records 1 to "));

    // Somebody would rather not have been seen: the answer still stands, with a warning.
    let changed = text.replace("secret/data/other", "secret/data/trust");
    fs::write(server.folder().join("changed.log"), changed).unwrap();
    let told = offline(&server, &["--pod", "prod/web-1", "changed.log"]);
    assert_eq!((told.code, told.requests().len()), (Some(1), 3));
    assert_eq!(told.answer["log"]["whole"], false);
    assert_eq!(told.answer["log"]["first_break"]["file"], "changed.log");
    let told = search_as(&server, None, &["--denied", "changed.log"], b"");
    assert!(told.beside.contains("WARNING! The log is broken at changed.log, line"), "{}", told.beside);

    let lines: Vec<&str> = text.lines().collect();
    let (first, rest) = lines.split_at(lines.len() / 2);
    fs::write(server.folder().join("1.log"), first.join("\n") + "\n").unwrap();
    fs::write(server.folder().join("2.log"), rest.join("\n") + "\n").unwrap();
    assert_eq!(offline(&server, &["--pod", "prod/web-1", "1.log", "2.log"]).code, Some(0));
    assert_eq!(offline(&server, &["2.log", "1.log"]).code, Some(1));
    let absent = offline(&server, &["absent.log"]);
    assert!(
        absent.code == Some(2) && absent.beside.contains("absent.log cannot be read"),
        "{}",
        absent.beside
    );
}

#[test]
fn what_a_pod_holds_is_found_and_ended() {
    let Some(postgres) = Postgres::start() else { return };
    let server = audited();
    let root = server.root();
    let connection = json!({"plugin_name": "postgresql-database-plugin", "connection_url": postgres.url(),
        "username": "postgres", "password": PASSWORD, "allowed_roles": "*"});
    let creation = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'";
    let role = json!({"db_name": "db", "creation_statements": creation, "default_ttl": "1h"});
    root.write("sys/mounts/database", &json!({"type": "database"})).expect(204);
    assert!(root.write("database/config/db", &connection).status < 300);
    root.write("database/roles/app", &role).expect(204);
    let pod = in_pod(&root);
    let first = pod.read("database/creds/app").expect(200).json()["lease_id"].clone();
    let wrapped = pod.request("GET", "/v1/database/creds/app").wrapped("5m").send().expect(200).json();
    let opener = pod.with_token(wrapped["wrap_info"]["token"].as_str().unwrap());
    let second = opener.write("sys/wrapping/unwrap", &json!({})).expect(200).json()["lease_id"].clone();
    root.read("database/creds/app").expect(200);
    written(&server);

    let lent = offline(&server, &["--lease", "database/creds/app", "audit.log"]);
    assert_eq!(lent.requests().len(), 3, "{}", lent.answer);
    let of_one = offline(&server, &["--lease", first.as_str().unwrap(), "audit.log"]);
    assert_eq!(of_one.answer["requests"][0]["pod"], "prod/web-1");
    // An answer that was wrapped has its lease where it was opened.
    let opened = offline(&server, &["--lease", second.as_str().unwrap(), "audit.log"]);
    assert_eq!(opened.requests(), ["update sys/wrapping/unwrap done"]);

    let held = online(&server, &["--pod", "prod/web-1", "--alive", "shown.log"]);
    assert_eq!((held.code, held.alive()), (Some(0), vec!["lease", "lease", "token"]), "{}", held.answer);
    let hashed = online(&server, &["--pod", "prod/web-1", "--alive", "audit.log"]);
    assert_eq!((hashed.alive(), &hashed.answer["hashed_accessors"]), (vec!["lease"; 2], &json!(1)));
    let all = online(&server, &["--lease", "database", "--alive", "audit.log"]);
    assert_eq!(all.alive().len(), 3);
    let arguments = ["--pod", "prod/web-1", "--alive", "shown.log"];
    let told = search_as(&server, Some(root.token().unwrap()), &arguments, b"").beside;
    assert!(told.contains("`keyward lease revoke --pod prod/web-1` ends all"), "{told}");

    root.write("sys/leases/revoke-holder", &json!({"pod": "prod/web-1"})).expect(204);
    let held = online(&server, &arguments);
    assert!(held.alive().is_empty() && held.answer["looked_up"] == 3, "{}", held.answer);
    // What another holds still lives.
    assert_eq!(online(&server, &["--lease", "database", "--alive", "audit.log"]).alive(), ["lease"]);
    assert_eq!(postgres.made().len(), 1);
    let without = search_as(&server, None, &arguments, b"");
    assert!(without.code == Some(2) && without.beside.contains("Error looking up"), "{}", without.beside);
}
