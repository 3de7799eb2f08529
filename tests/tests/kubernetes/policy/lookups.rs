//! What policies look up in a cluster when `keyward policy apply --cluster` applies them: asked with the kubeconfig's rights.

use super::world::{LIMIT, World};
use keyward_testkit::cluster::NODE_ADDRESS;
use keyward_testkit::process::run;
use keyward_tests::binary::keyward;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};

const THERE: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: asking, labels: {purpose: lookups}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: asks, namespace: asking}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: asking, labels: {of: settings}}
data: {mode: strict}
---
apiVersion: kyverno.io/v2alpha1
kind: GlobalContextEntry
metadata: {name: settings}
spec:
  kubernetesResource: {version: v1, resource: configmaps, namespace: asking}
  projections: [{name: modes, jmesPath: "[?data].data.mode"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: asking}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: viewer, namespace: asking}]
"#;

/// Each rule fails, and says what it found.
const ASKING: &str = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: asking}
spec:
  rules:
  - name: config-map
    match: &asks {any: [{resources: {kinds: [ConfigMap], names: [asks], namespaces: [asking]}}]}
    context:
    - {name: settings, configMap: {name: settings, namespace: asking}}
    validate: {message: "the mode is {{settings.data.mode}}", deny: {}}
  - name: list
    match: *asks
    context:
    - {name: found, apiCall: {urlPath: "/api/v1/namespaces/asking/configmaps", jmesPath: "sort(items[].metadata.name)"}}
    validate: {message: "there are {{join(' ', found)}}", deny: {}}
  - name: query
    match: *asks
    context:
    - {name: found, apiCall: {urlPath: "/api/v1/configmaps?labelSelector=of%3Dsettings", jmesPath: "items[].metadata.name"}}
    validate: {message: "selected are {{join(' ', found)}}", deny: {}}
  - name: global
    match: *asks
    context:
    - {name: found, globalReference: {name: settings, jmesPath: "sort([].metadata.name)"}}
    validate: {message: "known are {{join(' ', found)}}", deny: {}}
  - name: service
    match: *asks
    context:
    - {name: answer, apiCall: {method: GET, service: {url: "http://ADDRESS/answer"}}}
    validate: {message: "the service says {{answer.word}}", deny: {}}
  - name: review
    match: *asks
    context:
    - name: review
      apiCall:
        method: POST
        urlPath: /apis/authorization.k8s.io/v1/selfsubjectaccessreviews
        data:
        - {key: apiVersion, value: authorization.k8s.io/v1}
        - {key: kind, value: SelfSubjectAccessReview}
        - {key: spec, value: {resourceAttributes: {verb: delete, resource: nodes}}}
    validate: {message: "I may: {{review.status.allowed}}", deny: {}}
  - name: write
    match: *asks
    context:
    - name: made
      apiCall:
        method: POST
        urlPath: /api/v1/namespaces/asking/configmaps
        data:
        - {key: apiVersion, value: v1}
        - {key: kind, value: ConfigMap}
        - {key: metadata, value: {name: made}}
    validate: {message: "made {{made.metadata.name}}", deny: {}}
---
apiVersion: kyverno.io/v1
kind: Policy
metadata: {name: at-home, namespace: asking}
spec:
  rules:
  - name: elsewhere
    match: {any: [{resources: {kinds: [ConfigMap], names: [asks]}}]}
    context:
    - {name: found, apiCall: {urlPath: "/api/v1/namespaces/kube-system/configmaps", jmesPath: "items[].metadata.name"}}
    validate: {message: "there are {{join(' ', found)}}", deny: {}}
---
apiVersion: policies.kyverno.io/v1
kind: ValidatingPolicy
metadata: {name: asking-in-cel}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}
  matchConditions:
  - {name: asks, expression: "object.metadata.name == 'asks' && object.metadata.namespace == 'asking'"}
  variables:
  - {name: mode, expression: "resource.Get('v1', 'configmaps', 'asking', 'settings').data.mode"}
  - {name: found, expression: "resource.List('v1', 'configmaps', 'asking').items.map(one, one.kind + ' ' + one.metadata.name)"}
  - {name: views, expression: "authorizer.serviceAccount('asking', 'viewer').group('').resource('pods').check('list').allowed()"}
  - {name: modes, expression: "globalContext.Get('settings', 'modes')"}
  validations:
  - expression: "false"
    messageExpression: "variables.mode + ', ' + variables.found.join(', ') + ', ' + string(variables.views) + ', ' + variables.modes[0]"
"#;

/// In the place of the one in the cluster.
const TOLD: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: asking}
data: {mode: told}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: only-told, namespace: asking}
"#;

pub(super) fn are_answered(world: &World) {
    world.apply(THERE).unwrap();
    let (listener, address) = world.listen();
    std::thread::spawn(move || answer(&listener));
    let policies = world.folder.path().join("asking.yaml");
    fs::write(&policies, ASKING.replace("ADDRESS", &address.to_string())).unwrap();
    let told = world.folder.path().join("told.yaml");
    fs::write(&told, TOLD).unwrap();

    let apply = |more: &[&str]| -> Value {
        let mut command = world.cluster.command_in_namespace(keyward());
        command.args(["policy", "apply", "--cluster", "--of-namespace=asking", "--output=json"]);
        command.arg("--kubeconfig").arg(world.cluster.kubeconfig()).args(more).arg(&policies);
        let applied = run(&mut command, b"", LIMIT).unwrap();
        let report = String::from_utf8(applied.stdout).unwrap();
        assert_eq!(applied.status.code(), Some(1), "{}{report}", applied.stderr);
        serde_json::from_str(&report).unwrap_or_else(|why| panic!("{why}: {}{report}", applied.stderr))
    };
    let live = apply(&[]);
    let says = |report: &Value, rule: &str, words: &str| {
        let found = results(report).find(|one| one["rule"] == rule).cloned();
        let message = found.as_ref().and_then(|one| one["message"].as_str()).unwrap_or_default();
        assert!(message.contains(words), "{rule}: {words}: {report:#}");
    };
    says(&live, "config-map", "the mode is strict");
    says(&live, "list", "there are asks kube-root-ca.crt settings");
    says(&live, "query", "selected are settings");
    says(&live, "global", "known are asks kube-root-ca.crt settings");
    says(&live, "service", "the service says yes");
    says(&live, "review", "I may: true");
    says(&live, "write", "nothing is posted to /api/v1/namespaces/asking/configmaps");
    says(&live, "elsewhere", "a policy of the namespace asking may look only there");
    let in_cel = "strict, ConfigMap asks, ConfigMap kube-root-ca.crt, ConfigMap settings, true, strict";
    let found = results(&live).find(|one| one["policy"] == "asking-in-cel");
    assert_eq!(found.unwrap()["message"], in_cel, "{live:#}");
    assert!(world.kubectl(&["get", "configmap", "made", "--namespace=asking"], "").is_err());

    let mocked = apply(&["--cluster-resource", told.to_str().unwrap()]);
    says(&mocked, "config-map", "the mode is told");
    says(&mocked, "list", "there are asks kube-root-ca.crt only-told settings");
    says(&mocked, "service", "the service says yes");
    world.kubectl(&["delete", "namespace", "asking", "--wait=false"], "").unwrap();
    world.kubectl(&["delete", "globalcontextentry", "settings"], "").unwrap();
}

fn results(reports: &Value) -> impl Iterator<Item = &Value> {
    let reports = reports.as_array().into_iter().flatten();
    reports.flat_map(|one| one["results"].as_array().into_iter().flatten())
}

/// Answers each request of each connection with a word.
fn answer(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        let mut lines = BufReader::new(&stream).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let body = r#"{"word": "yes"}"#;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
    }
}

impl World {
    /// Where a service of the test's own is to be.
    pub(super) fn listen(&self) -> (TcpListener, SocketAddr) {
        let listener = self.cluster.in_namespace(|| TcpListener::bind((NODE_ADDRESS, 0))).unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }
}
