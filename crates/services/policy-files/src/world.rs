//! A world made of files, in the place of a cluster, a registry and other services.

use keyward_admission::{Kind, Lookup, Snapshot, plural, same_image};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

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
    /// Who knows what is not told here.
    pub outside: Option<Box<dyn Outside>>,
}

/// Who is asked what no file tells: a cluster, registries.
pub trait Outside: fmt::Debug {
    /// Whether it is asked such a question at all.
    fn is_for(&self, question: &Lookup) -> bool;

    /// The answer to a question of a policy of the namespace `home`, which is empty for a policy of the whole cluster.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn answer(&self, home: &str, question: &Lookup) -> Result<Arc<Value>, String>;
}

/// What one decision sees: what is told in files, and what was found out for it.
#[derive(Debug)]
pub(crate) struct Seen<'w> {
    world: &'w World,
    found: Vec<(Lookup, Result<Arc<Value>, String>)>,
}

impl<'w> Seen<'w> {
    pub(crate) fn new(world: &'w World) -> Seen<'w> {
        Seen { world, found: Vec::new() }
    }

    /// Finds out what a decision lacks, for a policy of the namespace `home`; whether there was anything new.
    pub(crate) fn find_out(&mut self, home: &str, lacks: Vec<Lookup>) -> bool {
        let before = self.found.len();
        let Some(outside) = &self.world.outside else { return false };
        for question in lacks {
            if !self.found.iter().any(|(known, _)| *known == question) {
                let answer = outside.answer(home, &question);
                let answer = answer.map(|answer| self.world.with_told(&question, answer));
                self.found.push((question, answer));
            }
        }
        self.found.len() > before
    }
}

impl Snapshot for Seen<'_> {
    fn answer(&self, question: &Lookup) -> Option<Result<Cow<'_, Value>, String>> {
        match self.world.told(question) {
            Told::Answer(answer) => Some(answer),
            Told::Nothing(_) | Told::Some(_)
                if self.world.outside.as_ref().is_some_and(|outside| outside.is_for(question)) =>
            {
                let (_, answer) = self.found.iter().find(|(known, _)| known == question)?;
                Some(answer.as_deref().map(Cow::Borrowed).map_err(Clone::clone))
            }
            Told::Nothing(why) => Some(Err(why)),
            Told::Some(list) => Some(Ok(Cow::Owned(list))),
        }
    }
}

/// What files tell of a question.
enum Told<'w> {
    /// The answer.
    Answer(Result<Cow<'w, Value>, String>),
    /// A list of what there is, which may be more elsewhere.
    Some(Value),
    /// Nothing, in these words.
    Nothing(String),
}

impl<'w> Told<'w> {
    fn found(found: Result<Cow<'w, Value>, String>) -> Told<'w> {
        match found {
            Ok(found) => Told::Answer(Ok(found)),
            Err(why) => Told::Nothing(why),
        }
    }
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
    fn path(&self, path: &str) -> Told<'_> {
        let bare = path.split('?').next().unwrap_or_default();
        let steps: Vec<&str> = bare.trim_matches('/').split('/').collect();
        let no_path = || Told::Nothing(format!("{path} is no path of the API"));
        let (version, rest) = match steps[..] {
            ["api", version, ref rest @ ..] => (version.to_owned(), rest),
            ["apis", group, version, ref rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return no_path(),
        };
        match rest {
            ["namespaces", namespace, resource] => {
                Told::Some(self.all(&version, resource, namespace, &Value::Null))
            }
            ["namespaces", namespace, resource, name, ..] => {
                Told::found(self.one(&version, resource, namespace, name))
            }
            [resource] => Told::Some(self.all(&version, resource, "", &Value::Null)),
            [resource, name] => Told::found(self.one(&version, resource, "", name)),
            _ => no_path(),
        }
    }

    fn global(&self, name: &str, projection: &str) -> Told<'_> {
        let Some((_, value)) = self.globals.iter().find(|(known, _)| known == name) else {
            return Told::Nothing(format!("there is no global context entry {name}"));
        };
        if projection.is_empty() {
            return Told::Answer(Ok(Cow::Borrowed(value)));
        }
        let found = value.get(projection).map(Cow::Borrowed);
        Told::Answer(found.ok_or_else(|| format!("{name} has no projection {projection}")))
    }

    fn told(&self, question: &Lookup) -> Told<'_> {
        let answered = |method: &str, place: &str| self.answered(method, place).map(Told::Answer);
        match question {
            Lookup::ConfigMap { namespace, name } => {
                Told::found(self.one("v1", "configmaps", namespace, name))
            }
            Lookup::Kubernetes { method, path, .. } => {
                answered(method, path).unwrap_or_else(|| self.path(path))
            }
            Lookup::Service { method, url, .. } => answered(method, url)
                .unwrap_or_else(|| Told::Nothing(format!("{method} {url} has no answer in the test"))),
            Lookup::Global { name, projection } => self.global(name, projection),
            Lookup::Object { api_version, resource, namespace, name } => {
                Told::found(self.one(api_version, resource, namespace, name))
            }
            Lookup::Objects { api_version, resource, namespace, selector } => {
                Told::Some(self.all(api_version, resource, namespace, selector))
            }
            Lookup::Access { spec } => Told::found(self.access(spec)),
            Lookup::Image { reference, .. } => {
                let same =
                    |image: &&Value| same_image(image["image"].as_str().unwrap_or_default(), reference);
                let found = self.images.iter().find(same).map(Cow::Borrowed);
                Told::found(found.ok_or_else(|| format!("{reference}: {UNASKED}")))
            }
            Lookup::Signatures { image, .. }
            | Lookup::Attestations { image, .. }
            | Lookup::Referrer { image, .. } => Told::Nothing(format!("{image}: {UNASKED}")),
        }
    }

    /// A list from elsewhere, with what files tell of it: an object of a file stands in the place of the one of its name.
    fn with_told(&self, question: &Lookup, found: Arc<Value>) -> Arc<Value> {
        // What a query selects is not known here.
        if matches!(question, Lookup::Kubernetes { path, .. } if path.contains('?')) {
            return found;
        }
        let Told::Some(mut told) = self.told(question) else { return found };
        let Some(told) = told["items"].as_array_mut().filter(|told| !told.is_empty()) else { return found };
        let same = |one: &Value, other: &Value| {
            text(one, "name") == text(other, "name") && text(one, "namespace") == text(other, "namespace")
        };
        let mut list = Value::clone(&found);
        if let Some(items) = list["items"].as_array_mut() {
            items.retain(|item| !told.iter().any(|object| same(object, item)));
            items.append(told);
        }
        Arc::new(list)
    }
}

impl Snapshot for World {
    fn answer(&self, question: &Lookup) -> Option<Result<Cow<'_, Value>, String>> {
        Some(match self.told(question) {
            Told::Answer(answer) => answer,
            Told::Some(list) => Ok(Cow::Owned(list)),
            Told::Nothing(why) => Err(why),
        })
    }
}
