//! Policies that ask the cluster's authorizers who may do what.

use super::world::World;
use serde_json::json;

const GUARDED: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: writes}
rules:
- {apiGroups: [""], resources: [configmaps], verbs: [create, get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: guards}
rules:
- {apiGroups: [""], resources: [configmaps], verbs: [guard]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: writers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: writes}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: writers}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: guards, namespace: production}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: guards}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}
---
apiVersion: policies.kyverno.io/v1
kind: ValidatingPolicy
metadata: {name: guarded}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}
  matchConditions:
  - {name: guarded, expression: "'guarded' in object.metadata.?labels.orValue({})"}
  validations:
  - expression: "authorizer.requestResource.check('guard').allowed()"
    message: "only who may guard makes what is guarded"
  - expression: "!authorizer.serviceAccount('default', 'default').path('/metrics').check('get').allowed()"
    message: "everybody reads metrics"
---
apiVersion: policies.kyverno.io/v1
kind: NamespacedValidatingPolicy
metadata: {name: elsewhere, namespace: default}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}
  matchConditions:
  - {name: guarded, expression: "'elsewhere' in object.metadata.?labels.orValue({})"}
  validations:
  - expression: "authorizer.group('').resource('configmaps').namespace('production').check('guard').allowed()"
"#;

pub(super) fn is_asked(world: &World) {
    world.apply(GUARDED).unwrap();
    let create = |user: &str, namespace: &str, label: &str| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata":
            {"name": "guarded", "namespace": namespace, "labels": {label: "yes"}}});
        let (user, group) = (format!("--as={user}"), "--as-group=writers");
        let command = ["create", "--dry-run=server", "--filename=-", &user, group];
        world.kubectl(&command, &object.to_string())
    };
    let refused = |user: &str, namespace: &str, label: &str, words: &str| {
        world.wait_until(words, || create(user, namespace, label).is_err_and(|why| why.contains(words)));
    };
    refused("bob", "production", "guarded", "only who may guard makes what is guarded");
    refused("ann", "default", "guarded", "only who may guard makes what is guarded");
    create("ann", "production", "guarded").unwrap();
    refused("ann", "default", "elsewhere", "may look only there, and not at what may be done elsewhere");
    world.kubectl(&["delete", "validatingpolicy", "guarded"], "").unwrap();
    let elsewhere = ["delete", "namespacedvalidatingpolicy", "elsewhere", "--namespace=default"];
    world.kubectl(&elsewhere, "").unwrap();
}
