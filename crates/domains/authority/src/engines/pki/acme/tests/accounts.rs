use super::*;
use keyward_crypto::keys::Hash;
use keyward_crypto::x509::{Certificate, pem};

#[test]
fn an_account_is_found_by_its_key_changed_and_deactivated() {
    let mut bench = enabled(&json!({}));
    let mut client = Client::new("acme/", Algorithm::Es256);
    client.register(&mut bench, &json!({"onlyReturnExisting": true})).refused(400, "accountDoesNotExist");
    for (contact, kind) in [
        (json!(["tel:123"]), "unsupportedContact"),
        (json!(["mailto:a@b.org,c@d.org"]), "invalidContact"),
        (json!(["mailto:nobody"]), "invalidContact"),
        (json!("mailto:a@b.org"), "malformed"),
    ] {
        client.register(&mut bench, &json!({ "contact": contact })).refused(400, kind);
    }
    let made = client.register(&mut bench, &json!({"contact": ["mailto:a@b.org"]})).expect(201);
    let url = client.kid.take().unwrap();
    let found = client.register(&mut bench, &json!({"onlyReturnExisting": true})).expect(200);
    assert_eq!((found.header("location"), &found.body), (url.as_str(), &made.body));
    let path = below(&url);
    let changed = client.post(&mut bench, &path, Some(&json!({"contact": ["mailto:c@d.org"]}))).expect(200);
    assert_eq!(changed.body["contact"], json!(["mailto:c@d.org"]));
    let other = Client::registered(&mut bench);
    other.get(&mut bench, &path).refused(401, "unauthorized");
    let gone = client.post(&mut bench, &path, Some(&json!({"status": "deactivated"}))).expect(200);
    assert_eq!(gone.body["status"], "deactivated");
    client.order(&mut bench, &json!([dns("a.example")])).refused(401, "unauthorized");
    client.kid = None;
    client.register(&mut bench, &json!({})).refused(401, "unauthorized");
}

/// The inner JWS of a change of keys, signed by `signer` and showing `shown`.
fn rollover(client: &Client, new: &Client, url: &str, said: &Value) -> Value {
    new.sign(&json!({"alg": new.algorithm.name(), "jwk": jwk(&new.key), "url": url}), &encode(said))
        .as_object()
        .cloned()
        .map_or(Value::Null, |inner| {
            assert!(client.kid.is_some());
            Value::Object(inner)
        })
}

#[test]
fn an_account_gets_another_key_from_who_has_both() {
    let mut bench = enabled(&json!({}));
    let mut client = Client::registered(&mut bench);
    let new = Client::new("acme/", Algorithm::Es384);
    let (path, url) = ("acme/key-change", format!("{BASE}acme/key-change"));
    let said = json!({"account": client.kid, "oldKey": jwk(&client.key)});
    let other = Client::registered(&mut bench);
    for inner in [
        rollover(&client, &new, &format!("{BASE}acme/new-account"), &said),
        rollover(&client, &new, &url, &json!({"account": other.kid, "oldKey": jwk(&client.key)})),
        rollover(&client, &new, &url, &json!({"account": client.kid, "oldKey": jwk(&other.key)})),
        json!({"protected": "AA"}),
    ] {
        client.post(&mut bench, path, Some(&inner)).refused(400, "malformed");
    }
    // Signed by a key that it does not show.
    let header = json!({"alg": "ES384", "jwk": jwk(&Client::new("", Algorithm::Es384).key), "url": url});
    let forged = new.sign(&header, &encode(&said));
    client.post(&mut bench, path, Some(&forged)).refused(400, "malformed");
    let taken = rollover(&client, &other, &url, &said);
    let conflict = client.post(&mut bench, path, Some(&taken));
    conflict.refused(409, "malformed");
    assert_eq!(Some(conflict.header("location")), other.kid.as_deref());

    let inner = rollover(&client, &new, &url, &said);
    client.post(&mut bench, path, Some(&inner)).expect(200);
    client.order(&mut bench, &json!([dns("a.example")])).refused(400, "badSignatureAlgorithm");
    (client.key, client.algorithm) = (new.key, new.algorithm);
    client.order(&mut bench, &json!([dns("a.example")])).expect(201);
}

/// An external account binding of `client`'s key.
fn binding(client: &Client, id: &str, secret: &[u8], url: &str, algorithm: &str) -> Value {
    let protected = encode(&json!({"alg": algorithm, "kid": id, "url": url}));
    let payload = encode(&jwk(&client.key));
    let tag = Hash::Sha2_256.mac(secret, format!("{protected}.{payload}").as_bytes()).unwrap();
    json!({"protected": protected, "payload": payload, "signature": URL_SAFE_NO_PAD.encode(tag)})
}

#[test]
fn bindings_are_good_for_one_account_in_one_directory() {
    let mut bench = enabled(&json!({"eab_policy": "new-account-required"}));
    let url = format!("{BASE}acme/new-account");
    let made = bench.write("pki/acme/new-eab", "").data().clone();
    assert_eq!(made["acme_directory"], "acme/directory");
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert!(key.starts_with("vault-eab-0-"));
    let secret = URL_SAFE_NO_PAD.decode(key).unwrap();
    let elsewhere = bench.write("pki/issuer/root/acme/new-eab", "").data().clone();
    let far = URL_SAFE_NO_PAD.decode(elsewhere["key"].as_str().unwrap()).unwrap();

    let mut client = Client::new("acme/", Algorithm::Es256);
    let stranger = Client::new("acme/", Algorithm::Es256);
    client.register(&mut bench, &json!({})).refused(401, "externalAccountRequired");
    for (shown, status, kind) in [
        (binding(&client, id, b"another secret", &url, "HS256"), 401, "unauthorized"),
        (
            binding(&client, "11111111-1111-1111-1111-111111111111", &secret, &url, "HS256"),
            401,
            "unauthorized",
        ),
        (binding(&client, "../config", &secret, &url, "HS256"), 401, "unauthorized"),
        (binding(&client, id, &secret, &url, "none"), 401, "unauthorized"),
        (binding(&client, id, &secret, &format!("{BASE}acme/new-order"), "HS256"), 401, "unauthorized"),
        (binding(&client, elsewhere["id"].as_str().unwrap(), &far, &url, "HS256"), 401, "unauthorized"),
        (binding(&stranger, id, &secret, &url, "HS256"), 400, "malformed"),
        (json!("vault-eab-0-"), 400, "malformed"),
    ] {
        client.register(&mut bench, &json!({ "externalAccountBinding": shown })).refused(status, kind);
    }
    let listed = bench.root(Operation::List, "pki/eab", "");
    assert_eq!(listed.data()["keys"].as_array().unwrap().len(), 2);
    assert_eq!(listed.data()["key_info"][id]["key_type"], "hs");

    let shown = binding(&client, id, &secret, &url, "HS256");
    let reply = client.register(&mut bench, &json!({ "externalAccountBinding": shown })).expect(201);
    assert_eq!(reply.body["externalAccountBinding"], shown);
    let mut second = Client::new("acme/", Algorithm::Es256);
    let again = binding(&second, id, &secret, &url, "HS256");
    second.register(&mut bench, &json!({ "externalAccountBinding": again })).refused(401, "unauthorized");
    let rest = elsewhere["id"].as_str().unwrap();
    assert_eq!(bench.root(Operation::Delete, &format!("pki/eab/{rest}"), "").status, 204);
    assert_eq!(bench.root(Operation::List, "pki/eab", "").status, 404);
    let nobody = bench.ask("", Operation::Update, "pki/acme/new-eab", "");
    assert_eq!(nobody.status, 403);

    // Accounts without one are of no use any more once everybody needs one.
    configure(&mut bench, &json!({"eab_policy": "not-required"}));
    let unbound = Client::registered(&mut bench);
    configure(&mut bench, &json!({"eab_policy": "always-required"}));
    unbound.order(&mut bench, &json!([dns("a.example")])).refused(401, "externalAccountRequired");
    client.order(&mut bench, &json!([dns("a.example")])).expect(201);
}

/// A certificate that `client` obtained, and its key.
fn obtained(bench: &mut Bench, client: &Client) -> (Vec<u8>, Key) {
    let key = Key::generate(KeyType::EcdsaP256, 0, &SystemRandom).unwrap();
    let order = client.order(bench, &json!([dns("a.example")])).expect(201);
    client.prove(bench, &order, "http-01");
    let request = csr_by(&key, "", &named(&["a.example"]));
    let done = client.finalize(bench, &order, &request).expect(200);
    let chain = client.get(bench, &done.path("certificate")).expect(200).text;
    (pem::blocks(&chain).unwrap().remove(0).der.to_vec(), key)
}

#[test]
fn certificates_are_revoked_by_their_account_or_their_key() {
    let mut bench = enabled(&json!({}));
    bench.deeds = honest();
    let client = Client::registered(&mut bench);
    let other = Client::registered(&mut bench);
    let path = "acme/revoke-cert";
    let said = |der: &[u8]| json!({"certificate": URL_SAFE_NO_PAD.encode(der)});

    let (first, _) = obtained(&mut bench, &client);
    other.post(&mut bench, path, Some(&said(&first))).refused(401, "unauthorized");
    let reasoned = json!({"certificate": URL_SAFE_NO_PAD.encode(&first), "reason": 1});
    client.post(&mut bench, path, Some(&reasoned)).refused(400, "badRevocationReason");
    client.post(&mut bench, path, Some(&json!({"certificate": "AA"}))).refused(400, "malformed");
    client.post(&mut bench, path, Some(&said(&first))).expect(200);
    client.post(&mut bench, path, Some(&said(&first))).refused(400, "alreadyRevoked");
    let serial = super::super::super::colons(Certificate::read(&first).unwrap().serial());
    assert_ne!(bench.read(&format!("pki/cert/{serial}")).data()["revocation_time"], 0);

    let (second, key) = obtained(&mut bench, &client);
    let holder = Client { key, algorithm: Algorithm::Es256, directory: "acme/".to_owned(), kid: None };
    let stranger = Client::new("acme/", Algorithm::Es256);
    stranger.post(&mut bench, path, Some(&said(&second))).refused(401, "unauthorized");
    holder.post(&mut bench, path, Some(&said(&second))).expect(200);
}

#[test]
fn what_is_of_no_use_any_more_is_tidied_away() {
    let mut bench = enabled(&json!({}));
    bench.deeds = honest();
    let client = Client::registered(&mut bench);
    let idle = Client::registered(&mut bench);
    obtained(&mut bench, &client);
    bench.write("pki/acme/new-eab", "");
    let tidy = |bench: &mut Bench| {
        bench.write("pki/tidy", r#"{"tidy_acme":true,"acme_account_safety_buffer":"240h"}"#);
        bench.pass(Duration::from_secs(1));
        bench.read("pki/tidy-status").data().clone()
    };
    let nothing = tidy(&mut bench);
    assert_eq!(
        (&nothing["total_acme_account_count"], &nothing["acme_orders_deleted_count"]),
        (&json!(2), &json!(0))
    );
    bench.pass(Duration::from_secs(11 * 24 * 3600));
    let idle_gone = tidy(&mut bench);
    assert_eq!(idle_gone["acme_account_revoked_count"], 1, "the one without orders");
    assert_eq!(bench.root(Operation::List, "pki/eab", "").status, 404);
    idle.order(&mut bench, &json!([dns("a.example")])).refused(401, "unauthorized");
    bench.pass(Duration::from_secs(11 * 24 * 3600));
    assert_eq!(tidy(&mut bench)["acme_account_deleted_count"], 1);
    idle.order(&mut bench, &json!([dns("a.example")])).refused(400, "accountDoesNotExist");
    // The mount's certificates are valid for 32 days.
    bench.pass(Duration::from_secs(14 * 24 * 3600));
    assert_eq!(tidy(&mut bench)["acme_orders_deleted_count"], 1);
    client.order(&mut bench, &json!([dns("a.example")])).expect(201);
}
