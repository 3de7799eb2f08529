//! What policies in CEL do: validate, mutate, generate, delete.

use super::constraints::Constraints;
use crate::cel::{self, Fault, Names, Outside, Program, Scope, Val};
use crate::cel_rule::Named;
use crate::cel_rule::{ROOTS, Validation, conditions, roots, validation};
use crate::context::Frame;
use crate::images::{ImageRules, Ready};
use crate::lookup::Lookup;
use crate::mutate::{json_patch, merge};
use crate::outcome::{Effects, RuleKind, Status};
use crate::policy::Metadata;
use crate::refusal::{At, Read};
use crate::yaml;
use serde_json::Value;

#[derive(Debug)]
pub(super) enum Task {
    Validate { validations: Vec<Validation>, annotations: Vec<Named>, images: Option<Box<ImageRules>> },
    Mutate { mutations: Vec<Mutation>, existing: Option<Existing> },
    Generate(Vec<Generation>),
    Delete(Vec<Named>),
}

#[derive(Debug)]
pub(super) enum Mutation {
    Apply(Program),
    Patch(Program),
}

/// Other objects that are changed.
#[derive(Debug)]
pub(super) enum Existing {
    Matching(Constraints),
    Found(Program),
}

#[derive(Debug)]
pub(super) enum Generation {
    Expression(Program),
    /// YAML, with expressions in `(( ))` where they are read.
    Template(Vec<Piece>),
}

#[derive(Debug)]
pub(super) enum Piece {
    Text(Box<str>),
    Expression(Program),
}

/// What came of it.
#[derive(Default)]
pub(super) struct Done {
    pub(super) said: Option<(Status, String)>,
    pub(super) effects: Option<Effects>,
    pub(super) object: Option<Value>,
}

impl Done {
    pub(super) fn said(status: Status, why: impl Into<String>) -> Done {
        Done { said: Some((status, why.into())), ..Done::default() }
    }
}

impl Task {
    pub(super) fn compile(spec: &At<'_>, metadata: &Metadata, names: &[Box<str>]) -> Read<Task> {
        let known = cel::names(&ROOTS, names);
        let kind = metadata.kind.as_str();
        if kind.contains("Mutating") {
            let mutations = spec.need("mutations")?.each(|at| mutation(at, &known))?;
            let enabled = spec.value["evaluation"]["mutateExisting"]["enabled"] == Value::Bool(true);
            let existing = match spec.get("targetMatchConstraints") {
                Some(at) if !at.text("expression")?.is_empty() => {
                    Some(Existing::Found(cel::compile(&at.need("expression")?, &known)?))
                }
                Some(at) => Some(Existing::Matching(Constraints::compile(&at)?)),
                None => match spec.get("matchConstraints").filter(|_| enabled) {
                    Some(at) => Some(Existing::Matching(Constraints::compile(&at)?)),
                    None => None,
                },
            };
            return Ok(Task::Mutate { mutations, existing });
        }
        if kind.contains("Generating") {
            return Ok(Task::Generate(spec.need("generate")?.each(|at| generation(at, &known))?));
        }
        if kind.contains("Deleting") {
            return Ok(Task::Delete(conditions(spec, "conditions", names)?));
        }
        let proxy = matches!(spec.value["evaluation"]["mode"].as_str(), Some("HTTP" | "Envoy"));
        let validations = spec.need("validations")?.each(|at| validation(at, names, !proxy))?;
        let annotations = spec.each_of("auditAnnotations", |at| {
            Ok((at.need("key")?.str()?.into(), cel::compile(&at.need("valueExpression")?, &known)?))
        })?;
        let images = match kind.contains("Image") {
            true => Some(Box::new(ImageRules::compile(spec, names)?)),
            false => None,
        };
        Ok(Task::Validate { validations, annotations, images })
    }

    pub(super) fn kind(&self) -> RuleKind {
        match self {
            Task::Validate { images: Some(_), .. } => RuleKind::ImageVerification,
            Task::Validate { .. } => RuleKind::Validation,
            Task::Mutate { existing: None, .. } => RuleKind::Mutation,
            Task::Mutate { .. } => RuleKind::ExistingMutation,
            Task::Generate(_) => RuleKind::Generation,
            Task::Delete(_) => RuleKind::Deletion,
        }
    }

    /// What a policy on images says of them.
    pub(super) fn images(&self) -> Option<&ImageRules> {
        match self {
            Task::Validate { images, .. } => images.as_deref(),
            _ => None,
        }
    }

    pub(super) fn carry_out<'a>(
        &'a self,
        scope: &Scope<'_, 'a>,
        frame: &Frame<'a>,
        outside: &Outside<'_, 'a>,
        as_pod: bool,
    ) -> Result<Done, Fault> {
        match self {
            Task::Validate { validations, annotations, .. } => {
                for validation in validations {
                    if let Some(mut why) = validation.failure(scope, "failed expression")? {
                        let reasons = outside.images.get().map(Ready::reasons).unwrap_or_default();
                        if !reasons.is_empty() {
                            why = format!("{why}: {}", reasons.join("; "));
                        }
                        return Ok(Done::said(Status::Fail, why));
                    }
                }
                let mut effects = Effects::default();
                for (key, program) in annotations {
                    if let Some(text) = program.run(scope)?.as_str() {
                        effects.annotations.push((key.to_string(), text.to_owned()));
                    }
                }
                let object = match outside.images.get().map(|ready| ready.with_digests(frame.request)) {
                    Some(Err(why)) => return Ok(Done::said(Status::Fail, why)),
                    Some(Ok(object)) => object,
                    None => None,
                };
                Ok(Done { effects: Some(effects), object, ..Done::said(Status::Pass, "success") })
            }
            Task::Mutate { mutations, existing: None } => {
                let object = frame.request.new_object();
                let changed = mutate(mutations, object, scope, frame, as_pod)?;
                let object = (changed != *object).then_some(changed);
                Ok(Done { object, ..Done::said(Status::Pass, "success") })
            }
            Task::Mutate { mutations, existing: Some(existing) } => {
                existing.mutate(mutations, scope, frame, outside)
            }
            Task::Generate(generations) => {
                for generation in generations {
                    generation.make(scope, outside)?;
                }
                let generated = outside.generated.take();
                let effects = Effects { generated, ..Effects::default() };
                Ok(Done { effects: Some(effects), ..Done::said(Status::Pass, "resource generated") })
            }
            Task::Delete(conditions) => {
                for (_, condition) in conditions {
                    if !condition.holds(scope)? {
                        return Ok(Done::said(Status::Fail, "resource did not match"));
                    }
                }
                Ok(Done::said(Status::Pass, "resource matched"))
            }
        }
    }
}

fn mutation(at: &At<'_>, names: &Names<'_>) -> Read<Mutation> {
    at.only(&["patchType", "applyConfiguration", "jsonPatch"])?;
    let kind = at.need("patchType")?;
    match kind.str()? {
        "ApplyConfiguration" => {
            let inner = at.need("applyConfiguration")?;
            Ok(Mutation::Apply(cel::compile(&inner.need("expression")?, names)?))
        }
        "JSONPatch" => {
            let inner = at.need("jsonPatch")?;
            Ok(Mutation::Patch(cel::compile(&inner.need("expression")?, names)?))
        }
        other => {
            let hint = crate::nearest::hint(other, ["ApplyConfiguration", "JSONPatch"]);
            kind.refuse(format_args!("there is no patch type {other}{hint}"))
        }
    }
}

fn generation(at: &At<'_>, names: &Names<'_>) -> Read<Generation> {
    at.only(&["expression", "template"])?;
    if let Some(expression) = at.get("expression") {
        return Ok(Generation::Expression(cel::compile(&expression, names)?));
    }
    let template = at.need("template")?;
    template.only(&["interpolate", "value"])?;
    let value = template.need("value")?;
    let text = value.str()?;
    if template.text("interpolate")? != "cel" {
        return Ok(Generation::Template(vec![Piece::Text(text.into())]));
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("((") {
        let Some((expression, after)) = after.split_once("))") else {
            return value.refuse("a (( is not closed");
        };
        pieces.push(Piece::Text(before.into()));
        let program = Program::parse(expression, names)
            .or_else(|why| value.refuse(format_args!("{why}, in: {expression}")))?;
        pieces.push(Piece::Expression(program));
        rest = after;
    }
    pieces.push(Piece::Text(rest.into()));
    Ok(Generation::Template(pieces))
}

impl Generation {
    fn make<'a>(&'a self, scope: &Scope<'_, 'a>, outside: &Outside<'_, 'a>) -> Result<(), Fault> {
        let pieces = match self {
            Generation::Expression(program) => return program.run(scope).map(|_| ()),
            Generation::Template(pieces) => pieces,
        };
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Expression(program) => {
                    let value = program.run(scope)?.to_json().map_err(Fault::no)?;
                    // Text goes in as it is, within what stands around it; anything else as JSON, which is YAML.
                    match value.as_str() {
                        Some(value) => text.push_str(value),
                        None => text.push_str(&value.to_string()),
                    }
                }
            }
        }
        let objects =
            yaml::values(&text).map_err(|fault| Fault::no(format!("the template is not YAML: {fault}")))?;
        outside.generate("", objects)
    }
}

/// What mutations make of an object; of a controller, what they make of its template.
fn mutate<'a>(
    mutations: &'a [Mutation],
    object: &Value,
    scope: &Scope<'_, 'a>,
    frame: &Frame<'a>,
    as_pod: bool,
) -> Result<Value, Fault> {
    let mut current = object.clone();
    let pointer = match (as_pod, object["kind"].as_str()) {
        (false, _) => "",
        (true, Some("CronJob")) => "/spec/jobTemplate/spec/template",
        (true, _) => "/spec/template",
    };
    for (index, mutation) in mutations.iter().enumerate() {
        let target = match pointer {
            "" => current.clone(),
            pointer => {
                // The keys of the pod that a template has not: its API version, by which lists are merged.
                let mut pod = current.pointer(pointer).cloned().unwrap_or(Value::Null);
                pod["apiVersion"] = Value::from("v1");
                pod
            }
        };
        // What came before is what the next sees.
        let seen = frame.arena.alloc(target.clone());
        let mut roots: Vec<_> = scope.roots.to_vec();
        if index > 0
            && let Some((_, value)) = roots.iter_mut().find(|(name, _)| *name == "object")
        {
            *value = Val::Json(seen);
        }
        let scope = Scope { roots: &roots, variables: scope.variables, host: scope.host, world: scope.world };
        let changed = mutation.apply(target, &scope)?;
        if pointer.is_empty() {
            current = changed;
            continue;
        }
        for key in ["metadata", "spec"] {
            if let (Some(place), Some(value)) = (current.pointer_mut(pointer), changed.get(key)) {
                place[key] = value.clone();
            }
        }
    }
    Ok(current)
}

impl Mutation {
    fn apply<'a>(&'a self, mut target: Value, scope: &Scope<'_, 'a>) -> Result<Value, Fault> {
        match self {
            Mutation::Apply(program) => {
                let patch = program.run(scope)?.to_json().map_err(Fault::no)?;
                if !patch.is_object() {
                    return Err(Fault::no("an apply configuration is an Object{..}"));
                }
                scope.world.meter.spend(patch.to_string().len() / 16)?;
                Ok(merge::merge(&target, &patch, merge::Order::Append))
            }
            Mutation::Patch(program) => {
                let value = program.run(scope)?;
                let items =
                    value.items().ok_or_else(|| Fault::no("a JSON patch is a list of JSONPatch{..}"))?;
                let list =
                    items.iter().map(Val::to_json).collect::<Result<Vec<_>, _>>().map_err(Fault::no)?;
                let operations = json_patch::parse(&Value::Array(list)).map_err(Fault::no)?;
                json_patch::apply(&mut target, &operations).map_err(Fault::no)?;
                Ok(target)
            }
        }
    }
}

impl Existing {
    fn targets<'a>(
        &'a self,
        scope: &Scope<'_, 'a>,
        outside: &Outside<'_, 'a>,
    ) -> Result<Vec<&'a Value>, Fault> {
        let listed = |value: &'a Value| match value
            .get("items")
            .and_then(Value::as_array)
            .or_else(|| value.as_array())
        {
            Some(items) => items.iter().collect(),
            None if value.is_null() => Vec::new(),
            None => vec![value],
        };
        match self {
            Existing::Found(program) => {
                let value = program.run(scope)?.to_json().map_err(Fault::no)?;
                Ok(listed(outside.keep(value)))
            }
            Existing::Matching(constraints) => {
                let mut targets = Vec::new();
                for (api_version, resource) in constraints.resources() {
                    let question = Lookup::Objects {
                        api_version,
                        resource: resource.to_owned(),
                        namespace: String::new(),
                        selector: Value::Null,
                    };
                    targets.extend(listed(outside.ask(&question)?));
                }
                let suits = |object: &&Value| {
                    let request = crate::Request::of_object((*object).clone(), crate::Operation::Update);
                    constraints.matches(&request, true)
                };
                targets.retain(suits);
                Ok(targets)
            }
        }
    }

    fn mutate<'a>(
        &'a self,
        mutations: &'a [Mutation],
        scope: &Scope<'_, 'a>,
        frame: &Frame<'a>,
        outside: &Outside<'_, 'a>,
    ) -> Result<Done, Fault> {
        let mut effects = Effects::default();
        for target in self.targets(scope, outside)? {
            let mut of_target = roots(frame.request, Val::Json(target), Val::Null);
            let others = scope
                .roots
                .iter()
                .filter(|(name, _)| !matches!(*name, "object" | "oldObject" | "request" | "namespaceObject"));
            of_target.extend(others.cloned());
            let scope =
                Scope { roots: &of_target, variables: scope.variables, host: scope.host, world: scope.world };
            let changed = mutate(mutations, target, &scope, frame, false)?;
            if changed != *target {
                effects.targets.push(changed);
            }
        }
        let status = if effects.targets.is_empty() { Status::Skip } else { Status::Pass };
        Ok(Done { effects: Some(effects), ..Done::said(status, "success") })
    }
}
