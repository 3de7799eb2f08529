//! Test suites in the form of `kyverno-test.yaml`: which policies are held against which resources, with what around them.
//! <https://kyverno.io/docs/kyverno-cli/reference/kyverno_test/>

use crate::judge::{self, Expected, Row};
use crate::load::{self, Policies};
use crate::world::World;
use keyward_admission::{
    Kind, Leave, Mode, Operation, Outcome, Policy, Request, RuleKind, Surroundings, search,
};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The name that suites have.
pub const FILE: &str = "kyverno-test.yaml";

/// A suite, read.
#[derive(Debug)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// The folder that its paths begin at.
    pub folder: PathBuf,
    test: Value,
}

/// What a policy said about an object.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) policy: usize,
    pub(crate) object: Value,
    /// After the policy, where it changes objects.
    pub(crate) patched: Value,
    pub(crate) outcome: Outcome,
    pub(crate) operation: Option<Operation>,
}

/// The suites in a file, or in the files of that name in a folder and its folders.
///
/// # Errors
///
/// What cannot be read.
pub fn find(path: &Path, name: &str) -> Result<Vec<Suite>, String> {
    let files = match path.is_dir() {
        true => load::files(path)?
            .into_iter()
            .filter(|file| file.file_name().is_some_and(|known| known == name))
            .collect(),
        false => vec![path.to_owned()],
    };
    let mut suites = Vec::new();
    for file in files {
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        for test in load::objects(&file)?
            .into_iter()
            .filter(|test| test["kind"] == "Test" || test.get("results").is_some())
        {
            let name = test["metadata"]["name"]
                .as_str()
                .or_else(|| test["name"].as_str())
                .unwrap_or_default()
                .to_owned();
            suites.push(Suite { name, folder: folder.clone(), test });
        }
    }
    Ok(suites)
}

/// What is around the objects of a suite.
struct Around {
    world: World,
    values: Value,
    user: Option<(Value, Value, Value)>,
    policies: Policies,
    now: i128,
}

const FIELDS: [&str; 27] = [
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "policies",
    "resources",
    "targetResources",
    "paramResources",
    "clusterResources",
    "variables",
    "values",
    "userinfo",
    "results",
    "checks",
    "exceptions",
    "jsonPayload",
    "jsonPayloads",
    "httpPayloads",
    "envoyPayloads",
    "context",
    "apiCallResponses",
    "globalContextEntries",
    "images",
    "crds",
    "spec",
    "status",
    "description",
];

impl Suite {
    /// Runs it: a row for each expected result and each resource of it.
    ///
    /// # Errors
    ///
    /// What of it cannot be read.
    pub fn run(&self, now: i128) -> Result<Vec<Row>, String> {
        if let Some(unknown) =
            self.test.as_object().and_then(|map| map.keys().find(|key| !FIELDS.contains(&key.as_str())))
        {
            return Err(format!("a test has no field {unknown}"));
        }
        let mut around = self.around(now)?;
        let mut resources = self.objects("resources")?;
        let targets = self.objects("targetResources")?;
        resources = unique(resources);
        around.world.objects.extend(resources.iter().chain(&targets).cloned());
        let mut responses = Vec::new();
        for resource in &resources {
            around.respond(resource, None, &mut responses);
        }
        self.operations(&around, &resources, &mut responses)?;
        for (key, mode) in [
            ("jsonPayloads", Mode::Json),
            ("jsonPayload", Mode::Json),
            ("httpPayloads", Mode::Http),
            ("envoyPayloads", Mode::Envoy),
        ] {
            for path in self.paths(&self.test[key]) {
                for payload in load::objects(&path)? {
                    around.respond_to_payload(payload, mode, &mut responses);
                }
            }
        }
        let expected = self.test["results"]
            .as_array()
            .into_iter()
            .flatten()
            .map(Expected::read)
            .collect::<Result<Vec<_>, _>>()?;
        let mut rows = Vec::new();
        for expected in &expected {
            judge::judge(expected, &around.policies, &responses, &targets, &self.folder, &mut rows)?;
        }
        for check in self.test["checks"].as_array().into_iter().flatten() {
            judge::check(check, &around.policies, &responses, &mut rows)?;
        }
        Ok(rows)
    }

    fn paths(&self, value: &Value) -> Vec<PathBuf> {
        let one = value.as_str().into_iter();
        let many = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        one.chain(many).map(|path| self.folder.join(path)).collect()
    }

    fn objects(&self, key: &str) -> Result<Vec<Value>, String> {
        let mut objects = Vec::new();
        for path in self.paths(&self.test[key]) {
            for file in load::files(&path)? {
                objects.extend(load::resources(&file)?);
            }
        }
        Ok(objects)
    }

    /// Objects that a file holds below `spec.resources`.
    fn embedded(&self, key: &str) -> Result<Vec<Value>, String> {
        let mut objects = Vec::new();
        for path in self.paths(&self.test[key]) {
            for object in load::objects(&path)? {
                objects.extend(object["spec"]["resources"].as_array().into_iter().flatten().cloned());
            }
        }
        Ok(objects)
    }

    fn around(&self, now: i128) -> Result<Around, String> {
        let mut policies = Policies::default();
        for key in ["policies", "exceptions"] {
            for path in self.paths(&self.test[key]) {
                policies.add(&path)?;
            }
        }
        let values = match self.paths(&self.test["variables"]).first() {
            Some(path) => load::objects(path)?.into_iter().next().unwrap_or(Value::Null),
            None => self.test["values"].clone(),
        };
        let user = match self.paths(&self.test["userinfo"]).first() {
            Some(path) => load::objects(path)?.into_iter().next().map(|info| {
                let list = |key: &str| info.get(key).cloned().unwrap_or_else(|| json!([]));
                (
                    info.get("userInfo").cloned().unwrap_or_else(|| json!({})),
                    list("roles"),
                    list("clusterRoles"),
                )
            }),
            None => None,
        };
        let mut world = World { objects: self.embedded("context")?, ..World::default() };
        world.objects.extend(self.embedded("clusterResources")?);
        world.objects.extend(self.objects("paramResources")?);
        for path in self.paths(&self.test["context"]) {
            for context in load::objects(&path)? {
                world.images.extend(context["spec"]["images"].as_array().into_iter().flatten().cloned());
            }
        }
        for result in self.test["results"].as_array().into_iter().flatten() {
            for path in self.paths(&result["cloneSourceResource"]) {
                world.objects.extend(load::resources(&path)?);
            }
        }
        for review in values["subjectAccessReviews"].as_array().into_iter().flatten() {
            let mut review = review.clone();
            if review.is_object() {
                review["kind"] = json!("SubjectAccessReview");
            }
            world.objects.push(review);
        }
        world.objects.extend(values["namespaces"].as_array().into_iter().flatten().cloned());
        for answer in self.test["apiCallResponses"].as_array().into_iter().flatten() {
            let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
            let place = if text("url").is_empty() { text("urlPath") } else { text("url") };
            let status = answer["response"]["statusCode"].as_i64().unwrap_or(200);
            let body = match status {
                200..=299 => Ok(answer["response"]["body"].clone()),
                other => Err(format!("{place} answers with {other}")),
            };
            world.answers.push((text("method"), place, body));
        }
        for entry in self.test["globalContextEntries"].as_array().into_iter().flatten() {
            world.globals.push((entry["name"].as_str().unwrap_or_default().to_owned(), global(entry)?));
        }
        Ok(Around { world, values, user, policies, now })
    }

    /// What results ask for that are about another operation.
    fn operations(
        &self,
        around: &Around,
        resources: &[Value],
        responses: &mut Vec<Response>,
    ) -> Result<(), String> {
        let mut asked: Vec<Operation> = Vec::new();
        for result in self.test["results"].as_array().into_iter().flatten() {
            if let Some(name) = result["operation"].as_str() {
                let operation =
                    Operation::parse(name).ok_or_else(|| format!("there is no operation {name}"))?;
                if !asked.contains(&operation) {
                    asked.push(operation);
                }
            }
        }
        for operation in asked {
            for resource in resources {
                around.respond(resource, Some(operation), responses);
            }
        }
        Ok(())
    }
}

/// An entry of the global context: its data, with its projections.
fn global(entry: &Value) -> Result<Value, String> {
    if entry["resources"].is_array() {
        return Ok(entry["resources"].clone());
    }
    let mut value = entry["data"].clone();
    for projection in entry["projections"].as_array().into_iter().flatten() {
        let path =
            projection["path"].as_str().or_else(|| projection["jmesPath"].as_str()).unwrap_or_default();
        let found = search(path, &entry["data"])?;
        value[projection["name"].as_str().unwrap_or_default()] = found;
    }
    Ok(value)
}

fn identity(object: &Value) -> [&Value; 4] {
    [&object["apiVersion"], &object["kind"], &object["metadata"]["namespace"], &object["metadata"]["name"]]
}

fn unique(objects: Vec<Value>) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    for object in objects {
        let named = !object["metadata"]["name"].is_null();
        if !named || !kept.iter().any(|known| identity(known) == identity(&object)) {
            kept.push(object);
        }
    }
    kept
}

/// The order in which policies are asked, so that what checks sees what changes.
const ORDER: [(RuleKind, bool); 11] = [
    (RuleKind::Mutation, false),
    (RuleKind::ExistingMutation, false),
    (RuleKind::ImageVerification, false),
    (RuleKind::Validation, false),
    (RuleKind::Mutation, true),
    (RuleKind::ExistingMutation, true),
    (RuleKind::Validation, true),
    (RuleKind::Generation, true),
    (RuleKind::Generation, false),
    (RuleKind::ImageVerification, true),
    (RuleKind::Deletion, true),
];

impl Around {
    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            snapshot: &self.world,
            exceptions: &self.policies.exceptions,
            bindings: &self.policies.bindings,
            now: self.now,
            seed: 1,
            leave: Leave::Full,
        }
    }

    fn respond(&self, resource: &Value, operation: Option<Operation>, responses: &mut Vec<Response>) {
        let mut current = resource.clone();
        for (kind, cel) in ORDER {
            for (index, policy) in self.policies.policies.iter().enumerate() {
                if policy.is_cel() != cel || !policy.has(kind) {
                    continue;
                }
                let request = self.request(&current, policy, operation);
                let outcome = policy.decide(kind, &request, &self.surroundings());
                let patched = outcome.patched.clone().unwrap_or_else(|| current.clone());
                if kind == RuleKind::Mutation && outcome.patched.is_some() {
                    current = patched.clone();
                }
                responses.push(Response {
                    policy: index,
                    object: resource.clone(),
                    patched,
                    outcome,
                    operation,
                });
            }
        }
    }

    fn respond_to_payload(&self, payload: Value, mode: Mode, responses: &mut Vec<Response>) {
        for (index, policy) in self.policies.policies.iter().enumerate() {
            let kinds =
                [RuleKind::Validation, RuleKind::Mutation, RuleKind::ImageVerification, RuleKind::Deletion];
            for kind in kinds.into_iter().filter(|kind| policy.is_cel() && policy.has(*kind)) {
                if policy.mode() != mode && kind != RuleKind::Deletion {
                    continue;
                }
                let request = Request::of_payload(payload.clone());
                let outcome = policy.decide(kind, &request, &self.surroundings());
                let patched = outcome.patched.clone().unwrap_or_else(|| payload.clone());
                responses.push(Response {
                    policy: index,
                    object: payload.clone(),
                    patched,
                    outcome,
                    operation: None,
                });
            }
        }
    }

    fn request(&self, object: &Value, policy: &Policy, operation: Option<Operation>) -> Request {
        let variables = self.variables(object, policy);
        let given = variables.get("request.operation").and_then(Value::as_str).and_then(Operation::parse);
        let mut request =
            Request::of_object(object.clone(), operation.or(given).unwrap_or(Operation::Create));
        if let Some((user, roles, cluster_roles)) = &self.user {
            request = request.with_user(user.clone(), roles.clone(), cluster_roles.clone());
        }
        for sub in self.values["subresources"].as_array().into_iter().flatten() {
            let of = |value: &Value| {
                let text = |key: &str| value[key].as_str().unwrap_or_default();
                Kind {
                    group: text("group").into(),
                    version: text("version").into(),
                    kind: text("kind").into(),
                }
            };
            if of(&sub["subresource"]) == Kind::of(object) {
                let name = sub["subresource"]["name"].as_str().unwrap_or_default();
                request = request.with_subresource(
                    of(&sub["parentResource"]),
                    name.rsplit('/').next().unwrap_or_default(),
                );
            }
        }
        for (path, value) in variables {
            if path != "request.operation" || operation.is_none() {
                request.set_variable(&path, value);
            }
        }
        let of_policy = self.values["policies"].as_array().into_iter().flatten();
        for one in of_policy.filter(|one| one["name"] == policy.metadata.name.as_str()) {
            for rule in one["rules"].as_array().into_iter().flatten() {
                for (name, values) in rule["foreachValues"].as_object().into_iter().flatten() {
                    request.set_loop_variable(
                        rule["name"].as_str().unwrap_or_default(),
                        name,
                        values.clone(),
                    );
                }
                for (path, value) in rule["values"].as_object().into_iter().flatten() {
                    request.set_rule_variable(rule["name"].as_str().unwrap_or_default(), path, value.clone());
                }
            }
        }
        request.with_namespace(self.namespace(object))
    }

    fn namespace(&self, object: &Value) -> Option<Value> {
        let mut namespace = self.world.namespace(object)?;
        let name = namespace["metadata"]["name"].clone();
        let selected =
            self.values["namespaceSelector"].as_array().into_iter().flatten().find(|one| one["name"] == name);
        if let Some(selected) = selected {
            namespace["metadata"]["labels"] = selected["labels"].clone();
            namespace["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
        }
        Some(namespace)
    }

    fn variables(&self, object: &Value, policy: &Policy) -> Map<String, Value> {
        let mut variables = Map::new();
        let mut add = |values: &Value| {
            for (key, value) in values.as_object().into_iter().flatten() {
                variables.insert(key.clone(), value.clone());
            }
        };
        add(&self.values["globalValues"]);
        let name = &object["metadata"]["name"];
        let named = |value: &Value| value["name"] == policy.metadata.name.as_str();
        for of_policy in self.values["policies"].as_array().into_iter().flatten().filter(|value| named(value))
        {
            for resource in
                of_policy["resources"].as_array().into_iter().flatten().filter(|one| one["name"] == *name)
            {
                add(&resource["values"]);
            }
        }
        variables
    }
}
