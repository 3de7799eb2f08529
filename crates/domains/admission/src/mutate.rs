//! `mutate`: what a rule makes of the object, or of other objects.

mod anchors;
pub(crate) mod json_patch;
pub(crate) mod merge;

use crate::condition::Conditions;
use crate::context::{Entry, Frame};
use crate::jmespath::{Error, Val};
use crate::lookup::Lookup;
use crate::loops::{Loop, NAMES};
use crate::outcome::{Effects, RuleKind, RuleOutcome, Status};
use crate::refusal::{At, Read};
use crate::template::{Template, Text};
use crate::wildcard;
use crate::yaml;
use anchors::Unmet;
use json_patch::Operation;
use serde_json::Value;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Mutate {
    change: Change,
    targets: Vec<Target>,
    /// `mutateExistingOnPolicyUpdate`, where it says.
    on_policy_update: Option<bool>,
}

#[derive(Debug)]
enum Change {
    Merge(Template),
    /// A patch whose variables stand in its YAML, and one in which they stand in its values.
    Patch(Text),
    ForEach(Vec<ForEach>),
    Nothing,
}

#[derive(Debug)]
struct ForEach {
    over: Loop,
    descending: bool,
    context: Vec<Entry>,
    preconditions: Option<Conditions>,
    change: Change,
}

/// Other objects that are changed.
#[derive(Debug)]
struct Target {
    api_version: Text,
    kind: Text,
    namespace: Text,
    name: Text,
    selector: Option<Template>,
    context: Vec<Entry>,
    preconditions: Option<Conditions>,
}

enum Changed {
    To(Value),
    Not(&'static str),
}

impl Mutate {
    pub(crate) fn compile(at: &At<'_>) -> Read<Mutate> {
        at.only(&[
            "patchStrategicMerge",
            "patchesJson6902",
            "foreach",
            "targets",
            "mutateExistingOnPolicyUpdate",
        ])?;
        let update = "mutateExistingOnPolicyUpdate";
        let on_policy_update = at.get(update).map(|_| at.flag(update, false)).transpose()?;
        Ok(Mutate { change: change(at)?, targets: at.each_of("targets", target)?, on_policy_update })
    }

    /// Whether it changes other objects.
    pub(crate) fn is_elsewhere(&self) -> bool {
        !self.targets.is_empty()
    }

    pub(crate) fn on_policy_update(&self) -> Option<bool> {
        self.on_policy_update
    }

    pub(crate) fn decide<'a>(
        &'a self,
        rule: &Arc<str>,
        frame: &Frame<'a>,
    ) -> Result<(RuleOutcome, Option<Value>), Error> {
        let said = |status, why: &'static str| RuleOutcome::new(rule, RuleKind::Mutation, status, why);
        if !self.targets.is_empty() {
            return Ok((self.targets(rule, frame)?, None));
        }
        let object = frame.request.object();
        Ok(match apply(&self.change, object, frame, 0)? {
            Changed::To(changed) if changed == *object => (said(Status::Skip, "no patches applied"), None),
            Changed::To(changed) => (said(Status::Pass, "mutated"), Some(changed)),
            Changed::Not(why) => (said(Status::Skip, why), None),
        })
    }

    fn targets<'a>(&'a self, rule: &Arc<str>, frame: &Frame<'a>) -> Result<RuleOutcome, Error> {
        let mut effects = Effects::default();
        for target in &self.targets {
            for object in target.find(frame)? {
                let object = frame.keep(object);
                let mark = frame.mark();
                frame.bind("target", Val::Ref(object));
                frame.define(&target.context);
                let held = target
                    .preconditions
                    .as_ref()
                    .map_or(Ok(true), |one| one.hold(&frame.view()).map(|(held, _)| held));
                let changed = held.and_then(|held| {
                    if held {
                        apply(&self.change, object, frame, 0)
                    } else {
                        Ok(Changed::Not("preconditions not met"))
                    }
                });
                frame.forget(mark);
                if let Changed::To(changed) = changed? {
                    effects.targets.push(changed);
                }
            }
        }
        let (status, why) = match effects.targets.is_empty() {
            true => (Status::Skip, "no target is changed"),
            false => (Status::Pass, "mutated"),
        };
        Ok(RuleOutcome::new(rule, RuleKind::Mutation, status, why).with(effects))
    }
}

fn change(at: &At<'_>) -> Read<Change> {
    if let Some(patch) = at.get("patchStrategicMerge") {
        patch.map()?;
        return Ok(Change::Merge(Template::compile(&patch)?));
    }
    if let Some(patch) = at.get("patchesJson6902") {
        let text = Text::parse(&patch, patch.str()?)?;
        if let Text::Fixed(text) = &text {
            operations(text).or_else(|why| patch.refuse(why))?;
        }
        return Ok(Change::Patch(text));
    }
    if let Some(loops) = at.get("foreach") {
        return Ok(Change::ForEach(loops.each(for_each)?));
    }
    if at.get("targets").is_some() {
        return Ok(Change::Nothing);
    }
    at.refuse("there is nothing to change by: a patchStrategicMerge, patchesJson6902 or foreach")
}

fn for_each(at: &At<'_>) -> Read<ForEach> {
    at.only(&[
        "list",
        "order",
        "elementScope",
        "context",
        "preconditions",
        "patchStrategicMerge",
        "patchesJson6902",
        "foreach",
    ])?;
    let change = change(at)?;
    let descending = match at.text("order")? {
        "Ascending" => false,
        "Descending" => true,
        // Removals by index go from the end, unless told otherwise.
        "" => false,
        other => {
            return at.need("order")?.refuse(format_args!("{other} is neither Ascending nor Descending"));
        }
    };
    Ok(ForEach {
        over: Loop::compile(at)?,
        descending,
        context: Entry::compile_all(at)?,
        preconditions: at.get("preconditions").map(|at| Conditions::compile(&at)).transpose()?,
        change,
    })
}

fn target(at: &At<'_>) -> Read<Target> {
    at.only(&["apiVersion", "kind", "namespace", "name", "uid", "selector", "context", "preconditions"])?;
    let text = |key: &str| Text::parse(at, at.text(key)?);
    Ok(Target {
        api_version: text("apiVersion")?,
        kind: text("kind")?,
        namespace: text("namespace")?,
        name: text("name")?,
        selector: at.get("selector").map(|at| Template::compile(&at)).transpose()?,
        context: Entry::compile_all(at)?,
        preconditions: at.get("preconditions").map(|at| Conditions::compile(&at)).transpose()?,
    })
}

impl Target {
    fn find<'a>(&self, frame: &Frame<'a>) -> Result<Vec<Val<'a>>, Error> {
        let view = frame.view();
        let (namespace, name) = (self.namespace.render_string(&view)?, self.name.render_string(&view)?);
        let question = Lookup::Objects {
            api_version: self.api_version.render_string(&view)?,
            resource: self.kind.render_string(&view)?,
            namespace: if wildcard::is_wild(&namespace) { String::new() } else { namespace.clone() },
            selector: Value::Null,
        };
        let selector = match &self.selector {
            Some(selector) => {
                let selector = selector.render(&view)?;
                let compiled = crate::matching::Selector::compile(&At::new(&selector));
                Some(compiled.map_err(|refusal| Error::Fault(refusal.to_string()))?)
            }
            None => None,
        };
        let found = frame.ask(&question)?;
        let items = found.items().or_else(|| found.field("items")?.items()).unwrap_or_default();
        let suits = |object: &Val<'a>| {
            let object = object.to_value();
            let metadata = &object["metadata"];
            let part = |pattern: &str, key: &str| {
                pattern.is_empty() || wildcard::matches(pattern, metadata[key].as_str().unwrap_or_default())
            };
            part(&name, "name")
                && part(&namespace, "namespace")
                && selector.as_ref().is_none_or(|selector| selector.matches(&metadata["labels"]))
        };
        Ok(items.into_iter().filter(suits).collect())
    }
}

fn apply<'a>(
    change: &'a Change,
    object: &Value,
    frame: &Frame<'a>,
    nesting: usize,
) -> Result<Changed, Error> {
    match change {
        Change::Nothing => Ok(Changed::Not("no patches applied")),
        Change::Merge(template) => {
            let mut patch = template.render(&frame.view())?;
            match anchors::resolve(&mut patch, object, &frame.world.meter) {
                Err(Unmet::Condition) => return Ok(Changed::Not("conditions of the patch are not met")),
                Err(Unmet::Spent) => return Err(Error::Spent),
                Ok(()) => {}
            }
            Ok(Changed::To(merge::merge(object, &patch, merge::Order::Prepend)))
        }
        Change::Patch(text) => {
            let text = text.render_string(&frame.view())?;
            let operations = operations(&text).map_err(Error::Fault)?;
            let mut changed = object.clone();
            json_patch::apply(&mut changed, &operations).map_err(Error::Fault)?;
            Ok(Changed::To(changed))
        }
        Change::ForEach(loops) => for_each_element(loops, object, frame, nesting),
    }
}

fn operations(text: &str) -> Result<Vec<Operation>, String> {
    let values = yaml::values(text).map_err(|fault| format!("the patch is not YAML: {fault}"))?;
    json_patch::parse(values.first().unwrap_or(&Value::Null))
}

fn for_each_element<'a>(
    loops: &'a [ForEach],
    object: &Value,
    frame: &Frame<'a>,
    nesting: usize,
) -> Result<Changed, Error> {
    let mut current: Option<Value> = None;
    for each in loops {
        let Some(elements) = each.over.elements(frame)? else { continue };
        let mut elements: Vec<(usize, Val<'a>)> = elements.into_iter().enumerate().collect();
        if each.descending {
            elements.reverse();
        }
        for (index, element) in elements {
            if element.is_null() {
                continue;
            }
            let mark = frame.mark();
            let element = Val::Ref(frame.keep(element));
            NAMES[nesting.min(NAMES.len() - 1)].bind(frame, &element, index);
            frame.define(&each.context);
            let held = each
                .preconditions
                .as_ref()
                .map_or(Ok(true), |one| one.hold(&frame.view()).map(|(held, _)| held));
            let changed = held.and_then(|held| {
                let object = current.as_ref().unwrap_or(object);
                if held { apply(&each.change, object, frame, nesting + 1) } else { Ok(Changed::Not("")) }
            });
            frame.forget(mark);
            if let Changed::To(changed) = changed? {
                current = Some(changed);
            }
        }
    }
    Ok(current.map_or(Changed::Not("no patches applied"), Changed::To))
}
