mod posture;

use crate::outside::{self, Ask, Credential, Reply};
use crate::request::Operation::{Delete, List, Read, Update};
use crate::testing::Bench;
use base64::Engine as _;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use keyward_testkit::certificates;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const HOST: &str = "https://api.test:6443";
/// 2026-01-01, as the bench's clock has it.
const NOW: u64 = 1_767_225_600;

struct Cluster {
    key: String,
    public: String,
}

impl Cluster {
    fn new() -> Cluster {
        let authority = certificates::Authority::new("cluster").unwrap();
        Cluster { key: authority.key(), public: authority.certificate() }
    }

    fn token(&self, change: impl Fn(&mut Value)) -> String {
        let mut claims = json!({
            "iss": "https://kubernetes.default.svc",
            "sub": "system:serviceaccount:prod:api",
            "aud": ["keyward"],
            "exp": NOW + 600,
            "iat": NOW - 10,
            "nbf": NOW - 10,
            "kubernetes.io": {
                "namespace": "prod",
                "serviceaccount": {"name": "api", "uid": "uid-1"},
                "pod": {"name": "api-7", "uid": "pod-uid-7"},
                "node": {"name": "node-3", "uid": "node-uid"},
            },
        });
        change(&mut claims);
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("k1".to_owned());
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_pem(self.key.as_bytes()).unwrap())
            .unwrap()
    }

    fn jwks(&self, kid: &str) -> String {
        let key = EncodingKey::from_ec_pem(self.key.as_bytes()).unwrap();
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        serde_json::to_string(&JwkSet { keys: vec![jwk] }).unwrap()
    }
}

fn reply(status: u16, body: &Value) -> outside::Answer {
    let body: Arc<[u8]> = body.to_string().into_bytes().into();
    let version = body.iter().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    Ok(Reply { status, body, version })
}

/// An API server that believes every token and knows one namespace and one account.
fn api_server(ask: &Ask) -> outside::Answer {
    let path = ask.url.strip_prefix(HOST).unwrap_or("elsewhere");
    match path {
        "/apis/authentication.k8s.io/v1/tokenreviews" => {
            let (_, body) = ask.body.as_ref().unwrap();
            let sent: Value = serde_json::from_str(body.0.expose()).unwrap();
            let token = sent["spec"]["token"].as_str().unwrap();
            let claims = token.split('.').nth(1).unwrap();
            let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
            let claims: Value = serde_json::from_slice(&claims).unwrap();
            reply(
                201,
                &json!({"status": {
                    "authenticated": true,
                    "audiences": sent["spec"]["audiences"],
                    "user": {
                        "username": claims["sub"],
                        "uid": "uid-1",
                        "extra": {
                            "authentication.kubernetes.io/pod-name": ["api-7"],
                            "authentication.kubernetes.io/pod-uid": ["pod-uid-7"],
                            "authentication.kubernetes.io/node-name": ["node-3"],
                            "authentication.kubernetes.io/node-uid": ["node-uid"],
                        },
                    },
                }}),
            )
        }
        "/api/v1/namespaces/prod" => reply(200, &json!({"metadata": {"labels": {"tier": "gold"}}})),
        "/api/v1/namespaces/prod/serviceaccounts/api" => reply(
            200,
            &json!({"metadata": {"annotations": {
                "vault.hashicorp.com/alias-metadata-team": "blue",
                "vault.hashicorp.com/alias-metadata-service_account_uid": "forged",
                "other": "x",
            }}}),
        ),
        _ => reply(404, &json!({"kind": "Status", "message": "not found"})),
    }
}

const ROLE: &str = r#"{"bound_service_account_names":"api","bound_service_account_namespaces":"prod",
    "audience":"keyward","token_policies":"reader","token_ttl":"1h"}"#;

fn bench(config: &Value, role: &str) -> Bench {
    let mut bench = Bench::new();
    bench.mount_auth("kubernetes", "kubernetes");
    let mut sent = json!({"kubernetes_host": HOST});
    sent.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    bench.write("auth/kubernetes/config", &sent.to_string());
    bench.write("auth/kubernetes/role/api", role);
    bench.world = Box::new(api_server);
    bench
}

fn log_in(bench: &mut Bench, jwt: &str) -> crate::testing::Answer {
    let body = json!({"role": "api", "jwt": jwt}).to_string();
    bench.ask("", Update, "auth/kubernetes/login", &body)
}

/// Why the last login was refused, as the operator reads it.
fn reason(bench: &Bench) -> String {
    bench.last_records().1["error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_pod_logs_in_with_its_token() {
    let cluster = Cluster::new();
    let mut bench = bench(&json!({}), ROLE);
    let auth = log_in(&mut bench, &cluster.token(|_| {})).body["auth"].clone();
    assert_eq!(
        auth["metadata"],
        json!({
            "role": "api",
            "service_account_name": "api",
            "service_account_namespace": "prod",
            "service_account_secret_name": "",
            "service_account_uid": "uid-1",
            "pod_name": "api-7",
            "pod_uid": "pod-uid-7",
            "node_name": "node-3",
            "node_uid": "node-uid",
        })
    );
    assert_eq!(auth["policies"], json!(["default", "reader"]));
    assert_eq!(auth["lease_duration"], 3600);
    let token = auth["client_token"].as_str().unwrap();
    let looked_up = bench.ask(token, Read, "auth/token/lookup-self", "");
    assert_eq!(looked_up.data()["display_name"], "kubernetes-prod-api");
    assert_eq!(looked_up.data()["path"], "auth/kubernetes/login");
    assert_eq!(bench.ask(token, Update, "auth/token/renew-self", "").status, 200);
    let again = log_in(&mut bench, &cluster.token(|_| {}));
    assert_eq!(again.body["auth"]["entity_id"], auth["entity_id"]);
    bench.root(Delete, "auth/kubernetes/role/api", "");
    let refused = bench.ask(token, Update, "auth/token/renew-self", "");
    assert!(refused.errors().contains("role api does not exist during renewal"), "{refused:?}");
}

#[test]
fn the_caller_learns_nothing_and_the_operator_why() {
    let cluster = Cluster::new();
    let mut bench =
        bench(&json!({"disable_iss_validation": false, "issuer": "https://kubernetes.default.svc"}), ROLE);
    bench.enable_audit(&[]);
    let claim = |path: &'static [&'static str], value: Value| {
        move |claims: &mut Value| {
            let at = path.iter().fold(claims, |at, name| &mut at[*name]);
            *at = value.clone();
        }
    };
    for (jwt, why) in [
        ("nonsense".to_owned(), "no JWT"),
        (cluster.token(claim(&["exp"], json!(NOW - 3600))), "expired"),
        (cluster.token(claim(&["nbf"], json!(NOW + 3600))), "not valid yet"),
        (cluster.token(claim(&["aud"], json!(["other"]))), "audience"),
        (cluster.token(claim(&["iss"], json!("https://elsewhere"))), "issuer"),
        (
            cluster.token(claim(&["kubernetes.io", "serviceaccount", "name"], json!("other"))),
            "name not authorized",
        ),
        (cluster.token(claim(&["sub"], json!("system:serviceaccount:prod:other"))), "names did not match"),
        (
            cluster.token(claim(&["kubernetes.io", "serviceaccount", "uid"], json!("uid-2"))),
            "UIDs did not match",
        ),
        (cluster.token(claim(&["kubernetes.io", "namespace"], json!("dev"))), "namespaces did not match"),
        (cluster.token(claim(&["sub"], json!("alice"))), "unexpected username format"),
        (cluster.token(claim(&["sub"], json!("system:node:prod:api"))), "not a service account"),
    ] {
        let answer = log_in(&mut bench, &jwt);
        assert_eq!(answer.status, 403, "{why}: {answer:?}");
        assert_eq!(answer.errors().trim(), "1 error occurred:\n\t* permission denied");
        assert!(reason(&bench).contains(why), "{why}: {}", reason(&bench));
    }
    for (status, body, why) in [
        (201, json!({"status": {"authenticated": false}}), "jwt not valid"),
        (201, json!({"status": {"authenticated": false, "error": "token expired"}}), "token expired"),
        (
            201,
            json!({"status": {"authenticated": true, "user": {"username": "system:serviceaccount:prod:api"}}}),
            "other audiences",
        ),
        (401, json!({}), "deleted or recreated"),
        (403, json!({"message": "tokenreviews is forbidden"}), "tokenreviews is forbidden"),
        (200, json!("no object"), "cannot be read"),
        (500, json!(null), "HTTP status 500"),
    ] {
        bench.world = Box::new(move |_| reply(status, &body));
        let answer = log_in(&mut bench, &cluster.token(|_| {}));
        assert_eq!(answer.status, 403, "{why}");
        assert!(reason(&bench).contains(why), "{why}: {}", reason(&bench));
    }
    bench.world = Box::new(|_| Err("no answer within 10 s".to_owned()));
    assert_eq!(log_in(&mut bench, &cluster.token(|_| {})).status, 403);
    assert!(reason(&bench).contains("the API server cannot be asked: no answer within 10 s"));
}

#[test]
fn what_is_missing_is_told() {
    let cluster = Cluster::new();
    let mut bench = bench(&json!({}), ROLE);
    for (body, error) in [
        (json!({"jwt": "x"}), "missing role"),
        (json!({"role": "api"}), "missing jwt"),
        (json!({"role": "none", "jwt": "x"}), "invalid role name \"none\""),
    ] {
        let answer = bench.ask("", Update, "auth/kubernetes/login", &body.to_string());
        assert_eq!((answer.status, answer.errors().as_str()), (400, error));
    }
    let mut fresh = Bench::new();
    fresh.mount_auth("kubernetes", "kubernetes");
    fresh.write("auth/kubernetes/role/api", ROLE);
    let answer = log_in(&mut fresh, &cluster.token(|_| {}));
    assert!(answer.errors().contains("could not load backend configuration"), "{answer:?}");
}

#[test]
fn keys_prove_a_token_without_asking() {
    let cluster = Cluster::new();
    let mut bench = bench(&json!({"verification": "keys", "pem_keys": [cluster.public]}), ROLE);
    bench.world = Box::new(|ask| panic!("asked {}", ask.url));
    let answer = log_in(&mut bench, &cluster.token(|_| {}));
    assert_eq!(answer.body["auth"]["metadata"]["pod_uid"], "pod-uid-7", "{answer:?}");
    assert_eq!(log_in(&mut bench, &Cluster::new().token(|_| {})).status, 403);
    let timeless = cluster.token(|claims| {
        for claim in ["exp", "iat", "nbf"] {
            claims.as_object_mut().unwrap().remove(claim);
        }
    });
    assert_eq!(log_in(&mut bench, &timeless).status, 403, "nothing would ever end it");
}

#[test]
fn published_keys_are_kept_and_fetched_anew_when_they_change() {
    let cluster = Cluster::new();
    let mut bench = bench(&json!({"verification": "keys"}), ROLE);
    let (asked, keys) = (Arc::new(AtomicUsize::new(0)), cluster.jwks("k1"));
    let old = Cluster::new().jwks("k0");
    let count = asked.clone();
    bench.world = Box::new(move |ask| {
        assert_eq!(ask.url, format!("{HOST}/openid/v1/jwks"));
        assert!(matches!(&ask.credential, Credential::PodOr(_)));
        // The first answer is as old as may be: from before the cluster changed its key.
        let fresh = ask.may_be_old.as_secs() < 60;
        count.fetch_add(1, Ordering::Relaxed);
        reply(200, &serde_json::from_str(if fresh { &keys } else { &old }).unwrap())
    });
    assert_eq!(log_in(&mut bench, &cluster.token(|_| {})).status, 200);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    assert_eq!(log_in(&mut bench, &Cluster::new().token(|_| {})).status, 403);
}

#[test]
fn namespaces_are_named_or_selected() {
    let cluster = Cluster::new();
    let role = |rest: &str| format!(r#"{{"bound_service_account_names":"*",{rest}}}"#);
    for (rest, wanted) in [
        (r#""bound_service_account_namespaces":"prod""#, 200),
        (r#""bound_service_account_namespaces":"pr*""#, 200),
        (r#""bound_service_account_namespaces":"*""#, 200),
        (r#""bound_service_account_namespaces":"dev,test""#, 403),
        (r#""bound_service_account_namespace_selector":"matchLabels: {tier: gold}""#, 200),
        (r#""bound_service_account_namespace_selector":"{\"matchLabels\":{\"tier\":\"tin\"}}""#, 403),
        (
            r#""bound_service_account_namespaces":"dev",
               "bound_service_account_namespace_selector":"matchExpressions: [{key: tier, operator: Exists}]""#,
            200,
        ),
    ] {
        let mut bench = bench(&json!({}), &role(rest));
        assert_eq!(log_in(&mut bench, &cluster.token(|_| {})).status, wanted, "{rest}");
    }
    // A name that would reach another path of the API server is none.
    let mut bench = bench(
        &json!({"verification": "keys", "pem_keys": [cluster.public]}),
        &role(r#""bound_service_account_namespace_selector":"matchLabels: {tier: gold}""#),
    );
    for namespace in ["../prod", "prod/x", "prod?x", "", ".", "Prod"] {
        let jwt = cluster.token(|claims| claims["kubernetes.io"]["namespace"] = json!(namespace));
        assert_eq!(log_in(&mut bench, &jwt).status, 403, "{namespace}");
    }
}

#[test]
fn identities_are_accounts_by_uid_or_by_name() {
    let cluster = Cluster::new();
    let name = ROLE.replace('}', r#","alias_name_source":"serviceaccount_name"}"#);
    let recreated = |claims: &mut Value| claims["kubernetes.io"]["serviceaccount"]["uid"] = json!("uid-2");
    for (role, same) in [(ROLE, false), (name.as_str(), true)] {
        let mut bench = bench(&json!({"verification": "keys", "pem_keys": [cluster.public]}), role);
        let entity = |answer: crate::testing::Answer| answer.body["auth"]["entity_id"].clone();
        let first = entity(log_in(&mut bench, &cluster.token(|_| {})));
        let second = entity(log_in(&mut bench, &cluster.token(recreated)));
        assert_eq!(first == second, same, "{role}");
    }
}

#[test]
fn annotations_reach_the_alias_and_replace_nothing() {
    let cluster = Cluster::new();
    let mut bench = bench(&json!({"use_annotations_as_alias_metadata": true}), ROLE);
    let mount = bench.read("sys/auth").data()["kubernetes/"]["accessor"].as_str().unwrap().to_owned();
    let path = |name: &str| format!("kv/{{{{identity.entity.aliases.{mount}.metadata.{name}}}}}");
    bench.policy(
        "reader",
        &format!(
            "path \"{}\" {{ capabilities = [\"read\"] }} path \"{}\" {{ capabilities = [\"read\"] }}",
            path("team"),
            path("service_account_uid")
        ),
    );
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    for name in ["blue", "forged", "uid-1"] {
        bench.write(&format!("kv/{name}"), r#"{"a":1}"#);
    }
    let answer = log_in(&mut bench, &cluster.token(|_| {}));
    let token = answer.body["auth"]["client_token"].as_str().unwrap().to_owned();
    for (name, wanted) in [("blue", 200), ("uid-1", 200), ("forged", 403)] {
        assert_eq!(bench.ask(&token, Read, &format!("kv/{name}"), "").status, wanted, "{name}");
    }
}

#[test]
fn batch_tokens_cost_no_write_but_the_first() {
    let cluster = Cluster::new();
    let role = ROLE.replace('}', r#","token_type":"batch"}"#);
    let mut bench = bench(&json!({"verification": "keys", "pem_keys": [cluster.public]}), &role);
    assert_eq!(log_in(&mut bench, &cluster.token(|_| {})).status, 200);
    let before: Vec<_> = bench.store.entries().map(|(key, _)| key.to_vec()).collect();
    assert_eq!(log_in(&mut bench, &cluster.token(|_| {})).status, 200);
    let after: Vec<_> = bench.store.entries().map(|(key, _)| key.to_vec()).collect();
    assert_eq!(before, after);
}

#[test]
fn configurations_and_roles_read_back() {
    let mut bench =
        bench(&json!({"kubernetes_ca_cert": Cluster::new().public, "token_reviewer_jwt": "secret"}), ROLE);
    let config = bench.read("auth/kubernetes/config");
    assert_eq!(config.data()["kubernetes_host"], HOST);
    assert_eq!(config.data()["token_reviewer_jwt_set"], true);
    assert!(!config.body.to_string().contains("secret\""), "{config:?}");
    let role = bench.read("auth/kubernetes/role/API");
    assert_eq!(role.data()["bound_service_account_names"], json!(["api"]));
    assert_eq!(role.data()["alias_name_source"], "serviceaccount_uid");
    assert_eq!(role.data()["token_ttl"], 3600);
    assert_eq!(bench.root(List, "auth/kubernetes/role", "").data()["keys"], json!(["api"]));
}

#[test]
fn mistakes_change_nothing() {
    let mut bench = bench(&json!({}), ROLE);
    let before = bench.store.entries().count();
    for (path, body, error) in [
        ("config", "{}", "no host provided"),
        ("config", r#"{"kubernetes_host":"ftp://x"}"#, "must begin with https://"),
        (
            "config",
            r#"{"kubernetes_host":"x","disable_local_ca_jwt":true}"#,
            "kubernetes_ca_cert must be given",
        ),
        ("config", r#"{"kubernetes_host":"x","kubernetes_ca_cert":"x"}"#, "no certificate"),
        ("config", r#"{"kubernetes_host":"x","pem_keys":"x"}"#, "key 1 is no public key"),
        ("config", r#"{"kubernetes_host":"x","verification":"none"}"#, "token-review or keys"),
        ("role/x", "{}", "\"bound_service_account_names\" can not be empty"),
        (
            "role/x",
            r#"{"bound_service_account_names":"a"}"#,
            "\"bound_service_account_namespaces\" can not be empty",
        ),
        (
            "role/x",
            r#"{"bound_service_account_names":"a,*","bound_service_account_namespaces":"b"}"#,
            "can not mix \"*\" with values",
        ),
        (
            "role/x",
            r#"{"bound_service_account_names":"a","bound_service_account_namespace_selector":"x"}"#,
            "invalid \"bound_service_account_namespace_selector\" configured",
        ),
        (
            "role/x",
            r#"{"bound_service_account_names":"a","bound_service_account_namespaces":"b","alias_name_source":"pod"}"#,
            "invalid alias_name_source",
        ),
    ] {
        let answer = bench.root(Update, &format!("auth/kubernetes/{path}"), body);
        assert_eq!(answer.status, 400, "{path} {body}: {answer:?}");
        assert!(answer.errors().contains(error), "{path} {body}: {}", answer.errors());
    }
    assert_eq!(bench.store.entries().count(), before);
}
