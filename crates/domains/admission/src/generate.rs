//! `generate`: other objects that exist because the object does.

use crate::condition::Conditions;
use crate::context::{Entry, Frame};
use crate::jmespath::{Error, Val};
use crate::lookup::Lookup;
use crate::loops::{Loop, NAMES};
use crate::outcome::{Effects, RuleKind, RuleOutcome, Status};
use crate::refusal::{At, Read};
use crate::template::{Template, Text};
use serde_json::{Map, Value, json};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Generate {
    source: Option<Source>,
    loops: Vec<ForEach>,
    pub(crate) synchronize: bool,
    /// `generateExisting`, where it says.
    pub(crate) existing: Option<bool>,
    orphans: bool,
}

#[derive(Debug)]
struct ForEach {
    over: Loop,
    context: Vec<Entry>,
    preconditions: Option<Conditions>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Data { target: Target, data: Option<Template> },
    Clone { target: Target, namespace: Text, name: Text },
    CloneList { target_namespace: Text, namespace: Text, kinds: Vec<Text>, selector: Option<Template> },
}

#[derive(Debug)]
struct Target {
    api_version: Text,
    kind: Text,
    namespace: Text,
    name: Text,
}

const GENERATE: [&str; 13] = [
    "generateExisting",
    "synchronize",
    "orphanDownstreamOnPolicyDelete",
    "apiVersion",
    "kind",
    "name",
    "namespace",
    "uid",
    "data",
    "clone",
    "cloneList",
    "foreach",
    "useServerSideApply",
];

impl Generate {
    pub(crate) fn compile(at: &At<'_>) -> Read<Generate> {
        at.only(&GENERATE)?;
        let loops = at.each_of("foreach", |at| {
            Ok(ForEach {
                over: Loop::compile(at)?,
                context: Entry::compile_all(at)?,
                preconditions: at.get("preconditions").map(|at| Conditions::compile(&at)).transpose()?,
                source: Source::compile(at)?,
            })
        })?;
        let source = if loops.is_empty() { Some(Source::compile(at)?) } else { None };
        let existing = at.get("generateExisting").map(|_| at.flag("generateExisting", false)).transpose()?;
        Ok(Generate {
            source,
            loops,
            synchronize: at.flag("synchronize", false)?,
            existing,
            orphans: at.flag("orphanDownstreamOnPolicyDelete", false)?,
        })
    }

    /// Whether what it made stays when the rule goes: as it says, and always for copies.
    pub(crate) fn orphans(&self) -> bool {
        let sources = self.source.iter().chain(self.loops.iter().map(|each| &each.source));
        self.orphans || sources.into_iter().any(|source| !matches!(source, Source::Data { .. }))
    }

    pub(crate) fn decide<'a>(&'a self, rule: &Arc<str>, frame: &Frame<'a>) -> Result<RuleOutcome, Error> {
        let mut effects = Effects::default();
        if let Some(source) = &self.source {
            source.make(frame, &mut effects.generated)?;
        }
        for each in &self.loops {
            for (index, element) in each.over.elements(frame)?.unwrap_or_default().into_iter().enumerate() {
                let mark = frame.mark();
                let element = Val::Ref(frame.keep(element));
                NAMES[0].bind(frame, &element, index);
                frame.define(&each.context);
                let held = each
                    .preconditions
                    .as_ref()
                    .map_or(Ok(true), |one| one.hold(&frame.view()).map(|(held, _)| held));
                let made = held.and_then(|held| {
                    if held { each.source.make(frame, &mut effects.generated) } else { Ok(()) }
                });
                frame.forget(mark);
                made?;
            }
        }
        Ok(RuleOutcome::new(rule, RuleKind::Generation, Status::Pass, "resource generated").with(effects))
    }
}

impl Source {
    fn compile(at: &At<'_>) -> Read<Source> {
        let text = |at: &At<'_>, key: &str| Text::parse(at, at.text(key)?);
        if let Some(list) = at.get("cloneList") {
            list.only(&["namespace", "kinds", "selector"])?;
            let kinds =
                list.texts("kinds")?.into_iter().map(|kind| Text::parse(&list, kind)).collect::<Read<_>>()?;
            let selector = list.get("selector").map(|at| Template::compile(&at)).transpose()?;
            let (target_namespace, namespace) = (text(at, "namespace")?, text(&list, "namespace")?);
            return Ok(Source::CloneList { target_namespace, namespace, kinds, selector });
        }
        at.need("kind")?;
        at.need("name")?;
        let target = Target {
            api_version: text(at, "apiVersion")?,
            kind: text(at, "kind")?,
            namespace: text(at, "namespace")?,
            name: text(at, "name")?,
        };
        if let Some(clone) = at.get("clone") {
            clone.only(&["namespace", "name"])?;
            return Ok(Source::Clone {
                target,
                namespace: text(&clone, "namespace")?,
                name: text(&clone, "name")?,
            });
        }
        let data = at.get("data").map(|at| Template::compile(&at)).transpose()?;
        Ok(Source::Data { target, data })
    }

    fn make(&self, frame: &Frame<'_>, made: &mut Vec<Value>) -> Result<(), Error> {
        let view = frame.view();
        match self {
            Source::Data { target, data } => {
                let data = data.as_ref().map_or(Ok(json!({})), |data| data.render(&view))?;
                let data = if data.is_object() { data } else { json!({}) };
                made.push(target.put(frame, data)?);
            }
            Source::Clone { target, namespace, name } => {
                let (_, api_version) = target.kind(frame)?;
                let question = Lookup::Object {
                    api_version,
                    resource: target.kind(frame)?.0,
                    namespace: namespace.render_string(&view)?,
                    name: name.render_string(&view)?,
                };
                let source = frame.ask(&question)?.into_value();
                made.push(target.put(frame, bare(source))?);
            }
            Source::CloneList { target_namespace, namespace, kinds, selector } => {
                let to = target_namespace.render_string(&view)?;
                let selector =
                    selector.as_ref().map_or(Ok(Value::Null), |selector| selector.render(&view))?;
                for kind in kinds {
                    let kind = kind.render_string(&view)?;
                    let (api_version, kind) = kind.rsplit_once('/').unwrap_or(("v1", &kind));
                    let question = Lookup::Objects {
                        api_version: api_version.to_owned(),
                        resource: kind.to_owned(),
                        namespace: namespace.render_string(&view)?,
                        selector: selector.clone(),
                    };
                    let found = frame.ask(&question)?;
                    for object in found.items().or_else(|| found.field("items")?.items()).unwrap_or_default()
                    {
                        let mut object = bare(object.into_value());
                        object["metadata"]["namespace"] = Value::from(to.as_str());
                        made.push(object);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Target {
    /// The kind and its API version.
    fn kind(&self, frame: &Frame<'_>) -> Result<(String, String), Error> {
        let view = frame.view();
        let (kind, version) = (self.kind.render_string(&view)?, self.api_version.render_string(&view)?);
        let version = if version.is_empty() { known_version(&kind).to_owned() } else { version };
        Ok((kind, version))
    }

    /// The object with this kind, name and namespace.
    fn put(&self, frame: &Frame<'_>, mut object: Value) -> Result<Value, Error> {
        let view = frame.view();
        let (kind, version) = self.kind(frame)?;
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        if !object["metadata"].is_object() {
            object["metadata"] = Value::Object(Map::new());
        }
        object["metadata"]["name"] = self.name.render_string(&view)?.into();
        let namespace = self.namespace.render_string(&view)?;
        if namespace.is_empty() {
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("namespace");
            }
        } else {
            object["metadata"]["namespace"] = namespace.into();
        }
        Ok(object)
    }
}

/// The API version of kinds that policies name without one.
fn known_version(kind: &str) -> &'static str {
    match kind {
        "NetworkPolicy" | "Ingress" => "networking.k8s.io/v1",
        "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" => "rbac.authorization.k8s.io/v1",
        "Deployment" | "DaemonSet" | "StatefulSet" | "ReplicaSet" => "apps/v1",
        "PodDisruptionBudget" => "policy/v1",
        "Job" | "CronJob" => "batch/v1",
        "HorizontalPodAutoscaler" => "autoscaling/v2",
        _ => "v1",
    }
}

/// An object without what the API server gave it.
pub(crate) fn bare(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        // What has no identity of its own was made by the policy, owners and all.
        if !metadata.contains_key("uid") && !metadata.contains_key("resourceVersion") {
            return object;
        }
        for key in [
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "generation",
            "managedFields",
            "selfLink",
            "ownerReferences",
        ] {
            metadata.remove(key);
        }
    }
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    object
}
