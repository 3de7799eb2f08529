use crate::outside::{self, Ask, Reply};
use crate::request::Operation::{Delete, Read, Update};
use crate::testing::{Answer, Bench};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use keyward_testkit::certificates;
use serde_json::{Value, json};

/// 2026-01-01, as the bench's clock has it.
pub(super) const NOW: u64 = 1_767_225_600;

pub(super) struct Issuer {
    key: String,
    public: String,
}

impl Issuer {
    pub(super) fn new() -> Issuer {
        let authority = certificates::Authority::new("issuer").unwrap();
        Issuer { key: authority.key(), public: authority.certificate() }
    }

    pub(super) fn token(&self, change: &Value) -> String {
        let mut claims = json!({
            "iss": "https://ci.test", "sub": "repo:a", "aud": "keyward", "exp": NOW + 600, "iat": NOW,
            "user": "ann", "ref": "refs/heads/main", "job": {"name": "build"}, "admin": true,
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("k1".to_owned());
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_pem(self.key.as_bytes()).unwrap())
            .unwrap()
    }

    pub(super) fn jwks(&self) -> Value {
        let key = EncodingKey::from_ec_pem(self.key.as_bytes()).unwrap();
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some("k1".to_owned());
        serde_json::to_value(JwkSet { keys: vec![jwk] }).unwrap()
    }
}

pub(super) fn reply(body: &Value) -> outside::Answer {
    Ok(Reply { status: 200, body: body.to_string().into_bytes().into(), version: 1 })
}

fn role() -> Value {
    json!({
        "role_type": "jwt", "user_claim": "user", "bound_audiences": "keyward", "token_policies": "ci",
        "claim_mappings": {"ref": "branch", "/job/name": "job"},
    })
}

fn with_keys(issuer: &Issuer, role: &Value) -> Bench {
    let mut bench = Bench::new();
    bench.mount_auth("jwt", "jwt");
    bench.write("auth/jwt/config", &json!({"jwt_validation_pubkeys": [issuer.public]}).to_string());
    bench.write("auth/jwt/role/ci", &role.to_string());
    bench
}

fn log_in(bench: &mut Bench, jwt: &str) -> Answer {
    bench.ask("", Update, "auth/jwt/login", &json!({"role": "CI", "jwt": jwt}).to_string())
}

#[test]
fn a_signed_token_logs_in() {
    let issuer = Issuer::new();
    let mut bench = with_keys(&issuer, &role());
    let auth = log_in(&mut bench, &issuer.token(&json!({}))).body["auth"].clone();
    assert_eq!(auth["metadata"], json!({"role": "ci", "branch": "refs/heads/main", "job": "build"}));
    assert_eq!(auth["policies"], json!(["ci", "default"]));
    let token = auth["client_token"].as_str().unwrap();
    assert_eq!(bench.ask(token, Read, "auth/token/lookup-self", "").data()["display_name"], "jwt-ann");
    assert_eq!(bench.ask(token, Update, "auth/token/renew-self", "").status, 200);
    bench.root(Delete, "auth/jwt/role/ci", "");
    assert!(
        bench
            .ask(token, Update, "auth/token/renew-self", "")
            .errors()
            .contains("does not exist during renewal")
    );
}

#[test]
fn what_a_token_lacks_is_told() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let mut role = role();
    role["bound_subject"] = json!("repo:a");
    role["bound_claims"] = json!({"ref": ["refs/heads/main", "refs/heads/dev"], "admin": true});
    let mut bench = with_keys(&issuer, &role);
    bench.write(
        "auth/jwt/config",
        &json!({"jwt_validation_pubkeys": [issuer.public], "bound_issuer": "https://ci.test"}).to_string(),
    );
    assert_eq!(log_in(&mut bench, &issuer.token(&json!({}))).status, 200);
    for (jwt, why) in [
        ("x".to_owned(), "no JWT"),
        (other.token(&json!({})), "no known key signed the token"),
        (issuer.token(&json!({"exp": NOW - 600})), "expired"),
        (issuer.token(&json!({"iss": "https://else.test"})), "invalid issuer"),
        (issuer.token(&json!({"sub": "repo:b"})), "invalid subject"),
        (issuer.token(&json!({"aud": ["a", "b"]})), "invalid audience"),
        (issuer.token(&json!({"ref": "refs/heads/x"})), "claim \"ref\" does not match"),
        (issuer.token(&json!({"admin": null})), "claim \"admin\" is missing"),
        (issuer.token(&json!({"user": null})), "claim \"user\" not found in token"),
        (issuer.token(&json!({"user": ["a"]})), "claim \"user\" could not be converted to string"),
        (issuer.token(&json!({"job": {"name": 1}})), "error converting claim '/job/name' to string"),
    ] {
        let answer = log_in(&mut bench, &jwt);
        assert_eq!(answer.status, 400, "{why}: {answer:?}");
        assert!(answer.errors().contains(why), "{why}: {}", answer.errors());
    }
    for (body, why) in [
        (json!({"jwt": "x"}), "missing role"),
        (json!({"role": "none", "jwt": "x"}), "role \"none\" could not be found"),
        (json!({"role": "ci"}), "missing token"),
    ] {
        let answer = bench.ask("", Update, "auth/jwt/login", &body.to_string());
        assert_eq!((answer.status, answer.errors().as_str()), (400, why));
    }
}

#[test]
fn audiences_must_be_bound() {
    let issuer = Issuer::new();
    let role = json!({"user_claim": "user", "bound_subject": "repo:a"});
    let mut bench = with_keys(&issuer, &role);
    let answer = log_in(&mut bench, &issuer.token(&json!({})));
    assert_eq!(answer.errors(), "audience claim found in JWT but no audiences bound to the role");
    assert_eq!(log_in(&mut bench, &issuer.token(&json!({"aud": null}))).status, 200);
}

#[test]
fn algorithms_may_be_narrowed() {
    let issuer = Issuer::new();
    let mut bench = with_keys(&issuer, &role());
    let config = json!({"jwt_validation_pubkeys": [issuer.public], "jwt_supported_algs": "RS256,PS256"});
    bench.write("auth/jwt/config", &config.to_string());
    assert!(log_in(&mut bench, &issuer.token(&json!({}))).errors().contains("algorithm is not allowed"));
}

#[test]
fn keys_are_fetched_from_where_they_are_published() {
    let issuer = Issuer::new();
    let jwks = issuer.jwks();
    let world = move |ask: &Ask| match ask.url.as_str() {
        "https://ci.test/.well-known/openid-configuration" => {
            reply(&json!({"issuer": "https://ci.test", "jwks_uri": "https://keys.test/jwks"}))
        }
        "https://else.test/.well-known/openid-configuration" => {
            reply(&json!({"issuer": "https://ci.test", "jwks_uri": "https://keys.test/jwks"}))
        }
        "https://keys.test/jwks" => reply(&jwks),
        url => Err(format!("{url} does not answer")),
    };
    let mut bench = Bench::new();
    bench.mount_auth("jwt", "jwt");
    bench.world = Box::new(world);
    bench.write("auth/jwt/role/ci", &role().to_string());
    for config in [
        json!({"jwks_url": "https://keys.test/jwks"}),
        json!({"oidc_discovery_url": "https://ci.test/"}),
        json!({"oidc_discovery_url": "https://ci.test/.well-known/openid-configuration"}),
    ] {
        bench.write("auth/jwt/config", &config.to_string());
        assert_eq!(bench.read("auth/jwt/config").data()["status"], "valid", "{config}");
        assert_eq!(log_in(&mut bench, &issuer.token(&json!({}))).status, 200, "{config}");
    }
    for config in [
        json!({"jwks_url": "https://down.test/jwks"}),
        json!({"oidc_discovery_url": "https://down.test"}),
        json!({"oidc_discovery_url": "https://else.test"}),
    ] {
        let refused = bench.root(Update, "auth/jwt/config", &config.to_string());
        assert!(
            refused.status == 400 && refused.errors().contains("error checking"),
            "{config}: {refused:?}"
        );
        let mut lenient = config.clone();
        lenient["skip_jwks_validation"] = json!(true);
        let warned = bench.root(Update, "auth/jwt/config", &lenient.to_string());
        assert!(warned.status == 200 && warned.body["warnings"][0].as_str().is_some(), "{warned:?}");
        assert_eq!(bench.read("auth/jwt/config").data()["status"], "invalid");
        let denied = log_in(&mut bench, &issuer.token(&json!({"iss": "https://down.test"})));
        assert!(denied.status == 403 || denied.errors().contains("invalid issuer"), "{config}: {denied:?}");
    }
}

#[test]
fn roles_and_configurations_read_back() {
    let issuer = Issuer::new();
    let mut wanted = role();
    wanted["bound_claims_type"] = json!("glob");
    wanted["bound_claims"] = json!({"ref": "refs/heads/*"});
    wanted["clock_skew_leeway"] = json!(-1);
    wanted["expiration_leeway"] = json!("1m");
    let mut bench = with_keys(&issuer, &wanted);
    let read = bench.read("auth/jwt/role/ci");
    for (name, value) in [
        ("role_type", json!("jwt")),
        ("bound_audiences", json!(["keyward"])),
        ("bound_claims", json!({"ref": "refs/heads/*"})),
        ("bound_claims_type", json!("glob")),
        ("clock_skew_leeway", json!(-1)),
        ("expiration_leeway", json!(60)),
        ("claim_mappings", json!({"ref": "branch", "/job/name": "job"})),
        ("token_policies", json!(["ci"])),
    ] {
        assert_eq!(read.data()[name], value, "{name}");
    }
    assert_eq!(log_in(&mut bench, &issuer.token(&json!({}))).status, 200);
    let late = issuer.token(&json!({"exp": NOW - 1}));
    assert!(log_in(&mut bench, &late).errors().contains("expired"), "no leeway is left");
}

#[test]
fn mistakes_change_nothing() {
    let issuer = Issuer::new();
    let mut bench = with_keys(&issuer, &role());
    let before = bench.store.entries().count();
    for (path, body, why) in [
        ("config", json!({}), "exactly one of"),
        (
            "config",
            json!({"jwks_url": "https://a", "jwt_validation_pubkeys": [issuer.public]}),
            "exactly one of",
        ),
        ("config", json!({"jwt_validation_pubkeys": "x"}), "error parsing public key"),
        (
            "config",
            json!({"jwt_validation_pubkeys": [issuer.public], "jwt_supported_algs": "none"}),
            "unsupported",
        ),
        (
            "config",
            json!({"oidc_discovery_url": "https://a", "oidc_client_secret": "x"}),
            "browser need both",
        ),
        ("role/x", json!({"bound_audiences": "a"}), "a user claim must be defined on the role"),
        ("role/x", json!({"user_claim": "a"}), "must have at least one bound constraint"),
        ("role/x", json!({"user_claim": "a", "role_type": "oidc"}), "'allowed_redirect_uris' must be set"),
        ("role/x", json!({"user_claim": "a", "role_type": "saml"}), "invalid 'role_type'"),
        ("role/x", json!({"user_claim": "a", "bound_claims_type": "x"}), "invalid 'bound_claims_type'"),
        (
            "role/x",
            json!({"user_claim": "a", "bound_claims": {"a": {}}}),
            "is not a string, bool, int or list",
        ),
        (
            "role/x",
            json!({"user_claim": "a", "bound_claims_type": "glob", "bound_claims": {"a": 1}}),
            "claim is not a string or list",
        ),
        (
            "role/x",
            json!({"user_claim": "a", "bound_subject": "s", "claim_mappings": {"a": "m", "b": "m"}}),
            "mapped more than once",
        ),
        (
            "role/x",
            json!({"user_claim": "a", "bound_subject": "s", "claim_mappings": {"a": "role"}}),
            "reserved",
        ),
    ] {
        let answer = bench.root(Update, &format!("auth/jwt/{path}"), &body.to_string());
        assert_eq!(answer.status, 400, "{path} {body}: {answer:?}");
        assert!(answer.errors().contains(why), "{path} {body}: {}", answer.errors());
    }
    assert_eq!(bench.store.entries().count(), before);
}

#[test]
fn groups_in_a_token_are_identity_groups() {
    let issuer = Issuer::new();
    let mut role = role();
    role["groups_claim"] = json!("/org/groups");
    let mut bench = with_keys(&issuer, &role);
    assert_eq!(bench.read("auth/jwt/role/ci").data()["groups_claim"], "/org/groups");
    let accessor = bench.read("sys/auth").data()["jwt/"]["accessor"].clone();
    let mut group = |name: &str| {
        let body = json!({"name": name, "type": "external", "policies": format!("p-{name}")});
        let id = bench.write("identity/group", &body.to_string()).data()["id"].clone();
        let body = json!({"name": format!("idp-{name}"), "mount_accessor": accessor, "canonical_id": id});
        bench.write("identity/group-alias", &body.to_string());
        id
    };
    let (red, blue) = (group("red"), group("blue"));
    let members = |bench: &mut Bench, id: &Value| {
        bench.read(&format!("identity/group/id/{}", id.as_str().unwrap())).data()["member_entity_ids"].clone()
    };
    let log_in_with = |bench: &mut Bench, groups: Value| {
        log_in(bench, &issuer.token(&json!({"org": {"groups": groups}}))).body["auth"].clone()
    };
    let auth = log_in_with(&mut bench, json!(["idp-red", "idp-unknown", ""]));
    assert_eq!(auth["identity_policies"], json!(["p-red"]));
    assert_eq!(auth["policies"], json!(["ci", "default", "p-red"]));
    assert_eq!(members(&mut bench, &red), json!([auth["entity_id"]]));
    let token = auth["client_token"].as_str().unwrap().to_owned();
    // Each login says anew which groups count, for the tokens of earlier ones too.
    let auth = log_in_with(&mut bench, json!("idp-blue"));
    assert_eq!(auth["identity_policies"], json!(["p-blue"]));
    assert_eq!(
        (members(&mut bench, &red), members(&mut bench, &blue)),
        (json!([]), json!([auth["entity_id"]]))
    );
    let own = bench.ask(&token, Read, "auth/token/lookup-self", "");
    assert_eq!(own.data()["identity_policies"], json!(["p-blue"]));
    assert_eq!(log_in_with(&mut bench, Value::Null)["identity_policies"], Value::Null);
    assert_eq!(members(&mut bench, &blue), json!([]));
    for (groups, why) in
        [(json!({"a": 1}), "could not be converted to string list"), (json!([1]), "is not a string")]
    {
        let answer = log_in(&mut bench, &issuer.token(&json!({"org": {"groups": groups}})));
        assert!(answer.status == 400 && answer.errors().contains(why), "{answer:?}");
    }
}

#[test]
fn only_a_service_accounts_own_claims_name_its_pod() {
    let issuer = Issuer::new();
    let of_pod = json!({
        "/kubernetes.io/namespace": "service_account_namespace", "/kubernetes.io/pod/name": "pod_name", "ref": "branch",
    });
    for (mappings, wanted) in [
        (of_pod.clone(), 204),
        (json!({"ref": "pod_name"}), 403),
        (json!({"/kubernetes.io/pod/name": "pod_name", "ref": "pod_uid"}), 403),
        (json!({"ref": "branch"}), 403),
    ] {
        let mut role = role();
        role["claim_mappings"] = mappings.clone();
        let mut bench = with_keys(&issuer, &role);
        bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
        let condition = "pod.name == 'api-1'";
        bench.policy(
            "ci",
            &format!(r#"path "kv/a" {{ capabilities = ["create"] condition = "{condition}" }}"#),
        );
        let claims = json!({
            "ref": "api-1", "kubernetes.io": {"namespace": "prod", "pod": {"name": "api-1", "uid": "u"}},
        });
        let auth = log_in(&mut bench, &issuer.token(&claims)).body["auth"].clone();
        let token = auth["client_token"].as_str().unwrap();
        let answer = bench.ask(token, Update, "kv/a", r#"{"a":"b"}"#);
        assert_eq!(answer.status, wanted, "{mappings}");
    }
}
