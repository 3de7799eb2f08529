//! Sealed objects: seal, open, change one value, seal anew.

use std::collections::BTreeMap;

use keyward_core::Random;
use keyward_crypto::age::Unwrap;
use keyward_envelope::object::envelopes;
use keyward_expressions::condition;
use keyward_intent::{Bounds, Item, SealedSecret, Spec};

use crate::author::Signer;
use crate::envelope::{Envelope, Header};
use crate::recipients::Sealer;
use crate::secret::PlainSecret;
use crate::violation::{Failure, invalid};

pub use keyward_envelope::object::{Opened, Place, open, open_one, plain, verify};

/// Seals a Secret as the version `version` of its object.
pub fn seal(
    secret: &PlainSecret,
    bounds: Bounds,
    version: u64,
    sealer: &Sealer,
    signer: &Signer,
    random: &dyn Random,
) -> Result<SealedSecret, Failure> {
    let spec = Spec {
        bounds: Bounds { kind: secret.kind.clone(), ..bounds },
        version,
        items: BTreeMap::new(),
        recipients: sealer.ids.clone(),
        threshold: sealer.threshold.clone(),
        author: None,
        signature: None,
    };
    let mut object = SealedSecret::new(secret.metadata.clone(), spec);
    object.check()?;
    for (key, value) in &secret.data {
        put(&mut object, key, value.expose(), sealer, signer, random)?;
    }
    sign(&mut object, signer)?;
    Ok(object)
}

/// Sets one value, without opening any: a version later, signed anew.
pub fn set(
    object: &mut SealedSecret,
    key: &str,
    value: &[u8],
    sealer: &Sealer,
    signer: &Signer,
    random: &dyn Random,
) -> Result<(), Failure> {
    keyward_intent::names::item(key)?;
    object.spec.version = next(object)?;
    put(object, key, value, sealer, signer, random)?;
    sign(object, signer)
}

/// Takes one value out; whether it was there.
pub fn unset(object: &mut SealedSecret, key: &str, signer: &Signer) -> Result<bool, Failure> {
    if object.spec.items.remove(key).is_none() {
        return Ok(false);
    }
    object.spec.version = next(object)?;
    sign(object, signer).map(|()| true)
}

/// The version after this one.
pub fn next(object: &SealedSecret) -> Result<u64, Failure> {
    object.spec.version.checked_add(1).ok_or_else(|| Failure::Invalid("the versions are used up".to_owned()))
}

fn put(
    object: &mut SealedSecret,
    key: &str,
    value: &[u8],
    sealer: &Sealer,
    signer: &Signer,
    random: &dyn Random,
) -> Result<(), Failure> {
    let (namespace, name) = object.place();
    let header = Header {
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        item: key.to_owned(),
        bounds: object.spec.bounds.clone(),
        version: object.spec.version,
        author: signer.public(),
        salt: String::new(),
    };
    let envelope = Envelope::sign(header.salted(random), value, signer)?;
    let item = Item {
        version: object.spec.version,
        seal: envelope.seal(),
        data: sealer.seal(&format!("item {key}"), envelope.bytes().expose(), random)?,
    };
    object.spec.items.insert(key.to_owned(), item);
    Ok(())
}

/// Whether all conditions can be read: one that nobody can evaluate is never met.
pub fn check_conditions(bounds: &Bounds) -> Result<(), Failure> {
    bounds.conditions.iter().try_for_each(|text| match condition::read(text) {
        Ok(_) => Ok(()),
        Err(why) => {
            let known = match why.contains("undeclared") {
                true => format!("; known are {}", condition::VARIABLES.join(", ")),
                false => String::new(),
            };
            invalid(format!("conditions: {text}: {why}{known}"))
        }
    })
}

/// Signs the manifest as it stands.
pub fn sign(object: &mut SealedSecret, signer: &Signer) -> Result<(), Failure> {
    object.spec.author = Some(signer.public());
    object.check()?;
    check_conditions(&object.spec.bounds)?;
    object.spec.signature = Some(signer.sign(&object.signed())?);
    Ok(())
}

/// Seals the same values for others. Everything that is bound stays as it was signed; groups on either side change what
/// the manifest says, and need an author.
pub fn reseal(
    object: &SealedSecret,
    authors: Option<&[&str]>,
    identities: &[&dyn Unwrap],
    sealer: &Sealer,
    signer: Option<&Signer>,
    random: &dyn Random,
) -> Result<SealedSecret, Failure> {
    let envelopes = envelopes(object, authors, identities)?;
    verify(object, authors)?;
    let mut fresh = object.clone();
    fresh.spec.recipients.clone_from(&sealer.ids);
    fresh.spec.threshold.clone_from(&sealer.threshold);
    for (key, envelope) in &envelopes {
        if let Some(item) = fresh.spec.items.get_mut(key) {
            item.data = sealer.seal(&format!("item {key}"), envelope.bytes().expose(), random)?;
        }
    }
    if fresh.signed() != object.signed() {
        let Some(signer) = signer else {
            return invalid(
                "groups of recipients are part of what is signed: name an author's key with --sign-with",
            );
        };
        sign(&mut fresh, signer)?;
    }
    Ok(fresh)
}

/// Seals the same values within narrower bounds, a version later.
pub fn narrow(
    object: &SealedSecret,
    bounds: Bounds,
    place: &Place<'_>,
    identities: &[&dyn Unwrap],
    sealer: &Sealer,
    signer: &Signer,
    random: &dyn Random,
) -> Result<SealedSecret, Failure> {
    bounds.within(&object.spec.bounds).map_err(|wider| Failure::Wider(wider.0))?;
    let opened = open(object, place, identities)?;
    let mut fresh = object.clone();
    fresh.spec.bounds = bounds;
    fresh.spec.version = next(object)?;
    fresh.spec.recipients.clone_from(&sealer.ids);
    fresh.spec.threshold.clone_from(&sealer.threshold);
    for (key, value) in opened.values() {
        put(&mut fresh, key, value, sealer, signer, random)?;
    }
    sign(&mut fresh, signer)?;
    Ok(fresh)
}

/// What two changes of one object make together, item by item; the keys that both changed differently are conflicts.
pub fn merge(
    base: Option<&SealedSecret>,
    ours: &SealedSecret,
    theirs: &SealedSecret,
    signer: &Signer,
) -> Result<SealedSecret, Vec<String>> {
    let mut conflicts = Vec::new();
    let mut merged = ours.clone();
    let was = |key: &str| base.and_then(|base| base.spec.items.get(key)).map(|item| item.seal.as_str());
    if ours.spec.bounds != theirs.spec.bounds {
        conflicts.push("bounds".to_owned());
    }
    if ours.metadata.name != theirs.metadata.name || ours.namespace() != theirs.namespace() {
        conflicts.push("metadata".to_owned());
    }
    if ours.spec.recipients != theirs.spec.recipients || !same_threshold(ours, theirs) {
        conflicts.push("recipients".to_owned());
    }
    let keys: std::collections::BTreeSet<&String> =
        ours.spec.items.keys().chain(theirs.spec.items.keys()).collect();
    for key in keys {
        let (mine, other) = (ours.spec.items.get(key), theirs.spec.items.get(key));
        let (my_seal, other_seal) =
            (mine.map(|item| item.seal.as_str()), other.map(|item| item.seal.as_str()));
        if my_seal == other_seal || other_seal == was(key) {
            continue;
        }
        match (my_seal == was(key), other) {
            (true, Some(item)) => drop(merged.spec.items.insert(key.clone(), item.clone())),
            (true, None) => drop(merged.spec.items.remove(key)),
            (false, _) => conflicts.push(format!("item {key}")),
        }
    }
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let latest = ours.spec.version.max(theirs.spec.version);
    merged.spec.version = latest.saturating_add(1);
    sign(&mut merged, signer).map(|()| merged).map_err(|why| vec![why.to_string()])
}

fn same_threshold(ours: &SealedSecret, theirs: &SealedSecret) -> bool {
    let recipient = |object: &SealedSecret| object.spec.threshold.as_ref().map(|own| own.recipient.clone());
    recipient(ours) == recipient(theirs)
}
