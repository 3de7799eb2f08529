//! What is in a cluster at one moment: policies, and reports on what they find.

use crate::report::Dialect;
use crate::sources::{KINDS, json_of};
use keyward_kubernetes::{Cluster, Error, Kind, Selection};
use serde_json::Value;

const GROUP: &str = "admissionregistration.k8s.io";
/// The API server's own policies, which nobody serves.
const NATIVE: [Kind; 2] = [
    Kind::cluster_wide(GROUP, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    Kind::cluster_wide(GROUP, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
];

/// All policies of a cluster, with what belongs to them, as JSON. Kinds that it does not have are passed over.
///
/// # Errors
///
/// What cannot be read.
pub async fn policies(cluster: &Cluster) -> Result<Vec<Value>, Error> {
    let mut found = Vec::new();
    for kind in KINDS.iter().chain(&NATIVE) {
        list(cluster, kind, &mut found).await?;
    }
    Ok(found)
}

/// All reports of a cluster, in both kinds that reports have, as JSON. Kinds that it does not have are passed over.
///
/// # Errors
///
/// What cannot be read.
pub async fn reports(cluster: &Cluster) -> Result<Vec<Value>, Error> {
    let mut found = Vec::new();
    for dialect in [Dialect::PolicyReports, Dialect::OpenReports] {
        for namespaced in [true, false] {
            list(cluster, &dialect.kind(namespaced), &mut found).await?;
        }
    }
    Ok(found)
}

async fn list(cluster: &Cluster, kind: &Kind, found: &mut Vec<Value>) -> Result<(), Error> {
    let objects = cluster.objects(kind, None);
    match objects.list(&Selection::default(), |object| found.push(json_of(kind, &object))).await {
        Err(why) if !why.is_missing() => Err(why),
        _ => Ok(()),
    }
}
