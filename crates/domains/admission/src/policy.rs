//! Policies of every kind, compiled once.

use crate::cel_policy::CelPolicy;
use crate::cleanup::Cleanup;
use crate::cluster_policy::ClusterPolicy;
use crate::exception::Exception;
use crate::explain::Explanation;
use crate::lookup::Snapshot;
use crate::nearest;
use crate::outcome::{Action, Leave, Outcome, RuleKind};
use crate::refusal::{At, Read, Refusal};
use crate::request::Request;
use crate::settings::{Interest, Settings};
use crate::upkeep::{Removal, Upkeep};
use crate::yaml::Lines;
use serde_json::{Map, Value};

/// Who a policy is.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// Its kind, such as ClusterPolicy.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace; empty where it is for the whole cluster.
    pub namespace: String,
    /// Its annotations, among them what reports show of it.
    pub annotations: Map<String, Value>,
    /// Its labels, among them the tier it belongs to.
    pub labels: Map<String, Value>,
}

impl Metadata {
    fn read(at: &At<'_>) -> Read<Metadata> {
        let metadata = at.need("metadata")?;
        let name = metadata.need("name")?.str()?;
        let map =
            |key: &str| Ok(metadata.get(key).map(|at| at.map().cloned()).transpose()?.unwrap_or_default());
        Ok(Metadata {
            kind: at.text("kind")?.to_owned(),
            name: name.to_owned(),
            namespace: metadata.text("namespace")?.to_owned(),
            annotations: map("annotations")?,
            labels: map("labels")?,
        })
    }

    /// With the namespace in front, where there is one.
    pub fn full_name(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }

    /// An annotation; empty where there is none.
    pub fn annotation(&self, name: &str) -> &str {
        self.annotations.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A label; empty where there is none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// A compiled policy.
#[derive(Debug)]
pub struct Policy {
    /// Who it is.
    pub metadata: Metadata,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Cleanup(Box<Cleanup>),
    Rules(Box<ClusterPolicy>),
    Cel(Box<CelPolicy>),
}

/// What an object of a file is to this engine.
#[derive(Debug)]
pub enum Loaded {
    /// A policy.
    Policy(Box<Policy>),
    /// What a policy is not for.
    Exception(Box<Exception>),
    /// What says where a ValidatingAdmissionPolicy or MutatingAdmissionPolicy is for.
    Binding(Box<crate::cel_policy::Binding>),
    /// Something else.
    Other,
}

/// What is around a request: the world outside, what is excepted, the time and randomness.
#[derive(Clone, Copy)]
pub struct Surroundings<'s> {
    /// What is known of the world outside.
    pub snapshot: &'s dyn Snapshot,
    /// What policies are not for.
    pub exceptions: &'s [Exception],
    /// Of admission policies without rules of their own.
    pub bindings: &'s [crate::cel_policy::Binding],
    /// Nanoseconds since 1970.
    pub now: i128,
    /// Where random numbers begin.
    pub seed: u64,
    /// How much may be computed.
    pub leave: Leave,
}

/// The kinds of policies, with the groups they are in.
const KINDS: [(&str, &str); 22] = [
    ("kyverno.io", "ClusterPolicy"),
    ("kyverno.io", "Policy"),
    ("kyverno.io", "PolicyException"),
    ("kyverno.io", "CleanupPolicy"),
    ("kyverno.io", "ClusterCleanupPolicy"),
    ("policies.kyverno.io", "ValidatingPolicy"),
    ("policies.kyverno.io", "NamespacedValidatingPolicy"),
    ("policies.kyverno.io", "MutatingPolicy"),
    ("policies.kyverno.io", "NamespacedMutatingPolicy"),
    ("policies.kyverno.io", "GeneratingPolicy"),
    ("policies.kyverno.io", "NamespacedGeneratingPolicy"),
    ("policies.kyverno.io", "DeletingPolicy"),
    ("policies.kyverno.io", "NamespacedDeletingPolicy"),
    ("policies.kyverno.io", "ImageValidatingPolicy"),
    ("policies.kyverno.io", "NamespacedImageValidatingPolicy"),
    ("policies.kyverno.io", "PolicyException"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
    ("kyverno.io", "GlobalContextEntry"),
    ("kyverno.io", "UpdateRequest"),
];

/// Compiles an object, where it is a policy, an exception or a binding.
///
/// # Errors
///
/// Why it cannot mean anything.
pub fn load(value: &Value, lines: Option<&Lines>) -> Result<Loaded, Refusal> {
    compile(&At::new(value)).map_err(|refusal| refusal.lined(lines))
}

fn compile(at: &At<'_>) -> Read<Loaded> {
    let group = at.value["apiVersion"].as_str().unwrap_or_default().split('/').next().unwrap_or_default();
    let kind = at.value["kind"].as_str().unwrap_or_default();
    let ours = KINDS.iter().any(|(known, _)| *known == group);
    if !KINDS.contains(&(group, kind)) {
        if ours && group.ends_with("kyverno.io") {
            let known = KINDS.iter().filter(|(known, _)| *known == group).map(|(_, kind)| *kind);
            return at
                .need("kind")?
                .refuse(format_args!("there is no kind {kind} in {group}{}", nearest::hint(kind, known)));
        }
        return Ok(Loaded::Other);
    }
    let metadata = Metadata::read(at)?;
    let form = match (group, kind) {
        ("kyverno.io", "ClusterPolicy" | "Policy") => {
            Form::Rules(Box::new(ClusterPolicy::compile(at, &metadata)?))
        }
        ("kyverno.io", "CleanupPolicy" | "ClusterCleanupPolicy") => {
            Form::Cleanup(Box::new(Cleanup::compile(at, &metadata)?))
        }
        (_, "PolicyException") => {
            let cel = group == "policies.kyverno.io";
            return Ok(Loaded::Exception(Box::new(Exception::compile(at, &metadata, cel)?)));
        }
        (_, "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding") => {
            return Ok(Loaded::Binding(Box::new(crate::cel_policy::Binding::compile(at)?)));
        }
        (_, "GlobalContextEntry" | "UpdateRequest") => return Ok(Loaded::Other),
        _ => Form::Cel(Box::new(CelPolicy::compile(at, &metadata)?)),
    };
    Ok(Loaded::Policy(Box::new(Policy { metadata, form })))
}

impl Policy {
    /// Whether it does such a thing at all.
    pub fn has(&self, kind: RuleKind) -> bool {
        match &self.form {
            Form::Cleanup(_) => kind == RuleKind::Deletion,
            Form::Rules(policy) => policy.has(kind),
            Form::Cel(policy) => policy.kind() == kind,
        }
    }

    /// What it says about a request, in one of the things that it does.
    pub fn decide(&self, kind: RuleKind, request: &Request, around: &Surroundings<'_>) -> Outcome {
        match &self.form {
            Form::Cleanup(policy) if kind == RuleKind::Deletion => policy.decide(request, around),
            Form::Cleanup(_) => Outcome::default(),
            Form::Rules(policy) => policy.decide(&self.metadata, kind, request, around),
            Form::Cel(policy) if policy.kind() == kind => policy.decide(&self.metadata, request, around),
            Form::Cel(_) => Outcome::default(),
        }
    }

    /// Why it said what it said about a request, in one of the things that it does, rule by rule; also why rules are not for it.
    pub fn explain(
        &self,
        kind: RuleKind,
        request: &Request,
        around: &Surroundings<'_>,
        outcome: &Outcome,
    ) -> Vec<Explanation> {
        match &self.form {
            Form::Rules(policy) => policy.explain(&self.metadata, kind, request, around, outcome),
            Form::Cel(policy) if policy.kind() == kind => policy.explain(&self.metadata, request, outcome),
            Form::Cel(_) | Form::Cleanup(_) => Vec::new(),
        }
    }

    /// What is done where a rule of it fails for an object of a namespace.
    pub fn action(&self, rule: &str, namespace: &str) -> Action {
        match &self.form {
            Form::Cleanup(_) => Action::Audit,
            Form::Rules(policy) => policy.action(rule, namespace),
            Form::Cel(policy) => policy.action(),
        }
    }

    /// How it is to be served.
    pub fn settings(&self) -> Settings {
        match &self.form {
            Form::Cleanup(_) => Settings::default(),
            Form::Rules(policy) => policy.settings.clone(),
            Form::Cel(policy) => policy.settings.clone(),
        }
    }

    /// The requests that it may be for, in one of the things that it does.
    pub fn interests(&self, kind: RuleKind) -> Vec<Interest> {
        match &self.form {
            Form::Cleanup(policy) if kind == RuleKind::Deletion => policy.interests(),
            Form::Cleanup(_) => Vec::new(),
            Form::Rules(policy) => policy.interests(kind),
            Form::Cel(policy) if policy.kind() == kind => policy.interests(),
            Form::Cel(_) => Vec::new(),
        }
    }

    /// How what its rules make, or change elsewhere, is kept.
    pub fn upkeep(&self, kind: RuleKind) -> Vec<Upkeep> {
        match &self.form {
            Form::Cleanup(_) => Vec::new(),
            Form::Rules(policy) => policy.upkeep(kind),
            Form::Cel(policy) if policy.kind() == kind => policy.upkeep(),
            Form::Cel(_) => Vec::new(),
        }
    }

    /// When it removes what it is for.
    pub fn removal(&self) -> Option<&Removal> {
        match &self.form {
            Form::Cleanup(policy) => Some(&policy.removal),
            Form::Rules(_) => None,
            Form::Cel(policy) => policy.removal(),
        }
    }

    /// Whether the API server evaluates it itself.
    pub fn is_native(&self) -> bool {
        matches!(&self.form, Form::Cel(policy) if policy.is_native())
    }

    /// Whether it is written in CEL, and so has no named rules.
    pub fn is_cel(&self) -> bool {
        matches!(self.form, Form::Cel(_))
    }

    /// What a CEL policy is evaluated on.
    pub fn mode(&self) -> Mode {
        match &self.form {
            Form::Rules(_) | Form::Cleanup(_) => Mode::Kubernetes,
            Form::Cel(policy) => policy.mode(),
        }
    }
}

/// What a policy is evaluated on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Admission requests.
    Kubernetes,
    /// Any JSON.
    Json,
    /// Requests of HTTP, from a proxy.
    Http,
    /// Checks of Envoy's external authorization.
    Envoy,
}
