//! Rules for pods, made into rules for what makes pods.
//! <https://kyverno.io/docs/policy-types/cluster-policy/autogen/>

use crate::policy::Metadata;
use serde_json::{Value, json};

const CONTROLLERS: [&str; 6] =
    ["DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"];
const CRON_JOB: &str = "CronJob";
const ANNOTATION: &str = "pod-policies.kyverno.io/autogen-controllers";

/// The rules that are made from those of a policy's spec.
pub(super) fn rules(spec: &Value, metadata: &Metadata) -> Vec<Value> {
    let rules: Vec<&Value> = spec["rules"].as_array().into_iter().flatten().collect();
    if !possible(&rules) {
        return Vec::new();
    }
    let asked = metadata.annotations.get(ANNOTATION).and_then(Value::as_str);
    let asked: Option<Vec<&str>> =
        asked.filter(|asked| !asked.is_empty()).map(|asked| asked.split(',').map(str::trim).collect());
    let wanted =
        |kind: &str| asked.as_ref().is_none_or(|asked| asked.contains(&kind) || asked.contains(&"all"));
    let controllers: Vec<&str> = CONTROLLERS.into_iter().filter(|kind| wanted(kind)).collect();
    let mut made = Vec::new();
    for rule in rules {
        if !controllers.is_empty() {
            made.extend(convert(rule, "autogen-", &controllers, "spec.template", false));
        }
        if wanted(CRON_JOB) {
            made.extend(convert(
                rule,
                "autogen-cronjob-",
                &[CRON_JOB],
                "spec.jobTemplate.spec.template",
                true,
            ));
        }
    }
    made
}

/// Whether what the rules match can be carried over: only kinds, of which Pod stands alone.
fn possible(rules: &[&Value]) -> bool {
    let mut needed = false;
    for rule in rules {
        let json_patch = |value: &Value| value["patchesJson6902"].is_string();
        let mutate = &rule["mutate"];
        if rule["generate"].is_object()
            || json_patch(mutate)
            || mutate["foreach"].as_array().into_iter().flatten().any(json_patch)
        {
            return false;
        }
        for (block, counts) in [(&rule["match"], true), (&rule["exclude"], false)] {
            let filters = ["any", "all"].iter().flat_map(|key| block[*key].as_array().into_iter().flatten());
            for filter in filters.chain([block]) {
                let resources = &filter["resources"];
                let names = resources["names"].as_array().is_some_and(|names| !names.is_empty());
                let set = ["selector", "annotations"].iter().any(|key| !resources[*key].is_null());
                if resources["name"].as_str().is_some_and(|name| !name.is_empty()) || names || set {
                    return false;
                }
                let kinds = kinds(resources);
                if kinds.len() > 1 && kinds.iter().any(|kind| is_pod(kind)) {
                    return false;
                }
                let known = |kind: &&str| is_pod(kind) || CONTROLLERS.contains(kind) || *kind == CRON_JOB;
                needed |= counts && kinds.iter().any(known);
            }
        }
    }
    needed
}

fn kinds(resources: &Value) -> Vec<&str> {
    resources["kinds"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn is_pod(kind: &str) -> bool {
    matches!(kind, "Pod" | "v1/Pod" | "*/v1/Pod" | "/v1/Pod")
}

fn convert(rule: &Value, prefix: &str, controllers: &[&str], template: &str, cron: bool) -> Option<Value> {
    let mut made = rule.clone();
    if !filters(&mut made["match"], controllers) {
        return None;
    }
    filters(&mut made["exclude"], controllers);
    let name = format!("{prefix}{}", rule["name"].as_str()?);
    made["name"] = Value::from(name.chars().take(63).collect::<String>());
    let wrap = |inner: Value| {
        let inner = json!({ "spec": { "template": inner } });
        if cron { json!({ "spec": { "jobTemplate": inner } }) } else { inner }
    };
    let wrap_at = |place: &mut Value, key: &str| {
        if let Some(inner) = place.get_mut(key).filter(|inner| !inner.is_null()) {
            *inner = wrap(inner.take());
        }
    };
    if let Some(validate) = made.get_mut("validate") {
        wrap_at(validate, "pattern");
        if let Some(Value::Array(patterns)) = validate.get_mut("anyPattern") {
            patterns.iter_mut().for_each(|pattern| *pattern = wrap(pattern.take()));
        }
    }
    if let Some(mutate) = made.get_mut("mutate") {
        wrap_at(mutate, "patchStrategicMerge");
        for each in mutate.get_mut("foreach").and_then(Value::as_array_mut).into_iter().flatten() {
            wrap_at(each, "patchStrategicMerge");
        }
    }
    // Expressions name the pod by its place in the request, whatever field they stand in.
    let cel = rule["validate"]["cel"].is_object();
    let mut text = made.to_string();
    for object in ["object", "oldObject"] {
        for (part, dotted) in [("spec", "spec"), ("metadata", "metadata")] {
            text = text.replace(
                &format!("request.{object}.{part}"),
                &format!("request.{object}.{template}.{dotted}"),
            );
            if cel {
                text = bare(&text, object, part, template);
            }
        }
    }
    serde_json::from_str(&text).ok()
}

/// `object.spec` where it is not a part of a longer name.
fn bare(text: &str, object: &str, part: &str, template: &str) -> String {
    let name = format!("{object}.{part}");
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(&name) {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let within = out.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
        out.push_str(&if within { name.clone() } else { format!("{object}.{template}.{part}") });
        rest = &after[name.len()..];
    }
    out + rest
}

/// Puts the controllers where pods are; false where there are none.
fn filters(block: &mut Value, controllers: &[&str]) -> bool {
    let mut found = false;
    let mut replace = |filter: &mut Value| {
        let resources = &mut filter["resources"];
        if kinds(resources).iter().any(|kind| is_pod(kind)) {
            resources["kinds"] = json!(controllers);
            found = true;
        }
    };
    if !block.is_object() {
        return false;
    }
    for key in ["any", "all"] {
        block.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().for_each(&mut replace);
    }
    if block.get("resources").is_some() {
        replace(block);
    }
    found
}
