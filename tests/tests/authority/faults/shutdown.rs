//! Ending, sealing and restarting while clients are at work.

use keyward_testkit::process::wait_for;
use keyward_tests::http::Client;
use keyward_tests::server::{ON_DISK, SOON, Server};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn storing() -> Server {
    let server = Server::unsealed(ON_DISK);
    server.root().write("sys/mounts/kv", &json!({"type": "kv"})).expect(204);
    server
}

#[test]
fn a_running_request_is_finished() {
    let mut server = storing();
    let root = server.root();
    let request = root.request("POST", "/v1/kv/late").json(&json!({"x": "y"}));
    let bytes = request.bytes();
    let (first, rest) = bytes.split_at(bytes.len() - 3);
    let mut running = root.connect().unwrap();
    running.send(first).unwrap();
    let mut idle = root.connect().unwrap();
    assert_eq!(idle.exchange(&root.request("GET", "/v1/sys/health")).unwrap().status, 200);
    let mut unused = root.connect().unwrap();
    // The server has seen all three.
    root.read("sys/health").expect(200);

    server.process().signal(Signal::TERM).unwrap();
    assert!(idle.is_ended() && unused.is_ended());
    wait_for("the port to close", SOON, || root.connect().is_err().then_some(())).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.process().exited().unwrap(), None, "{}", server.output());
    running.send(rest).unwrap();
    let answer = running.receive("POST").unwrap();
    assert_eq!((answer.status, answer.header("connection")), (204, Some("close")));
    assert!(running.is_ended());
    let status = wait_for("the server to end", SOON, || server.process().exited().unwrap()).unwrap();
    assert!(status.success(), "{status}: {}", server.output());
    server.restart();
    server.unseal();
    assert_eq!(root.read("kv/late").data(), json!({"x": "y"}));
}

#[test]
fn idle_clients_do_not_delay_the_end() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = storing();
        let root = server.root();
        let mut kept: Vec<_> = (0..100).map(|_| root.connect().unwrap()).collect();
        for connection in &mut kept {
            connection.exchange(&root.request("GET", "/v1/sys/health")).unwrap();
        }
        let began = Instant::now();
        server.process().signal(signal).unwrap();
        let status = wait_for("the server to end", SOON, || server.process().exited().unwrap()).unwrap();
        assert!(status.success(), "{status}: {}", server.output());
        assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    }
}

/// What one client wrote, and how its requests ended.
#[derive(Default)]
struct Tally {
    written: BTreeMap<u64, u64>,
    statuses: BTreeMap<u16, u64>,
    broken: u64,
}

/// Overwrites its own few entries until told to stop, whatever happens.
fn overwrite(root: &Client, client: u64, stop: &AtomicBool, progress: &AtomicU64) -> Tally {
    let mut tally = Tally::default();
    for number in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let entry = number % 7;
        let path = format!("/v1/kv/{client}/{entry}");
        match root.request("POST", &path).json(&json!({"n": number})).try_send() {
            Ok(answer) => {
                *tally.statuses.entry(answer.status).or_default() += 1;
                if answer.status == 204 {
                    tally.written.insert(entry, number);
                    progress.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(_) => {
                tally.broken += 1;
                // What became of it is unknown: nothing is known of the entry until it is written again.
                tally.written.remove(&entry);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    tally
}

/// Lets eight clients write while `disturb` is done to the server; every acknowledged write must be there.
fn under_load(mut server: Server, disturb: impl Fn(&mut Server)) -> Tally {
    let root = server.root();
    let (stop, progress) = (AtomicBool::new(false), AtomicU64::new(0));
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let start = |client| {
            let (root, stop, progress) = (&root, &stop, &progress);
            scope.spawn(move || overwrite(root, client, stop, progress))
        };
        let clients: Vec<_> = (0..8).map(start).collect();
        let advance = || {
            let from = progress.load(Ordering::Relaxed);
            wait_for("writes", SOON, || (progress.load(Ordering::Relaxed) > from + 100).then_some(()))
                .unwrap();
        };
        for _ in 0..3 {
            advance();
            disturb(&mut server);
        }
        advance();
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let mut all = Tally::default();
    for (client, tally) in tallies.into_iter().enumerate() {
        for (entry, number) in tally.written {
            assert_eq!(root.read(&format!("kv/{client}/{entry}")).expect(200).data(), json!({"n": number}));
        }
        tally
            .statuses
            .into_iter()
            .for_each(|(status, count)| *all.statuses.entry(status).or_default() += count);
        all.broken += tally.broken;
    }
    all
}

#[test]
fn sealed_and_unsealed_under_load() {
    let tally = under_load(storing(), |server| {
        server.root().request("PUT", "/v1/sys/seal").send().expect(204);
        std::thread::sleep(Duration::from_millis(100));
        server.unseal();
    });
    // A sealed authority says so; it breaks no connection and answers nothing else.
    assert_eq!(tally.broken, 0, "{:?}", tally.statuses);
    assert_eq!(tally.statuses.keys().copied().collect::<Vec<_>>(), [204, 503]);
}

#[test]
fn restarted_under_load() {
    let tally = under_load(storing(), |server| {
        assert!(server.stop().success());
        server.restart();
        server.unseal();
    });
    assert!(tally.statuses.keys().all(|status| matches!(status, 204 | 503)), "{:?}", tally.statuses);
    assert!(tally.broken > 0);
}
