//! Which requests a policy is for, as admission webhooks say it.
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-rules>

use crate::matching::Selector;
use crate::outcome::Action;
use crate::refusal::{At, Read};
use crate::request::{Operation, Request};
use crate::settings::{Interest, Subject};
use serde_json::Value;

#[derive(Debug, Default)]
pub(crate) struct Constraints {
    rules: Vec<Rule>,
    exclude: Vec<Rule>,
    namespaces: Option<Selector>,
    objects: Option<Selector>,
}

#[derive(Debug)]
struct Rule {
    groups: Vec<String>,
    versions: Vec<String>,
    /// With subresources, such as `pods/exec`.
    resources: Vec<String>,
    operations: Vec<String>,
    names: Vec<String>,
    scope: String,
}

fn strings(at: &At<'_>, key: &str) -> Read<Vec<String>> {
    Ok(at.texts(key)?.into_iter().map(str::to_owned).collect())
}

impl Rule {
    fn compile(at: &At<'_>) -> Read<Rule> {
        at.only(&["apiGroups", "apiVersions", "resources", "operations", "resourceNames", "scope"])?;
        let operations = strings(at, "operations")?;
        if let Some(wrong) = operations.iter().find(|name| *name != "*" && Operation::parse(name).is_none()) {
            let hint = crate::nearest::hint(wrong, ["CREATE", "UPDATE", "DELETE", "CONNECT", "*"]);
            return at.need("operations")?.refuse(format_args!("there is no operation {wrong}{hint}"));
        }
        Ok(Rule {
            groups: strings(at, "apiGroups")?,
            versions: strings(at, "apiVersions")?,
            resources: strings(at, "resources")?,
            operations,
            names: strings(at, "resourceNames")?,
            scope: at.text("scope")?.to_owned(),
        })
    }

    fn operation(&self, operation: Operation) -> bool {
        self.operations.is_empty()
            || self.operations.iter().any(|name| name == "*" || name == operation.name())
    }

    fn matches(&self, request: &Request, any_operation: bool) -> bool {
        let among = |list: &[String], value: &str| {
            list.is_empty() || list.iter().any(|one| one == "*" || one == value)
        };
        let resource = |pattern: &String| {
            let (resource, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
            (resource == "*" || resource.eq_ignore_ascii_case(&request.resource))
                && (sub == "*" || sub == request.subresource)
        };
        let scope = match self.scope.as_str() {
            "Cluster" => request.namespace_name().is_empty() || request.kind.kind == "Namespace",
            "Namespaced" => !request.namespace_name().is_empty() && request.kind.kind != "Namespace",
            _ => true,
        };
        among(&self.groups, &request.kind.group)
            && among(&self.versions, &request.kind.version)
            && (self.resources.is_empty() || self.resources.iter().any(resource))
            && (any_operation || self.operation(request.operation))
            && (self.names.is_empty() || self.names.iter().any(|name| name == request.name()))
            && scope
    }
}

impl Constraints {
    pub(crate) fn compile(at: &At<'_>) -> Read<Constraints> {
        at.only(&[
            "resourceRules",
            "excludeResourceRules",
            "namespaceSelector",
            "objectSelector",
            "matchPolicy",
            "expression",
        ])?;
        Ok(Constraints {
            rules: at.each_of("resourceRules", Rule::compile)?,
            exclude: at.each_of("excludeResourceRules", Rule::compile)?,
            namespaces: at.get("namespaceSelector").map(|at| Selector::compile(&at)).transpose()?,
            objects: at.get("objectSelector").map(|at| Selector::compile(&at)).transpose()?,
        })
    }

    pub(crate) fn matches(&self, request: &Request, any_operation: bool) -> bool {
        let rules = &self.rules;
        (rules.is_empty() || rules.iter().any(|rule| rule.matches(request, any_operation)))
            && !self.exclude.iter().any(|rule| rule.matches(request, any_operation))
            && self.selectors(request)
    }

    fn selectors(&self, request: &Request) -> bool {
        let is_namespace = request.kind.kind == "Namespace" && request.kind.group.is_empty();
        let namespace = match (&request.namespace, is_namespace) {
            (_, true) => &request.object()["metadata"]["labels"],
            (Some(namespace), false) => &namespace["metadata"]["labels"],
            (None, false) => &Value::Null,
        };
        let cluster = request.namespace_name().is_empty();
        let object = |object: &Value| {
            self.objects.as_ref().is_none_or(|one| one.matches(&object["metadata"]["labels"]))
        };
        let old = request.old_object();
        (cluster || self.namespaces.as_ref().is_none_or(|selector| selector.matches(namespace)))
            && (object(request.object()) || (!old.is_null() && object(old)))
    }

    /// The requests that it may match.
    pub(crate) fn interests(&self) -> Vec<Interest> {
        let every = [Operation::Create, Operation::Update, Operation::Delete, Operation::Connect];
        let mut interests = Vec::new();
        for rule in &self.rules {
            let operations: Vec<Operation> = every.into_iter().filter(|one| rule.operation(*one)).collect();
            let any = || vec!["*".to_owned()];
            let or_any = |list: &[String]| if list.is_empty() { any() } else { list.to_vec() };
            for group in or_any(&rule.groups) {
                for version in or_any(&rule.versions) {
                    for resource in or_any(&rule.resources) {
                        let (resource, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
                        interests.push(Interest {
                            group: group.clone(),
                            version: version.clone(),
                            subject: Subject::Resource(resource.to_owned()),
                            subresource: subresource.to_owned(),
                            operations: operations.clone(),
                        });
                    }
                }
            }
        }
        interests
    }

    /// The same, where any operation is one that makes or changes: deletions are meant where they are named.
    pub(crate) fn named_interests(&self) -> Vec<Interest> {
        let names = |operation: &Operation| {
            self.rules.iter().any(|rule| rule.operations.iter().any(|name| name == operation.name()))
        };
        let mut interests = self.interests();
        for interest in &mut interests {
            interest
                .operations
                .retain(|one| matches!(one, Operation::Create | Operation::Update) || names(one));
        }
        interests
    }

    /// Whether it names pods, and nothing but what can be carried over to what makes pods.
    pub(crate) fn is_for_pods(&self) -> bool {
        let [rule] = &self.rules[..] else { return false };
        self.namespaces.is_none()
            && self.objects.is_none()
            && self.exclude.is_empty()
            && rule.names.is_empty()
            && rule.resources == ["pods"]
            && rule.groups == [""]
            && rule.versions == ["v1"]
    }

    pub(crate) fn allows_operation(&self, operation: Operation) -> bool {
        self.rules.iter().any(|rule| rule.operation(operation))
    }

    /// The API versions and plural names that it lists without wildcards.
    pub(crate) fn resources(&self) -> impl Iterator<Item = (String, &str)> {
        self.rules.iter().flat_map(|rule| {
            let versions = rule.groups.iter().flat_map(|group| {
                rule.versions.iter().map(move |version| match group.as_str() {
                    "" => version.clone(),
                    group => format!("{group}/{version}"),
                })
            });
            versions.flat_map(|version| {
                rule.resources.iter().map(move |resource| (version.clone(), resource.as_str()))
            })
        })
    }
}

/// Where a ValidatingAdmissionPolicy or MutatingAdmissionPolicy is for, what it is given and what it does.
#[derive(Debug)]
pub struct Binding {
    pub(super) policy: String,
    constraints: Option<Constraints>,
    pub(super) action: Action,
    pub(super) param_name: String,
    pub(super) param_namespace: String,
    pub(super) allow_without_params: bool,
}

impl Binding {
    pub(crate) fn compile(at: &At<'_>) -> Read<Binding> {
        let spec = at.need("spec")?;
        spec.only(&["policyName", "paramRef", "matchResources", "validationActions"])?;
        let reference = spec.get("paramRef");
        let param =
            |key: &str| reference.as_ref().map_or(Ok(String::new()), |at| at.text(key).map(str::to_owned));
        Ok(Binding {
            policy: spec.need("policyName")?.str()?.to_owned(),
            constraints: spec.get("matchResources").map(|at| Constraints::compile(&at)).transpose()?,
            action: super::action(&spec)?,
            param_name: param("name")?,
            param_namespace: param("namespace")?,
            allow_without_params: param("parameterNotFoundAction")? == "Allow",
        })
    }

    pub(super) fn matches(&self, request: &Request) -> bool {
        self.constraints.as_ref().is_none_or(|constraints| constraints.matches(request, false))
    }
}
