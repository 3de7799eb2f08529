//! PostgreSQL.

use super::{CREATION, configure, made};
use keyward_testkit::process::{run, wait_for};
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use keyward_tests::databases::{PASSWORD, Postgres};
use keyward_tests::http::Client;
use keyward_tests::server::{IN_MEMORY, PLAIN_HTTP, SOON, Server};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::time::Duration;

fn with_postgresql(more: &Value) -> Option<(Server, Client, Postgres)> {
    let postgres = Postgres::start()?;
    postgres.sql("CREATE TABLE public.orders (id int); INSERT INTO public.orders VALUES (7)");
    let server = Server::dev();
    let connection = json!({
        "plugin_name": "postgresql-database-plugin",
        "connection_url": postgres.url(),
        "username": "postgres",
        "password": PASSWORD,
    });
    let root = configure(&server, &connection, CREATION, more);
    Some((server, root, postgres))
}

#[test]
fn a_user_lives_as_long_as_its_lease() {
    let Some((_server, root, postgres)) = with_postgresql(&json!({})) else { return };
    let answer = root.read("database/creds/app").expect(200);
    assert_eq!((&answer.json()["lease_duration"], &answer.json()["renewable"]), (&json!(3600), &json!(true)));
    let one = made(&answer);
    assert_eq!(postgres.try_sql(&one.user, &one.password, "SELECT id FROM orders").unwrap(), "7");
    assert!(
        postgres.try_sql(&one.user, &one.password, "DROP TABLE orders").is_err(),
        "it has no more rights than that"
    );
    let until =
        || postgres.sql(&format!("SELECT rolvaliduntil FROM pg_roles WHERE rolname = '{}'", one.user));
    let first = until();
    let renewed =
        root.write("sys/leases/renew", &json!({ "lease_id": one.lease, "increment": "2h" })).expect(200);
    assert_eq!(renewed.json()["lease_duration"], 7200);
    assert!(until() > first, "the database lets it in for longer");
    // A session that is open when the lease ends does not outlive it.
    let session = std::thread::spawn({
        let (user, password, port) = (one.user.clone(), one.password.clone(), postgres.port().to_string());
        move || {
            let mut psql = Command::new("psql");
            psql.env("PGPASSWORD", password).args([
                "-X",
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-U",
                &user,
                "-d",
                "postgres",
                "-c",
                "SELECT pg_sleep(100)",
            ]);
            run(&mut psql, b"", Duration::from_secs(90)).unwrap()
        }
    });
    let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'", one.user);
    wait_for("the session", SOON, || (postgres.sql(&sessions) == "1").then_some(())).unwrap();
    root.write("sys/leases/revoke", &json!({ "lease_id": one.lease })).expect(204);
    assert!(postgres.made().is_empty());
    assert!(!session.join().unwrap().status.success());
    assert!(postgres.try_sql(&one.user, &one.password, "SELECT 1").is_err());
    root.write("sys/leases/lookup", &json!({ "lease_id": one.lease })).refused(400, "invalid lease");
}

#[test]
fn the_server_need_not_hear_a_password() {
    let Some((_server, root, postgres)) = with_postgresql(&json!({})) else { return };
    postgres.sql("ALTER SYSTEM SET log_statement = 'all'");
    postgres.sql("SELECT pg_reload_conf()");
    root.write("database/config/db", &json!({ "password_authentication": "scram-sha-256" })).expect(204);
    let one = made(&root.read("database/creds/app").expect(200));
    assert_eq!(postgres.try_sql(&one.user, &one.password, "SELECT id FROM orders").unwrap(), "7");
    root.write("database/rotate-root/db", &json!({})).expect(204);
    let two = made(&root.read("database/creds/app").expect(200));
    assert_eq!(postgres.try_sql(&two.user, &two.password, "SELECT id FROM orders").unwrap(), "7");
    let log = postgres.output();
    assert!(log.contains("SCRAM-SHA-256$4096:"), "{log}");
    assert!(!log.contains(&one.password) && !log.contains(&two.password));
}

#[test]
fn a_user_dies_by_itself() {
    let Some((_server, root, postgres)) = with_postgresql(&json!({ "default_ttl": "2s" })) else { return };
    let one = made(&root.read("database/creds/app").expect(200));
    assert_eq!(postgres.made(), [one.user.as_str()]);
    wait_for("the user to be gone", SOON, || postgres.made().is_empty().then_some(())).unwrap();
}

#[test]
fn statements_of_ones_own_are_used_and_repeated_safely() {
    let more = json!({
        "creation_statements": [
            "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'",
            "CREATE FUNCTION \"f_{{name}}\"() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END; $$",
        ],
        "revocation_statements": "DROP FUNCTION \"f_{{name}}\"(); DROP ROLE \"{{name}}\";",
    });
    let Some((_server, root, postgres)) = with_postgresql(&more) else { return };
    let one = made(&root.read("database/creds/app").expect(200));
    assert_eq!(postgres.sql(&format!("SELECT \"f_{}\"()", one.user)), "1");
    root.write("sys/leases/revoke", &json!({ "lease_id": one.lease })).expect(204);
    assert!(postgres.made().is_empty());
    let two = made(&root.read("database/creds/app").expect(200));
    // Somebody else was first.
    postgres.sql(&format!("DROP FUNCTION \"f_{0}\"(); DROP ROLE \"{0}\"", two.user));
    root.write("sys/leases/revoke", &json!({ "lease_id": two.lease })).expect(204);
    let left = root.list("sys/leases/lookup/database/creds/app");
    assert_eq!(left.status, 404, "{}", left.text());
    // What fails half way leaves nothing.
    let broken = json!({ "db_name": "db", "creation_statements": ["CREATE ROLE \"{{name}}\"", "SELECT * FROM nothing"] });
    root.write("database/roles/app", &broken).expect(204);
    root.read("database/creds/app").refused(502, "relation \"nothing\" does not exist");
    let leaking = json!({ "creation_statements": "CREATE ROLE \"{{name}}\" PASSWORD {{password}}" });
    root.write("database/roles/app", &leaking).expect(204);
    root.read("database/creds/app").refused(502, "a statement has a syntax error (SQLSTATE 42601)");
    assert!(postgres.made().is_empty());
    assert_eq!(root.list("sys/leases/lookup/database/creds/app").status, 404);
}

#[test]
fn hostile_names_stay_names() {
    let Some((_server, root, postgres)) = with_postgresql(&json!({})) else { return };
    root.write("sys/auth/userpass", &json!({ "type": "userpass" })).expect(204);
    root.write(
        "sys/policies/acl/db",
        &json!({ "policy": "path \"database/creds/*\" { capabilities = [\"read\"] }" }),
    );
    root.write(
        "database/roles/app';DROP%20TABLE%20orders;--",
        &json!({ "db_name": "db", "creation_statements": CREATION }),
    )
    .expect(204);
    let token = json!({ "policies": ["db"], "display_name": "x\"; DROP TABLE orders; --'" });
    let token = root.write("auth/token/create", &token).expect(200).json();
    let asking = root.with_token(token["auth"]["client_token"].as_str().unwrap());
    let one = made(&asking.read("database/creds/app").expect(200));
    let two = made(&asking.read("database/creds/app';DROP%20TABLE%20orders;--").expect(200));
    for made in [one, two] {
        assert!(made.user.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{}", made.user);
        assert_eq!(postgres.try_sql(&made.user, &made.password, "SELECT id FROM orders").unwrap(), "7");
    }
}

#[test]
fn passwords_are_changed_without_locking_us_out() {
    let Some((_server, root, postgres)) = with_postgresql(&json!({})) else { return };
    postgres.sql("CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'admin-password'; CREATE ROLE legacy LOGIN");
    root.write("database/config/db", &json!({ "username": "admin", "password": "admin-password" }))
        .expect(204);
    root.write("database/rotate-root/db", &json!({})).expect(204);
    assert!(postgres.try_sql("admin", "admin-password", "SELECT 1").is_err());
    root.read("database/creds/app").expect(200);
    let wrong = root.write("database/config/db", &json!({ "password": "wrong" }));
    wrong.refused(400, "error verifying connection: the database said: password authentication failed");
    root.read("database/creds/app").expect(200);
    let role = json!({ "db_name": "db", "username": "legacy", "rotation_period": "1h" });
    root.write("database/static-roles/legacy", &role).expect(204);
    let password = || {
        root.read("database/static-creds/legacy").expect(200).data()["password"].as_str().unwrap().to_owned()
    };
    let first = password();
    postgres.try_sql("legacy", &first, "SELECT 1").unwrap();
    root.write("database/rotate-role/legacy", &json!({})).expect(204);
    postgres.try_sql("legacy", &password(), "SELECT 1").unwrap();
    assert!(postgres.try_sql("legacy", &first, "SELECT 1").is_err());
    let nobody = json!({ "db_name": "db", "username": "nobody", "rotation_period": "1h" });
    root.write("database/static-roles/nobody", &nobody).refused(502, "role \"nobody\" does not exist");
    root.read("database/static-roles/nobody").expect(404);
}

#[test]
fn the_clock_changes_the_connections_own_password() {
    let Some((_server, root, postgres)) = with_postgresql(&json!({})) else { return };
    postgres
        .sql("CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'first'; CREATE ROLE legacy LOGIN PASSWORD 'kept'");
    let config = json!({ "username": "admin", "password": "first", "rotation_period": "10s" });
    root.write("database/config/db", &config).expect(204);
    let kept = json!({
        "db_name": "db", "username": "legacy", "rotation_period": "1h", "skip_import_rotation": true, "password": "kept",
    });
    root.write("database/static-roles/legacy", &kept).expect(204);
    postgres.try_sql("admin", "first", "SELECT 1").unwrap();
    let stands = || postgres.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'admin'");
    let mut before = stands();
    for _ in 0..2 {
        wait_for("another password", SOON, || (stands() != before).then_some(())).unwrap();
        before = stands();
        assert!(postgres.try_sql("admin", "first", "SELECT 1").is_err());
        wait_for("users", SOON, || (root.read("database/creds/app").status == 200).then_some(())).unwrap();
    }
    wait_for("the time of it", SOON, || {
        root.read("database/config/db").expect(200).data()["last_vault_rotation"].is_string().then_some(())
    })
    .unwrap();
    root.write("database/config/db", &json!({ "disable_automated_rotation": true })).expect(204);
    wait_for("the clock to be stopped", SOON, || {
        root.read("database/config/db").expect(200).data()["next_vault_rotation"].is_null().then_some(())
    })
    .unwrap();
    // Nobody changed the password that was to stay.
    let handed_out = root.read("database/static-creds/legacy").expect(200).data();
    assert_eq!(handed_out["password"], "kept");
    postgres.try_sql("legacy", "kept", "SELECT 1").unwrap();
    root.write("database/rotate-role/legacy", &json!({})).expect(204);
    assert!(postgres.try_sql("legacy", "kept", "SELECT 1").is_err());
}

#[test]
fn a_database_that_is_away_is_waited_for() {
    let Some((_server, root, mut postgres)) = with_postgresql(&json!({})) else { return };
    let one = made(&root.read("database/creds/app").expect(200));
    // No connection is left.
    let busy: Vec<_> = (0..32)
        .map(|_| {
            let mut psql = Command::new("psql");
            psql.env("PGPASSWORD", PASSWORD).args([
                "-X",
                "-h",
                "127.0.0.1",
                "-p",
                &postgres.port().to_string(),
            ]);
            psql.args(["-U", "postgres", "-d", "postgres", "-c", "SELECT pg_sleep(300)"]);
            let folder = tempfile::tempdir().unwrap();
            let log = folder.path().join("log");
            (keyward_testkit::process::Process::spawn(&mut psql, &log).unwrap(), folder)
        })
        .collect();
    wait_for("no connection to be left", SOON, || {
        root.write("database/reset/db", &json!({})).expect(204);
        (root.read("database/creds/app").status == 502).then_some(())
    })
    .unwrap();
    drop(busy);
    // It would go on with what its clients asked for.
    postgres.stop();
    postgres.resume();
    wait_for("connections", SOON, || (root.read("database/creds/app").status == 200).then_some(())).unwrap();
    postgres.stop();
    root.read("database/creds/app").refused(502, "the database cannot be reached");
    root.write("sys/leases/revoke-prefix/database/creds", &json!({})).expect(204);
    root.write("sys/leases/lookup", &json!({ "lease_id": one.lease })).expect(200);
    postgres.resume();
    wait_for("what was made to be gone", SOON, || postgres.made().is_empty().then_some(())).unwrap();
    wait_for("no lease", SOON, || (root.list("sys/leases/lookup/database").status == 404).then_some(()))
        .unwrap();
}

#[test]
fn users_that_end_together_are_gone_although_their_database_goes_away() {
    const MANY: usize = 100;
    let Some((_server, root, mut postgres)) = with_postgresql(&json!({ "default_ttl": "6s" })) else {
        return;
    };
    root.write("secret/data/a", &json!({ "data": { "a": 1 } })).expect(200);
    let keeper = json!({ "db_name": "db", "creation_statements": CREATION, "default_ttl": "1h" });
    root.write("database/roles/keeper", &keeper).expect(204);
    let kept = made(&root.read("database/creds/keeper").expect(200));
    for _ in 0..MANY {
        root.read("database/creds/app").expect(200);
    }
    wait_for("the first to be gone", SOON, || (postgres.made().len() <= MANY).then_some(())).unwrap();
    postgres.stop();
    for _ in 0..40 {
        root.read("secret/data/a").expect(200);
        std::thread::sleep(Duration::from_millis(50));
    }
    postgres.resume();
    wait_for("all others to be gone", SOON, || (postgres.made() == [kept.user.as_str()]).then_some(()))
        .unwrap();
    wait_for("no lease of theirs", SOON, || {
        (root.list("sys/leases/lookup/database/creds/app").status == 404).then_some(())
    })
    .unwrap();
    postgres.try_sql(&kept.user, &kept.password, "SELECT 1").unwrap();
}

/// The two commands of document 002, to the letter, where `postgres` is the name of a host.
#[test]
fn the_commands_of_the_document_work_as_they_are_written() {
    const DOCUMENT: &str = r#"
vault write database/config/postgres \
plugin_name=postgresql-database-plugin \
allowed_roles="api-role" \
connection_url="postgresql://{{username}}:{{password}}@postgres:5432/production"
vault write database/roles/api-role \
db_name=postgres \
creation_statements="CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO \"{{name}}\";" \
default_ttl="1h" \
max_ttl="24h"
"#;
    let root = rustix::process::geteuid().is_root();
    if !require(
        root.then_some(()).ok_or("a host of the name `postgres` needs a mount namespace, which needs root"),
    ) {
        return;
    }
    // An address of its own, so that the port of the document is free there.
    let pid = std::process::id();
    let address = format!("127.{}.{}.{}", 64 + pid % 60, pid / 60 % 250, 1 + pid / 15_000 % 250);
    let Some(postgres) = Postgres::at(&address, Some(5432)) else { return };
    postgres.sql("CREATE DATABASE production");
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    fs::write(&hosts, format!("127.0.0.1 localhost\n{address} postgres\n")).unwrap();
    let mount = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    // Where a configuration has no credentials, they are the environment's, as with every client of PostgreSQL.
    let environment = ["env", "PGUSER=postgres", &format!("PGPASSWORD={PASSWORD}")].map(str::to_owned);
    let wrapper: Vec<&str> = environment.iter().map(String::as_str).collect();
    let wrapper = [&wrapper[..], &["unshare", "--mount", "sh", "-c", &mount, "sh"]].concat();
    let mut server = Server::configured_under(&wrapper, &format!("{PLAIN_HTTP}{IN_MEMORY}"));
    server.initialize(1, 1);
    server.unseal();
    server.root().write("sys/mounts/database", &json!({ "type": "database" })).expect(204);
    let script = format!("set -e\nvault() {{ {} \"$@\"; }}\n{DOCUMENT}", keyward().display());
    let mut shell = Command::new("sh");
    shell.env("VAULT_ADDR", server.url()).env("VAULT_TOKEN", &server.keys().root).args(["-c", &script]);
    let done = run(&mut shell, b"", SOON).unwrap();
    assert!(done.status.success(), "{}", done.stderr);
    let one = made(&server.root().read("database/creds/api-role").expect(200));
    let until =
        postgres.sql(&format!("SELECT rolvaliduntil - now() FROM pg_roles WHERE rolname = '{}'", one.user));
    assert!(until.starts_with("00:59:") || until.starts_with("01:00:0"), "{until}");
    let role = server.root().read("database/roles/api-role").expect(200).data();
    assert_eq!((&role["default_ttl"], &role["max_ttl"]), (&json!(3600), &json!(86400)));
}
