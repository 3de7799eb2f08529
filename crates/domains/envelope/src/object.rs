//! Opening and verifying sealed objects.

use std::collections::BTreeMap;
use std::time::Duration;

use keyward_core::Timestamp;
use keyward_crypto::age::{self, Unwrap};
use keyward_intent::{Bounds, Item, Metadata, Phase, SealedSecret, Subject};

use crate::author::AuthorKey;
use crate::envelope::{Envelope, Header, LONGEST_HEADER, LONGEST_VALUE};
use crate::secret::PlainSecret;
use crate::shares::unite;
use crate::violation::{Failure, Violation, age_failure, invalid};

/// How far clocks may differ before a secret counts as too early, or as sealed for too long. Nothing lives longer for it.
pub const SKEW: Duration = Duration::from_secs(60);

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
        self.admits(&object.spec.bounds)?;
        match self.seen {
            Some(seen) if object.spec.version < seen => {
                Err(Violation::Version { seen, here: object.spec.version })
            }
            _ => Ok(()),
        }
    }

    /// Whether what is bound so may be opened here and now by who asks. What else is demanded of them (`namespaceSelector`,
    /// `conditions`, `images`) only the authority of a cluster can find out, and must.
    pub fn admits(&self, bounds: &Bounds) -> Result<(), Violation> {
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
        if let Some(subject) = self.subject.filter(|subject| !bounds.allow(subject)) {
            return Err(Violation::Subject(subject.to_string()));
        }
        Ok(())
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

/// Every value with its header, held against the manifest but not against any place: for who seals the same values anew.
pub fn envelopes(
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
        ("namespaceSelector", inside.namespace_selector == outside.namespace_selector),
        ("conditions", inside.conditions == outside.conditions),
        ("images", inside.images == outside.images),
        ("version", header.version == item.version),
    ];
    match fields.into_iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(Violation::Field(field)),
        None => Ok(()),
    }
}

/// As a Secret again, for who may see it.
pub fn plain(object: &SealedSecret, opened: &Opened) -> PlainSecret {
    let metadata = Metadata { name: object.metadata.name.clone(), ..object.metadata.clone() };
    let data =
        opened.values().map(|(key, value)| (key.to_owned(), keyward_crypto::Secret::new(value.to_vec())));
    PlainSecret { metadata, kind: object.spec.bounds.kind.clone(), data: data.collect() }
}
