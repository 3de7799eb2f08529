//! The variables of a rule: the request, what rules define, elements of loops. What costs something is worked out when it is
//! asked for first.

use crate::image::Image;
use crate::jmespath::{self, Error, Expression, Scope, Val};
use crate::lookup::{ImageAccess, Lookup, Snapshot};
use crate::refusal::{At, Read};
use crate::request::{Operation, Request};
use crate::template::{Place, Template, Text};
use keyward_expressions::World;
use serde_json::{Map, Value, json};
use std::cell::{OnceCell, RefCell};
use typed_arena::Arena;

/// The most bytes that the variables of one rule may have together.
const SIZE: usize = 2 << 20;

/// A variable that a rule defines.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Box<str>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Variable { value: Option<Template>, path: Option<Text>, default: Option<Template> },
    ConfigMap { namespace: Text, name: Text },
    Call { call: Box<Call>, path: Option<Text>, default: Option<Template> },
    Global { name: Text, path: Option<Text> },
    Image { reference: Text, path: Option<Text>, access: ImageAccess },
}

#[derive(Debug)]
struct Call {
    method: String,
    path: Option<Text>,
    url: Option<Text>,
    ca_bundle: String,
    headers: Vec<(String, Text)>,
    data: Vec<(String, Template)>,
}

impl Entry {
    pub(crate) fn compile(at: &At<'_>) -> Read<Entry> {
        at.only(&["name", "variable", "configMap", "apiCall", "globalReference", "imageRegistry"])?;
        let name = at.need("name")?.str()?;
        let text_at = |at: &At<'_>, key: &str| -> Read<Option<Text>> {
            let text = at.text(key)?;
            if text.is_empty() { Ok(None) } else { Text::parse(at, text.trim()).map(Some) }
        };
        let path = |at: &At<'_>| -> Read<Option<Text>> {
            let path = text_at(at, "jmesPath")?;
            if let Some(Text::Fixed(text)) = &path {
                let whole = at.need("jmesPath")?;
                Expression::parse(text)
                    .or_else(|fault| whole.refuse(format_args!("not JMESPath: {fault}")))?;
            }
            Ok(path)
        };
        let template = |at: &At<'_>, key: &str| at.get(key).map(|at| Template::compile(&at)).transpose();
        let source = if let Some(variable) = at.get("variable") {
            variable.only(&["value", "jmesPath", "default"])?;
            let (value, path, default) =
                (template(&variable, "value")?, path(&variable)?, template(&variable, "default")?);
            if value.is_none() && path.is_none() {
                return variable.refuse("a variable has a value or a jmesPath");
            }
            Source::Variable { value, path, default }
        } else if let Some(map) = at.get("configMap") {
            map.only(&["name", "namespace"])?;
            let namespace = text_at(&map, "namespace")?.unwrap_or(Text::Fixed("default".into()));
            Source::ConfigMap { namespace, name: Text::parse(&map, map.need("name")?.str()?)? }
        } else if let Some(call) = at.get("apiCall") {
            Source::Call {
                path: path(&call)?,
                default: template(&call, "default")?,
                call: Box::new(Call::compile(&call)?),
            }
        } else if let Some(global) = at.get("globalReference") {
            global.only(&["name", "jmesPath"])?;
            Source::Global { name: Text::parse(&global, global.need("name")?.str()?)?, path: path(&global)? }
        } else if let Some(image) = at.get("imageRegistry") {
            image.only(&["reference", "jmesPath", "imageRegistryCredentials"])?;
            Source::Image {
                reference: Text::parse(&image, image.need("reference")?.str()?)?,
                path: path(&image)?,
                access: crate::images::access(&image, "imageRegistryCredentials")?,
            }
        } else {
            return at.refuse(
                "a context entry has a variable, configMap, apiCall, globalReference or imageRegistry",
            );
        };
        Ok(Entry { name: name.into(), source })
    }

    pub(crate) fn compile_all(at: &At<'_>) -> Read<Vec<Entry>> {
        at.each_of("context", Entry::compile)
    }

    fn load<'a>(&self, view: &View<'_, 'a>) -> Result<Val<'a>, Error> {
        match &self.source {
            Source::Variable { value, path, default } => {
                let found = match (value, path) {
                    (Some(value), Some(path)) => {
                        let value = Val::Own(value.render(view)?);
                        view.search(path, Some(&value))
                    }
                    (Some(value), None) => value.render(view).map(Val::Own),
                    (None, Some(path)) => view.search(path, None),
                    (None, None) => Ok(Val::NULL),
                };
                or_default(found, default.as_ref(), view)
            }
            Source::ConfigMap { namespace, name } => {
                let question = Lookup::ConfigMap {
                    namespace: namespace.render_string(view)?,
                    name: name.render_string(view)?,
                };
                view.ask(&question)
            }
            Source::Call { call, path, default } => {
                let answer = call.question(view).and_then(|question| view.ask(&question));
                let found = match path {
                    Some(path) => answer.and_then(|answer| view.search(path, Some(&answer))),
                    None => answer,
                };
                or_default(found, default.as_ref(), view)
            }
            Source::Global { name, path } => {
                let answer =
                    view.ask(&Lookup::Global { name: name.render_string(view)?, projection: String::new() })?;
                path.as_ref().map_or(Ok(answer.clone()), |path| view.search(path, Some(&answer)))
            }
            Source::Image { reference, path, access } => {
                let reference = reference.render_string(view)?;
                let access = crate::images::with_pull_secrets(access, view.frame.request);
                let answer = view.ask(&Lookup::Image { reference, access })?;
                path.as_ref().map_or(Ok(answer.clone()), |path| view.search(path, Some(&answer)))
            }
        }
    }
}

fn or_default<'a>(
    found: Result<Val<'a>, Error>,
    default: Option<&Template>,
    view: &View<'_, 'a>,
) -> Result<Val<'a>, Error> {
    match (found, default) {
        (Ok(value), Some(default)) if value.is_null() => default.render(view).map(Val::Own),
        (Err(Error::NotFound(_) | Error::Fault(_)), Some(default)) => default.render(view).map(Val::Own),
        (found, _) => found,
    }
}

impl Call {
    fn compile(at: &At<'_>) -> Read<Call> {
        at.only(&["urlPath", "method", "data", "service", "jmesPath", "default"])?;
        let text = |at: &At<'_>, key: &str| -> Read<Option<Text>> {
            at.get(key).map(|at| Text::parse(&at, at.str()?.trim())).transpose()
        };
        let method = match at.text("method")? {
            "" => "GET",
            method @ ("GET" | "POST") => method,
            other => return at.need("method")?.refuse(format_args!("{other} is neither GET nor POST")),
        };
        let (mut url, mut ca_bundle, mut headers) = (None, String::new(), Vec::new());
        if let Some(service) = at.get("service") {
            service.only(&["url", "caBundle", "headers"])?;
            url = text(&service, "url")?;
            service.text("caBundle")?.clone_into(&mut ca_bundle);
            headers = service.each_of("headers", |header| {
                let value = header.text("value")?;
                Ok((header.need("key")?.str()?.to_owned(), Text::parse(header, value)?))
            })?;
        }
        let path = text(at, "urlPath")?;
        if path.is_none() == url.is_none() {
            return at.refuse("an apiCall has either a urlPath or a service with a url");
        }
        let data = at.each_of("data", |item| {
            Ok((item.need("key")?.str()?.to_owned(), Template::compile(&item.need("value")?)?))
        })?;
        Ok(Call { method: method.to_owned(), path, url, ca_bundle, headers, data })
    }

    fn question(&self, view: &View<'_, '_>) -> Result<Lookup, Error> {
        let mut body = Map::new();
        for (key, value) in &self.data {
            body.insert(key.clone(), value.render(view)?);
        }
        let body = if body.is_empty() { Value::Null } else { Value::Object(body) };
        let method = self.method.clone();
        if let Some(url) = &self.url {
            let mut headers = Vec::new();
            for (key, value) in &self.headers {
                headers.push((key.clone(), value.render_string(view)?));
            }
            let url = url.render_string(view)?;
            return Ok(Lookup::Service { method, url, body, headers, ca_bundle: self.ca_bundle.clone() });
        }
        let path = self.path.as_ref().map_or(Ok(String::new()), |path| path.render_string(view))?;
        Ok(Lookup::Kubernetes { method, path, body })
    }
}

/// About how many bytes a value takes as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(list) => list.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Value::Object(map) => map.iter().map(|(key, item)| key.len() + size(item) + 4).sum::<usize>() + 2,
        Value::Null | Value::Bool(_) | Value::Number(_) => 5,
    }
}

enum Binding<'a> {
    Ready(&'a str, Val<'a>),
    Deferred(&'a Entry),
}

/// What the evaluation of one request with one policy shares.
pub(crate) struct Frame<'a> {
    pub(crate) request: &'a Request,
    pub(crate) arena: &'a Arena<Value>,
    pub(crate) snapshot: &'a dyn Snapshot,
    pub(crate) world: &'a World,
    rule: &'a str,
    needs: &'a RefCell<Vec<Lookup>>,
    bindings: RefCell<Vec<Binding<'a>>>,
    images: OnceCell<&'a Value>,
    held: std::cell::Cell<usize>,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(
        request: &'a Request,
        arena: &'a Arena<Value>,
        snapshot: &'a dyn Snapshot,
        world: &'a World,
        needs: &'a RefCell<Vec<Lookup>>,
    ) -> Frame<'a> {
        let rule = "";
        let bindings = RefCell::new(Vec::new());
        Frame {
            request,
            arena,
            snapshot,
            world,
            rule,
            needs,
            bindings,
            images: OnceCell::new(),
            held: std::cell::Cell::new(0),
        }
    }

    /// With the rule that is evaluated.
    pub(crate) fn for_rule(mut self, rule: &'a str) -> Frame<'a> {
        self.rule = rule;
        self
    }

    /// All variables that are defined by now.
    pub(crate) fn view(&self) -> View<'_, 'a> {
        View { frame: self, limit: usize::MAX }
    }

    /// How many variables there are, to come back to with [`Frame::forget`].
    pub(crate) fn mark(&self) -> usize {
        self.bindings.borrow().len()
    }

    pub(crate) fn forget(&self, mark: usize) {
        self.bindings.borrow_mut().truncate(mark);
    }

    pub(crate) fn define(&self, entries: &'a [Entry]) {
        self.bindings.borrow_mut().extend(entries.iter().map(Binding::Deferred));
    }

    pub(crate) fn bind(&self, name: &'a str, value: Val<'a>) {
        self.bindings.borrow_mut().push(Binding::Ready(name, value));
    }

    /// Keeps a value as long as the frame's data lives.
    pub(crate) fn keep(&self, value: Val<'a>) -> &'a Value {
        match value {
            Val::Ref(value) => value,
            other => self.arena.alloc(other.into_value()),
        }
    }

    /// The answer to a question; that it is lacking is remembered.
    pub(crate) fn ask(&self, question: &Lookup) -> Result<Val<'a>, Error> {
        match self.snapshot.answer(question) {
            Some(Ok(std::borrow::Cow::Borrowed(value))) => Ok(Val::Ref(value)),
            Some(Ok(std::borrow::Cow::Owned(value))) => Ok(Val::Ref(self.arena.alloc(value))),
            Some(Err(why)) => Err(Error::Fault(why)),
            None => {
                let mut needs = self.needs.borrow_mut();
                if !needs.contains(question) {
                    needs.push(question.clone());
                }
                Err(Error::Lacking)
            }
        }
    }

    fn images(&self) -> &'a Value {
        self.images.get_or_init(|| self.arena.alloc(images_of(self.request.object())))
    }
}

/// The variables that are defined up to some point.
pub(crate) struct View<'f, 'a> {
    pub(crate) frame: &'f Frame<'a>,
    limit: usize,
}

impl<'a> View<'_, 'a> {
    pub(crate) fn deleting(&self) -> bool {
        self.frame.request.operation == Operation::Delete
    }

    fn ask(&self, question: &Lookup) -> Result<Val<'a>, Error> {
        self.frame.ask(question)
    }

    /// What an expression, whose text may have variables, finds in a value or in the variables.
    fn search(&self, text: &Text, value: Option<&Val<'a>>) -> Result<Val<'a>, Error> {
        let text = text.render_string(self)?;
        let text = if self.deleting() { text.replace("request.object", "request.oldObject") } else { text };
        let expression = Expression::parse(&text)
            .map_err(|fault| Error::Fault(format!("{text} is not JMESPath: {fault}")))?;
        value.map_or_else(|| expression.search(self), |value| expression.search_in(value, self))
    }

    /// What the object has at a place.
    pub(crate) fn here(&self, steps: &[&str]) -> Result<Val<'a>, Error> {
        let mut value = match self.variable("target")? {
            Some(target) => target,
            None => Val::Ref(self.frame.request.object()),
        };
        for step in steps {
            let next = match step.parse::<i64>() {
                Ok(index) if value.is_list() => Some(value.index(index)),
                _ => value.field(step),
            };
            value = next.ok_or_else(|| Error::NotFound((*step).into()))?;
        }
        Ok(value)
    }

    fn binding(&self, name: &str) -> Result<Option<Val<'a>>, Error> {
        let (at, entry) = {
            let bindings = self.frame.bindings.borrow();
            let limit = self.limit.min(bindings.len());
            let found = bindings[..limit].iter().enumerate().rev().find(|(_, binding)| match binding {
                Binding::Ready(known, _) => *known == name,
                Binding::Deferred(entry) => *entry.name == *name,
            });
            match found {
                None => return Ok(None),
                Some((_, Binding::Ready(_, value))) => return Ok(Some(value.clone())),
                Some((at, Binding::Deferred(entry))) => (at, *entry),
            }
        };
        let value =
            self.overridden(name).map_or_else(|| entry.load(&View { frame: self.frame, limit: at }), Ok)?;
        let value = Val::Ref(self.frame.keep(value));
        let held = self.frame.held.get() + size(&value.to_value());
        self.frame.held.set(held);
        if held > SIZE {
            return Err(Error::Fault("the variables of the rule are larger than 2 MiB together".to_owned()));
        }
        self.frame.bindings.borrow_mut()[at] = Binding::Ready(&entry.name, value.clone());
        Ok(Some(value))
    }

    fn overridden(&self, name: &str) -> Option<Val<'a>> {
        let rule = self.frame.rule;
        let base =
            rule.strip_prefix("autogen-cronjob-").or_else(|| rule.strip_prefix("autogen-")).unwrap_or(rule);
        let request = self.frame.request;
        let own = request
            .of_rules
            .get(rule)
            .or_else(|| request.of_rules.get(base))
            .and_then(|of_rule| of_rule.get(name));
        if let Some(of_loop) = request.of_loops.get(rule).or_else(|| request.of_loops.get(base)) {
            // Only within a loop is there an index.
            let index = self.binding("elementIndex").ok().flatten().and_then(|index| index.as_f64());
            let value = index.and_then(|index| of_loop.get(name)?.get(index as usize));
            if value.is_some() {
                return value.map(Val::Ref);
            }
        }
        own.or_else(|| request.variables.get(name)).map(Val::Ref)
    }
}

impl<'a> Scope<'a> for View<'_, 'a> {
    fn variable(&self, name: &str) -> Result<Option<Val<'a>>, Error> {
        if let Some(value) = self.binding(name)? {
            return Ok(Some(value));
        }
        if let Some(value) = self.overridden(name) {
            return Ok(Some(value));
        }
        let user = || self.frame.request.review["userInfo"]["username"].as_str().unwrap_or_default();
        let account = || user().strip_prefix("system:serviceaccount:").unwrap_or_default();
        Ok(match name {
            "request" => Some(Val::Ref(&self.frame.request.review)),
            "images" => Some(Val::Ref(self.frame.images())),
            "serviceAccountName" => Some(Val::string(account().split_once(':').map_or("", |(_, name)| name))),
            "serviceAccountNamespace" => {
                Some(Val::string(account().split_once(':').map_or("", |(space, _)| space)))
            }
            _ => None,
        })
    }

    fn whole(&self) -> Result<Val<'a>, Error> {
        let mut map = self.frame.request.variables.clone();
        map.insert("request".to_owned(), self.frame.request.review.clone());
        Ok(Val::Own(Value::Object(map)))
    }

    fn world(&self) -> &World {
        self.frame.world
    }
}

/// The pod of an object: itself, or its template.
pub(crate) fn pod_spec(object: &Value) -> Option<(&Value, &'static str)> {
    Some(match object["kind"].as_str()? {
        "Pod" => (&object["spec"], "/spec"),
        "Deployment" | "DaemonSet" | "StatefulSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            (&object["spec"]["template"]["spec"], "/spec/template/spec")
        }
        "CronJob" => (
            &object["spec"]["jobTemplate"]["spec"]["template"]["spec"],
            "/spec/jobTemplate/spec/template/spec",
        ),
        _ => return None,
    })
}

/// The images of a pod's containers, by kind and name of container.
fn images_of(object: &Value) -> Value {
    let mut images = json!({});
    let Some((spec, pointer)) = pod_spec(object) else { return images };
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, container) in spec[kind].as_array().into_iter().flatten().enumerate() {
            let (Some(name), Some(image)) = (container["name"].as_str(), container["image"].as_str()) else {
                continue;
            };
            if let Ok(image) = Image::parse(image) {
                images[kind][name] = image.info(&format!("{pointer}/{kind}/{index}/image"));
            }
        }
    }
    images
}

/// A text of a policy that people read, with its variables where they can be found.
pub(crate) fn message(text: &Text, frame: &Frame<'_>) -> Result<String, jmespath::Error> {
    text.render(&frame.view(), &Place::ROOT).map(|value| match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_value().to_string(),
    })
}
