//! Users of real databases: made on demand, gone with their lease, whatever dies in between.

mod crash;
mod mariadb;
mod postgresql;
mod redis;

use keyward_tests::http::{Answer, Client};
use keyward_tests::server::Server;
use serde_json::{Value, json};

/// As document 002 writes it.
const CREATION: &str = r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "{{name}}";"#;

/// A user that was made.
struct Made {
    user: String,
    password: String,
    lease: String,
}

fn made(answer: &Answer) -> Made {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let body = answer.json();
    Made {
        user: text(&body["data"]["username"]),
        password: text(&body["data"]["password"]),
        lease: text(&body["lease_id"]),
    }
}

/// The engine with a connection `db` and a role `app` that makes users by `creation`.
fn configure(server: &Server, connection: &Value, creation: &str, more: &Value) -> Client {
    let root = server.root();
    root.write("sys/mounts/database", &json!({ "type": "database" })).expect(204);
    let mut config = json!({ "allowed_roles": "*", "username": "keyward" });
    config.as_object_mut().unwrap().extend(connection.as_object().unwrap().clone());
    let written = root.write("database/config/db", &config);
    assert!(written.status < 300, "{}", written.text());
    let mut role =
        json!({ "db_name": "db", "creation_statements": creation, "default_ttl": "1h", "max_ttl": "24h" });
    role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    root.write("database/roles/app", &role).expect(204);
    root
}
