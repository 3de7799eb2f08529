//! The register of sealed objects: which versions were seen, who may have what is in them, and who owns it by now.

use super::census::{self, Census};
use super::config::{self, Config};
use super::keys;
use super::manifest::{Items, Manifest};
use super::phase;
use super::{handover::Owner, usage};
use crate::context::Context;
use crate::fields::Fields;
use crate::policy::Expression;
use crate::refusal::Refusal;
use crate::response::Response;
use keyward_core::Timestamp;
use keyward_envelope::Place;
use keyward_intent::{Bounds, Phase, names};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) const ENTRIES: &str = "object/";
const BODIES: &str = "body/";
const LOCKED: &str = "locked/";

/// What is known of one object without opening it: one entry, so that an inventory reads it at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    pub(super) kind: String,
    /// The highest version there ever was.
    pub(super) version: u64,
    pub(super) digest: String,
    /// Names what the author signed.
    signed: String,
    /// The oldest version of the namespace's key that opens it; none where another identity does.
    pub(super) key: Option<u64>,
    pub(super) key_ids: Vec<String>,
    pub(super) bounds: Bounds,
    pub(super) items: Vec<String>,
    pub(super) author: String,
    /// From annotations, which nobody signed.
    pub(super) owner: String,
    pub(super) reason: String,
    /// Nanoseconds since the epoch.
    pub(super) created: u64,
    /// When this version was registered first.
    pub(super) updated: u64,
    /// It is gone, and only the version is remembered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) deleted: bool,
    /// Who owns the values by now.
    #[serde(default)]
    pub(super) by: Owner,
}

/// Whether an object opens, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// For its subjects.
    Active,
    /// Its time has not come.
    Waiting,
    /// Its time is over.
    Expired,
    /// The cluster has not reached the phase in which anything is opened.
    PhaseEarly,
    /// The cluster is past the phase it is bound to.
    PhaseOver,
    /// It names no subject.
    NoSubjects,
    /// The authority owns the values, which were in Git and are to be changed.
    RotationDue,
    /// The authority owns the values, and they were changed since.
    HandedOver,
}

impl State {
    /// As it is read back.
    pub(super) const fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Waiting => "waiting",
            State::Expired => "expired",
            State::PhaseEarly => "phase-early",
            State::PhaseOver => "phase-over",
            State::NoSubjects => "no-subjects",
            State::RotationDue => "rotation-due",
            State::HandedOver => "handed-over",
        }
    }
}

impl Object {
    /// Its state, with the reason where it does not open.
    pub(super) fn state(&self, phase: Phase, now: Timestamp) -> (State, String) {
        use keyward_envelope::Violation;
        if let Some((state, reason)) = self.by.state() {
            return (state, reason);
        }
        if self.bounds.subjects.is_empty() {
            return (State::NoSubjects, "it names no subjects, so that nobody has it".to_owned());
        }
        if phase < Phase::Bootstrap {
            return (State::PhaseEarly, phase::early(phase));
        }
        match (Place { phase: Some(phase), ..Place::offline(now) }).admits(&self.bounds) {
            Ok(()) => (State::Active, String::new()),
            Err(why) => {
                let state = match why {
                    Violation::Phase { .. } => State::PhaseOver,
                    Violation::NotBefore(_) => State::Waiting,
                    _ => State::Expired,
                };
                (state, why.to_string())
            }
        }
    }

    /// True for what must be handed over before the authority owns everything.
    pub(super) fn is_bootstrap(&self) -> bool {
        self.bounds.phase <= Phase::Bootstrap
    }

    /// The same, owned by `by`.
    pub(super) fn owned_by(&self, by: Owner) -> Object {
        Object { by, ..self.clone() }
    }

    /// What it counts as.
    pub(super) fn census(&self) -> Census {
        match (&self.by, self.deleted) {
            (Owner::Git, false) if self.is_bootstrap() => Census { bootstrap: 1, rotation_due: 0 },
            (owner, _) if owner.is_rotation_due() => Census { bootstrap: 0, rotation_due: 1 },
            _ => Census::default(),
        }
    }

    fn describe(&self, phase: Phase, now: Timestamp) -> Value {
        let (state, reason) = self.state(phase, now);
        json!({
            "kind": self.kind,
            "version": self.version,
            "digest": self.digest,
            "key_ids": self.key_ids,
            "key_version": self.key,
            "state": state.name(),
            "reason": reason,
            "bounds": self.bounds,
            "items": self.items,
            "author": self.author,
            "owner": self.owner,
            "why": self.reason,
            "authority": self.by.name(),
            "created": Timestamp::from_nanos(self.created).to_string(),
            "updated": Timestamp::from_nanos(self.updated).to_string(),
        })
    }
}

/// Checks the namespace and name of the path, and answers with both.
pub(super) fn place(cx: &Context<'_, '_>) -> Result<(String, String), Refusal> {
    let (namespace, name) = (cx.param("namespace"), cx.param("name"));
    names::label("the namespace", namespace).map_err(|why| Refusal::invalid(why.0))?;
    names::object("the name", name).map_err(|why| Refusal::invalid(why.0))?;
    Ok((namespace.to_owned(), name.to_owned()))
}

fn key(namespace: &str, name: &str) -> String {
    [ENTRIES, namespace, "/", name].concat()
}

fn body_key(namespace: &str, name: &str) -> String {
    [BODIES, namespace, "/", name].concat()
}

/// What is known of an object, also of one that is gone.
pub(super) fn remembered(
    cx: &mut Context<'_, '_>,
    namespace: &str,
    name: &str,
) -> Result<Option<Arc<Object>>, Refusal> {
    cx.built_json(&key(namespace, name))
}

/// What is known of an object that is there.
pub(super) fn find(
    cx: &mut Context<'_, '_>,
    namespace: &str,
    name: &str,
) -> Result<Option<Arc<Object>>, Refusal> {
    Ok(remembered(cx, namespace, name)?.filter(|object| !object.deleted))
}

/// The conditions of an object, ready to be asked.
pub(super) struct Conditions(pub(super) Vec<Expression>);

/// The conditions that an object is bound to; read once for each version of it.
pub(super) fn conditions(
    cx: &mut Context<'_, '_>,
    namespace: &str,
    name: &str,
) -> Result<Arc<Conditions>, Refusal> {
    let key = key(namespace, name);
    let built = cx.built(&key, |plain| {
        let object: Object =
            serde_json::from_slice(plain).map_err(|_| Refusal::Corrupt("a sealed object".to_owned()))?;
        read_conditions(&object.bounds).map(Conditions)
    })?;
    built.ok_or(Refusal::missing())
}

/// Reads what an object is bound to.
fn read_conditions(bounds: &Bounds) -> Result<Vec<Expression>, Refusal> {
    let read = |text: &String| {
        Expression::parse(text).map_err(|why| Refusal::invalid(format!("conditions: {text}: {why}")))
    };
    bounds.conditions.iter().map(read).collect()
}

/// The manifest of an object that is there.
pub(super) fn manifest(
    cx: &mut Context<'_, '_>,
    namespace: &str,
    name: &str,
) -> Result<Arc<Manifest>, Refusal> {
    let key = body_key(namespace, name);
    cx.built(&key, Manifest::stored)?.ok_or(Refusal::Corrupt(key))
}

/// Writes what is known of an object, and what of it is counted.
pub(super) fn put(
    cx: &mut Context<'_, '_>,
    (namespace, name): (&str, &str),
    before: Option<&Object>,
    after: &Object,
) -> Result<(), Refusal> {
    let key_before = before.filter(|before| !before.deleted).map(|before| before.key);
    let key_after = (!after.deleted).then_some(after.key);
    usage::moved(cx, namespace, key_before, key_after)?;
    census::moved(cx, before.map(Object::census).unwrap_or_default(), after.census())?;
    cx.put_json(&key(namespace, name), after)
}

pub(super) fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let (namespace, name) = place(cx)?;
    Ok(find(cx, &namespace, &name)?.is_some())
}

pub(super) fn list_namespaces(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(ENTRIES)?)
}

pub(super) fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let directory = [ENTRIES, cx.param("namespace"), "/"].concat();
    Response::keys(&cx.list(&directory)?)
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (namespace, name) = place(cx)?;
    let phase = phase::current(cx)?;
    let object = find(cx, &namespace, &name)?.ok_or(Refusal::missing())?;
    Response::data(&object.describe(phase, cx.now))
}

/// The manifest as the client wrote it: a text in YAML or JSON, or a JSON object.
fn sent(fields: &Fields) -> Result<Manifest, Refusal> {
    let missing =
        || Refusal::invalid("missing manifest: the SealedSecret or ZenLock, as text or as an object");
    let raw = fields.raw("manifest").ok_or_else(missing)?.get();
    match raw.starts_with('"') {
        true => Manifest::read(&fields.required("manifest")?),
        false => Manifest::read(raw),
    }
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    cx.gathered.leisure()?;
    let (namespace, name) = place(cx)?;
    let config = config::find(cx)?;
    let manifest = sent(cx.fields())?;
    if (manifest.namespace(), manifest.name()) != (namespace.as_str(), name.as_str()) {
        let here = format!("{}/{}", manifest.namespace(), manifest.name());
        return Err(Refusal::invalid(format!(
            "the manifest is of {here}, and was written to {namespace}/{name}"
        )));
    }
    let before = remembered(cx, &namespace, &name)?;
    let phase = phase::current(cx)?;
    let known = before.as_deref().filter(|before| !before.deleted);
    if let Some(known) = known.filter(|known| known.digest == manifest.digest()) {
        return Response::data(&known.describe(phase, cx.now));
    }
    let version = next_version(&manifest, before.as_deref())?;
    read_conditions(&manifest.bounds(&config)?)?;
    let keys = keys::find(cx, &namespace)?;
    let (own, shared) = (keys::legacy(cx, &namespace)?, keys::legacy(cx, keys::ANY)?);
    let legacy: Vec<_> = own.iter().chain(shared.iter()).collect();
    let (key, key_ids) = manifest.prove(&config, keys.as_deref(), &legacy, cx.now)?;
    let object = describe(&manifest, &config, version, key, key_ids, before.as_deref(), cx.now)?;
    if known.is_some() {
        unlock(cx, &namespace, &name)?;
    }
    lock_in_place(cx, &manifest, (&namespace, &name))?;
    put(cx, (&namespace, &name), before.as_deref(), &object)?;
    cx.put_json(&body_key(&namespace, &name), &manifest)?;
    let response = Response::data(&object.describe(phase, cx.now))?;
    Ok(Response { facts: facts(&namespace, &name, &object), ..response })
}

/// What audit records say of an object.
pub(super) fn facts(
    namespace: &str,
    name: &str,
    object: &Object,
) -> std::collections::BTreeMap<String, String> {
    [(format!("{namespace}/{name}"), format!("version {} {}", object.version, object.digest))].into()
}

fn describe(
    manifest: &Manifest,
    config: &Config,
    version: u64,
    key: Option<u64>,
    key_ids: Vec<String>,
    before: Option<&Object>,
    now: Timestamp,
) -> Result<Object, Refusal> {
    let signed = manifest.signed();
    // What is gone for a while, as with a cluster that is made again from Git, is what it was.
    let same = before.filter(|before| before.signed == signed);
    Ok(Object {
        kind: manifest.kind().to_owned(),
        version,
        digest: manifest.digest(),
        signed,
        key,
        key_ids,
        bounds: manifest.bounds(config)?,
        items: manifest.items(),
        author: manifest.author(),
        owner: manifest.annotation("owner"),
        reason: manifest.annotation("reason"),
        created: before.map_or(now.nanos(), |before| before.created),
        updated: same.map_or(now.nanos(), |same| same.updated),
        deleted: false,
        // What the authority took over stays its own, whatever is written to Git later.
        by: before.map_or_else(Owner::default, |before| before.by.clone()),
    })
}

/// The version that is registered, unless it is older than one that was seen, or another one of the same number.
fn next_version(manifest: &Manifest, before: Option<&Object>) -> Result<u64, Refusal> {
    let Manifest::Sealed(sealed) = manifest else {
        return Ok(before.map_or(1, |before| before.version + u64::from(before.signed != manifest.signed())));
    };
    let here = sealed.spec.version;
    match before {
        Some(before) if before.kind != manifest.kind() => Err(Refusal::invalid(format!(
            "{} is registered under the name already: delete it first",
            before.kind
        ))),
        Some(before) if here < before.version => {
            let seen = before.version;
            Err(Refusal::invalid(keyward_envelope::Violation::Version { seen, here }.to_string()))
        }
        Some(before) if here == before.version && before.signed != manifest.signed() => {
            Err(Refusal::invalid(format!(
                "version: another {here} than this one was registered already: count the version up"
            )))
        }
        _ => Ok(here),
    }
}

/// A ZenLock is bound to nothing, so whoever has its ciphertext could write it into another namespace: the place where it was
/// registered first is the only one that counts.
fn lock_in_place(
    cx: &mut Context<'_, '_>,
    manifest: &Manifest,
    (namespace, name): (&str, &str),
) -> Result<(), Refusal> {
    let Manifest::ZenLock(lock) = manifest else { return Ok(()) };
    let place = format!("{namespace}/{name}");
    for seal in seals(lock)? {
        match cx.get_json::<String>(&seal)? {
            Some(there) if there != place => {
                return Err(Refusal::invalid(format!(
                    "a value of it is registered in {there} already: a ZenLock is bound to nothing, so that only the \
                     first place counts; delete that one, or encrypt anew"
                )));
            }
            Some(_) => {}
            None => cx.put_json(&seal, &place)?,
        }
    }
    Ok(())
}

/// Forgets which place the values of a ZenLock that is registered have.
fn unlock(cx: &mut Context<'_, '_>, namespace: &str, name: &str) -> Result<(), Refusal> {
    if let Manifest::ZenLock(lock) = &*manifest(cx, namespace, name)? {
        seals(lock)?.iter().for_each(|seal| cx.delete(seal));
    }
    Ok(())
}

/// Where it is remembered which place a ZenLock's values have.
fn seals(lock: &keyward_intent::ZenLock) -> Result<Vec<String>, Refusal> {
    let files = keyward_envelope::zenlock::files(lock).map_err(|why| Refusal::invalid(why.to_string()))?;
    let seal = |file: &Vec<u8>| format!("{LOCKED}{}", hex::encode(keyward_crypto::sha256(file)));
    Ok(files.values().map(seal).collect())
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (namespace, name) = place(cx)?;
    let Some(before) = find(cx, &namespace, &name)? else { return Ok(Response::empty()) };
    unlock(cx, &namespace, &name)?;
    let after = Object { deleted: true, ..(*before).clone() };
    put(cx, (&namespace, &name), Some(&before), &after)?;
    cx.delete(&body_key(&namespace, &name));
    Ok(Response { facts: facts(&namespace, &name, &after), ..Response::empty() })
}

/// Opens every value of an object with the namespace's key, or with what opens its ZenLocks.
pub(super) fn open(
    cx: &mut Context<'_, '_>,
    object: &Object,
    place: &Place<'_>,
    (namespace, name): (&str, &str),
) -> Result<Items, Refusal> {
    // Opening takes a fraction of a millisecond for each value: nobody waits behind it.
    cx.gathered.leisure()?;
    let manifest = manifest(cx, namespace, name)?;
    let opened = match object.key {
        Some(version) => {
            let keys = keys::find(cx, namespace)?;
            manifest.open(place, &keys.as_deref().map_or(Vec::new(), |keys| keys.since(version)))
        }
        None => {
            let (own, shared) = (keys::legacy(cx, namespace)?, keys::legacy(cx, keys::ANY)?);
            manifest.open(place, &keys::unwraps(own.iter().chain(shared.iter())))
        }
    };
    opened.map_err(|why| Refusal::denied(why.to_string()))
}
