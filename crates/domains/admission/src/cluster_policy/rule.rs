//! One rule: what it is for, what it needs, and what it does.

use super::validate::Validate;
use crate::condition::Conditions;
use crate::context::{Entry, Frame};
use crate::exception::Exception;
use crate::generate::Generate;
use crate::images::VerifyImages;
use crate::jmespath::Error;
use crate::lookup::Lookup;
use crate::matching::Matching;
use crate::meter::Meter;
use crate::mutate::Mutate;
use crate::outcome::{Effects, Outcome, RuleKind, RuleOutcome, Status};
use crate::policy::Surroundings;
use crate::refusal::{At, Read};
use crate::request::{Operation, Request};
use crate::settings::Interest;
use crate::upkeep::{names_who_asks, reviews};
use keyward_expressions::World;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use typed_arena::Arena;

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    pub(crate) matching: Matching,
    context: Vec<Entry>,
    preconditions: Option<Conditions>,
    pub(crate) task: Task,
    /// It names what a review alone tells.
    pub(crate) by_review: bool,
    /// Deletions are named in it, beside those that `match` names.
    names_deletions: bool,
}

#[derive(Debug)]
pub(crate) enum Task {
    Validate(Box<Validate>),
    Mutate(Box<Mutate>),
    Generate(Box<Generate>),
    VerifyImages(Vec<VerifyImages>),
}

impl Task {
    /// What it is asked about where a rule does not say.
    pub(crate) fn operations(&self) -> &'static [Operation] {
        use Operation::{Connect, Create, Delete, Update};
        match self {
            // A pattern has nothing to look at in what is being removed.
            Task::Validate(validate) if validate.only_looks_at_objects() => &[Create, Update, Connect],
            Task::Validate(_) => &[Create, Update, Delete, Connect],
            Task::Mutate(_) | Task::VerifyImages(_) | Task::Generate(_) => &[Create, Update],
        }
    }
}

const RULE: [&str; 13] = [
    "name",
    "context",
    "reportProperties",
    "match",
    "exclude",
    "imageExtractors",
    "preconditions",
    "celPreconditions",
    "mutate",
    "validate",
    "generate",
    "verifyImages",
    "skipBackgroundRequests",
];

impl Rule {
    pub(super) fn compile(at: &At<'_>) -> Read<Rule> {
        at.only(&RULE)?;
        let name = at.need("name")?.str()?;
        let tasks = ["validate", "mutate", "generate", "verifyImages"];
        let given: Vec<&str> = tasks.into_iter().filter(|task| at.get(task).is_some()).collect();
        let task = match given[..] {
            ["validate"] => Task::Validate(Box::new(Validate::compile(at)?)),
            ["mutate"] => Task::Mutate(Box::new(Mutate::compile(&at.need("mutate")?)?)),
            ["generate"] => Task::Generate(Box::new(Generate::compile(&at.need("generate")?)?)),
            ["verifyImages"] => Task::VerifyImages(at.each_of("verifyImages", VerifyImages::compile)?),
            [] => {
                return at.refuse(
                    "a rule has one of validate, mutate, generate and verifyImages, and this has none",
                );
            }
            _ => {
                return at
                    .refuse(format_args!("a rule does one thing, and this has {}", given.join(" and ")));
            }
        };
        let matching = Matching::compile(at)?;
        let written = at.value.to_string();
        Ok(Rule {
            name: name.into(),
            by_review: matching.looks_at_users() || names_who_asks(&written),
            names_deletions: written.contains("\"DELETE\""),
            matching,
            context: Entry::compile_all(at)?,
            preconditions: at.get("preconditions").map(|at| Conditions::compile(&at)).transpose()?,
            task,
        })
    }

    pub(crate) fn kind(&self) -> RuleKind {
        match &self.task {
            Task::Validate(_) => RuleKind::Validation,
            Task::Mutate(_) => RuleKind::Mutation,
            Task::Generate(_) => RuleKind::Generation,
            Task::VerifyImages(_) => RuleKind::ImageVerification,
        }
    }

    /// By which it is asked: a mutation of other objects is not one of the object.
    pub(crate) fn asked_as(&self) -> RuleKind {
        match &self.task {
            Task::Mutate(mutate) if mutate.is_elsewhere() => RuleKind::ExistingMutation,
            _ => self.kind(),
        }
    }

    /// The requests that a rule which makes or changes other objects is to be told of in reviews.
    pub(crate) fn reviews(&self) -> Vec<Interest> {
        let otherwise = match self.names_deletions {
            true => &[Operation::Create, Operation::Update, Operation::Delete][..],
            false => self.task.operations(),
        };
        reviews(self.by_review, self.matching.interests(otherwise))
    }

    fn outcome(&self, status: Status, message: impl Into<std::borrow::Cow<'static, str>>) -> RuleOutcome {
        RuleOutcome::new(&self.name, self.kind(), status, message)
    }

    /// Adds what it says about a request that it is for.
    pub(super) fn decide(
        &self,
        request: &Request,
        around: &Surroundings<'_>,
        exceptions: &[&Exception],
        outcome: &mut Outcome,
    ) {
        let arena = Arena::with_capacity(0);
        let needs: RefCell<Vec<Lookup>> = RefCell::new(Vec::new());
        let meter = around.leave.meter(outcome);
        let world = World { now: around.now, seed: Cell::new(around.seed), meter };
        // A mutation goes on from what the rules before it made of the object.
        let patched = outcome.patched.take().map(|object| request.with_object(object));
        let current = patched.as_ref().unwrap_or(request);
        let frame = Frame::new(current, &arena, around.snapshot, &world, &needs).for_rule(&self.name);
        frame.define(&self.context);
        let decided = self.within(&frame, exceptions);
        drop(frame);
        let (said, object) = decided;
        outcome.count(around.leave, &world.meter);
        outcome.lacks.extend(needs.into_inner());
        outcome.rules.extend(said);
        outcome.patched = object.or_else(|| patched.map(Request::into_object));
    }

    /// What its preconditions come to, one by one.
    pub(super) fn conditions(&self, request: &Request, around: &Surroundings<'_>) -> Vec<String> {
        let Some(preconditions) = &self.preconditions else { return Vec::new() };
        let arena = Arena::with_capacity(0);
        let needs: RefCell<Vec<Lookup>> = RefCell::new(Vec::new());
        let world = World { now: around.now, seed: Cell::new(around.seed), meter: Meter::default() };
        let frame = Frame::new(request, &arena, around.snapshot, &world, &needs).for_rule(&self.name);
        frame.define(&self.context);
        preconditions.explain(&frame.view())
    }

    fn within<'a>(
        &'a self,
        frame: &Frame<'a>,
        exceptions: &[&Exception],
    ) -> (Option<RuleOutcome>, Option<Value>) {
        if let Some(preconditions) = &self.preconditions {
            match preconditions.hold(&frame.view()) {
                Ok((true, _)) => {}
                Ok((false, _)) => return (Some(self.outcome(Status::Skip, "preconditions not met")), None),
                Err(why) => return (self.failed("failed to evaluate preconditions", &why), None),
            }
        }
        let excepted: Vec<&&Exception> =
            exceptions.iter().filter(|exception| exception.applies(&self.name, frame)).collect();
        let whole: Vec<String> = excepted
            .iter()
            .filter(|exception| exception.controls().is_empty())
            .map(|one| one.name().to_owned())
            .collect();
        if !whole.is_empty() {
            let why = format!("rule is skipped due to policy exception {}", whole.join(", "));
            let effects = Effects { exceptions: whole, ..Effects::default() };
            return (Some(self.outcome(Status::Skip, why).with(effects)), None);
        }
        match &self.task {
            Task::Validate(validate) => {
                let excepted: Vec<&Exception> = excepted.into_iter().copied().collect();
                match validate.decide(&self.name, frame, &excepted) {
                    Ok(said) => (said, None),
                    Err(why) => (self.failed("failed to evaluate", &why), None),
                }
            }
            Task::Mutate(mutate) => match mutate.decide(&self.name, frame) {
                Ok((said, object)) => (Some(said), object),
                Err(why) => (self.failed("failed to mutate", &why), None),
            },
            Task::Generate(generate) => match generate.decide(&self.name, frame) {
                Ok(said) => (Some(said), None),
                Err(why) => (self.failed("failed to generate", &why), None),
            },
            Task::VerifyImages(rules) => match VerifyImages::decide(rules, &self.name, frame) {
                Ok((said, object)) => (said, object),
                Err(why) => (self.failed("failed to verify images", &why), None),
            },
        }
    }

    fn failed(&self, what: &str, why: &Error) -> Option<RuleOutcome> {
        Some(self.outcome(Status::Error, format!("{what}: {why}")))
    }
}
