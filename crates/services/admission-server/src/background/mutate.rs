//! Changes objects that are there because of another, the trigger.

use super::work::{Extent, Reference};
use super::{Desk, Failure, entry, patience};
use crate::policies::{Entry, Set};
use crate::sources::json_of;
use crate::world::Decided;
use keyward_admission::{Operation, Request, RuleKind, Status, Upkeep};
use serde_json::{Value, json};
use std::collections::HashMap;

impl Desk {
    pub(super) async fn mutate(
        &self,
        set: &Set,
        policy: &str,
        trigger: &Reference,
        extent: &Extent,
    ) -> Result<(), Failure> {
        let Some(entry) = entry(set, policy) else { return Ok(()) };
        let kind = self.served(trigger)?;
        let Some(there) = self.objects(&kind, trigger).get(&trigger.name).await? else { return Ok(()) };
        let version = there.metadata.resource_version.clone().unwrap_or_default();
        let happened = extent.happened.unwrap_or(Operation::Update);
        // What we changed ourselves is no reason to change more.
        if there.metadata.deletion_timestamp.is_some() || self.wrote(trigger, &version) {
            return Ok(());
        }
        let request = self.request(&kind, json_of(&kind, &there), happened);
        let task = RuleKind::ExistingMutation;
        let decided = self.around.world.find_out(set, &entry.policy, task, &request, patience(), true).await;
        self.change_targets(entry, &decided, |upkeep| !upkeep.by_review).await
    }

    /// Changes what rules change because of a request that a review told of.
    pub(super) async fn mutate_for(&self, set: &Set, policy: &str, request: &Request) -> Result<(), Failure> {
        let Some(entry) = entry(set, policy) else { return Ok(()) };
        let task = RuleKind::ExistingMutation;
        let decided = self.around.world.find_out(set, &entry.policy, task, request, patience(), true).await;
        self.change_targets(entry, &decided, |upkeep| upkeep.is_for_review(request)).await
    }

    /// Does what some rules said.
    async fn change_targets(
        &self,
        entry: &Entry,
        decided: &Decided,
        meant: impl Fn(&Upkeep) -> bool,
    ) -> Result<(), Failure> {
        let before = before(decided);
        let mut failed = None;
        let mut meant_rules = entry.policy.upkeep(RuleKind::ExistingMutation);
        meant_rules.retain(meant);
        let known = |rule: &str| meant_rules.iter().any(|upkeep| *upkeep.rule == *rule);
        for said in decided.outcome.rules.iter().filter(|said| known(&said.rule)) {
            if said.status == Status::Error {
                failed = Some(Failure(format!("{}: {}", said.rule, said.message)));
            }
            for target in said.effects.iter().flat_map(|effects| &effects.targets) {
                let name = Reference::of(target);
                let same = before.get(&name).is_some_and(|before| *before == target);
                if same || self.is_exempt(&name) {
                    continue;
                }
                // One that cannot be changed does not keep the others from it.
                if let Err(Failure(why)) = self.change(&entry.policy.metadata.namespace, &name, target).await
                {
                    failed = Some(Failure(format!("{}: {name}: {why}", said.rule)));
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Writes a target, unless somebody else was first since it was read.
    async fn change(&self, home: &str, name: &Reference, target: &Value) -> Result<(), Failure> {
        if !home.is_empty() && *name.namespace != *home {
            return Err(Failure(format!("a policy of the namespace {home} changes nothing elsewhere")));
        }
        let kind = self.served(name)?;
        let mut target = target.clone();
        if let Some(metadata) = target["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        target["apiVersion"] = json!(kind.api_version());
        let done = self.objects(&kind, name).replace(&name.name, &target).await?;
        self.remember(name.clone(), done.metadata.resource_version);
        Ok(())
    }
}

/// The targets as they were read.
fn before(decided: &Decided) -> HashMap<Reference, &Value> {
    let mut found = HashMap::new();
    for answer in decided.asked().filter_map(|(_, answer)| answer) {
        let items = answer["items"].as_array();
        let objects = items.map_or_else(|| vec![answer], |items| items.iter().collect());
        found.extend(
            objects.into_iter().filter(|one| one["kind"].is_string()).map(|one| (Reference::of(one), one)),
        );
    }
    found
}
