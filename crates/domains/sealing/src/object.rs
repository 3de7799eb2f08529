//! Sealed objects: seal, open, change one value, seal anew.

use std::collections::BTreeMap;
use std::time::Duration;

use keyward_core::{Random, Timestamp};
use keyward_crypto::age::{self, Unwrap};
use keyward_intent::{Bounds, Item, Metadata, Phase, SealedSecret, Spec, Subject};

use crate::author::{AuthorKey, Signer};
use crate::envelope::{Envelope, Header, LONGEST_HEADER, LONGEST_VALUE};
use crate::recipients::{Sealer, age_failure, unite};
use crate::secret::PlainSecret;
use crate::violation::{Failure, Violation, invalid};

/// How far clocks may differ before a secret counts as too early. Nothing lives longer for it.
const SKEW: Duration = Duration::from_secs(60);

/// Where, when and for whom a secret is opened. What is not known offline is not checked.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The cluster.
    pub cluster: Option<&'a str>,
    /// The phase it is in.
    pub phase: Option<Phase>,
    /// The time.
    pub now: Timestamp,
    /// Who asks in the cluster.
    pub subject: Option<&'a Subject>,
    /// The highest version of the object that was opened before.
    pub seen: Option<u64>,
    /// Public keys whose signatures are taken; any when it is `None`.
    pub authors: Option<&'a [&'a str]>,
}

impl Place<'_> {
    /// Nowhere in particular: what only the time limits.
    pub const fn offline(now: Timestamp) -> Place<'static> {
        Place { cluster: None, phase: None, now, subject: None, seen: None, authors: None }
    }

    fn check(&self, object: &SealedSecret) -> Result<(), Violation> {
        let bounds = &object.spec.bounds;
        if let Some(here) = self.cluster.filter(|here| !bounds.clusters.contains(*here)) {
            let bound = bounds.clusters.iter().cloned().collect::<Vec<_>>().join(", ");
            return Err(Violation::Cluster { bound, here: here.to_owned() });
        }
        if let Some(here) = self.phase.filter(|here| *here > bounds.phase) {
            return Err(Violation::Phase { bound: bounds.phase, here });
        }
        if let Some(from) = bounds.not_before.filter(|from| self.now.plus(SKEW) < from.timestamp()) {
            return Err(Violation::NotBefore(from));
        }
        if let Some(until) = bounds.not_after.filter(|until| self.now >= until.timestamp()) {
            return Err(Violation::NotAfter(until));
        }
        if let Some(subject) = self.subject.filter(|subject| !bounds.subjects.contains(*subject)) {
            return Err(Violation::Subject(subject.to_string()));
        }
        match self.seen {
            Some(seen) if object.spec.version < seen => {
                Err(Violation::Version { seen, here: object.spec.version })
            }
            _ => Ok(()),
        }
    }
}

/// Values that passed every check.
pub struct Opened {
    items: BTreeMap<String, Envelope>,
}

impl Opened {
    /// The value under a key.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        self.items.get(key).map(Envelope::value)
    }

    /// All of them.
    pub fn values(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.items.iter().map(|(key, item)| (key.as_str(), item.value()))
    }
}

fn trusted(author: &str, authors: Option<&[&str]>) -> Result<AuthorKey, Failure> {
    let key = AuthorKey::read(author)?;
    match authors {
        Some(authors) if !authors.iter().any(|line| key.is(line)) => {
            Err(Violation::Author(key.fingerprint()).into())
        }
        _ => Ok(key),
    }
}

/// Whether the manifest is what one of `authors` signed; any author when it is `None`. Needs no identity, and says nothing
/// about the values yet.
pub fn verify(object: &SealedSecret, authors: Option<&[&str]>) -> Result<(), Failure> {
    object.check()?;
    let (Some(author), Some(signature)) = (&object.spec.author, &object.spec.signature) else {
        return Err(Violation::Unsigned.into());
    };
    match trusted(author, authors)?.verifies(&object.signed(), signature) {
        true => Ok(()),
        false => Err(Violation::Signature.into()),
    }
}

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

/// Signs the manifest as it stands.
pub fn sign(object: &mut SealedSecret, signer: &Signer) -> Result<(), Failure> {
    object.spec.author = Some(signer.public());
    object.check()?;
    object.spec.signature = Some(signer.sign(&object.signed())?);
    Ok(())
}

/// Opens every value, or none.
pub fn open(object: &SealedSecret, place: &Place<'_>, identities: &[&dyn Unwrap]) -> Result<Opened, Failure> {
    object.check()?;
    place.check(object)?;
    let opened = Opened { items: envelopes(object, place.authors, identities)? };
    verify(object, place.authors)?;
    Ok(opened)
}

/// Opens one value, after the same checks.
pub fn open_one(
    object: &SealedSecret,
    key: &str,
    place: &Place<'_>,
    identities: &[&dyn Unwrap],
) -> Result<Envelope, Failure> {
    object.check()?;
    place.check(object)?;
    let Some(item) = object.spec.items.get(key) else {
        return invalid(format!("there is no item {key}: {}", keys(object)));
    };
    let own = own_identity(object, identities)?;
    let own = own.as_ref().map(|own| [own as &dyn Unwrap]);
    let envelope = envelope(object, key, item, place.authors, own.as_ref().map_or(identities, |own| own))?;
    verify(object, place.authors)?;
    Ok(envelope)
}

fn keys(object: &SealedSecret) -> String {
    let keys: Vec<&str> = object.spec.items.keys().map(String::as_str).collect();
    if keys.is_empty() { "it has none".to_owned() } else { format!("it has {}", keys.join(", ")) }
}

fn own_identity(object: &SealedSecret, identities: &[&dyn Unwrap]) -> Result<Option<age::Identity>, Failure> {
    object.spec.threshold.as_ref().map(|threshold| unite(threshold, identities)).transpose()
}

fn envelopes(
    object: &SealedSecret,
    authors: Option<&[&str]>,
    identities: &[&dyn Unwrap],
) -> Result<BTreeMap<String, Envelope>, Failure> {
    let own = own_identity(object, identities)?;
    let own = own.as_ref().map(|own| [own as &dyn Unwrap]);
    let identities = own.as_ref().map_or(identities, |own| own.as_slice());
    let each = object.spec.items.iter().map(|(key, item)| {
        envelope(object, key, item, authors, identities).map(|envelope| (key.clone(), envelope))
    });
    each.collect()
}

/// Decrypts one value and holds its header against the manifest.
fn envelope(
    object: &SealedSecret,
    key: &str,
    item: &Item,
    authors: Option<&[&str]>,
    identities: &[&dyn Unwrap],
) -> Result<Envelope, Failure> {
    let limit = LONGEST_VALUE + LONGEST_HEADER + 1024;
    let bytes = age::open(item.data.as_bytes(), identities, limit)
        .map_err(|why| age_failure(&format!("item {key}"), why))?;
    let envelope = Envelope::read(bytes)?;
    trusted(&envelope.header().author, authors)?;
    envelope.check_signature()?;
    compare(object, key, item, envelope.header())?;
    match envelope.seal() == item.seal {
        true => Ok(envelope),
        false => Err(Violation::Seal(key.to_owned()).into()),
    }
}

fn compare(object: &SealedSecret, key: &str, item: &Item, header: &Header) -> Result<(), Violation> {
    let (namespace, name) = object.place();
    let shown = |bound: &Option<String>| bound.clone().unwrap_or_else(|| "any".to_owned());
    if header.bounds.scope == object.spec.bounds.scope {
        if header.namespace.as_deref() != namespace {
            let here = object.namespace().to_owned();
            return Err(Violation::Namespace { bound: shown(&header.namespace), here });
        }
        if header.name.as_deref() != name {
            let here = object.metadata.name.clone();
            return Err(Violation::Name { bound: shown(&header.name), here });
        }
    }
    if header.item != key {
        return Err(Violation::Item { bound: header.item.clone(), here: key.to_owned() });
    }
    let (inside, outside) = (&header.bounds, &object.spec.bounds);
    let fields = [
        ("clusters", inside.clusters == outside.clusters),
        ("scope", inside.scope == outside.scope),
        ("type", inside.kind == outside.kind),
        ("phase", inside.phase == outside.phase),
        ("notBefore", inside.not_before == outside.not_before),
        ("notAfter", inside.not_after == outside.not_after),
        ("subjects", inside.subjects == outside.subjects),
        ("version", header.version == item.version),
    ];
    match fields.into_iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(Violation::Field(field)),
        None => Ok(()),
    }
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

/// As a Secret again, for who may see it.
pub fn plain(object: &SealedSecret, opened: &Opened) -> PlainSecret {
    let metadata = Metadata { name: object.metadata.name.clone(), ..object.metadata.clone() };
    let data =
        opened.values().map(|(key, value)| (key.to_owned(), keyward_crypto::Secret::new(value.to_vec())));
    PlainSecret { metadata, kind: object.spec.bounds.kind.clone(), data: data.collect() }
}
