//! Searches in records of real requests, and in lines that others wrote.

use super::{Outcome, Place, Query, Row, Search, Seen, Unsearchable, hash};
use crate::lease::Holder;
use crate::request::Operation::{Delete, Read, Update};
use crate::testing::Bench;
use keyward_core::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

fn rows(lines: &[String], query: Query) -> Vec<Row> {
    let mut search = Search::new(query);
    let mut rows = Vec::new();
    for (at, line) in (1..).zip(lines) {
        match search.line(line.as_bytes(), Place { file: 0, line: at }) {
            Seen::Record(row) => rows.extend(row.map(|row| *row)),
            other => panic!("{other:?}: {line}"),
        }
    }
    rows.extend(search.finish());
    rows
}

/// `operation path outcome` of what is found.
fn told(lines: &[String], query: Query) -> Vec<String> {
    let tell = |row: Row| format!("{} {} {}", row.operation, row.path, row.outcome.name());
    rows(lines, query).into_iter().map(tell).collect()
}

fn path(path: &str) -> Query {
    Query { path: path.to_owned(), ..Query::default() }
}

fn pod(pod: &str) -> Query {
    Query { pod: Holder { pod: pod.to_owned(), ..Holder::default() }, ..Query::default() }
}

fn who(name: &str) -> Query {
    let mut query = Query::default();
    query.add_who(name).unwrap();
    query
}

/// A log in which a pod and a person read secrets, by an authority whose log begins with `options`.
fn day(options: &[(&str, &str)]) -> (Bench, Vec<String>) {
    let mut bench = Bench::new();
    bench.policy("app", "path \"secret/data/web\" { capabilities = [\"read\"] }");
    bench.write("sys/mounts/secret", r#"{"type":"kv","options":{"version":"2"}}"#);
    bench.write("secret/data/web", r#"{"data":{"password":"x"}}"#);
    bench.write("sys/auth/userpass", r#"{"type":"userpass"}"#);
    bench.write("auth/userpass/users/mona", r#"{"password":"long enough","token_policies":"app"}"#);
    bench.enable_audit(options);
    bench.records.clear();
    let meta = json!({"service_account_namespace": "prod", "pod_name": "web-1", "pod_uid": "u-1"});
    let wish = json!({"policies": "app", "meta": meta, "display_name": "web"}).to_string();
    let made = bench.root(Update, "auth/token/create", &wish).body["auth"]["client_token"].clone();
    let in_pod = made.as_str().unwrap();
    assert_eq!(bench.ask(in_pod, Read, "secret/data/web", "").status, 200);
    assert_eq!(bench.ask(in_pod, Read, "secret/data/other", "").status, 403);
    bench.pass(Duration::from_secs(3600));
    let body = r#"{"password":"long enough"}"#;
    let made = bench.ask("", Update, "auth/userpass/login/mona", body).body["auth"]["client_token"].clone();
    assert_eq!(bench.ask(made.as_str().unwrap(), Read, "secret/data/web", "").status, 200);
    let lines = bench.records.clone();
    (bench, lines)
}

#[test]
fn what_is_opened_belongs_to_whom_it_was_wrapped_for() {
    for options in [&[][..], &[("hmac_accessor", "false")]] {
        let (mut bench, _) = day(options);
        bench.records.clear();
        let meta = json!({"service_account_namespace": "prod", "pod_name": "web-2", "pod_uid": "u-2"});
        let wish = json!({"policies": "app", "meta": meta}).to_string();
        let made = bench.root(Update, "auth/token/create", &wish).body["auth"]["client_token"].clone();
        let in_pod = made.as_str().unwrap();
        let wrapped = |bench: &mut Bench| {
            let answer = bench.ask_wrapped(in_pod, Read, "secret/data/web", "");
            answer.body["wrap_info"]["token"].as_str().unwrap().to_owned()
        };
        let (by_itself, by_another) = (wrapped(&mut bench), wrapped(&mut bench));
        assert_eq!(bench.ask(&by_itself, Update, "sys/wrapping/unwrap", "{}").status, 200);
        let body = json!({ "token": by_another }).to_string();
        assert_eq!(bench.root(Update, "sys/wrapping/unwrap", &body).status, 200);
        let opened = "update sys/wrapping/unwrap done";
        let read = "read secret/data/web done";
        let found = told(&bench.records, pod("prod/web-2"));
        assert_eq!(found, ["update auth/token/create done", read, read, opened, opened]);
        assert!(told(&bench.records, pod("prod/web-1")).is_empty());
    }
}

#[test]
fn who_read_a_secret_is_found_by_its_path_in_either_writing() {
    let (_, lines) = day(&[]);
    let both = ["read secret/data/web done", "read secret/data/web done"];
    for wanted in ["secret/data/web", "/secret/web/", "secret/*web", "secret/data/w*"] {
        assert_eq!(told(&lines, path(wanted)), both, "{wanted}");
    }
    let found = rows(&lines, path("secret/web"));
    assert_eq!((found[0].pod.as_str(), found[0].display_name.as_str()), ("prod/web-1", "token-web"));
    assert_eq!((found[1].pod.as_str(), found[1].display_name.as_str()), ("", "userpass-mona"));
    assert!(!found[1].entity_id.is_empty() && found[0].place.line == 4, "{found:?}");
    assert!(told(&lines, path("secret")).is_empty() && told(&lines, path("secret/we")).is_empty());
}

#[test]
fn what_a_pod_did_is_found_with_the_login_that_let_it_in() {
    let (_, lines) = day(&[]);
    let all = ["update auth/token/create done", "read secret/data/web done", "read secret/data/other denied"];
    assert_eq!(told(&lines, pod("prod/web-1")), all);
    assert!(told(&lines, pod("prod/web-2")).is_empty() && told(&lines, pod("test/web-1")).is_empty());
    let uid = Holder { pod_uid: "u-1".to_owned(), ..Holder::default() };
    assert_eq!(told(&lines, Query { pod: uid, ..Query::default() }), all);
    let denied = Query { denied: true, ..pod("prod/web-1") };
    assert_eq!(told(&lines, denied.clone()), all[2..]);
    assert!(rows(&lines, denied)[0].error.starts_with("permission denied"));
    let reads = Query { operation: "read".to_owned(), ..pod("prod/web-1") };
    assert_eq!(told(&lines, reads), all[1..]);
    let issued = rows(&lines, Query { issuing: true, ..pod("prod/web-1") });
    assert!(issued.len() == 1 && hash(&issued[0].issued_accessor).is_some(), "{issued:?}");
}

#[test]
fn people_are_found_by_name_identity_and_accessor() {
    let (bench, lines) = day(&[]);
    let read = rows(&lines, who("userpass-mona")).remove(0);
    assert_eq!(read.path, "secret/data/web");
    let both = ["update auth/userpass/login/mona done", "read secret/data/web done"];
    assert_eq!(told(&lines, who(&read.entity_id)), both);
    let login = rows(&lines, path("auth/userpass/login/mona")).remove(0);
    assert_eq!(login.entity_id, read.entity_id);
    assert_eq!(told(&lines, who(&login.issued_accessor)), both);
    let hashed = Query { hashed: login.issued_accessor, ..Query::default() };
    assert_eq!(told(&lines, hashed), both);
    assert!(told(&lines, who("mona")).is_empty());
    assert_eq!(Query::default().add_who(&bench.root), Err(Unsearchable));
    assert!(!Unsearchable.to_string().contains("hvs"));

    let (_, lines) = day(&[("hmac_accessor", "false")]);
    let login = rows(&lines, path("auth/userpass/login/mona")).remove(0);
    assert!(hash(&login.issued_accessor).is_none());
    assert_eq!(told(&lines, who(&login.issued_accessor)), both);
}

#[test]
fn a_value_is_found_by_its_hash() {
    let (bench, lines) = day(&[]);
    let value = bench.authority.auditing(&bench.store, &bench.random).unwrap().hash("x");
    let query = Query { hashed: hash(&value).unwrap().to_owned(), ..Query::default() };
    assert_eq!(told(&lines, query).len(), 2);
    for bad in ["", "x", "hmac-sha256:", &value[1..], &value.to_uppercase(), &format!("{value}0")] {
        assert_eq!(hash(bad), None, "{bad}");
    }
}

#[test]
fn times_bound_what_is_found() {
    let (_, lines) = day(&[]);
    let at = |text: &str| Timestamp::parse_rfc3339(text);
    let noon = at("2026-01-01T00:30:00Z");
    let before = told(&lines, Query { until: noon, ..path("secret/web") });
    let after = told(&lines, Query { since: noon, ..path("secret/web") });
    assert_eq!((before.len(), after.len()), (1, 1));
    let exactly = at("2026-01-01T01:00:00Z");
    assert_eq!(told(&lines, Query { since: exactly, ..path("secret/web") }).len(), 1);
    assert_eq!(told(&lines, Query { until: exactly, ..path("secret/web") }).len(), 1);
}

#[test]
fn leases_are_found_from_their_beginning_to_their_end() {
    let (mut bench, _) = day(&[]);
    bench.records.clear();
    let id = "database/creds/app/h1";
    let ended = json!({ "lease_id": id }).to_string();
    bench.root(Update, "sys/leases/revoke", &ended);
    bench.root(Update, &format!("sys/leases/revoke/{id}"), "");
    bench.root(Update, "sys/leases/revoke-prefix/database/creds", "");
    bench.root(Update, "sys/leases/revoke-prefix/database/creds/ap", "");
    bench.root(Delete, "secret/data/web", "");
    let lent = json!({"time": "2026-01-01T00:00:00Z", "type": "response", "auth": {"display_name": "web"},
        "request": {"id": "1", "operation": "read", "path": "database/creds/app"},
        "response": {"secret": {"lease_id": id}}});
    let mut lines = vec![lent.to_string()];
    lines.extend(bench.records.clone());
    let of = |lease: &str| Query { lease: lease.to_owned(), ..Query::default() };
    let plain = [
        "read database/creds/app done",
        "update sys/leases/revoke/database/creds/app/h1 done",
        "update sys/leases/revoke-prefix/database/creds done",
    ];
    for lease in [id, "database/creds/app/"] {
        assert_eq!(told(&lines, of(lease)), plain, "{lease}");
    }
    assert_eq!(told(&lines, of("database/creds/a")), plain[2..], "no beginning of a name");
    let hashed_lease = bench.authority.auditing(&bench.store, &bench.random).unwrap().hash(id);
    let found = told(&lines, Query { hashed_lease, ..of(id) });
    assert_eq!(found.len(), 4);
    assert!(found.contains(&"update sys/leases/revoke done".to_owned()), "{found:?}");
    let issuing = rows(&lines, Query { issuing: true, ..of(id) });
    assert!(issuing.len() == 1 && issuing[0].lease_id == id);
}

#[test]
fn a_request_without_an_answer_is_told_at_the_end() {
    let (_, mut lines) = day(&[]);
    // The record of the last answer is missing, then that of one in between.
    lines.pop();
    let found = rows(&lines, path("secret/web"));
    let outcomes: Vec<Outcome> = found.iter().map(|row| row.outcome).collect();
    assert_eq!(outcomes, [Outcome::Done, Outcome::Unanswered]);
    lines.remove(3);
    let outcomes: Vec<Outcome> = rows(&lines, path("secret/web")).iter().map(|row| row.outcome).collect();
    assert_eq!(outcomes, [Outcome::Unanswered, Outcome::Unanswered]);
}

#[test]
fn requests_that_wait_for_ever_do_not_fill_the_memory() {
    let mut search = Search::new(Query::default());
    let mut given_up = 0;
    for at in 0..super::MOST_WAITING + 10 {
        let line =
            json!({"time": "2026-01-01T00:00:00Z", "type": "request", "request": {"id": at.to_string()}});
        match search.line(line.to_string().as_bytes(), Place::default()) {
            Seen::Record(Some(row)) => {
                assert_eq!((row.outcome, row.request_id), (Outcome::Unanswered, given_up.to_string()));
                given_up += 1;
            }
            Seen::Record(None) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((given_up, search.order.len()), (10, super::MOST_WAITING));
    assert_eq!(search.finish().count(), super::MOST_WAITING);
}

#[test]
fn lines_of_others_are_told_apart() {
    let see = |line: &str| Search::new(Query::default()).line(line.as_bytes(), Place::default());
    let vault = r#"{"time":"2021-09-07T23:20:27.596608162Z","type":"response","auth":{"accessor":"hmac-sha256:0","display_name":"kubernetes-prod-api","metadata":null,"policies":["default"]},"request":{"id":"a","operation":"read","path":"secret/x"},"response":{"auth":null,"data":{"a":"b"}},"error":"1 error occurred:\n\t* permission denied\n\n"}"#;
    let Seen::Record(Some(row)) = see(vault) else { panic!() };
    assert_eq!((row.outcome, row.display_name.as_str()), (Outcome::Denied, "kubernetes-prod-api"));
    let prefixed = format!("@cee: {vault}\n");
    assert!(matches!(see(&prefixed), Seen::Record(Some(_))));
    let notice = r#"{"time":"2026-01-01T00:00:00Z","type":"notice","error":"3 records were not written"}"#;
    assert_eq!(see(notice), Seen::Notice);
    for foreign in
        ["", "\n", "{", "{}", "[]", "words", r#"{"time":"x","type":"response"}"#, r#"{"type":"request"}"#]
    {
        assert_eq!(see(foreign), Seen::Foreign, "{foreign}");
    }
}

#[test]
fn a_row_is_written_by_the_names_that_scripts_know() {
    let (_, lines) = day(&[]);
    let row: Value = serde_json::to_value(&rows(&lines, pod("prod/web-1"))[1]).unwrap();
    for (name, wanted) in [
        ("time", "2026-01-01T00:00:00Z"),
        ("pod", "prod/web-1"),
        ("pod_uid", "u-1"),
        ("operation", "read"),
        ("path", "secret/data/web"),
        ("outcome", "done"),
        ("remote_address", "127.0.0.1"),
        ("lease_id", ""),
    ] {
        assert_eq!(row[name], wanted, "{name}");
    }
}

/// Everything asked at once, so that every part of a record is looked at.
fn thorough() -> Query {
    Query {
        who: vec!["a".to_owned()],
        path: "a*/b".to_owned(),
        lease: "a/b".to_owned(),
        hashed_lease: "c".to_owned(),
        operation: "read".to_owned(),
        ..Query::default()
    }
}

proptest! {
    #[test]
    fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        Search::new(Query::default()).line(&line, Place::default());
    }

    #[test]
    fn no_record_panics(id in ".*", path in ".*", mount in ".*", lease in ".*", kind in "request|response") {
        let record = json!({"time": "2026-01-01T00:00:00Z", "type": kind, "auth": {"metadata": {"pod_name": id}},
            "request": {"id": id, "operation": "read", "path": format!("{mount}{path}"), "mount_point": mount,
                "mount_type": "kv", "data": {"lease_id": lease}},
            "response": {"auth": {"accessor": "a"}, "secret": {"lease_id": lease}}});
        for query in [Query::default(), thorough(), Query { lease: lease.clone(), ..Query::default() }] {
            let mut search = Search::new(query);
            let seen = search.line(record.to_string().as_bytes(), Place::default());
            prop_assert!(matches!(seen, Seen::Record(_)));
            search.finish().for_each(drop);
        }
    }
}
