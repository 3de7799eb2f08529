//! The label `cleanup.kyverno.io/ttl`: how long an object lives, or until when.
//! <https://kyverno.io/docs/policy-types/cleanup-policy/#cleanup-label>

use super::Desk;
use super::work::{Extent, Reference, Work};
use crate::log::{self, Wall};
use keyward_admission::{Operation, Propagation};
use keyward_core::{Clock as _, Timestamp, parse_duration};
use keyward_kubernetes::{Change, Kind, Metadata, Selection};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

const LABEL: &str = "cleanup.kyverno.io/ttl";
const PROPAGATION: &str = "cleanup.kyverno.io/propagation-policy";
/// The longest that is slept, for clocks that are set.
const LONGEST: Duration = Duration::from_secs(30);

/// When an object is over, and what becomes of what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    at: Timestamp,
    pub(super) propagation: Option<Propagation>,
}

impl Expiry {
    pub(super) fn is_over(&self) -> bool {
        self.at <= Wall.now()
    }
}

/// What an object says of it.
///
/// # Errors
///
/// Why that cannot be meant.
pub(super) fn of(metadata: &Metadata) -> Result<Option<Expiry>, String> {
    let Some(text) = metadata.labels.as_ref().and_then(|labels| labels.get(LABEL)) else { return Ok(None) };
    let created = metadata.creation_timestamp.as_ref().map_or(0, |at| at.0.as_second());
    let created = Timestamp::from_secs(u64::try_from(created).unwrap_or_default());
    let named = metadata.annotations.as_ref().and_then(|annotations| annotations.get(PROPAGATION));
    let propagation = match named {
        None => None,
        Some(name) => match Propagation::parse(name) {
            Some(propagation) => Some(propagation),
            None => return Err(format!("{PROPAGATION}={name} is none of Foreground, Background and Orphan")),
        },
    };
    Ok(Some(Expiry { at: moment(text, created)?, propagation }))
}

/// A duration from when the object was made, such as `2m`, `1h30m` or `1d`; or a time as a label can have it,
/// `2026-01-02T150405Z` or `2026-01-02`.
fn moment(text: &str, created: Timestamp) -> Result<Timestamp, String> {
    if let Ok(span) = parse_duration(text)
        && !text.chars().all(|c| c.is_ascii_digit())
    {
        return Ok(created.plus(span));
    }
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        18 if text.is_char_boundary(13) && text.is_char_boundary(15) => {
            format!("{}:{}:{}", &text[..13], &text[13..15], &text[15..])
        }
        _ => String::new(),
    };
    Timestamp::parse_rfc3339(&full).ok_or_else(|| {
        format!("{LABEL}={text} is neither a duration such as 2m or 1d nor a time such as 2026-01-02T150405Z or 2026-01-02")
    })
}

/// Watches the labelled objects of a kind, and asks for the removal of those that are over.
pub(super) async fn follow(desk: Arc<Desk>, kind: Kind) {
    let selection = Selection { labels: Some(LABEL.to_owned()), fields: None };
    let objects = desk.around.cluster.objects(&kind, None);
    let mut changes = objects.changes_of_metadata(&selection, |metadata| of(&metadata));
    let mut times: BTreeSet<(Timestamp, Reference)> = BTreeSet::new();
    let mut there: HashMap<Reference, Timestamp> = HashMap::new();
    let mut listing: Option<BTreeSet<Reference>> = None;
    loop {
        let now = Wall.now();
        while let Some((at, object)) = times.pop_first() {
            if at > now {
                times.insert((at, object));
                break;
            }
            there.remove(&object);
            desk.queue.put(Work::Remove { policy: None, object }, Extent::all(Operation::Delete)).await;
        }
        let wait = times.first().map_or(LONGEST, |(at, _)| at.since(now)).min(LONGEST);
        let Ok(change) = tokio::time::timeout(wait, changes.next()).await else { continue };
        let mut forget = |object: &Reference| {
            if let Some(at) = there.remove(object) {
                times.remove(&(at, object.clone()));
            }
        };
        match change {
            Change::Listing => listing = Some(BTreeSet::new()),
            Change::There(key, expiry) => {
                let object = Reference::new(&kind, &key);
                if let Some(listing) = &mut listing {
                    listing.insert(object.clone());
                }
                forget(&object);
                match expiry {
                    Ok(Some(expiry)) if !desk.is_spared(&kind, &object) => {
                        times.insert((expiry.at, object.clone()));
                        there.insert(object, expiry.at);
                    }
                    Ok(_) => {}
                    Err(why) => log::warn(&format!("{object} is not removed: {why}")),
                }
            }
            Change::Listed => {
                let listed = listing.take().unwrap_or_default();
                let gone: Vec<Reference> =
                    there.keys().filter(|one| !listed.contains(one)).cloned().collect();
                for object in gone {
                    if let Some(at) = there.remove(&object) {
                        times.remove(&(at, object));
                    }
                }
            }
            Change::Gone(key) => forget(&Reference::new(&kind, &key)),
            Change::Trouble(why) => log::warn(&format!("what has a time is not seen: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_labels_have_them() {
        let created = Timestamp::from_secs(1_000_000);
        let at = |text: &str| moment(text, created).map(Timestamp::secs);
        assert_eq!(at("2m"), Ok(1_000_120));
        assert_eq!(at("1h30m"), Ok(1_005_400));
        assert_eq!(at("1d"), Ok(1_086_400));
        assert_eq!(at("2023-10-04"), Ok(1_696_377_600));
        assert_eq!(at("2023-10-04T003000Z"), Ok(1_696_379_400));
        for wrong in
            ["", "5", "soon", "2023-13-04", "2023-10-04T00:30:00Z", "2023-10-04T003000", "ääääääääääääääääää"]
        {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }
}
