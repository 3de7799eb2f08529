//! Removes what is over: what a policy with a schedule is for, and what a label gives a time.

use super::expiry;
use super::work::Reference;
use super::{Desk, Failure, entry, patience};
use crate::log;
use crate::policies::{Entry, Set};
use crate::sources::json_of;
use crate::webhooks;
use keyward_admission::{Operation, Propagation, RuleKind, Status};
use keyward_kubernetes::{Dependents, Kind, Object};

impl Desk {
    /// Removes an object, if that is still to be.
    pub(super) async fn remove(
        &self,
        set: &Set,
        policy: Option<&str>,
        name: &Reference,
    ) -> Result<(), Failure> {
        let kind = self.served(name)?;
        let objects = self.objects(&kind, name);
        let Some(there) = objects.get(&name.name).await? else { return Ok(()) };
        if there.metadata.deletion_timestamp.is_some() || self.is_spared(&kind, name) {
            return Ok(());
        }
        let (propagation, entry) = match policy {
            Some(policy) => {
                let Some(entry) = entry(set, policy) else { return Ok(()) };
                if !self.is_over(set, entry, &kind, &there).await? {
                    return Ok(());
                }
                (entry.policy.removal().and_then(|removal| removal.propagation), Some(entry))
            }
            None => match expiry::of(&there.metadata) {
                Ok(Some(expiry)) if expiry.is_over() => (expiry.propagation, None),
                _ => return Ok(()),
            },
        };
        let dependents = propagation.map(|propagation| match propagation {
            Propagation::Foreground => Dependents::First,
            Propagation::Background => Dependents::Afterwards,
            Propagation::Orphan => Dependents::Stay,
        });
        if objects.delete_with(&name.name, there.metadata.uid.as_deref(), dependents).await? {
            self.around.metrics.work.removed.add(1);
            match entry {
                Some(entry) => {
                    log::info(&format!("{} removed {name}", entry.key()));
                    self.around.outbox.removed(entry, &name.to_string());
                }
                None => log::info(&format!("{name} is removed after its time")),
            }
        }
        Ok(())
    }

    /// Whether a policy removes an object now.
    pub(super) async fn is_over(
        &self,
        set: &Set,
        entry: &Entry,
        kind: &Kind,
        there: &Object,
    ) -> Result<bool, Failure> {
        let home = &entry.policy.metadata.namespace;
        if !home.is_empty() && there.metadata.namespace.as_deref() != Some(home) {
            return Ok(false);
        }
        let request = self.request(kind, json_of(kind, there), Operation::Delete);
        let outcome =
            self.around.world.decide(set, &entry.policy, RuleKind::Deletion, &request, patience()).await;
        match outcome.rules.iter().find(|said| said.status == Status::Error) {
            Some(said) => Err(Failure(said.message.to_string())),
            None => Ok(outcome.rules.iter().any(|said| said.status == Status::Pass)),
        }
    }

    /// What nobody's policy removes: what a cluster and we live by.
    pub(super) fn is_spared(&self, kind: &Kind, name: &Reference) -> bool {
        self.is_exempt(name) || webhooks::NEVER.contains(&&*kind.group)
    }
}
