//! What is said of which pod and namespace, and what of it the authority does not know yet.

use crate::policies::Entry;
use keyward_admission::{Action, RuleOutcome, Status};
use keyward_core::Timestamp;
use keyward_kubernetes::{Key, Kind};
use keyward_posture::{Finding, Images, Pods, Ruling, Said, Subject, Tier, Verdict};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The kinds that are judged, whether or not a policy is for them: who violates nothing is compliant.
pub(crate) const KINDS: [Kind; 2] =
    [Kind::namespaced("", "v1", "Pod", "pods"), Kind::cluster_wide("", "v1", "Namespace", "namespaces")];

/// What an object that is judged is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    Pods,
    Namespaces,
}

impl Judged {
    pub(crate) fn of(kind: &Kind) -> Option<Judged> {
        let [pods, namespaces] = &KINDS;
        match (kind == pods, kind == namespaces) {
            (true, _) => Some(Judged::Pods),
            (_, true) => Some(Judged::Namespaces),
            _ => None,
        }
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
    /// Of a pod: what it runs.
    pub(crate) images: Option<Images>,
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
    pods: BTreeMap<Key, Verdict>,
    namespaces: BTreeMap<Box<str>, Space>,
    /// Subjects that are there no longer.
    gone: Vec<Subject>,
    /// Pods of which something else is said than before.
    pods_changed: BTreeSet<Key>,
    /// Namespaces of which something else may be said.
    namespaces_changed: BTreeSet<Box<str>>,
    /// Pods and namespaces: whether their changes are not heard of.
    blind: [bool; 2],
}

impl Ledger {
    pub(crate) fn put(&mut self, judged: Judged, key: &Key, found: Found<'_>, now: Timestamp) {
        let Found { uid, said, images } = found;
        if judged == Judged::Namespaces {
            let space = self.namespaces.entry(key.name.clone()).or_default();
            if space.own.as_ref() != Some(&said) {
                space.own = Some(said);
                self.namespaces_changed.insert(key.name.clone());
            }
            return;
        }
        let subject = Subject::Pod {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            uid: uid.to_owned(),
        };
        let verdict = Verdict { images, ..Verdict::new(subject, now, &said) };
        if self.pods.get(key).is_some_and(|known| known.says_as(&verdict)) {
            return;
        }
        if let Some(before) = self.pods.insert(key.clone(), verdict)
            && Some(&before.subject) != self.pods.get(key).map(|now| &now.subject)
        {
            self.gone.push(before.subject);
        }
        self.pods_changed.insert(key.clone());
        self.namespaces_changed.insert(key.namespace.clone());
    }

    pub(crate) fn remove(&mut self, judged: Judged, key: &Key) {
        match judged {
            Judged::Pods => {
                if let Some(verdict) = self.pods.remove(key) {
                    self.gone.push(verdict.subject);
                    self.pods_changed.remove(key);
                    self.namespaces_changed.insert(key.namespace.clone());
                }
            }
            Judged::Namespaces => {
                if let Some(space) = self.namespaces.get_mut(&key.name) {
                    space.own = None;
                    self.namespaces_changed.insert(key.name.clone());
                }
            }
        }
    }

    pub(crate) fn retain(&mut self, judged: Judged, there: &HashSet<Key>) {
        let known: Vec<Key> = match judged {
            Judged::Pods => self.pods.keys().filter(|key| !there.contains(key)).cloned().collect(),
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
        !(self.gone.is_empty() && self.pods_changed.is_empty() && self.namespaces_changed.is_empty())
    }

    /// Everything is to be said, since nothing is known of it.
    pub(crate) fn say_all(&mut self) {
        self.gone.clear();
        self.pods_changed = self.pods.keys().cloned().collect();
        self.namespaces_changed = self.namespaces.keys().cloned().collect();
        for space in self.namespaces.values_mut() {
            space.said = None;
        }
    }

    /// What is to be said now, at most so much of it: of pods before that of their namespaces.
    pub(crate) fn take(&mut self, most: usize, now: Timestamp) -> Vec<Said> {
        let mut said: Vec<Said> = self.gone.drain(..self.gone.len().min(most)).map(Said::Gone).collect();
        while said.len() < most
            && let Some(key) = self.pods_changed.pop_first()
        {
            said.extend(self.pods.get(&key).cloned().map(Said::Verdict));
        }
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
            let after = self.pods.range(&from..);
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
    use serde_json::{Value, json};
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
        Found { uid, said, images: None }
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

    #[test]
    fn another_image_is_news() {
        let mut ledger = Ledger::default();
        let mut runs = |unpinned| {
            let images = Some(Images { unpinned, ..Images::default() });
            let found = Found { uid: "1", said: Vec::new(), images };
            ledger.put(Judged::Pods, &key("shop", "a"), found, Timestamp::EPOCH);
            ledger.take(100, Timestamp::EPOCH)
        };
        let images = |said: Vec<Said>| match said.into_iter().next() {
            Some(Said::Verdict(verdict)) => verdict.images.map(|images| images.unpinned),
            _ => None,
        };
        assert_eq!([images(runs(0)), images(runs(0)), images(runs(1))], [Some(0), None, Some(1)]);
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
