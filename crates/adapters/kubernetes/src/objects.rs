//! Objects of one kind: read and written.

use std::fmt;
use std::time::Duration;

use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
    ValidationDirective,
};
use kube::core::DynamicResourceScope;
use kube::discovery::ApiResource;
use kube::{Client, Resource, ResourceExt};
use serde_json::Value;

use crate::{Error, Kind, Metadata, Object, Why};

/// The longest that any request but a watch may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Objects in one answer to a list: what is in memory at a time.
pub(crate) const PAGE: u32 = 100;

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace; empty when its kind has none.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

impl Key {
    /// The key of an object as the API server gives it.
    pub fn of(object: &Object) -> Key {
        Key::from(&object.metadata)
    }
}

impl From<&Metadata> for Key {
    fn from(metadata: &Metadata) -> Key {
        Key {
            namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
            name: metadata.name.as_deref().unwrap_or_default().into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.is_empty() {
            true => f.write_str(&self.name),
            false => write!(f, "{}/{}", self.namespace, self.name),
        }
    }
}

/// Which objects, in the words of the API server's own selectors. All of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// A label selector, such as `app=web,tier!=cache`.
    pub labels: Option<String>,
    /// A field selector, such as `metadata.name=web`.
    pub fields: Option<String>,
}

/// Objects of one kind, in one namespace or in all. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    pub(crate) api: Api<Object>,
    kind: Kind,
    pub(crate) namespace: Option<Box<str>>,
}

/// What is served of a kind, in one namespace or in all.
pub(crate) fn api<K>(client: Client, kind: &Kind, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
{
    match namespace.filter(|_| kind.namespaced) {
        Some(namespace) => Api::namespaced_with(client, namespace, &kind.resource()),
        None => Api::all_with(client, &kind.resource()),
    }
}

impl Objects {
    pub(crate) fn new(client: Client, kind: &Kind, namespace: Option<&str>) -> Objects {
        Objects {
            api: api(client, kind, namespace),
            kind: kind.clone(),
            namespace: namespace.map(Into::into),
        }
    }

    /// Their kind.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(crate) fn doing(&self, verb: &str, name: &str) -> String {
        match (self.namespace.as_deref(), name.is_empty()) {
            (Some(namespace), false) => format!("{verb} {} {namespace}/{name}", self.kind),
            (Some(namespace), true) => format!("{verb} {} in {namespace}", self.kind),
            (None, false) => format!("{verb} {} {name}", self.kind),
            (None, true) => format!("{verb} {}", self.kind),
        }
    }

    /// One object; none when there is no such object, or nothing of its kind is served.
    pub async fn get(&self, name: &str) -> Result<Option<Object>, Error> {
        bounded(|| self.doing("reading", name), self.api.get_opt(name)).await
    }

    /// Shows every selected object to `each`, in pages.
    pub async fn list(&self, selection: &Selection, mut each: impl FnMut(Object)) -> Result<(), Error> {
        let mut pages = self.pages(selection);
        while let Some(page) = pages.next().await? {
            page.into_iter().for_each(&mut each);
        }
        Ok(())
    }

    /// The selected objects, page by page, for who has something to wait for between them.
    pub fn pages(&self, selection: &Selection) -> Pages {
        let mut ask = ListParams::default().limit(PAGE);
        ask.label_selector = selection.labels.clone();
        ask.field_selector = selection.fields.clone();
        Pages { objects: self.clone(), ask: Some(ask) }
    }

    /// Makes an object.
    pub async fn create(&self, object: &Value) -> Result<Object, Error> {
        let object = self.object("creating", object)?;
        let name = object.metadata.name.clone().unwrap_or_default();
        let doing = || self.doing("creating", &name);
        bounded(doing, self.api.create(&PostParams::default(), &object)).await
    }

    /// Replaces an object: a conflict unless it is still at the `resourceVersion` that `object` names.
    pub async fn replace(&self, name: &str, object: &Value) -> Result<Object, Error> {
        let object = self.object("replacing", object)?;
        let doing = || self.doing("replacing", name);
        bounded(doing, self.api.replace(name, &PostParams::default(), &object)).await
    }

    /// Server-side apply: what `object` names becomes the manager's, also where another had it; unknown fields are
    /// refused.
    pub async fn apply(&self, manager: &str, object: &Value) -> Result<Object, Error> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let mut how = PatchParams::apply(manager).force();
        how.field_validation = Some(ValidationDirective::Strict);
        bounded(|| self.doing("applying", name), self.api.patch(name, &how, &Patch::Apply(object))).await
    }

    /// Server-side apply of the status alone.
    pub async fn apply_status(&self, manager: &str, object: &Value) -> Result<Object, Error> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let how = PatchParams::apply(manager).force();
        let doing = || self.doing("writing the status of", name);
        bounded(doing, self.api.patch_status(name, &how, &Patch::Apply(object))).await
    }

    /// A merge patch (RFC 7396).
    pub async fn merge(&self, name: &str, patch: &Value) -> Result<Object, Error> {
        let doing = || self.doing("changing", name);
        bounded(doing, self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch))).await
    }

    /// A merge patch of the status alone.
    pub async fn merge_status(&self, name: &str, patch: &Value) -> Result<Object, Error> {
        let doing = || self.doing("writing the status of", name);
        bounded(doing, self.api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch))).await
    }

    /// Deletes an object; with a `uid`, only that one and none that was made after it under the same name. True
    /// when there was one.
    pub async fn delete(&self, name: &str, uid: Option<&str>) -> Result<bool, Error> {
        self.delete_with(name, uid, None).await
    }

    /// Deletes as [`delete`](Objects::delete), and says what becomes of what the object owns; without that it is what
    /// the API server does for the kind.
    pub async fn delete_with(
        &self,
        name: &str,
        uid: Option<&str>,
        dependents: Option<Dependents>,
    ) -> Result<bool, Error> {
        let uid = uid.map(str::to_owned);
        let mut how = DeleteParams::default().preconditions(Preconditions { uid, resource_version: None });
        how.propagation_policy = dependents.map(Dependents::policy);
        let deleted = bounded(|| self.doing("deleting", name), self.api.delete(name, &how)).await;
        match deleted {
            Ok(_) => Ok(true),
            Err(why) if why.is_missing() => Ok(false),
            Err(why) => Err(why),
        }
    }

    fn object(&self, verb: &str, object: &Value) -> Result<Object, Error> {
        let read: Result<Object, _> = serde_json::from_value(object.clone());
        read.map_err(|why| Error::new(self.doing(verb, ""), Why::Invalid(why.to_string())))
    }
}

/// What becomes of the objects that a deleted object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// They are deleted before it.
    First,
    /// They are deleted after it.
    Afterwards,
    /// They stay, without an owner.
    Stay,
}

impl Dependents {
    fn policy(self) -> PropagationPolicy {
        match self {
            Dependents::First => PropagationPolicy::Foreground,
            Dependents::Afterwards => PropagationPolicy::Background,
            Dependents::Stay => PropagationPolicy::Orphan,
        }
    }
}

/// A list, a page at a time.
pub struct Pages {
    objects: Objects,
    /// None when nothing is left to ask for.
    ask: Option<ListParams>,
}

impl Pages {
    /// The next page of at most 100 objects; none after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<Object>>, Error> {
        let Some(mut ask) = self.ask.take() else { return Ok(None) };
        let objects = &self.objects;
        let listed = bounded(|| objects.doing("listing", ""), objects.api.list(&ask)).await?;
        let next = listed.metadata.continue_.filter(|token| !token.is_empty());
        if next.is_some() {
            ask.continue_token = next;
            self.ask = Some(ask);
        }
        Ok(Some(listed.items))
    }
}

/// The `resourceVersion` an object is at.
pub(crate) fn version(object: &Object) -> String {
    object.resource_version().unwrap_or_default()
}

pub(crate) async fn bounded<T>(
    doing: impl Fn() -> String,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(LIMIT, request).await {
        Ok(answer) => answer.map_err(|why| Error::of(doing(), why)),
        Err(_) => Err(Error::new(doing(), Why::Late(LIMIT))),
    }
}
