//! Admission policies as people write them in YAML, and what they say about a pod.

use keyward_admission::{Leave, Loaded, Nothing, Operation, Request, RuleKind, Surroundings, load, yaml};
use serde_json::json;

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    let Ok(documents) = yaml::documents(text) else { return };
    let around = Surroundings { snapshot: &Nothing, exceptions: &[], bindings: &[], now: 0, seed: 1, leave: Leave::Full };
    for document in documents {
        match load(&document.value, Some(&document.lines)) {
            Ok(Loaded::Policy(policy)) => {
                for kind in [RuleKind::Mutation, RuleKind::Validation, RuleKind::Generation, RuleKind::ImageVerification] {
                    let pod = json!({
                        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "n", "labels": {"x": "y"}},
                        "spec": {"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}]},
                    });
                    policy.decide(kind, &Request::of_object(pod, Operation::Create), &around);
                }
            }
            Ok(_) => {}
            Err(refusal) => assert!(!refusal.to_string().is_empty()),
        }
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&[
        "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: a}\nspec:\n  rules:\n  - name: b\n    match: {any: [{resources: {kinds: [Pod]}}]}\n    preconditions: {all: [{key: '{{ request.operation }}', operator: AnyIn, value: [CREATE]}]}\n    validate: {message: '{{ request.object.metadata.name }}', pattern: {spec: {'=(containers)': [{'(image)': '*:latest', name: '?*'}]}}}\n",
        "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: a}\nspec:\n  rules:\n  - name: b\n    match: {any: [{resources: {kinds: [Pod]}}]}\n    mutate: {foreach: [{list: 'request.object.spec.containers', patchStrategicMerge: {spec: {containers: [{(name): '{{ element.name }}', +(tty): true}]}}}]}\n",
        "apiVersion: policies.kyverno.io/v1\nkind: ValidatingPolicy\nmetadata: {name: a}\nspec:\n  matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], resources: [pods], operations: [CREATE]}]}\n  variables: [{name: v, expression: object.spec.containers}]\n  validations: [{expression: 'variables.v.all(c, has(c.image))', messageExpression: \"'a' + object.metadata.name\"}]\n",
    ])
}
