//! User lockout: whoever fails to log in too often is refused for a while, whatever they show.
//!
//! A failure is a stored count, which ends by itself; a success after none costs one read of what is kept in memory.
//! Guesses at names that nobody has are counted too, where the method cannot tell them without saying so.

use crate::context::Context;
use crate::expiry::{self, Due};
use crate::mounts::{Mount, UserLockout};
use crate::refusal::Refusal;
use crate::response::{Login, Response};
use crate::txn::Txn;
use keyward_core::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The directory of counts, by the mount's accessor.
const ENTRIES: &str = "core/lockout/";

/// The auth methods in which names can be tried out.
pub const METHODS: [&str; 3] = ["approle", "ldap", "userpass"];

/// Failures of one name at one mount. Times are in nanoseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Failures {
    /// The name tried.
    name: String,
    count: u64,
    last: u64,
    /// When this is forgotten.
    ends: u64,
}

/// What came of an attempt to log in.
pub enum Attempt {
    /// It succeeded: a login.
    Good(Box<Response>),
    /// What was shown was wrong: this counts.
    Wrong(Refusal),
}

impl UserLockout {
    /// Failures before a name is locked.
    pub fn threshold(&self) -> u64 {
        if self.threshold == 0 { 5 } else { self.threshold }
    }

    /// How long a name stays locked.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(if self.duration == 0 { 900 } else { self.duration })
    }

    /// How long a failure counts.
    pub fn counter_reset(&self) -> Duration {
        Duration::from_secs(if self.counter_reset == 0 { 900 } else { self.counter_reset })
    }
}

impl Attempt {
    /// One that succeeded.
    pub fn good(login: Login) -> Attempt {
        Attempt::Good(Box::new(Response::login(login)))
    }
}

/// Lets `attempt` decide on a login of `name`, unless the name is locked, and counts what is wrong.
pub fn guarded(
    cx: &mut Context<'_, '_>,
    name: &str,
    attempt: impl FnOnce(&mut Context<'_, '_>) -> Result<Attempt, Refusal>,
) -> Result<Response, Refusal> {
    let config = cx.mount.config.user_lockout.clone().unwrap_or_default();
    if config.disable {
        return match attempt(cx)? {
            Attempt::Good(login) => Ok(*login),
            Attempt::Wrong(refusal) => Err(refusal),
        };
    }
    let key = key(cx.txn, &cx.mount.accessor, name);
    // Logins at the same time need not wait for each other: only who counts relies on the count.
    let before = cx.txn.unrelied(|txn| txn.built_json::<Failures>(&key))?;
    if before.as_ref().is_some_and(|failures| failures.locks(&config, cx.now)) {
        return Err(Refusal::denied("too many failed logins: the name is locked for a while"));
    }
    match (attempt(cx)?, before) {
        (Attempt::Good(login), None) => Ok(*login),
        (Attempt::Good(login), Some(failures)) => {
            forget(cx.txn, &key, &failures);
            Ok(*login)
        }
        (Attempt::Wrong(refusal), before) => {
            cx.txn.exists(&key)?;
            if let Some(before) = &before {
                forget(cx.txn, &key, before);
            }
            let failures = Failures::after(before.as_deref(), name, &config, cx.now);
            expiry::remember(cx.txn, failures.ends, due_name(&key), &Due::Entry(key.clone()))?;
            cx.txn.put_json(&key, &failures)?;
            Ok(Response::refused(refusal))
        }
    }
}

impl Failures {
    fn locks(&self, config: &UserLockout, now: Timestamp) -> bool {
        let since = now.since(Timestamp::from_nanos(self.last));
        self.count >= config.threshold() && since < config.duration()
    }

    /// One failure more, or the first after long.
    fn after(before: Option<&Failures>, name: &str, config: &UserLockout, now: Timestamp) -> Failures {
        let counts = |failures: &&Failures| {
            let since = now.since(Timestamp::from_nanos(failures.last));
            since < config.counter_reset() && failures.count < config.threshold()
        };
        let count = before.filter(counts).map_or(0, |failures| failures.count) + 1;
        let kept = config.duration().max(config.counter_reset());
        Failures { name: name.to_owned(), count, last: now.nanos(), ends: now.plus(kept).nanos() }
    }
}

/// Names come from outside: hashed, so that any name is a valid key.
fn key(txn: &Txn<'_>, accessor: &str, name: &str) -> String {
    let tag = txn.keyring().names.tag_parts(&[b"lockout\0", accessor.as_bytes(), b"\0", name.as_bytes()]);
    [ENTRIES, accessor, "/", &hex::encode(&tag[..20])].concat()
}

fn due_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or("")
}

fn forget(txn: &mut Txn<'_>, key: &str, failures: &Failures) {
    expiry::forget(txn, failures.ends, due_name(key));
    txn.delete(key);
}

/// The names locked at `mount`, in order.
pub fn locked(txn: &mut Txn<'_>, mount: &Mount, now: Timestamp) -> Result<Vec<String>, Refusal> {
    let config = mount.config.user_lockout.clone().unwrap_or_default();
    let mut names = Vec::new();
    if config.disable {
        return Ok(names);
    }
    for key in txn.keys(&[ENTRIES, &mount.accessor, "/"].concat(), b"", usize::MAX)? {
        if let Some(failures) = txn.get_json::<Failures>(&key)?
            && failures.locks(&config, now)
        {
            names.push(failures.name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Forgets the failures of `name` at the mount `accessor`.
pub fn unlock(txn: &mut Txn<'_>, accessor: &str, name: &str) -> Result<(), Refusal> {
    let key = key(txn, accessor, name);
    if let Some(failures) = txn.get_json::<Failures>(&key)? {
        forget(txn, &key, &failures);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::request::Operation::{Read, Update};
    use crate::testing::{Answer, Bench};
    use serde_json::json;
    use std::time::Duration;

    fn bench() -> Bench {
        let mut bench = Bench::new();
        bench.mount_auth("userpass", "people");
        bench.write("auth/people/users/ann", r#"{"password":"right"}"#);
        bench
    }

    fn log_in(bench: &mut Bench, name: &str, password: &str) -> Answer {
        let body = json!({ "password": password }).to_string();
        bench.ask("", Update, &format!("auth/people/login/{name}"), &body)
    }

    fn fail(bench: &mut Bench, name: &str, times: usize) {
        for _ in 0..times {
            let answer = log_in(bench, name, "wrong");
            assert_eq!((answer.status, answer.errors().as_str()), (400, "invalid username or password"));
        }
    }

    fn tune(bench: &mut Bench, config: &serde_json::Value) -> Answer {
        bench.root(Update, "sys/auth/people/tune", &json!({ "user_lockout_config": config }).to_string())
    }

    #[test]
    fn who_fails_too_often_is_locked_for_a_while() {
        let mut bench = bench();
        fail(&mut bench, "ann", 5);
        let locked = log_in(&mut bench, "Ann", "right");
        assert_eq!(
            (locked.status, locked.errors().trim()),
            (403, "1 error occurred:\n\t* permission denied")
        );
        bench.pass(Duration::from_secs(899));
        assert_eq!(log_in(&mut bench, "ann", "right").status, 403);
        bench.pass(Duration::from_secs(1));
        assert_eq!(log_in(&mut bench, "ann", "right").status, 200);
        assert_eq!(bench.count("core/lockout/"), 0);
        // A success begins anew.
        fail(&mut bench, "ann", 4);
        assert_eq!(log_in(&mut bench, "ann", "right").status, 200);
        fail(&mut bench, "ann", 4);
        assert_eq!(log_in(&mut bench, "ann", "right").status, 200);
        assert_eq!(bench.count("core/lockout/"), 0);
    }

    #[test]
    fn old_failures_do_not_count() {
        let mut bench = bench();
        fail(&mut bench, "ann", 4);
        bench.pass(Duration::from_secs(900));
        assert_eq!(bench.count("core/lockout/"), 0);
        fail(&mut bench, "ann", 4);
        assert_eq!(log_in(&mut bench, "ann", "right").status, 200);
        let config = json!(r#"{"lockout_counter_reset_duration": "10s", "lockout_threshold": "2"}"#);
        assert_eq!(tune(&mut bench, &config).status, 204);
        fail(&mut bench, "ann", 1);
        bench.pass(Duration::from_secs(10));
        fail(&mut bench, "ann", 1);
        assert_eq!(log_in(&mut bench, "ann", "right").status, 200);
    }

    #[test]
    fn names_that_nobody_has_are_locked_alike() {
        let mut bench = bench();
        fail(&mut bench, "nobody", 5);
        assert_eq!(log_in(&mut bench, "nobody", "wrong").status, 403);
        assert_eq!(log_in(&mut bench, "ann", "right").status, 200);
    }

    #[test]
    fn operators_see_and_unlock_names() {
        let mut bench = bench();
        let accessor = bench.read("sys/auth").data()["people/"]["accessor"].as_str().unwrap().to_owned();
        let none = json!({"total": 0, "by_namespace": []});
        assert_eq!(bench.read("sys/locked-users").data(), &none);
        fail(&mut bench, "ann", 5);
        fail(&mut bench, "bob", 5);
        fail(&mut bench, "eve", 4);
        let of_mount = json!({"mount_accessor": accessor, "counts": 2, "alias_identifiers": ["ann", "bob"]});
        let shown = json!({"total": 2, "by_namespace": [
            {"namespace_id": "root", "namespace_path": "", "counts": 2, "mount_accessors": [of_mount]}]});
        assert_eq!(bench.read("sys/locked-users").data(), &shown);
        assert_eq!(bench.read(&format!("sys/locked-users?mount_accessor={accessor}")).data(), &shown);
        assert_eq!(bench.root(Read, "sys/locked-users?mount_accessor=none", "").status, 400);
        bench.write(&format!("sys/locked-users/{accessor}/unlock/ann"), "");
        assert_eq!(log_in(&mut bench, "ann", "right").status, 200);
        assert_eq!(bench.read("sys/locked-users").data()["total"], 1);
    }

    #[test]
    fn mounts_say_when_names_are_locked() {
        let mut bench = bench();
        let config = json!({"lockout_threshold": 2, "lockout_duration": "1m"});
        assert_eq!(tune(&mut bench, &config).status, 204);
        let shown = bench.read("sys/auth/people/tune").data().clone();
        assert_eq!(
            (&shown["user_lockout_threshold"], &shown["user_lockout_duration"]),
            (&json!(2), &json!(60))
        );
        assert_eq!(shown["user_lockout_counter_reset_duration"], 900);
        fail(&mut bench, "ann", 2);
        assert_eq!(log_in(&mut bench, "ann", "right").status, 403);
        assert_eq!(tune(&mut bench, &json!({"lockout_disable": true})).status, 204);
        assert_eq!(log_in(&mut bench, "ann", "right").status, 200);
        fail(&mut bench, "ann", 9);
        assert_eq!(bench.read("sys/auth/people/tune").data()["user_lockout_disable"], true);
        let body = json!({"user_lockout_config": {"lockout_threshold": 2}}).to_string();
        let refused = bench.root(Update, "sys/auth/token/tune", &body);
        assert_eq!(
            refused.errors(),
            "tuning of user lockout configuration for auth type \"token\" not allowed"
        );
        assert_eq!(tune(&mut bench, &json!({"lockout_duration": -1})).status, 400);
    }

    #[test]
    fn approles_are_locked_by_their_role_id() {
        let mut bench = Bench::new();
        bench.mount_auth("approle", "machines");
        bench.write("auth/machines/role/web", r#"{"role_id":"web-id"}"#);
        let secret = bench.write("auth/machines/role/web/secret-id", "").data()["secret_id"].clone();
        let log_in = |bench: &mut Bench, role: &str, secret: &serde_json::Value| {
            let body = json!({"role_id": role, "secret_id": secret}).to_string();
            bench.ask("", Update, "auth/machines/login", &body).status
        };
        for _ in 0..5 {
            assert_eq!(log_in(&mut bench, "web-id", &json!("wrong")), 400);
            assert_eq!(log_in(&mut bench, "none", &json!("wrong")), 400);
        }
        assert_eq!(log_in(&mut bench, "web-id", &secret), 403);
        // A role id that is no role's is as secret as what goes with it: there is nothing to lock.
        assert_eq!(log_in(&mut bench, "none", &json!("wrong")), 400);
        assert_eq!(bench.count("core/lockout/"), 1);
    }
}
