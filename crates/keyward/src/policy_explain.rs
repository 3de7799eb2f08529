//! `keyward policy explain` of admission policies: rule by rule why.

use crate::cli::Failure;
use crate::cli::input::content;
use crate::cli::output::{self, Output};
use crate::policy_files::{now, policies};
use keyward_admission::{Action, Explanation, Policy, RuleKind, Status, yaml};
use keyward_policy_files::apply::Apply;
use keyward_policy_files::load;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Explains what the policies of files say about the objects of others.
pub(crate) fn explain(paths: &[PathBuf], resources: &[PathBuf], out: &Output) -> Result<(), Failure> {
    let stdin = paths.iter().chain(resources).filter(|path| path.as_os_str() == "-");
    if stdin.count() > 1 {
        return Err(Failure::Usage("standard input can be read once: name files for the rest".to_owned()));
    }
    let apply = Apply { policies: policies(paths)?, now: now(), ..Apply::default() };
    if !apply.policies.refused.is_empty() {
        return Err(Failure::Code(1));
    }
    let mut explained = Vec::new();
    for object in objects(resources)? {
        let name = label(&object);
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let said = apply.explain(object);
        match out.is_table() {
            true => lines(&name, &namespace, &said)?,
            false => explained.push(whole(&name, &namespace, &said)),
        }
    }
    if out.is_table() { Ok(()) } else { out.value(&Value::Array(explained)) }
}

fn objects(resources: &[PathBuf]) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    for path in resources {
        if path.as_os_str() == "-" {
            let values =
                yaml::values(&content("-")?).map_err(|fault| Failure::Usage(format!("-: {fault}")))?;
            found.extend(values.into_iter().filter(|object| object["kind"].is_string()));
            continue;
        }
        for file in load::files(path).map_err(Failure::Usage)? {
            found.extend(load::resources(&file).map_err(Failure::Usage)?);
        }
    }
    found.iter_mut().for_each(load::place);
    Ok(found)
}

fn label(object: &Value) -> String {
    let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let parts = [part(&object["kind"]), part(&metadata["namespace"]), part(&metadata["name"])];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// What is done where a rule of the policy fails; nothing where it does not check.
fn action(policy: &Policy, rule: &str, namespace: &str) -> Option<&'static str> {
    if !policy.has(RuleKind::Validation) && !policy.has(RuleKind::ImageVerification) {
        return None;
    }
    Some(match policy.action(rule, namespace) {
        Action::Audit => "audited",
        Action::Enforce => "enforced",
        Action::Warn => "warned of",
    })
}

fn lines(name: &str, namespace: &str, said: &[(&Policy, Vec<Explanation>)]) -> Result<(), Failure> {
    output::line(name)?;
    for (policy, rules) in said {
        output::line(&format!("  {} {}", policy.metadata.kind, policy.metadata.full_name()))?;
        for rule in rules {
            let status = rule.status.map_or("-", Status::name);
            let action = match (rule.status, action(policy, &rule.rule, namespace)) {
                (Some(_), Some(action)) => format!(" ({action})"),
                _ => String::new(),
            };
            output::line(&format!("    {status:<5} {}{action}: {}", rule.rule, rule.why))?;
            rule.conditions.iter().try_for_each(|one| output::line(&format!("          {one}")))?;
        }
    }
    Ok(())
}

fn whole(name: &str, namespace: &str, said: &[(&Policy, Vec<Explanation>)]) -> Value {
    let rule = |policy: &Policy, rule: &Explanation| {
        json!({
            "rule": &*rule.rule, "result": rule.status.map(Status::name), "why": rule.why,
            "action": action(policy, &rule.rule, namespace), "preconditions": rule.conditions,
        })
    };
    let policies = said.iter().map(|(policy, rules)| {
        let rules: Vec<Value> = rules.iter().map(|one| rule(policy, one)).collect();
        json!({"policy": policy.metadata.full_name(), "kind": policy.metadata.kind, "rules": rules})
    });
    json!({"object": name, "policies": policies.collect::<Vec<_>>()})
}
