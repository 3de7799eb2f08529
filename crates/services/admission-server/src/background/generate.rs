//! Makes what a policy makes because of a trigger, and lets it follow.
//!
//! What a rule with `synchronize` made follows the policy, the trigger and the source: it is made again where it is deleted, put
//! back where it is changed, changed where the policy or source is, and deleted where the trigger or source is gone or the rule
//! no longer matches. Where preconditions are not met any more nothing happens, as in Kyverno. Without `synchronize` an object
//! is made once, when something happens to the trigger.
//!
//! What depends on what a review tells is made when it does, and follows only the rule, the policy and the trigger, for the review is not
//! kept. What is made because the trigger is deleted follows nothing.

use super::downstream::Made;
use super::work::{Extent, Reference, Work};
use super::{Desk, Failure, entry, patience};
use crate::policies::{Entry, Set};
use crate::sources::json_of;
use crate::world::Decided;
use keyward_admission::{Lookup, Operation, Request, RuleKind, RuleOutcome, Status, Upkeep};
use keyward_kubernetes::{Kind, Object};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

const MANAGER: &str = "keyward-policy";

/// A policy and a trigger.
struct Scene<'a> {
    set: &'a Set,
    entry: &'a Entry,
    policy: &'a Arc<str>,
    trigger: &'a Reference,
    kind: &'a Kind,
    /// None where it is deleted.
    there: Option<&'a Object>,
}

/// A rule at work.
struct Job<'a> {
    scene: &'a Scene<'a>,
    upkeep: Upkeep,
    /// Where what it asked for stands: never made over by its own copy.
    sources: BTreeSet<Reference>,
    /// It copies, so what it made stays when the policy goes.
    copies: bool,
    /// It is because of what a review told, which cannot be asked again.
    told: bool,
}

impl Desk {
    pub(super) async fn generate(
        &self,
        set: &Set,
        policy: &Arc<str>,
        trigger: &Reference,
        extent: &Extent,
    ) -> Result<(), Failure> {
        let made = self.downstreams.of(policy, trigger);
        let Some(entry) = entry(set, policy) else { return self.policy_is_gone(policy, made).await };
        let kind = self.served(trigger)?;
        let rules: HashMap<Arc<str>, Upkeep> = entry
            .policy
            .upkeep(RuleKind::Generation)
            .into_iter()
            .map(|upkeep| (upkeep.rule.clone(), upkeep))
            .collect();
        // A rule that was taken from the policy.
        for (object, of) in made.iter().filter(|(_, of)| !rules.contains_key(&of.rule)) {
            self.retire(object, of.follows).await?;
        }
        let there = self.objects(&kind, trigger).get(&trigger.name).await?;
        let uid = there.as_ref().and_then(|one| one.metadata.uid.clone()).unwrap_or_default();
        // What was made for a trigger that is gone, also where another stands in its place.
        for (object, of) in made.iter().filter(|(_, of)| *of.trigger_uid != *uid) {
            if let Some(upkeep) = rules.get(&of.rule) {
                self.retire(object, upkeep.synchronize).await?;
            }
        }
        let Some(there) = there.filter(|one| one.metadata.deletion_timestamp.is_none()) else {
            return Ok(());
        };
        let made: Vec<(Reference, Made)> = made
            .into_iter()
            .filter(|(_, of)| rules.contains_key(&of.rule) && *of.trigger_uid == *uid)
            .collect();
        let scene = Scene { set, entry, policy, trigger, kind: &kind, there: Some(&there) };
        self.ask_rules(&scene, &there, &made, rules, extent).await
    }

    /// Makes what rules make because of a request that a review told of, about a trigger that is there or was deleted.
    pub(super) async fn generate_for(
        &self,
        set: &Set,
        policy: &Arc<str>,
        request: &Request,
        there: Option<&Object>,
    ) -> Result<(), Failure> {
        let Some(entry) = entry(set, policy) else { return Ok(()) };
        let trigger = Reference::of(request.object());
        let kind = self.served(&trigger)?;
        let task = RuleKind::Generation;
        let decided = self.around.world.find_out(set, &entry.policy, task, request, patience(), true).await;
        let scene = Scene { set, entry, policy, trigger: &trigger, kind: &kind, there };
        let rules = entry.policy.upkeep(task).into_iter().filter(|upkeep| upkeep.is_for_review(request));
        for mut upkeep in rules {
            upkeep.synchronize &= there.is_some();
            let said = decided.outcome.rules.iter().find(|said| said.rule == upkeep.rule).cloned();
            let (sources, copies) = sources(&decided);
            let job = Job { scene: &scene, upkeep, sources, copies, told: true };
            self.carry_out(&job, said, &decided, &[]).await?;
        }
        Ok(())
    }

    async fn ask_rules(
        &self,
        scene: &Scene<'_>,
        there: &Object,
        made: &[(Reference, Made)],
        rules: HashMap<Arc<str>, Upkeep>,
        extent: &Extent,
    ) -> Result<(), Failure> {
        let happened = extent.happened.unwrap_or(Operation::Create);
        let other = if happened == Operation::Create { Operation::Update } else { Operation::Create };
        let ask = async |operation| {
            let Scene { set, entry, kind, .. } = scene;
            let request = self.request(kind, json_of(kind, there), operation);
            let task = RuleKind::Generation;
            self.around.world.find_out(set, &entry.policy, task, &request, patience(), false).await
        };
        let (decided, mut otherwise) = (ask(happened).await, None);
        for (rule, upkeep) in rules {
            let before: Vec<&Reference> =
                made.iter().filter(|(_, of)| of.rule == rule).map(|(object, _)| object).collect();
            if !upkeep.synchronize {
                // What it made is nobody's, also where it was the rule's before.
                before.iter().for_each(|object| drop(self.downstreams.gone(object)));
            }
            if upkeep.by_review {
                continue;
            }
            let said =
                |decided: &Decided| decided.outcome.rules.iter().find(|said| said.rule == rule).cloned();
            let follows = upkeep.synchronize && (extent.rules.contains(&rule) || !before.is_empty());
            let (mut found, mut from) = (said(&decided), &decided);
            if found.is_none() && follows {
                // A rule for what is made may have made this before, though what happened now is a change.
                if otherwise.is_none() {
                    otherwise = Some(ask(other).await);
                }
                if let Some(other) = &otherwise {
                    (found, from) = (said(other), other);
                }
            } else if extent.happened.is_none() && !follows {
                continue;
            }
            let (sources, copies) = sources(from);
            let job = Job { scene, upkeep, sources, copies, told: false };
            self.carry_out(&job, found, from, &before).await?;
        }
        Ok(())
    }

    /// Does what a rule said.
    async fn carry_out(
        &self,
        job: &Job<'_>,
        said: Option<RuleOutcome>,
        decided: &Decided,
        before: &[&Reference],
    ) -> Result<(), Failure> {
        let upkeep = &job.upkeep;
        if upkeep.synchronize && job.copies && !job.told {
            let Scene { policy, trigger, .. } = job.scene;
            let work = Work::Generate { policy: (*policy).clone(), trigger: (*trigger).clone() };
            self.sources.note(
                self,
                &(work, upkeep.rule.clone()),
                decided.asked().map(|(question, _)| question),
            );
        }
        let wanted = match said {
            // It is not for the trigger, or not any more.
            None => Vec::new(),
            Some(said) => match said.status {
                Status::Pass => said.effects.map(|effects| effects.generated).unwrap_or_default(),
                Status::Error if upkeep.synchronize && decided.lacks_an_object() && !before.is_empty() => {
                    Vec::new()
                }
                Status::Error => return Err(Failure(format!("{}: {}", upkeep.rule, said.message))),
                Status::Skip | Status::Fail | Status::Warn => return Ok(()),
            },
        };
        let mut kept = BTreeSet::new();
        for object in wanted {
            let object = self.placed(job, object)?;
            let name = Reference::of(&object);
            if job.sources.contains(&name) || name == *job.scene.trigger {
                continue;
            }
            self.make(job, object)
                .await
                .map_err(|Failure(why)| Failure(format!("{}: {why}", upkeep.rule)))?;
            kept.insert(name);
        }
        for object in before.iter().filter(|object| upkeep.synchronize && !kept.contains(object)) {
            self.retire(object, true).await?;
        }
        Ok(())
    }

    /// The object with the namespace that it needs, if the policy may make it there.
    fn placed(&self, job: &Job<'_>, mut object: Value) -> Result<Value, Failure> {
        let name = Reference::of(&object);
        let kind = self.served(&name)?;
        if !kind.namespaced {
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("namespace");
            }
        } else if name.namespace.is_empty() {
            object["metadata"]["namespace"] = json!("default");
        }
        object["apiVersion"] = json!(kind.api_version());
        let home = &job.scene.entry.policy.metadata.namespace;
        if !home.is_empty() && object["metadata"]["namespace"] != json!(home) {
            return Err(Failure(format!(
                "{name} is not in {home}: a policy of a namespace makes nothing elsewhere"
            )));
        }
        Ok(object)
    }

    /// Makes an object, or puts it back where it follows the policy.
    async fn make(&self, job: &Job<'_>, mut object: Value) -> Result<(), Failure> {
        let (upkeep, there) = (&job.upkeep, job.scene.there);
        let made = Made {
            policy: job.scene.policy.clone(),
            rule: upkeep.rule.clone(),
            trigger: job.scene.trigger.clone(),
            trigger_uid: there.and_then(|there| there.metadata.uid.as_deref()).unwrap_or_default().into(),
            follows: upkeep.synchronize && !upkeep.orphans && !job.copies,
        };
        match there {
            Some(_) => made.write(&mut object, &job.scene.kind.version),
            None => made.label(&mut object, &job.scene.kind.version),
        }
        let name = Reference::of(&object);
        let kind = self.served(&name)?;
        let objects = self.objects(&kind, &name);
        let there = objects.get(&name.name).await?;
        if there.is_some() && !upkeep.synchronize {
            return Ok(());
        }
        let written = match there {
            _ if upkeep.server_side_apply => objects.apply(MANAGER, &object).await?,
            None => objects.create(&object).await?,
            Some(there) => {
                let next = put_back(object, &json_of(&kind, &there));
                if next == json_of(&kind, &there) {
                    there
                } else {
                    objects.replace(&name.name, &next).await?
                }
            }
        };
        if upkeep.synchronize && !job.told {
            self.downstreams.wrote(&name, made, written.metadata.resource_version.unwrap_or_default());
        }
        Ok(())
    }

    /// What a policy that is gone had made goes with it, or stays for good.
    async fn policy_is_gone(&self, policy: &Arc<str>, made: Vec<(Reference, Made)>) -> Result<(), Failure> {
        let verdicts = self.around.known.verdicts.load();
        let refused = verdicts.iter().any(|verdict| {
            format!("{}/{}", verdict.kind.kind, verdict.key) == **policy && verdict.refused.is_some()
        });
        // One that is there and cannot be read is not gone.
        if refused {
            return Ok(());
        }
        for (object, of) in made {
            self.retire(&object, of.follows).await?;
        }
        Ok(())
    }

    /// Deletes an object that was made, or leaves it as nobody's.
    async fn retire(&self, object: &Reference, delete: bool) -> Result<(), Failure> {
        if !delete {
            self.downstreams.gone(object);
            return Ok(());
        }
        let kind = self.served(object)?;
        let objects = self.objects(&kind, object);
        let Some(there) = objects.get(&object.name).await? else {
            self.downstreams.gone(object);
            return Ok(());
        };
        // What is there now may be somebody else's by the same name.
        if Made::read(&there.metadata).is_some() {
            objects.delete(&object.name, there.metadata.uid.as_deref()).await?;
        }
        self.downstreams.gone(object);
        Ok(())
    }
}

/// Where what was asked for stands, and whether something was asked for that is copied.
fn sources(decided: &Decided) -> (BTreeSet<Reference>, bool) {
    let mut there = BTreeSet::new();
    let mut copies = false;
    for (question, answer) in decided.asked() {
        match question {
            Lookup::Object { .. } => there.extend(answer.map(Reference::of)),
            Lookup::Objects { .. } => {
                let items = answer.and_then(|answer| answer["items"].as_array());
                there.extend(items.into_iter().flatten().map(Reference::of));
            }
            _ => continue,
        }
        copies = true;
    }
    (there, copies)
}

/// The object as it is to be, with what belongs to others: labels, annotations, finalizers, owners and the status.
fn put_back(mut object: Value, there: &Value) -> Value {
    let metadata = there["metadata"].as_object();
    for (key, value) in metadata.into_iter().flatten() {
        let place = &mut object["metadata"][key];
        match (&mut *place, value) {
            (Value::Null, theirs) => *place = theirs.clone(),
            (Value::Object(ours), Value::Object(theirs)) => {
                for (key, value) in theirs {
                    ours.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            _ => {}
        }
    }
    if object["status"].is_null() && !there["status"].is_null() {
        object["status"] = there["status"].clone();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_back_loses_what_was_added_and_keeps_what_is_others() {
        let there = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "status": {"seen": 1},
            "metadata": {"name": "deny", "resourceVersion": "7", "uid": "u", "labels": {"a": "changed", "theirs": "1"}},
            "spec": {"podSelector": {}, "ingress": [{}]},
        });
        let ours = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "deny", "labels": {"a": "ours"}}, "spec": {"podSelector": {}},
        });
        let next = put_back(ours, &there);
        assert_eq!(next["spec"], json!({"podSelector": {}}));
        assert_eq!(next["metadata"]["labels"], json!({"a": "ours", "theirs": "1"}));
        assert_eq!((&next["metadata"]["resourceVersion"], &next["status"]["seen"]), (&json!("7"), &json!(1)));
    }
}
