//! Answers kept for whoever holds a token that works once.

use super::server;
use keyward_tests::http::{Answer, Client};
use keyward_tests::server::{Server, token_with};
use serde_json::{Value, json};
use std::sync::Barrier;

fn wrap(root: &Client, ttl: &str) -> Value {
    root.write("secret/data/w", &json!({"data": {"word": "wrapped"}})).expect(200);
    let wrapped = root.request("GET", "/v1/secret/data/w").wrapped(ttl).send().expect(200).json();
    assert_eq!((&wrapped["data"], &wrapped["auth"]), (&Value::Null, &Value::Null));
    assert!(!wrapped.to_string().contains("\"word\""));
    wrapped["wrap_info"].clone()
}

fn token(info: &Value) -> &str {
    info["token"].as_str().unwrap()
}

/// Somebody with a token that may not much: to unwrap is in the default policy.
fn anybody(server: &Server) -> Client {
    token_with(&server.root(), "nothing", "# nothing")
}

#[test]
fn a_wrapped_answer_opens_once_by_either_way() {
    let server = server();
    let (root, guest, other) = (server.root(), server.guest(), anybody(&server));
    let ways: [&dyn Fn(&str) -> Answer; 3] = [
        &|wrapped| guest.with_token(wrapped).request("POST", "/v1/sys/wrapping/unwrap").send(),
        &|wrapped| other.write("sys/wrapping/unwrap", &json!({"token": wrapped})),
        &|wrapped| root.request("PUT", "/v1/sys/wrapping/unwrap").json(&json!({"token": wrapped})).send(),
    ];
    for unwrap in ways {
        let info = wrap(&root, "60s");
        let opened = unwrap(token(&info)).expect(200).json();
        assert_eq!(opened["data"]["data"], json!({"word": "wrapped"}));
        assert_eq!(opened["wrap_info"], Value::Null);
        for again in ways {
            again(token(&info)).refused(400, "wrapping token is not valid or does not exist");
        }
    }
}

#[test]
fn the_wrapping_tells_what_it_holds() {
    let server = server();
    for (ttl, seconds) in [("60", 60), ("60s", 60), ("1h", 3600), ("2m30s", 150)] {
        let info = wrap(&server.root(), ttl);
        assert_eq!(info["ttl"], seconds);
        assert_eq!(info["creation_path"], "secret/data/w");
        assert!(token(&info).starts_with("hvs."), "{info}");
        assert!(
            info["accessor"].is_string() && info["creation_time"].as_str().unwrap().contains('T'),
            "{info}"
        );
        let told =
            server.guest().write("sys/wrapping/lookup", &json!({"token": token(&info)})).expect(200).data();
        assert_eq!(told["creation_ttl"], seconds);
        assert_eq!(told["creation_path"], "secret/data/w");
        assert_eq!(told["creation_time"], info["creation_time"]);
        assert!(told.get("token").is_none());
    }
    let root = server.root();
    for ttl in ["soon", "-1", "1h1"] {
        root.request("GET", "/v1/secret/data/w").wrapped(ttl).send().refused(400, "X-Vault-Wrap-TTL");
    }
    for none in ["", "0", "0s"] {
        let plain = root.request("GET", "/v1/secret/data/w").wrapped(none).send().expect(200);
        assert_eq!(plain.data()["data"], json!({"word": "wrapped"}));
    }
    // There is nothing to wrap in nothing.
    let written = root.request("POST", "/v1/kv/a").json(&json!({"x": 1})).wrapped("60").send();
    assert_eq!(written.status, 204);
    root.request("GET", "/v1/kv/absent").wrapped("60").send().refused(404, "");
}

#[test]
fn of_two_that_open_at_once_one_does() {
    let server = server();
    let (root, other) = (server.root(), anybody(&server));
    for round in 0..30 {
        let info = wrap(&root, "60s");
        let start = Barrier::new(4);
        let open = |number: usize| {
            let client = other.with_token(token(&info));
            start.wait();
            match number % 2 {
                0 => client.request("POST", "/v1/sys/wrapping/unwrap").send(),
                _ => other.write("sys/wrapping/unwrap", &json!({"token": token(&info)})),
            }
        };
        let answers = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|number| scope.spawn(move || open(number))).collect::<Vec<_>>();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let opened: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(opened.len(), 1, "round {round}: {answers:?}");
        assert_eq!(opened[0].data()["data"], json!({"word": "wrapped"}));
        for late in answers.into_iter().filter(|answer| answer.status != 200) {
            late.refused(400, "wrapping token is not valid or does not exist");
        }
    }
}

#[test]
fn rewrapping_moves_the_answer() {
    let server = server();
    let info = wrap(&server.root(), "60s");
    let moved =
        server.root().write("sys/wrapping/rewrap", &json!({"token": token(&info)})).expect(200).json();
    let second = &moved["wrap_info"];
    assert_ne!(token(second), token(&info));
    assert_eq!((&second["ttl"], &second["creation_path"]), (&json!(60), &json!("secret/data/w")));
    let open = |wrapped: &str| anybody(&server).write("sys/wrapping/unwrap", &json!({"token": wrapped}));
    open(token(&info)).refused(400, "wrapping token is not valid or does not exist");
    assert_eq!(open(token(second)).expect(200).data()["data"], json!({"word": "wrapped"}));
}

#[test]
fn anything_can_be_wrapped() {
    let server = server();
    let root = server.root();
    let sent = json!({"a": "b", "deep": {"n": 1}});
    let info =
        root.request("POST", "/v1/sys/wrapping/wrap").json(&sent).wrapped("5m").send().expect(200).json();
    let info = &info["wrap_info"];
    assert_eq!(info["creation_path"], "sys/wrapping/wrap");
    let opened = anybody(&server).write("sys/wrapping/unwrap", &json!({"token": token(info)})).expect(200);
    assert_eq!(opened.data(), sent);
    for bad in ["hvs.no", "", "not a token"] {
        let unwrap = anybody(&server).write("sys/wrapping/unwrap", &json!({"token": bad}));
        unwrap.refused(400, "wrapping token is not valid or does not exist");
    }
    // An ordinary token is no wrapping token, and stays what it is.
    anybody(&server).write("sys/wrapping/unwrap", &json!({"token": &server.keys().root})).expect(400);
    root.read("sys/mounts").expect(200);
}
