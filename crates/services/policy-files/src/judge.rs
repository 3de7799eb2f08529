//! What policies said, held against what a suite expects.

use crate::load::{self, Policies};
use crate::suite::Response;
use keyward_admission::{Operation, Policy, RuleKind, RuleOutcome, Status, assert};
use serde_json::{Value, json};
use std::path::Path;

/// A result that a suite expects.
#[derive(Debug)]
pub struct Expected {
    policy: String,
    rule: String,
    kind: String,
    resources: Vec<String>,
    status: String,
    patched: Option<String>,
    generated: Option<String>,
    operation: Option<Operation>,
}

/// One expectation for one resource, and whether it came true.
#[derive(Clone, Debug)]
pub struct Row {
    /// The policy.
    pub policy: String,
    /// The rule; empty where the policy has none.
    pub rule: String,
    /// Kind, namespace and name.
    pub resource: String,
    /// Whether it came true.
    pub passed: bool,
    /// `Ok`, `Excluded`, or what came instead.
    pub reason: String,
    /// What the rule said.
    pub message: String,
}

const FIELDS: [&str; 25] = [
    "policy",
    "rule",
    "kind",
    "resource",
    "resources",
    "resourceSpecs",
    "namespace",
    "result",
    "status",
    "patchedResource",
    "patchedResources",
    "generatedResource",
    "cloneSourceResource",
    "operation",
    "isValidatingAdmissionPolicy",
    "isMutatingAdmissionPolicy",
    "isValidatingPolicy",
    "isImageValidatingPolicy",
    "isMutatingPolicy",
    "isGeneratingPolicy",
    "isDeletingPolicy",
    "isHTTPPolicy",
    "isEnvoyPolicy",
    "payload",
    "message",
];

impl Expected {
    pub(crate) fn read(value: &Value) -> Result<Expected, String> {
        if let Some(unknown) =
            value.as_object().and_then(|map| map.keys().find(|key| !FIELDS.contains(&key.as_str())))
        {
            return Err(format!("a result has no field {unknown}"));
        }
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let file = |keys: [&str; 2]| {
            keys.iter()
                .find_map(|key| value[*key].as_str())
                .filter(|file| !file.is_empty())
                .map(str::to_owned)
        };
        let mut resources: Vec<String> = value["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        resources.extend(value["resource"].as_str().map(str::to_owned));
        for spec in value["resourceSpecs"].as_array().into_iter().flatten() {
            let (namespace, name) =
                (spec["namespace"].as_str().unwrap_or_default(), spec["name"].as_str().unwrap_or_default());
            resources.push(if namespace.is_empty() {
                name.to_owned()
            } else {
                format!("{namespace}/{name}")
            });
        }
        let namespace = text("namespace");
        if !namespace.is_empty() {
            resources
                .iter_mut()
                .filter(|one| !one.contains('/'))
                .for_each(|one| *one = format!("{namespace}/{one}"));
        }
        let status = if text("result").is_empty() { text("status") } else { text("result") };
        if !["pass", "fail", "skip", "warn", "error"].contains(&status.as_str()) {
            return Err(format!("{status} is no result: pass, fail, warn, error or skip"));
        }
        Ok(Expected {
            policy: text("policy"),
            rule: text("rule"),
            kind: text("kind"),
            resources,
            status,
            patched: file(["patchedResources", "patchedResource"]),
            generated: file(["generatedResource", "generatedResources"]),
            operation: value["operation"].as_str().and_then(Operation::parse),
        })
    }
}

fn part<'v>(object: &'v Value, key: &str) -> &'v str {
    object["metadata"][key].as_str().unwrap_or_default()
}

fn is_named(object: &Value, wanted: &str) -> bool {
    match wanted.split_once('/') {
        Some((namespace, name)) => part(object, "name") == name && part(object, "namespace") == namespace,
        None => part(object, "name") == wanted,
    }
}

fn label(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or_default();
    let parts = [kind, part(object, "namespace"), part(object, "name")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

pub(crate) fn judge(
    expected: &Expected,
    policies: &Policies,
    responses: &[Response],
    targets: &[Value],
    folder: &Path,
    rows: &mut Vec<Row>,
) -> Result<(), String> {
    let row = |resource: String, passed: bool, reason: String, message: String| Row {
        policy: expected.policy.clone(),
        rule: expected.rule.clone(),
        resource,
        passed,
        reason,
        message,
    };
    let bare = expected.policy.rsplit('/').next().unwrap_or_default();
    let of_policy = |policy: &Policy| policy.metadata.name == bare;
    if !policies.policies.iter().any(of_policy) {
        let refused = policies
            .refused
            .iter()
            .map(|(file, why)| format!("{file}: {why}"))
            .collect::<Vec<_>>()
            .join("; ");
        rows.push(row(String::new(), false, format!("Policy not found. {refused}"), String::new()));
        return Ok(());
    }
    let wanted: Vec<Option<&str>> = match expected.resources.is_empty() {
        true => vec![None],
        false => expected.resources.iter().map(|name| Some(name.as_str())).collect(),
    };
    for wanted in wanted {
        let named = |object: &Value| wanted.is_none_or(|wanted| is_named(object, wanted));
        let of_kind = |object: &Value| {
            named(object) && (expected.kind.is_empty() || object["kind"] == expected.kind.as_str())
        };
        let before = rows.len();
        judge_objects(expected, policies, responses, targets, folder, &of_kind, rows)?;
        if rows.len() == before {
            // Suites are written that name another kind than the objects have.
            judge_objects(expected, policies, responses, targets, folder, &named, rows)?;
        }
        if rows.len() == before {
            let named = wanted.unwrap_or_default().to_owned();
            rows.push(row(named, false, "Not found".to_owned(), String::new()));
        }
    }
    Ok(())
}

fn judge_objects(
    expected: &Expected,
    policies: &Policies,
    responses: &[Response],
    targets: &[Value],
    folder: &Path,
    fits: &dyn Fn(&Value) -> bool,
    rows: &mut Vec<Row>,
) -> Result<(), String> {
    let mut seen: Vec<&Value> = Vec::new();
    for response in responses.iter().filter(|one| fits(&one.object) && one.operation == expected.operation) {
        if !seen.contains(&&response.object) {
            seen.push(&response.object);
            of_object(expected, policies, responses, &response.object, folder, rows)?;
        }
    }
    of_targets(expected, policies, responses, targets, folder, fits, rows)
}

/// A check of a suite: what is matched by trees is held against others.
pub(crate) fn check(
    check: &Value,
    policies: &Policies,
    responses: &[Response],
    rows: &mut Vec<Row>,
) -> Result<(), String> {
    let fits = |tree: &Value, value: &Value| match tree {
        Value::Null => Ok(true),
        tree => assert(tree, value).map(|faults| faults.is_empty()),
    };
    let matching = &check["match"];
    for response in responses {
        let policy = &policies.policies[response.policy];
        let metadata = json!({
            "kind": policy.metadata.kind,
            "metadata": {
                "name": policy.metadata.name, "namespace": policy.metadata.namespace, "annotations": policy.metadata.annotations,
            },
        });
        if !fits(&matching["resource"], &response.object)? || !fits(&matching["policy"], &metadata)? {
            continue;
        }
        for rule in &response.outcome.rules {
            let name = json!({ "name": &*rule.rule });
            if !fits(&matching["rule"], &name)? {
                continue;
            }
            let said = json!({ "name": &*rule.rule, "status": rule.status.name(), "message": rule.message });
            for (tree, wanted) in [(&check["assert"], true), (&check["error"], false)] {
                if tree.is_null() {
                    continue;
                }
                let faults = assert(tree, &said)?;
                let passed = faults.is_empty() == wanted;
                let reason = if passed {
                    "Ok".to_owned()
                } else if wanted {
                    faults.join("; ")
                } else {
                    "It holds, and is not to".to_owned()
                };
                rows.push(Row {
                    policy: policy.metadata.name.clone(),
                    rule: rule.rule.to_string(),
                    resource: label(&response.object),
                    passed,
                    reason,
                    message: rule.message.to_string(),
                });
            }
        }
    }
    Ok(())
}

/// A rule by its name, or by that of the rule it was made from.
fn is_rule(expected: &Expected, policy: &Policy, rule: &RuleOutcome) -> bool {
    let name = &*rule.rule;
    let cut = |prefix: &str| format!("{prefix}{}", expected.rule).chars().take(63).collect::<String>();
    policy.is_cel() || name == expected.rule || name == cut("autogen-") || name == cut("autogen-cronjob-")
}

fn of_object(
    expected: &Expected,
    policies: &Policies,
    responses: &[Response],
    object: &Value,
    folder: &Path,
    rows: &mut Vec<Row>,
) -> Result<(), String> {
    let bare = expected.policy.rsplit('/').next().unwrap_or_default();
    let before = rows.len();
    let mut elsewhere = false;
    for response in
        responses.iter().filter(|one| one.object == *object && one.operation == expected.operation)
    {
        let policy = &policies.policies[response.policy];
        if policy.metadata.name != bare {
            continue;
        }
        for rule in response.outcome.rules.iter().filter(|rule| is_rule(expected, policy, rule)) {
            let effects = rule.effects.as_deref();
            elsewhere |= effects.is_some_and(|effects| !effects.targets.is_empty());
            let generated = effects.map(|effects| &effects.generated[..]).unwrap_or_default();
            let verdict = match (rule.kind, &expected.patched, &expected.generated) {
                (RuleKind::Generation, _, Some(file)) if rule.status == Status::Pass => {
                    for made in generated {
                        let (passed, reason) = compare(expected, policy, rule, Some((file, made)), folder)?;
                        rows.push(row(expected, &label(made), passed, reason, rule));
                    }
                    continue;
                }
                (RuleKind::Mutation, Some(file), _) if !elsewhere => {
                    if find(file, folder, &response.patched)?.is_none() && rule.status == Status::Pass {
                        // Other results of the file are about it.
                        rows.push(row(expected, &label(object), true, "Excluded".to_owned(), rule));
                        continue;
                    }
                    let patched = (rule.status == Status::Pass).then_some((file, &response.patched));
                    compare(expected, policy, rule, patched, folder)?
                }
                _ => compare(expected, policy, rule, None, folder)?,
            };
            rows.push(row(expected, &label(object), verdict.0, verdict.1, rule));
        }
    }
    if rows.len() == before && !elsewhere {
        let excluded = Row {
            policy: expected.policy.clone(),
            rule: expected.rule.clone(),
            resource: label(object),
            passed: true,
            reason: "Excluded".to_owned(),
            message: String::new(),
        };
        rows.push(excluded);
    }
    Ok(())
}

fn row(expected: &Expected, resource: &str, passed: bool, reason: String, rule: &RuleOutcome) -> Row {
    Row {
        policy: expected.policy.clone(),
        rule: expected.rule.clone(),
        resource: resource.to_owned(),
        passed,
        reason,
        message: rule.message.to_string(),
    }
}

/// Objects that were changed by what happened to others.
fn of_targets(
    expected: &Expected,
    policies: &Policies,
    responses: &[Response],
    targets: &[Value],
    folder: &Path,
    fits: &dyn Fn(&Value) -> bool,
    rows: &mut Vec<Row>,
) -> Result<(), String> {
    let bare = expected.policy.rsplit('/').next().unwrap_or_default();
    for target in targets.iter().filter(|target| fits(target)) {
        for response in responses.iter().filter(|one| policies.policies[one.policy].metadata.name == bare) {
            let policy = &policies.policies[response.policy];
            for rule in response.outcome.rules.iter().filter(|rule| is_rule(expected, policy, rule)) {
                let changed = rule.effects.as_deref().map(|effects| &effects.targets[..]).unwrap_or_default();
                let same = |one: &&Value| one["kind"] == target["kind"] && label(one) == label(target);
                if let Some(changed) = changed.iter().find(same) {
                    let against = expected.patched.as_ref().map(|file| (file, changed));
                    let (passed, reason) = compare(expected, policy, rule, against, folder)?;
                    rows.push(row(expected, &label(target), passed, reason, rule));
                }
            }
        }
    }
    Ok(())
}

fn compare(
    expected: &Expected,
    policy: &Policy,
    rule: &RuleOutcome,
    against: Option<(&String, &Value)>,
    folder: &Path,
) -> Result<(bool, String), String> {
    let unscored = policy.metadata.annotation("policies.kyverno.io/scored") == "false";
    let status = match rule.status {
        Status::Fail if unscored => Status::Warn,
        status => status,
    };
    if status.name() != expected.status {
        return Ok((false, format!("Want {}, got {}", expected.status, status.name())));
    }
    let Some((file, actual)) = against else { return Ok((true, "Ok".to_owned())) };
    let Some(wanted) = find(file, folder, actual)? else {
        return Ok((false, format!("{} is not in {file}", label(actual))));
    };
    let (wanted, actual) = (tidy(wanted), tidy(actual.clone()));
    if wanted == actual {
        return Ok((true, "Ok".to_owned()));
    }
    let mut path = String::new();
    let different = difference(&wanted, &actual, &mut path).unwrap_or_default();
    Ok((false, format!("Resource differs from {file} at {different}")))
}

/// The object of a file that is meant by another.
fn find(file: &str, folder: &Path, like: &Value) -> Result<Option<Value>, String> {
    let objects = load::resources(&folder.join(file))?;
    let mut like = like.clone();
    load::place(&mut like);
    Ok(objects.into_iter().find(|object| object["kind"] == like["kind"] && label(object) == label(&like)))
}

/// Without what is empty, which means the same as what is not there.
fn tidy(mut value: Value) -> Value {
    load::place(&mut value);
    fn inner(value: Value) -> Option<Value> {
        match value {
            Value::Null => None,
            Value::Array(list) => {
                let list: Vec<Value> = list.into_iter().filter_map(inner).collect();
                (!list.is_empty()).then_some(Value::Array(list))
            }
            Value::Object(map) => {
                let map: serde_json::Map<_, _> =
                    map.into_iter().filter_map(|(key, value)| Some((key, inner(value)?))).collect();
                (!map.is_empty()).then_some(Value::Object(map))
            }
            other => Some(other),
        }
    }
    inner(value).unwrap_or(Value::Null)
}

/// The first place that differs, and how.
fn difference(wanted: &Value, actual: &Value, path: &mut String) -> Option<String> {
    match (wanted, actual) {
        (Value::Object(left), Value::Object(right)) => {
            let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
            for key in keys {
                let length = path.len();
                path.push('/');
                path.push_str(key);
                let (left, right) =
                    (left.get(key).unwrap_or(&Value::Null), right.get(key).unwrap_or(&Value::Null));
                if let Some(found) = difference(left, right, path) {
                    return Some(found);
                }
                path.truncate(length);
            }
            None
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                let length = path.len();
                path.push_str(&format!("/{index}"));
                if let Some(found) = difference(left, right, path) {
                    return Some(found);
                }
                path.truncate(length);
            }
            None
        }
        (left, right) if left == right => None,
        (left, right) => Some(format!("{path}: want {left}, got {right}")),
    }
}
