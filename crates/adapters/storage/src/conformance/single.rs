//! Checks that one client can make.

use std::sync::Arc;

use keyward_core::{Batch, Entry, Fault, Key, LIMITS, Rev, Want};
use parking_lot::Mutex;

use super::{Fresh, commit, get, list, puts, value};
use crate::{Change, Sink, read};

/// Order is that of the bytes, 0x00 and 0xff like any other; a prefix is not a separator.
pub fn keys_are_ordered_by_their_bytes(fresh: Fresh) {
    let (store, _keep) = fresh();
    let mut keys: Vec<Key> = vec![
        vec![0],
        vec![0, 0],
        vec![0, 0xff],
        vec![1],
        b"a".to_vec(),
        b"a\0".to_vec(),
        b"a\0b".to_vec(),
        b"a/".to_vec(),
        b"a/\xff".to_vec(),
        b"a/\xff\xff".to_vec(),
        b"a/b/c".to_vec(),
        b"a0".to_vec(),
        b"ab".to_vec(),
        b"\xc3\xa4".to_vec(),
        vec![0xfe, 0xff],
        vec![0xff],
        vec![0xff, 0],
        vec![0xff, 0xff],
        vec![0xff, 0xff, 0xff],
    ];
    keys.sort();
    // Neither in order nor in reverse.
    let (even, odd): (Vec<_>, Vec<_>) = keys.iter().cloned().enumerate().partition(|(i, _)| i % 2 == 0);
    for (_, key) in odd.into_iter().rev().chain(even) {
        commit(&*store, puts([(key.clone(), key)])).unwrap();
    }
    let prefixes: [&[u8]; 9] = [b"", b"\0", b"a", b"a\0", b"a/", b"a/\xff", b"b", b"\xff", b"\xff\xff"];
    for prefix in prefixes {
        let expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert_eq!(list(&*store, prefix), expected, "under {prefix:?}");
    }
    for key in &keys {
        assert_eq!(value(&*store, key), Some(key.clone()));
    }
}

/// `after` is excluded wherever it lies, and nothing is called again once `each` has had enough.
pub fn a_listing_starts_and_stops_where_told(fresh: Fresh) {
    let (store, _keep) = fresh();
    let all: Vec<Key> =
        ["a", "b/1", "b/2", "b/2/x", "b/3", "c"].iter().map(|key| key.as_bytes().to_vec()).collect();
    commit(&*store, puts(all.iter().map(|key| (key.clone(), "v")))).unwrap();
    let page = |prefix: &[u8], after: &[u8], max: usize| {
        read(&*store, |view| {
            let mut found: Vec<Key> = Vec::new();
            view.keys(prefix, after, &mut |key| {
                assert!(found.len() < max, "called after it had enough");
                found.push(key.to_vec());
                found.len() < max
            })?;
            let mut entries: Vec<(Key, Option<Entry>)> = Vec::new();
            view.entries(prefix, after, &mut |key, rev, value| {
                entries.push((key.to_vec(), Some(Entry { value: value.into(), rev })));
                entries.len() < max
            })?;
            let one_by_one = found.iter().map(|key| Ok((key.clone(), view.get(key)?)));
            assert_eq!(entries, one_by_one.collect::<Result<Vec<_>, Fault>>()?);
            Ok(found)
        })
        .unwrap()
    };
    assert_eq!(page(b"b/", b"", 9), all[1..5]);
    assert_eq!(page(b"b/", b"b/2", 9), all[3..5]);
    assert_eq!(page(b"b/", b"b/1zzz", 9), all[2..5]);
    assert_eq!(page(b"b/", b"a", 9), all[1..5]);
    assert_eq!(page(b"b/", b"b/3", 9), Vec::<Key>::new());
    assert_eq!(page(b"b/", b"c", 9), Vec::<Key>::new());
    assert_eq!(page(b"b/", b"", 1), all[1..2]);
    assert_eq!(page(b"b/", b"b/1", 2), all[2..4]);
    assert_eq!(page(b"", b"", 3), all[..3]);
    assert_eq!(page(b"b/2", b"b/2", 9), all[3..4]);
}

/// Whoever pages through a directory sees each key that stays exactly once, whatever happens to the others.
pub fn pages_keep_their_place_while_keys_come_and_go(fresh: Fresh) {
    let (store, _keep) = fresh();
    let name = |i: usize| format!("dir/{i:03}").into_bytes();
    commit(&*store, puts((0..90).step_by(3).map(|i| (name(i), "stays")))).unwrap();
    commit(&*store, puts((0..90).step_by(3).map(|i| (name(i + 1), "goes")))).unwrap();
    let (mut seen, mut after) = (Vec::<Key>::new(), Key::new());
    for round in 0.. {
        let mut page: Vec<Key> = Vec::new();
        store
            .look(&mut |view| {
                page.clear();
                view.keys(b"dir/", &after, &mut |key| {
                    page.push(key.to_vec());
                    page.len() < 4
                })
            })
            .unwrap();
        let Some(last) = page.last() else { break };
        after.clone_from(last);
        seen.extend(page);
        // The key the page ended at goes too, as may any other.
        let gone = (0..3).map(|i| name(round * 9 % 90 + i * 3 + 1)).chain([name(round * 9 % 90 + 1)]);
        let mut batch = Batch { deletes: gone.collect(), ..puts([(name(89 - round % 30 * 3), "came")]) };
        batch.deletes.sort();
        batch.deletes.dedup();
        commit(&*store, batch).unwrap();
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "a key was shown twice or out of order");
    for i in (0..90).step_by(3) {
        assert!(seen.contains(&name(i)), "{i} was skipped");
    }
}

/// An empty value is a value.
pub fn empty_values_exist(fresh: Fresh) {
    let (store, _keep) = fresh();
    assert_eq!(get(&*store, b"k"), None);
    let rev = commit(&*store, puts([("k", "")])).unwrap();
    let entry = get(&*store, b"k").unwrap();
    assert_eq!((&*entry.value, entry.rev), (&b""[..], rev));
    assert_eq!(list(&*store, b""), [b"k"]);
    let batch = Batch { wants: vec![(b"k".to_vec(), Want::Absent)], ..puts([("k", "x")]) };
    assert_eq!(commit(&*store, batch), Err(Fault::Conflict(b"k".to_vec())));
    commit(&*store, Batch { deletes: vec![b"k".to_vec()], ..Batch::default() }).unwrap();
    assert_eq!(get(&*store, b"k"), None);
    assert_eq!(list(&*store, b""), Vec::<Key>::new());
}

/// Every kind of want, met and broken; a broken one names its key and changes nothing at all.
pub fn wants_hold_or_nothing_happens(fresh: Fresh) {
    let (store, _keep) = fresh();
    let store = &*store;
    let wanting = |wants: &[(&str, Want)]| Batch {
        wants: wants.iter().map(|(key, want)| (key.as_bytes().to_vec(), *want)).collect(),
        deletes: vec![b"victim".to_vec()],
        ..puts([("written", "no"), ("k", "no")])
    };
    let first = commit(store, puts([("k", "1"), ("victim", "here")])).unwrap();
    let second = commit(store, puts([("k", "2")])).unwrap();
    let refused: [&[(&str, Want)]; 6] = [
        &[("k", Want::Absent)],
        &[("k", Want::At(first))],
        &[("k", Want::At(second + 1))],
        &[("nothing", Want::At(second))],
        &[("k", Want::At(second)), ("nothing", Want::Absent), ("victim", Want::At(second))],
        &[("k", Want::At(0))],
    ];
    for wants in refused {
        let Err(Fault::Conflict(key)) = commit(store, wanting(wants)) else { panic!("accepted {wants:?}") };
        assert_eq!(key, wants.last().unwrap().0.as_bytes(), "the broken want is the one to name");
        assert_eq!(value(store, b"k"), Some(b"2".to_vec()));
        assert_eq!(value(store, b"written"), None);
        assert_eq!(value(store, b"victim"), Some(b"here".to_vec()));
        assert_eq!(store.status().rev, second);
    }
    let met = wanting(&[("k", Want::At(second)), ("nothing", Want::Absent), ("victim", Want::At(first))]);
    commit(store, met).unwrap();
    assert_eq!(list(store, b""), [b"k".to_vec(), b"written".to_vec()]);
    // What was deleted is absent, and what comes back is not what it was.
    let again = Batch { wants: vec![(b"victim".to_vec(), Want::Absent)], ..puts([("victim", "back")]) };
    commit(store, again).unwrap();
    let stale = Batch { wants: vec![(b"victim".to_vec(), Want::At(first))], ..puts([("k", "no")]) };
    assert_eq!(commit(store, stale), Err(Fault::Conflict(b"victim".to_vec())));
}

/// What is at a limit is accepted and read back; one more is refused, and refused whole.
pub fn limits_are_exact(fresh: Fresh) {
    let (store, _keep) = fresh();
    let store = &*store;
    let name = |i: usize| format!("{i:04}").into_bytes();
    let many = |n: usize| puts((0..n).map(|i| (name(i), "v")));
    // Values at their limit fill a batch to its own, but for the keys.
    let full = |extra: usize| {
        let rest = LIMITS.bytes - LIMITS.value - 8 + extra;
        puts([(name(1), vec![1; LIMITS.value]), (name(2), vec![2; rest])])
    };
    let keyed = |len: usize| puts([(vec![7; len], "v")]);
    let valued = |len: usize| puts([(name(3), vec![3; len])]);
    let wanted = |n: usize| Batch {
        wants: (0..n).map(|i| (name(i + 5000), Want::Absent)).collect(),
        ..puts([(name(4), "v")])
    };
    let accepted = [
        many(LIMITS.operations),
        full(0),
        keyed(LIMITS.key),
        valued(LIMITS.value),
        wanted(LIMITS.operations - 1),
    ];
    let twice = Batch { deletes: vec![name(0)], ..many(1) };
    let deleted_twice = Batch { deletes: vec![name(0), name(0)], ..Batch::default() };
    let only_wants = Batch { puts: Vec::new(), ..wanted(LIMITS.operations + 1) };
    let refused = [
        many(LIMITS.operations + 1),
        full(1),
        keyed(LIMITS.key + 1),
        keyed(0),
        valued(LIMITS.value + 1),
        wanted(LIMITS.operations),
        twice,
        deleted_twice,
        only_wants,
    ];
    for batch in refused {
        assert_eq!(commit(store, batch), Err(Fault::TooBig));
    }
    assert_eq!((list(store, b""), store.status().rev), (Vec::new(), 0));
    for batch in accepted {
        commit(store, batch.clone()).unwrap();
        for (key, written) in batch.puts {
            assert!(value(store, &key) == Some(written), "a value at the limit came back changed");
        }
    }
}

/// No wants are checked, no revision is made, nobody is told.
pub fn an_empty_batch_writes_nothing(fresh: Fresh) {
    let (store, _keep) = fresh();
    let rev = commit(&*store, puts([("k", "v")])).unwrap();
    let (sink, heard) = ear();
    store.watch(rev, sink).unwrap();
    assert_eq!(commit(&*store, Batch::default()), Ok(rev));
    let wants = vec![(b"k".to_vec(), Want::Absent)];
    assert_eq!(commit(&*store, Batch { id: [1; 16], wants, ..Batch::default() }), Ok(rev));
    assert_eq!(store.status().rev, rev);
    assert_eq!(*heard.lock(), []);
}

/// Revisions strictly grow, and an entry carries the one of its last change.
pub fn revisions_grow_and_mark_entries(fresh: Fresh) {
    let (store, _keep) = fresh();
    let mut last = read(&*store, |view| Ok(view.rev())).unwrap();
    assert_eq!(last, store.status().rev);
    for i in 0..20 {
        let rev = commit(&*store, puts([("every", "v".to_owned()), ("some", i.to_string())])).unwrap();
        assert!(rev > last, "{rev} follows {last}");
        assert_eq!(get(&*store, b"every").unwrap().rev, rev);
        assert_eq!(read(&*store, |view| Ok(view.rev())), Ok(rev));
        last = commit(&*store, puts([("other", "v")])).unwrap();
        assert_eq!(get(&*store, b"every").unwrap().rev, rev);
        // Deleting what is absent is a commit like any other.
        let nothing = Batch { deletes: vec![b"never".to_vec()], ..Batch::default() };
        let after = commit(&*store, nothing).unwrap();
        assert!(after > last, "{after} follows {last}");
        last = after;
    }
}

/// A commit whose answer was lost can be looked up, one that was refused cannot.
pub fn batches_are_found_by_their_id(fresh: Fresh) {
    let (store, _keep) = fresh();
    let named = |id: u8| Batch { id: [id; 16], ..puts([("k", [id])]) };
    assert_eq!(store.committed([1; 16]), Ok(None));
    let first = commit(&*store, named(1)).unwrap();
    let second = commit(&*store, named(2)).unwrap();
    let refused = Batch { wants: vec![(b"k".to_vec(), Want::Absent)], ..named(3) };
    commit(&*store, refused).unwrap_err();
    commit(&*store, puts([("k", "anonymous")])).unwrap();
    assert_eq!(store.committed([1; 16]), Ok(Some(first)));
    assert_eq!(store.committed([2; 16]), Ok(Some(second)));
    assert_eq!(store.committed([3; 16]), Ok(None));
    assert_eq!(store.committed([0; 16]), Ok(None));
    // Committed again under the same id: the last counts.
    let again = commit(&*store, named(1)).unwrap();
    assert_eq!(store.committed([1; 16]), Ok(Some(again)));
}

/// Each commit once, in order, with the keys it wrote or deleted, before it is acknowledged.
pub fn watchers_hear_every_commit_once_in_order(fresh: Fresh) {
    let (store, _keep) = fresh();
    let (sink, heard) = ear();
    store.watch(0, sink).unwrap();
    let mut expected = Vec::new();
    for i in 0..50u8 {
        let mut batch = puts([(vec![1, i], "v"), (vec![2, i], "v")]);
        batch.deletes.push(vec![1, i.wrapping_sub(1)]);
        let keys = batch.changed().cloned().collect();
        let rev = commit(&*store, batch).unwrap();
        expected.push(Change::Keys(rev, keys));
        assert_eq!(*heard.lock(), expected);
        commit(&*store, Batch { wants: vec![(vec![1, i], Want::Absent)], ..puts([("k", "v")]) }).unwrap_err();
    }
    assert_eq!(*heard.lock(), expected);
}

/// Earlier commits are told first if they are known; a revision the store never had means something was lost.
pub fn a_watch_begins_where_told_and_stops(fresh: Fresh) {
    let (store, _keep) = fresh();
    let revs: Vec<Rev> = (0..5u8).map(|i| commit(&*store, puts([([i], "v")])).unwrap()).collect();
    let (sink, late) = ear();
    store.watch(revs[2], sink).unwrap();
    assert_eq!(heard_revs(&late), revs[3..]);
    let (sink, now) = ear();
    let watch = store.watch(revs[4], sink).unwrap();
    let (sink, future) = ear();
    store.watch(revs[4] + 1000, sink).unwrap();
    assert_eq!(*future.lock(), [Change::Lost]);
    let next = commit(&*store, puts([("k", "v")])).unwrap();
    assert_eq!(heard_revs(&late), [revs[3], revs[4], next]);
    assert_eq!(heard_revs(&now), [next]);
    assert_eq!(future.lock().len(), 2);
    watch.stop();
    commit(&*store, puts([("k", "v")])).unwrap();
    assert_eq!(heard_revs(&now), [next]);
    assert_eq!(heard_revs(&late).len(), 4);
}

/// The outcome of the function is the outcome of the look, and a refusal leaves the store as it was.
pub fn a_look_returns_what_its_function_does(fresh: Fresh) {
    let (store, _keep) = fresh();
    commit(&*store, puts([("k", "v")])).unwrap();
    assert_eq!(store.look(&mut |_| Err(Fault::TooBig)), Err(Fault::TooBig));
    assert_eq!(store.look(&mut |view| view.get(b"k").map(|_| ())), Ok(()));
    assert_eq!(read(&*store, |_| Ok(7)), Ok(7));
    assert_eq!(read(&*store, |_| Err::<(), _>(Fault::Full)), Err(Fault::Full));
    assert_eq!(value(&*store, b"k"), Some(b"v".to_vec()));
}

/// A sink, and what it heard.
pub(super) fn ear() -> (Sink, Arc<Mutex<Vec<Change>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    (Box::new(move |change| sink.lock().push(change)), heard)
}

fn heard_revs(heard: &Mutex<Vec<Change>>) -> Vec<Rev> {
    heard
        .lock()
        .iter()
        .map(|change| match change {
            Change::Keys(rev, _) => *rev,
            Change::Lost => panic!("nothing was lost"),
        })
        .collect()
}
