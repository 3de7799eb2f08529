//! The handover of a secret from Git to the authority: once, by the digest of what is handed over, with a signed receipt.
//!
//! The value's copy, the register's entry and the receipt are one batch, so that there is no moment at which the secret has
//! no authority or two: a crash before the commit leaves Git's, one after it the authority's, and asking again answers with
//! the same receipt.

use super::config;
use super::object::{self, Object, State};
use super::phase;
use super::record::{self, Signed, Who};
use super::runtime::{self, Encoding};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::response::Response;
use keyward_core::Timestamp;
use keyward_envelope::Place;
use keyward_intent::{Moment, Phase};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const RECEIPTS: &str = "receipt/";
/// Rotations that are remembered with their receipts.
const KEPT: usize = 32;

/// Who owns a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub(super) enum Owner {
    /// Git: the sealed copy is the secret.
    #[default]
    Git,
    /// The authority; the sealed copy is refused.
    Runtime(Box<Handed>),
}

/// What is known of a secret that was handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handed {
    /// The path it was written to.
    pub(super) target: String,
    /// Digest of the sealed object that was handed over.
    digest: String,
    /// Nanoseconds since the epoch.
    pub(super) at: u64,
    /// Digest of the value as it is known to be: at first as it was in Git.
    value: String,
    /// When it was changed last, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rotated: Option<Rotated>,
}

/// A change of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rotated {
    /// Nanoseconds since the epoch.
    pub(super) at: u64,
    /// By what.
    pub(super) workflow: String,
}

impl Owner {
    /// As it is read back.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Owner::Git => "git",
            Owner::Runtime(_) => "runtime",
        }
    }

    pub(super) fn is_rotation_due(&self) -> bool {
        matches!(self, Owner::Runtime(handed) if handed.rotated.is_none())
    }

    /// What it says of an object's state, and why the sealed copy is not opened.
    pub(super) fn state(&self) -> Option<(State, String)> {
        let Owner::Runtime(handed) = self else { return None };
        let owner = format!(
            "the authority owns it since {}: read {}",
            Timestamp::from_nanos(handed.at),
            handed.target
        );
        match &handed.rotated {
            None => Some((
                State::RotationDue,
                format!("{owner}; its value is the one that was in Git, and must be changed"),
            )),
            Some(_) => Some((State::HandedOver, owner)),
        }
    }
}

/// A handover or a rotation, as it is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Receipt {
    /// `handover` or `rotation`.
    kind: String,
    cluster: String,
    namespace: String,
    name: String,
    version: u64,
    /// Of the sealed object.
    digest: String,
    target: String,
    /// Of the value, under a key of the authority's own.
    value_digest: String,
    at: Moment,
    by: Who,
    /// Why it was handed over, or by which workflow it was rotated.
    reason: String,
    /// The digest of the receipt before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

fn receipts_key(namespace: &str, name: &str) -> String {
    [RECEIPTS, namespace, "/", name].concat()
}

/// The receipts of an object, the oldest first.
fn receipts(cx: &mut Context<'_, '_>, namespace: &str, name: &str) -> Result<Vec<Signed>, Refusal> {
    Ok(cx.get_json(&receipts_key(namespace, name))?.unwrap_or_default())
}

fn keep(cx: &mut Context<'_, '_>, receipt: Receipt) -> Result<Signed, Refusal> {
    let key = receipts_key(&receipt.namespace, &receipt.name);
    let mut kept: Vec<Signed> = cx.get_json(&key)?.unwrap_or_default();
    let previous = kept.last().map(Signed::digest);
    let signed = Signed::of(cx, &Receipt { previous, ..receipt })?;
    kept.push(signed.clone());
    // The first is the handover; of rotations the latest are kept.
    if kept.len() > KEPT {
        kept.remove(1);
    }
    cx.put_json(&key, &kept)?;
    Ok(signed)
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (namespace, name) = object::place(cx)?;
    let object = object::remembered(cx, &namespace, &name)?.ok_or(Refusal::missing())?;
    let Owner::Runtime(handed) = &object.by else { return Err(Refusal::missing()) };
    let kept = receipts(cx, &namespace, &name)?;
    let current = runtime::current(cx, &handed.target)?;
    Response::data(&json!({
        "target": handed.target,
        "digest": handed.digest,
        "at": Timestamp::from_nanos(handed.at).to_string(),
        // Of the value as it is at the target now, and as it was when it was last told of.
        "value_digest": current,
        "known_value_digest": handed.value,
        "rotation_due": handed.rotated.is_none(),
        "receipts": kept.iter().map(Signed::describe).collect::<Vec<Value>>(),
    }))
}

fn answer(namespace: &str, name: &str, object: &Object, receipt: &Signed) -> Result<Response, Refusal> {
    let shown = json!({ "authority": object.by.name(), "receipt": receipt.describe() });
    Ok(Response { facts: object::facts(namespace, name, object), ..Response::data(&shown)? })
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (namespace, name) = object::place(cx)?;
    let (digest, target) = (cx.fields().required("digest")?, cx.fields().required("target")?);
    let reason = cx.fields().required("reason")?;
    let encoding = match cx.fields().string("encoding")?.as_deref() {
        None | Some("" | "text") => Encoding::Text,
        Some("base64") => Encoding::Base64,
        Some(_) => return Err(Refusal::invalid("encoding is text or base64")),
    };
    let object = object::find(cx, &namespace, &name)?.ok_or(Refusal::missing())?;
    if let Owner::Runtime(handed) = &object.by {
        return match (
            handed.digest == digest && handed.target == target,
            receipts(cx, &namespace, &name)?.first(),
        ) {
            (true, Some(receipt)) => answer(&namespace, &name, &object, receipt),
            _ => Err(Refusal::invalid(format!(
                "it was handed over already, as {} to {}: there is one handover only",
                handed.digest, handed.target
            ))),
        };
    }
    if object.digest != digest {
        return Err(Refusal::invalid(format!(
            "digest: the object is {} by now: look at it, and try again",
            object.digest
        )));
    }
    let config = config::find(cx)?;
    let authors = config.authors();
    let place = Place {
        cluster: Some(config.known_as(&object.bounds.clusters)),
        phase: Some(phase_for(phase::current(cx)?, &object)?),
        seen: Some(object.version),
        authors: Some(&authors),
        ..Place::offline(cx.now)
    };
    place.admits(&object.bounds).map_err(|why| Refusal::invalid(why.to_string()))?;
    let items = object::open(cx, &object, &place, (&namespace, &name)).map_err(|why| match why {
        Refusal::Denied { reason } => Refusal::invalid(reason),
        other => other,
    })?;
    let value = runtime::write(cx, &target, &items, encoding)?;
    let receipt = Receipt {
        kind: "handover".to_owned(),
        cluster: config.cluster.clone(),
        namespace: namespace.clone(),
        name: name.clone(),
        version: object.version,
        digest: digest.clone(),
        target: target.clone(),
        value_digest: value.clone(),
        at: Moment::of(cx.now),
        by: record::who(cx)?,
        reason,
        previous: None,
    };
    let signed = keep(cx, receipt)?;
    let handed = Handed { target, digest, at: cx.now.nanos(), value, rotated: None };
    let after = object.owned_by(Owner::Runtime(Box::new(handed)));
    object::put(cx, (&namespace, &name), Some(&object), &after)?;
    answer(&namespace, &name, &after, &signed)
}

/// The phase that an object is opened in to be handed over. While the authority takes over, it is the one that still opens
/// bootstrap secrets: for this, and for nothing else.
fn phase_for(phase: Phase, object: &Object) -> Result<Phase, Refusal> {
    match phase {
        Phase::Root | Phase::Git => Err(Refusal::invalid(format!(
            "phase: the cluster is at {phase}, and secrets are handed over from bootstrap on"
        ))),
        Phase::Authority if object.is_bootstrap() => Ok(object.bounds.phase),
        phase => Ok(phase),
    }
}

pub(super) fn rotated(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (namespace, name) = object::place(cx)?;
    let (digest, workflow) = (cx.fields().required("value_digest")?, cx.fields().required("workflow")?);
    let object = object::remembered(cx, &namespace, &name)?.ok_or(Refusal::missing())?;
    let Owner::Runtime(handed) = &object.by else {
        return Err(Refusal::invalid(
            "it was not handed over: Git owns it, and a new value is a new version there",
        ));
    };
    let current = runtime::current(cx, &handed.target)?.ok_or_else(|| {
        Refusal::invalid(format!("there is nothing at {}: write the new value first", handed.target))
    })?;
    if current != digest {
        return Err(Refusal::invalid(format!(
            "value_digest: the value at {} is {current}: look at it, and try again",
            handed.target
        )));
    }
    if current == handed.value {
        return Err(Refusal::invalid(format!(
            "the value at {} is the one that was known before: change it first",
            handed.target
        )));
    }
    let config = config::find(cx)?;
    let receipt = Receipt {
        kind: "rotation".to_owned(),
        cluster: config.cluster.clone(),
        namespace: namespace.clone(),
        name: name.clone(),
        version: object.version,
        digest: handed.digest.clone(),
        target: handed.target.clone(),
        value_digest: current.clone(),
        at: Moment::of(cx.now),
        by: record::who(cx)?,
        reason: workflow.clone(),
        previous: None,
    };
    let signed = keep(cx, receipt)?;
    let rotated = Some(Rotated { at: cx.now.nanos(), workflow });
    let handed = Handed { value: current, rotated, ..(**handed).clone() };
    let after = object.owned_by(Owner::Runtime(Box::new(handed)));
    object::put(cx, (&namespace, &name), Some(&object), &after)?;
    answer(&namespace, &name, &after, &signed)
}
