//! What the API server is to ask: webhook configurations made from the policies, no wider than they are.
//!
//! A dead engine must not hold a cluster. So no webhook covers kube-system, the namespaces of the cluster itself or our own;
//! none covers the kinds by which nodes and leaders show that they are alive, nor those by which the cluster is repaired; and
//! none is asked about what the cluster's own components or we do.

use crate::catalog::Catalog;
use crate::policies::{Entry, Set, is_wild, reviews};
use keyward_admission::{Interest, Operation, RuleKind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The names of the configurations.
pub const VALIDATING: &str = "keyward-policy-validating";
/// The names of the configurations.
pub const MUTATING: &str = "keyward-policy-mutating";
/// Asks about policies themselves.
pub const CHECKING: &str = "keyward-policy-checking";
/// What every configuration of ours is labelled with.
pub const LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "keyward-policy");

/// Seconds that the API server waits where no policy says.
const TIMEOUT: u32 = 10;
/// Namespaces that no policy holds up.
const EXEMPT: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];
/// Groups whose objects no policy holds up: heartbeats, events, reviews, webhooks and APIs, and reports.
pub(crate) const NEVER: [&str; 8] = [
    "coordination.k8s.io",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "admissionregistration.k8s.io",
    "apiregistration.k8s.io",
    "wgpolicyk8s.io",
    "openreports.io",
];

/// Groups of policies, which only those are for that name them.
const POLICIES: [&str; 2] = ["kyverno.io", "policies.kyverno.io"];

/// Where the webhook is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// By a Service of the cluster.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
    },
    /// By a URL without a path, as outside of the cluster.
    Url(String),
}

impl Reached {
    fn client(&self, path: &str, bundle: &str) -> Value {
        let mut client = match self {
            Reached::Service { namespace, name, port } => {
                json!({"service": {"namespace": namespace, "name": name, "port": port, "path": path}})
            }
            Reached::Url(url) => json!({"url": format!("{}{path}", url.trim_end_matches('/'))}),
        };
        if !bundle.is_empty() {
            use base64::Engine as _;
            client["caBundle"] = json!(base64::engine::general_purpose::STANDARD.encode(bundle));
        }
        client
    }
}

/// Who asks, and where.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where reviews are sent.
    pub reached: Reached,
    /// Our own namespace.
    pub namespace: String,
    /// Our own user, which is not asked about.
    pub user: String,
}

/// The rules of one webhook: operations by group, resource and scope.
type Rules = BTreeMap<(String, String, &'static str), BTreeSet<&'static str>>;

#[derive(Default)]
struct Webhook {
    rules: Rules,
    timeout: u32,
    fail_closed: bool,
    conditions: Vec<Value>,
}

/// The configurations that the policies need; those that nothing is to be asked by are not there.
pub fn configurations(set: &Set, catalog: &Catalog, place: &Place, bundle: &str) -> Vec<Value> {
    let interests = |entry: &Entry, tasks: [RuleKind; 2]| -> Vec<Interest> {
        tasks.into_iter().flat_map(|task| entry.policy.interests(task)).collect()
    };
    let validating = webhooks(set, catalog, &|entry| {
        // Where everything is decided it is told what is done afterwards.
        let told = entry.told.iter().flat_map(|task| reviews(&entry.policy, *task));
        let decided = interests(entry, [RuleKind::Validation, RuleKind::ImageVerification]);
        decided.into_iter().chain(told).collect()
    });
    let mutating =
        webhooks(set, catalog, &|entry| interests(entry, [RuleKind::Mutation, RuleKind::ImageVerification]));
    let mut made = vec![checking(place, bundle)];
    for (name, kind, verb, of) in [
        (VALIDATING, "ValidatingWebhookConfiguration", "validate", validating),
        (MUTATING, "MutatingWebhookConfiguration", "mutate", mutating),
    ] {
        let listed: Vec<Value> =
            of.iter().map(|(group, webhook)| webhook.value(verb, group, place, bundle)).collect();
        if !listed.is_empty() {
            made.push(configuration(name, kind, listed));
        }
    }
    made
}

fn configuration(name: &str, kind: &str, webhooks: Vec<Value>) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "labels": {(LABEL.0): LABEL.1}},
        "webhooks": webhooks,
    })
}

fn webhooks(
    set: &Set,
    catalog: &Catalog,
    interests: &dyn Fn(&Entry) -> Vec<Interest>,
) -> BTreeMap<String, Webhook> {
    let mut webhooks: BTreeMap<String, Webhook> = BTreeMap::new();
    for entry in set.entries.iter().filter(|entry| entry.settings.admission && !entry.policy.is_native()) {
        let rules = rules(entry, catalog, &interests(entry));
        if rules.is_empty() {
            continue;
        }
        let webhook = webhooks.entry(entry.group.clone()).or_default();
        for (key, operations) in rules {
            webhook.rules.entry(key).or_default().extend(operations);
        }
        webhook.timeout = webhook.timeout.max(entry.settings.timeout.unwrap_or(TIMEOUT));
        webhook.fail_closed = entry.settings.fail_closed;
        webhook.conditions.clone_from(&entry.settings.match_conditions);
    }
    webhooks
}

fn rules(entry: &Entry, catalog: &Catalog, interests: &[Interest]) -> Rules {
    let mut rules = Rules::new();
    let namespaced_policy = !entry.policy.metadata.namespace.is_empty();
    for interest in interests {
        let operations = interest.operations.iter().map(|operation| operation.name());
        // What is not served yet is not asked about; once it is, the configuration is made anew.
        for served in catalog.of(interest) {
            let kind = &served.kind;
            // Who writes a policy for everything does not mean policies, by which it could not be taken back.
            if is_wild(interest) && POLICIES.contains(&&*kind.group) {
                continue;
            }
            if NEVER.contains(&&*kind.group) || (kind.group.is_empty() && kind.plural == "events") {
                continue;
            }
            if namespaced_policy && !kind.namespaced {
                continue;
            }
            let scope = if kind.namespaced { "Namespaced" } else { "Cluster" };
            let mut parts = vec![kind.plural.to_string()];
            let part = |part: &str| format!("{}/{part}", kind.plural);
            match interest.subresource.as_str() {
                // Containers that are added to a pod are containers of the pod.
                "" if kind.group.is_empty() && kind.plural == "pods" => {
                    parts.push(part("ephemeralcontainers"));
                }
                "" => {}
                pattern => {
                    let suits = |one: &&String| keyward_admission::matches_wildcards(pattern, one);
                    parts = served.subresources.iter().filter(suits).map(|one| part(one)).collect();
                    if pattern == "*" {
                        parts.push(kind.plural.to_string());
                    }
                }
            }
            for resource in parts {
                let connects = !interest.subresource.is_empty() && resource.contains('/');
                let wanted = operations.clone().filter(|name| connects || *name != Operation::Connect.name());
                let found: BTreeSet<&'static str> = wanted.collect();
                if !found.is_empty() {
                    rules.entry((kind.group.to_string(), resource, scope)).or_default().extend(found);
                }
            }
        }
    }
    rules
}

impl Webhook {
    fn value(&self, verb: &str, group: &str, place: &Place, bundle: &str) -> Value {
        // Those of one group with the same operations and scope are one rule.
        let mut gathered: BTreeMap<(&str, &str, &BTreeSet<&str>), Vec<&str>> = BTreeMap::new();
        for ((group, resource, scope), operations) in &self.rules {
            gathered.entry((group, scope, operations)).or_default().push(resource);
        }
        let rules: Vec<Value> = gathered
            .into_iter()
            .map(|((group, scope, operations), resources)| {
                json!({
                    "apiGroups": [group], "apiVersions": ["*"], "resources": resources, "scope": scope,
                    "operations": operations,
                })
            })
            .collect();
        let mut webhook = json!({
            "name": format!("{verb}.keyward.svc-{}", group.replace('/', "-")),
            "clientConfig": place.reached.client(&format!("/{verb}/{group}"), bundle),
            "rules": rules,
            "failurePolicy": if self.fail_closed { "Fail" } else { "Ignore" },
            "matchPolicy": "Equivalent",
            "sideEffects": "NoneOnDryRun",
            "timeoutSeconds": self.timeout.clamp(1, 30),
            "admissionReviewVersions": ["v1"],
            "namespaceSelector": place.namespaces(),
            "objectSelector": {},
            "matchConditions": place.conditions(&self.conditions),
        });
        if verb == "mutate" {
            webhook["reinvocationPolicy"] = json!("IfNeeded");
        }
        webhook
    }
}

impl Place {
    fn namespaces(&self) -> Value {
        let mut exempt: BTreeSet<&str> = EXEMPT.into_iter().collect();
        exempt.insert(&self.namespace);
        json!({"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": exempt},
        ]})
    }

    /// Who is not asked about: we, nodes, and the API server's own loopback. A cluster-wide object has no namespace to be
    /// exempt by.
    fn conditions(&self, own: &[Value]) -> Vec<Value> {
        let user = self.user.replace('\\', "\\\\").replace('\'', "\\'");
        let mut conditions = vec![json!({
            "name": "keyward-not-the-cluster-itself",
            "expression": format!(
                "!(request.userInfo.username in ['{user}', 'system:apiserver']) \
                 && !(has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups)"
            ),
        })];
        conditions.extend(own.iter().cloned());
        conditions
    }
}

/// The webhook that refuses policies which cannot mean anything. It never holds anything up: what slips through while nobody
/// answers is told in the policy's status.
fn checking(place: &Place, bundle: &str) -> Value {
    let webhook = json!({
        "name": "check.keyward.svc-policies",
        "clientConfig": place.reached.client("/check", bundle),
        "rules": [
            {"apiGroups": ["kyverno.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "scope": "*",
             "resources": ["clusterpolicies", "policies", "policyexceptions", "cleanuppolicies", "clustercleanuppolicies"]},
            {"apiGroups": ["policies.kyverno.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"],
             "scope": "*", "resources": ["*"]},
        ],
        "failurePolicy": "Ignore",
        "matchPolicy": "Equivalent",
        "sideEffects": "None",
        "timeoutSeconds": 5,
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {},
        "objectSelector": {},
    });
    configuration(CHECKING, "ValidatingWebhookConfiguration", vec![webhook])
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_admission::{Loaded, load};
    use keyward_kubernetes::{Kind, Served};
    use std::sync::Arc;

    fn catalog() -> Catalog {
        let served = |kind: Kind, parts: &[&str]| Served {
            kind,
            subresources: parts.iter().map(|part| (*part).to_owned()).collect(),
            watched: true,
        };
        Catalog::new(vec![
            served(Kind::namespaced("", "v1", "Pod", "pods"), &["exec", "status", "ephemeralcontainers"]),
            served(Kind::namespaced("", "v1", "Event", "events"), &[]),
            served(Kind::cluster_wide("", "v1", "Namespace", "namespaces"), &["status"]),
            served(Kind::namespaced("apps", "v1", "Deployment", "deployments"), &["scale"]),
            served(Kind::namespaced("coordination.k8s.io", "v1", "Lease", "leases"), &[]),
        ])
    }

    fn place() -> Place {
        Place {
            reached: Reached::Url("https://10.0.0.1:9443".to_owned()),
            namespace: "keyward".to_owned(),
            user: "system:serviceaccount:keyward:policy".to_owned(),
        }
    }

    fn made(kinds: &[&str], more: &Value) -> Vec<Value> {
        let mut policy = json!({
            "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
            "spec": {"rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": kinds}}]},
                "validate": {"pattern": {"metadata": {"name": "a*"}}}}]},
        });
        policy["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let Ok(Loaded::Policy(policy)) = load(&policy, None) else { panic!("refused") };
        let set = Set::new(vec![Entry::new(Arc::from(policy))], Vec::new());
        configurations(&set, &catalog(), &place(), "PEM")
    }

    #[test]
    fn a_policy_for_pods_is_asked_about_pods_and_what_makes_them() {
        let made = made(&["Pod"], &json!({"webhookTimeoutSeconds": 7}));
        assert_eq!(made.len(), 2, "{made:?}");
        let webhook = &made[1]["webhooks"][0];
        assert_eq!(webhook["name"], "validate.keyward.svc-fail");
        assert_eq!((&webhook["failurePolicy"], &webhook["timeoutSeconds"]), (&json!("Fail"), &json!(7)));
        let rules = webhook["rules"].as_array().unwrap();
        let resources: Vec<&Value> =
            rules.iter().flat_map(|rule| rule["resources"].as_array().unwrap()).collect();
        assert_eq!(resources, ["pods", "pods/ephemeralcontainers", "deployments"]);
        assert!(!webhook.to_string().contains("DELETE"), "a pattern does not look at what is removed");
        let exempt = webhook["namespaceSelector"].to_string();
        assert!(exempt.contains("kube-system") && exempt.contains("\"keyward\""), "{exempt}");
    }

    #[test]
    fn what_keeps_a_cluster_alive_is_never_asked_about() {
        let text = made(&["*"], &json!({})).last().unwrap().to_string();
        assert!(
            text.contains("namespaces") && !text.contains("leases") && !text.contains("events"),
            "{text}"
        );
        assert!(made(&["Lease", "Event"], &json!({})).len() == 1, "only policies are asked about");
    }

    #[test]
    fn what_is_made_because_of_who_asks_or_of_a_deletion_is_told_of() {
        let rules = |matched: Value, generate: Value| {
            let rule = json!({"name": "r", "match": {"any": [matched]}, "generate": generate});
            made(&[], &json!({ "rules": [rule] })).get(1).map(|one| one["webhooks"][0]["rules"].clone())
        };
        let data = |text: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "namespace": "n", "data": {"data": {"a": text}}});
        let pods = json!({"resources": {"kinds": ["Namespace"]}});
        assert_eq!(
            rules(pods.clone(), data("serviceAccountName: {{request.object.spec.serviceAccountName}}")),
            None
        );
        let told = |operations: &[&str]| {
            Some(
                json!([{"apiGroups": [""], "apiVersions": ["*"], "resources": ["namespaces"], "scope": "Cluster",
                "operations": operations}]),
            )
        };
        for text in [
            "{{request.userInfo.username}}",
            "{{ serviceAccountName }}",
            "{{request.oldObject.metadata.name}}",
        ] {
            assert_eq!(rules(pods.clone(), data(text)), told(&["CREATE", "UPDATE"]), "{text}");
        }
        let by_user =
            json!({"resources": {"kinds": ["Namespace"]}, "subjects": [{"kind": "User", "name": "a"}]});
        assert_eq!(rules(by_user, data("a")), told(&["CREATE", "UPDATE"]));
        let deleted = json!({"resources": {"kinds": ["Namespace"], "operations": ["CREATE", "DELETE"]}});
        assert_eq!(rules(deleted, data("a")), told(&["DELETE"]));
    }

    #[test]
    fn a_policy_that_is_not_asked_needs_no_webhook() {
        assert_eq!(made(&["Pod"], &json!({"admission": false})).len(), 1);
        let text = made(&["Pod/exec"], &json!({"failurePolicy": "Ignore"})).last().unwrap().to_string();
        assert!(text.contains("pods/exec") && text.contains("Ignore") && text.contains("CONNECT"), "{text}");
    }
}
