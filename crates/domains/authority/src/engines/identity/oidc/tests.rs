//! Identity tokens as who is shown one meets them.

use crate::jwt::{Keys, Leeways, Token};
use crate::request::Operation::{Delete, List, Read, Update};
use crate::testing::{Bench, now};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.mount_auth("userpass", "people");
    bench.policy("user", "path \"identity/oidc/*\" { capabilities = [\"read\", \"update\"] }");
    bench.write("auth/people/users/ann", r#"{"password":"x","policies":"user"}"#);
    bench.write("identity/oidc/config", r#"{"issuer":"https://keyward.test:8200"}"#);
    bench
}

pub(super) fn log_in(bench: &mut Bench) -> (String, String) {
    let auth = bench.ask("", Update, "auth/people/login/ann", r#"{"password":"x"}"#).body["auth"].clone();
    (auth["client_token"].as_str().unwrap().to_owned(), auth["entity_id"].as_str().unwrap().to_owned())
}

fn verbatim(bench: &mut Bench, path: &str) -> Value {
    let answer = bench.ask("", Read, path, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// What a verifier with the published keys reads in `token`.
pub(super) fn verified(bench: &mut Bench, keys: &str, token: &str) -> Result<Value, String> {
    let jwks = verbatim(bench, keys).to_string();
    let token = Token::parse(token).map_err(|why| why.to_string())?;
    token.check_times(now(bench), Leeways::default()).map_err(|why| why.to_string())?;
    Keys::from_jwks(jwks.as_bytes())?.verify(&token, &[]).map_err(|why| why.to_string())?;
    Ok(Value::Object(token.claims))
}

const KEYS: &str = "identity/oidc/.well-known/keys";

fn issue(bench: &mut Bench, token: &str) -> String {
    let answer = bench.ask(token, Read, "identity/oidc/token/app", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.data()["token"].as_str().unwrap().to_owned()
}

fn introspect(bench: &mut Bench, body: &Value) -> Value {
    bench.root(Update, "identity/oidc/introspect", &body.to_string()).body
}

#[test]
fn tokens_say_who_the_caller_is() {
    let mut bench = bench();
    for algorithm in ["RS256", "ES256", "ES384", "EdDSA"] {
        let body = json!({"algorithm": algorithm, "allowed_client_ids": "*"});
        bench.write(&format!("identity/oidc/key/{algorithm}"), &body.to_string());
        let role = json!({"key": algorithm, "ttl": "1h", "client_id": "the-app",
            "template": r#"{"user": {{identity.entity.name}}, "until": {{time.now.plus.5m}}}"#});
        bench.write("identity/oidc/role/app", &role.to_string());
        let (token, entity) = log_in(&mut bench);
        let signed = issue(&mut bench, &token);
        let claims = verified(&mut bench, KEYS, &signed).unwrap();
        assert_eq!(claims["iss"], "https://keyward.test:8200/v1/identity/oidc");
        assert_eq!((&claims["sub"], &claims["aud"]), (&json!(entity), &json!("the-app")));
        let at = now(&bench).secs();
        assert_eq!((&claims["exp"], &claims["until"]), (&json!(at + 3600), &json!(at + 300)));
        assert!(claims["user"].as_str().unwrap().starts_with("entity_"), "{claims}");
        assert_eq!(introspect(&mut bench, &json!({"token": signed})), json!({"active": true}));
    }
    let discovery = verbatim(&mut bench, "identity/oidc/.well-known/openid-configuration");
    assert_eq!(discovery["jwks_uri"], format!("https://keyward.test:8200/v1/{KEYS}"));
    assert_eq!(
        bench.root(Read, "identity/oidc/token/app", "").errors(),
        "no entity associated with the request's token"
    );
}

#[test]
fn keys_are_renewed_by_time() {
    let mut bench = bench();
    let key = json!({"algorithm": "ES256", "allowed_client_ids": "*", "rotation_period": "1h", "verification_ttl": "2h"});
    bench.write("identity/oidc/key/k", &key.to_string());
    bench.write("identity/oidc/role/app", r#"{"key":"k","ttl":"2h"}"#);
    let (token, _) = log_in(&mut bench);
    let kids = |bench: &mut Bench| -> Vec<String> {
        let keys = verbatim(bench, KEYS)["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let kid = |token: &str| Token::parse(token).unwrap().kid.unwrap();
    let first = issue(&mut bench, &token);
    let published = kids(&mut bench);
    assert_eq!((published.len(), &published[0]), (2, &kid(&first)));
    bench.pass(Duration::from_secs(3600));
    let second = issue(&mut bench, &token);
    // The pair that signs now was published before, and the one before still is.
    assert_eq!(kid(&second), published[1]);
    assert_eq!(kids(&mut bench).len(), 3);
    assert!(verified(&mut bench, KEYS, &first).is_ok() && verified(&mut bench, KEYS, &second).is_ok());
    // By hand, too, and what is told then counts for the pair that signed until then.
    bench.write("identity/oidc/key/k/rotate", r#"{"verification_ttl":0}"#);
    assert_ne!(kid(&issue(&mut bench, &token)), kid(&second));
    assert_eq!(verified(&mut bench, KEYS, &second).unwrap_err(), "no known key could have signed the token");
    assert_eq!(introspect(&mut bench, &json!({"token": second}))["active"], false);
    assert!(verified(&mut bench, KEYS, &first).is_ok());
    // Of a whole day nothing piles up.
    bench.pass(Duration::from_secs(24 * 3600));
    assert!(kids(&mut bench).len() <= 5, "{:?}", kids(&mut bench));
    assert_eq!(bench.count("lease/due/"), 2, "the next rotation, and the end of the token");
    // Another algorithm is another pair at once.
    bench.write("identity/oidc/key/k", r#"{"algorithm":"EdDSA"}"#);
    let (token, _) = log_in(&mut bench);
    let signed = issue(&mut bench, &token);
    assert!(verified(&mut bench, KEYS, &signed).is_ok());
    assert_eq!(format!("{:?}", Token::parse(&signed).unwrap().algorithm), "EdDSA");
}

#[test]
fn whether_a_token_counts_is_told() {
    let mut bench = bench();
    bench.write("identity/oidc/key/k", r#"{"algorithm":"EdDSA","allowed_client_ids":"*"}"#);
    bench.write("identity/oidc/role/app", r#"{"key":"k","ttl":"1h","client_id":"the-app"}"#);
    let (token, entity) = log_in(&mut bench);
    let signed = issue(&mut bench, &token);
    let told = |bench: &mut Bench, change: &Value| {
        let mut body = json!({"token": signed});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        introspect(bench, &body)
    };
    assert_eq!(told(&mut bench, &json!({"client_id": "the-app"})), json!({"active": true}));
    let wrong = |why: &str| json!({"active": false, "error": why});
    let other = told(&mut bench, &json!({"client_id": "other"}));
    assert_eq!(other, wrong("error validating claims: invalid audience claim (aud)"));
    let (head, signature) = signed.rsplit_once('.').unwrap();
    for bad in
        ["", "x", "a.b.c", head, &format!("{head}.{}", signature.replace(|c: char| c.is_ascii_digit(), "0x"))]
    {
        let answer = told(&mut bench, &json!({"token": bad}));
        assert_eq!(answer, wrong("unable to validate the token signature"), "{bad}");
    }
    bench.write(&format!("identity/entity/id/{entity}"), r#"{"disabled":true}"#);
    assert_eq!(told(&mut bench, &json!({})), wrong("entity is disabled"));
    bench.root(Delete, &format!("identity/entity/id/{entity}"), "");
    assert_eq!(told(&mut bench, &json!({})), wrong("entity was not found"));
    bench.pass(Duration::from_secs(3600 + 60));
    assert_eq!(told(&mut bench, &json!({})), wrong("error validating claims: token is expired (exp)"));
    bench.write("identity/oidc/config", r#"{"issuer":"https://else.test"}"#);
    assert_eq!(told(&mut bench, &json!({})), wrong("error validating claims: invalid issuer claim (iss)"));
}

#[test]
fn keys_and_roles_are_kept_in_order() {
    let mut bench = bench();
    assert_eq!(bench.root(List, "identity/oidc/key", "").status, 404);
    assert_eq!(bench.read("identity/oidc/key/default").data()["allowed_client_ids"], json!(["*"]));
    bench.write("identity/oidc/key/k", r#"{"algorithm":"ES256"}"#);
    let wanted = json!({"algorithm": "ES256", "allowed_client_ids": [], "rotation_period": 86400, "verification_ttl": 86400});
    assert_eq!(bench.read("identity/oidc/key/k").data(), &wanted);
    bench.write("identity/oidc/role/app", r#"{"key":"k"}"#);
    let role = bench.read("identity/oidc/role/app").data().clone();
    assert_eq!((&role["key"], &role["ttl"], &role["template"]), (&json!("k"), &json!(86400), &json!("")));
    assert_eq!(role["client_id"].as_str().unwrap().len(), 26);
    for (path, body, why) in [
        ("key/x", json!({"rotation_period": 59}), "rotation_period must be at least one minute"),
        (
            "key/x",
            json!({"rotation_period": 60, "verification_ttl": 601}),
            "verification_ttl cannot be longer than 10x rotation_period",
        ),
        ("key/x", json!({"algorithm": "none"}), "unknown signing algorithm \"none\""),
        (
            "key/k",
            json!({"verification_ttl": "1h"}),
            "unable to update key \"k\" because it is currently referenced by one or more roles with a token ttl \
             greater than 3600 seconds",
        ),
        ("key/none/rotate", json!({}), "no named key found at \"none\""),
        ("role/x", json!({}), "the key parameter is required"),
        ("role/x", json!({"key": "none"}), "cannot find key \"none\""),
        ("role/x", json!({"key": "k", "ttl": "25h"}), "a role's token ttl cannot be longer than"),
        ("role/x", json!({"key": "k", "template": "{\"aud\":1}"}), "top level key \"aud\" not allowed"),
        ("config", json!({"issuer": "https://x/y"}), "invalid issuer"),
    ] {
        let answer = bench.root(Update, &format!("identity/oidc/{path}"), &body.to_string());
        assert!(answer.status == 400 && answer.errors().starts_with(why), "{path} {body}: {answer:?}");
    }
    let (token, _) = log_in(&mut bench);
    let refused = bench.ask(&token, Read, "identity/oidc/token/app", "");
    assert!(refused.errors().contains("does not list the client ID"), "{refused:?}");
    let refused = bench.root(Delete, "identity/oidc/key/k", "");
    assert!(refused.errors().ends_with("currently referenced by these roles: app"), "{refused:?}");
    assert_eq!(bench.root(Delete, "identity/oidc/key/default", "").status, 400);
    bench.root(Delete, "identity/oidc/role/app", "");
    assert_eq!(bench.root(Delete, "identity/oidc/key/k", "").status, 204);
    assert_eq!(verbatim(&mut bench, KEYS), json!({"keys": []}));
    // The default key is made when it is first used.
    bench.write("identity/oidc/role/app", r#"{"key":"default"}"#);
    let signed = issue(&mut bench, &token);
    assert!(verified(&mut bench, KEYS, &signed).is_ok());
    assert_eq!(bench.root(List, "identity/oidc/key", "").data()["keys"], json!(["default"]));
}
