//! What is decided about: an admission request, or an object as if it were being created.

use crate::plural;
use serde_json::{Map, Value, json};

/// What is done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is removed.
    Delete,
    /// A subresource such as exec is connected to.
    Connect,
}

impl Operation {
    /// As an AdmissionReview has it.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }

    /// Of its name in an AdmissionReview.
    pub fn parse(name: &str) -> Option<Operation> {
        [Operation::Create, Operation::Update, Operation::Delete, Operation::Connect]
            .into_iter()
            .find(|operation| operation.name() == name)
    }
}

/// Group, version and kind of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// Empty for the core group.
    pub group: String,
    /// Such as v1.
    pub version: String,
    /// Such as Pod.
    pub kind: String,
}

impl Kind {
    /// Of an `apiVersion` and a `kind`.
    pub fn new(api_version: &str, kind: &str) -> Kind {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Kind { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    /// Of an object.
    pub fn of(object: &Value) -> Kind {
        Kind::new(
            object["apiVersion"].as_str().unwrap_or_default(),
            object["kind"].as_str().unwrap_or_default(),
        )
    }
}

/// The object of a request as it is to be, or as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    After,
    Before,
}

/// An admission request.
#[derive(Debug)]
pub struct Request {
    /// The `request` of an AdmissionReview, which is also what policies see under that name.
    pub(crate) review: Value,
    /// Whether there is an object after and before, which every rule of every policy asks.
    objects: [bool; 2],
    pub(crate) kind: Kind,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) operation: Operation,
    /// The namespace of the object, for its labels.
    pub(crate) namespace: Option<Value>,
    /// Who asks is known.
    pub(crate) known_user: bool,
    /// Variables that policies see beside `request`.
    pub(crate) variables: Map<String, Value>,
    /// Those that only one rule sees, by its name.
    pub(crate) of_rules: Map<String, Value>,
    /// Those that only one rule sees, in its loops: a list, by the index of the element.
    pub(crate) of_loops: Map<String, Value>,
    /// Some arbitrary JSON rather than an object of Kubernetes.
    pub(crate) payload: bool,
    /// Of an API server, which knows what was there before.
    live: bool,
}

impl Request {
    /// Of the `request` of an AdmissionReview (`admission.k8s.io/v1`).
    ///
    /// # Errors
    ///
    /// What is missing in it.
    pub fn of_review(mut review: Value) -> Result<Request, String> {
        let kind = if review["requestKind"].is_object() { &review["requestKind"] } else { &review["kind"] };
        let part = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let kind =
            Kind { group: part(kind, "group"), version: part(kind, "version"), kind: part(kind, "kind") };
        if kind.kind.is_empty() {
            return Err("the request has no kind".to_owned());
        }
        let operation = Operation::parse(review["operation"].as_str().unwrap_or_default())
            .ok_or("the request's operation is none of CREATE, UPDATE, DELETE and CONNECT")?;
        let resource = part(&review["resource"], "resource");
        let subresource = part(&review, "subResource");
        if let Some(map) = review.as_object_mut() {
            map.entry("roles").or_insert_with(|| json!([]));
            map.entry("clusterRoles").or_insert_with(|| json!([]));
        }
        Ok(Request {
            objects: objects(&review),
            review,
            kind,
            resource,
            subresource,
            operation,
            namespace: None,
            known_user: true,
            variables: Map::new(),
            of_rules: Map::new(),
            of_loops: Map::new(),
            payload: false,
            live: true,
        })
    }

    /// An object as if it were created, or changed from itself, or removed.
    pub fn of_object(object: Value, operation: Operation) -> Request {
        let kind = Kind::of(&object);
        let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
        let (name, namespace) = (text("name"), text("namespace"));
        let namespace =
            if kind.kind == "Namespace" && kind.group.is_empty() { name.clone() } else { namespace };
        let resource = plural::of(&kind);
        let group = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        let resources = json!({"group": kind.group, "version": kind.version, "resource": resource});
        let mut review = json!({
            "uid": "", "operation": operation.name(), "name": name, "namespace": namespace, "dryRun": false, "options": null,
            "kind": group.clone(), "requestKind": group, "resource": resources.clone(), "requestResource": resources,
            "userInfo": {}, "roles": [], "clusterRoles": [],
        });
        match operation {
            Operation::Create | Operation::Connect => review["object"] = object,
            Operation::Update => {
                review["oldObject"] = object.clone();
                review["object"] = object;
            }
            Operation::Delete => review["oldObject"] = object,
        }
        Request {
            objects: objects(&review),
            review,
            kind,
            resource,
            subresource: String::new(),
            operation,
            namespace: None,
            known_user: false,
            variables: Map::new(),
            of_rules: Map::new(),
            of_loops: Map::new(),
            payload: false,
            live: false,
        }
    }

    /// Any JSON, for policies of the mode JSON.
    pub fn of_payload(payload: Value) -> Request {
        Request {
            objects: [!payload.is_null(), false],
            review: json!({ "object": payload, "operation": "CREATE" }),
            kind: Kind::default(),
            resource: String::new(),
            subresource: String::new(),
            operation: Operation::Create,
            namespace: None,
            known_user: false,
            variables: Map::new(),
            of_rules: Map::new(),
            of_loops: Map::new(),
            payload: true,
            live: false,
        }
    }

    /// With who asks: a `UserInfo` of `authentication.k8s.io/v1`, and the names of roles and cluster roles.
    pub fn with_user(mut self, user: Value, roles: Value, cluster_roles: Value) -> Request {
        self.known_user = user.as_object().is_some_and(|user| !user.is_empty())
            || [&roles, &cluster_roles]
                .iter()
                .any(|list| list.as_array().is_some_and(|list| !list.is_empty()));
        self.review["userInfo"] = user;
        self.review["roles"] = roles;
        self.review["clusterRoles"] = cluster_roles;
        self
    }

    /// With the namespace object of its namespace.
    pub fn with_namespace(mut self, namespace: Option<Value>) -> Request {
        self.namespace = namespace;
        self
    }

    /// As a request for a subresource of another kind, such as exec of a Pod.
    pub fn with_subresource(mut self, parent: Kind, subresource: &str) -> Request {
        self.resource = plural::of(&parent);
        self.kind = parent;
        subresource.clone_into(&mut self.subresource);
        self
    }

    /// With the plural name of its kind, where that cannot be told from the kind.
    pub fn with_resource(mut self, resource: &str) -> Request {
        resource.clone_into(&mut self.resource);
        self
    }

    /// With a variable: a path such as `request.operation` or `config.data."some key"`.
    pub fn set_variable(&mut self, path: &str, value: Value) {
        let steps = steps(path);
        let Some((first, rest)) = steps.split_first() else { return };
        if *first == "request" && !rest.is_empty() {
            put(&mut self.review, rest, value);
            self.objects = objects(&self.review);
            if let Some(operation) = self.review["operation"].as_str().and_then(Operation::parse) {
                self.operation = operation;
            }
            return;
        }
        let place = self.variables.entry(first.clone()).or_insert(Value::Null);
        put(place, rest, value);
    }

    /// With a variable that only one rule sees, and those that are made from it.
    pub fn set_rule_variable(&mut self, rule: &str, path: &str, value: Value) {
        if path.starts_with("request.") {
            return self.set_variable(path, value);
        }
        let variables = self.of_rules.entry(rule).or_insert_with(|| Value::Object(Map::new()));
        put(variables, &steps(path), value);
    }

    /// With values that a variable has in the loops of a rule, by the index of the element.
    pub fn set_loop_variable(&mut self, rule: &str, name: &str, values: Value) {
        let variables = self.of_loops.entry(rule).or_insert_with(|| Value::Object(Map::new()));
        variables[name] = values;
    }

    /// The object, or what is removed.
    pub fn object(&self) -> &Value {
        self.object_of(if self.has_object(When::After) { When::After } else { When::Before })
    }

    pub(crate) fn object_of(&self, when: When) -> &Value {
        match when {
            When::After => &self.review["object"],
            When::Before => &self.review["oldObject"],
        }
    }

    pub(crate) fn has_object(&self, when: When) -> bool {
        self.objects[usize::from(when == When::Before)]
    }

    pub(crate) fn new_object(&self) -> &Value {
        self.object_of(When::After)
    }

    /// What was there before; null where nothing was.
    pub fn old_object(&self) -> &Value {
        &self.review["oldObject"]
    }

    /// About how many bytes it has.
    pub fn size(&self) -> usize {
        self.review.to_string().len()
    }

    /// What is done.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// What kind of object it is about; with a subresource, the kind of what that belongs to.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(crate) fn name(&self) -> &str {
        let metadata = &self.object()["metadata"];
        let name = metadata["name"].as_str().filter(|name| !name.is_empty());
        name.or_else(|| metadata["generateName"].as_str())
            .or_else(|| self.review["name"].as_str())
            .unwrap_or_default()
    }

    pub(crate) fn namespace_name(&self) -> &str {
        self.review["namespace"]
            .as_str()
            .or_else(|| self.object()["metadata"]["namespace"].as_str())
            .unwrap_or_default()
    }

    /// The same request about a changed object.
    pub(crate) fn with_object(&self, object: Value) -> Request {
        let mut review = Map::new();
        for (key, value) in self.review.as_object().into_iter().flatten().filter(|(key, _)| *key != "object")
        {
            review.insert(key.clone(), value.clone());
        }
        let objects = [!object.is_null(), self.has_object(When::Before)];
        review.insert("object".to_owned(), object);
        Request {
            review: Value::Object(review),
            objects,
            kind: self.kind.clone(),
            resource: self.resource.clone(),
            subresource: self.subresource.clone(),
            operation: self.operation,
            namespace: self.namespace.clone(),
            known_user: self.known_user,
            variables: self.variables.clone(),
            of_rules: self.of_rules.clone(),
            of_loops: self.of_loops.clone(),
            payload: self.payload,
            live: self.live,
        }
    }

    /// What an API server asks to change, as if it were being made as it is.
    pub(crate) fn before(&self) -> Option<Request> {
        if !self.live || !self.has_object(When::Before) {
            return None;
        }
        let mut before = self.with_object(self.old_object().clone());
        before.review["oldObject"] = Value::Null;
        before.objects[1] = false;
        before.review["operation"] = Value::from(Operation::Create.name());
        before.operation = Operation::Create;
        Some(before)
    }

    pub(crate) fn into_object(mut self) -> Value {
        self.review["object"].take()
    }

    /// Puts a changed object in the place of the object, for the policies that come next.
    pub fn replace_object(&mut self, object: Value) {
        self.objects[0] = !object.is_null();
        self.review["object"] = object;
    }
}

/// Whether a review has an object after and before.
fn objects(review: &Value) -> [bool; 2] {
    ["object", "oldObject"].map(|name| !review[name].is_null())
}

/// `a.b."c.d"[0]` as its steps.
fn steps(path: &str) -> Vec<String> {
    let mut steps = vec![String::new()];
    let mut quoted = false;
    for c in path.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => steps.push(String::new()),
            '\\' if quoted => {}
            other => {
                if let Some(last) = steps.last_mut() {
                    last.push(other);
                }
            }
        }
    }
    steps
}

fn put(place: &mut Value, steps: &[String], value: Value) {
    match steps.split_first() {
        None => match (place, value) {
            (Value::Object(known), Value::Object(new)) => known.extend(new),
            (place, value) => *place = value,
        },
        Some((step, rest)) => {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            put(&mut place[step.as_str()], rest, value);
        }
    }
}
