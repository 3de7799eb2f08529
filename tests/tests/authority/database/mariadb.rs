//! MariaDB.

use super::{configure, made};
use keyward_tests::databases::{MariaDb, PASSWORD};
use keyward_tests::server::Server;
use serde_json::json;

#[test]
fn users_of_mariadb_are_made_renewed_and_removed() {
    let Some(database) = MariaDb::start() else { return };
    let server = Server::dev();
    let connection = json!({
        "plugin_name": "mysql-database-plugin",
        "connection_url": format!("{{{{username}}}}:{{{{password}}}}@tcp(127.0.0.1:{})/", database.port),
        "password": PASSWORD,
    });
    let creation =
        "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; GRANT SELECT ON app.* TO '{{name}}'@'%';";
    let root = configure(&server, &connection, creation, &json!({}));
    let one = made(&root.read("database/creds/app").expect(200));
    assert!(one.user.len() <= 32, "{}", one.user);
    database.sql(&one.user, &one.password, "SELECT * FROM app.t").unwrap();
    database.sql(&one.user, &one.password, "DROP TABLE app.t").unwrap_err();
    root.write("sys/leases/renew", &json!({ "lease_id": one.lease })).expect(200);
    root.write("sys/leases/revoke", &json!({ "lease_id": one.lease })).expect(204);
    database.sql(&one.user, &one.password, "SELECT 1").unwrap_err();
    // Several statements are not one transaction here: what was begun is taken back.
    let broken = json!({ "creation_statements": "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; NONSENSE;" });
    root.write("database/roles/app", &broken).expect(204);
    root.read("database/creds/app").refused(502, "a statement has a syntax error");
    root.write("sys/leases/revoke-prefix/database", &json!({})).expect(204);
    let left =
        database.sql("keyward", PASSWORD, "SELECT COUNT(*) FROM mysql.user WHERE User LIKE 'v-%'").unwrap();
    assert_eq!(left, "0");

    root.write("database/rotate-root/db", &json!({})).expect(204);
    database.sql("keyward", PASSWORD, "SELECT 1").unwrap_err();
    root.write("database/roles/app", &json!({ "creation_statements": creation })).expect(204);
    let two = made(&root.read("database/creds/app").expect(200));
    database.sql(&two.user, &two.password, "SELECT * FROM app.t").unwrap();
}
