//! Checks that need several clients at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use keyward_core::{Batch, Fault, Key};

use super::single::ear;
use super::{Fresh, commit, get, keys, list, number, puts, want};
use crate::{Change, Store, read};

const CLIENTS: usize = 8;

/// Runs `client` on several threads at once, each with its number.
fn clients(client: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for i in 0..CLIENTS {
            let client = &client;
            scope.spawn(move || client(i));
        }
    });
}

/// Runs `attempt` until its batch is not in conflict.
fn retry(store: &dyn Store, mut attempt: impl FnMut() -> Batch) {
    loop {
        match commit(store, attempt()) {
            Ok(_) => return,
            Err(Fault::Conflict(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// Read, add one, write if nobody else did: none of the additions goes missing.
pub fn no_update_is_lost(fresh: Fresh) {
    let (store, _keep) = fresh();
    const EACH: usize = 40;
    clients(|_| {
        for _ in 0..EACH {
            retry(&*store, || {
                let entry = get(&*store, b"counter");
                let wants = vec![(b"counter".to_vec(), want(&entry))];
                Batch { wants, ..puts([("counter", (number(&entry) + 1).to_string())]) }
            });
        }
    });
    assert_eq!(number(&get(&*store, b"counter")), (CLIENTS * EACH) as u64);
}

/// Two may leave only while both are there: whoever relies on both keys wants both, and one always stays.
pub fn no_write_is_skewed(fresh: Fresh) {
    let (store, _keep) = fresh();
    let on_call: [&[u8]; 2] = [b"on-call/a", b"on-call/b"];
    commit(&*store, puts(on_call.map(|key| (key, "1")))).unwrap();
    let mine = |i: usize| on_call[i % 2].to_vec();
    clients(|i| {
        for _ in 0..40 {
            let both = read(&*store, |view| Ok([view.get(on_call[0])?, view.get(on_call[1])?])).unwrap();
            let there = both.iter().filter(|entry| number(entry) == 1).count();
            assert!(there >= 1, "both have left");
            let wants = on_call.iter().zip(&both).map(|(key, entry)| (key.to_vec(), want(entry))).collect();
            let next = if number(&both[i % 2]) == 0 {
                "1"
            } else if there == 2 {
                "0"
            } else {
                continue;
            };
            match commit(&*store, Batch { wants, ..puts([(mine(i), next)]) }) {
                Ok(_) | Err(Fault::Conflict(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
    });
}

/// A directory may hold ten entries. Whoever lists it wants its epoch, which every creation bumps.
pub fn no_phantom_gets_past_an_epoch(fresh: Fresh) {
    let (store, _keep) = fresh();
    const ROOM: usize = 10;
    clients(|client| {
        for i in 0..ROOM {
            retry(&*store, || {
                let (epoch, held) =
                    read(&*store, |view| Ok((view.get(b"epoch")?, keys(view, b"dir/")?.len()))).unwrap();
                if held >= ROOM {
                    return Batch::default();
                }
                let wants = vec![(b"epoch".to_vec(), want(&epoch))];
                let bumped = (number(&epoch) + 1).to_string();
                Batch {
                    wants,
                    ..puts([("epoch".to_owned(), bumped), (format!("dir/{client}/{i}"), "v".into())])
                }
            });
        }
    });
    assert_eq!(list(&*store, b"dir/").len(), ROOM);
}

/// However often it is asked, one look gives one answer, and that of one revision, while writers write.
pub fn a_snapshot_stands_still(fresh: Fresh) {
    let (store, _keep) = fresh();
    let pair = |i: usize| puts([("left", i.to_string()), ("right", i.to_string())]);
    commit(&*store, pair(0)).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for i in 1..600 {
                let mut batch = pair(i);
                let (comes, goes) = (format!("dir/{i:04}"), format!("dir/{:04}", i - 1).into_bytes());
                batch.puts.push((comes.into_bytes(), i.to_string().into_bytes()));
                batch.deletes.push(goes);
                commit(&*store, batch).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        for reader in 0..4 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    store.look(&mut |view| stands_still(view, reader)).unwrap();
                }
            });
        }
        // Otherwise the readers would go on for ever.
        let outcome = writer.join();
        done.store(true, Ordering::SeqCst);
        outcome.unwrap();
    });
}

fn stands_still(view: &dyn keyward_core::View, reader: usize) -> Result<(), Fault> {
    let rev = view.rev();
    let left = view.get(b"left")?;
    // Some list in between, some do not: the two ways read differently inside a store.
    let listed = if reader.is_multiple_of(2) { Some(keys(view, b"dir/")?) } else { None };
    let absent = view.get(format!("dir/{:04}", number(&left) + 1).as_bytes())?;
    thread::yield_now();
    let right = view.get(b"right")?;
    assert_eq!(left, right, "two revisions in one snapshot");
    assert_eq!(view.get(b"left")?, left);
    assert_eq!(absent, None, "an entry from the future");
    assert!(left.as_ref().is_some_and(|entry| entry.rev <= rev), "an entry newer than its snapshot");
    assert_eq!(view.rev(), rev);
    if number(&left) > 0 {
        let expected: Key = format!("dir/{:04}", number(&left)).into();
        assert_eq!(view.get(&expected)?.map(|entry| entry.rev), left.map(|entry| entry.rev));
        assert!(listed.is_none_or(|listed| listed == [expected]), "a listing of another revision");
    }
    Ok(())
}

/// What one look has shown, the next shows too, whichever way each of them reads.
pub fn a_later_look_shows_no_less(fresh: Fresh) {
    let (store, _keep) = fresh();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for i in 0..200 {
                commit(&*store, puts([("k", i.to_string()), ("other", i.to_string())])).unwrap();
            }
        });
        for reader in 0..4 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                for i in 0.. {
                    if done.load(Ordering::SeqCst) {
                        break;
                    }
                    // A key that nobody asked for before, so that no cache can answer.
                    let unknown = format!("unknown/{reader}/{i}");
                    let first =
                        read(&**store, |view| view.get(unknown.as_bytes()).map(|_| view.rev())).unwrap();
                    let second = read(&**store, |view| Ok(view.rev())).unwrap();
                    assert!(second >= first, "{second} after {first}");
                }
            });
        }
        let outcome = writer.join();
        done.store(true, Ordering::SeqCst);
        outcome.unwrap();
    });
}

/// As [`watchers_hear_every_commit_once_in_order`](super::watchers_hear_every_commit_once_in_order), from several
/// writers, for watchers that come while they write.
pub fn watchers_hear_concurrent_commits_in_order(fresh: Fresh) {
    let (store, _keep) = fresh();
    let (sink, heard) = ear();
    store.watch(0, sink).unwrap();
    let late = parking_lot::Mutex::new(Vec::new());
    clients(|client| {
        for i in 0..40 {
            let key = format!("{client}/{i}").into_bytes();
            let rev = commit(&*store, puts([(key.clone(), "v")])).unwrap();
            let told = Change::Keys(rev, [key].into());
            assert!(heard.lock().contains(&told), "acknowledged before it was told");
            if i == 20 {
                let from = read(&*store, |view| Ok(view.rev())).unwrap();
                let (sink, heard) = ear();
                store.watch(from, sink).unwrap();
                late.lock().push((from, heard));
            }
        }
    });
    let heard = heard.lock();
    let revs: Vec<_> = heard
        .iter()
        .map(|change| match change {
            Change::Keys(rev, _) => *rev,
            Change::Lost => panic!("nothing was lost"),
        })
        .collect();
    assert_eq!(revs.len(), CLIENTS * 40);
    assert!(revs.is_sorted_by(|a, b| a < b));
    for (from, late) in late.into_inner() {
        let begins = revs.partition_point(|rev| *rev <= from);
        assert_eq!(*late.lock(), heard[begins..], "watching from {from}");
    }
}
