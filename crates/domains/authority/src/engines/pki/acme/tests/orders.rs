use super::*;
use keyward_crypto::x509::{Certificate, pem};
use std::sync::{Arc, Mutex};

/// The certificates of a chain.
fn chain(reply: &Reply) -> Vec<Certificate> {
    let blocks = pem::blocks(&reply.text).unwrap();
    let ends = reply.text.matches("-----END CERTIFICATE-----\n").count();
    assert_eq!(ends, blocks.len(), "each certificate ends its line: {}", reply.text);
    blocks.iter().map(|block| Certificate::read(&block.der).unwrap()).collect()
}

#[test]
fn a_client_obtains_and_renews_a_certificate() {
    let mut bench = enabled(&json!({}));
    bench.deeds = honest();
    let request = bench.request("", Operation::Read, "pki/acme/directory", "");
    let directory = Reply::of(bench.answer(&request));
    assert_eq!(directory.path("newOrder"), "acme/new-order");
    assert_eq!(directory.body["meta"]["externalAccountRequired"], false);
    for algorithm in
        [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512, Algorithm::Rs256, Algorithm::EdDsa]
    {
        let mut client = Client::new("acme/", algorithm);
        let made = client.register(&mut bench, &json!({})).expect(201);
        assert_eq!(made.body["status"], "valid");
        for kind in ["http-01", "dns-01"] {
            let order = client.order(&mut bench, &json!([dns("a.example"), dns("B.example")])).expect(201);
            assert_eq!(order.body["status"], "pending");
            assert!(order.header("link").contains("acme/directory"));
            let request = csr("a.example", &named(&["a.example", "b.example"]));
            client.finalize(&mut bench, &order, &request).refused(403, "orderNotReady");
            client.prove(&mut bench, &order, kind);
            let path = below(order.header("location"));
            assert_eq!(client.get(&mut bench, &path).body["status"], "ready");
            let done = client.finalize(&mut bench, &order, &request).expect(200);
            assert_eq!(done.body["status"], "valid");
            let found = client.get(&mut bench, &done.path("certificate")).expect(200);
            let chain = chain(&found);
            let [leaf, root] = chain.as_slice() else { panic!("{} certificates", chain.len()) };
            assert!(leaf.signed_by(root));
            assert_eq!(leaf.alternative_names().unwrap(), named(&["a.example", "b.example"]));
            assert_eq!(leaf.ext_key_usages().unwrap(), ["1.3.6.1.5.5.7.3.1"]);
            assert!(leaf.not_after() - crate::testing::now(&bench).secs() <= 90 * 24 * 3600);
        }
    }
}

#[test]
fn wildcards_are_proved_by_dns_and_addresses_by_http() {
    let mut bench = enabled(&json!({}));
    bench.deeds = honest();
    let client = Client::registered(&mut bench);
    let address = json!({"type": "ip", "value": "2001:db8::1"});
    for (identifier, kinds, shown) in [
        (dns("*.a.example"), vec!["dns-01"], dns("a.example")),
        (address.clone(), vec!["http-01"], address.clone()),
        (dns("a.example"), vec!["http-01", "dns-01", "tls-alpn-01"], dns("a.example")),
    ] {
        let order = client.order(&mut bench, &json!([identifier])).expect(201);
        assert_eq!(order.body["identifiers"], json!([identifier]));
        let url = below(order.body["authorizations"][0].as_str().unwrap());
        let authorization = client.get(&mut bench, &url).expect(200);
        let offered: Vec<_> =
            authorization.body["challenges"].as_array().unwrap().iter().map(|found| &found["type"]).collect();
        assert_eq!(offered, kinds);
        assert_eq!(authorization.body["identifier"], shown);
        assert_eq!(authorization.body["wildcard"] == true, identifier == dns("*.a.example"));
        client.prove(&mut bench, &order, kinds[0]);
        let names = match &identifier["type"] {
            kind if kind == "ip" => vec![San::Ip("2001:db8::1".parse().unwrap())],
            _ => named(&[identifier["value"].as_str().unwrap()]),
        };
        let done = client.finalize(&mut bench, &order, &csr("", &names)).expect(200);
        let leaf = chain(&client.get(&mut bench, &done.path("certificate")).expect(200)).remove(0);
        assert_eq!(leaf.alternative_names().unwrap(), names);
    }
}

#[test]
fn a_wrong_proof_is_looked_at_again_and_then_refused() {
    let mut bench = enabled(&json!({"dns_resolver": "192.0.2.53:5353"}));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    bench.deeds = Box::new(move |act| {
        let Act::Challenge(challenge) = act else { panic!("{act:?}") };
        seen.lock().unwrap().push(Challenge::clone(challenge));
        judged(challenge, &Seen::Http { status: 200, body: b"wrong".to_vec() })
    });
    let client = Client::registered(&mut bench);
    let order = client.order(&mut bench, &json!([dns("a.example"), dns("b.example")])).expect(201);
    client.prove(&mut bench, &order, "http-01");
    let url = below(order.body["authorizations"][0].as_str().unwrap());
    let waiting = client.get(&mut bench, &url);
    assert_eq!((waiting.body["status"].as_str(), waiting.header("retry-after")), (Some("pending"), "1"));
    assert_eq!(
        waiting.body["challenges"][0]["error"]["type"],
        "urn:ietf:params:acme:error:incorrectResponse"
    );
    assert!(!waiting.body.to_string().contains("wrong"), "what was seen is nobody's business");
    for _ in 0..8 {
        bench.pass(Duration::from_secs(20));
    }
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 10, "five looks at each of two challenges");
    assert_eq!(asked[0].of, Identifier::Dns("a.example".to_owned()));
    assert_eq!(asked[0].resolver, Some("192.0.2.53:5353".parse().unwrap()));
    let failed = client.get(&mut bench, &url);
    assert_eq!(failed.body["status"], "invalid");
    let order_path = below(order.header("location"));
    assert_eq!(client.get(&mut bench, &order_path).body["status"], "invalid");
    let again = below(failed.body["challenges"][0]["url"].as_str().unwrap());
    client.post(&mut bench, &again, Some(&json!({}))).refused(400, "malformed");
}

#[test]
fn a_look_that_nobody_reports_of_is_repeated() {
    let mut bench = enabled(&json!({}));
    bench.deeds = honest();
    let client = Client::registered(&mut bench);
    let order = client.order(&mut bench, &json!([dns("a.example")])).expect(201);
    let url = below(order.body["authorizations"][0].as_str().unwrap());
    let challenge = below(client.get(&mut bench, &url).body["challenges"][0]["url"].as_str().unwrap());
    client.post(&mut bench, &challenge, Some(&json!({}))).expect(200);
    // The process ends between the commit and what it hands out.
    let due = bench.authority.tick(&bench.store, crate::testing::now(&bench), &bench.random).unwrap();
    let [due] = due.try_into().ok().unwrap();
    assert_eq!(due.undertakings.len(), 1);
    bench.store.commit(due.batch).unwrap();
    bench.pass(Duration::from_secs(30));
    assert_eq!(client.get(&mut bench, &url).body["status"], "pending");
    bench.pass(Duration::from_secs(31));
    assert_eq!(client.get(&mut bench, &url).body["status"], "valid");
}

#[test]
fn the_certificate_is_for_the_order_and_nothing_else() {
    let mut bench = enabled(&json!({}));
    bench.deeds = honest();
    let client = Client::registered(&mut bench);
    let order = client.order(&mut bench, &json!([dns("a.example"), dns("b.example")])).expect(201);
    client.prove(&mut bench, &order, "http-01");
    let both = named(&["a.example", "b.example"]);
    for request in [
        csr("", &named(&["a.example"])),
        csr("", &named(&["a.example", "b.example", "c.example"])),
        csr("c.example", &both),
        csr("", &[&both[..], &[San::Email("me@a.example".to_owned())]].concat()),
        csr("", &[&both[..], &[San::Uri("spiffe://a.example".to_owned())]].concat()),
        csr("10.0.0.1", &both),
        csr_by(&client.key, "", &both),
    ] {
        client.finalize(&mut bench, &order, &request).refused(400, "badCSR");
    }
    let mut broken = csr("", &both);
    let last = broken.len() - 1;
    broken[last] ^= 1;
    client.finalize(&mut bench, &order, &broken).refused(400, "badCSR");
    client.finalize(&mut bench, &order, &csr("B.example", &named(&["a.example"]))).expect(200);
    // Once is all.
    client.finalize(&mut bench, &order, &csr("", &both)).refused(403, "orderNotReady");
}

#[test]
fn what_an_order_may_ask_for() {
    let mut bench = enabled(&json!({}));
    let client = Client::registered(&mut bench);
    for (identifiers, kind) in [
        (json!([]), "malformed"),
        (json!("a.example"), "malformed"),
        (json!([{"type": "dns"}]), "malformed"),
        (json!([dns("")]), "malformed"),
        (json!([dns("a_b.example")]), "malformed"),
        (json!([dns("a.example.")]), "malformed"),
        (json!([dns("a.*.example")]), "malformed"),
        (json!([dns("f*.example")]), "malformed"),
        (json!([dns("*")]), "malformed"),
        (json!([dns("10.0.0.1")]), "malformed"),
        (json!([dns("*.10.0.0.1")]), "malformed"),
        (json!([{"type": "ip", "value": "10.0.0"}]), "malformed"),
        (json!([{"type": "email", "value": "me@example.org"}]), "unsupportedIdentifier"),
        (Value::Array((0..101).map(|at| dns(&format!("a{at}.example"))).collect()), "malformed"),
    ] {
        client.order(&mut bench, &identifiers).refused(400, kind);
    }
    let path = "acme/new-order";
    let dated = json!({"identifiers": [dns("a.example")], "notAfter": "2030-01-01T00:00:00Z"});
    client.post(&mut bench, path, Some(&dated)).refused(400, "malformed");
    let many = Value::Array((0..100).map(|at| dns(&format!("a{at}.example"))).collect());
    client.order(&mut bench, &many).expect(201);
    client.order(&mut bench, &json!([dns("a.example"), dns("A.example")])).expect(201);
    assert_eq!(client.get(&mut bench, "acme/orders").body["orders"].as_array().unwrap().len(), 2);
    // An order that comes to nothing ends, and then is gone.
    bench.pass(Duration::from_secs(25 * 3600));
    assert_eq!(client.get(&mut bench, "acme/orders").body["orders"], json!([]));
    let prefix = format!("m/{}/acme/order/", uuid(&mut bench));
    assert_eq!(bench.count(&prefix), 2);
    bench.pass(Duration::from_secs(24 * 3600));
    assert_eq!(bench.count(&prefix), 0);
}

fn uuid(bench: &mut Bench) -> String {
    let mounts = bench.read("sys/mounts");
    mounts.data()["pki/"]["uuid"].as_str().unwrap().to_owned()
}

#[test]
fn roles_and_issuers_have_directories_of_their_own() {
    let mut bench = enabled(&json!({}));
    bench.deeds = honest();
    bench.write("pki/roles/web", r#"{"allowed_domains":"a.example","allow_subdomains":true,"key_type":"ec","max_ttl":"72h","client_flag":true}"#);
    bench.write("pki/roles/unkept", r#"{"allow_any_name":true,"key_type":"ec","no_store":true}"#);
    for directory in ["roles/web/acme/", "issuer/root/acme/", "issuer/default/roles/web/acme/"] {
        let client = Client::registered_in(&mut bench, directory);
        let order = client.order(&mut bench, &json!([dns("x.a.example")])).expect(201);
        client.prove(&mut bench, &order, "http-01");
        let done = client.finalize(&mut bench, &order, &csr("", &named(&["x.a.example"]))).expect(200);
        let leaf = chain(&client.get(&mut bench, &done.path("certificate")).expect(200)).remove(0);
        assert_eq!(leaf.ext_key_usages().unwrap().len(), 1, "for servers alone");
        if directory.contains("roles") {
            client.order(&mut bench, &json!([dns("b.example")])).refused(400, "rejectedIdentifier");
            assert_eq!(leaf.subject().common_name(), "x.a.example", "the role requires one");
            assert!(leaf.not_after() - crate::testing::now(&bench).secs() <= 72 * 3600);
        }
    }
    // An account is of one directory.
    let mut stray = Client::registered_in(&mut bench, "roles/web/acme/");
    stray.directory = "acme/".to_owned();
    stray.order(&mut bench, &json!([dns("b.example")])).refused(400, "accountDoesNotExist");

    let show = |bench: &mut Bench, path: &str| {
        let request = bench.request("", Operation::Read, &format!("pki/{path}acme/directory"), "");
        Reply::of(bench.answer(&request))
    };
    show(&mut bench, "roles/nothing/").refused(400, "malformed");
    show(&mut bench, "roles/unkept/").refused(500, "serverInternal");
    show(&mut bench, "issuer/nothing/").refused(400, "malformed");
    configure(&mut bench, &json!({"allowed_roles": "web", "default_directory_policy": "role:web"}));
    show(&mut bench, "").expect(200);
    configure(&mut bench, &json!({"default_directory_policy": "forbid", "allow_role_ext_key_usage": true}));
    show(&mut bench, "").refused(500, "serverInternal");
    show(&mut bench, "roles/web/").expect(200);
    configure(&mut bench, &json!({"enabled": false}));
    assert_eq!(show(&mut bench, "roles/web/").status, 404);
}

#[test]
fn the_configuration_is_checked() {
    let mut bench = enabled(&json!({}));
    bench.write("pki/roles/unkept", r#"{"allow_any_name":true,"key_type":"ec","no_store":true}"#);
    for (body, why) in [
        (json!({"default_directory_policy": "anything"}), "Default Directory Policy"),
        (json!({"default_directory_policy": "role:nothing"}), "unknown role"),
        (json!({"default_directory_policy": "role:unkept"}), "NoStore"),
        (json!({"allowed_roles": ""}), "allowed_roles"),
        (json!({"allowed_roles": "*,unkept"}), "'*'"),
        (json!({"allowed_issuers": "nobody"}), "nobody"),
        (json!({"dns_resolver": "localhost:53"}), "DNS resolver"),
        (json!({"eab_policy": "sometimes"}), "eab policy"),
    ] {
        let answer = bench.root(Operation::Update, "pki/config/acme", &body.to_string());
        assert!(answer.status == 400 && answer.errors().contains(why), "{body}: {answer:?}");
    }
    let shown = bench.read("pki/config/acme");
    assert_eq!(shown.data()["max_ttl"], 90 * 24 * 3600);
    assert_eq!(shown.data()["eab_policy"], "not-required");
    bench.write("sys/mounts/other", r#"{"type":"pki"}"#);
    let answer = bench.root(Operation::Update, "other/config/acme", r#"{"enabled":true}"#);
    assert!(answer.errors().contains("config/cluster"), "{answer:?}");
}
