//! What is to be done, and when. Small, for there is an entry for each object there is.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::object::{Id, Which};

const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Something to do about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Register,
    Forget,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It stands, and is looked at again by and by.
    Done,
    /// It is gone.
    Gone,
    /// It is to be tried again.
    Again,
}

struct Entry {
    mark: u64,
    there: bool,
    /// The list it was last seen in.
    seen: u32,
    due: Option<Instant>,
    working: bool,
    failures: u8,
}

/// Entries, and the order in which they are due.
#[derive(Default)]
pub(crate) struct Desk {
    entries: HashMap<Id, Entry>,
    due: BTreeSet<(Instant, Id)>,
    lists: [u32; 2],
}

impl Desk {
    /// Whether nothing was ever said of the object.
    pub(crate) fn is_stranger(&self, id: &Id) -> bool {
        !self.entries.contains_key(id)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A list of one kind begins.
    pub(crate) fn listing(&mut self, which: Which) {
        self.lists[which as usize] += 1;
    }

    /// It is over: what was not in it is gone.
    pub(crate) fn listed(&mut self, which: Which, now: Instant) {
        let list = self.lists[which as usize];
        let gone =
            self.entries.iter().filter(|(id, entry)| id.which == which && entry.there && entry.seen != list);
        for id in gone.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.gone(&id, now);
        }
    }

    /// An object is there; `mark` tells whether anything about it is new.
    pub(crate) fn there(&mut self, id: Id, mark: u64, now: Instant) {
        let seen = self.lists[id.which as usize];
        match self.entries.get_mut(&id) {
            Some(entry) => {
                entry.seen = seen;
                if entry.mark != mark || !entry.there {
                    (entry.mark, entry.there, entry.failures) = (mark, true, 0);
                    self.schedule(&id, now);
                }
            }
            None => {
                let entry = Entry { mark, there: true, seen, due: None, working: false, failures: 0 };
                self.entries.insert(id.clone(), entry);
                self.schedule(&id, now);
            }
        }
    }

    /// An object is gone, or was never there.
    pub(crate) fn gone(&mut self, id: &Id, now: Instant) {
        let entry = self.entries.entry(id.clone()).or_insert(Entry {
            mark: 0,
            there: false,
            seen: 0,
            due: None,
            working: false,
            failures: 0,
        });
        (entry.there, entry.failures) = (false, 0);
        self.schedule(id, now);
    }

    fn schedule(&mut self, id: &Id, at: Instant) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if let Some(before) = entry.due.replace(at) {
            self.due.remove(&(before, id.clone()));
        }
        if !entry.working {
            self.due.insert((at, id.clone()));
        }
    }

    /// When something is due next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What is due by now; it is not given out again until it is [`finished`](Desk::finished).
    pub(crate) fn take(&mut self, now: Instant) -> Option<(Id, Work)> {
        while self.next().is_some_and(|at| at <= now) {
            let (_, id) = self.due.pop_first()?;
            let other = Id { which: id.which.other(), key: id.key.clone() };
            let other_is_there = self.entries.get(&other).is_some_and(|entry| entry.there);
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            if !entry.there && other_is_there {
                // The name is another's now, whose turn it is.
                self.entries.remove(&id);
                self.schedule(&other, now);
                continue;
            }
            (entry.due, entry.working) = (None, true);
            return Some((id, if entry.there { Work::Register } else { Work::Forget }));
        }
        None
    }

    /// How it went. `resync` is after how long what stands is looked at again; `spread` a random number that keeps objects
    /// from being due together.
    pub(crate) fn finished(&mut self, id: &Id, outcome: Outcome, now: Instant, resync: Duration, spread: u8) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.working = false;
        if let Some(at) = entry.due {
            // Something happened meanwhile.
            self.due.insert((at, id.clone()));
            return;
        }
        match outcome {
            Outcome::Gone => {
                self.entries.remove(id);
            }
            Outcome::Done => {
                entry.failures = 0;
                self.schedule(id, now + resync - resync * u32::from(spread) / 1024);
            }
            Outcome::Again => {
                entry.failures = entry.failures.saturating_add(1);
                let wait = LONGEST_WAIT.min(Duration::from_secs(1 << (entry.failures - 1).min(10)));
                self.schedule(id, now + wait - wait * u32::from(spread) / 1024);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
    use super::*;
    use keyward_kubernetes::Key;
    use std::sync::Arc;

    fn id(which: Which, name: &str) -> Id {
        Id { which, key: Arc::new(Key { namespace: "shop".into(), name: name.into() }) }
    }

    const RESYNC: Duration = Duration::from_secs(900);

    #[test]
    fn an_object_is_worked_on_once_for_each_change() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        let db = id(Which::Sealed, "db");
        desk.there(db.clone(), 1, now);
        assert_eq!(desk.take(now), Some((db.clone(), Work::Register)));
        desk.there(db.clone(), 1, now);
        assert_eq!(desk.take(now), None);
        // What changes meanwhile is done afterwards.
        desk.there(db.clone(), 2, now);
        assert_eq!(desk.take(now), None);
        desk.finished(&db, Outcome::Done, now, RESYNC, 0);
        assert_eq!(desk.take(now), Some((db.clone(), Work::Register)));
        desk.finished(&db, Outcome::Done, now, RESYNC, 0);
        assert_eq!(desk.take(now), None);
        assert_eq!(desk.take(now + RESYNC), Some((db.clone(), Work::Register)));
        desk.finished(&db, Outcome::Again, now, RESYNC, 0);
        assert_eq!(desk.next(), Some(now + Duration::from_secs(1)));
        desk.gone(&db, now);
        assert_eq!(desk.take(now), Some((db.clone(), Work::Forget)));
        desk.finished(&db, Outcome::Gone, now, RESYNC, 0);
        assert_eq!((desk.len(), desk.next()), (0, None));
    }

    #[test]
    fn what_a_list_lacks_is_gone() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        let (db, tls, zen) = (id(Which::Sealed, "db"), id(Which::Sealed, "tls"), id(Which::Zen, "db"));
        desk.listing(Which::Sealed);
        [&db, &tls, &zen].into_iter().for_each(|id| desk.there(id.clone(), 1, now));
        desk.listed(Which::Sealed, now);
        while let Some((id, work)) = desk.take(now) {
            assert_eq!(work, Work::Register);
            desk.finished(&id, Outcome::Done, now, RESYNC, 0);
        }
        desk.listing(Which::Sealed);
        desk.there(tls.clone(), 1, now);
        desk.listed(Which::Sealed, now);
        // The name is that of a ZenLock too: it is registered, not forgotten.
        assert_eq!(desk.take(now), Some((zen, Work::Register)));
        assert_eq!(desk.take(now), None);
        assert!(desk.is_stranger(&db) && !desk.is_stranger(&tls));
    }
}
