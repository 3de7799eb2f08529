//! What needs no vectors: every kind of recipient there and back, and every way to break a file.

use super::*;
use crate::bech32;
use crate::keys::{Key, KeyType};
use crate::ssh as openssh;
use crate::{SystemRandom, secret::SecretString};
use proptest::prelude::*;

fn phrase(text: &str) -> scrypt::Passphrase {
    let text: SecretString = Secret::new(text.to_owned());
    scrypt::Passphrase::new(text).unwrap().with_work(4)
}

fn sealed(recipient: &dyn Wrap, plaintext: &[u8]) -> Vec<u8> {
    seal(&[recipient], Mixing::Refuse, &SystemRandom, plaintext).unwrap()
}

fn opened(file: &[u8], identity: &dyn Unwrap) -> Result<Vec<u8>, Error> {
    open(file, &[identity], 1 << 24).map(|text| text.expose().clone())
}

/// An identity of every kind that is kept in files, and its recipient as text.
fn kinds() -> Vec<(Identity, String)> {
    let mut all = Vec::new();
    for text in
        [x25519::Identity::generate(&SystemRandom).text(), pq::Identity::generate(&SystemRandom).text()]
    {
        all.push(text.expose().parse::<Identity>().unwrap());
    }
    for kind in [KeyType::Ed25519, KeyType::Rsa2048] {
        let key = Key::generate(kind, 0, &SystemRandom).unwrap();
        all.extend(read_identities(openssh::private_text(&key).unwrap().expose()).unwrap());
    }
    all.into_iter()
        .map(|identity| {
            let recipient = identity.recipient().unwrap().to_string();
            (identity, recipient)
        })
        .collect()
}

#[test]
fn every_kind_opens_what_was_sealed_for_it() {
    let all = kinds();
    for (identity, recipient) in &all {
        let recipient: Recipient = recipient.parse().unwrap();
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 200_000] {
            let plaintext = vec![7; length];
            let file = sealed(&recipient, &plaintext);
            assert_eq!(opened(&file, identity).unwrap(), plaintext, "{recipient} {length}");
            let armored = armor::encode(&file).unwrap();
            assert_eq!(opened(armored.as_bytes(), identity).unwrap(), plaintext);
        }
        let other = x25519::Identity::generate(&SystemRandom);
        assert_eq!(opened(&sealed(&recipient, b"x"), &other), Err(Error::NoMatch));
    }
    let file = sealed(&phrase("correct horse"), b"x");
    assert_eq!(opened(&file, &phrase("correct horse")).unwrap(), b"x");
    assert_eq!(opened(&file, &phrase("wrong")), Err(Error::NoMatch));
}

#[test]
fn recipients_read_back_as_they_are_written() {
    let all = kinds();
    assert_eq!(all[1].1.len(), 1959);
    for (_, text) in &all {
        let recipient: Recipient = text.parse().unwrap();
        assert_eq!(&recipient.to_string(), text);
        assert!(text.to_uppercase().parse::<Recipient>().is_err());
        assert!(text.parse::<Identity>().is_err());
    }
    for odd in [
        "",
        "age1",
        "age1qqqq",
        "ssh-ed25519",
        "ssh-dss AAAA",
        "age1pq1qqqq",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    ] {
        assert!(matches!(odd.parse::<Recipient>(), Err(Error::Key(_))), "{odd}");
    }
}

#[test]
fn points_of_low_order_are_no_recipients() {
    assert!(!wrap::is_low_order(&[9; 32]));
    // The identity, and the points of order two, four and eight (https://cr.yp.to/ecdh.html#validate).
    let low = [
        [0; 32],
        {
            let mut one = [0; 32];
            one[0] = 1;
            one
        },
        hex::decode("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
            .unwrap()
            .try_into()
            .unwrap(),
        hex::decode("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157")
            .unwrap()
            .try_into()
            .unwrap(),
        hex::decode("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
            .unwrap()
            .try_into()
            .unwrap(),
    ];
    for point in low {
        assert!(wrap::is_low_order(&point) && wrap::agree(&wrap::private(&[9; 32]), &point).is_none());
        let mut unmasked = point;
        unmasked[31] |= 0x80;
        assert!(wrap::is_low_order(&unmasked));
        assert!(x25519::Recipient::from_data(&point).is_err(), "{}", hex::encode(point));
        let good = pq::Identity::generate(&SystemRandom).recipient().to_string();
        let mut data = bech32::decode(&good).unwrap().1;
        let from = data.len() - 32;
        data[from..].copy_from_slice(&point);
        assert!(bech32::encode("age1pq", &data).parse::<Recipient>().is_err());
    }
}

#[test]
fn classic_and_post_quantum_do_not_mix_unless_somebody_says_so() {
    let (classic, strong) =
        (x25519::Identity::generate(&SystemRandom), pq::Identity::generate(&SystemRandom));
    let both: [&dyn Wrap; 2] = [&classic.recipient(), &strong.recipient()];
    assert!(matches!(seal(&both, Mixing::Refuse, &SystemRandom, b"x"), Err(Error::Mixed(_))));
    let file = seal(&both, Mixing::Allow, &SystemRandom, b"x").unwrap();
    assert_eq!((opened(&file, &classic).unwrap(), opened(&file, &strong).unwrap()), (vec![b'x'], vec![b'x']));
    let phrase = phrase("p");
    let alone: [&dyn Wrap; 2] = [&phrase, &classic.recipient()];
    assert!(matches!(seal(&alone, Mixing::Allow, &SystemRandom, b"x"), Err(Error::Mixed(_))));
    assert!(matches!(seal(&[], Mixing::Allow, &SystemRandom, b"x"), Err(Error::Mixed(_))));
}

#[test]
fn a_file_cut_anywhere_or_changed_anywhere_does_not_open() {
    let identity = pq::Identity::generate(&SystemRandom);
    let file = sealed(&identity.recipient(), b"plaintext");
    for cut in 0..file.len() {
        assert!(opened(&file[..cut], &identity).is_err(), "cut at {cut}");
        let mut changed = file.clone();
        changed[cut] ^= 1;
        assert!(opened(&changed, &identity).is_err(), "changed at {cut}");
    }
    let longer = [&file[..], b"\n"].concat();
    assert_eq!(opened(&longer, &identity), Err(Error::Payload));
    let armored = armor::encode(&file).unwrap();
    // Without the last line feed it is whole.
    // A vertical tab is no white space to ASCII.
    for (behind, opens) in [("\r\n \t\n", true), ("\u{b}", false), ("\u{a0}\n", false)] {
        let armored = format!("{}{behind}", armored.trim_end());
        assert_eq!(opened(armored.as_bytes(), &identity).is_ok(), opens, "{behind:?}");
    }
    for cut in 0..armored.len() - 1 {
        assert!(opened(&armored.as_bytes()[..cut], &identity).is_err(), "cut at {cut}");
    }
}

#[test]
fn too_much_is_refused_and_a_failed_reader_stays_failed() {
    let identity = x25519::Identity::generate(&SystemRandom);
    let mut file = sealed(&identity.recipient(), &vec![1; CHUNK + 10]);
    assert_eq!(open(&file, &[&identity], CHUNK).err(), Some(Error::Io(io::ErrorKind::FileTooLarge)));
    let end = file.len() - 1;
    file[end] ^= 1;
    let mut reader = decrypt(file.as_slice(), &[&identity]).unwrap();
    let mut out = Vec::new();
    assert!(reader.read_to_end(&mut out).is_err());
    assert_eq!(out.len(), CHUNK);
    assert!(reader.read_to_end(&mut out).is_err());
    assert_eq!(out.len(), CHUNK);
}

#[test]
fn identity_files_have_comments_and_say_which_line_is_wrong() {
    let text = x25519::Identity::generate(&SystemRandom).text();
    let file = format!("# created: today\n\n  {}  \n", text.expose());
    assert_eq!(read_identities(&file).unwrap().len(), 1);
    assert_eq!(read_identities(&format!("{file}nonsense\n")).err().map(|(line, _)| line), Some(4));
    assert_eq!(read_identities("# nothing\n").err().map(|(line, _)| line), Some(0));
    let shown = format!("{text:?}");
    assert!(!shown.contains("AGE-SECRET"));
}

proptest! {
    #[test]
    fn reading_never_panics(text in "(age-encryption.org/v1\n)?(-> [ -~]{0,20}\n[A-Za-z0-9+/=]{0,70}\n){0,3}.{0,80}") {
        let identity = x25519::Identity::generate(&SystemRandom);
        let _ = (opened(text.as_bytes(), &identity), text.parse::<Recipient>(), text.parse::<Identity>());
        let _ = opened(format!("-----BEGIN AGE ENCRYPTED FILE-----\n{text}").as_bytes(), &identity);
    }

    #[test]
    fn a_header_is_written_as_it_is_read(arguments in prop::collection::vec("[!-~]{1,20}", 1..4), body in prop::collection::vec(any::<u8>(), 0..200)) {
        let header = Header::seal(vec![Stanza { arguments, body }], &Secret::new([1; 16]));
        let read = Header::read(&mut header.bytes()).unwrap();
        prop_assert_eq!(read.stanzas(), header.stanzas());
        prop_assert_eq!(read.bytes(), header.bytes());
    }
}
