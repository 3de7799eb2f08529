//! Clients that are slow, silent, many or wrong.

use super::server;
use keyward_tests::http::Connection;
use keyward_tests::server::{IN_MEMORY, Server};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn a_connection_serves_many_requests() {
    let server = server();
    let root = server.root();
    let mut connection = root.connect().unwrap();
    for number in 0..200 {
        let body = json!({"n": number});
        let written = connection.exchange(&root.request("POST", "/v1/kv/a").json(&body)).unwrap();
        assert_eq!(written.status, 204);
        let read = connection.exchange(&root.request("GET", "/v1/kv/a")).unwrap();
        assert_eq!(read.data(), body);
    }
    // Refusals do not end it either.
    assert_eq!(connection.exchange(&root.request("GET", "/v1/kv/absent")).unwrap().status, 404);
    assert_eq!(connection.exchange(&root.request("POST", "/v1/kv/a").body("{")).unwrap().status, 400);
    assert_eq!(connection.exchange(&root.request("HEAD", "/v1/sys/health")).unwrap().status, 200);
    assert_eq!(connection.exchange(&root.request("GET", "/v1/kv/a")).unwrap().status, 200);
}

#[test]
fn requests_may_be_pipelined() {
    let server = server();
    let root = server.root();
    let mut connection = root.connect().unwrap();
    let bytes: Vec<u8> = (0..20)
        .flat_map(|number| root.request("POST", "/v1/kv/p").json(&json!({"n": number})).bytes())
        .chain(root.request("GET", "/v1/kv/p").bytes())
        .collect();
    connection.send(&bytes).unwrap();
    for _ in 0..20 {
        assert_eq!(connection.receive("POST").unwrap().status, 204);
    }
    assert_eq!(connection.receive("GET").unwrap().data(), json!({"n": 19}));
}

#[test]
fn what_is_not_http_is_refused() {
    let server = server();
    let guest = server.guest();
    let long = format!("GET /v1/kv/{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(200_000));
    let many: String = (0..5_000).map(|number| format!("X-{number}: y\r\n")).collect();
    let many = format!("GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    let twice = "POST /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}";
    let both = "POST /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: gzip\r\n\r\n{}";
    let tls = "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03";
    for bytes in
        ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET /v1/x HTTP/9.9\r\n\r\n", tls, twice, both, &long, &many]
    {
        let mut connection = guest.connect().unwrap();
        let _ = connection.send(bytes.as_bytes());
        match connection.receive("GET") {
            Ok(answer) => assert!((400..500).contains(&answer.status), "{answer:?}"),
            Err(_) => assert!(connection.is_ended()),
        }
    }
    guest.read("sys/health").expect(200);
}

/// Sends `first`, then `drop` again and again; answers with how long the server bore it and what it said.
fn borne(server: &Server, first: &str, drop: &str) -> (Duration, String) {
    // Before it connects: the server counts from when it accepts.
    let began = Instant::now();
    let mut socket = TcpStream::connect(server.guest().address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut said = Vec::new();
    socket.write_all(first.as_bytes()).unwrap();
    loop {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "it bears for ever: {:?}",
            String::from_utf8_lossy(&said)
        );
        let mut part = [0; 4096];
        match socket.read(&mut part) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&part[..count]),
            Err(why) if why.kind() == ErrorKind::WouldBlock => drop_one(&mut socket, drop),
            Err(_) => break,
        }
    }
    (began.elapsed(), String::from_utf8_lossy(&said).into_owned())
}

fn drop_one(socket: &mut TcpStream, drop: &str) {
    // A connection ended meanwhile shows at the next read.
    let _ = socket.write_all(drop.as_bytes());
}

#[test]
fn slow_clients_are_let_go() {
    let limits = "http_read_header_timeout = \"2s\"\n max_request_duration = \"3s\"\n";
    let listener = format!("listener \"tcp\" {{\n address = \"ADDRESS\"\n tls_disable = true\n {limits}}}\n");
    let server = Server::configured(&format!("{listener}{IN_MEMORY}"));
    let head = "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n";
    let body = "PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n";
    let chunked = "PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases = [
        ("", "", 2, ""),
        ("GET", " ", 2, ""),
        (head, "x", 2, ""),
        (head, "X-A: b\r\n", 2, ""),
        (body, " ", 3, "HTTP/1.1 408 "),
        (chunked, "1\r\n \r\n", 3, "HTTP/1.1 408 "),
    ];
    std::thread::scope(|scope| {
        for (first, drop, seconds, wanted) in cases {
            let server = &server;
            scope.spawn(move || {
                let (time, said) = borne(server, first, drop);
                assert!(time >= Duration::from_secs(seconds), "{first:?} {drop:?}: {time:?}");
                assert!(said.starts_with(wanted), "{first:?} {drop:?}: {said}");
                assert!(!said.starts_with("HTTP/1.1 5"), "{said}");
            });
        }
        // Meanwhile everybody else is served.
        for _ in 0..20 {
            server.guest().read("sys/seal-status").expect(200);
        }
    });
    server.guest().read("sys/health").expect(501);
}

#[test]
fn five_thousand_idle_connections_cost_nobody_else() {
    let wanted = 5_000;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < 2 * wanted) {
        let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
    // A connection that asks nothing is let go like one that asks slowly.
    let patient = "listener \"tcp\" {\n address = \"ADDRESS\"\n tls_disable = true\n http_read_header_timeout = \"5m\"\n}\n";
    let mut server = Server::configured(&format!("{patient}{IN_MEMORY}"));
    server.initialize(1, 1);
    server.unseal();
    let root = server.root();
    root.write("sys/mounts/kv", &json!({"type": "kv"})).expect(204);
    root.write("kv/a", &json!({"x": 1})).expect(204);
    let before = resident(&mut server);
    let mut idle: Vec<Connection> = (0..wanted).map(|_| root.connect().unwrap()).collect();
    // Half of them have asked once: what they used is not kept for them.
    for connection in idle.iter_mut().step_by(2) {
        let answer = connection.exchange(&root.request("GET", "/v1/kv/a")).unwrap();
        assert_eq!(answer.status, 200);
    }
    let began = Instant::now();
    for _ in 0..50 {
        root.read("kv/a").expect(200);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "50 reads took {:?}", began.elapsed());
    let each = resident(&mut server).saturating_sub(before) / wanted;
    assert!(each < 32 << 10, "{each} bytes a connection");
    drop(idle);
}

/// Bytes of memory the server has, from proc_pid_status(5).
fn resident(server: &mut Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process().pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}
