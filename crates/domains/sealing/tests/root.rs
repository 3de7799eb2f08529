//! The root of trust: shares, what is derived, and its succession.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use keyward_core::Timestamp;
use keyward_crypto::SystemRandom;
use keyward_intent::Moment;
use keyward_sealing::Failure;
use keyward_sealing::root::{Document, Purpose, Root, Share};

fn now() -> Moment {
    Moment::of(Timestamp::from_secs(1_800_000_000))
}

fn sealing(text: &str) -> Purpose {
    Purpose::parse(text).unwrap()
}

#[test]
fn any_enough_shares_give_the_root_back() {
    let root = Root::generate(None, &SystemRandom);
    let texts: Vec<String> =
        root.split(5, 3, &SystemRandom).unwrap().iter().map(|share| share.text().expose().clone()).collect();
    let read = |which: &[usize]| -> Vec<Share> {
        which.iter().map(|at| Share::read(&texts[*at]).unwrap()).collect()
    };
    for which in [[0, 1, 2], [4, 2, 0], [1, 3, 4]] {
        assert_eq!(Root::combine(&read(&which)).unwrap().id().unwrap(), root.id().unwrap());
    }
    assert_eq!(Root::combine(&read(&[0, 1])).err(), Some(Failure::Shares { found: 2, required: 3 }));
    // The same share twice is one share.
    assert_eq!(Root::combine(&read(&[0, 1, 1])).err(), Some(Failure::Shares { found: 2, required: 3 }));
    let other = Root::generate(None, &SystemRandom).split(5, 3, &SystemRandom).unwrap();
    let mut mixed = read(&[0, 1]);
    mixed.extend(other.into_iter().take(1));
    assert!(Root::combine(&mixed).is_err());
    // As people type it: lower case, in groups, with a comment above.
    let typed = format!(
        "# share 1\n{}",
        texts[0]
            .to_lowercase()
            .as_bytes()
            .chunks(5)
            .map(|part| format!("{} ", std::str::from_utf8(part).unwrap()))
            .collect::<String>()
    );
    assert_eq!(Share::read(&typed).unwrap().counts(), (1, 5, 3));
    // Every typing error is found.
    for at in 0..texts[0].len() {
        let mut wrong = texts[0].clone().into_bytes();
        wrong[at] = if wrong[at] == b'Q' { b'P' } else { b'Q' };
        assert!(Share::read(std::str::from_utf8(&wrong).unwrap()).is_err(), "{at}");
    }
}

#[test]
fn everything_comes_from_the_root_and_each_for_itself() {
    let root = Root::generate(None, &SystemRandom);
    let purposes = [sealing("prod"), sealing("prod/shop"), sealing("prod/other"), sealing("test")];
    let document = root.document(now(), (3, 5), &purposes, None).unwrap();
    let read = Document::read(&document.write().unwrap()).unwrap();
    assert_eq!(read, document);
    root.proves(&read).unwrap();
    assert_eq!(read.spec.recipients.len(), 6);
    let distinct: std::collections::BTreeSet<&String> = read.spec.recipients.values().collect();
    assert_eq!(distinct.len(), 6);
    assert_ne!(read.spec.key, read.spec.author);
    assert!(Root::generate(None, &SystemRandom).proves(&read).is_err());
    for edited in [
        document.write().unwrap().replace("required: 3", "required: 2"),
        document.write().unwrap().replace("prod/shop", "prod/show"),
    ] {
        assert!(Document::read(&edited).is_err());
    }
    for odd in ["", "a/b/c", "Prod", "prod/", "/x"] {
        assert!(Purpose::parse(odd).is_err(), "{odd}");
    }
}

#[test]
fn a_new_root_is_one_that_the_old_root_signed() {
    let old = Root::generate(None, &SystemRandom);
    let first = old.document(now(), (2, 3), &[], None).unwrap();
    let new = Root::generate(Some(&old), &SystemRandom);
    let second = new.document(now(), (2, 3), &[], Some(&old)).unwrap();
    let second = Document::read(&second.write().unwrap()).unwrap();
    assert_eq!(second.spec.generation, 2);
    first.is_followed_by(&second).unwrap();
    let forger = Root::generate(None, &SystemRandom);
    let forged = new.document(now(), (2, 3), &[], Some(&forger)).unwrap();
    assert!(first.is_followed_by(&Document::read(&forged.write().unwrap()).unwrap()).is_err());
    assert!(first.is_followed_by(&new.document(now(), (2, 3), &[], None).unwrap()).is_err());
    // The old root's word stands for one successor.
    let mut stolen = forged;
    stolen.spec.predecessor.clone_from(&second.spec.predecessor);
    assert!(Document::read(&stolen.write().unwrap()).is_err());
}
