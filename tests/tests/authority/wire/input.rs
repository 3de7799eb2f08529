//! What clients send, well and badly.

use super::server;
use keyward_tests::http::{Answer, Client};
use serde_json::json;

fn post(client: &Client, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    let path = format!("/v1/{path}");
    client.request("POST", &path).header("Content-Type", content_type).body(body).send()
}

#[test]
fn values_are_typed_weakly() {
    let server = server();
    let root = server.root();
    let seconds = [
        (json!(90), 90),
        (json!("90"), 90),
        (json!("90s"), 90),
        (json!("1m30s"), 90),
        (json!("1h30m"), 5400),
        (json!("5d"), 432_000),
        (json!("0"), 0),
        (json!(""), 0),
        (json!("1h"), 3600),
    ];
    for (at, (ttl, wanted)) in seconds.into_iter().enumerate() {
        let body = json!({"type": "kv", "config": {"default_lease_ttl": ttl}});
        root.write(&format!("sys/mounts/ttl{at}"), &body).expect(204);
        let config = root.read(&format!("sys/mounts/ttl{at}")).expect(200).data()["config"].clone();
        assert_eq!(config["default_lease_ttl"], json!(wanted), "{body}");
    }
    for ttl in [json!("soon"), json!(-1), json!("-5s"), json!({}), json!([1]), json!(1e300), json!("1h1")] {
        let body = json!({"type": "kv", "config": {"default_lease_ttl": ttl}});
        root.write("sys/mounts/bad", &body).refused(400, "default_lease_ttl");
        root.read("sys/mounts/bad").expect(400);
    }
    for (at, options) in
        [json!({"version": "2"}), json!({"version": 2}), json!(["version=2"]), json!("version=2")]
            .into_iter()
            .enumerate()
    {
        root.write(&format!("sys/mounts/options{at}"), &json!({"type": "kv", "options": options}))
            .expect(204);
        root.write(&format!("options{at}/data/a"), &json!({"data": {"x": 1}})).expect(200);
    }
    let words = json!({"data": {"n": 1}, "options": {"cas": "0"}});
    root.write("secret/data/a", &words).expect(200);
    for versions in [json!([1]), json!(["1"]), json!("1"), json!(1), json!("1, 2")] {
        root.write("secret/delete/a", &json!({"versions": versions})).expect(204);
        root.read("secret/data/a").expect(404);
        root.write("secret/undelete/a", &json!({"versions": [1]})).expect(204);
        root.read("secret/data/a").expect(200);
    }
    for required in [json!(true), json!("true"), json!(1), json!("1"), json!("t")] {
        root.write("secret/metadata/b", &json!({"cas_required": required})).expect(204);
        assert_eq!(root.read("secret/metadata/b").data()["cas_required"], true);
        root.write("secret/metadata/b", &json!({"cas_required": "false"})).expect(204);
    }
    root.write("secret/metadata/b", &json!({"cas_required": "perhaps"})).refused(400, "cas_required");
}

#[test]
fn unknown_parameters_are_told() {
    let server = server();
    let root = server.root();
    let body = json!({"type": "kv", "zebra": 1, "apple": 2});
    let answer = root.write("sys/mounts/warned", &body).expect(200).json();
    assert_eq!(answer["warnings"], json!(["Endpoint ignored these unrecognized parameters: [apple zebra]"]));
    assert_eq!(answer["data"], json!(null));
    root.read("sys/mounts/warned").expect(200);
    let replaced = root.write("sys/mounts/here", &json!({"type": "kv", "path": "there"})).expect(200).json();
    let text = replaced["warnings"][0].as_str().unwrap();
    assert!(text.contains("replaced") && text.ends_with("[path]"), "{text}");
    // Where any parameter is data, none is unknown.
    root.write("kv/a", &json!({"zebra": 1})).expect(204);
}

#[test]
fn numbers_keep_their_digits() {
    let server = server();
    let root = server.root();
    let numbers = r#"{"i":9007199254740993,"u":18446744073709551615,"f":1.10,"e":1E+2,"z":-0,"b":123456789012345678901234567890}"#;
    post(&root, "secret/data/n", "application/json", format!(r#"{{"data":{numbers}}}"#)).expect(200);
    assert!(root.read("secret/data/n").expect(200).text().contains(numbers));
    post(&root, "kv/n", "application/json", numbers).expect(204);
    assert!(root.read("kv/n").expect(200).text().contains(numbers));
    post(&root, "cubbyhole/n", "application/json", numbers).expect(204);
    assert!(root.read("cubbyhole/n").expect(200).text().contains(numbers));
}

#[test]
fn text_comes_back_as_it_was() {
    let server = server();
    let root = server.root();
    let texts = [
        "",
        " ",
        "é\u{10FFFF}😀",
        "<a href='x'>&</a>",
        "\u{0}\u{1f}\u{7f}\u{2028}",
        "\"\\/",
        "${x} {{y}} %s",
    ];
    for text in texts {
        let data = json!({text: text, "other": [text, {"deep": text}]});
        root.write("secret/data/t", &json!({"data": data})).expect(200);
        assert_eq!(root.read("secret/data/t").data()["data"], data);
    }
}

#[test]
fn a_body_is_json_whatever_its_type_says() {
    let server = server();
    let root = server.root();
    for content_type in ["application/json", "application/x-www-form-urlencoded", "text/plain", "", "x"] {
        let body = json!({"data": {"as": content_type}}).to_string();
        post(&root, "secret/data/a", content_type, body).expect(200);
        assert_eq!(root.read("secret/data/a").data()["data"]["as"], content_type);
    }
    // curl --data without a header.
    post(&root, "kv/a", "application/x-www-form-urlencoded", "\n {\"x\":1}").expect(204);
    assert_eq!(root.read("kv/a").data(), json!({"x": 1}));
}

#[test]
fn no_body_is_no_parameters() {
    let server = server();
    let root = server.root();
    for body in ["", " ", "\r\n", "{}", "null"] {
        post(&root, "secret/config", "application/json", body).expect(204);
        post(&root, "secret/data/a", "application/json", body).refused(400, "no data provided");
    }
    root.request("PUT", "/v1/secret/config").send().expect(204);
    root.write("secret/data/a", &json!({"data": {"x": 1}})).expect(200);
    root.request("DELETE", "/v1/secret/data/a").json(&json!({})).send().expect(204);
}

#[test]
fn malformed_bodies_are_refused_unquoted() {
    let server = server();
    let root = server.root();
    root.write("kv/a", &json!({"x": "old"})).expect(204);
    let bodies: [&[u8]; 12] = [
        b"{",
        b"}",
        b"[]",
        b"3",
        b"\"sentinel\"",
        b"{\"sentinel\":}",
        b"{\"x\":sentinel}",
        b"{\"x\":1} sentinel",
        b"{'sentinel':1}",
        b"{\"x\":\"\xff\"}",
        b"{\"x\":\"\\ud800\"}",
        b"x=sentinel&y=1",
    ];
    for body in bodies {
        let answer = post(&root, "kv/a", "application/json", body).refused(400, "failed to parse JSON input");
        assert!(!answer.text().contains("sentinel"), "{}", answer.text());
        assert_eq!(root.read("kv/a").data(), json!({"x": "old"}), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn nesting_has_a_limit() {
    let server = server();
    let root = server.root();
    let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    post(&root, "kv/deep", "application/json", nested(90)).expect(204);
    assert!(root.read("kv/deep").text().contains(&"[".repeat(90)));
    for depth in [101, 5_000, 4_000_000] {
        post(&root, "kv/deep", "application/json", nested(depth)).refused(400, "nested");
    }
    let objects = "{\"a\":".repeat(1_000_000);
    post(&root, "kv/deep", "application/json", objects).refused(400, "failed to parse JSON input");
    assert!(root.read("kv/deep").text().contains(&"[".repeat(90)));
}

#[test]
fn many_fields_cost_no_more_than_their_bytes() {
    let server = server();
    let root = server.root();
    let fields: Vec<String> = (0..200_000).map(|number| format!("\"f{number}\":1")).collect();
    let began = std::time::Instant::now();
    let answer = post(&root, "kv/wide", "application/json", format!("{{{}}}", fields.join(",")));
    assert!(matches!(answer.status, 204 | 400 | 413), "{}", answer.status);
    assert!(began.elapsed().as_secs() < 20, "took {:?}", began.elapsed());
}

#[test]
fn bodies_end_at_32_mib() {
    let server = server();
    let root = server.root();
    let most = 32 << 20;
    let padded = |size: usize| {
        let mut body = b"{\"x\":1}".to_vec();
        body.resize(size, b' ');
        body
    };
    post(&root, "kv/a", "application/json", padded(most)).expect(204);
    let refused = post(&root, "kv/a", "application/json", padded(most + 1)).refused(413, "larger than");
    assert!(refused.errors()[0].contains(&most.to_string()));
    // A length is believed before a byte of it is read.
    let mut early = root.connect().unwrap();
    let head = format!(
        "POST /v1/kv/a HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {}\r\nContent-Length: {}\r\n\r\n",
        &server.keys().root,
        u64::from(u32::MAX) * 10,
    );
    early.send(head.as_bytes()).unwrap();
    assert_eq!(early.receive("POST").unwrap().status, 413);
    // Nor does a body without a length get further.
    let mut chunked = root.connect().unwrap();
    let head = format!(
        "POST /v1/kv/a HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        &server.keys().root,
    );
    chunked.send(head.as_bytes()).unwrap();
    let chunk = [format!("{:x}\r\n", 1 << 20).into_bytes(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
    let _ = (0..40).try_for_each(|_| chunked.send(&chunk));
    assert_eq!(chunked.receive("POST").unwrap().status, 413);
    assert_eq!(root.read("kv/a").data(), json!({"x": 1}));
}

#[test]
fn a_value_too_large_for_the_store_is_the_callers_mistake() {
    let server = server();
    let root = server.root();
    let large = json!({"data": {"x": "v".repeat(4 << 20)}});
    // Not a 5xx: clients would send it again and again.
    let refused = root.write("secret/data/large", &large);
    assert!(matches!(refused.status, 400 | 413), "{} {}", refused.status, refused.text());
    assert!(!refused.errors().is_empty());
    root.read("secret/data/large").refused(404, "");
    root.read("secret/metadata/large").refused(404, "");
}

#[test]
fn paths_are_decoded_once_and_kept_apart() {
    let server = server();
    let root = server.root();
    let put = |path: &str| root.request("POST", &format!("/v1/kv/{path}")).json(&json!({"at": path})).send();
    for (sent, listed) in
        [("a%20b", "a b"), ("%e2%82%ac", "€"), ("a+b", "a+b"), ("a%2Bc", "a+c"), ("%2525", "%25")]
    {
        put(sent).expect(204);
        assert_eq!(root.read(&format!("kv/{sent}")).expect(200).data()["at"], sent);
        let keys = root.list("kv").expect(200).data()["keys"].clone();
        assert!(keys.as_array().unwrap().contains(&json!(listed)), "{listed} in {keys}");
    }
    put("one/two").expect(204);
    for same in ["one//two", "/one/two", "one%2Ftwo", "one%2ftwo"] {
        assert_eq!(root.read(&format!("kv/{same}")).expect(200).data()["at"], "one/two", "{same}");
    }
    for bad in
        ["%", "%f", "%zz", "%ff", "a%00b", "a%0ab", "../sys/mounts", "a/./b", "%2e%2e/sys/mounts", "a/%2e"]
    {
        root.request("GET", &format!("/v1/kv/{bad}")).send().refused(400, "path");
        put(bad).refused(400, "path");
    }
    put(&"x".repeat(900)).expect(204);
    put(&"x".repeat(1100)).refused(400, "1,024 bytes");
    // What another method would have listed or written was not.
    root.request("GET", "/v1/kv/..%2fkv/a").send().refused(400, "path");
}

#[test]
fn only_v1_is_served() {
    let server = server();
    for path in ["/", "/v1", "/v2/sys/health", "/ui", "/v1x/sys/health", "//v1/sys/health"] {
        server.guest().request("GET", path).send().expect(404);
    }
}
