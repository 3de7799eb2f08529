//! Whether the API server has a KMS plugin encrypt the Secrets that it writes: as its metrics tell of one that is made to see it.
//!
//! Who asks is told by one API server of several. Counts that do not change tell nothing, and then nothing is written.

use std::collections::BTreeMap;

use keyward_kubernetes::{Cluster, Error};
use serde_json::json;

use crate::AgentError;
use crate::secrets::SECRETS;

/// Since Kubernetes 1.32 it says which resource was written.
const METRIC: &str = "apiserver_storage_transformation_operations_total{";
/// What a KMS plugin encrypted begins so, with the version of the protocol and the provider's name after it.
const BY_KMS: &str = "k8s:enc:kms:";

/// Secrets that were written, by what encrypted them; by nothing where that is empty.
type Written = BTreeMap<String, u64>;

/// Has the API server write a Secret without values in `namespace`, and looks at what encrypted it.
///
/// # Errors
///
/// Why values should not be written there, or that it cannot be told.
pub async fn verify(cluster: &Cluster, namespace: &str) -> Result<(), AgentError> {
    let secrets = cluster.objects(&SECRETS, Some(namespace));
    let before = written(cluster).await.map_err(untold)?;
    let probe = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "generateName": "keyward-at-rest-", "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "keyward"},
        },
    });
    let made = secrets.create(&probe).await.map_err(untold)?;
    let after = written(cluster).await;
    let name = made.metadata.name.unwrap_or_default();
    secrets.delete(&name, made.metadata.uid.as_deref()).await.map_err(untold)?;
    judge(&before, &after.map_err(untold)?).map_err(AgentError::AtRest)
}

fn untold(why: Error) -> AgentError {
    AgentError::AtRest(format!("it cannot be told: {why}"))
}

async fn written(cluster: &Cluster) -> Result<Written, Error> {
    let mut written = Written::new();
    cluster.lines("/metrics", |line| written.extend(read(line))).await?;
    Ok(written)
}

/// A line of the metric, if it is about Secrets that were written.
fn read(line: &str) -> Option<(String, u64)> {
    let (labels, count) = line.strip_prefix(METRIC)?.rsplit_once("\"} ")?;
    let labels: BTreeMap<&str, &str> =
        labels.split("\",").filter_map(|label| label.split_once("=\"")).collect();
    let is_written = [("resource", "secrets"), ("transformation_type", "to_storage"), ("status", "OK")]
        .iter()
        .all(|(name, wanted)| labels.get(name) == Some(wanted));
    // Large counts have an exponent.
    let count = count.parse::<f64>().ok().filter(|_| is_written)?;
    Some(((*labels.get("transformer_prefix")?).to_owned(), count as u64))
}

fn judge(before: &Written, after: &Written) -> Result<(), String> {
    let grew = |(by, count): &(&String, &u64)| before.get(*by).copied().unwrap_or_default() < **count;
    let mut used = after.iter().filter(grew).map(|(by, _)| by.as_str()).peekable();
    if used.peek().is_none() {
        return Err(
            "the API server encrypts no Secrets, or is older than 1.32 and does not say so".to_owned()
        );
    }
    match used.find(|by| !by.starts_with(BY_KMS)) {
        None => Ok(()),
        Some("") => Err("the API server's first provider for Secrets is identity".to_owned()),
        Some(other) => Err(format!("the API server encrypts by {other} with a key that lies beside it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(by: &str, count: &str) -> Option<(String, u64)> {
        read(&format!(
            "{METRIC}resource=\"secrets\",status=\"OK\",transformation_type=\"to_storage\",transformer_prefix=\"{by}\"}} {count}"
        ))
    }

    #[test]
    fn of_a_page_of_metrics_secrets_that_were_written_are_read() {
        let by = "k8s:enc:kms:v2:keyward:";
        assert_eq!(counted(by, "12"), Some((by.to_owned(), 12)));
        assert_eq!(counted("", "1.5e+06"), Some((String::new(), 1_500_000)));
        for other in [
            "# TYPE apiserver_storage_transformation_operations_total counter",
            "apiserver_storage_transformation_operations_total{status=\"OK\",transformation_type=\"to_storage\",transformer_prefix=\"\"} 1",
            "apiserver_storage_transformation_operations_total{resource=\"configmaps\",status=\"OK\",transformation_type=\"to_storage\",transformer_prefix=\"\"} 1",
            "apiserver_storage_transformation_operations_total{resource=\"secrets\",status=\"OK\",transformation_type=\"from_storage\",transformer_prefix=\"\"} 1",
            "apiserver_storage_transformation_operations_total{resource=\"secrets\",status=\"OK\",transformation_type=\"to_storage\"} 1",
            "apiserver_storage_transformation_operations_total{\"} ",
            "",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn only_a_kms_plugin_that_wrote_the_last_one_will_do() {
        let written = |all: &[(&str, u64)]| -> Written {
            all.iter().map(|(by, count)| ((*by).to_owned(), *count)).collect()
        };
        let kms = "k8s:enc:kms:v2:keyward:";
        for (before, after, wanted) in [
            (&[][..], &[(kms, 1)][..], ""),
            (&[(kms, 4), ("", 9)], &[(kms, 6), ("", 9)], ""),
            (&[(kms, 4)], &[(kms, 4)], "encrypts no Secrets"),
            (&[], &[], "encrypts no Secrets"),
            (&[(kms, 4)], &[(kms, 5), ("", 1)], "identity"),
            (&[], &[("k8s:enc:secretbox:v1:", 1)], "k8s:enc:secretbox:v1:"),
        ] {
            let why = judge(&written(before), &written(after)).err().unwrap_or_default();
            assert!(
                why.contains(wanted) && why.is_empty() == wanted.is_empty(),
                "{before:?} {after:?}: {why}"
            );
        }
    }
}
