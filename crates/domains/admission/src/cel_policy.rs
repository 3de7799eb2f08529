//! Policies in CEL: those of `policies.kyverno.io`, and the API server's own ValidatingAdmissionPolicy and MutatingAdmissionPolicy.

mod constraints;
mod exception;
mod task;

pub use constraints::Binding;
pub(crate) use exception::CelException;

use crate::cel::{Fault, Outside, Scope, Val, Variables};
use crate::cel_rule::{Named, conditions, roots, variables};
use crate::context::{Frame, pod_spec};
use crate::explain::{Candidate, Explanation, explain};
use crate::lookup::Lookup;
use crate::outcome::{Action, Effects, Outcome, RuleKind, RuleOutcome, Status};
use crate::policy::{Metadata, Mode, Surroundings};
use crate::refusal::{At, Read};
use crate::request::{Kind, Operation, Request};
use crate::settings::{Interest, Settings, Subject};
use crate::upkeep::{Removal, Upkeep, names_who_asks, reviews};
use constraints::Constraints;
use exception::Excepted;
use keyward_expressions::World;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use task::{Done, Task};
use typed_arena::Arena;

/// A compiled policy in CEL.
#[derive(Debug)]
pub(crate) struct CelPolicy {
    name: Arc<str>,
    /// The API server's own kind.
    native: bool,
    constraints: Option<Constraints>,
    conditions: Vec<Named>,
    variables: Vec<Named>,
    mode: Mode,
    action: Action,
    /// Errors do not count.
    ignore: bool,
    /// Kinds whose pod templates are looked at as pods, lower-case plurals.
    controllers: Vec<String>,
    /// The kind of what bindings pass in as `params`.
    param_kind: Option<(String, String)>,
    pub(crate) settings: Settings,
    /// How what it makes is kept: of a policy of any other task without meaning.
    upkeep: Upkeep,
    removal: Option<Removal>,
    task: Task,
}

const SPEC: [&str; 29] = [
    "matchConstraints",
    "matchConditions",
    "variables",
    "validations",
    "auditAnnotations",
    "validationActions",
    "failurePolicy",
    "evaluation",
    "autogen",
    "webhookConfiguration",
    "paramKind",
    "mutations",
    "reinvocationPolicy",
    "targetMatchConstraints",
    "generate",
    "conditions",
    "schedule",
    "deletionPropagationPolicy",
    "matchImageReferences",
    "credentials",
    "validationConfigurations",
    "images",
    "attestors",
    "attestations",
    "match",
    "exclude",
    "context",
    "admission",
    "exceptions",
];

const CONTROLLERS: [&str; 6] =
    ["daemonsets", "deployments", "jobs", "statefulsets", "replicasets", "cronjobs"];

impl CelPolicy {
    pub(crate) fn compile(at: &At<'_>, metadata: &Metadata) -> Read<CelPolicy> {
        let spec = at.need("spec")?;
        spec.only(&SPEC)?;
        let native = metadata.kind.ends_with("AdmissionPolicy");
        let (variables, names) = variables(&spec)?;
        let constraints = spec.get("matchConstraints").map(|at| Constraints::compile(&at)).transpose()?;
        let mode = match spec.value["evaluation"]["mode"].as_str() {
            None | Some("" | "Kubernetes") => Mode::Kubernetes,
            Some("JSON") => Mode::Json,
            Some("HTTP") => Mode::Http,
            Some("Envoy") => Mode::Envoy,
            Some(other) => {
                let hint = crate::nearest::hint(other, ["Kubernetes", "JSON", "HTTP", "Envoy"]);
                return spec.need("evaluation")?.refuse(format_args!("there is no mode {other}{hint}"));
            }
        };
        let param_kind = match spec.get("paramKind") {
            Some(kind) => {
                Some((kind.need("apiVersion")?.str()?.to_owned(), kind.need("kind")?.str()?.to_owned()))
            }
            None => None,
        };
        Ok(CelPolicy {
            name: metadata.name.as_str().into(),
            native,
            conditions: conditions(&spec, "matchConditions", &names)?,
            mode,
            action: action(&spec)?,
            ignore: spec.text("failurePolicy")? == "Ignore",
            controllers: controllers(&spec, constraints.as_ref(), native)?,
            param_kind,
            settings: Settings::compile(&spec)?,
            upkeep: upkeep(&spec, metadata, constraints.as_ref()),
            removal: spec.get("schedule").map(|_| Removal::compile(&spec)).transpose()?,
            task: Task::compile(&spec, metadata, &names)?,
            constraints,
            variables,
        })
    }

    pub(crate) fn kind(&self) -> RuleKind {
        self.task.kind()
    }

    pub(crate) fn upkeep(&self) -> Vec<Upkeep> {
        vec![self.upkeep.clone()]
    }

    pub(crate) fn removal(&self) -> Option<&Removal> {
        self.removal.as_ref()
    }

    pub(crate) fn interests(&self) -> Vec<Interest> {
        let Some(constraints) = &self.constraints else { return Vec::new() };
        let mut interests = constraints.interests();
        let own: Vec<Operation> = interests.iter().flat_map(|one| one.operations.clone()).collect();
        interests.extend(self.controllers.iter().map(|resource| Interest {
            group: if matches!(resource.as_str(), "jobs" | "cronjobs") { "batch" } else { "apps" }.to_owned(),
            version: "*".to_owned(),
            subject: Subject::Resource(resource.clone()),
            subresource: String::new(),
            operations: own.clone(),
        }));
        interests
    }

    /// The API server's own kind, which it evaluates itself.
    pub(crate) fn is_native(&self) -> bool {
        self.native
    }

    pub(crate) fn action(&self) -> Action {
        self.action
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn decide(
        &self,
        metadata: &Metadata,
        request: &Request,
        around: &Surroundings<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if !metadata.namespace.is_empty() && metadata.namespace != request.namespace_name() {
            return outcome;
        }
        let Some(as_pod) = self.applies(request) else { return outcome };
        let bindings: Vec<&Binding> =
            around.bindings.iter().filter(|one| self.native && one.policy == metadata.name).collect();
        if bindings.is_empty() {
            self.within(metadata, request, around, as_pod, None, &mut outcome);
        }
        for binding in bindings.into_iter().filter(|binding| binding.matches(request)) {
            self.within(metadata, request, around, as_pod, Some(binding), &mut outcome);
        }
        outcome
    }

    pub(crate) fn explain(
        &self,
        metadata: &Metadata,
        request: &Request,
        outcome: &Outcome,
    ) -> Vec<Explanation> {
        let elsewhere = !metadata.namespace.is_empty() && metadata.namespace != request.namespace_name();
        let mismatch = match (elsewhere, self.applies(request)) {
            (true, _) => Some(format!("it is for the namespace {} alone", metadata.namespace)),
            (false, None) => Some("not matched: matchConstraints do not fit".to_owned()),
            (false, Some(_)) => None,
        };
        explain(vec![Candidate { name: self.name.clone(), mismatch, conditions: Vec::new() }], outcome)
    }

    /// Whether it is for a request, and whether by the template of a pod.
    fn applies(&self, request: &Request) -> Option<bool> {
        let payload = self.mode != Mode::Kubernetes;
        if payload || request.payload {
            let deletion = self.kind() == RuleKind::Deletion;
            return (payload || deletion && self.constraints.is_none()).then_some(false);
        }
        let Some(constraints) = &self.constraints else { return Some(false) };
        let any_operation = self.kind() == RuleKind::Deletion;
        if constraints.matches(request, any_operation) {
            return Some(false);
        }
        let controller = self.controllers.contains(&request.resource) && request.subresource.is_empty();
        if !controller || pod_spec(request.object()).is_none() {
            return None;
        }
        constraints.allows_operation(request.operation).then_some(true)
    }

    fn within(
        &self,
        metadata: &Metadata,
        request: &Request,
        around: &Surroundings<'_>,
        as_pod: bool,
        binding: Option<&Binding>,
        outcome: &mut Outcome,
    ) {
        let arena = Arena::with_capacity(1);
        let needs = RefCell::new(Vec::new());
        let meter = around.leave.meter(outcome);
        let world = World { now: around.now, seed: Cell::new(around.seed), meter };
        let patched = outcome.patched.take().map(|object| request.with_object(object));
        let frame = Frame::new(patched.as_ref().unwrap_or(request), &arena, around.snapshot, &world, &needs);
        let outside = Outside::new(&frame);
        let told_as = match self.kind() {
            RuleKind::ExistingMutation => RuleKind::Mutation,
            kind => kind,
        };
        let said = |status, why: String| RuleOutcome::new(&self.name, told_as, status, why);
        let done = match self.evaluate(metadata, &frame, &outside, around, as_pod, binding) {
            Ok(done) => done,
            Err(why) if self.ignore && self.native => Done::said(Status::Skip, format!("ignored: {why}")),
            // The API server refuses what it cannot evaluate.
            Err(Fault::No(why)) if self.native => Done::said(Status::Fail, why.to_string()),
            Err(why) => Done::said(Status::Error, why.to_string()),
        };
        outcome.count(around.leave, &world.meter);
        outcome.lacks.extend(needs.borrow_mut().drain(..));
        if let Some((status, why)) = done.said {
            let status = match (status, binding.map(|binding| binding.action)) {
                (Status::Fail, Some(Action::Warn)) => Status::Warn,
                (status, _) => status,
            };
            outcome.rules.push(match done.effects {
                Some(effects) => said(status, why).with(effects),
                None => said(status, why),
            });
        }
        drop(outside);
        drop(frame);
        outcome.patched = done.object.or_else(|| patched.map(Request::into_object));
    }

    fn evaluate<'a>(
        &'a self,
        metadata: &Metadata,
        frame: &Frame<'a>,
        outside: &Outside<'_, 'a>,
        around: &'a Surroundings<'_>,
        as_pod: bool,
        binding: Option<&Binding>,
    ) -> Result<Done, Fault> {
        let request = frame.request;
        let json = |value: &'a Value| match value {
            Value::Null => Val::Null,
            value if as_pod => template(value),
            value => Val::Json(value).simple(),
        };
        // What deletes looks at what is there, whatever is done with it.
        let object = if self.kind() == RuleKind::Deletion { request.object() } else { request.new_object() };
        let mut roots = roots(request, json(object), json(request.old_object()));
        let of_images = self.task.images();
        if let Some(rules) = of_images {
            roots.extend(rules.roots());
        } else {
            roots.push(("images", Val::Json(frame.arena.alloc(images(request.object())))));
        }
        if let (Some((api_version, kind)), Some(binding)) = (&self.param_kind, binding) {
            match self.params(api_version, kind, binding, request, outside) {
                Ok(value) => roots.push(("params", value)),
                Err(Fault::No(_)) if binding.allow_without_params => return Ok(Done::default()),
                Err(why) => return Err(why),
            }
        }
        let mut excepted = Excepted::default();
        for exception in
            around.exceptions.iter().filter_map(|exception| Some((exception.name(), exception.cel()?)))
        {
            let nothing = Variables::new(&[]);
            let scope = Scope { roots: &roots, variables: &nothing, host: outside, world: frame.world };
            exception.1.apply(exception.0, metadata, &scope, frame.world.now, &mut excepted);
        }
        if !excepted.whole.is_empty() {
            let why = format!("rule is skipped due to policy exception {}", excepted.whole.join(", "));
            let effects = Effects { exceptions: excepted.whole, ..Effects::default() };
            return Ok(Done { said: Some((Status::Skip, why)), effects: Some(effects), object: None });
        }
        roots.push((
            "exceptions",
            Val::Json(frame.arena.alloc(json!({
                "allowedImages": excepted.images, "allowedValues": excepted.values,
            }))),
        ));
        let variables = Variables::new(&self.variables);
        let scope = Scope { roots: &roots, variables: &variables, host: outside, world: frame.world };
        for (name, condition) in &self.conditions {
            if !condition.holds(&scope)? {
                return Ok(Done::said(Status::Skip, format!("match condition {name} is not met")));
            }
        }
        let Some(rules) = of_images else { return self.task.carry_out(&scope, frame, outside, as_pod) };
        let meant = rules.images(request.object(), &scope, outside)?;
        if meant.as_object().into_iter().flatten().all(|(_, list)| list.as_array().is_none_or(Vec::is_empty))
        {
            return Ok(Done::said(Status::Skip, "no image is meant by the policy"));
        }
        let mut roots = roots.clone();
        roots.push(("images", Val::Json(frame.arena.alloc(meant))));
        let scope = Scope { roots: &roots, variables: &variables, host: outside, world: frame.world };
        let ready = rules.ready(&scope, request)?;
        outside.images.get_or_init(|| ready);
        self.task.carry_out(&scope, frame, outside, as_pod)
    }

    fn params<'a>(
        &self,
        api_version: &str,
        kind: &str,
        binding: &Binding,
        request: &Request,
        outside: &Outside<'_, 'a>,
    ) -> Result<Val<'a>, Fault> {
        let namespace = if binding.param_namespace.is_empty() {
            request.namespace_name()
        } else {
            &binding.param_namespace
        };
        let of = Kind::new(api_version, kind);
        outside
            .ask(&Lookup::Object {
                api_version: api_version.to_owned(),
                resource: crate::plural::of(&of),
                namespace: namespace.to_owned(),
                name: binding.param_name.clone(),
            })
            .map(Val::Json)
    }
}

fn upkeep(spec: &At<'_>, metadata: &Metadata, constraints: Option<&Constraints>) -> Upkeep {
    let acts = ["Generating", "Mutating"].iter().any(|part| metadata.kind.contains(part));
    let by_review = acts && names_who_asks(&spec.value.to_string());
    let interests = constraints.filter(|_| acts).map(Constraints::named_interests).unwrap_or_default();
    let evaluation = &spec.value["evaluation"];
    let on = |part: &str| evaluation[part]["enabled"] == Value::Bool(true);
    Upkeep {
        rule: metadata.name.as_str().into(),
        synchronize: on("synchronize"),
        existing: on("generateExisting") || evaluation["mutateExistingOnPolicyUpdate"]["enabled"] == true,
        orphans: on("orphanDownstreamOnPolicyDelete"),
        server_side_apply: false,
        by_review,
        reviews: reviews(by_review, interests),
    }
}

/// A controller as if it were the pod that it makes.
fn template(object: &Value) -> Val<'_> {
    let inner = match object["kind"].as_str() {
        Some("CronJob") => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => &object["spec"]["template"],
    };
    let entries = object.as_object().into_iter().flatten().filter_map(|(key, value)| match key.as_str() {
        "spec" | "metadata" => inner.get(key).map(|value| (Val::Str(key), Val::Json(value))),
        _ => Some((Val::Str(key), Val::Json(value).simple())),
    });
    Val::Map(std::rc::Rc::new(entries.collect()))
}

/// The images of a pod's containers, by kind of container.
fn images(object: &Value) -> Value {
    let mut images = json!({"containers": [], "initContainers": [], "ephemeralContainers": []});
    let Some((spec, _)) = pod_spec(object) else { return images };
    for kind in ["containers", "initContainers", "ephemeralContainers"] {
        let list = spec[kind].as_array().into_iter().flatten().map(|container| container["image"].clone());
        images[kind] = list.filter(Value::is_string).collect();
    }
    images
}

fn action(spec: &At<'_>) -> Read<Action> {
    let mut action = None;
    for name in spec.texts("validationActions")? {
        let next = match name {
            "Deny" | "Enforce" => Action::Enforce,
            "Audit" => Action::Audit,
            "Warn" => Action::Warn,
            other => {
                let hint = crate::nearest::hint(other, ["Deny", "Audit", "Warn"]);
                return spec
                    .need("validationActions")?
                    .refuse(format_args!("there is no action {other}{hint}"));
            }
        };
        action = match (action, next) {
            (Some(Action::Enforce), _) => Some(Action::Enforce),
            _ => Some(next),
        };
    }
    Ok(action.unwrap_or(Action::Enforce))
}

/// Which controllers a policy for pods is for, too.
fn controllers(spec: &At<'_>, constraints: Option<&Constraints>, native: bool) -> Read<Vec<String>> {
    if native || !constraints.is_some_and(Constraints::is_for_pods) {
        return Ok(Vec::new());
    }
    let asked = spec.get("autogen");
    let asked = asked.as_ref().and_then(|autogen| autogen.get("podControllers"));
    Ok(match asked {
        Some(asked) => asked.texts("controllers")?.into_iter().map(str::to_lowercase).collect(),
        None => CONTROLLERS.iter().map(|kind| (*kind).to_owned()).collect(),
    })
}
