//! kill -9 while many write: nothing acknowledged is lost, nothing half-written is seen.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use keyward_core::{Batch, BatchId};
use keyward_storage::conformance::{commit, get, list};
use keyward_storage::sqlite::DATABASE;
use keyward_storage::{REMEMBERED, Store};

use super::{child, open, times};

const WRITERS: u64 = 16;
/// Each writer's log has this many entries; older ones are deleted as new ones come.
const KEPT: u64 = 20;

#[test]
fn nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = vec![0; WRITERS as usize];
    for round in 0..times("KEYWARD_KILLS", 30) {
        let mut writer = child::start("kill::writes_until_it_is_killed", dir.path());
        let output = BufReader::new(writer.stdout.take().unwrap());
        let heard = thread::spawn(move || {
            output.lines().map_while(Result::ok).filter_map(|line| parse(&line)).collect()
        });
        // From before the store is open to well into checkpoints.
        thread::sleep(Duration::from_millis([3, 15, 40, 90, 200][round % 5] + round as u64 % 7));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let heard: Vec<(u64, u64)> = heard.join().unwrap();
        for (writer, number) in heard {
            let last: &mut u64 = &mut acknowledged[writer as usize];
            *last = number.max(*last);
        }
        check(dir.path(), &acknowledged);
    }
    assert!(acknowledged.iter().sum::<u64>() > 1000, "too little was written to prove anything");
}

#[test]
fn a_store_killed_while_it_begins_can_begin_again() {
    let parent = tempfile::tempdir().unwrap();
    let mut begun = 0;
    for round in 0..times("KEYWARD_KILLS", 30) as u64 {
        let dir = parent.path().join(round.to_string());
        let mut writer = child::start("kill::writes_until_it_is_killed", &dir);
        // From the first call to the first commits.
        thread::sleep(Duration::from_micros(2000 + round % 30 * 500));
        writer.kill().unwrap();
        writer.wait().unwrap();
        begun += usize::from(dir.join(DATABASE).exists());
        check(&dir, &[0; WRITERS as usize]);
    }
    assert!(begun > 0, "none was killed after it had begun");
}

#[test]
#[ignore = "a process that another test starts and kills"]
fn writes_until_it_is_killed() {
    let store = open(&child::dir());
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                for number in last(store, writer) + 1.. {
                    commit(store, batch(writer, number)).unwrap();
                    // One write, so that a line is heard whole or not at all.
                    std::io::stdout().write_all(format!("\nack {writer} {number}\n").as_bytes()).unwrap();
                }
            });
        }
    });
}

fn parse(line: &str) -> Option<(u64, u64)> {
    let (writer, number) = line.strip_prefix("ack ")?.split_once(' ')?;
    Some((writer.parse().ok()?, number.parse().ok()?))
}

fn id(writer: u64, number: u64) -> BatchId {
    let mut id = [1; 16];
    id[..8].copy_from_slice(&writer.to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    id
}

fn entry(writer: u64, number: u64) -> Vec<u8> {
    format!("log/{writer:02}/{number:09}").into_bytes()
}

fn content(writer: u64, number: u64) -> Vec<u8> {
    vec![(writer + number) as u8; (number * 37 % 3000) as usize]
}

fn batch(writer: u64, number: u64) -> Batch {
    let text = number.to_string().into_bytes();
    Batch {
        id: id(writer, number),
        puts: vec![
            (format!("a/{writer}").into(), text.clone()),
            (format!("z/{writer}").into(), text),
            (entry(writer, number), content(writer, number)),
        ],
        deletes: number.checked_sub(KEPT).map(|old| entry(writer, old)).into_iter().collect(),
        ..Batch::default()
    }
}

fn number(store: &dyn Store, key: String) -> u64 {
    get(store, key.as_bytes()).map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse().unwrap())
}

fn last(store: &dyn Store, writer: u64) -> u64 {
    number(store, format!("a/{writer}"))
}

fn check(dir: &Path, acknowledged: &[u64]) {
    let store = open(dir);
    store.verify().unwrap();
    let newest = store.status().rev;
    for writer in 0..WRITERS {
        let last = last(&store, writer);
        assert!(last >= acknowledged[writer as usize], "writer {writer}: {last} < {acknowledged:?}");
        assert_eq!(number(&store, format!("z/{writer}")), last, "half a batch of writer {writer}");
        let expected: Vec<u64> = ((last + 1).saturating_sub(KEPT).max(1)..=last).collect();
        let keys: Vec<_> = expected.iter().map(|number| entry(writer, *number)).collect();
        assert_eq!(list(&store, format!("log/{writer:02}/").as_bytes()), keys);
        for number in expected {
            let kept = get(&store, &entry(writer, number)).unwrap();
            assert!(*kept.value == content(writer, number), "entry {number} of writer {writer} changed");
            if newest - kept.rev < REMEMBERED {
                assert_eq!(store.committed(id(writer, number)), Ok(Some(kept.rev)));
            }
        }
        // What was under way when the process died was committed or was not, and either can be found out.
        assert_eq!(store.committed(id(writer, last + 1)), Ok(None));
    }
}
