//! Which requests a rule of `kyverno.io` is for: `match` and `exclude`.

use crate::refusal::{At, Read};
use crate::request::{Operation, Request, When};
use crate::settings::{Interest, Subject as Of};
use crate::wildcard::Glob;
use serde_json::{Map, Value};

/// A rule's match and exclude.
#[derive(Debug, Default)]
pub(crate) struct Matching {
    include: Filters,
    exclude: Filters,
}

#[derive(Debug, Default)]
struct Filters {
    any: Vec<Filter>,
    all: Vec<Filter>,
}

/// Conditions that all hold, each of alternatives.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    kinds: Vec<KindSelector>,
    names: Vec<Glob>,
    namespaces: Vec<Glob>,
    annotations: Vec<(Glob, Glob)>,
    selector: Option<Selector>,
    namespace_selector: Option<Selector>,
    operations: Vec<Operation>,
    roles: Vec<Glob>,
    cluster_roles: Vec<Glob>,
    subjects: Vec<Subject>,
}

/// A part of a filter that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Kind,
    Operation,
    Name,
    Namespace,
    Annotations,
    Labels,
    NamespaceLabels,
    User,
}

impl Part {
    fn why(self, request: &Request, object: &Value) -> String {
        let metadata = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
        match self {
            Part::Kind => format!("it is for other kinds than {}", request.kind.kind),
            Part::Operation => format!("it is for other operations than {}", request.operation.name()),
            Part::Name => format!("it is for other names than {}", metadata("name")),
            Part::Namespace => format!("it is for other namespaces than {}", metadata("namespace")),
            Part::Annotations => "the annotations do not fit".to_owned(),
            Part::Labels => "the selector does not fit the labels".to_owned(),
            Part::NamespaceLabels => "the selector does not fit the namespace's labels".to_owned(),
            Part::User => "it is for others who ask".to_owned(),
        }
    }
}

/// `group/version/Kind/subresource`, in parts.
#[derive(Clone, Debug)]
pub(crate) struct KindSelector {
    group: Glob,
    version: Glob,
    kind: Glob,
    subresource: Glob,
}

#[derive(Debug)]
struct Subject {
    kind: SubjectKind,
    name: Glob,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SubjectKind {
    User,
    Group,
}

/// A label selector whose labels may have wildcards.
#[derive(Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<(Glob, Glob)>,
    expressions: Vec<(String, Requirement, Vec<Glob>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Requirement {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl KindSelector {
    pub(crate) fn parse(text: &str) -> KindSelector {
        let version = |text: &str| {
            text == "*"
                || text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let lower = |text: &str| text == "*" || text.starts_with(|c: char| c.is_ascii_lowercase());
        // `Pod.status` is an old way to write `Pod/status`.
        let parts: Vec<&str> = text.split('/').collect();
        let (group, of, kind, sub) = match parts[..] {
            ["*", "*"] => ("*", "*", "*", "*"),
            [kind] => ("*", "*", kind, ""),
            [of, kind] if version(of) => ("*", of, kind, ""),
            [kind, sub] if lower(sub) => ("*", "*", kind, sub),
            [group, kind] => (group, "*", kind, ""),
            [of, kind, sub] if version(of) && lower(sub) && !version(kind) => ("*", of, kind, sub),
            [group, of, kind] => (group, of, kind, ""),
            [group, of, kind, sub, ..] => (group, of, kind, sub),
            [] => ("*", "*", "", ""),
        };
        let (kind, sub) = match kind.split_once('.') {
            Some((kind, dotted)) if sub.is_empty() && lower(dotted) => (kind, dotted),
            _ => (kind, sub),
        };
        let glob = Glob::new;
        KindSelector { group: glob(group), version: glob(of), kind: glob(kind), subresource: glob(sub) }
    }

    pub(crate) fn matches(&self, request: &Request) -> bool {
        let kind = &request.kind;
        self.kind.matches(&kind.kind)
            && self.version.matches(&kind.version)
            && self.group.matches(&kind.group)
            && (self.subresource.matches(&request.subresource)
                || request.subresource == "ephemeralcontainers")
    }
}

impl Selector {
    pub(crate) fn compile(at: &At<'_>) -> Read<Selector> {
        at.only(&["matchLabels", "matchExpressions"])?;
        let mut labels = Vec::new();
        if let Some(map) = at.get("matchLabels") {
            for (key, value) in map.map()? {
                let value = value
                    .as_str()
                    .map_or_else(|| map.refuse(format_args!("the value of {key} is to be a string")), Ok)?;
                labels.push((Glob::new(key), Glob::new(value)));
            }
        }
        let expressions = at.each_of("matchExpressions", |at| {
            at.only(&["key", "operator", "values"])?;
            let operator = at.need("operator")?;
            let requirement = match operator.str()? {
                "In" => Requirement::In,
                "NotIn" => Requirement::NotIn,
                "Exists" => Requirement::Exists,
                "DoesNotExist" => Requirement::DoesNotExist,
                other => {
                    let hint = crate::nearest::hint(other, ["In", "NotIn", "Exists", "DoesNotExist"]);
                    return operator.refuse(format_args!("there is no operator {other}{hint}"));
                }
            };
            let values = at.texts("values")?.into_iter().map(Glob::new).collect();
            Ok((at.need("key")?.str()?.to_owned(), requirement, values))
        })?;
        Ok(Selector { labels, expressions })
    }

    pub(crate) fn matches(&self, labels: &Value) -> bool {
        let empty = Map::new();
        let labels = labels.as_object().unwrap_or(&empty);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let found = |key: &Glob, value: &Glob| match key {
            Glob::Exact(key) => labels.get(&**key).is_some_and(|found| value.matches(&text(found))),
            wild => labels.iter().any(|(key, found)| wild.matches(key) && value.matches(&text(found))),
        };
        self.labels.iter().all(|(key, value)| found(key, value))
            && self.expressions.iter().all(|(key, requirement, values)| {
                let found = labels.get(key);
                let among =
                    || found.is_some_and(|found| values.iter().any(|value| value.matches(&text(found))));
                match requirement {
                    Requirement::In => among(),
                    Requirement::NotIn => !among(),
                    Requirement::Exists => found.is_some(),
                    Requirement::DoesNotExist => found.is_none(),
                }
            })
    }
}

const RESOURCES: [&str; 9] = [
    "kinds",
    "name",
    "names",
    "namespaces",
    "annotations",
    "selector",
    "namespaceSelector",
    "operations",
    "resources",
];

impl Matching {
    /// Whether it depends on who asks.
    pub(crate) fn looks_at_users(&self) -> bool {
        let filters =
            [&self.include, &self.exclude].into_iter().flat_map(|some| some.any.iter().chain(&some.all));
        filters
            .into_iter()
            .any(|one| !(one.roles.is_empty() && one.cluster_roles.is_empty() && one.subjects.is_empty()))
    }
}

impl Filter {
    fn compile(at: &At<'_>) -> Read<Filter> {
        at.only(&["resources", "subjects", "roles", "clusterRoles", "any", "all"])?;
        let mut filter = Filter {
            roles: globs(at, "roles")?,
            cluster_roles: globs(at, "clusterRoles")?,
            subjects: at.each_of("subjects", subject)?,
            ..Filter::default()
        };
        let Some(resources) = at.get("resources") else { return Ok(filter) };
        resources.only(&RESOURCES)?;
        filter.kinds = resources.texts("kinds")?.into_iter().map(KindSelector::parse).collect();
        filter.names = globs(&resources, "names")?;
        let name = resources.text("name")?;
        if !name.is_empty() {
            filter.names.push(Glob::new(name));
        }
        filter.namespaces = globs(&resources, "namespaces")?;
        if let Some(annotations) = resources.get("annotations") {
            for (key, value) in annotations.map()? {
                filter.annotations.push((Glob::new(key), Glob::new(value.as_str().unwrap_or_default())));
            }
        }
        filter.selector = resources.get("selector").map(|at| Selector::compile(&at)).transpose()?;
        filter.namespace_selector =
            resources.get("namespaceSelector").map(|at| Selector::compile(&at)).transpose()?;
        filter.operations = resources.each_of("operations", |at| {
            let name = at.str()?;
            Operation::parse(name).map_or_else(
                || at.refuse(format_args!("{name} is none of CREATE, UPDATE, DELETE and CONNECT")),
                Ok,
            )
        })?;
        Ok(filter)
    }

    fn is_empty(&self) -> bool {
        self.kinds.is_empty()
            && self.names.is_empty()
            && self.namespaces.is_empty()
            && self.annotations.is_empty()
            && self.selector.is_none()
            && self.namespace_selector.is_none()
            && self.operations.is_empty()
            && self.roles.is_empty()
            && self.cluster_roles.is_empty()
            && self.subjects.is_empty()
    }

    fn matches(&self, request: &Request, when: When, include: bool) -> bool {
        self.mismatch(request, when, include).is_none()
    }

    /// What of it does not fit first; nothing where all does.
    fn mismatch(&self, request: &Request, when: When, include: bool) -> Option<Part> {
        // Most filters look at kinds alone, and a request is held against many: the object is looked at as late as can be.
        let metadata = || &request.object_of(when)["metadata"];
        let is_namespace = || request.object_of(when)["kind"] == "Namespace";
        let name = || {
            let name = metadata()["name"].as_str().filter(|name| !name.is_empty());
            name.or_else(|| metadata()["generateName"].as_str()).unwrap_or_default()
        };
        let namespace =
            || metadata()[if is_namespace() { "name" } else { "namespace" }].as_str().unwrap_or_default();
        let annotated = |(key, value): &(Glob, Glob)| {
            metadata()["annotations"].as_object().is_some_and(|map| {
                map.iter().any(|(known, found)| {
                    key.matches(known) && value.matches(found.as_str().unwrap_or_default())
                })
            })
        };
        let selected = |selector: &Selector| {
            let labels =
                request.namespace.as_ref().map_or(&Value::Null, |namespace| &namespace["metadata"]["labels"]);
            is_namespace() || selector.matches(labels)
        };
        if !(self.kinds.is_empty() || self.kinds.iter().any(|kind| kind.matches(request))) {
            Some(Part::Kind)
        } else if !(self.operations.is_empty() || self.operations.contains(&request.operation)) {
            Some(Part::Operation)
        } else if !any(&self.names, name) {
            Some(Part::Name)
        } else if !any(&self.namespaces, namespace) {
            Some(Part::Namespace)
        } else if !self.annotations.iter().all(annotated) {
            Some(Part::Annotations)
        } else if !self.selector.as_ref().is_none_or(|selector| selector.matches(&metadata()["labels"])) {
            Some(Part::Labels)
        } else if !self.namespace_selector.as_ref().is_none_or(selected) {
            Some(Part::NamespaceLabels)
        } else if !self.user_matches(request, include) {
            Some(Part::User)
        } else {
            None
        }
    }

    /// Where nobody is known to ask, inclusion does not look at who does.
    fn user_matches(&self, request: &Request, include: bool) -> bool {
        let anybody = self.roles.is_empty() && self.cluster_roles.is_empty() && self.subjects.is_empty();
        if anybody || (include && !request.known_user) {
            return true;
        }
        let user = &request.review["userInfo"];
        let has = |globs: &[Glob], names: &Value| {
            let mut names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
            globs.is_empty() || names.any(|name| globs.iter().any(|glob| glob.matches(name)))
        };
        let subject = |subject: &Subject| match subject.kind {
            SubjectKind::User => subject.name.matches(user["username"].as_str().unwrap_or_default()),
            SubjectKind::Group => has(std::slice::from_ref(&subject.name), &user["groups"]),
        };
        has(&self.roles, &request.review["roles"])
            && has(&self.cluster_roles, &request.review["clusterRoles"])
            && (self.subjects.is_empty() || self.subjects.iter().any(subject))
    }
}

/// Whether one fits a text, or there are none.
fn any<'t>(globs: &[Glob], text: impl Fn() -> &'t str) -> bool {
    globs.is_empty() || {
        let text = text();
        globs.iter().any(|glob| glob.matches(text))
    }
}

fn globs(at: &At<'_>, key: &str) -> Read<Vec<Glob>> {
    Ok(at.texts(key)?.into_iter().map(Glob::new).collect())
}

fn subject(at: &At<'_>) -> Read<Subject> {
    at.only(&["kind", "name", "namespace", "apiGroup"])?;
    let (kind, name) = (at.need("kind")?, at.need("name")?.str()?);
    Ok(match kind.str()? {
        "User" => Subject { kind: SubjectKind::User, name: Glob::new(name) },
        "Group" => Subject { kind: SubjectKind::Group, name: Glob::new(name) },
        "ServiceAccount" => {
            let user = format!("system:serviceaccount:{}:{name}", at.text("namespace")?);
            Subject { kind: SubjectKind::User, name: Glob::new(&user) }
        }
        other => return kind.refuse(format_args!("{other} is none of User, Group and ServiceAccount")),
    })
}

impl Filters {
    fn compile(at: Option<&At<'_>>) -> Read<Filters> {
        let Some(at) = at else { return Ok(Filters::default()) };
        let mut filters =
            Filters { any: at.each_of("any", Filter::compile)?, all: at.each_of("all", Filter::compile)? };
        let bare = Filter::compile(at)?;
        if !bare.is_empty() {
            filters.any.push(bare);
        }
        Ok(filters)
    }

    fn is_empty(&self) -> bool {
        self.any.is_empty() && self.all.is_empty()
    }

    fn matches(&self, request: &Request, when: When, include: bool) -> bool {
        let mut matched = |filter: &Filter| !filter.is_empty() && filter.matches(request, when, include);
        if self.any.is_empty() { self.all.iter().all(matched) } else { self.any.iter().any(&mut matched) }
    }

    /// Each filter that does not fit, with why.
    fn mismatches(&self, request: &Request, when: When) -> Vec<String> {
        let (of, filters) = if self.any.is_empty() { ("all", &self.all) } else { ("any", &self.any) };
        let why = |(index, filter): (usize, &Filter)| {
            let part = filter.mismatch(request, when, true)?;
            Some(format!("{of}[{index}]: {}", part.why(request, request.object_of(when))))
        };
        filters.iter().enumerate().filter_map(why).collect()
    }
}

impl Matching {
    pub(crate) fn compile(rule: &At<'_>) -> Read<Matching> {
        let matching = rule.need("match")?;
        let include = Filters::compile(Some(&matching))?;
        if include.is_empty() {
            return matching.refuse("match is empty: it names no kinds, and nothing else");
        }
        Ok(Matching { include, exclude: Filters::compile(rule.get("exclude").as_ref())? })
    }

    /// Without a rule, such as the match of an exception.
    pub(crate) fn compile_only(matching: &At<'_>) -> Read<Matching> {
        Ok(Matching { include: Filters::compile(Some(matching))?, exclude: Filters::default() })
    }

    /// The requests that it may match: all of the kinds it names, with the operations it names or else these.
    pub(crate) fn interests(&self, otherwise: &[Operation]) -> Vec<Interest> {
        let mut interests = Vec::new();
        // Of filters that must all hold, one that names no kinds narrows nothing.
        let all = self.include.all.iter().filter(|filter| !filter.kinds.is_empty());
        for filter in self.include.any.iter().chain(all) {
            let operations = if filter.operations.is_empty() { otherwise } else { &filter.operations };
            let anything = [KindSelector::parse("*")];
            let kinds = if filter.kinds.is_empty() { &anything[..] } else { &filter.kinds };
            interests.extend(kinds.iter().map(|kind| Interest {
                group: kind.group.pattern(),
                version: kind.version.pattern(),
                subject: Of::Kind(kind.kind.pattern()),
                subresource: kind.subresource.pattern(),
                operations: operations.to_vec(),
            }));
        }
        interests
    }

    /// Whether a request is matched by its object, or by what that was before.
    pub(crate) fn matches(&self, request: &Request) -> bool {
        [When::After, When::Before]
            .into_iter()
            .any(|when| request.has_object(when) && self.matches_object(request, when))
    }

    /// Why a request is not matched; nothing where it is.
    pub(crate) fn mismatch(&self, request: &Request) -> Option<String> {
        if self.matches(request) {
            return None;
        }
        let when = if request.has_object(When::After) { When::After } else { When::Before };
        if self.include.matches(request, when, true) {
            return Some("it is excluded".to_owned());
        }
        Some(format!("not matched: {}", self.include.mismatches(request, when).join("; ")))
    }

    fn matches_object(&self, request: &Request, when: When) -> bool {
        self.include.matches(request, when, true)
            && (self.exclude.is_empty() || !self.exclude.matches(request, when, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds() {
        let pod = Request::of_object(
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}),
            Operation::Create,
        );
        let deployment =
            Request::of_object(json!({"apiVersion": "apps/v1", "kind": "Deployment"}), Operation::Create);
        for (text, of_pod, of_deployment) in [
            ("Pod", true, false),
            ("v1/Pod", true, false),
            ("apps/v1/Deployment", false, true),
            ("*/Deployment", false, true),
            ("apps/Deployment", false, true),
            ("*", true, true),
            ("*/*", true, true),
            ("Pod/exec", false, false),
            ("P*", true, false),
        ] {
            assert_eq!(KindSelector::parse(text).matches(&pod), of_pod, "{text}");
            assert_eq!(KindSelector::parse(text).matches(&deployment), of_deployment, "{text}");
        }
        let exec = pod.with_subresource(crate::request::Kind::new("v1", "Pod"), "exec");
        assert!(KindSelector::parse("Pod/exec").matches(&exec));
        assert!(!KindSelector::parse("Pod").matches(&exec));
        assert!(KindSelector::parse("Pod/*").matches(&exec));
    }

    #[test]
    fn selectors() {
        let selector = json!({"matchLabels": {"app*": "?*"}, "matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]});
        let selector = Selector::compile(&At::new(&selector)).unwrap();
        assert!(selector.matches(&json!({"app.io/name": "x"})));
        assert!(!selector.matches(&json!({"app.io/name": "x", "a": "b"})));
    }
}
