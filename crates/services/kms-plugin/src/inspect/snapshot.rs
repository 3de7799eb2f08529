//! What protects each object of a whole etcd: the newest live revision of every key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use keyward_crypto::Sha256;
use prost::Message;
use serde::Serialize;

use super::bbolt::Database;
use super::value::{KekReport, Protection, inspect_value};
use crate::proto::stored::KeyValue;

/// Bytes of a checksum that `etcdctl snapshot save` appends.
const CHECKSUM: u64 = 32;
/// A revision: its number, an underscore, its place in the transaction; a tombstone has a `t` more.
const REVISION: usize = 17;
const TOMBSTONE: &[u8] = b"t";

/// What is asked of a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotQuery {
    /// The prefix under which the API server stores: its `--etcd-prefix`, `/registry` unless set.
    pub prefix: String,
    /// The resources whose objects are named, as `secrets` or `leases.coordination.k8s.io`. Empty: secrets, and
    /// every resource of which some object is encrypted.
    pub resources: Vec<String>,
}

/// A snapshot, looked into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotReport {
    /// The newest revision in it.
    pub revision: u64,
    /// Live keys under the prefix.
    pub objects: u64,
    /// Whether the checksum at its end is right; absent when it has none, as the db file of an etcd.
    pub checksum: Checksum,
    /// The keys found and what they protect.
    pub keys: Vec<KeyUse>,
    /// The resources asked for.
    pub resources: BTreeMap<String, ResourceReport>,
    /// Live objects of all other resources, none of which is encrypted unless only some were asked for.
    pub others: u64,
}

/// A checksum's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// The snapshot is whole.
    Right,
    /// The snapshot was altered or cut.
    Wrong,
    /// There is none.
    Absent,
}

/// A key of a KMS v2 provider and how much depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyUse {
    /// The provider's name in the API server's configuration.
    pub provider: String,
    /// The key.
    pub key_id: String,
    /// Live objects under it, of any resource.
    pub objects: u64,
    /// The wrapped local keys under it: about one per node. Empty when another plugin wrote them.
    pub keks: Vec<KekReport>,
}

/// The objects of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResourceReport {
    /// How many live objects each protection has.
    pub protections: Vec<Count>,
    /// The objects that are not encrypted.
    pub plaintext: Vec<String>,
    /// The objects that no API server could read, and why.
    pub broken: BTreeMap<String, String>,
    /// The key or scheme of every encrypted object.
    pub encrypted: BTreeMap<String, String>,
}

/// How many objects have a protection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The protection.
    #[serde(flatten)]
    pub protection: Protection,
    /// The live objects.
    pub objects: u64,
}

impl SnapshotReport {
    /// The objects of the resources asked for that `key_id` does not protect: what a migration has left.
    pub fn not_under(&self, key_id: &str) -> Vec<&str> {
        let mut left: Vec<&str> = Vec::new();
        for resource in self.resources.values() {
            left.extend(resource.plaintext.iter().chain(resource.broken.keys()).map(String::as_str));
            left.extend(
                resource.encrypted.iter().filter(|(_, key)| *key != key_id).map(|(name, _)| name.as_str()),
            );
        }
        left.sort_unstable();
        left
    }
}

/// Reads a file made by `etcdctl snapshot save`, or the `db` file of a stopped etcd.
pub fn inspect_snapshot(path: &Path, query: &SnapshotQuery) -> Result<SnapshotReport, String> {
    let named = |why: String| format!("{}: {why}", path.display());
    let mut file = File::open(path).map_err(|error| named(format!("cannot be opened: {error}")))?;
    let length = file.metadata().map_err(|error| named(error.to_string()))?.len();
    let (length, checksum) =
        check(&mut file, length).map_err(|error| named(format!("cannot be read: {error}")))?;
    if checksum == Checksum::Wrong {
        return Err(named("the checksum at its end is wrong: it was altered or cut short".to_owned()));
    }
    let live = Database::open(file, length).and_then(|database| live(&database, query)).map_err(named)?;
    Ok(report(&live, checksum, query))
}

/// The length without the checksum, and its verdict. A snapshot's database is a multiple of 512 bytes.
fn check(file: &mut File, length: u64) -> std::io::Result<(u64, Checksum)> {
    if length < CHECKSUM || length % 512 != CHECKSUM {
        return Ok((length, Checksum::Absent));
    }
    let (mut hash, mut left) = (Sha256::default(), length - CHECKSUM);
    let mut piece = vec![0; 1 << 16];
    file.seek(SeekFrom::Start(0))?;
    while left > 0 {
        let next = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        file.read_exact(&mut piece[..next])?;
        hash.update(&piece[..next]);
        left -= next as u64;
    }
    let mut expected = [0; CHECKSUM as usize];
    file.read_exact(&mut expected)?;
    let verdict = if hash.finish() == expected { Checksum::Right } else { Checksum::Wrong };
    Ok((length - CHECKSUM, verdict))
}

/// The live objects, with what is worth knowing of each.
#[derive(Default)]
struct Live {
    revision: u64,
    objects: BTreeMap<String, (Protection, Option<KekReport>)>,
}

fn live(database: &Database, query: &SnapshotQuery) -> Result<Live, String> {
    let prefix = format!("/{}/", query.prefix.trim_matches('/'));
    let mut live = Live::default();
    let found = database.each(b"key", &mut |revision, value| {
        let number = revision.first_chunk().copied().map(u64::from_be_bytes);
        let (Some(number), true) = (number, revision.len() >= REVISION) else {
            return Err("the database is damaged: a revision is malformed".to_owned());
        };
        live.revision = live.revision.max(number);
        let change = KeyValue::decode(value).map_err(|_| format!("revision {number} is damaged"))?;
        let Some(name) = change.key.strip_prefix(prefix.as_bytes()) else { return Ok(()) };
        let name = String::from_utf8_lossy(name).into_owned();
        if &revision[REVISION..] == TOMBSTONE {
            live.objects.remove(&name);
        } else {
            let report = inspect_value(&change.value);
            live.objects.insert(name, (report.protection, report.kek));
        }
        Ok(())
    })?;
    if found { Ok(live) } else { Err("there is no etcd data in this database".to_owned()) }
}

/// `secrets` of `secrets/default/x`; `leases.coordination.k8s.io` of `coordination.k8s.io/leases/...`. The API
/// server stores the groups it began with without their name.
fn resource_of(name: &str) -> String {
    let mut segments = name.split('/');
    match (segments.next(), segments.next()) {
        (Some(group), Some(resource)) if group.contains('.') => format!("{resource}.{group}"),
        (Some(resource), _) => resource.to_owned(),
        (None, _) => String::new(),
    }
}

fn report(live: &Live, checksum: Checksum, query: &SnapshotQuery) -> SnapshotReport {
    let mut wanted: BTreeSet<String> = query.resources.iter().cloned().collect();
    if wanted.is_empty() {
        wanted.insert("secrets".to_owned());
        let encrypted =
            live.objects.iter().filter(|(_, (protection, _))| *protection != Protection::Plaintext);
        wanted.extend(encrypted.map(|(name, _)| resource_of(name)));
    }
    let mut resources: BTreeMap<String, ResourceReport> = BTreeMap::new();
    let mut counts: BTreeMap<(String, &Protection), u64> = BTreeMap::new();
    let mut others = 0;
    for (name, (protection, _)) in &live.objects {
        let resource = resource_of(name);
        if !wanted.contains(&resource) {
            others += 1;
            continue;
        }
        *counts.entry((resource.clone(), protection)).or_default() += 1;
        place(resources.entry(resource).or_default(), name, protection);
    }
    for ((resource, protection), objects) in counts {
        let count = Count { protection: protection.clone(), objects };
        resources.entry(resource).or_default().protections.push(count);
    }
    let objects = live.objects.len() as u64;
    SnapshotReport { revision: live.revision, objects, checksum, keys: keys(live), resources, others }
}

fn place(resource: &mut ResourceReport, name: &str, protection: &Protection) {
    let name = name.to_owned();
    let under = match protection {
        Protection::Plaintext => return resource.plaintext.push(name),
        Protection::Broken { why } => {
            resource.broken.insert(name, why.clone());
            return;
        }
        Protection::KmsV2 { key_id, .. } => key_id.clone(),
        Protection::Other { kind, name: key } => format!("{kind}:{key}"),
    };
    resource.encrypted.insert(name, under);
}

fn keys(live: &Live) -> Vec<KeyUse> {
    let mut uses: BTreeMap<(&str, &str), KeyUse> = BTreeMap::new();
    for (protection, kek) in live.objects.values() {
        let Protection::KmsV2 { provider, key_id } = protection else { continue };
        let entry = uses.entry((provider, key_id)).or_insert_with(|| KeyUse {
            provider: provider.clone(),
            key_id: key_id.clone(),
            objects: 0,
            keks: Vec::new(),
        });
        entry.objects += 1;
        if let Some(kek) = kek.as_ref().filter(|kek| !entry.keks.contains(kek)) {
            entry.keks.push(kek.clone());
        }
    }
    uses.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_named_as_kubectl_does() {
        for (name, resource) in [
            ("secrets/default/a", "secrets"),
            ("coordination.k8s.io/leases/kube-system/x", "leases.coordination.k8s.io"),
            (
                "apiextensions.k8s.io/customresourcedefinitions/a.b.c",
                "customresourcedefinitions.apiextensions.k8s.io",
            ),
            ("health", "health"),
        ] {
            assert_eq!(resource_of(name), resource);
        }
    }
}
