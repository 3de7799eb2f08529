//! What ends by time, much of it at once.

use super::leases;
use super::setup::{self, Keyward};
use crate::Failure;
use crate::load::{self, Ask};
use crate::measure::{figure, middle};
use crate::server::Server;
use keyward_authority::lease::{Holder, Issued, State};
use keyward_core::Timestamp;
use keyward_tests::databases::Postgres;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a store full of tokens that are all over takes to be empty.
pub(super) fn expiries(program: &Path, folder: &Path, count: usize) -> Result<(), Failure> {
    let data = folder.join("over");
    let server = setup::start(program, &data)?;
    let key = server.printed("Unseal key")?.to_owned();
    let root = server.printed("Root token")?.to_owned();
    server.stop();
    leases::fill(&data, &key, count, Duration::from_secs(1))?;
    std::thread::sleep(Duration::from_secs(2));
    let (began, server) = (Instant::now(), setup::start(program, &data)?);
    let before = server.cpu()?;
    while left(&server, &root)? > 0 {
        std::thread::sleep(Duration::from_millis(200));
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    let each = (server.cpu()? - before) / count as f64;
    figure(
        "expiries",
        rate / 10_000.0,
        format!("{rate:.0}/s, {each:.0} us of processor time each; wanted 10,000/s"),
    )
}

/// How long users of a database whose leases are all over take to be gone, and how long readers wait meanwhile.
pub(super) fn revocations(program: &Path, folder: &Path, count: usize) -> Result<(), Failure> {
    let Some(postgres) = Postgres::start() else { return Ok(()) };
    let data = folder.join("revoked");
    let keyward = Keyward::start(program, &data)?;
    keyward.prepare_secret()?;
    keyward.mount("database")?;
    keyward.use_database(&postgres)?;
    let mounts = keyward.manage("GET", "sys/mounts", &Value::Null)?;
    let mount = mounts["data"]["database/"]["uuid"].as_str().ok_or("the mount has no uuid")?.to_owned();
    let key = keyward.server.printed("Unseal key")?.to_owned();
    let root = keyward.server.printed("Root token")?.to_owned();
    let read = keyward.ask("GET", "secret/data/bench", "");
    let quiet = waits(&keyward.server, &read, || Ok(true))?;
    let own = left(&keyward.server, &root)?;
    keyward.server.stop();
    postgres.sql(&format!(
        "DO $$ BEGIN FOR i IN 1..{count} LOOP EXECUTE format('CREATE ROLE \"v-bench-%s\" LOGIN', i); END LOOP; END $$"
    ));
    leases::fill_issued(&data, &key, count, |at, now| {
        (format!("database/creds/bench/{at}"), over(&mount, at, now))
    })?;
    let (began, server) = (Instant::now(), setup::start(program, &data)?);
    let busy = waits(&server, &read, || Ok(left(&server, &root)? <= own))?;
    let seconds = began.elapsed().as_secs_f64();
    let kept = postgres.made().len();
    if kept > 0 {
        return Err(format!("{kept} users are there without a lease").into());
    }
    let of_100 = |waits: &[f64], nth: usize| waits.get(waits.len() * nth / 100).copied().unwrap_or(f64::NAN);
    figure(
        "read-during-revocations",
        middle(busy.clone()) / middle(quiet.clone()),
        format!(
            "a read takes {:.2} ms at the middle and {:.2} ms at the 99th of 100; {:.2} and {:.2} before; {count} database \
             users gone in {seconds:.0} s, {:.0}/s",
            middle(busy.clone()),
            of_100(&busy, 99),
            middle(quiet.clone()),
            of_100(&quiet, 99),
            count as f64 / seconds
        ),
    )
}

/// What a server with `count` leases of an engine, and as many of tokens, takes up: as it starts, and after a look at each.
pub(super) fn memory(program: &Path, folder: &Path, count: usize) -> Result<(), Failure> {
    let data = folder.join("many");
    let server = setup::start(program, &data)?;
    let (key, root) = (server.printed("Unseal key")?.to_owned(), server.printed("Root token")?.to_owned());
    server.stop();
    leases::fill(&data, &key, count / 2, leases::MONTH)?;
    leases::fill_issued(&data, &key, count / 2, living)?;
    let server = setup::start(program, &data)?;
    let idle = server.memory()?;
    let there = left(&server, &root)?;
    let after = server.memory_at_rest()?;
    let started = server.started_in.as_secs_f64() * 1e3;
    let behind = format!(
        "{after:.1} MB of 200 MB after a look at each of {there} leases, half of them of a database; {idle:.1} MB before, \
         started in {started:.0} ms of 100"
    );
    figure("memory-with-leases", after / 200.0, behind)
}

/// A lease of the database user number `at` that ended a minute ago.
fn over(mount: &str, at: usize, now: Timestamp) -> Issued {
    of_user(mount, at, now.nanos() - Duration::from_secs(60).as_nanos() as u64)
}

/// A lease of a database user that ends in a month.
fn living(at: usize, now: Timestamp) -> (String, Issued) {
    let until = now.plus(Duration::from_secs(30 * 24 * 3600)).nanos();
    (format!("database/creds/bench/{at:024}"), of_user("9f6d5a50-96c6-4d5a-9e4f-1a2b3c4d5e6f", at, until))
}

fn of_user(mount: &str, at: usize, expires: u64) -> Issued {
    Issued {
        mount: mount.to_owned(),
        kind: "database".to_owned(),
        what: json!({ "role": "bench", "db_name": "db", "username": format!("v-bench-{at}") }),
        state: State::Live,
        issued: expires - Duration::from_secs(3600).as_nanos() as u64,
        renewed: None,
        expires,
        renewable: true,
        token: "of-the-benchmark".to_owned(),
        holder: Holder::default(),
    }
}

/// Leases that there are.
fn left(server: &Server, root: &str) -> Result<u64, Failure> {
    let ask = Ask::new("GET", "/v1/sys/leases/count", root, "");
    let answer: Value = serde_json::from_str(&load::once(server.address, &ask)?)?;
    Ok(answer["data"]["lease_count"].as_u64().unwrap_or_default())
}

/// How long one reader waits for each answer, in milliseconds and in order, for two seconds at least and until `over`.
fn waits(server: &Server, read: &Ask, over: impl Fn() -> Result<bool, Failure>) -> Result<Vec<f64>, Failure> {
    let mut stream = TcpStream::connect(server.address)?;
    let mut waits = Vec::new();
    loop {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(2) {
            let asked = Instant::now();
            load::once_over(&mut stream, read)?;
            waits.push(asked.elapsed().as_secs_f64() * 1e3);
            std::thread::sleep(Duration::from_millis(2));
        }
        if over()? {
            waits.sort_unstable_by(f64::total_cmp);
            return Ok(waits);
        }
    }
}
