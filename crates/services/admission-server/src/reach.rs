//! How far lookups reach: a policy of a namespace sees that namespace and nothing else, whatever we may see ourselves.

use keyward_admission::Lookup;
use keyward_signatures::{PublicKeySource, Trust};
use serde_json::Value;

/// The question as a policy of a namespace may ask it; a policy of the whole cluster, whose `home` is empty, asks anything.
///
/// # Errors
///
/// Why it may not ask.
pub fn within(home: &str, question: &Lookup) -> Result<Lookup, String> {
    if home.is_empty() {
        return Ok(question.clone());
    }
    let only =
        |what: &str| Err(format!("a policy of the namespace {home} may look only there, and not at {what}"));
    match question {
        Lookup::ConfigMap { namespace, .. } | Lookup::Object { namespace, .. } if namespace != home => {
            only(&format!("the namespace {namespace:?}"))
        }
        Lookup::Objects { api_version, resource, namespace, selector } => match namespace.as_str() {
            "" => Ok(Lookup::Objects {
                api_version: api_version.clone(),
                resource: resource.clone(),
                namespace: home.to_owned(),
                selector: selector.clone(),
            }),
            namespace if namespace != home => only(&format!("the namespace {namespace}")),
            _ => Ok(question.clone()),
        },
        Lookup::Kubernetes { path, .. } if !is_below(path, home) => only(path),
        Lookup::Access { spec } if spec["resourceAttributes"]["namespace"] != home => {
            only("what may be done elsewhere")
        }
        _ if question.is_about_images() => of_images(home, question),
        _ => Ok(question.clone()),
    }
}

/// Secrets with keys and credentials are those of the policy's namespace.
fn of_images(home: &str, question: &Lookup) -> Result<Lookup, String> {
    let mut question = question.clone();
    let (access, attestor) = match &mut question {
        Lookup::Signatures { attestor, place, .. } | Lookup::Attestations { attestor, place, .. } => {
            (&mut place.access, Some(attestor))
        }
        Lookup::Referrer { access, .. } | Lookup::Image { access, .. } => (access, None),
        _ => return Ok(question),
    };
    let key = attestor.map(|attestor| &attestor.trust);
    let key = match key {
        Some(Trust::Key { key: PublicKeySource::Secret { namespace, name }, .. }) => Some((namespace, name)),
        _ => None,
    };
    let outside = access.secrets.iter().map(|secret| (&secret.namespace, &secret.name)).chain(key);
    if let Some((namespace, name)) = outside.into_iter().find(|(one, _)| !one.is_empty() && *one != home) {
        return Err(format!(
            "a policy of the namespace {home} may look only there, and not at the Secret {namespace}/{name}"
        ));
    }
    for secret in &mut access.secrets {
        home.clone_into(&mut secret.namespace);
    }
    Ok(question)
}

/// The parts of a path of the API; none where it may mean another one than it seems to.
fn parts(path: &str) -> Vec<&str> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if path.contains(['%', '\\']) || path.split('/').any(|part| part == "." || part == "..") {
        return Vec::new();
    }
    path.trim_start_matches('/').split('/').collect()
}

/// Whether a POST to a path asks who may do what, and changes nothing.
pub(crate) fn is_review_of_access(path: &str) -> bool {
    matches!(parts(path)[..], ["apis", "authorization.k8s.io", _, .., review] if review.ends_with("reviews"))
}

/// Whether a path of the API lies in a namespace, however it is written.
fn is_below(path: &str, home: &str) -> bool {
    match parts(path)[..] {
        ["api", _, "namespaces", namespace, _, ..] | ["apis", _, _, "namespaces", namespace, _, ..] => {
            namespace == home
        }
        _ => false,
    }
}

/// The query that selects by labels, of a mapping or of its `matchLabels`.
///
/// # Errors
///
/// A label that the API server would not know as one.
pub(crate) fn labels(selector: &Value) -> Result<String, String> {
    let labels = selector.get("matchLabels").unwrap_or(selector).as_object();
    let mut query = String::new();
    for (key, value) in labels.into_iter().flatten() {
        let value = value.as_str().ok_or_else(|| format!("the label {key} of a selector is not a text"))?;
        let fits = |text: &str, more: &str| {
            text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c) || more.contains(c))
        };
        if key.is_empty() || key.len() > 317 || !fits(key, "/") || value.len() > 63 || !fits(value, "") {
            return Err(format!("{key}={value} cannot be a label, and selects nothing"));
        }
        query.push_str(if query.is_empty() { "?labelSelector=" } else { "%2C" });
        query.push_str(&format!("{}%3D{value}", key.replace('/', "%2F")));
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_policy_of_a_namespace_looks_nowhere_else() {
        let call =
            |path: &str| Lookup::Kubernetes { method: "GET".into(), path: path.into(), body: Value::Null };
        for allowed in
            ["/api/v1/namespaces/team/pods", "/apis/apps/v1/namespaces/team/deployments/web?limit=1"]
        {
            assert!(within("team", &call(allowed)).is_ok(), "{allowed}");
        }
        for refused in [
            "/api/v1/secrets",
            "/api/v1/namespaces/kube-system/secrets",
            "/api/v1/namespaces/team/../kube-system/secrets",
            "/api/v1/namespaces/team/%2e%2e/kube-system/secrets",
            "/api/v1/namespaces/team",
            "/apis/apps/v1/deployments",
        ] {
            assert!(within("team", &call(refused)).is_err(), "{refused}");
            assert!(within("", &call(refused)).is_ok());
        }
        let listed = |namespace: &str| Lookup::Objects {
            api_version: "v1".into(),
            resource: "secrets".into(),
            namespace: namespace.into(),
            selector: Value::Null,
        };
        assert_eq!(within("team", &listed("")), Ok(listed("team")));
        assert!(within("team", &listed("other")).is_err());
    }

    #[test]
    fn a_policy_of_a_namespace_asks_who_may_do_what_there() {
        let asked = |attributes: Value| Lookup::Access {
            spec: json!({"user": "a", "resourceAttributes": attributes}),
        };
        assert!(within("team", &asked(json!({"resource": "pods", "namespace": "team"}))).is_ok());
        for attributes in [
            json!({"resource": "pods", "namespace": "other"}),
            json!({"resource": "nodes"}),
            json!({"namespace": ""}),
        ] {
            assert!(within("team", &asked(attributes.clone())).is_err(), "{attributes}");
            assert!(within("", &asked(attributes)).is_ok());
        }
        let path =
            Lookup::Access { spec: json!({"user": "a", "nonResourceAttributes": {"path": "/metrics"}}) };
        assert!(within("team", &path).is_err());
    }

    #[test]
    fn only_reviews_of_access_change_nothing() {
        let below = "/apis/authorization.k8s.io/v1/";
        for review in
            ["subjectaccessreviews", "selfsubjectrulesreviews", "namespaces/a/localsubjectaccessreviews"]
        {
            assert!(is_review_of_access(&format!("{below}{review}")), "{review}");
        }
        for other in
            ["/api/v1/namespaces/a/pods", "/apis/authorization.k8s.io/v1/../../../api/v1/reviews", below]
        {
            assert!(!is_review_of_access(other), "{other}");
        }
    }

    #[test]
    fn labels_select_what_they_say() {
        let selector = json!({"matchLabels": {"app.kubernetes.io/name": "web", "tier": ""}});
        assert_eq!(labels(&selector).unwrap(), "?labelSelector=app.kubernetes.io%2Fname%3Dweb%2Ctier%3D");
        assert_eq!(labels(&Value::Null).unwrap(), "");
        for wrong in [json!({"a": "b,c=d"}), json!({"a&limit": "1"}), json!({"a": 1}), json!({"a": "b c"})] {
            assert!(labels(&wrong).is_err(), "{wrong}");
        }
    }
}
