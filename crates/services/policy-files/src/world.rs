//! A world made of files, in the place of a cluster, a registry and other services.

use keyward_admission::{Kind, Lookup, Snapshot, plural, same_image};
use serde_json::{Value, json};
use std::borrow::Cow;

/// Why nothing is known of an image.
const UNASKED: &str = "no registry is asked unless with --registry, and nothing else tells of it";

/// What is there when policies ask.
#[derive(Debug, Default)]
pub struct World {
    /// Objects of the cluster.
    pub objects: Vec<Value>,
    /// Answers of services: method (empty for any), URL or path, and the body, or why there is none.
    pub answers: Vec<(String, String, Result<Value, String>)>,
    /// What a registry has: `image`, and what is known of it.
    pub images: Vec<Value>,
    /// Entries of the global context.
    pub globals: Vec<(String, Value)>,
    /// Who knows what is asked of images and not told here; nobody, unless registries are to be asked.
    pub registries: Option<Box<dyn Registries>>,
}

/// Who asks registries.
pub trait Registries: std::fmt::Debug {
    /// The answer to a question about images.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn answer(&self, question: &Lookup) -> Result<Value, String>;
}

fn is_of(object: &Value, api_version: &str, resource: &str) -> bool {
    let kind = Kind::of(object);
    let version = api_version.is_empty() || api_version == "*" || object["apiVersion"] == api_version;
    let named = kind.kind.eq_ignore_ascii_case(resource)
        || plural(&kind).eq_ignore_ascii_case(resource)
        || resource == "*";
    version && named
}

/// Whether all that is said of a question is so; of a list, whether its elements are among the question's.
fn says_no_more(said: &Value, asked: &Value) -> bool {
    match said {
        Value::Object(map) => map.iter().all(|(key, said)| says_no_more(said, &asked[key])),
        Value::Array(list) => {
            list.iter().all(|said| asked.as_array().is_some_and(|asked| asked.contains(said)))
        }
        Value::String(text) if text.is_empty() => asked.as_str().is_none_or(str::is_empty),
        said => said == asked,
    }
}

fn text<'v>(object: &'v Value, key: &str) -> &'v str {
    object["metadata"][key].as_str().unwrap_or_default()
}

impl World {
    /// The namespace of an object, with the label that every namespace has; none for what has no namespace.
    pub fn namespace(&self, object: &Value) -> Option<Value> {
        let name = match keyward_admission::has_namespace(object) {
            true => object["metadata"]["namespace"].as_str()?,
            false => return None,
        };
        let known = self.objects.iter().find(|one| {
            let kind = one["kind"].as_str().unwrap_or_default();
            kind.eq_ignore_ascii_case("namespace") && text(one, "name") == name
        });
        let bare = || json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        let mut namespace = known.cloned().unwrap_or_else(bare);
        if !namespace["metadata"]["labels"].is_object() {
            namespace["metadata"]["labels"] = json!({});
        }
        namespace["metadata"]["labels"]["kubernetes.io/metadata.name"] = json!(name);
        Some(namespace)
    }

    fn one(
        &self,
        api_version: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Cow<'_, Value>, String> {
        let found = self.objects.iter().find(|object| {
            is_of(object, api_version, resource)
                && text(object, "name") == name
                && (namespace.is_empty()
                    || text(object, "namespace") == namespace
                    || !keyward_admission::has_namespace(object))
        });
        found.map(Cow::Borrowed).ok_or_else(|| format!("{resource} \"{name}\" not found"))
    }

    fn all(&self, api_version: &str, resource: &str, namespace: &str, selector: &Value) -> Value {
        let chosen = |object: &&Value| {
            let labels = &object["metadata"]["labels"];
            let wanted = selector.get("matchLabels").unwrap_or(selector);
            is_of(object, api_version, resource)
                && (namespace.is_empty() || text(object, "namespace") == namespace)
                && wanted.as_object().into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
        };
        let items: Vec<Value> = self.objects.iter().filter(chosen).cloned().collect();
        json!({ "apiVersion": api_version, "kind": "List", "items": items })
    }

    /// The status of the first SubjectAccessReview whose spec says no more than what is asked.
    fn access(&self, spec: &Value) -> Result<Cow<'_, Value>, String> {
        let mut reviews = self.objects.iter().filter(|object| object["kind"] == "SubjectAccessReview");
        let found = reviews.find(|review| says_no_more(&review["spec"], spec));
        found.map(|review| Cow::Borrowed(&review["status"])).ok_or_else(|| {
            format!("no SubjectAccessReview among the objects or values says whether that is allowed: {spec}")
        })
    }

    fn answered(&self, method: &str, place: &str) -> Option<Result<Cow<'_, Value>, String>> {
        let found = self
            .answers
            .iter()
            .find(|(known, at, _)| (known.is_empty() || known == method) && at == place)?;
        Some(found.2.as_ref().map(Cow::Borrowed).map_err(Clone::clone))
    }

    /// A path of the API, such as `/apis/apps/v1/namespaces/default/deployments/web`.
    fn path(&self, path: &str) -> Result<Cow<'_, Value>, String> {
        let bare = path.split('?').next().unwrap_or_default();
        let steps: Vec<&str> = bare.trim_matches('/').split('/').collect();
        let (version, rest) = match steps[..] {
            ["api", version, ref rest @ ..] => (version.to_owned(), rest),
            ["apis", group, version, ref rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return Err(format!("{path} is no path of the API")),
        };
        match rest {
            ["namespaces", namespace, resource] => {
                Ok(Cow::Owned(self.all(&version, resource, namespace, &Value::Null)))
            }
            ["namespaces", namespace, resource, name, ..] => self.one(&version, resource, namespace, name),
            [resource] => Ok(Cow::Owned(self.all(&version, resource, "", &Value::Null))),
            [resource, name] => self.one(&version, resource, "", name),
            _ => Err(format!("{path} is no path of the API")),
        }
    }
}

impl Snapshot for World {
    fn answer(&self, question: &Lookup) -> Option<Result<Cow<'_, Value>, String>> {
        Some(match question {
            Lookup::ConfigMap { namespace, name } => self.one("v1", "configmaps", namespace, name),
            Lookup::Kubernetes { method, path, .. } => {
                self.answered(method, path).unwrap_or_else(|| self.path(path))
            }
            Lookup::Service { method, url, .. } => self
                .answered(method, url)
                .unwrap_or_else(|| Err(format!("{method} {url} has no answer in the test"))),
            Lookup::Global { name, projection } => match self.globals.iter().find(|(known, _)| known == name)
            {
                None => Err(format!("there is no global context entry {name}")),
                Some((_, value)) if projection.is_empty() => Ok(Cow::Borrowed(value)),
                Some((_, value)) => value
                    .get(projection)
                    .map(Cow::Borrowed)
                    .ok_or_else(|| format!("{name} has no projection {projection}")),
            },
            Lookup::Object { api_version, resource, namespace, name } => {
                self.one(api_version, resource, namespace, name)
            }
            Lookup::Objects { api_version, resource, namespace, selector } => {
                Ok(Cow::Owned(self.all(api_version, resource, namespace, selector)))
            }
            Lookup::Access { spec } => self.access(spec),
            Lookup::Image { reference, .. } => {
                let same =
                    |image: &&Value| same_image(image["image"].as_str().unwrap_or_default(), reference);
                let found = self.images.iter().find(same).map(Cow::Borrowed);
                match (found, &self.registries) {
                    (Some(found), _) => Ok(found),
                    (None, Some(registries)) => registries.answer(question).map(Cow::Owned),
                    (None, None) => Err(format!("{reference}: {UNASKED}")),
                }
            }
            Lookup::Signatures { image, .. }
            | Lookup::Attestations { image, .. }
            | Lookup::Referrer { image, .. } => match &self.registries {
                Some(registries) => registries.answer(question).map(Cow::Owned),
                None => Err(format!("{image}: {UNASKED}")),
            },
        })
    }
}
