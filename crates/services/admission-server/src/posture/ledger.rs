//! What is said of which pod, namespace and node, and what of it the authority does not know yet.

use crate::log;
use crate::policies::Entry;
use keyward_admission::{Action, RuleOutcome, Status};
use keyward_core::Timestamp;
use keyward_kubernetes::{Key, Kind};
use keyward_posture::{
    Finding, Images, MOST_SUBJECTS, NodeState, Pods, Ruling, Said, Subject, Tier, Verdict,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The kinds that are judged, whether or not a policy is for them: who violates nothing is compliant.
pub(crate) const KINDS: [Kind; 3] = [
    Kind::namespaced("", "v1", "Pod", "pods"),
    Kind::cluster_wide("", "v1", "Namespace", "namespaces"),
    Kind::cluster_wide("", "v1", "Node", "nodes"),
];

/// What an object that is judged is one of, in the order of [`KINDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    Pods,
    Namespaces,
    Nodes,
}

impl Judged {
    pub(crate) fn of(kind: &Kind) -> Option<Judged> {
        let all = [Judged::Pods, Judged::Namespaces, Judged::Nodes];
        KINDS.iter().zip(all).find_map(|(known, judged)| (known == kind).then_some(judged))
    }
}

/// What a rule says of an object in a namespace. It is critical where it would refuse the object now, unless the policy says
/// that it is of a lower tier.
pub(crate) fn ruling(entry: &Entry, rule: &RuleOutcome, namespace: &str) -> Ruling {
    let metadata = &entry.policy.metadata;
    let tier = Tier::of(metadata.label(Tier::LABEL));
    let refuses = entry.policy.action(&rule.rule, namespace) == Action::Enforce
        && match rule.status {
            Status::Fail => true,
            Status::Error => entry.settings.fail_closed,
            Status::Pass | Status::Warn | Status::Skip => false,
        };
    let result = match rule.status {
        Status::Fail => Finding::Fail,
        Status::Error => Finding::Error,
        Status::Warn => Finding::Warn,
        Status::Pass => Finding::Pass,
        Status::Skip => Finding::Skip,
    };
    let named = result.is_violation() && !rule.rule.is_empty();
    Ruling {
        policy: metadata.full_name(),
        result,
        tier,
        critical: refuses && matches!(tier, None | Some(Tier::Critical)),
        rules: if named { vec![rule.rule.to_string()] } else { Vec::new() },
        exceptions: rule.effects.as_ref().map(|effects| effects.exceptions.clone()).unwrap_or_default(),
    }
}

/// What was found of an object.
pub(crate) struct Found<'a> {
    pub(crate) uid: &'a str,
    /// What policies say.
    pub(crate) said: Vec<Ruling>,
    /// What it says itself.
    pub(crate) own: Own,
}

/// What an object says of itself.
#[derive(Default)]
pub(crate) struct Own {
    /// Of a pod: what it runs.
    images: Option<Images>,
    /// Of a pod: the node that it is bound to.
    node: Option<String>,
    /// Of a node: how it is.
    state: Option<Box<NodeState>>,
}

impl Own {
    pub(crate) fn of(judged: Judged, object: &Value) -> Own {
        let spec = &object["spec"];
        match judged {
            Judged::Pods => Own {
                images: Some(Images::of_spec(spec)),
                node: spec["nodeName"].as_str().filter(|name| !name.is_empty()).map(str::to_owned),
                state: None,
            },
            Judged::Namespaces => Own::default(),
            Judged::Nodes => Own { state: Some(Box::new(NodeState::of(object))), ..Own::default() },
        }
    }
}

/// Objects that are told apart by their UID.
#[derive(Default)]
struct Objects {
    there: BTreeMap<Key, Verdict>,
    /// Those of which something else is said than before.
    changed: BTreeSet<Key>,
}

impl Objects {
    /// Whether that is news, and who was there by this name before.
    fn put(&mut self, key: &Key, verdict: Verdict) -> (bool, Option<Subject>) {
        if self.there.get(key).is_some_and(|known| known.says_as(&verdict)) {
            return (false, None);
        }
        let subject = verdict.subject.clone();
        let before = self.there.insert(key.clone(), verdict).map(|before| before.subject);
        self.changed.insert(key.clone());
        (true, before.filter(|before| *before != subject))
    }

    fn remove(&mut self, key: &Key) -> Option<Subject> {
        self.changed.remove(key);
        self.there.remove(key).map(|verdict| verdict.subject)
    }

    /// What changed, until there are `most` that are said.
    fn take(&mut self, most: usize, said: &mut Vec<Said>) {
        while said.len() < most
            && let Some(key) = self.changed.pop_first()
        {
            said.extend(self.there.get(&key).cloned().map(Said::Verdict));
        }
    }
}

/// A namespace.
#[derive(Default)]
struct Space {
    /// What is said of the namespace itself, if it is there.
    own: Option<Vec<Ruling>>,
    said: Option<Verdict>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Ledger {
    pods: Objects,
    nodes: Objects,
    namespaces: BTreeMap<Box<str>, Space>,
    /// Subjects that are there no longer.
    gone: Vec<Subject>,
    /// Namespaces of which something else may be said.
    namespaces_changed: BTreeSet<Box<str>>,
    /// Of each of [`KINDS`] whether its changes are not heard of.
    blind: [bool; 3],
    /// Whether there are more subjects than are kept.
    full: bool,
}

impl Ledger {
    pub(crate) fn put(&mut self, judged: Judged, key: &Key, found: Found<'_>, now: Timestamp) {
        if !self.keeps(judged, key, MOST_SUBJECTS) {
            return;
        }
        let Found { uid, said, own: Own { images, node, state } } = found;
        let (name, uid) = (key.name.to_string(), uid.to_owned());
        let verdict = |subject| Verdict { images, node, state, ..Verdict::new(subject, now, &said) };
        let (is_news, gone) = match judged {
            Judged::Pods => {
                let subject = Subject::Pod { namespace: key.namespace.to_string(), name, uid };
                self.pods.put(key, verdict(subject))
            }
            Judged::Nodes => self.nodes.put(key, verdict(Subject::Node { name, uid })),
            Judged::Namespaces => {
                let space = self.namespaces.entry(key.name.clone()).or_default();
                if space.own.as_ref() != Some(&said) {
                    space.own = Some(said);
                    self.namespaces_changed.insert(key.name.clone());
                }
                return;
            }
        };
        self.gone.extend(gone);
        if is_news && judged == Judged::Pods {
            self.namespaces_changed.insert(key.namespace.clone());
        }
    }

    /// Whether an object is among the `most` that verdicts are said of. The authority refuses what is said of too many, all of it: better
    /// that nothing is known of some.
    fn keeps(&mut self, judged: Judged, key: &Key, most: usize) -> bool {
        let known = match judged {
            Judged::Pods => self.pods.there.contains_key(key),
            Judged::Nodes => self.nodes.there.contains_key(key),
            Judged::Namespaces => self.namespaces.contains_key(&key.name),
        };
        // Each namespace that is new with its first pod counts too.
        let spaces = self.namespaces.len() + self.namespaces_changed.len();
        if known || self.pods.there.len() + self.nodes.there.len() + spaces < most {
            return true;
        }
        if !std::mem::replace(&mut self.full, true) {
            log::warn(&format!(
                "there are more than {most} pods, namespaces and nodes: of the others no verdict is published, and what \
                 demands their posture is refused"
            ));
        }
        false
    }

    pub(crate) fn remove(&mut self, judged: Judged, key: &Key) {
        match judged {
            Judged::Pods => {
                if let Some(subject) = self.pods.remove(key) {
                    self.gone.push(subject);
                    self.namespaces_changed.insert(key.namespace.clone());
                }
            }
            Judged::Nodes => self.gone.extend(self.nodes.remove(key)),
            Judged::Namespaces => {
                if let Some(space) = self.namespaces.get_mut(&key.name) {
                    space.own = None;
                    self.namespaces_changed.insert(key.name.clone());
                }
            }
        }
    }

    pub(crate) fn retain(&mut self, judged: Judged, there: &HashSet<Key>) {
        let lacking = |objects: &Objects| -> Vec<Key> {
            objects.there.keys().filter(|key| !there.contains(key)).cloned().collect()
        };
        let known: Vec<Key> = match judged {
            Judged::Pods => lacking(&self.pods),
            Judged::Nodes => lacking(&self.nodes),
            Judged::Namespaces => {
                let key = |name: &str| Key { namespace: "".into(), name: name.into() };
                self.namespaces.keys().map(|name| key(name)).filter(|key| !there.contains(key)).collect()
            }
        };
        for key in known {
            self.remove(judged, &key);
        }
    }

    pub(crate) fn sees(&mut self, judged: Judged, sees: bool) {
        self.blind[judged as usize] = !sees;
    }

    /// Whether changes are not heard of, so that what was said may hold no longer.
    pub(crate) fn is_blind(&self) -> bool {
        self.blind.contains(&true)
    }

    pub(crate) fn is_pending(&self) -> bool {
        let changed = [&self.nodes, &self.pods].iter().any(|objects| !objects.changed.is_empty());
        changed || !self.gone.is_empty() || !self.namespaces_changed.is_empty()
    }

    /// Everything is to be said, since nothing is known of it.
    pub(crate) fn say_all(&mut self) {
        self.gone.clear();
        for objects in [&mut self.pods, &mut self.nodes] {
            objects.changed = objects.there.keys().cloned().collect();
        }
        self.namespaces_changed = self.namespaces.keys().cloned().collect();
        for space in self.namespaces.values_mut() {
            space.said = None;
        }
    }

    /// What is to be said now, at most so much of it: of pods before that of their namespaces, and of nodes first.
    pub(crate) fn take(&mut self, most: usize, now: Timestamp) -> Vec<Said> {
        let mut said: Vec<Said> = self.gone.drain(..self.gone.len().min(most)).map(Said::Gone).collect();
        self.nodes.take(most, &mut said);
        self.pods.take(most, &mut said);
        while said.len() < most
            && let Some(name) = self.namespaces_changed.pop_first()
        {
            said.extend(self.of_namespace(&name, now));
        }
        said
    }

    /// What is new of a namespace.
    fn of_namespace(&mut self, name: &str, now: Timestamp) -> Option<Said> {
        let from = Key { namespace: name.into(), name: "".into() };
        let pods = || {
            let after = self.pods.there.range(&from..);
            after.take_while(|(key, _)| &*key.namespace == name).map(|(_, verdict)| verdict)
        };
        let mut counts = Pods::default();
        for verdict in pods() {
            counts.all += 1;
            counts.violating += u32::from(!verdict.compliant());
        }
        let own = self.namespaces.get(name).and_then(|space| space.own.as_deref());
        let subject = Subject::Namespace { name: name.to_owned() };
        if own.is_none() && counts.all == 0 {
            let said = self.namespaces.remove(name)?.said;
            return said.map(|_| Said::Gone(subject));
        }
        let rulings = own.unwrap_or_default().iter().chain(pods().flat_map(|verdict| &verdict.rulings));
        let mut verdict = Verdict::new(subject, now, rulings);
        verdict.pods = Some(counts);
        let space = self.namespaces.entry(name.into()).or_default();
        if space.said.as_ref().is_some_and(|said| said.says_as(&verdict)) {
            return None;
        }
        space.said = Some(verdict.clone());
        Some(Said::Verdict(verdict))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::Set;
    use keyward_admission::{Loaded, load};
    use serde_json::json;
    use std::sync::Arc;

    fn key(namespace: &str, name: &str) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }

    fn said_of(policy: &str, critical: bool) -> Vec<Ruling> {
        let result = if critical { Finding::Fail } else { Finding::Pass };
        vec![Ruling {
            policy: policy.to_owned(),
            result,
            tier: None,
            critical,
            rules: Vec::new(),
            exceptions: Vec::new(),
        }]
    }

    fn found(uid: &str, said: Vec<Ruling>) -> Found<'_> {
        Found { uid, said, own: Own::default() }
    }

    /// What is said, as `subject compliant`, or `subject gone`.
    fn words(said: &[Said]) -> Vec<String> {
        let one = |said: &Said| match said {
            Said::Verdict(verdict) => format!("{} {}", verdict.subject, verdict.compliant()),
            Said::Gone(subject) => format!("{subject} gone"),
            Said::Holds => "holds".to_owned(),
        };
        said.iter().map(one).collect()
    }

    fn take(ledger: &mut Ledger) -> Vec<String> {
        words(&ledger.take(100, Timestamp::EPOCH))
    }

    #[test]
    fn what_changes_is_said_once_and_of_the_namespace_too() {
        let mut ledger = Ledger::default();
        let put = |ledger: &mut Ledger, name: &str, uid: &str, critical: bool| {
            ledger.put(
                Judged::Pods,
                &key("shop", name),
                found(uid, said_of("p", critical)),
                Timestamp::EPOCH,
            );
        };
        put(&mut ledger, "a", "1", false);
        put(&mut ledger, "b", "2", true);
        assert_eq!(take(&mut ledger), ["shop/a true", "shop/b false", "shop false"]);
        put(&mut ledger, "a", "1", false);
        assert!(!ledger.is_pending());
        put(&mut ledger, "b", "2", false);
        assert_eq!(take(&mut ledger), ["shop/b true", "shop true"]);
        // Made again under its name, it is another pod.
        put(&mut ledger, "b", "3", false);
        assert_eq!(take(&mut ledger), ["shop/b gone", "shop/b true"]);
        ledger.retain(Judged::Pods, &[key("shop", "a")].into());
        assert_eq!(take(&mut ledger), ["shop/b gone", "shop true"]);
        ledger.remove(Judged::Pods, &key("shop", "a"));
        assert_eq!(take(&mut ledger), ["shop/a gone", "shop gone"]);
        assert!(take(&mut ledger).is_empty());
    }

    /// What is said when an object is put.
    fn said_when(ledger: &mut Ledger, judged: Judged, key: &Key, uid: &str, object: &Value) -> Vec<Said> {
        let found = Found { uid, said: Vec::new(), own: Own::of(judged, object) };
        ledger.put(judged, key, found, Timestamp::EPOCH);
        ledger.take(100, Timestamp::EPOCH)
    }

    #[test]
    fn another_image_is_news_and_another_node() {
        let mut ledger = Ledger::default();
        let mut said = |spec: Value| {
            let object = json!({ "spec": spec });
            match said_when(&mut ledger, Judged::Pods, &key("shop", "a"), "1", &object).into_iter().next() {
                Some(Said::Verdict(Verdict { images: Some(images), node, .. })) => {
                    Some((images.unpinned, node))
                }
                _ => None,
            }
        };
        let one = json!({"containers": [{"image": "a"}], "nodeName": ""});
        assert_eq!([said(json!({})), said(one.clone()), said(one)], [Some((0, None)), Some((1, None)), None]);
        let bound = json!({"containers": [{"image": "a"}], "nodeName": "n1"});
        assert_eq!([said(bound.clone()), said(bound)], [Some((1, Some("n1".to_owned()))), None]);
    }

    #[test]
    fn a_heartbeat_of_a_node_is_no_news() {
        let mut ledger = Ledger::default();
        let node = |pressure: &str, at: &str| {
            let condition =
                |name: &str, status: &str| json!({"type": name, "status": status, "lastHeartbeatTime": at});
            json!({"metadata": {"resourceVersion": at},
                "status": {"conditions": [condition("Ready", "True"), condition("DiskPressure", pressure)]}})
        };
        let mut put = |uid: &str, pressure: &str, at: &str| {
            let said = said_when(&mut ledger, Judged::Nodes, &key("", "n1"), uid, &node(pressure, at));
            said.iter().map(of_node).collect::<Vec<_>>()
        };
        assert_eq!(put("1", "False", "a"), ["n1 1 healthy"]);
        assert!(put("1", "False", "b").is_empty());
        assert_eq!(put("1", "True", "c"), ["n1 1 unwell"]);
        assert!(put("1", "True", "d").is_empty());
        // Made again under its name, it is another node.
        assert_eq!(put("2", "True", "e"), ["n1 1 gone", "n1 2 unwell"]);
        ledger.say_all();
        assert!(ledger.is_pending());
        assert_eq!(take(&mut ledger), ["n1 true"]);
        ledger.retain(Judged::Nodes, &HashSet::new());
        assert_eq!(take(&mut ledger), ["n1 gone"]);
        assert!(!ledger.is_pending());
    }

    fn of_node(said: &Said) -> String {
        let (Said::Verdict(Verdict { subject, .. }) | Said::Gone(subject)) = said else {
            return String::new();
        };
        let Subject::Node { name, uid } = subject else { return String::new() };
        let word = match said {
            Said::Verdict(verdict) if verdict.state.as_deref().is_some_and(NodeState::healthy) => "healthy",
            Said::Verdict(_) => "unwell",
            _ => "gone",
        };
        format!("{name} {uid} {word}")
    }

    #[test]
    fn of_more_than_are_kept_nothing_is_said() {
        let mut ledger = Ledger::default();
        ledger.put(Judged::Nodes, &key("", "n1"), found("1", Vec::new()), Timestamp::EPOCH);
        ledger.put(Judged::Pods, &key("shop", "a"), found("2", Vec::new()), Timestamp::EPOCH);
        ledger.put(Judged::Namespaces, &key("", "shop"), found("3", Vec::new()), Timestamp::EPOCH);
        assert_eq!(take(&mut ledger), ["n1 true", "shop/a true", "shop true"]);
        let keeps = |ledger: &mut Ledger, judged, key: &Key| ledger.keeps(judged, key, 3);
        for (judged, known, new) in [
            (Judged::Nodes, key("", "n1"), key("", "n2")),
            (Judged::Pods, key("shop", "a"), key("shop", "b")),
            (Judged::Namespaces, key("", "shop"), key("", "dev")),
        ] {
            assert!(keeps(&mut ledger, judged, &known) && !keeps(&mut ledger, judged, &new), "{judged:?}");
            assert!(ledger.keeps(judged, &new, 4), "{judged:?}");
        }
        assert!(ledger.full);
        // Who goes makes room.
        ledger.remove(Judged::Nodes, &key("", "n1"));
        assert!(keeps(&mut ledger, Judged::Pods, &key("shop", "b")));
    }

    #[test]
    fn every_kind_is_judged_as_what_it_is() {
        let judged = KINDS.each_ref().map(Judged::of);
        assert_eq!(judged, [Some(Judged::Pods), Some(Judged::Namespaces), Some(Judged::Nodes)]);
        assert_eq!(Judged::of(&Kind::namespaced("", "v1", "Secret", "secrets")), None);
        let mut ledger = Ledger::default();
        let found = found("1", said_of("no-ssh", true));
        ledger.put(Judged::Nodes, &key("", "n1"), found, Timestamp::EPOCH);
        assert_eq!(take(&mut ledger), ["n1 false"]);
    }

    #[test]
    fn a_namespace_is_judged_by_itself_and_by_its_pods() {
        let mut ledger = Ledger::default();
        let namespace = key("", "shop");
        ledger.put(Judged::Namespaces, &namespace, found("n", said_of("labels", true)), Timestamp::EPOCH);
        assert_eq!(take(&mut ledger), ["shop false"]);
        ledger.put(Judged::Namespaces, &namespace, found("n", said_of("labels", false)), Timestamp::EPOCH);
        ledger.put(Judged::Pods, &key("shop", "a"), found("1", said_of("p", false)), Timestamp::EPOCH);
        let Some(Said::Verdict(verdict)) = ledger.take(100, Timestamp::EPOCH).pop() else {
            panic!("no verdict")
        };
        assert_eq!((verdict.policies(), verdict.pods), (2, Some(Pods { all: 1, violating: 0 })));
        ledger.remove(Judged::Namespaces, &namespace);
        ledger.remove(Judged::Pods, &key("shop", "a"));
        assert_eq!(take(&mut ledger), ["shop/a gone", "shop gone"]);
    }

    #[test]
    fn a_new_session_is_told_everything_in_parts() {
        let mut ledger = Ledger::default();
        for name in ["a", "b", "c"] {
            ledger.put(Judged::Pods, &key("shop", name), found(name, said_of("p", false)), Timestamp::EPOCH);
        }
        assert_eq!(take(&mut ledger).len(), 4);
        ledger.remove(Judged::Pods, &key("shop", "c"));
        ledger.say_all();
        assert_eq!(words(&ledger.take(2, Timestamp::EPOCH)), ["shop/a true", "shop/b true"]);
        assert!(ledger.is_pending());
        assert_eq!(take(&mut ledger), ["shop true"]);
    }

    #[test]
    fn nothing_is_said_by_who_does_not_hear() {
        let mut ledger = Ledger::default();
        ledger.sees(Judged::Pods, false);
        ledger.sees(Judged::Namespaces, true);
        assert!(ledger.is_blind());
        ledger.sees(Judged::Pods, true);
        assert!(!ledger.is_blind());
        ledger.sees(Judged::Nodes, false);
        assert!(ledger.is_blind());
    }

    /// The ruling of a policy of a tier with an action on a pod that it is against, and whether it enforces in `elsewhere`.
    fn judged(tier: Option<&str>, action: &str, namespace: &str) -> Ruling {
        let mut policy: Value = json!({
            "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
            "spec": {"rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                "validate": {"failureAction": action, "pattern": {"metadata": {"name": "x*"}},
                    "failureActionOverrides": [{"action": "Enforce", "namespaces": ["elsewhere"]}]}}]},
        });
        if let Some(tier) = tier {
            policy["metadata"]["labels"] = json!({(Tier::LABEL): tier});
        }
        let Ok(Loaded::Policy(policy)) = load(&policy, None) else { panic!("no policy") };
        let set = Set::new(vec![Entry::new(Arc::from(policy))], Vec::new());
        let mut rule = RuleOutcome {
            rule: "r".into(),
            kind: keyward_admission::RuleKind::Validation,
            status: Status::Fail,
            message: "".into(),
            effects: None,
        };
        let ruling = ruling(&set.entries[0], &rule, namespace);
        rule.status = Status::Pass;
        assert!(!super::ruling(&set.entries[0], &rule, namespace).critical);
        ruling
    }

    #[test]
    fn critical_is_what_enforces_and_is_of_no_lower_tier() {
        for (tier, action, namespace, critical) in [
            (Some("critical"), "Enforce", "shop", true),
            (Some("critical"), "Audit", "shop", false),
            (Some("critical"), "Audit", "elsewhere", true),
            (Some("important"), "Enforce", "shop", false),
            (Some("best-practice"), "Enforce", "shop", false),
            (None, "Enforce", "shop", true),
            (None, "Audit", "shop", false),
            (Some("unheard-of"), "Enforce", "shop", true),
        ] {
            let ruling = judged(tier, action, namespace);
            assert_eq!(ruling.critical, critical, "{tier:?} {action} {namespace}");
            assert_eq!((ruling.result, &*ruling.rules[0]), (Finding::Fail, "r"));
        }
    }
}
