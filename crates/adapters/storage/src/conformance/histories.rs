//! Random histories, held against a model.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use keyward_core::{Batch, Fault, Key, LIMITS, Rev, View, Want};
use parking_lot::Mutex;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Fresh, commit, keys};
use crate::{Store, read};

/// What a store must hold: nothing but the definition of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model(BTreeMap<Key, (Vec<u8>, Rev)>);

impl Model {
    fn holds(&self, key: &Key, want: &Want) -> bool {
        match want {
            Want::Absent => !self.0.contains_key(key),
            Want::At(rev) => self.0.get(key).is_some_and(|(_, at)| at == rev),
        }
    }

    fn apply(&mut self, batch: &Batch, rev: Rev) {
        for (key, value) in &batch.puts {
            self.0.insert(key.clone(), (value.clone(), rev));
        }
        for key in &batch.deletes {
            self.0.remove(key);
        }
    }

    /// Everything a view shows, read one way and another.
    fn of(view: &dyn View) -> Result<Model, Fault> {
        let mut found = BTreeMap::new();
        for key in keys(view, b"")? {
            let entry = view.get(&key)?;
            let entry = entry.unwrap_or_else(|| panic!("{key:?} is listed but absent"));
            found.insert(key, (entry.value.to_vec(), entry.rev));
        }
        Ok(Model(found))
    }
}

/// One step of a history. Wants are chosen by what the model holds, or held once.
#[derive(Clone, Debug)]
struct Step {
    wants: Vec<(Key, Guess)>,
    writes: BTreeMap<Key, Option<Vec<u8>>>,
    list: (Key, Key),
}

#[derive(Clone, Copy, Debug)]
enum Guess {
    Right,
    Absent,
    /// Some revision that was handed out before.
    Earlier(u8),
}

/// Few keys, so that batches meet; of every kind, so that order matters.
fn any_key() -> impl Strategy<Value = Key> {
    let byte = prop_oneof![Just(0u8), Just(b'/'), Just(b'a'), Just(0xfe), Just(0xff)];
    vec(byte, 1..4)
}

fn any_value() -> impl Strategy<Value = Option<Vec<u8>>> {
    let sizes = prop_oneof![4 => 0usize..40, 2 => 500usize..3000, 1 => 8000usize..40_000];
    prop_oneof![1 => Just(None), 3 => (any::<u8>(), sizes).prop_map(|(byte, len)| Some(vec![byte; len]))]
}

fn any_step() -> impl Strategy<Value = Step> {
    let guess = prop_oneof![6 => Just(Guess::Right), 1 => Just(Guess::Absent), 1 => any::<u8>().prop_map(Guess::Earlier)];
    let wants = vec((any_key(), guess), 0..4);
    let prefix = prop_oneof![Just(Key::new()), any_key()];
    let after = prop_oneof![Just(Key::new()), any_key()];
    (wants, btree_map(any_key(), any_value(), 0..6), (prefix, after)).prop_map(|(wants, writes, list)| Step {
        wants,
        writes,
        list,
    })
}

/// One client: after every batch the store holds exactly what the model does, and gave the same verdict.
pub fn random_histories_match_the_model(fresh: Fresh) {
    let cases = std::env::var("KEYWARD_HISTORIES").map_or(64, |cases| cases.parse().unwrap());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&vec(any_step(), 1..40), |steps| {
            let (store, _keep) = fresh();
            let (mut model, mut revs) = (Model::default(), vec![0]);
            for step in steps {
                take(&*store, step, &mut model, &mut revs);
            }
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

fn take(store: &dyn Store, step: Step, model: &mut Model, revs: &mut Vec<Rev>) {
    let batch = batch(&step, model, revs);
    let broken: Vec<_> = batch.wants.iter().filter(|(key, want)| !model.holds(key, want)).collect();
    let last = revs.last().copied().unwrap_or_default();
    match commit(store, batch.clone()) {
        Ok(rev) if batch.is_empty() => assert_eq!(rev, last),
        Ok(rev) => {
            assert_eq!(broken, Vec::<&(Key, Want)>::new(), "committed against its wants");
            assert!(rev > last);
            model.apply(&batch, rev);
            revs.push(rev);
        }
        Err(Fault::Conflict(key)) => {
            assert!(broken.iter().any(|(wanted, _)| *wanted == key), "{key:?} is not in conflict");
        }
        Err(Fault::TooBig) => assert_eq!(batch.check(&LIMITS), Err(Fault::TooBig)),
        Err(other) => panic!("{other}"),
    }
    assert!(read(store, Model::of).unwrap() == *model, "the store holds something else than the model");
    let (prefix, after) = &step.list;
    let listed = read(store, |view| {
        let mut found = Vec::new();
        view.keys(prefix, after, &mut |key| {
            found.push(key.to_vec());
            true
        })?;
        Ok(found)
    });
    let expected: Vec<Key> =
        model.0.keys().filter(|key| key.starts_with(prefix) && *key > after).cloned().collect();
    assert_eq!(listed.unwrap(), expected, "under {prefix:?} after {after:?}");
}

fn batch(step: &Step, model: &Model, revs: &[Rev]) -> Batch {
    let present = |key: &Key| model.0.get(key).map_or(Want::Absent, |(_, rev)| Want::At(*rev));
    let want = |(key, guess): &(Key, Guess)| {
        let want = match guess {
            Guess::Right => present(key),
            Guess::Absent => Want::Absent,
            Guess::Earlier(n) => Want::At(revs[usize::from(*n) % revs.len()]),
        };
        (key.clone(), want)
    };
    let puts = step.writes.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
    let deletes = step.writes.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| key.clone());
    Batch {
        wants: step.wants.iter().map(want).collect(),
        puts: puts.collect(),
        deletes: deletes.collect(),
        ..Batch::default()
    }
}

/// A refusal: of what, for which key, and the newest revisions known before it was sent and after the answer.
struct Conflict {
    wants: Vec<(Key, Want)>,
    key: Key,
    from: Rev,
    to: Rev,
}

/// What several clients saw, to be judged when all is done.
#[derive(Default)]
struct Record {
    commits: Vec<(Rev, Batch)>,
    conflicts: Vec<Conflict>,
    snapshots: Vec<(Rev, Model)>,
}

/// Several clients: there is one order of all commits, that of their revisions, in which every want holds, every
/// refusal was due, and every snapshot is the state at its revision; and no client ever sees less than before.
pub fn concurrent_histories_have_one_order(fresh: Fresh) {
    for seed in 0..4 {
        let (store, _keep) = fresh();
        let record = Mutex::new(Record::default());
        let acknowledged = AtomicU64::new(0);
        thread::scope(|scope| {
            for client in 0..6 {
                let (store, record, acknowledged) = (&store, &record, &acknowledged);
                scope.spawn(move || run_client(&**store, seed * 100 + client, record, acknowledged));
            }
        });
        let last = read(&*store, |view| Ok((view.rev(), Model::of(view)?))).unwrap();
        let mut record = record.into_inner();
        record.snapshots.push(last);
        judge(record);
    }
}

fn run_client(store: &dyn Store, seed: u64, record: &Mutex<Record>, acknowledged: &AtomicU64) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut roll = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut seen = 0;
    for _ in 0..60 {
        let known = acknowledged.load(Ordering::SeqCst);
        let (rev, state) = read(store, |view| Ok((view.rev(), Model::of(view)?))).unwrap();
        assert!(rev >= known, "a commit acknowledged before the look is not in it");
        assert!(rev >= seen, "a later look shows less than an earlier one");
        seen = rev;
        let mut batch = Batch::default();
        for _ in 0..1 + roll(3) {
            let key = vec![b'k', roll(6) as u8];
            let at = state.0.get(&key).map_or(Want::Absent, |(_, rev)| Want::At(*rev));
            batch.wants.push((key.clone(), at));
            if batch.changed().any(|changed| *changed == key) {
                continue;
            }
            match roll(4) {
                0 => batch.deletes.push(key),
                n => batch.puts.push((key, vec![n as u8; roll(2000) as usize])),
            }
        }
        // Some rely on nothing.
        if roll(5) == 0 {
            batch.wants.clear();
        }
        let outcome = commit(store, batch.clone());
        let mut record = record.lock();
        record.snapshots.push((rev, state));
        match outcome {
            Ok(rev) => {
                acknowledged.fetch_max(rev, Ordering::SeqCst);
                record.commits.push((rev, batch));
            }
            Err(Fault::Conflict(key)) => {
                let to = store.status().rev;
                record.conflicts.push(Conflict { wants: batch.wants, key, from: known, to });
            }
            Err(other) => panic!("{other}"),
        }
    }
}

fn judge(mut record: Record) {
    record.commits.sort_by_key(|(rev, _)| *rev);
    let mut states = BTreeMap::from([(0, Model::default())]);
    let mut model = Model::default();
    for (rev, batch) in &record.commits {
        for (key, want) in &batch.wants {
            assert!(model.holds(key, want), "the commit at {rev} relied on what was no longer so");
        }
        model.apply(batch, *rev);
        assert!(states.insert(*rev, model.clone()).is_none(), "revision {rev} was given twice");
    }
    for (rev, seen) in record.snapshots {
        assert!(states.get(&rev) == Some(&seen), "the snapshot at {rev} is not what was committed by then");
    }
    for Conflict { wants, key, from, to } in record.conflicts {
        let due = states.range(from..=to).any(|(_, model)| {
            wants.iter().any(|(wanted, want)| *wanted == key && !model.holds(wanted, want))
        });
        assert!(due, "refused between {from} and {to} though {key:?} was as wanted");
    }
}
