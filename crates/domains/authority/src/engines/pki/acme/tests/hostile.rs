use super::*;

/// A good header for a new order, changed.
fn changed(bench: &mut Bench, client: &Client, change: impl FnOnce(&mut Value)) -> Value {
    let mut header = client.header(&format!("{BASE}acme/new-order"), &nonce(bench, "acme/"));
    change(&mut header);
    header
}

fn payload() -> String {
    encode(&json!({"identifiers": [dns("a.example")]}))
}

fn send(bench: &mut Bench, body: &Value) -> Reply {
    let before = bench.store.entries().count();
    let request = jose(bench, "acme/new-order", body);
    let reply = Reply::of(bench.answer(&request));
    assert_eq!(bench.store.entries().count(), before, "{body} changed something");
    reply
}

#[test]
fn a_request_is_good_once() {
    let mut bench = enabled(&json!({}));
    let client = Client::registered(&mut bench);
    let body = {
        let header = changed(&mut bench, &client, |_| {});
        client.sign(&header, &payload())
    };
    let request = jose(&bench, "acme/new-order", &body);
    let first = Reply::of(bench.answer(&request)).expect(201);
    let replayed = send(&mut bench, &body);
    replayed.refused(400, "badNonce");
    // The nonces of answers, refusals among them, are good for the next request.
    for nonce in [first.header("replay-nonce"), replayed.header("replay-nonce")] {
        let header = changed(&mut bench, &client, |header| header["nonce"] = json!(nonce));
        let request = jose(&bench, "acme/new-order", &client.sign(&header, &payload()));
        Reply::of(bench.answer(&request)).expect(201);
    }
    for nonce in [json!("made-up"), json!(""), Value::Null] {
        let header = changed(&mut bench, &client, |header| header["nonce"] = nonce);
        send(&mut bench, &client.sign(&header, &payload())).refused(400, "badNonce");
    }
    // Another mount's are no good here.
    bench.write("sys/mounts/other", r#"{"type":"pki"}"#);
    bench.write("other/root/generate/internal", r#"{"common_name":"Other","key_type":"ec"}"#);
    bench.write("other/config/cluster", r#"{"path":"https://vault.example/v1/other"}"#);
    bench.write("other/config/acme", r#"{"enabled":true}"#);
    let mut request = bench.request("", Operation::Read, "other/acme/new-nonce", "");
    request.head = true;
    let foreign = Reply::of(bench.answer(&request)).expect(200).header("replay-nonce").to_owned();
    let header = changed(&mut bench, &client, |header| header["nonce"] = json!(foreign));
    send(&mut bench, &client.sign(&header, &payload())).refused(400, "badNonce");
}

#[test]
fn a_request_is_good_for_its_url_and_its_account() {
    let mut bench = enabled(&json!({}));
    let client = Client::registered(&mut bench);
    for url in [
        "https://vault.example/v1/pki/acme/new-account",
        "https://other.example/v1/pki/acme/new-order",
        "http://vault.example/v1/pki/acme/new-order",
        "https://vault.example/v1/pki/issuer/default/acme/new-order",
        "acme/new-order",
        "",
    ] {
        let header = changed(&mut bench, &client, |header| header["url"] = json!(url));
        send(&mut bench, &client.sign(&header, &payload())).refused(401, "unauthorized");
    }
    let id = client.kid.clone().unwrap();
    let id = id.rsplit('/').next().unwrap();
    for kid in [
        id.to_owned(),
        format!("{BASE}acme/account/"),
        format!("{BASE}acme/account/{id}/x"),
        format!("https://other.example/v1/pki/acme/account/{id}"),
        format!("{BASE}acme/account/11111111-1111-1111-1111-111111111111"),
    ] {
        let header = changed(&mut bench, &client, |header| header["kid"] = json!(kid));
        send(&mut bench, &client.sign(&header, &payload())).refused(400, "accountDoesNotExist");
    }
    // Another's account, by a key that is good elsewhere.
    let other = Client::registered(&mut bench);
    let header = changed(&mut bench, &client, |_| {});
    send(&mut bench, &other.sign(&header, &payload())).refused(400, "malformed");
    // Another's order.
    let order = client.order(&mut bench, &json!([dns("a.example")])).expect(201);
    for path in [below(order.header("location")), below(order.body["authorizations"][0].as_str().unwrap())] {
        other.get(&mut bench, &path).refused(404, "malformed");
    }
    // An account is named where there must be one, and not where there must be none.
    let nameless = Client { kid: None, ..Client::new("acme/", Algorithm::Es256) };
    nameless.order(&mut bench, &json!([dns("a.example")])).refused(400, "malformed");
    client.post(&mut bench, "acme/new-account", Some(&json!({}))).refused(400, "malformed");
}

#[test]
fn no_algorithm_but_the_keys_own_counts() {
    let mut bench = enabled(&json!({}));
    let client = Client::registered(&mut bench);
    for algorithm in ["none", "HS256", "ES256K", "", "RS256"] {
        let header = changed(&mut bench, &client, |header| header["alg"] = json!(algorithm));
        let reply = send(&mut bench, &client.sign(&header, &payload()));
        reply.refused(400, "badSignatureAlgorithm");
        assert!(reply.body["algorithms"].as_array().unwrap().contains(&json!("ES256")), "{}", reply.body);
    }
    let header = changed(&mut bench, &client, |header| header["alg"] = json!("none"));
    let unsigned = json!({"protected": encode(&header), "payload": payload(), "signature": ""});
    send(&mut bench, &unsigned).refused(400, "badSignatureAlgorithm");
}

#[test]
fn what_is_no_flattened_jws_is_refused() {
    let mut bench = enabled(&json!({}));
    let client = Client::registered(&mut bench);
    let signed = |bench: &mut Bench| {
        let header = changed(bench, &client, |_| {});
        client.sign(&header, &payload())
    };
    let mut body = signed(&mut bench);
    body["header"] = json!({"alg": "ES256"});
    send(&mut bench, &body).refused(400, "malformed");
    let mut body = signed(&mut bench);
    body["signatures"] = json!([{"protected": body["protected"], "signature": body["signature"]}]);
    send(&mut bench, &body).refused(400, "malformed");
    for (member, value) in [
        ("protected", json!("AA")),
        ("protected", json!(["AA"])),
        ("protected", Value::Null),
        ("payload", json!(encode(&json!({"identifiers": [dns("b.example")]})))),
        ("payload", json!("A".repeat(1 << 20))),
        ("signature", json!("")),
        ("signature", json!("A".repeat(1 << 20))),
        ("signature", json!("not base64url!")),
    ] {
        let mut body = signed(&mut bench);
        body[member] = value;
        send(&mut bench, &body).refused(400, "malformed");
    }
    for said in ["[]", "7", "{", "null"] {
        let header = changed(&mut bench, &client, |_| {});
        send(&mut bench, &client.sign(&header, &URL_SAFE_NO_PAD.encode(said))).refused(400, "malformed");
    }
    // Nothing that is not signed counts, wherever it stands.
    let mut body = signed(&mut bench);
    body["identifiers"] = json!([dns("evil.example")]);
    let request = jose(&bench, "acme/new-order", &body);
    let order = Reply::of(bench.answer(&request)).expect(201);
    assert_eq!(order.body["identifiers"], json!([dns("a.example")]));
    let mut request = client.request(&mut bench, "acme/orders", None);
    request.media = Media::Json;
    Reply::of(bench.answer(&request)).refused(415, "malformed");
}

#[test]
fn unsigned_members_do_not_reach_the_certificate() {
    let mut bench = enabled(&json!({}));
    bench.deeds = honest();
    let client = Client::registered(&mut bench);
    let order = client.order(&mut bench, &json!([dns("a.example")])).expect(201);
    client.prove(&mut bench, &order, "http-01");
    let path = order.path("finalize");
    let header = client.header(&format!("{BASE}{path}"), &nonce(&mut bench, "acme/"));
    let said = encode(&json!({"csr": URL_SAFE_NO_PAD.encode(csr("", &named(&["a.example"])))}));
    let mut body = client.sign(&header, &said);
    for (name, value) in [
        ("alt_names", json!("evil.example")),
        ("common_name", json!("evil.example")),
        ("other_sans", json!("1.2.3;UTF8:evil")),
        ("ttl", json!("87600h")),
        ("user_ids", json!("evil")),
    ] {
        body[name] = value;
    }
    let request = jose(&bench, &path, &body);
    let done = Reply::of(bench.answer(&request)).expect(200);
    let chain = client.get(&mut bench, &done.path("certificate")).expect(200).text;
    let leaf = keyward_crypto::x509::pem::blocks(&chain).unwrap().remove(0).der.to_vec();
    let leaf = keyward_crypto::x509::Certificate::read(&leaf).unwrap();
    assert_eq!(leaf.alternative_names().unwrap(), named(&["a.example"]));
    assert!(leaf.subject().is_empty());
    assert!(leaf.not_after() - crate::testing::now(&bench).secs() <= 90 * 24 * 3600);
}
