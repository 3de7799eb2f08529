//! Reviews: which policies are asked, in which order, and what is answered.

use crate::background::{Full, Requested};
use crate::compliance::Compliance;
use crate::computing::Patience;
use crate::events::Outbox;
use crate::log;
use crate::metrics::Metrics;
use crate::patch::difference;
use crate::policies::{Entry, Set, TRIGGERED};
use crate::verdict::Verdict;
use crate::world::World;
use arc_swap::ArcSwap;
use keyward_admission::{Kind, Mode, Request, RuleKind, load};
use keyward_webhook::{Answer, Handler, Page, Review};
use serde_json::Value;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// The status of what is refused for now (RFC 6585, section 4).
const BUSY: u16 = 429;

/// What reviews are answered with.
pub(crate) struct Reviewer {
    pub(crate) set: Arc<ArcSwap<Set>>,
    pub(crate) world: Arc<World>,
    pub(crate) outbox: Outbox,
    pub(crate) metrics: Arc<Metrics>,
    /// What is done because of reviews.
    pub(crate) requested: Requested,
    pub(crate) compliance: Arc<Compliance>,
    /// What is still waited for before reviews can be answered; empty when nothing is.
    pub(crate) waits: watch::Receiver<String>,
}

/// What a review is about.
struct Asked {
    request: Request,
    kind: String,
    resource: String,
    namespace: String,
    /// `Kind/namespace/name`.
    object: String,
    dry_run: bool,
    deadline: Instant,
}

impl Handler for Reviewer {
    async fn review(&self, path: &str, review: Review) -> Answer {
        let began = Instant::now();
        let answer = match path {
            "/check" => check(&review),
            path => match path.strip_prefix("/validate/") {
                Some(group) => self.validate(group, review).await,
                None => self.mutate(path.strip_prefix("/mutate/").unwrap_or_default(), review).await,
            },
        };
        self.metrics.reviewed(answer.allowed, began.elapsed());
        answer
    }

    fn serves(&self, path: &str) -> bool {
        path == "/check" || path.starts_with("/validate/") || path.starts_with("/mutate/")
    }

    fn ready(&self) -> Result<(), String> {
        let waits = self.waits.borrow();
        if waits.is_empty() { Ok(()) } else { Err(waits.clone()) }
    }

    fn page(&self, path: &str) -> Option<Page> {
        match path {
            "/metrics" => Some(Page { media_type: "text/plain; version=0.0.4", body: self.metrics.page() }),
            "/compliance" => Some(self.compliance.page()),
            _ => None,
        }
    }
}

/// Whether a policy can mean anything.
fn check(review: &Review) -> Answer {
    match load(review.object(), None) {
        Ok(_) => Answer::allowed(),
        Err(refusal) => Answer::refused(400, format!("the policy cannot mean anything: {refusal}")),
    }
}

impl Reviewer {
    async fn validate(&self, group: &str, review: Review) -> Answer {
        let set = self.set.load_full();
        let asked = match self.asked(review) {
            Ok(asked) => asked,
            Err(why) => return Answer::refused(400, why),
        };
        let mut verdict = Verdict::default();
        // Images are looked at again: another webhook may have put others in their place since they were verified.
        for task in [RuleKind::ImageVerification, RuleKind::Validation] {
            for entry in asked.policies(&set, task, group) {
                let outcome = self.decide(&set, entry, task, &asked).await;
                verdict.add(entry, outcome, &asked.namespace);
            }
        }
        let answer = self.conclude(&verdict, &asked);
        if answer.allowed && !asked.dry_run { self.tell(answer, &set, asked, group) } else { answer }
    }

    /// Tells policies that do something afterwards. What there is no room for is refused, where the policy wants that.
    fn tell(&self, answer: Answer, set: &Set, asked: Asked, group: &str) -> Answer {
        let (mut told, mut fail_closed) = (Vec::new(), false);
        for task in TRIGGERED {
            for entry in
                asked.policies(set, task, group).into_iter().filter(|entry| entry.told.contains(&task))
            {
                let home = &entry.policy.metadata.namespace;
                let here = home.is_empty() || *home == asked.namespace;
                if here && entry.policy.upkeep(task).iter().any(|rule| rule.is_for_review(&asked.request)) {
                    told.push((task, entry.key().into()));
                    fail_closed |= entry.settings.fail_closed;
                }
            }
        }
        match self.requested.take(asked.request, told) {
            Err(Full) if fail_closed => Answer::refused(
                BUSY,
                "too much waits to be made and changed by policies because of requests: try again in a few seconds",
            ),
            Err(Full) => {
                log::warn(&format!(
                    "{} is a reason for policies to do something, and there is no room",
                    asked.object
                ));
                answer
            }
            Ok(()) => answer,
        }
    }

    async fn mutate(&self, group: &str, review: Review) -> Answer {
        let set = self.set.load_full();
        let mut asked = match self.asked(review) {
            Ok(asked) => asked,
            Err(why) => return Answer::refused(400, why),
        };
        let before = asked.request.object().clone();
        let mut verdict = Verdict::default();
        for task in [RuleKind::Mutation, RuleKind::ImageVerification] {
            for entry in asked.policies(&set, task, group) {
                let mut outcome = self.decide(&set, entry, task, &asked).await;
                if let Some(object) = outcome.patched.take() {
                    asked.request.replace_object(object);
                }
                verdict.add(entry, outcome, &asked.namespace);
            }
        }
        let mut answer = self.conclude(&verdict, &asked);
        if answer.allowed {
            let operations = difference(&before, asked.request.object());
            answer.patch = Some(Value::Array(operations))
                .filter(|list| list.as_array().is_some_and(|list| !list.is_empty()));
        }
        answer
    }

    async fn decide(
        &self,
        set: &Set,
        entry: &Entry,
        task: RuleKind,
        asked: &Asked,
    ) -> keyward_admission::Outcome {
        self.world.decide(set, &entry.policy, task, &asked.request, Patience::of_review(asked.deadline)).await
    }

    fn conclude(&self, verdict: &Verdict<'_>, asked: &Asked) -> Answer {
        let findings = verdict.findings();
        self.metrics.violations.add(findings.len() as u64);
        // Of what is only tried nothing is told but the answer.
        if !asked.dry_run {
            findings.iter().for_each(|finding| self.outbox.found(finding, &asked.object));
        }
        verdict.answer(&asked.object)
    }

    fn asked(&self, review: Review) -> Result<Asked, String> {
        let (dry_run, deadline) = (review.dry_run, review.deadline);
        let (group, resource) = (review.resource.group.clone(), review.resource.resource.clone());
        let subresource = review.subresource.clone();
        let (namespace, name) = (review.namespace.clone(), review.name.clone());
        let mut object = review.into_request();
        let (roles, cluster_roles) = self.world.roles_of(&object["userInfo"], &namespace);
        object["roles"] = roles;
        object["clusterRoles"] = cluster_roles;
        let is_namespace = group.is_empty() && resource == "namespaces";
        let of_namespace = if is_namespace { None } else { self.world.namespace(&namespace) };
        let mut request = Request::of_review(object)?.with_namespace(of_namespace);
        // A subresource such as exec is of a kind of its own; policies name it by what it is a part of.
        if !subresource.is_empty()
            && let Some(parent) = self.world.outside.catalog.load().parent(&group, &resource)
        {
            let kind = Kind::new(&parent.api_version(), &parent.kind);
            request = request.with_subresource(kind, &subresource).with_resource(&resource);
        }
        let kind = request.kind().kind.clone();
        let name = match request.object()["metadata"]["name"].as_str().filter(|name| !name.is_empty()) {
            Some(name) => name.to_owned(),
            None if !name.is_empty() => name,
            None => request.object()["metadata"]["generateName"].as_str().unwrap_or_default().to_owned(),
        };
        let object = format!("{kind}/{namespace}/{name}");
        Ok(Asked { request, kind, resource, namespace, object, dry_run, deadline })
    }
}

impl Asked {
    fn policies<'s>(&self, set: &'s Set, task: RuleKind, group: &str) -> Vec<&'s Entry> {
        let mut found = set.matching(task, &self.kind, &self.resource);
        found.retain(|entry| {
            entry.group == group
                && entry.settings.admission
                && entry.policy.mode() == Mode::Kubernetes
                && !entry.policy.is_native()
        });
        found
    }
}
