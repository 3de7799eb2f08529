//! Redis.

use super::{configure, made};
use keyward_tests::databases::{PASSWORD, Redis};
use keyward_tests::server::Server;
use serde_json::json;

#[test]
fn users_of_redis_are_made_and_removed() {
    let Some(database) = Redis::start() else { return };
    let server = Server::dev();
    let connection = json!({
        "plugin_name": "redis-database-plugin",
        "host": "127.0.0.1",
        "port": database.port,
        "password": PASSWORD,
    });
    let root = configure(&server, &connection, r#"["~app:*", "+get", "+set"]"#, &json!({}));
    let one = made(&root.read("database/creds/app").expect(200));
    assert_eq!(database.command(&one.user, &one.password, &["SET", "app:1", "x"]), "OK");
    assert!(database.command(&one.user, &one.password, &["SET", "other", "x"]).contains("NOPERM"));
    assert!(database.command(&one.user, &one.password, &["FLUSHALL"]).contains("NOPERM"));
    root.write("sys/leases/revoke", &json!({ "lease_id": one.lease })).expect(204);
    assert!(database.command(&one.user, &one.password, &["GET", "app:1"]).contains("WRONGPASS"));
    root.write("database/rotate-root/db", &json!({})).expect(204);
    assert!(database.command("keyward", PASSWORD, &["PING"]).contains("WRONGPASS"));
    root.read("database/creds/app").expect(200);
    root.write("database/config/db", &json!({ "password": "wrong" }))
        .refused(400, "error verifying connection");
}
