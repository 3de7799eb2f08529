//! Pods as they are in clusters: two containers, volumes, security contexts; one of thirty breaks policies.

use std::fmt::Write as _;

/// `count` of them, as a stream of YAML.
pub(crate) fn text(count: usize) -> String {
    let mut out = String::new();
    for number in 0..count {
        let careful = number % 30 != 29;
        let _ = write!(
            out,
            "apiVersion: v1
kind: Pod
metadata:
  name: pod-{number}
  namespace: team-{team}
  labels:
    app: app-{app}
spec:
  serviceAccountName: app
  securityContext:
    runAsNonRoot: {careful}
    seccompProfile:
      type: RuntimeDefault
  containers:
  - name: app
    image: registry.example.com/app:1.{number}
    ports:
    - containerPort: 8080
    resources:
      requests:
        cpu: 50m
        memory: 64Mi
      limits:
        memory: 256Mi
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop:
        - ALL
    volumeMounts:
    - name: tmp
      mountPath: /tmp
  - name: sidecar
    image: registry.example.com/sidecar:1.{number}
    securityContext:
      allowPrivilegeEscalation: false
      capabilities:
        drop:
        - ALL
  volumes:
  - name: tmp
    emptyDir: {{}}
  - name: config
    configMap:
      name: config
---
",
            team = number % 100,
            app = number % 500,
        );
    }
    out
}
