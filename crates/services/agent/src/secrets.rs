//! Secrets for what can read nothing else: an Ingress, an image's registry, a chart that names a Secret.
//!
//! They are disposable, and never what counts: each is made of a sealed object whose author named this ServiceAccount among
//! its subjects, is overwritten when that changes, and goes when the SealedSecret goes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_kubernetes::{Cluster, Error, Kind, Object, Objects, Source};
use serde_json::{Map, Value, json};

use crate::fetch::Opened;
use crate::target::AtRest;
use crate::{AgentError, at_rest};

pub(crate) const SECRETS: Kind = Kind::namespaced("", "v1", "Secret", "secrets");
const SEALED: Kind = Kind::namespaced("keyward.io", "v1alpha1", "SealedSecret", "sealedsecrets");
const MANAGER: &str = "keyward-agent";
/// On every Secret that is ours, with the object's digest.
const DIGEST: &str = "keyward.io/materialized-from";

pub(crate) struct Secrets {
    /// To be asked before values are written how etcd keeps them; none where somebody has given their word.
    asked: Option<Cluster>,
    namespace: String,
    secrets: Objects,
    sealed: Objects,
}

impl Secrets {
    pub(crate) async fn connect(
        source: &Source,
        namespace: &str,
        at_rest: AtRest,
    ) -> Result<Secrets, AgentError> {
        let cluster = Cluster::connect(source).await.map_err(unreachable)?;
        Ok(Secrets {
            namespace: namespace.to_owned(),
            secrets: cluster.objects(&SECRETS, Some(namespace)),
            sealed: cluster.objects(&SEALED, Some(namespace)),
            asked: (at_rest == AtRest::Verified).then_some(cluster),
        })
    }

    pub(crate) async fn deliver(&self, objects: Vec<Opened>) -> Result<(), AgentError> {
        if let Some(cluster) = &self.asked {
            at_rest::verify(cluster, &self.namespace).await?;
        }
        for opened in objects.into_iter().filter(|opened| opened.items.is_some()) {
            self.write(opened).await?;
        }
        Ok(())
    }

    async fn write(&self, opened: Opened) -> Result<(), AgentError> {
        let name = opened.name.clone();
        let there = self.secrets.get(&name).await.map_err(unreachable)?;
        if let Some(there) = &there
            && !is_ours(there)
        {
            return Err(AgentError::Taken(format!(
                "Secret {}/{name} is there, and is not of a sealed object: delete or rename it",
                self.namespace
            )));
        }
        let owner = self.sealed.get(&name).await.map_err(unreachable)?;
        let secret = secret(&self.namespace, opened, owner.as_ref());
        // The API server lets no Secret change its type.
        if let Some(there) = there.filter(|there| there.data["type"] != secret["type"]) {
            let uid = there.metadata.uid.as_deref();
            self.secrets.delete(&name, uid).await.map_err(unreachable)?;
        }
        self.secrets.apply(MANAGER, &secret).await.map_err(unreachable)?;
        Ok(())
    }
}

fn unreachable(why: Error) -> AgentError {
    AgentError::Cluster(why.to_string())
}

fn is_ours(secret: &Object) -> bool {
    secret.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(DIGEST))
}

fn secret(namespace: &str, opened: Opened, owner: Option<&Object>) -> Value {
    let Opened { name, digest, kind, items, .. } = opened;
    let values =
        items.into_iter().flatten().map(|(key, value)| (key, json!(STANDARD.encode(value.0.expose()))));
    let owners = owner.and_then(|owner| {
        let uid = owner.metadata.uid.as_deref()?;
        Some(json!([{"apiVersion": SEALED.api_version(), "kind": SEALED.kind, "name": name, "uid": uid}]))
    });
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name, "namespace": namespace, "annotations": {DIGEST: digest},
            "labels": {"app.kubernetes.io/managed-by": "keyward"},
            "ownerReferences": owners.unwrap_or_else(|| json!([])),
        },
        "type": if kind.is_empty() { "Opaque" } else { &kind },
        "data": values.collect::<Map<String, Value>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Value as Item;
    use keyward_crypto::Secret;
    use std::collections::BTreeMap;

    #[test]
    fn a_secret_says_what_it_was_made_of_and_goes_with_it() {
        let items = BTreeMap::from([("token".to_owned(), Item(Secret::new(b"abc".to_vec())))]);
        let opened = Opened {
            name: "db".into(),
            version: 3,
            digest: "d1".into(),
            kind: String::new(),
            items: Some(items),
        };
        let owner: Object =
            serde_json::from_value(json!({"apiVersion": "keyward.io/v1alpha1", "kind": "SealedSecret",
            "metadata": {"name": "db", "uid": "u1"}}))
            .unwrap();
        let made = secret("shop", opened, Some(&owner));
        assert_eq!((&made["type"], &made["data"]["token"]), (&json!("Opaque"), &json!("YWJj")));
        assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], "u1");
        assert_eq!(made["metadata"]["annotations"][DIGEST], "d1");
        let there: Object = serde_json::from_value(made).unwrap();
        assert!(is_ours(&there));
    }
}
