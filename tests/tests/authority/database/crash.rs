//! The machine dies at any moment: nothing is left without a lease, and no lease is lost.

use super::{CREATION, Made, configure, made};
use keyward_testkit::process::wait_for;
use keyward_tests::databases::{PASSWORD, Postgres};
use keyward_tests::http::Client;
use keyward_tests::server::{ON_DISK, Server};
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Each ends in a `kill -9`, at another moment of what two clients have going on.
const DEATHS: u64 = 60;
/// More than what a process has for what it began, after which another sees to it.
const GUARD: Duration = Duration::from_secs(62);
const PATIENCE: Duration = Duration::from_secs(150);

/// What was acknowledged.
#[derive(Default)]
struct Seen {
    /// Users that were made.
    made: Mutex<Vec<Made>>,
    /// Users that were made and revoked.
    revoked: Mutex<Vec<String>>,
}

/// Makes users, and takes some of them back, until the server is gone.
fn busy(client: &Client, seen: &Seen, stop: &AtomicBool) {
    for round in 0.. {
        let Ok(answer) = client.request("GET", "/v1/database/creds/app").try_send() else { return };
        if answer.status != 200 || stop.load(Ordering::Relaxed) {
            return;
        }
        let one = made(&answer);
        if round % 3 == 2 {
            let body = json!({ "lease_id": one.lease });
            let sent = client.request("PUT", "/v1/sys/leases/revoke").json(&body).try_send();
            match sent {
                Ok(answer) if answer.status == 204 => seen.revoked.lock().unwrap().push(one.user),
                _ => return,
            }
        } else {
            seen.made.lock().unwrap().push(one);
        }
    }
}

#[test]
fn no_user_is_orphaned_and_no_lease_is_lost_whenever_the_machine_dies() {
    let Some(postgres) = Postgres::start() else { return };
    let mut server = Server::unsealed(ON_DISK);
    let connection = json!({
        "plugin_name": "postgresql-database-plugin",
        "connection_url": postgres.url(),
        "username": "postgres",
        "password": PASSWORD,
    });
    configure(&server, &connection, CREATION, &json!({}));
    let seen = Seen::default();
    for death in 0..DEATHS {
        let (client, stop) = (server.root(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| busy(&client, &seen, &stop));
            }
            // Another moment each time: requests here take some milliseconds.
            std::thread::sleep(Duration::from_micros(3000 + death * 1700 % 40_000));
            // However slow the machine is, users are made between some deaths.
            if death % 3 == 0 {
                let users = || seen.made.lock().unwrap().len();
                let before = users();
                wait_for("one more user", PATIENCE, || (users() > before).then_some(())).unwrap();
            }
            server.restart();
            stop.store(true, Ordering::Relaxed);
        });
        server.unseal();
    }
    let root = server.root();
    let (known, revoked) = (seen.made.into_inner().unwrap(), seen.revoked.into_inner().unwrap());
    assert!(known.len() > DEATHS as usize / 4, "only {} users were made", known.len());
    let there = postgres.made();
    for one in &known {
        assert!(there.contains(&one.user), "{} was handed out and is not there", one.user);
        root.write("sys/leases/lookup", &json!({ "lease_id": one.lease })).expect(200);
    }
    // What was made, but not told of any more, has its lease as all others do; so may what was not made any more.
    let leases = || {
        let listed = root.list("sys/leases/lookup/database/creds/app").json();
        listed["data"]["keys"].as_array().map_or(0, Vec::len)
    };
    let (users, leased) = (postgres.made().len(), leases());
    assert!(users <= leased, "{users} users, {leased} leases: {}", server.output());
    // Nothing that was handed out ends when the process that died would have had its time.
    std::thread::sleep(GUARD);
    for one in &known {
        root.write("sys/leases/renew", &json!({ "lease_id": one.lease })).expect(200);
    }
    wait_for("what was revoked to be gone", PATIENCE, || {
        let there = postgres.made();
        revoked.iter().all(|user| !there.contains(user)).then_some(())
    })
    .unwrap();
    let there = postgres.made();
    assert!(known.iter().all(|one| there.contains(&one.user)), "what was handed out is gone");
    root.write("sys/leases/revoke-prefix/database", &json!({})).expect(204);
    wait_for("every user to be gone", PATIENCE, || postgres.made().is_empty().then_some(())).unwrap();
    wait_for("every lease to be gone", PATIENCE, || {
        (root.list("sys/leases/lookup/database").status == 404).then_some(())
    })
    .unwrap();
}
