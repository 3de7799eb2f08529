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
/// Longer than what a process that died had for what it had begun.
const PATIENCE: Duration = Duration::from_secs(150);

/// Makes users, and takes some of them back, until the server is gone. What was acknowledged is kept.
fn busy(client: &Client, known: &Mutex<Vec<Made>>, revoked: &Mutex<Vec<String>>, stop: &AtomicBool) {
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
                Ok(answer) if answer.status == 204 => revoked.lock().unwrap().push(one.user),
                _ => return,
            }
        } else {
            known.lock().unwrap().push(one);
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
    let (known, revoked) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    for death in 0..DEATHS {
        let (client, stop) = (server.root(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| busy(&client, &known, &revoked, &stop));
            }
            // Another moment each time: requests here take some milliseconds.
            std::thread::sleep(Duration::from_micros(3000 + death * 1700 % 40_000));
            server.restart();
            stop.store(true, Ordering::Relaxed);
        });
        server.unseal();
    }
    let root = server.root();
    let (known, revoked) = (known.into_inner().unwrap(), revoked.into_inner().unwrap());
    assert!(known.len() > DEATHS as usize / 4, "only {} users were made", known.len());
    let there = postgres.made();
    for one in &known {
        assert!(there.contains(&one.user), "{} was handed out and is not there", one.user);
        root.write("sys/leases/lookup", &json!({ "lease_id": one.lease })).expect(200);
    }
    for user in &revoked {
        assert!(!there.contains(user), "{user} was revoked and is there");
    }
    // What nobody was told of is taken back, and nothing else.
    let orphans =
        || postgres.made().into_iter().filter(|user| known.iter().all(|one| one.user != *user)).count();
    wait_for("what was half made to be gone", PATIENCE, || (orphans() == 0).then_some(())).unwrap();
    assert_eq!(postgres.made().len(), known.len());
    root.write("sys/leases/revoke-prefix/database", &json!({})).expect(204);
    wait_for("every user to be gone", PATIENCE, || postgres.made().is_empty().then_some(())).unwrap();
    wait_for("every lease to be gone", PATIENCE, || {
        (root.list("sys/leases/lookup/database").status == 404).then_some(())
    })
    .unwrap();
}
