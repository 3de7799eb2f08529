//! The engine beside an API server that is a set of paths in memory, and a machine that dies between any two steps.

use crate::act::http::{Call, Deed};
use crate::act::{Act, Failure, Undertaking, Yielded};
use crate::context::Effect;
use crate::outside::{Answer as Reply, Ask, Credential, Hidden, Reply as Told, Roots};
use crate::request::Operation::{Delete, List, Read, Update};
use crate::testing::{Answer, Bench, now};
use keyward_core::Timestamp;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const HOST: &str = "https://kubernetes.example:6443";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const RULES: &str = "rules: [{apiGroups: [\"\"], resources: [pods], verbs: [get, list]}]";

/// What an API server has, by path, and what it does when it is asked.
#[derive(Default)]
struct Cluster {
    objects: BTreeMap<String, Value>,
    /// What it was asked for tokens.
    tokens: Vec<Value>,
    /// It makes tokens for so many seconds at most.
    longest: Option<u64>,
    /// The present, in seconds since the epoch.
    now: u64,
    /// Calls until it is not there any more.
    left: Option<usize>,
    /// It does what it is asked, and nobody hears of it.
    mute: bool,
}

type Shared = Rc<RefCell<Cluster>>;

fn failure(why: &str, nothing_done: bool) -> Failure {
    Failure { why: why.to_owned(), nothing_done }
}

impl Cluster {
    fn perform(&mut self, act: &Act) -> Yielded {
        let Act::Http(deed) = act else { panic!("{act:?}") };
        let Deed { roots, credential, calls } = &**deed;
        assert!(matches!(roots, Roots::Pem(_)));
        assert!(matches!(credential, Credential::Bearer(_)));
        let mut yielded = None;
        for (at, call) in calls.iter().enumerate() {
            if let Some(left) = &mut self.left {
                *left = left.checked_sub(1).ok_or_else(|| failure("connection refused", at == 0))?;
            }
            match call {
                Call::Post { url, body } => {
                    let body = serde_json::from_str(body).unwrap();
                    yielded = Some(self.post(path(url), body).map_err(|why| failure(why, at == 0))?);
                }
                Call::Delete { url } => {
                    self.objects.remove(path(url));
                }
            }
        }
        match self.mute {
            true => Err(failure("no answer within 10 s", false)),
            false => Ok(yielded.map(|yielded| Hidden::new(yielded.to_string()))),
        }
    }

    fn post(&mut self, directory: &str, manifest: Value) -> Result<Value, &'static str> {
        if let Some(account) = directory.strip_suffix("/token") {
            if !self.objects.contains_key(account) {
                return Err("no such ServiceAccount");
            }
            let asked = manifest["spec"]["expirationSeconds"].as_u64().unwrap();
            assert!(asked >= 600, "the API server refuses {asked}");
            let ends = self.now + asked.min(self.longest.unwrap_or(asked));
            self.tokens.push(manifest["spec"].clone());
            let ends = Timestamp::from_secs(ends).to_string();
            return Ok(json!({ "status": { "token": "jwt", "expirationTimestamp": ends } }));
        }
        let path = format!("{directory}/{}", manifest["metadata"]["name"].as_str().unwrap());
        match self.objects.insert(path, manifest.clone()) {
            Some(_) => Err("already exists"),
            None => Ok(manifest),
        }
    }

    /// What there is but for the account that was there before.
    fn made(&self) -> Vec<&str> {
        self.objects.keys().map(String::as_str).filter(|path| !path.ends_with("/deployer")).collect()
    }
}

fn path(url: &str) -> &str {
    let path = url.strip_prefix(HOST).unwrap();
    path.strip_suffix("?timeout=8s").unwrap()
}

/// Namespaces and their labels.
fn namespaces(ask: &Ask) -> Reply {
    let (status, labels) = match ask.url.strip_prefix(HOST).unwrap() {
        "/api/v1/namespaces/prod" => (200, json!({ "tier": "gold" })),
        "/api/v1/namespaces/dev" => (200, json!({})),
        "/version" => (200, json!({})),
        _ => (404, json!({})),
    };
    let body = json!({ "metadata": { "labels": labels } }).to_string();
    Ok(Told { status, body: body.as_bytes().into(), version: 1 })
}

/// A configured engine, with a role for each of the three ways.
fn bench() -> (Bench, Shared) {
    let mut bench = Bench::new();
    let cluster = Shared::default();
    cluster.borrow_mut().now = now(&bench).secs();
    let account = "/api/v1/namespaces/prod/serviceaccounts/deployer".to_owned();
    cluster.borrow_mut().objects.insert(account, json!({}));
    let world = cluster.clone();
    bench.deeds = Box::new(move |act| world.borrow_mut().perform(act));
    bench.world = Box::new(namespaces);
    bench.write("sys/mounts/kubernetes", r#"{"type":"kubernetes"}"#);
    let config = json!({
        "kubernetes_host": HOST, "kubernetes_ca_cert": "-----BEGIN CERTIFICATE-----", "service_account_jwt": "own",
    });
    bench.write("kubernetes/config", &config.to_string());
    for (name, way) in [
        ("existing", json!({ "service_account_name": "deployer" })),
        ("bound", json!({ "kubernetes_role_name": "view", "kubernetes_role_type": "ClusterRole" })),
        ("generated", json!({ "generated_role_rules": RULES, "extra_labels": { "team": "a" } })),
    ] {
        let mut role = json!({ "allowed_kubernetes_namespaces": "prod", "token_default_ttl": "1h" });
        role.as_object_mut().unwrap().extend(way.as_object().unwrap().clone());
        bench.write(&format!("kubernetes/roles/{name}"), &role.to_string());
    }
    (bench, cluster)
}

fn creds(bench: &mut Bench, role: &str, body: &Value) -> Answer {
    bench.root(Update, &format!("kubernetes/creds/{role}"), &body.to_string())
}

/// Carries `path` out up to its commit, and does not do what has to be done outside.
fn begin(bench: &mut Bench, path: &str) -> Undertaking {
    let request = bench.request(&bench.root.clone(), Update, path, "");
    let admitted = bench.authority.admit(&bench.store, &request, now(bench), &bench.random).ok().unwrap();
    let outcome = bench.carry_out(&request, &admitted).unwrap();
    bench.store.commit(outcome.batch).unwrap();
    let undertaking = |effect| match effect {
        Effect::Undertake(undertaking) => Some(undertaking),
        _ => None,
    };
    outcome.effects.into_iter().find_map(undertaking).unwrap()
}

#[test]
fn what_is_made_goes_with_its_lease() {
    let at = |directory: &str, name: &str| format!("{directory}/{name}");
    let prod = "/api/v1/namespaces/prod";
    for (role, directories) in [
        ("existing", vec![at(prod, "secrets")]),
        ("bound", vec![at(prod, "serviceaccounts"), format!("{RBAC}/namespaces/prod/rolebindings")]),
        (
            "generated",
            vec![
                at(prod, "serviceaccounts"),
                format!("{RBAC}/namespaces/prod/rolebindings"),
                format!("{RBAC}/namespaces/prod/roles"),
            ],
        ),
    ] {
        let (mut bench, cluster) = bench();
        let answer = creds(&mut bench, role, &json!({}));
        assert_eq!(answer.status, 200, "{role}: {answer:?}");
        assert_eq!(answer.data()["service_account_token"], "jwt");
        assert_eq!(answer.data()["service_account_namespace"], "prod");
        assert_eq!(
            (&answer.body["lease_duration"], &answer.body["renewable"]),
            (&json!(3600), &json!(false))
        );
        let made = cluster.borrow().made().iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        assert_eq!(made.len(), directories.len(), "{made:?}");
        for (path, directory) in made.iter().zip(&directories) {
            let name = path.strip_prefix(directory.as_str()).unwrap();
            assert!(name.starts_with(&format!("/v-root-{}-", &role[..role.len().min(8)])), "{path}");
            let metadata = &cluster.borrow().objects[path]["metadata"];
            assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "keyward");
        }
        let lease = answer.body["lease_id"].as_str().unwrap().to_owned();
        let renewed =
            bench.root(Update, "sys/leases/renew", &json!({ "lease_id": lease }).to_string()).errors();
        assert_eq!(renewed, "lease is not renewable");
        bench.pass(Duration::from_secs(3599));
        assert_eq!(cluster.borrow().made().len(), directories.len());
        bench.pass(Duration::from_secs(1));
        assert!(cluster.borrow().made().is_empty(), "{role}");
        creds(&mut bench, role, &json!({}));
        bench.write("sys/leases/revoke-prefix/kubernetes", "");
        assert!(cluster.borrow().made().is_empty(), "{role}");
        assert_eq!(bench.count("lease/"), 0);
        assert_eq!(cluster.borrow().objects.len(), 1, "the account that was there is there");
    }
}

#[test]
fn wherever_the_machine_dies_nothing_is_left_behind() {
    for role in ["existing", "bound", "generated"] {
        for calls in 0..=4 {
            let (mut bench, cluster) = bench();
            let undertaking = begin(&mut bench, &format!("kubernetes/creds/{role}"));
            // Nobody hears of the result, and the next process finds only what was stored.
            cluster.borrow_mut().left = Some(calls);
            let _ = cluster.borrow_mut().perform(&undertaking.act);
            cluster.borrow_mut().left = None;
            bench.pass(Duration::from_secs(59));
            bench.pass(Duration::from_secs(2));
            assert!(cluster.borrow().made().is_empty(), "{role} {calls}");
            assert_eq!(bench.count("lease/"), 0, "{role} {calls}");
        }
    }
}

#[test]
fn whatever_fails_is_taken_back() {
    for calls in 0..=3 {
        let (mut bench, cluster) = bench();
        cluster.borrow_mut().left = Some(calls);
        let refused = creds(&mut bench, "generated", &json!({}));
        assert_eq!(refused.status, 502);
        assert!(refused.errors().contains("connection refused"), "{refused:?}");
        cluster.borrow_mut().left = None;
        bench.pass(Duration::ZERO);
        assert_eq!((cluster.borrow().made().len(), bench.count("lease/")), (0, 0), "{calls}");
    }
    let (mut bench, cluster) = bench();
    cluster.borrow_mut().mute = true;
    assert_eq!(creds(&mut bench, "bound", &json!({})).status, 502);
    assert_eq!(cluster.borrow().made().len(), 2);
    cluster.borrow_mut().mute = false;
    bench.pass(Duration::ZERO);
    assert_eq!((cluster.borrow().made().len(), bench.count("lease/")), (0, 0));
    // An API server that is down when a lease ends is asked again, also when the role is gone.
    creds(&mut bench, "bound", &json!({}));
    bench.root(Delete, "kubernetes/roles/bound", "");
    cluster.borrow_mut().left = Some(1);
    bench.write("sys/leases/revoke-prefix/kubernetes", "");
    assert_eq!(cluster.borrow().made().len(), 1);
    cluster.borrow_mut().left = None;
    bench.pass(Duration::from_secs(10));
    assert_eq!((cluster.borrow().made().len(), bench.count("lease/")), (0, 0));
}

#[test]
fn answers_are_wrapped_and_recorded_whole() {
    let (mut bench, _) = bench();
    bench.enable_audit(&[]);
    let root = bench.root.clone();
    let wrapped = bench.ask_wrapped(&root, Update, "kubernetes/creds/bound", "");
    let token = wrapped.body["wrap_info"]["token"].as_str().unwrap().to_owned();
    assert!(!wrapped.body.to_string().contains("jwt"), "{wrapped:?}");
    let opened = bench.ask(&token, Update, "sys/wrapping/unwrap", "");
    assert_eq!(opened.data()["service_account_token"], "jwt");
    assert!(opened.body["lease_id"].as_str().unwrap().starts_with("kubernetes/creds/bound/"));
    creds(&mut bench, "bound", &json!({}));
    let recorded = bench.last_records().1["response"]["data"]["service_account_token"].clone();
    assert!(recorded.as_str().unwrap().starts_with("hmac-sha256:"), "{recorded}");
}

#[test]
fn tokens_are_for_whom_and_as_long_as_was_asked() {
    let (mut bench, cluster) = bench();
    let asked = |cluster: &Shared| cluster.borrow().tokens.last().unwrap().clone();
    let answer = creds(&mut bench, "existing", &json!({ "ttl": "20m", "audiences": "a,b" }));
    assert_eq!(answer.data()["service_account_name"], "deployer");
    assert_eq!(answer.body["lease_duration"], 1200);
    let spec = asked(&cluster);
    assert_eq!((&spec["audiences"], &spec["expirationSeconds"]), (&json!(["a", "b"]), &json!(1205)));
    let secret = cluster.borrow().made()[0].rsplit('/').next().unwrap().to_owned();
    assert_eq!(spec["boundObjectRef"], json!({ "apiVersion": "v1", "kind": "Secret", "name": secret }));
    // Less than the API server has: the lease ends it.
    let short = creds(&mut bench, "bound", &json!({ "ttl": 60 }));
    assert_eq!(
        (&short.body["lease_duration"], &asked(&cluster)["expirationSeconds"]),
        (&json!(60), &json!(600))
    );
    assert_eq!(asked(&cluster)["boundObjectRef"], Value::Null);
    // Less than was asked for.
    cluster.borrow_mut().longest = Some(1800);
    let cut = creds(&mut bench, "bound", &json!({}));
    assert_eq!(cut.body["lease_duration"], 1800);
    assert!(cut.body["warnings"][0].as_str().unwrap().contains("ends by itself"), "{cut:?}");
    let found =
        bench.root(Update, "sys/leases/lookup", &json!({"lease_id": cut.body["lease_id"]}).to_string());
    assert_eq!(found.data()["ttl"], 1800);
    bench.write("kubernetes/roles/bound", r#"{"token_max_ttl":"30m","token_default_ttl":0}"#);
    let capped = creds(&mut bench, "bound", &json!({ "ttl": "10h" }));
    assert_eq!(capped.body["lease_duration"], 1800);
}

#[test]
fn tokens_that_no_one_can_take_back_are_made_if_that_is_asked_for() {
    let (mut bench, cluster) = bench();
    bench.write("kubernetes/roles/existing", r#"{"token_revocable":false}"#);
    let answer = creds(&mut bench, "existing", &json!({}));
    assert_eq!((answer.status, cluster.borrow().made().len()), (200, 0));
    assert_eq!(cluster.borrow().tokens[0]["boundObjectRef"], Value::Null);
    let short = creds(&mut bench, "existing", &json!({ "ttl": 60 }));
    assert!(short.errors().contains("for less than 600 seconds"), "{short:?}");
    bench.write("sys/leases/revoke-prefix/kubernetes", "");
    // Until when making it would have taken too long.
    bench.pass(crate::lease::GUARD);
    assert_eq!(bench.count("lease/"), 0);
}

#[test]
fn namespaces_are_named_or_selected() {
    let (mut bench, cluster) = bench();
    bench.write(
        "kubernetes/roles/bound",
        r#"{"allowed_kubernetes_namespaces":"a,b","allowed_kubernetes_namespace_selector":"matchLabels: {tier: gold}"}"#,
    );
    for (body, status, error) in [
        (json!({ "kubernetes_namespace": "a" }), 200, ""),
        (json!({ "kubernetes_namespace": "prod" }), 200, ""),
        (json!({ "kubernetes_namespace": "dev" }), 400, "'dev' is not present in role's allowed"),
        (json!({ "kubernetes_namespace": "none" }), 502, "HTTP status 404"),
        (json!({ "kubernetes_namespace": "../prod" }), 400, "no name of a namespace"),
        (json!({}), 400, "'kubernetes_namespace' is required"),
    ] {
        let answer = creds(&mut bench, "bound", &body);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.errors().contains(error), "{body}: {answer:?}");
    }
    let anywhere =
        creds(&mut bench, "bound", &json!({"kubernetes_namespace": "a", "cluster_role_binding": true}));
    assert_eq!(anywhere.status, 200);
    assert!(
        cluster.borrow().made().iter().any(|path| path.starts_with(&format!("{RBAC}/clusterrolebindings/")))
    );
    bench.write("sys/leases/revoke-prefix/kubernetes", "");
    assert!(cluster.borrow().made().is_empty());
}

#[test]
fn what_was_written_is_read_back() {
    let (mut bench, _) = bench();
    assert_eq!(
        *bench.read("kubernetes/roles/generated").data(),
        json!({
            "name": "generated", "allowed_kubernetes_namespaces": ["prod"],
            "allowed_kubernetes_namespace_selector": "", "token_default_ttl": 3600, "token_max_ttl": 0,
            "token_default_audiences": [], "token_revocable": true, "service_account_name": "",
            "kubernetes_role_name": "", "kubernetes_role_type": "Role", "generated_role_rules": RULES,
            "name_template": "", "extra_labels": { "team": "a" }, "extra_annotations": {},
        })
    );
    assert_eq!(
        *bench.read("kubernetes/config").data(),
        json!({"kubernetes_host": HOST, "kubernetes_ca_cert": "-----BEGIN CERTIFICATE-----", "disable_local_ca_jwt": false})
    );
    assert_eq!(
        bench.root(List, "kubernetes/roles", "").data()["keys"],
        json!(["bound", "existing", "generated"])
    );
    assert_eq!(bench.root(Read, "kubernetes/check", "").status, 204);
    bench.world = Box::new(|_| Err("no answer within 10 s".to_owned()));
    assert!(bench.root(Read, "kubernetes/check", "").errors().contains("no answer within 10 s"));
    assert_eq!(bench.root(Delete, "kubernetes/config", "").status, 204);
    assert_eq!(bench.root(Read, "kubernetes/config", "").status, 404);
}

#[test]
fn mistakes_change_nothing() {
    let (mut bench, cluster) = bench();
    let before = bench.store.entries().count();
    let role = |more: &str| format!(r#"{{"allowed_kubernetes_namespaces":"*"{more}}}"#);
    for (path, body, error) in [
        ("config", r#"{"kubernetes_host":"ftp://x"}"#.to_owned(), "must begin with https://"),
        ("config", r#"{"kubernetes_ca_cert":"x"}"#.to_owned(), "no certificate in PEM"),
        (
            "config",
            r#"{"service_account_jwt":"","disable_local_ca_jwt":true}"#.to_owned(),
            "service_account_jwt must be given",
        ),
        ("roles/x", r#"{"service_account_name":"a"}"#.to_owned(), "allowed_kubernetes_namespaces or"),
        ("roles/x", role(""), "one (and only one) of"),
        (
            "roles/x",
            role(r#","service_account_name":"a","kubernetes_role_name":"b""#),
            "one (and only one) of",
        ),
        ("roles/x", role(r#","service_account_name":"a/b""#), "no name of a ServiceAccount"),
        ("roles/x", role(r#","generated_role_rules":"rules: []""#), "there is no rule"),
        ("roles/x", role(r#","generated_role_rules":"rules: [{verb: [get]}]""#), "failed to parse"),
        ("roles/x", role(r#","generated_role_rules":"rules: [{resources: [pods]}]""#), "a rule has no verbs"),
        (
            "roles/x",
            role(r#","kubernetes_role_name":"a","kubernetes_role_type":"x""#),
            "must be either 'Role' or 'ClusterRole'",
        ),
        (
            "roles/x",
            role(r#","kubernetes_role_name":"a","name_template":"fixed""#),
            "yields the same name again",
        ),
        (
            "roles/x",
            role(r#","kubernetes_role_name":"a","name_template":"{{ random 8 }}_x""#),
            "lower-case letters",
        ),
        (
            "roles/x",
            role(r#","kubernetes_role_name":"a","token_default_ttl":2,"token_max_ttl":1"#),
            "token_default_ttl 2s cannot be greater than token_max_ttl 1s",
        ),
        (
            "roles/x",
            r#"{"allowed_kubernetes_namespaces":"A","service_account_name":"a"}"#.to_owned(),
            "no name of",
        ),
        ("creds/none", "{}".to_owned(), "role 'none' does not exist"),
        (
            "creds/generated",
            r#"{"cluster_role_binding":true}"#.to_owned(),
            "a ClusterRoleBinding cannot ref a Role",
        ),
        (
            "creds/generated",
            r#"{"kubernetes_namespace":"dev"}"#.to_owned(),
            "is not present in role's allowed",
        ),
    ] {
        let answer = bench.root(Update, &format!("kubernetes/{path}"), &body);
        assert_eq!(answer.status, 400, "{path} {body}: {answer:?}");
        assert!(answer.errors().contains(error), "{path} {body}: {}", answer.errors());
    }
    assert_eq!((bench.store.entries().count(), cluster.borrow().tokens.len()), (before, 0));
}
