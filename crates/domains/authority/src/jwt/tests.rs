use super::*;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{EncodingKey, Header as Written};
use keyward_testkit::certificates;
use proptest::prelude::*;
use serde_json::json;

/// A P-256 key pair: PKCS#8 and public key, in PEM.
fn pair() -> (String, String) {
    let authority = certificates::Authority::new("issuer").unwrap();
    (authority.key(), authority.certificate())
}

fn signed(key: &str, kid: Option<&str>, claims: &Value) -> String {
    let mut header = Written::new(Algorithm::ES256);
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_pem(key.as_bytes()).unwrap()).unwrap()
}

fn jwks(key: &str, kid: &str) -> String {
    let key = EncodingKey::from_ec_pem(key.as_bytes()).unwrap();
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    jwk.common.key_id = Some(kid.to_owned());
    serde_json::to_string(&JwkSet { keys: vec![jwk] }).unwrap()
}

#[test]
fn signatures_count_and_nothing_else_does() {
    let (key, public) = pair();
    let (other, _) = pair();
    let claims = json!({"sub": "a", "aud": ["x", "y"], "exp": 2_000});
    let keys = Keys::from_pem([public.as_str()]).unwrap();
    let good = signed(&key, None, &claims);
    let token = Token::parse(&good).unwrap();
    assert_eq!(keys.verify(&token, &[]), Ok(()));
    assert_eq!((token.text("sub"), token.audiences()), (Some("a"), vec!["x", "y"]));
    assert_eq!(keys.verify(&token, &["RS256".to_owned()]), Err(Bad::Algorithm));
    let foreign = signed(&other, None, &claims);
    assert_eq!(keys.verify(&Token::parse(&foreign).unwrap(), &[]), Err(Bad::Signature));
    for at in (0..good.len()).filter(|at| good.as_bytes()[*at] != b'.') {
        let mut altered = good.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        let outcome = Token::parse(&altered).and_then(|token| keys.verify(&token, &[]));
        // The last character of a part may carry bits that count for nothing; the decoder refuses those.
        assert!(outcome.is_err(), "character {at}: {altered}");
    }
}

#[test]
fn a_token_chooses_neither_its_key_nor_its_algorithm() {
    use base64::Engine as _;
    let encode = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let (key, public) = pair();
    let keys = Keys::from_pem([public.as_str()]).unwrap();
    let claims = json!({"exp": 2_000});
    for alg in ["none", "None", "HS256", "HS512", "ES512", "RSA1_5", ""] {
        let text = format!("{}.{}.AAAA", encode(json!({ "alg": alg })), encode(claims.clone()));
        assert_eq!(Token::parse(&text).err(), Some(Bad::Algorithm), "{alg}");
    }
    // The public key as the secret of a keyed hash: what once worked elsewhere.
    let secret = EncodingKey::from_secret(public.as_bytes());
    let confused = jsonwebtoken::encode(&Written::new(Algorithm::HS256), &claims, &secret).unwrap();
    assert_eq!(Token::parse(&confused).err(), Some(Bad::Algorithm));
    let good = signed(&key, None, &claims);
    let (_, rest) = good.split_once('.').unwrap();
    for alg in ["RS256", "PS256", "ES384", "EdDSA"] {
        let swapped = format!("{}.{rest}", encode(json!({ "alg": alg })));
        let outcome = keys.verify(&Token::parse(&swapped).unwrap(), &[]);
        assert!(matches!(outcome, Err(Bad::NoKey | Bad::Signature)), "{alg}: {outcome:?}");
    }
    let critical = format!("{}.{rest}", encode(json!({"alg": "ES256", "crit": ["b64"]})));
    assert!(matches!(Token::parse(&critical), Err(Bad::Malformed(_))));
}

#[test]
fn key_sets_name_their_keys() {
    let (key, _) = pair();
    let (other, _) = pair();
    let keys = Keys::from_jwks(jwks(&key, "one").as_bytes()).unwrap();
    let claims = json!({"exp": 2_000});
    let verify = |text: &str| keys.verify(&Token::parse(text).unwrap(), &[]);
    assert_eq!(verify(&signed(&key, Some("one"), &claims)), Ok(()));
    assert_eq!(verify(&signed(&key, None, &claims)), Ok(()));
    assert_eq!(verify(&signed(&key, Some("two"), &claims)), Err(Bad::NoKey));
    assert_eq!(verify(&signed(&other, Some("one"), &claims)), Err(Bad::Signature));
    assert!(!keys.may_know(&Token::parse(&signed(&key, Some("two"), &claims)).unwrap()));
}

#[test]
fn sets_without_a_usable_key_are_refused() {
    let (key, _) = pair();
    let mut encrypts: Value = serde_json::from_str(&jwks(&key, "one")).unwrap();
    encrypts["keys"][0]["use"] = json!("enc");
    for bad in [
        "",
        "{}",
        "[]",
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#,
        r#"{"keys":[{"kty":"new"}]}"#,
        &encrypts.to_string(),
    ] {
        assert!(Keys::from_jwks(bad.as_bytes()).is_err(), "{bad}");
    }
    for bad in ["", "nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        assert!(Keys::from_pem([bad]).is_err(), "{bad}");
    }
    assert!(Keys::from_pem([]).is_err());
}

#[test]
fn times_are_held_against_the_clock() {
    let (key, _) = pair();
    let judge = |claims: Value, now: u64| {
        let text = signed(&key, None, &claims);
        Token::parse(&text).unwrap().check_times(Timestamp::from_secs(now), Leeways::default())
    };
    for (claims, now, wanted) in [
        (json!({"exp": 1_000}), 999, Ok(())),
        (json!({"exp": 1_000}), 1_059, Ok(())),
        (json!({"exp": 1_000}), 1_060, Err(Bad::Expired)),
        (json!({"exp": 1_000, "nbf": 500}), 440, Ok(())),
        (json!({"exp": 1_000, "nbf": 500}), 439, Err(Bad::NotYet)),
        (json!({"exp": 1_000, "nbf": 100, "iat": 500}), 439, Err(Bad::IssuedLater)),
        (json!({"iat": 500}), 500 + 150 + 59, Ok(())),
        (json!({"iat": 500}), 500 + 150 + 60, Err(Bad::Expired)),
        (json!({"nbf": 500, "iat": 400}), 500 + 150 + 60, Err(Bad::Expired)),
        (json!({"exp": 1_000}), 1_000 - 150 - 61, Err(Bad::NotYet)),
        (json!({}), 1, Err(Bad::Timeless)),
        (json!({"exp": "1000"}), 1, Err(Bad::Timeless)),
        (json!({"exp": -5}), 1, Err(Bad::Timeless)),
    ] {
        assert_eq!(judge(claims.clone(), now), wanted, "{claims} at {now}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_anything(text in ".{0,200}", json in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Token::parse(&text);
        let _ = Keys::from_jwks(&json);
        let _ = Keys::from_pem([text.as_str()]);
    }
}
