use super::*;
use keyward_crypto::SystemRandom;
use keyward_crypto::keys::{JWS_ALGORITHMS, Key};
use proptest::prelude::*;
use serde_json::json;

fn text(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn jwk(key: &Key) -> Map<String, Value> {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let value = match key.public_parts().unwrap() {
        PublicParts::Rsa { modulus, exponent } => {
            json!({"kty": "RSA", "n": text(&modulus), "e": text(&exponent)})
        }
        PublicParts::Ec { curve, x, y } => json!({"kty": "EC", "crv": curve, "x": text(&x), "y": text(&y)}),
        PublicParts::Ed25519(x) => json!({"kty": "OKP", "crv": "Ed25519", "x": text(&x)}),
    };
    value.as_object().unwrap().clone()
}

fn bad(header: Value) -> String {
    Jws::read(&text(&header), "", "AA").err().map(|why| why.to_string()).unwrap_or_default()
}

#[test]
fn every_algorithm_of_public_keys_signs() {
    for algorithm in JWS_ALGORITHMS {
        let key = Key::generate(algorithm.key_type(), 0, &SystemRandom).unwrap();
        let header = text(&json!({"alg": algorithm.name(), "jwk": jwk(&key), "nonce": "n", "url": "u"}));
        let payload = text(&json!({"a": 1}));
        let signature = key.jws_sign(algorithm, format!("{header}.{payload}").as_bytes()).unwrap();
        let signature = URL_SAFE_NO_PAD.encode(signature);
        let read = Jws::read(&header, &payload, &signature).unwrap();
        let Signer::Key(signer) = &read.signer else { panic!("no key") };
        assert!(read.signed_by(&signer.public), "{algorithm:?}");
        assert!(signer.algorithms().contains(&algorithm.name()));
        assert_eq!(Jwk::kept(&signer.canonical).as_ref(), Some(&**signer));
        assert_eq!((read.nonce.as_deref(), read.url.as_str()), (Some("n"), "u"));

        let other = Jws::read(&header, &text(&json!({"a": 2})), &signature).unwrap();
        assert!(!other.signed_by(&signer.public), "{algorithm:?} of another payload");
        // A key has no say in which algorithm is used, nor has a public key ever been a shared secret.
        for name in ["none", "HS256", "", "es256"] {
            let header = text(&json!({"alg": name, "jwk": jwk(&key)}));
            let read = Jws::read(&header, &payload, &signature).unwrap();
            assert!(!read.signed_by(&signer.public), "{name}");
        }
    }
}

#[test]
fn the_thumbprint_is_that_of_rfc_7638() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let given = json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
    let key = Jwk::read(given.as_object().unwrap()).unwrap();
    assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let padded = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([&[0][..], &URL_SAFE_NO_PAD.decode(n).unwrap()].concat()), "e": "AQAB"});
    assert_eq!(Jwk::read(padded.as_object().unwrap()).unwrap(), key);
}

#[test]
fn hostile_headers_are_refused() {
    let key = Key::generate(Algorithm::Es256.key_type(), 0, &SystemRandom).unwrap();
    let good = jwk(&key);
    assert!(bad(json!({"alg": "ES256", "jwk": good, "kid": "x"})).contains("both"));
    assert!(bad(json!({"alg": "ES256"})).contains("neither"));
    assert!(bad(json!({"jwk": good})).contains("header"));
    assert!(bad(json!({"alg": "ES256", "kid": "x", "crit": ["b64"], "b64": false})).contains("crit"));
    assert!(bad(json!({"alg": "ES256", "kid": "x", "b64": false})).contains("b64"));
    assert!(bad(json!(["ES256"])).contains("header"));
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed.insert(name.to_owned(), value);
        bad(json!({"alg": "ES256", "jwk": changed}))
    };
    assert!(with("d", json!("AA")).contains("private"));
    assert!(with("x", json!("AA")).contains("cannot be used"), "a short coordinate");
    assert!(with("y", good["x"].clone()).contains("cannot be used"), "a point beside the curve");
    assert!(with("crv", json!("secp256k1")).contains("P-256"));
    assert!(with("kty", json!("oct")).contains("RSA"));
    assert!(with("x", json!("a=")).contains("base64url"));
    let twice = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"a","kid":"b"}"#);
    assert!(Jws::read(&twice, "", "AA").is_err(), "a member that is there twice");
}

#[test]
fn oversized_parts_are_refused_unread() {
    let header = text(&json!({"alg": "ES256", "kid": "x"}));
    let long = "A".repeat(LONGEST_PAYLOAD + 4);
    assert!(Jws::read(&header, "", "AA").is_ok());
    for (protected, payload, signature) in
        [(long.as_str(), "", "AA"), (header.as_str(), &long, "AA"), (header.as_str(), "", &long)]
    {
        assert!(
            Jws::read(protected, payload, signature).is_err_and(|why| why.to_string().contains("too long"))
        );
    }
}

#[test]
fn shared_secrets_authenticate_with_their_algorithms_alone() {
    let payload = text(&json!({"kty": "EC"}));
    for (name, hash) in [("HS256", Hash::Sha2_256), ("HS384", Hash::Sha2_384), ("HS512", Hash::Sha2_512)] {
        let header = text(&json!({"alg": name, "kid": "eab", "url": "u"}));
        let tag = hash.mac(b"key", format!("{header}.{payload}").as_bytes()).unwrap();
        let read = Jws::read(&header, &payload, &URL_SAFE_NO_PAD.encode(&tag)).unwrap();
        assert!(read.authenticated_by(b"key") && !read.authenticated_by(b"other"), "{name}");
        let cut = Jws::read(&header, &payload, &URL_SAFE_NO_PAD.encode(&tag[..8])).unwrap();
        assert!(!cut.authenticated_by(b"key"));
    }
    let header = text(&json!({"alg": "none", "kid": "eab"}));
    assert!(!Jws::read(&header, &payload, "").unwrap().authenticated_by(b"key"));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(protected in "\\PC{0,40}", header in "\\PC{0,80}", rest in "[A-Za-z0-9_=-]{0,20}") {
        let _ = Jws::read(&protected, &rest, &rest);
        let _ = Jws::read(&URL_SAFE_NO_PAD.encode(&header), &rest, &rest);
    }
}
