//! The plural names of kinds, as they stand in URLs and in match constraints.

use crate::request::Kind;

/// Kinds whose plural does not follow from the rules, all lower case.
const IRREGULAR: [(&str, &str); 4] = [
    ("endpoints", "endpoints"),
    ("gateway", "gateways"),
    ("componentstatus", "componentstatuses"),
    ("podmetrics", "pods"),
];

/// The plural of a kind by the rules that API machinery guesses with.
pub fn of(kind: &Kind) -> String {
    let lower = kind.kind.to_lowercase();
    if let Some((_, plural)) = IRREGULAR.iter().find(|(singular, _)| *singular == lower) {
        return (*plural).to_owned();
    }
    match lower.as_bytes() {
        [] => String::new(),
        [.., b's'] | [.., b'x'] | [.., b'c', b'h'] | [.., b's', b'h'] => format!("{lower}es"),
        [.., b'y'] => format!("{}ies", &lower[..lower.len() - 1]),
        _ => format!("{lower}s"),
    }
}

/// Kinds of the API that have no namespace.
const CLUSTER: [&str; 29] = [
    "Namespace",
    "Node",
    "PersistentVolume",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "StorageClass",
    "PriorityClass",
    "IngressClass",
    "RuntimeClass",
    "GatewayClass",
    "APIService",
    "CSIDriver",
    "CSINode",
    "VolumeAttachment",
    "VolumeSnapshotClass",
    "FlowSchema",
    "PriorityLevelConfiguration",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "CertificateSigningRequest",
    "ClusterPolicy",
    "ClusterCleanupPolicy",
    "ClusterIssuer",
    "ClusterSecretStore",
];

/// Whether an object is of a kind that has a namespace; kinds that are not the API's own are taken to have one.
pub fn has_namespace(object: &serde_json::Value) -> bool {
    !object["kind"].as_str().is_some_and(|kind| CLUSTER.contains(&kind))
}
