//! `CleanupPolicy` and `ClusterCleanupPolicy`: what is removed on a schedule.

use crate::condition::Conditions;
use crate::context::{Entry, Frame};
use crate::matching::Matching;
use crate::outcome::{Outcome, RuleKind, RuleOutcome, Status};
use crate::policy::{Metadata, Surroundings};
use crate::refusal::{At, Read};
use crate::request::Request;
use crate::settings::Interest;
use crate::upkeep::Removal;
use keyward_expressions::World;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use typed_arena::Arena;

#[derive(Debug)]
pub(crate) struct Cleanup {
    name: Arc<str>,
    pub(crate) removal: Removal,
    matching: Matching,
    context: Vec<Entry>,
    conditions: Option<Conditions>,
}

impl Cleanup {
    pub(crate) fn compile(at: &At<'_>, metadata: &Metadata) -> Read<Cleanup> {
        let spec = at.need("spec")?;
        spec.only(&["match", "exclude", "schedule", "conditions", "context", "deletionPropagationPolicy"])?;
        Ok(Cleanup {
            removal: Removal::compile(&spec)?,
            name: metadata.name.as_str().into(),
            matching: Matching::compile(&spec)?,
            context: Entry::compile_all(&spec)?,
            conditions: spec.get("conditions").map(|at| Conditions::compile(&at)).transpose()?,
        })
    }

    pub(crate) fn interests(&self) -> Vec<Interest> {
        self.matching.interests(&[])
    }

    /// Whether it removes an object: passes where it does.
    pub(crate) fn decide(&self, request: &Request, around: &Surroundings<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        if !self.matching.matches(request) {
            return outcome;
        }
        let arena = Arena::with_capacity(1);
        let needs = RefCell::new(Vec::new());
        let meter = around.leave.meter(&outcome);
        let world = World { now: around.now, seed: Cell::new(around.seed), meter };
        let frame = Frame::new(request, &arena, around.snapshot, &world, &needs);
        frame.bind("target", crate::jmespath::Val::Ref(request.object()));
        frame.define(&self.context);
        let said = |status, why: String| RuleOutcome::new(&self.name, RuleKind::Deletion, status, why);
        let held =
            self.conditions.as_ref().map_or(Ok(true), |one| one.hold(&frame.view()).map(|(held, _)| held));
        outcome.rules.push(match held {
            Ok(true) => said(Status::Pass, "resource matched".to_owned()),
            Ok(false) => said(Status::Fail, "conditions are not met".to_owned()),
            Err(why) => said(Status::Error, why.to_string()),
        });
        drop(frame);
        outcome.count(around.leave, &world.meter);
        outcome.lacks = needs.into_inner();
        outcome
    }
}
