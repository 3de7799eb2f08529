//! What is in a cluster at one moment: policies, what they are for, and reports on what they find.

use crate::Catalog;
use crate::policies::TASKS;
use crate::report::Dialect;
use crate::sources::{GLOBALS, KINDS, NAMESPACES, json_of};
use keyward_admission::{Policy, RuleKind};
use keyward_kubernetes::{Cluster, Error, Kind, Selection};
use serde_json::Value;

const GROUP: &str = "admissionregistration.k8s.io";
/// The API server's own policies, which nobody serves.
const NATIVE: [Kind; 2] = [
    Kind::cluster_wide(GROUP, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    Kind::cluster_wide(GROUP, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
];

/// Everything that a cluster serves.
///
/// # Errors
///
/// It cannot be read.
pub async fn catalog(cluster: &Cluster) -> Result<Catalog, Error> {
    cluster.served().await.map(Catalog::new)
}

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

/// All entries of the global context of a cluster, as JSON; none where it does not have the kind.
///
/// # Errors
///
/// They cannot be read.
pub async fn global_context(cluster: &Cluster) -> Result<Vec<Value>, Error> {
    let mut found = Vec::new();
    list(cluster, &KINDS[GLOBALS], &mut found).await?;
    Ok(found)
}

/// All namespaces of a cluster, as JSON.
///
/// # Errors
///
/// They cannot be read.
pub async fn namespaces(cluster: &Cluster) -> Result<Vec<Value>, Error> {
    let mut found = Vec::new();
    list(cluster, &NAMESPACES, &mut found).await?;
    Ok(found)
}

/// All objects of a cluster, or of one namespace, that policies may be for, of the kinds that it serves, as JSON. What policies of everything do not mean
/// (Secrets, Events and what passes quickly) is passed over unless one names it.
///
/// # Errors
///
/// What cannot be read.
pub async fn objects(
    cluster: &Cluster,
    catalog: &Catalog,
    policies: &[Policy],
    namespace: Option<&str>,
) -> Result<Vec<Value>, Error> {
    let tasks = || TASKS.into_iter().filter(|task| *task != RuleKind::Deletion);
    let kinds =
        catalog.kinds(policies.iter().flat_map(|policy| tasks().flat_map(|task| policy.interests(task))));
    let mut found = Vec::new();
    for kind in kinds.iter().filter(|kind| kind.namespaced || namespace.is_none()) {
        list_in(cluster, kind, namespace, &mut found).await?;
    }
    Ok(found)
}

async fn list(cluster: &Cluster, kind: &Kind, found: &mut Vec<Value>) -> Result<(), Error> {
    list_in(cluster, kind, None, found).await
}

async fn list_in(
    cluster: &Cluster,
    kind: &Kind,
    namespace: Option<&str>,
    found: &mut Vec<Value>,
) -> Result<(), Error> {
    let objects = cluster.objects(kind, namespace);
    match objects.list(&Selection::default(), |object| found.push(json_of(kind, &object))).await {
        Err(why) if !why.is_missing() => Err(why),
        _ => Ok(()),
    }
}
