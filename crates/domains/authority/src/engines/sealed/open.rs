//! Opening for a workload that is proved.

use super::admit;
use super::config::{self, Config};
use super::object::{self, Object, State};
use super::phase;
use super::prove::{self, Workload};
use crate::context::Context;
use crate::engines::transit::wire::Hidden;
use crate::policy::{Ask, Parameters};
use crate::posture::Seen;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use keyward_envelope::{Place, Violation};
use keyward_intent::Moment;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// Objects that one request opens.
const MOST: usize = 32;

/// One object's values, or that they are what is known already.
#[derive(Serialize)]
struct Opened {
    namespace: String,
    name: String,
    version: u64,
    digest: String,
    /// The type of the Secret.
    #[serde(rename = "type")]
    kind: String,
    /// The digest is the one that was sent: there are no items.
    unchanged: bool,
    /// In base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<BTreeMap<String, Hidden>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<Moment>,
    /// Seconds until it is worth asking again.
    refresh: u64,
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (namespace, name) = object::place(cx)?;
    let known = cx.fields().string("digest")?.unwrap_or_default();
    let config = config::find(cx)?;
    let (workload, seen) = (prove::workload(cx, &config)?, Seen::default());
    let (opened, facts) = open(cx, &config, (&workload, &seen), (&namespace, &name), &known)?;
    Ok(Response { facts, ..Response::data(&opened)? })
}

/// What a pod wants, all at once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    #[serde(default)]
    digest: String,
}

pub(super) fn several(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let namespace = cx.param("namespace").to_owned();
    let wanted: Vec<Wanted> =
        cx.fields().typed("objects")?.ok_or_else(|| Refusal::invalid("missing objects: [{name, digest}]"))?;
    if !(1..=MOST).contains(&wanted.len()) {
        return Err(Refusal::invalid(format!("objects has from 1 to {MOST}")));
    }
    let config = config::find(cx)?;
    let (workload, seen) = (prove::workload(cx, &config)?, Seen::default());
    let (mut all, mut facts) = (Vec::new(), BTreeMap::new());
    for Wanted { name, digest } in wanted {
        may_read(cx, &namespace, &name)?;
        let (opened, about) = open(cx, &config, (&workload, &seen), (&namespace, &name), &digest)?;
        all.push(opened);
        facts.extend(about);
    }
    let refresh = all.iter().map(|opened| opened.refresh).min().unwrap_or(config.refresh);
    Ok(Response { facts, ..Response::data(&json!({ "objects": all, "refresh": refresh }))? })
}

/// Whether a policy allows the caller to read the one object by itself: asking for several at once grants nothing.
fn may_read(cx: &Context<'_, '_>, namespace: &str, name: &str) -> Result<(), Refusal> {
    let (caller, seen) = (cx.caller()?, Seen::default());
    let path = format!("{}open/{namespace}/{name}", cx.mount.path);
    let verdict = caller.acl.check(&Ask {
        path: &path,
        operation: Operation::Read,
        parameters: Some(&crate::fields::Fields::default() as &dyn Parameters),
        wrap_ttl: cx.request.wrap.map(|wrap| wrap.ttl),
        now: cx.now,
        who: Some(caller.who(cx.request, cx.verdicts.attest(&seen))),
    });
    match verdict.allowed {
        true => Ok(()),
        false => {
            Err(Refusal::denied(format!("no policy of the token allows to read {path}{}", seen.words())))
        }
    }
}

fn open(
    cx: &mut Context<'_, '_>,
    config: &Config,
    (workload, seen): (&Workload, &Seen),
    (namespace, name): (&str, &str),
    known: &str,
) -> Result<(Opened, BTreeMap<String, String>), Refusal> {
    let denied = |why: String| {
        Refusal::denied(format!("{namespace}/{name} is not opened for {}: {why}", workload.subject))
    };
    let explained = |why: Refusal| match why {
        Refusal::Denied { reason } => denied(reason.into_owned()),
        other => other,
    };
    if workload.subject.namespace != namespace {
        return Err(denied("it is in another namespace".to_owned()));
    }
    let object = object::find(cx, namespace, name)?.ok_or(Refusal::missing())?;
    let phase = phase::current(cx)?;
    let (state, reason) = object.state(phase, cx.now);
    if state != State::Active {
        return Err(denied(reason));
    }
    let authors = config.authors();
    let place = Place {
        cluster: Some(config.known_as(&object.bounds.clusters)),
        phase: Some(phase),
        now: cx.now,
        subject: Some(&workload.subject),
        seen: Some(object.version),
        authors: Some(&authors),
    };
    place.admits(&object.bounds).map_err(|why| denied(why.to_string()))?;
    // Before what is known already is confirmed without opening it: an author may have been taken off the list since.
    if !object.author.is_empty() && !config.fingerprints().contains(&object.author) {
        return Err(denied(Violation::Author(object.author.clone()).to_string()));
    }
    let mut facts = object::facts(namespace, name, &object);
    facts.extend(
        admit::workload(cx, (workload, seen), (namespace, name), &object.bounds).map_err(&explained)?,
    );
    if !workload.pod.is_empty() {
        facts.insert("pod".to_owned(), format!("{namespace}/{}", workload.pod));
    }
    let unchanged = known == object.digest;
    let items = match unchanged {
        true => None,
        false => Some(values(cx, &object, &place, (namespace, name)).map_err(&explained)?),
    };
    let opened = Opened {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        version: object.version,
        digest: object.digest.clone(),
        kind: object.bounds.kind.clone(),
        unchanged,
        items,
        not_after: object.bounds.not_after,
        refresh: refresh(config, &object, cx.now),
    };
    Ok((opened, facts))
}

/// Agents ask again at the latest when the object expires.
fn refresh(config: &Config, object: &Object, now: keyward_core::Timestamp) -> u64 {
    let left = object.bounds.not_after.map(|until| until.timestamp().since(now).as_secs().max(1));
    left.map_or(config.refresh, |left| left.min(config.refresh))
}

fn values(
    cx: &mut Context<'_, '_>,
    object: &Object,
    place: &Place<'_>,
    (namespace, name): (&str, &str),
) -> Result<BTreeMap<String, Hidden>, Refusal> {
    let items = object::open(cx, object, place, (namespace, name))?;
    Ok(items.into_iter().map(|(key, value)| (key, Hidden(value))).collect())
}
