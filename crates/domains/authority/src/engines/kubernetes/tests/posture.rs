//! What a policy engine attests of pods decides what their tokens may do, and whether they are let in.

use super::{Cluster, HOST, log_in, reason};
use crate::request::Operation::{List, Read, Update};
use crate::testing::{Answer, Bench, now};
use keyward_core::Clock;
use keyward_posture::{Finding, NodeState, Publisher, Record, Ruling, Said, Subject, Verdict};
use keyward_testkit::fakes::SeededRandom;
use serde_json::{Value, json};
use std::time::Duration;

const GATED: &str = r#"
    path "secret/gated" { capabilities = ["read"] condition = "posture.compliant" }
    path "secret/open" { capabilities = ["read"] condition = "!has(posture.compliant) || posture.compliant" }
    path "secret/strict" { capabilities = ["read"]
        condition = "posture.age < 30 && size(posture.violations) == 0 && posture.namespace.compliant" }
    path "secret/plain" { capabilities = ["read"] }
    path "secret/node" { capabilities = ["read"]
        condition = "posture.compliant && posture.node.compliant && posture.node.healthy" }
    path "secret/pool" { capabilities = ["read"]
        condition = "posture.node.labels['node-restriction.kubernetes.io/pool'] == 'pci' && posture.node.taints.all(t, t != 'quarantine')" }
    path "secret/version" { capabilities = ["read"]
        condition = "semver(posture.node.kubelet_version, true).compareTo(semver('1.33.0')) >= 0 && posture.node.architecture == 'arm64'" }
    path "sys/policies/explain" { capabilities = ["update"] }"#;
const ENGINE: &str = r#"path "sys/posture/*" { capabilities = ["read", "update", "list"] }"#;

struct World {
    bench: Bench,
    cluster: Cluster,
    engine: Engine,
}

/// A policy engine that is logged in.
struct Engine {
    token: String,
    publisher: Publisher,
    session: String,
    sequence: u64,
}

fn account(claims: &mut Value, namespace: &str, name: &str, pod: &str) {
    claims["sub"] = json!(format!("system:serviceaccount:{namespace}:{name}"));
    claims["kubernetes.io"]["namespace"] = json!(namespace);
    claims["kubernetes.io"]["serviceaccount"]["name"] = json!(name);
    claims["kubernetes.io"]["pod"] = json!({"name": pod, "uid": format!("uid-of-{pod}")});
}

fn mount(bench: &mut Bench, path: &str, cluster: &Cluster) {
    bench.mount_auth("kubernetes", path);
    let config = json!({"kubernetes_host": HOST, "verification": "keys", "pem_keys": cluster.public});
    bench.write(&format!("auth/{path}/config"), &config.to_string());
    for (role, account, namespace) in [("api", "api", "prod"), ("engine", "keyward-policy", "keyward")] {
        let role_of = json!({"bound_service_account_names": account, "bound_service_account_namespaces": namespace,
            "audience": "keyward", "token_policies": role, "token_ttl": "1h"});
        bench.write(&format!("auth/{path}/role/{role}"), &role_of.to_string());
    }
}

fn token(bench: &mut Bench, cluster: &Cluster, path: &str, role: &str, pod: &str) -> String {
    let (namespace, name) = if role == "engine" { ("keyward", "keyward-policy") } else { ("prod", "api") };
    let jwt = cluster.token(|claims| account(claims, namespace, name, pod));
    let body = json!({"role": role, "jwt": jwt}).to_string();
    let answer = bench.ask("", Update, &format!("auth/{path}/login"), &body);
    answer.body["auth"]["client_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn begin(bench: &mut Bench, token: &str, seed: u64) -> Engine {
    let publisher = Publisher::new(&SeededRandom::new(seed)).unwrap();
    let body = json!({"cluster": "prod-1", "key": publisher.public(), "validity": "60s"}).to_string();
    let begun = bench.ask(token, Update, "sys/posture/sessions", &body);
    assert_eq!(begun.status, 200, "{begun:?}");
    let session = begun.data()["session"].as_str().unwrap().to_owned();
    Engine { token: token.to_owned(), publisher, session, sequence: 0 }
}

fn pod(name: &str) -> Subject {
    Subject::Pod { namespace: "prod".to_owned(), name: name.to_owned(), uid: format!("uid-of-{name}") }
}

fn ruling(critical: bool) -> Ruling {
    Ruling {
        policy: "no-root".to_owned(),
        result: Finding::Fail,
        tier: None,
        critical,
        rules: vec!["non-root".to_owned()],
        exceptions: Vec::new(),
    }
}

fn violating(subject: Subject, critical: bool) -> Said {
    Said::Verdict(Verdict::new(subject, keyward_core::Timestamp::EPOCH, &[ruling(critical)]))
}

fn compliant(subject: Subject) -> Said {
    Said::Verdict(Verdict::new(subject, keyward_core::Timestamp::EPOCH, &[]))
}

impl Engine {
    fn record(&mut self, bench: &Bench, said: Said) -> Record {
        self.sequence += 1;
        let (session, sequence) = (self.session.clone(), self.sequence);
        Record { session, cluster: "prod-1".to_owned(), sequence, at: now(bench), said }
    }

    fn send(&self, bench: &mut Bench, records: &[Record]) -> Answer {
        let signed: Vec<_> = records.iter().map(|record| self.publisher.sign(record).unwrap()).collect();
        let body = json!({"session": self.session, "records": signed}).to_string();
        bench.ask(&self.token, Update, "sys/posture/report", &body)
    }

    fn say(&mut self, bench: &mut Bench, said: Said) {
        let record = self.record(bench, said);
        let answer = self.send(bench, &[record]);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

impl World {
    fn new() -> World {
        let cluster = Cluster::new();
        let mut bench = Bench::new();
        bench.enable_audit(&[]);
        bench.policy("api", GATED);
        bench.policy("engine", ENGINE);
        mount(&mut bench, "kubernetes", &cluster);
        bench.write("sys/mounts/secret", r#"{"type": "kv"}"#);
        for name in ["gated", "open", "strict", "plain", "node", "pool", "version"] {
            bench.write(&format!("secret/{name}"), r#"{"a": "b"}"#);
        }
        let token = token(&mut bench, &cluster, "kubernetes", "engine", "engine-1");
        let engine = begin(&mut bench, &token, 1);
        World { bench, cluster, engine }
    }

    fn token(&mut self, pod: &str) -> String {
        token(&mut self.bench, &self.cluster, "kubernetes", "api", pod)
    }

    fn say(&mut self, said: Said) {
        self.engine.say(&mut self.bench, said);
    }

    /// The statuses of reading what is gated, open where nothing is known, strict, and plain.
    fn reads(&mut self, token: &str) -> [u16; 4] {
        ["gated", "open", "strict", "plain"]
            .map(|name| self.bench.ask(token, Read, &format!("secret/{name}"), "").status)
    }
}

#[test]
fn a_verdict_that_turns_bad_refuses_the_next_read_of_a_token_already_issued() {
    let mut world = World::new();
    let token = world.token("api-1");
    assert_eq!(world.reads(&token), [403, 200, 403, 200], "nothing is known");
    world.say(compliant(pod("api-1")));
    assert_eq!(world.reads(&token), [200, 200, 403, 200]);
    world.say(compliant(Subject::Namespace { name: "prod".to_owned() }));
    assert_eq!(world.reads(&token), [200, 200, 200, 200]);
    world.say(violating(pod("api-1"), false));
    assert_eq!(world.reads(&token), [200, 200, 403, 200], "a policy that is not critical");
    world.say(violating(pod("api-1"), true));
    assert_eq!(world.reads(&token), [403, 403, 403, 200]);
    world.bench.ask(&token, Read, "secret/gated", "");
    let (request, _) = world.bench.last_records();
    let why = reason(&world.bench);
    assert!(why.contains("the condition of policy api line 2 does not hold"), "{why}");
    assert!(why.contains("the pod prod/api-1 violates critical policies: no-root (verdict sha256:"), "{why}");
    let digest = &request["auth"]["policy_results"]["posture"]["pod"];
    assert!(why.contains(digest.as_str().unwrap()), "{request}");
    world.say(compliant(pod("api-1")));
    assert_eq!(world.reads(&token), [200, 200, 200, 200]);
    world.say(Said::Gone(pod("api-1")));
    assert_eq!(world.reads(&token), [403, 200, 403, 200]);
    world.bench.ask(&token, Read, "secret/plain", "");
    assert_eq!(world.bench.last_records().0["auth"]["policy_results"].get("posture"), None);
}

/// What the Node object of the pods' node says, with what `change` makes of it.
fn node(change: impl FnOnce(&mut Value), rulings: &[Ruling]) -> Said {
    let mut object = json!({
        "metadata": {"labels": {"node-restriction.kubernetes.io/pool": "pci"}},
        "spec": {},
        "status": {"conditions": [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.34.1", "architecture": "arm64"}},
    });
    change(&mut object);
    let subject = Subject::Node { name: "node-3".to_owned(), uid: "node-uid".to_owned() };
    let verdict = Verdict::new(subject, keyward_core::Timestamp::EPOCH, rulings);
    Said::Verdict(Verdict { state: Some(Box::new(NodeState::of(&object))), ..verdict })
}

#[test]
fn the_node_of_a_pod_decides_what_it_reads() {
    let mut world = World::new();
    let token = world.token("api-1");
    world.say(compliant(pod("api-1")));
    let reads = |world: &mut World| {
        ["node", "pool", "version"]
            .map(|name| world.bench.ask(&token, Read, &format!("secret/{name}"), "").status)
    };
    assert_eq!(reads(&mut world), [403, 403, 403], "an engine that does not speak of nodes");
    world.bench.ask(&token, Read, "secret/node", "");
    assert!(reason(&world.bench).contains("no verdict on the node is known"), "{}", reason(&world.bench));
    world.say(node(|_| {}, &[]));
    assert_eq!(reads(&mut world), [200, 200, 200]);
    world.say(node(|node| node["status"]["conditions"][0]["status"] = json!("True"), &[]));
    assert_eq!(reads(&mut world), [403, 200, 200]);
    world.bench.ask(&token, Read, "secret/node", "");
    let (request, _) = world.bench.last_records();
    let why = reason(&world.bench);
    let wanted =
        "the node node-3 violates no critical policy, and is not healthy: DiskPressure (verdict sha256:";
    assert!(why.contains(wanted), "{why}");
    let digest = &request["auth"]["policy_results"]["posture"]["node"];
    assert!(why.contains(digest.as_str().unwrap()), "{request}");
    world.say(node(|node| node["status"]["conditions"][1]["status"] = json!("Unknown"), &[]));
    assert_eq!(reads(&mut world), [403, 200, 200]);
    world.bench.ask(&token, Read, "secret/node", "");
    assert!(reason(&world.bench).contains("and is not ready (verdict"), "{}", reason(&world.bench));
    world.say(node(|node| node["spec"]["taints"] = json!([{"key": "quarantine"}]), &[]));
    assert_eq!(reads(&mut world), [200, 403, 200]);
    world.say(node(|node| node["metadata"]["labels"] = json!({}), &[]));
    assert_eq!(reads(&mut world), [200, 403, 200]);
    world.say(node(|node| node["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.32.9"), &[]));
    assert_eq!(reads(&mut world), [200, 200, 403]);
    world.say(node(|node| node["status"]["nodeInfo"] = json!({}), &[]));
    assert_eq!(reads(&mut world), [200, 200, 403], "what is not known is not there");
    world.say(node(|_| {}, &[ruling(true)]));
    assert_eq!(reads(&mut world), [403, 200, 200]);
    world.bench.ask(&token, Read, "secret/node", "");
    let wanted = "the node node-3 violates critical policies: no-root, and is healthy";
    assert!(reason(&world.bench).contains(wanted), "{}", reason(&world.bench));
    is_shown(&mut world, &token);
    world.say(node(|_| {}, &[]));
    world.say(Said::Gone(Subject::Node { name: "node-3".to_owned(), uid: "node-uid".to_owned() }));
    assert_eq!(reads(&mut world), [403, 403, 403]);
    // Made anew under its name, it is not the one that the token is bound to.
    let Said::Verdict(verdict) = node(|_| {}, &[]) else { return };
    let subject = Subject::Node { name: "node-3".to_owned(), uid: "another".to_owned() };
    world.say(Said::Verdict(Verdict { subject, ..verdict }));
    assert_eq!(reads(&mut world), [403, 403, 403]);
}

/// The verdict on a node that violates a policy.
fn is_shown(world: &mut World, token: &str) {
    for (query, wanted) in [
        ("sys/posture/nodes", json!(["kubernetes/node-3"])),
        ("sys/posture/nodes/kubernetes", json!(["node-3"])),
        ("sys/posture/nodes?compliant=true", json!([])),
        ("sys/posture/nodes?policy=no-root", json!(["kubernetes/node-3"])),
        ("sys/posture/nodes/elsewhere", json!([])),
    ] {
        assert_eq!(world.bench.root(List, query, "").data()["keys"], wanted, "{query}");
    }
    let read = world.bench.read("sys/posture/nodes/kubernetes/node-3");
    let data = read.data();
    for (field, wanted) in [
        ("name", json!("node-3")),
        ("uid", json!("node-uid")),
        ("compliant", json!(false)),
        ("healthy", json!(true)),
        ("ready", json!(true)),
        ("schedulable", json!(true)),
        ("problems", json!([])),
        ("taints", json!([])),
        ("labels", json!({"node-restriction.kubernetes.io/pool": "pci"})),
        ("kubelet_version", json!("v1.34.1")),
        ("subject", json!({"kind": "Node", "name": "node-3", "uid": "node-uid"})),
    ] {
        assert_eq!(data[field], wanted, "{field}: {data}");
    }
    assert_eq!(data.get("os_image"), None);
    let body = r#"{"path": "secret/node", "operation": "read"}"#;
    let explained = world.bench.ask(token, Update, "sys/policies/explain", body);
    assert_eq!(explained.data()["posture"]["node"]["critical"], json!(["no-root"]));
    let text = explained.data()["text"].as_str().unwrap();
    assert!(
        text.contains("posture: the node node-3 violates critical policies: no-root, and is healthy"),
        "{text}"
    );
}

#[test]
fn verdicts_end_when_nobody_confirms_them() {
    let mut world = World::new();
    let token = world.token("api-1");
    world.say(compliant(pod("api-1")));
    world.say(compliant(Subject::Namespace { name: "prod".to_owned() }));
    world.bench.clock.advance(Duration::from_secs(40));
    assert_eq!(world.reads(&token), [200, 200, 403, 200], "too old for the condition");
    world.say(Said::Holds);
    assert_eq!(world.reads(&token), [200, 200, 200, 200]);
    world.bench.clock.advance(Duration::from_secs(59));
    assert_eq!(world.reads(&token)[0], 200);
    world.bench.clock.advance(Duration::from_secs(1));
    assert_eq!(world.reads(&token), [403, 200, 403, 200]);
    world.bench.ask(&token, Read, "secret/gated", "");
    let why = reason(&world.bench);
    assert!(why.contains("no verdict on the pod is known, or the last one is too old"), "{why}");
    // A confirmation that was held back does not count for longer than it was signed for.
    let mut late = world.engine.record(&world.bench, Said::Holds);
    late.at = keyward_core::Timestamp::from_secs(world.bench.clock.now().secs() - 50);
    assert_eq!(world.engine.send(&mut world.bench, &[late]).status, 200);
    assert_eq!(world.reads(&token)[0], 200);
    world.bench.clock.advance(Duration::from_secs(10));
    assert_eq!(world.reads(&token)[0], 403);
}

#[test]
fn only_the_token_of_a_pods_own_login_has_its_posture() {
    let mut world = World::new();
    world.say(compliant(pod("api-1")));
    world.say(violating(pod("api-2"), true));
    let (good, bad) = (world.token("api-1"), world.token("api-2"));
    assert_eq!((world.reads(&good)[0], world.reads(&bad)[0]), (200, 403));
    // Metadata of a token that somebody made say nothing of who holds it.
    let made = json!({"policies": ["api"], "meta": {"pod_uid": "uid-of-api-1", "service_account_namespace": "prod"}});
    let root = world.bench.root.clone();
    let claimed = world.bench.created(&root, &made.to_string());
    assert_eq!(world.reads(&claimed), [403, 200, 403, 200]);
}

#[test]
fn another_clusters_engine_has_no_word_on_this_ones_pods() {
    let mut world = World::new();
    let token_here = world.token("api-1");
    world.say(violating(pod("api-1"), true));
    let other = Cluster::new();
    mount(&mut world.bench, "elsewhere", &other);
    let token = token(&mut world.bench, &other, "elsewhere", "engine", "engine-1");
    let mut stranger = begin(&mut world.bench, &token, 2);
    stranger.say(&mut world.bench, compliant(pod("api-1")));
    assert_eq!(world.reads(&token_here)[0], 403);
    // Nor may it speak in the session of another, whether or not it has the key.
    stranger.session.clone_from(&world.engine.session);
    let record = stranger.record(&world.bench, compliant(pod("api-1")));
    let refused = stranger.send(&mut world.bench, &[record]);
    assert!(refused.errors().contains("there is no session"), "{refused:?}");
    // A token of no cluster's login begins none.
    let body = json!({"cluster": "prod-1", "key": stranger.publisher.public()}).to_string();
    let refused = world.bench.root(Update, "sys/posture/sessions", &body);
    assert!(refused.errors().contains("auth method kubernetes"), "{refused:?}");
}

#[test]
fn a_login_is_refused_where_the_roles_condition_does_not_hold() {
    let mut world = World::new();
    let refused =
        world.bench.root(Update, "auth/kubernetes/role/api", r#"{"condition": "posture.compliant +"}"#);
    assert!(refused.errors().contains("cannot be read"), "{refused:?}");
    world.bench.write("auth/kubernetes/role/api", r#"{"condition": "posture.compliant"}"#);
    let shown = world.bench.read("auth/kubernetes/role/api");
    assert_eq!(shown.data()["condition"], "posture.compliant");
    let jwt = world.cluster.token(|claims| account(claims, "prod", "api", "api-1"));
    let refused = log_in(&mut world.bench, &jwt);
    assert_eq!((refused.status, refused.errors().trim()), (403, "1 error occurred:\n\t* permission denied"));
    let why = reason(&world.bench);
    assert!(why.contains("no verdict on the pod is known") && why.contains("pod api-1"), "{why}");
    world.say(violating(pod("api-1"), true));
    assert_eq!(log_in(&mut world.bench, &jwt).status, 403);
    let why = reason(&world.bench);
    assert!(why.contains("the condition of the role api does not hold for prod-api, pod api-1"), "{why}");
    assert!(why.contains("violates critical policies: no-root"), "{why}");
    world.say(compliant(pod("api-1")));
    assert_eq!(log_in(&mut world.bench, &jwt).status, 200);
    let facts = &world.bench.last_records().1["response"]["facts"];
    assert!(facts["posture_pod"].as_str().unwrap_or_default().starts_with("sha256:"), "{facts}");
}

#[test]
fn a_renewal_is_refused_where_a_login_would_be() {
    let mut world = World::new();
    world.say(compliant(pod("api-1")));
    let before = world.token("api-1");
    let condition = r#"{"condition": "posture.compliant && request.path == 'auth/kubernetes/login'"}"#;
    world.bench.write("auth/kubernetes/role/api", condition);
    let token = world.token("api-1");
    let renew = |world: &mut World, token: &str| world.bench.ask(token, Update, "auth/token/renew-self", "");
    assert_eq!(renew(&mut world, &token).status, 200);
    let facts = &world.bench.last_records().1["response"]["facts"];
    assert!(facts["posture_pod"].as_str().unwrap_or_default().starts_with("sha256:"), "{facts}");
    world.say(violating(pod("api-1"), true));
    let end = |world: &mut World| {
        world.bench.ask(&token, Read, "auth/token/lookup-self", "").data()["expire_time"].clone()
    };
    let ends = end(&mut world);
    world.bench.clock.advance(Duration::from_secs(10));
    let refused = renew(&mut world, &token);
    assert_eq!((refused.status, refused.errors().trim()), (403, "1 error occurred:\n\t* permission denied"));
    let why = reason(&world.bench);
    assert!(why.contains("the condition of the role api does not hold for kubernetes-prod-api"), "{why}");
    assert!(why.contains("violates critical policies: no-root"), "{why}");
    assert_eq!(end(&mut world), ends);
    // Of a token from before the role had a condition too, and whoever renews it.
    assert_eq!(renew(&mut world, &before).status, 403);
    let body = json!({ "token": token }).to_string();
    assert_eq!(world.bench.root(Update, "auth/token/renew", &body).status, 403);
    world.say(compliant(pod("api-1")));
    assert_eq!(renew(&mut world, &token).status, 200);
    world.bench.clock.advance(Duration::from_secs(60));
    assert_eq!(renew(&mut world, &token).status, 403, "nothing is known any more");
}

#[test]
fn verdicts_are_read_listed_and_explained() {
    let mut world = World::new();
    let token = world.token("api-2");
    world.say(compliant(pod("api-1")));
    world.say(violating(pod("api-2"), true));
    let all = world.bench.root(List, "sys/posture/pods", "");
    assert_eq!(all.data()["keys"], json!(["kubernetes/prod/api-1", "kubernetes/prod/api-2"]));
    assert_eq!(all.data()["key_info"]["kubernetes/prod/api-2"]["critical"], json!(["no-root"]));
    for (query, wanted) in [
        ("sys/posture/pods/kubernetes/prod", json!(["api-1", "api-2"])),
        ("sys/posture/pods/kubernetes/dev", json!([])),
        ("sys/posture/pods?compliant=false", json!(["kubernetes/prod/api-2"])),
        ("sys/posture/pods?policy=no-root", json!(["kubernetes/prod/api-2"])),
        ("sys/posture/pods?limit=1", json!(["kubernetes/prod/api-1"])),
        ("sys/posture/pods?after=kubernetes/prod/api-1", json!(["kubernetes/prod/api-2"])),
        ("sys/posture/namespaces", json!([])),
    ] {
        assert_eq!(world.bench.root(List, query, "").data()["keys"], wanted, "{query}");
    }
    let read = world.bench.read("sys/posture/pods/kubernetes/prod/api-2");
    assert_eq!(read.data()["rulings"][0]["policy"], "no-root");
    // What is read can be checked by whoever has the key.
    let text = |name: &str| read.data()[name].as_str().unwrap().to_owned();
    let signed = keyward_posture::Signed { text: text("text"), signature: text("signature") };
    let key = keyward_posture::PublisherKey::read(&text("key")).unwrap();
    assert_eq!(signed.open(&key).unwrap().cluster, "prod-1");
    let missing = world.bench.root(Read, "sys/posture/pods/kubernetes/prod/api-3", "");
    assert_eq!(missing.status, 404, "{missing:?}");
    let sessions = world.bench.read("sys/posture/sessions").data()["sessions"].clone();
    assert_eq!((&sessions[0]["mount"], &sessions[0]["sequence"]), (&json!("auth/kubernetes/"), &json!(2)));

    let body = r#"{"path": "secret/gated", "operation": "read"}"#;
    let explained = world.bench.ask(&token, Update, "sys/policies/explain", body);
    assert_eq!(explained.data()["posture"]["pod"]["critical"], json!(["no-root"]));
    let text = explained.data()["text"].as_str().unwrap();
    assert!(text.contains("posture: the pod prod/api-2 violates critical policies: no-root"), "{text}");
}
