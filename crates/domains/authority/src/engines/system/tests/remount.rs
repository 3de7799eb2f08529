use super::bench;
use crate::request::Operation::{List, Read, Update};
use serde_json::json;

#[test]
fn a_mount_moves_with_all_it_holds() {
    let (mut bench, _) = bench("");
    bench.write("kv1/a", r#"{"a":1}"#);
    let accessor = bench.read("sys/mounts/kv1").data()["accessor"].clone();
    let answer = bench.root(Update, "sys/remount", r#"{"from":"kv1/","to":"team/kv"}"#);
    let id = answer.data()["migration_id"].as_str().unwrap().to_owned();
    assert_eq!(bench.root(Read, "kv1/a", "").status, 404);
    assert_eq!(bench.read("team/kv/a").data(), &json!({"a": 1}));
    assert_eq!(bench.read("sys/mounts/team/kv").data()["accessor"], accessor);
    let status = bench.read(&format!("sys/remount/status/{id}"));
    assert_eq!(
        status.data(),
        &json!({
            "migration_id": id,
            "migration_info": {"source_mount": "kv1/", "target_mount": "team/kv/", "status": "success"},
        })
    );
    assert_eq!(bench.root(Read, "sys/remount/status/none", "").status, 404);
}

#[test]
fn a_moved_method_ends_what_it_issued_before() {
    let (mut bench, _) = bench("");
    bench.write("sys/auth/user", r#"{"type":"userpass"}"#);
    bench.write("auth/user/users/ada", r#"{"password":"correct horse"}"#);
    let login = |bench: &mut crate::testing::Bench, path: &str| {
        let answer = bench.ask("", Update, path, r#"{"password":"correct horse"}"#);
        answer.body["auth"]["client_token"].as_str().map(str::to_owned)
    };
    let token = login(&mut bench, "auth/user/login/ada").unwrap();
    bench.write("sys/remount", r#"{"from":"auth/user","to":"auth/people"}"#);
    assert_eq!(bench.ask(&token, Read, "auth/token/lookup-self", "").status, 403);
    assert!(login(&mut bench, "auth/user/login/ada").is_none());
    assert!(login(&mut bench, "auth/people/login/ada").is_some());
    assert_eq!(bench.root(List, "auth/people/users", "").data()["keys"], json!(["ada"]));
}

#[test]
fn mistakes_move_nothing() {
    let (mut bench, _) = bench("");
    bench.write("sys/auth/user", r#"{"type":"userpass"}"#);
    for (from, to, error) in [
        ("", "x", "both 'from' and 'to' path must be specified as a string"),
        ("kv1", "", "both 'from' and 'to' path must be specified as a string"),
        (" kv1", "x", "'from' path cannot contain trailing whitespace"),
        ("kv1", "x ", "'to' path cannot contain trailing whitespace"),
        ("kv1", "a//b", "invalid 'to' mount"),
        ("kv1", "a/../b", "invalid 'to' mount"),
        ("none", "x", "no matching mount at \"none/\""),
        ("kv1/a", "x", "no matching mount at \"kv1/a/\""),
        ("kv1", "kv2", "path already in use at \"kv2/\""),
        ("kv1", "kv2/below", "path already in use at \"kv2/\""),
        ("kv1", "kv1", "path already in use at \"kv1/\""),
        ("sys", "x", "cannot remount \"sys\""),
        ("cubbyhole", "x", "cannot remount \"cubbyhole\""),
        ("kv1", "sys/x", "cannot remount to destination \"sys/x/\""),
        ("kv1", "auth/x", "cannot remount to destination \"auth/x/\""),
        ("auth/user", "x", "cannot remount auth mount to non-auth mount \"x/\""),
        ("auth/token", "auth/x", "cannot remount \"auth/token\""),
        ("auth/user", "auth/token/x", "cannot remount to destination \"auth/token/x/\""),
    ] {
        let body = json!({ "from": from, "to": to }).to_string();
        let answer = bench.root(Update, "sys/remount", &body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.errors().contains(error), "{body}: {}", answer.errors());
    }
    assert_eq!(bench.read("sys/mounts").data().as_object().map(serde_json::Map::len), Some(5));
}
