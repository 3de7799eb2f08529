//! The engine beside a database that is a set of users in memory, and a machine that dies between any two steps.

use crate::act::database::Work;
use crate::act::{About, Act, Failure, Undertaking, Yielded};
use crate::context::Effect;
use crate::request::Operation::{Delete, List, Read, Update};
use crate::testing::{Answer, Bench};
use keyward_core::{Fault, Rev};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const CREATION: &str = r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "{{name}}";"#;
const HOUR: Duration = Duration::from_secs(3600);

/// The users of a database and their passwords, and what it does when it is asked.
#[derive(Default)]
struct Database {
    users: BTreeMap<String, String>,
    /// The passwords its own user was given.
    own: Vec<String>,
    down: bool,
    /// It does what it is asked, and nobody hears of it.
    mute: bool,
    asked: usize,
}

type Shared = Rc<RefCell<Database>>;

fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let start = text.find(before).map(|at| at + before.len()).unwrap_or_else(|| panic!("{before} in {text}"));
    &text[start..start + text[start..].find(after).unwrap()]
}

impl Database {
    fn perform(&mut self, act: &Act) -> Yielded {
        let Act::Database(deed) = act else { panic!("{act:?}") };
        self.asked += 1;
        if self.down {
            return Err(Failure { why: "connection refused".to_owned(), nothing_done: true });
        }
        let knows =
            |own: &Vec<String>| deed.server.passwords.iter().any(|one| own.last() == Some(one.0.expose()));
        if !self.own.is_empty() && !knows(&self.own) {
            return Err(Failure { why: "password authentication failed".to_owned(), nothing_done: true });
        }
        match &deed.work {
            Work::Run(statements) => statements.iter().for_each(|statement| self.run(statement.0.expose())),
            Work::Drop { user, .. } => {
                self.users.remove(user);
            }
            other => panic!("{other:?}"),
        }
        match self.mute {
            true => Err(Failure { why: "the connection was lost".to_owned(), nothing_done: false }),
            false => Ok(None),
        }
    }

    fn run(&mut self, sql: &str) {
        let user = || between(sql, "ROLE \"", "\"").to_owned();
        let password = || between(sql, "PASSWORD '", "'").to_owned();
        if sql.starts_with("CREATE") {
            self.users.insert(user(), password());
        } else if sql.contains("VALID UNTIL") {
            assert!(self.users.contains_key(&user()), "{sql}");
        } else if user() == "keyward" {
            self.own.push(password());
        } else {
            self.users.insert(user(), password());
        }
    }
}

/// A configured engine.
fn bench() -> (Bench, Shared) {
    let mut bench = Bench::new();
    let database = Shared::default();
    let world = database.clone();
    bench.deeds = Box::new(move |act| world.borrow_mut().perform(act));
    bench.write("sys/mounts/database", r#"{"type":"database"}"#);
    let config = json!({
        "plugin_name": "postgresql-database-plugin",
        "allowed_roles": "api-role,fixed",
        "connection_url": "postgresql://{{username}}:{{password}}@postgres:5432/production",
        "username": "keyward",
        "password": "first",
    });
    bench.write("database/config/postgres", &config.to_string());
    let role = json!({
        "db_name": "postgres",
        "creation_statements": CREATION,
        "default_ttl": "1h",
        "max_ttl": "24h",
    });
    bench.write("database/roles/api-role", &role.to_string());
    (bench, database)
}

fn creds(bench: &mut Bench) -> (String, String, String) {
    let answer = bench.read("database/creds/api-role");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let data = answer.data();
    (text(&data["username"]), text(&data["password"]), text(&answer.body["lease_id"]))
}

fn look_up(bench: &mut Bench, lease: &str) -> Answer {
    bench.root(Update, "sys/leases/lookup", &json!({ "lease_id": lease }).to_string())
}

/// Carries `path` out up to its commit, and does not do what has to be done outside.
/// What a request has to have done outside, and the revision at which that was recorded.
fn begin(bench: &mut Bench, path: &str) -> (Undertaking, Rev) {
    let request = bench.request(&bench.root.clone(), Read, path, "");
    let now = crate::testing::now(bench);
    let admitted = bench.authority.admit(&bench.store, &request, now, &bench.random).ok().unwrap();
    let outcome = bench.carry_out(&request, &admitted).unwrap();
    let rev = bench.store.commit(outcome.batch).unwrap();
    let mut undertakings = outcome.effects.into_iter().filter_map(|effect| match effect {
        Effect::Undertake(undertaking) => Some(undertaking),
        _ => None,
    });
    let one = undertakings.next().unwrap();
    assert_eq!(undertakings.next(), None);
    (one, rev)
}

#[test]
fn users_are_made_for_an_hour_and_die_by_themselves() {
    let (mut bench, database) = bench();
    let answer = bench.read("database/creds/api-role");
    assert_eq!((&answer.body["lease_duration"], &answer.body["renewable"]), (&json!(3600), &json!(true)));
    let (user, password, lease) = creds(&mut bench);
    assert!(user.starts_with("v-root-api-role-"), "{user}");
    assert!(lease.starts_with("database/creds/api-role/") && lease.len() == 24 + 24, "{lease}");
    assert_eq!(database.borrow().users.get(&user), Some(&password));
    let known = look_up(&mut bench, &lease);
    assert_eq!(known.data()["ttl"], 3600);
    assert_eq!(known.data()["renewable"], true);
    bench.pass(HOUR - Duration::from_secs(1));
    assert_eq!(database.borrow().users.len(), 2);
    bench.pass(Duration::from_secs(1));
    assert_eq!(database.borrow().users.len(), 0);
    assert_eq!(bench.count("lease/"), 0);
    assert_eq!(look_up(&mut bench, &lease).status, 400);
}

#[test]
fn leases_are_renewed_up_to_the_roles_maximum() {
    let (mut bench, database) = bench();
    let (_, _, lease) = creds(&mut bench);
    let renew = |bench: &mut Bench, body: Value| bench.root(Update, "sys/leases/renew", &body.to_string());
    bench.pass(HOUR / 2);
    let renewed = renew(&mut bench, json!({ "lease_id": lease, "increment": 7200 }));
    assert_eq!((renewed.status, &renewed.body["lease_duration"]), (200, &json!(7200)));
    assert_eq!(renewed.body["lease_id"], lease.as_str());
    bench.pass(HOUR);
    assert_eq!(database.borrow().users.len(), 1);
    let long = renew(&mut bench, json!({ "lease_id": lease, "increment": "240h" }));
    assert_eq!(long.body["lease_duration"], 24 * 3600 - 5400);
    assert!(long.body["warnings"][0].as_str().unwrap().contains("exceeded"), "{long:?}");
    bench.root(Delete, "database/roles/api-role", "");
    let gone = renew(&mut bench, json!({ "lease_id": lease }));
    assert!(gone.errors().contains("not there any more"), "{gone:?}");
    database.borrow_mut().down = true;
    bench.write(
        "database/roles/api-role",
        &json!({ "db_name": "postgres", "creation_statements": CREATION }).to_string(),
    );
    assert_eq!(renew(&mut bench, json!({ "lease_id": lease })).status, 502);
    database.borrow_mut().down = false;
    bench.pass(23 * HOUR);
    assert_eq!((database.borrow().users.len(), bench.count("lease/")), (0, 0));
    assert_eq!(renew(&mut bench, json!({ "lease_id": lease })).errors(), "lease not found");
}

#[test]
fn wherever_the_machine_dies_nothing_is_left_behind() {
    for done in [false, true] {
        let (mut bench, database) = bench();
        let (undertaking, _) = begin(&mut bench, "database/creds/api-role");
        if done {
            database.borrow_mut().perform(&undertaking.act).unwrap();
        }
        // Nobody hears of the result, and the next process finds only what was stored.
        let listed = bench.root(List, "sys/leases/lookup/database/creds/api-role", "");
        let name = listed.data()["keys"][0].as_str().unwrap().to_owned();
        // Perhaps somebody has it.
        let lease = format!("database/creds/api-role/{name}");
        assert_eq!(look_up(&mut bench, &lease).data()["ttl"], 3600);
        bench.pass(Duration::from_secs(61));
        assert_eq!(look_up(&mut bench, &lease).data()["ttl"], 3539);
        assert_eq!(database.borrow().users.len(), usize::from(done));
        bench.pass(HOUR);
        assert_eq!((database.borrow().users.len(), bench.count("lease/")), (0, 0));
    }
}

#[test]
fn what_was_handed_out_before_a_crash_is_renewed_and_revoked() {
    for recorded in [false, true] {
        let (mut bench, database) = bench();
        let (undertaking, rev) = begin(&mut bench, "database/creds/api-role");
        database.borrow_mut().perform(&undertaking.act).unwrap();
        let About::Make(id, _) = &undertaking.about else { panic!() };
        assert!(undertaking.about.is_told_first(crate::testing::now(&bench)));
        let body = json!({ "lease_id": id, "increment": 7200 }).to_string();
        assert_eq!(bench.root(Update, "sys/leases/renew", &body).body["lease_duration"], 7200);
        bench.write("sys/leases/revoke", &json!({ "lease_id": id }).to_string());
        // Whoever made it may not be done.
        assert_eq!(database.borrow().users.len(), 1);
        if recorded {
            let made = [(undertaking.about.clone(), rev)];
            let now = crate::testing::now(&bench);
            let batch = bench.authority.conclude_made(&bench.store, &made, now, &bench.random).unwrap();
            assert!(matches!(bench.store.commit(batch), Err(Fault::Conflict(_))), "it was revoked meanwhile");
            assert!(bench.undertake(&undertaking, None).is_err());
            bench.pass(Duration::ZERO);
        } else {
            bench.pass(Duration::from_secs(61));
        }
        assert_eq!((database.borrow().users.len(), bench.count("lease/")), (0, 0));
    }
}

#[test]
fn many_that_were_made_are_recorded_together() {
    let (mut bench, database) = bench();
    let mut made = Vec::new();
    for _ in 0..3 {
        let (undertaking, rev) = begin(&mut bench, "database/creds/api-role");
        database.borrow_mut().perform(&undertaking.act).unwrap();
        made.push((undertaking.about.clone(), rev));
    }
    let now = crate::testing::now(&bench);
    let batch = bench.authority.conclude_made(&bench.store, &made, now, &bench.random).unwrap();
    assert_eq!((batch.puts.len(), batch.deletes.len()), (made.len(), 0));
    bench.store.commit(batch).unwrap();
    bench.write("sys/leases/revoke-prefix/database", "");
    assert_eq!((database.borrow().users.len(), bench.count("lease/")), (0, 0));
}

#[test]
fn what_ends_before_its_time_to_be_made_is_recorded_first() {
    let (mut bench, database) = bench();
    let role = json!({ "db_name": "postgres", "creation_statements": CREATION, "default_ttl": 30 });
    bench.write("database/roles/fixed", &role.to_string());
    let (undertaking, _) = begin(&mut bench, "database/creds/fixed");
    database.borrow_mut().perform(&undertaking.act).unwrap();
    assert!(!undertaking.about.is_told_first(crate::testing::now(&bench)));
    bench.pass(Duration::from_secs(61));
    assert_eq!((database.borrow().users.len(), bench.count("lease/")), (0, 0));
}

#[test]
fn what_comes_too_late_is_taken_back() {
    let (mut bench, database) = bench();
    let (undertaking, rev) = begin(&mut bench, "database/creds/api-role");
    // The clock jumps: the lease is taken back before the user is there.
    bench.pass(HOUR * 24);
    assert_eq!(bench.count("lease/"), 0);
    assert!(bench.undertake(&undertaking, Some(rev)).is_err());
    assert_eq!(database.borrow().users.len(), 1);
    bench.pass(Duration::ZERO);
    assert_eq!((database.borrow().users.len(), bench.count("lease/")), (0, 0));
    // Revoked while it is being made.
    let (undertaking, rev) = begin(&mut bench, "database/creds/api-role");
    bench.write("sys/leases/revoke-prefix/database", "");
    assert!(bench.undertake(&undertaking, Some(rev)).is_err());
    bench.pass(Duration::ZERO);
    assert_eq!((database.borrow().users.len(), bench.count("lease/")), (0, 0));
}

#[test]
fn a_database_that_is_down_gives_no_lease() {
    let (mut bench, database) = bench();
    database.borrow_mut().down = true;
    let refused = bench.root(Read, "database/creds/api-role", "");
    assert_eq!(refused.status, 502);
    assert!(refused.errors().contains("connection refused"), "{refused:?}");
    assert_eq!(bench.count("lease/"), 0);
    // It did it, but nobody knows.
    *database.borrow_mut() = Database { mute: true, ..Database::default() };
    assert_eq!(bench.root(Read, "database/creds/api-role", "").status, 502);
    assert_eq!(database.borrow().users.len(), 1);
    database.borrow_mut().mute = false;
    bench.pass(Duration::ZERO);
    assert_eq!((database.borrow().users.len(), bench.count("lease/")), (0, 0));
}

#[test]
fn revocation_is_tried_until_it_succeeds_and_shows_what_is_stuck() {
    let (mut bench, database) = bench();
    let (_, _, lease) = creds(&mut bench);
    database.borrow_mut().down = true;
    assert_eq!(bench.root(Update, &format!("sys/leases/revoke/{lease}"), "").status, 204);
    let tries = |database: &Shared| database.borrow().asked;
    let first = tries(&database);
    bench.pass(Duration::from_secs(4));
    assert_eq!(tries(&database), first, "not before its time");
    bench.pass(Duration::from_secs(2));
    assert_eq!(tries(&database), first + 1);
    assert_eq!(bench.read("sys/leases?type=irrevocable").data()["leases"], json!([]));
    for _ in 0..600 {
        bench.pass(Duration::from_secs(60));
    }
    assert!(tries(&database) < first + 70, "{}: pauses grow, up to ten minutes", tries(&database));
    let stuck = bench.read("sys/leases?type=irrevocable").data().clone();
    assert_eq!(stuck["leases"], json!([{ "lease_id": lease, "error": "connection refused" }]));
    assert_eq!(bench.read("sys/leases/count?type=irrevocable").data()["lease_count"], 1);
    database.borrow_mut().down = false;
    bench.pass(Duration::from_secs(601));
    assert_eq!((database.borrow().users.len(), bench.count("lease/")), (0, 0));
}

#[test]
fn force_forgets_what_cannot_be_taken_back() {
    let (mut bench, database) = bench();
    let (..) = creds(&mut bench);
    database.borrow_mut().down = true;
    assert_eq!(bench.root(Update, "sys/leases/revoke-force/database/creds", "").status, 204);
    assert_eq!((database.borrow().users.len(), bench.count("lease/")), (1, 0));
}

#[test]
fn users_end_with_the_token_they_were_made_for() {
    let (mut bench, database) = bench();
    bench.policy("db", "path \"database/creds/*\" { capabilities = [\"read\"] }");
    let token = bench.created(&bench.root.clone(), r#"{"policies":"db","ttl":"30m"}"#);
    for _ in 0..25 {
        assert_eq!(bench.ask(&token, Read, "database/creds/api-role", "").status, 200);
    }
    assert_eq!(database.borrow().users.len(), 25);
    bench.ask(&token, Update, "auth/token/revoke-self", "");
    assert_eq!((database.borrow().users.len(), bench.count("lease/token/")), (0, 0));
    let token = bench.created(&bench.root.clone(), r#"{"policies":"db","ttl":"30m"}"#);
    bench.ask(&token, Read, "database/creds/api-role", "");
    bench.pass(HOUR / 2);
    assert_eq!((database.borrow().users.len(), bench.count("lease/")), (0, 0));
    // A batch token cannot be revoked: nothing it is given outlives it.
    let batch = bench.created(&bench.root.clone(), r#"{"policies":"db","ttl":"10m","type":"batch"}"#);
    let answer = bench.ask(&batch, Read, "database/creds/api-role", "");
    assert_eq!(answer.body["lease_duration"], 600);
}

#[test]
fn what_a_pod_holds_is_revoked_together() {
    let (mut bench, database) = bench();
    bench.policy("db", "path \"database/creds/*\" { capabilities = [\"read\"] }");
    let token = |bench: &mut Bench, pod: &str| {
        let meta =
            json!({ "service_account_namespace": "prod", "pod_name": pod, "pod_uid": format!("uid-{pod}") });
        let body = json!({ "policies": "db", "ttl": "1h", "meta": meta });
        bench.created(&bench.root.clone(), &body.to_string())
    };
    let (mine, other) = (token(&mut bench, "api-1"), token(&mut bench, "api-2"));
    for token in [&mine, &mine, &other] {
        assert_eq!(bench.ask(token, Read, "database/creds/api-role", "").status, 200);
    }
    for (body, status) in [("{}", 400), (r#"{"pod":"api-1"}"#, 400), (r#"{"pod":"prod/api-1"}"#, 204)] {
        assert_eq!(bench.root(Update, "sys/leases/revoke-holder", body).status, status, "{body}");
    }
    assert_eq!(database.borrow().users.len(), 1);
    assert_eq!(bench.ask(&mine, Read, "auth/token/lookup-self", "").status, 403);
    assert_eq!(bench.ask(&other, Read, "auth/token/lookup-self", "").status, 200);
    bench.write("sys/leases/revoke-holder", r#"{"pod_uid":"uid-api-2"}"#);
    assert_eq!(database.borrow().users.len(), 0);
}

#[test]
fn a_mount_goes_when_its_users_are_gone() {
    let (mut bench, database) = bench();
    creds(&mut bench);
    database.borrow_mut().down = true;
    assert_eq!(bench.root(Delete, "sys/mounts/database", "").status, 204);
    assert_eq!(bench.root(Read, "database/creds/api-role", "").status, 404);
    assert!(bench.count("m/") > 0, "how to reach the database is still needed");
    // Another mount at the same place has nothing to do with it.
    bench.write("sys/mounts/database", r#"{"type":"database"}"#);
    database.borrow_mut().down = false;
    bench.pass(Duration::from_secs(30));
    assert_eq!((database.borrow().users.len(), bench.count("lease/id/")), (0, 0));
    bench.pass(Duration::from_secs(30));
    assert_eq!((bench.count("m/"), bench.count("lease/")), (0, 0));
}

#[test]
fn the_connections_own_password_is_changed() {
    let (mut bench, database) = bench();
    database.borrow_mut().own.push("first".to_owned());
    creds(&mut bench);
    assert_eq!(bench.root(Update, "database/rotate-root/postgres", "").status, 204);
    assert_eq!(database.borrow().own.len(), 2);
    creds(&mut bench);
    let shown = bench.read("database/config/postgres").data().to_string();
    assert!(!shown.contains("first") && !shown.contains(database.borrow().own.last().unwrap()), "{shown}");
    // The machine dies after the server has taken the new one.
    database.borrow_mut().mute = true;
    assert_eq!(bench.root(Update, "database/rotate-root/postgres", "").status, 502);
    database.borrow_mut().mute = false;
    assert_eq!(database.borrow().own.len(), 3);
    creds(&mut bench);
    bench.pass(Duration::from_secs(61));
    let own = database.borrow().own.clone();
    assert_eq!(own[2..], [own[2].clone(), own[2].clone()], "the same is set once more");
    assert_eq!(bench.count("lease/due/"), 3, "three users, and no password under way");
    // It never got there.
    database.borrow_mut().down = true;
    assert_eq!(bench.root(Update, "database/rotate-root/postgres", "").status, 502);
    database.borrow_mut().down = false;
    creds(&mut bench);
    assert_eq!(database.borrow().own.len(), 4);
}

#[test]
fn the_connections_own_password_is_changed_by_the_clock() {
    let (mut bench, database) = bench();
    database.borrow_mut().own.push("first".to_owned());
    let times = |database: &Shared| database.borrow().own.len();
    bench.write("database/config/postgres", r#"{"rotation_period":"1h"}"#);
    bench.pass(HOUR - Duration::from_secs(1));
    assert_eq!(times(&database), 1);
    for wanted in 2..5 {
        bench.pass(HOUR);
        assert_eq!(times(&database), wanted);
        creds(&mut bench);
    }
    // Other settings leave it as it is, and who cannot be reached is asked the next time.
    bench.write("database/config/postgres", r#"{"max_open_connections":8}"#);
    database.borrow_mut().down = true;
    bench.pass(HOUR);
    database.borrow_mut().down = false;
    assert_eq!(times(&database), 4);
    // It is done, and nobody hears of it: the same is set again.
    database.borrow_mut().mute = true;
    bench.pass(HOUR);
    database.borrow_mut().mute = false;
    creds(&mut bench);
    bench.pass(Duration::from_secs(61));
    let own = database.borrow().own.clone();
    assert!(own.len() == 6 && own[4] == own[5], "{own:?}");
    let shown = bench.read("database/config/postgres").data().clone();
    assert_eq!(
        (&shown["rotation_period"], &shown["disable_automated_rotation"]),
        (&json!(3600), &json!(false))
    );
    let at = |name: &str| shown[name].as_str().unwrap()[11..19].to_owned();
    assert_eq!(
        (at("last_vault_rotation"), at("next_vault_rotation")),
        ("06:01:00".into(), "07:01:00".into())
    );
    bench.write("database/config/postgres", r#"{"rotation_schedule":"0 3 * * *","rotation_window":"1h"}"#);
    let shown = bench.read("database/config/postgres").data().clone();
    assert_eq!((&shown["rotation_period"], &shown["rotation_window"]), (&json!(0), &json!(3600)));
    bench.pass(19 * HOUR);
    assert_eq!(times(&database), 6);
    bench.pass(2 * HOUR);
    assert_eq!(times(&database), 7);
    bench.write("database/config/postgres", r#"{"disable_automated_rotation":true}"#);
    bench.pass(48 * HOUR);
    assert_eq!(times(&database), 7);
    assert_eq!(bench.read("database/config/postgres").data()["next_vault_rotation"], Value::Null);
    bench.write("database/config/postgres", r#"{"disable_automated_rotation":false}"#);
    assert_eq!(bench.root(Delete, "database/config/postgres", "").status, 204);
    assert_eq!(bench.count("lease/due/"), bench.count("lease/id/"), "no more than the users are due");
}

#[test]
fn what_the_clock_could_not_change_is_refused() {
    let (mut bench, _) = bench();
    let literal = "postgresql://keyward:first@postgres:5432/production";
    for (body, words) in [
        (json!({ "rotation_period": 5 }), "rotation_period must be 10 seconds or more"),
        (json!({ "rotation_period": 60, "rotation_schedule": "0 0 * * *" }), "mutually exclusive fields"),
        (json!({ "rotation_period": 60, "rotation_window": "1h" }), "rotation_window is invalid with"),
        (json!({ "rotation_period": 60, "password": "" }), "no username or password"),
        (json!({ "rotation_period": 60, "connection_url": literal }), "no {{password}} in connection_url"),
    ] {
        let refused = bench.root(Update, "database/config/postgres", &body.to_string());
        assert!(refused.status == 400 && refused.errors().contains(words), "{body}: {refused:?}");
    }
    bench.write("database/config/postgres", &json!({ "connection_url": literal }).to_string());
    let refused = bench.root(Update, "database/rotate-root/postgres", "");
    assert!(refused.errors().contains("no {{password}} in connection_url"), "{refused:?}");
    let refused = bench.root(Update, "database/rotate-root/none", "");
    assert!(refused.errors().contains("failed to find entry for connection"), "{refused:?}");
}

#[test]
fn what_is_not_there_is_refused_and_not_passed_over() {
    let (mut bench, database) = bench();
    let before = database.borrow().asked;
    for (path, name, value) in [
        ("config/postgres", "auth_type", json!("gcp_iam")),
        ("config/postgres", "self_managed", json!(true)),
        ("config/postgres", "rotation_policy", json!("gentle")),
        ("static-roles/fixed", "self_managed_password", json!("x")),
    ] {
        let body =
            json!({ "db_name": "postgres", "username": "legacy", "rotation_period": "1h", name: value });
        let body = if path.starts_with("config") { json!({ name: value }) } else { body };
        let refused = bench.root(Update, &format!("database/{path}"), &body.to_string());
        assert!(refused.status == 400 && refused.errors().starts_with(name), "{body}: {refused:?}");
    }
    assert_eq!(database.borrow().asked, before);
    for nothing in [json!(0), json!(""), json!(false), Value::Null] {
        bench.write("database/config/postgres", &json!({ "auth_type": nothing }).to_string());
    }
}

#[test]
fn the_server_may_be_told_verifiers_alone() {
    let (mut bench, database) = bench();
    bench.write("database/config/postgres", r#"{"password_authentication":"scram-sha-256"}"#);
    let details = bench.read("database/config/postgres").data()["connection_details"].clone();
    assert_eq!(details["password_authentication"], "scram-sha-256");
    let ((one, password, _), (other, ..)) = (creds(&mut bench), creds(&mut bench));
    let told = |user: &str| database.borrow().users[user].clone();
    let parts = |told: &str| told.split(['$', ':']).map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (parts(&told(&one)), parts(&told(&other)));
    assert!(first[..2] == ["SCRAM-SHA-256", "4096"] && first.len() == 5, "{first:?}");
    assert!(first[2] != second[2] && !told(&one).contains(&password), "each has a salt of its own");
    bench.write("database/config/postgres", r#"{"password_authentication":"password"}"#);
    let (user, password, _) = creds(&mut bench);
    assert_eq!(told(&user), password);
    for (plugin, kind, words) in [
        ("postgresql-database-plugin", "md5", "unknown password_authentication"),
        ("mysql-database-plugin", "scram-sha-256", "PostgreSQL alone"),
    ] {
        let body = json!({
            "plugin_name": plugin, "connection_url": "{{username}}@tcp(127.0.0.1:1)/", "password_authentication": kind,
        });
        let refused = bench.root(Update, "database/config/other", &body.to_string());
        assert!(refused.status == 400 && refused.errors().contains(words), "{refused:?}");
    }
}

#[test]
fn fixed_users_change_their_password_by_the_clock() {
    let (mut bench, database) = bench();
    database.borrow_mut().users.insert("legacy".to_owned(), "old".to_owned());
    let role = json!({ "db_name": "postgres", "username": "legacy", "rotation_period": "1h" }).to_string();
    bench.write("database/static-roles/fixed", &role);
    let shown = bench.read("database/static-creds/fixed").data().clone();
    let now = |database: &Shared| database.borrow().users["legacy"].clone();
    assert_eq!(shown["password"], now(&database));
    assert_eq!((&shown["username"], &shown["ttl"]), (&json!("legacy"), &json!(3600)));
    bench.pass(HOUR);
    let second = bench.read("database/static-creds/fixed").data()["password"].clone();
    assert!(second == now(&database) && second != shown["password"]);
    database.borrow_mut().down = true;
    bench.pass(HOUR);
    assert_eq!(bench.read("database/static-creds/fixed").data()["password"], second, "as the server has it");
    database.borrow_mut().down = false;
    bench.pass(Duration::from_secs(601));
    assert_ne!(now(&database), second);
    bench.write("database/rotate-role/fixed", "");
    assert_eq!(bench.read("database/static-creds/fixed").data()["password"], now(&database));
    assert_eq!(bench.root(Delete, "database/static-roles/fixed", "").status, 204);
    assert_eq!(bench.count("lease/due/"), 0);
    // A try that does not get through says nothing of one before, which perhaps did.
    database.borrow_mut().mute = true;
    assert_eq!(bench.root(Update, "database/static-roles/fixed", &role).status, 502);
    (database.borrow_mut().mute, database.borrow_mut().down) = (false, true);
    bench.pass(Duration::from_secs(61));
    database.borrow_mut().down = false;
    bench.pass(Duration::from_secs(601));
    assert_eq!(bench.read("database/static-creds/fixed").data()["password"], now(&database));
    assert_eq!(bench.root(Delete, "database/static-roles/fixed", "").status, 204);
    // One that cannot be made is not there.
    database.borrow_mut().down = true;
    assert_eq!(bench.root(Update, "database/static-roles/fixed", &role).status, 502);
    assert_eq!(bench.root(Read, "database/static-roles/fixed", "").status, 404);
    assert_eq!(bench.count("lease/due/"), 0);
}

#[test]
fn fixed_users_may_keep_their_password_until_its_first_time() {
    let (mut bench, database) = bench();
    database.borrow_mut().users.insert("legacy".to_owned(), "old".to_owned());
    let now = |database: &Shared| database.borrow().users["legacy"].clone();
    let role = |more: Value| {
        let mut role = json!({ "db_name": "postgres", "username": "legacy", "rotation_period": "1h" });
        role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        role.to_string()
    };
    bench.write("database/static-roles/fixed", &role(json!({ "skip_import_rotation": true })));
    let unknown = bench.root(Read, "database/static-creds/fixed", "");
    assert!(
        unknown.status == 400 && unknown.errors().contains("not known before it is changed"),
        "{unknown:?}"
    );
    bench.write("database/static-roles/fixed", r#"{"password":"old"}"#);
    bench.pass(HOUR / 2);
    let shown = bench.read("database/static-creds/fixed").data().clone();
    assert_eq!((&shown["password"], &shown["ttl"]), (&json!("old"), &json!(1800)));
    assert_eq!(shown["last_vault_rotation"], "0001-01-01T00:00:00Z");
    let shown = bench.read("database/static-roles/fixed").data().clone();
    assert_eq!((&shown["skip_import_rotation"], &shown["last_vault_rotation"]), (&json!(true), &Value::Null));
    assert_eq!((now(&database), shown.to_string().contains("old")), ("old".to_owned(), false));
    // Its first time comes when nobody is there: the role stays.
    database.borrow_mut().down = true;
    bench.pass(HOUR / 2);
    assert_eq!(bench.read("database/static-creds/fixed").data()["password"], "old");
    database.borrow_mut().down = false;
    bench.pass(Duration::from_secs(11));
    let second = now(&database);
    assert_ne!(second, "old");
    assert_eq!(bench.read("database/static-creds/fixed").data()["password"], second);
    let refused = |bench: &mut Bench, body: &str| {
        let refused = bench.root(Update, "database/static-roles/fixed", body);
        assert!(
            refused.status == 400 && refused.errors().contains("made with skip_import_rotation"),
            "{refused:?}"
        );
    };
    refused(&mut bench, r#"{"password":"old"}"#);
    bench.root(Delete, "database/static-roles/fixed", "");
    refused(&mut bench, &role(json!({ "password": "old" })));
    // The connection says it for all roles that do not say otherwise.
    bench.write("database/config/postgres", r#"{"skip_static_role_import_rotation":true}"#);
    assert_eq!(bench.read("database/config/postgres").data()["skip_static_role_import_rotation"], true);
    bench.write("database/static-roles/fixed", &role(json!({ "password": second })));
    assert_eq!(now(&database), second);
    bench.write("database/rotate-role/fixed", "");
    assert_ne!(now(&database), second);
    bench.root(Delete, "database/static-roles/fixed", "");
    let third = now(&database);
    bench.write("database/static-roles/fixed", &role(json!({ "skip_import_rotation": "false" })));
    assert_ne!(now(&database), third);
}

#[test]
fn fixed_users_change_their_password_at_scheduled_times() {
    let (mut bench, database) = bench();
    database.borrow_mut().users.insert("legacy".to_owned(), "old".to_owned());
    // The bench begins on a Thursday, at midnight.
    let role = json!({ "db_name": "postgres", "username": "legacy", "rotation_schedule": "0 3 * * thu,sat",
        "rotation_window": "2h" });
    bench.write("database/static-roles/fixed", &role.to_string());
    let shown = bench.read("database/static-creds/fixed").data().clone();
    assert_eq!((&shown["ttl"], &shown["rotation_period"]), (&json!(3 * 3600), &Value::Null));
    assert_eq!(
        (&shown["rotation_schedule"], &shown["rotation_window"]),
        (&json!("0 3 * * thu,sat"), &json!(7200))
    );
    let now = |database: &Shared| database.borrow().users["legacy"].clone();
    let first = now(&database);
    bench.pass(3 * HOUR - Duration::from_secs(1));
    assert_eq!(now(&database), first);
    bench.pass(Duration::from_secs(1));
    let second = now(&database);
    assert_ne!(second, first);
    // The next time, nobody is there for as long as the window is open: it waits for the one after that.
    database.borrow_mut().down = true;
    bench.pass(48 * HOUR);
    for _ in 0..20 {
        bench.pass(Duration::from_secs(600));
    }
    database.borrow_mut().down = false;
    let asked = database.borrow().asked;
    bench.pass(HOUR);
    assert_eq!((now(&database), database.borrow().asked), (second.clone(), asked));
    assert_eq!(bench.read("database/static-creds/fixed").data()["password"], second);
    bench.pass(4 * 24 * HOUR + 19 * HOUR + HOUR * 2 / 3);
    assert_ne!(now(&database), second);
    // What was perhaps done is finished, window or not.
    let third = now(&database);
    database.borrow_mut().mute = true;
    bench.pass(48 * HOUR);
    assert_ne!(now(&database), third);
    assert_eq!(bench.read("database/static-creds/fixed").data()["password"], third);
    database.borrow_mut().down = true;
    bench.pass(10 * HOUR);
    (database.borrow_mut().down, database.borrow_mut().mute) = (false, false);
    bench.pass(HOUR);
    assert_eq!(bench.read("database/static-creds/fixed").data()["password"], now(&database));
    // A role that is given a period has no schedule any more.
    bench.write("database/static-roles/fixed", r#"{"rotation_period":"1h"}"#);
    let shown = bench.read("database/static-roles/fixed").data().clone();
    assert_eq!((&shown["rotation_period"], &shown["rotation_schedule"]), (&json!(3600), &Value::Null));
}

#[test]
fn mistakes_are_told() {
    let (mut bench, _) = bench();
    let mut refused = |path: &str, body: &str, wanted: &str| {
        let answer = bench.root(if body.is_empty() { Read } else { Update }, path, body);
        assert!((400..500).contains(&answer.status), "{path} {body}: {answer:?}");
        assert!(answer.errors().contains(wanted), "{path} {body}: {answer:?}");
    };
    refused("database/creds/none", "", "unknown role: none");
    refused("database/config/x", r#"{"plugin_name":""}"#, "empty plugin name");
    refused("database/config/x", r#"{"plugin_name":"oracle"}"#, "known: postgresql-database-plugin");
    let config = |more: &str| format!(r#"{{"plugin_name":"postgresql-database-plugin"{more}}}"#);
    refused("database/config/x", &config(""), "connection_url cannot be empty");
    refused("database/config/x", &config(r#","connection_url":"http://x""#), "must begin with postgresql://");
    let good = r#","connection_url":"postgresql://{{username}}:{{password}}@h/d""#;
    refused(
        "database/config/x",
        &config(&format!(r#"{good},"username_template":"{{{{""#)),
        "username template",
    );
    refused(
        "database/config/x",
        &config(&format!(r#"{good},"password_policy":"none""#)),
        "\"none\" is not there",
    );
    refused("database/roles/x", r#"{"db_name":""}"#, "empty database name");
    refused("database/roles/x", r#"{"db_name":"postgres"}"#, "empty creation statements");
    refused(
        "database/roles/x",
        r#"{"db_name":"postgres","default_ttl":2,"max_ttl":1}"#,
        "longer than max_ttl",
    );
    for (kind, wanted) in [
        ("rsa_private_key", "do not log in with RSA keys"),
        ("client_certificate", "users with passwords alone"),
        ("odd", "unknown credential_type"),
    ] {
        let role =
            json!({"db_name": "postgres", "creation_statements": ["a"], "credential_type": kind}).to_string();
        refused("database/roles/x", &role, wanted);
    }
    let fixed = |more: &str| format!(r#"{{"db_name":"postgres","username":"a"{more}}}"#);
    for (more, wanted) in [
        ("", "one of rotation_schedule or rotation_period must be"),
        (r#","rotation_period":1"#, "rotation_period must be 5 seconds or more"),
        (r#","rotation_period":60,"rotation_schedule":"0 0 * * *""#, "mutually exclusive fields"),
        (r#","rotation_period":60,"rotation_window":"1h""#, "rotation_window is invalid with"),
        (r#","rotation_schedule":"0 0 * * *","rotation_window":60"#, "rotation_window must be 3600 seconds"),
        (r#","rotation_schedule":"@daily""#, "could not parse rotation_schedule: a schedule has 5 fields"),
    ] {
        refused("database/static-roles/x", &fixed(more), wanted);
    }
    refused(
        "database/static-roles/x",
        r#"{"db_name":"postgres","username":"a\"b","rotation_period":60}"#,
        "cannot have quotes",
    );
    refused(
        "database/static-roles/x",
        r#"{"db_name":"postgres","username":"a","rotation_period":60}"#,
        "not an allowed role",
    );
    assert_eq!(bench.root(List, "database/roles", "").data()["keys"], json!(["api-role"]));
    assert_eq!(bench.root(List, "database/config", "").data()["keys"], json!(["postgres"]));
    bench
        .write("sys/policies/password/odd", r#"{"policy":"length=20 rule \"charset\" { charset = \"'\" }"}"#);
    bench.write("database/config/postgres", r#"{"password_policy":"odd"}"#);
    let answer = bench.root(Read, "database/creds/api-role", "");
    assert!(answer.errors().contains("leave them out of its charset"), "{answer:?}");
}

#[test]
fn what_was_written_is_read_back() {
    let (mut bench, _) = bench();
    assert_eq!(
        *bench.read("database/roles/api-role").data(),
        json!({"db_name": "postgres", "creation_statements": [CREATION], "revocation_statements": [],
            "rollback_statements": [], "renew_statements": [], "default_ttl": 3600, "max_ttl": 86400,
            "credential_type": "password"})
    );
    let shown = bench.read("database/config/postgres").data().clone();
    assert_eq!(shown["allowed_roles"], json!(["api-role", "fixed"]));
    assert_eq!(shown["connection_details"]["username"], "keyward");
    assert_eq!(shown["connection_details"]["password"], Value::Null);
}

#[test]
fn as_many_connections_are_kept_as_may_be_open() {
    let (mut bench, _database) = bench();
    let mut kept = |sent: &str| {
        bench.write("database/config/postgres", sent);
        bench.read("database/config/postgres").data()["connection_details"]["max_idle_connections"].clone()
    };
    for (sent, wanted) in [
        ("{}", 4),
        (r#"{"max_open_connections":8}"#, 8),
        (r#"{"max_idle_connections":3}"#, 3),
        (r#"{"max_open_connections":2}"#, 2),
        (r#"{"max_open_connections":16,"max_idle_connections":0}"#, 16),
        (r#"{"max_idle_connections":-1}"#, 0),
    ] {
        assert_eq!(kept(sent), wanted, "{sent}");
    }
}
