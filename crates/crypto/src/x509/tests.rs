use super::*;
use crate::SystemRandom;
use crate::keys::{Key, KeyType};
use proptest::prelude::*;

const NOW: u64 = 1_800_000_000;

fn key(kind: KeyType) -> Key {
    Key::generate(kind, 0, &SystemRandom).unwrap()
}

fn subject(name: &str) -> Subject {
    Subject::new(&[
        (attribute::ORGANIZATION, &["Example, Inc.".to_owned()]),
        (attribute::COMMON_NAME, &[name.to_owned()]),
    ])
    .unwrap()
}

fn root(key: &Key, scheme: Scheme) -> Certificate {
    let public = PublicKey::of(key).unwrap();
    let name = subject("root");
    let template = Template {
        serial: &[1, 2, 3],
        issuer: &name,
        subject: &name,
        not_before: NOW,
        not_after: NEVER,
        spki: public.spki(),
        extensions: vec![
            Extension::key_usage(KeyUsages::AUTHORITY).unwrap(),
            Extension::basic_constraints(true, Some(2)).unwrap(),
            Extension::subject_key_id(&public.identifier()).unwrap(),
        ],
    };
    let made = template.issue(&public, key, scheme).unwrap();
    let read = Certificate::read(made.der()).unwrap();
    assert_eq!(format!("{made:?}"), format!("{read:?}"), "what is made is what is read");
    read
}

fn request(key: &Key, sans: &[San]) -> Vec<u8> {
    let wanted = [Extension::alternative_names(sans, false).unwrap()];
    sign_request(&subject("leaf"), &wanted, key, Scheme::of(key, 0, false).unwrap()).unwrap()
}

#[test]
fn every_scheme_signs_what_it_verifies() {
    for (kind, bits, pss) in [
        (KeyType::EcdsaP256, 0, false),
        (KeyType::EcdsaP384, 256, false),
        (KeyType::EcdsaP521, 0, false),
        (KeyType::Ed25519, 0, true),
        (KeyType::Rsa2048, 0, false),
        (KeyType::Rsa2048, 384, true),
        (KeyType::Rsa2048, 512, true),
    ] {
        let key = key(kind);
        let scheme = Scheme::of(&key, bits, pss).unwrap();
        let root = root(&key, scheme);
        assert!(root.self_signed() && root.is_authority(), "{kind} {bits} {pss}");
        assert_eq!((root.path_len(), root.not_after()), (Some(2), NEVER));
        assert_eq!(root.key_usages(), Some(KeyUsages::AUTHORITY));
        assert_eq!(Scheme::named(scheme.name()), Some(scheme));
        let mut der = root.der().to_vec();
        let last = der.len() - 1;
        der[last] ^= 1;
        assert!(Certificate::read(&der).is_ok_and(|forged| !forged.self_signed()), "{kind}");
    }
}

#[test]
fn requests_carry_their_names() {
    let key = key(KeyType::EcdsaP256);
    let sans = [
        San::Dns("*.example.com".to_owned()),
        San::Email("a@example.com".to_owned()),
        San::Uri("spiffe://example.com/a".to_owned()),
        San::Ip("10.1.2.3".parse().unwrap()),
        San::Ip("::1".parse().unwrap()),
        San::Other { oid: "1.3.6.1.4.1.311.20.2.3".to_owned(), value: "grün@example.com".to_owned() },
    ];
    let read = Request::read(&request(&key, &sans)).unwrap();
    assert_eq!(read.sans, sans);
    assert_eq!(read.subject.common_name(), "leaf");
    assert_eq!(read.subject.values(attribute::ORGANIZATION), ["Example, Inc."]);
    assert_eq!(read.public.kind(), PublicKind::Ec(256));
    assert!(read.has(oid::SUBJECT_ALT_NAME) && !read.has(oid::BASIC_CONSTRAINTS));
}

#[test]
fn a_request_is_refused_wherever_it_is_cut_or_changed() {
    let whole = request(&key(KeyType::EcdsaP256), &[San::Dns("a.example.com".to_owned())]);
    for at in 0..whole.len() {
        assert!(Request::read(&whole[..at]).is_err(), "cut at {at}");
        let mut changed = whole.clone();
        changed[at] ^= 0x01;
        assert!(Request::read(&changed).is_err(), "changed at {at}");
    }
    assert!(Request::read(&[whole, vec![0]].concat()).is_err());
}

#[test]
fn names_that_readers_read_differently_are_refused() {
    assert!(Extension::alternative_names(&[San::Dns("a\0.example.com".to_owned())], false).is_err());
    assert!(Extension::alternative_names(&[San::Dns("ä.example.com".to_owned())], false).is_err());
    assert!(Subject::new(&[(attribute::COMMON_NAME, &["a\0b".to_owned()])]).is_err());
    let key = key(KeyType::EcdsaP256);
    // A dNSName of "a NUL b", written by hand.
    let smuggled = Extension::raw(oid::SUBJECT_ALT_NAME, false, &[0x30, 5, 0x82, 3, b'a', 0, b'b']).unwrap();
    let scheme = Scheme::of(&key, 0, false).unwrap();
    let der = sign_request(&subject("leaf"), std::slice::from_ref(&smuggled), &key, scheme).unwrap();
    assert_eq!(
        Request::read(&der).err(),
        Some(Error::Value("an alternative name contains control characters"))
    );
    let twice = sign_request(&subject("leaf"), &[smuggled.clone(), smuggled], &key, scheme).unwrap();
    assert_eq!(Request::read(&twice).err(), Some(Error::Malformed("a certificate request")));
}

#[test]
fn small_and_strange_keys_are_refused() {
    // An RSA key of 1,024 bits: SEQUENCE { SEQUENCE { rsaEncryption, NULL }, BIT STRING { SEQUENCE { n, e } } }.
    let mut modulus = vec![0x02, 0x81, 0x81, 0x00];
    modulus.extend([0xc3; 127]);
    modulus.push(0x01);
    let inner = [vec![0x30, 0x81, 0x89], modulus, vec![0x02, 0x03, 0x01, 0x00, 0x01]].concat();
    let algorithm = hex::decode("300d06092a864886f70d0101010500").unwrap();
    let bits = [vec![0x03, 0x81, 0x8d, 0x00], inner].concat();
    let spki = [vec![0x30, 0x81, 0x9f], algorithm, bits].concat();
    assert_eq!(
        PublicKey::read(&spki).err(),
        Some(Error::Key("RSA keys < 2048 bits are unsafe and not supported"))
    );
    let mut off_curve = key(KeyType::EcdsaP256).public().unwrap();
    let last = off_curve.len() - 1;
    off_curve[last] ^= 1;
    assert!(PublicKey::read(&off_curve).is_err());
    assert!(PublicKey::read(&[]).is_err());
}

#[test]
fn lists_read_back() {
    let key = key(KeyType::EcdsaP256);
    let scheme = Scheme::of(&key, 0, false).unwrap();
    let root = root(&key, scheme);
    let entries: Vec<_> = (0..300u32)
        .map(|n| RevokedEntry {
            serial: [vec![0x80], n.to_be_bytes().to_vec()].concat(),
            at: NOW,
            extensions: Vec::new(),
        })
        .collect();
    let list = RevocationList {
        issuer: root.subject(),
        key_id: &root.key_id(),
        number: 7,
        base: Some(5),
        this_update: NOW,
        next_update: NOW + 60,
        entries: entries.clone(),
        extensions: &[],
    };
    let der = list.sign(&key, scheme).unwrap();
    let read = RevocationList::read(&der, root.public()).unwrap();
    assert_eq!(read.len(), 300);
    assert_eq!(&read[299].serial[1..], &entries[299].serial[..]);
    let other = PublicKey::of(&super::tests::key(KeyType::EcdsaP256)).unwrap();
    assert_eq!(RevocationList::read(&der, &other).err(), Some(Error::Signature));
}

#[test]
fn pem_is_read_as_people_paste_it() {
    let text = pem::encode(pem::CERTIFICATE, &[9; 100]);
    let pasted = format!("subject: CN=x\r\n{}\n\nand\n{text}  ", text.replace('\n', "\r\n  "));
    let blocks = pem::blocks(&pasted).unwrap();
    assert_eq!(blocks.len(), 2);
    assert!(blocks.iter().all(|block| block.label == pem::CERTIFICATE && *block.der == vec![9; 100]));
    assert!(pem::first(&[pem::REQUEST], &text).is_none());
    assert!(pem::blocks(&text.replace("END", "DNE")).is_none());
    assert_eq!(parse_time("9999-12-31T23:59:59Z"), Some(NEVER));
    assert_eq!(parse_time("2026-01-01"), None);
}

proptest! {
    #[test]
    fn reading_never_panics(input: Vec<u8>, text in ".{0,200}") {
        let _ = (Request::read(&input), Certificate::read(&input), OcspRequest::read(&input), PublicKey::read(&input));
        let _ = (pem::blocks(&text), parse_time(&text), Subject::read(&input));
    }

    #[test]
    fn reading_what_was_damaged_never_panics(at: prop::sample::Index, to: u8) {
        let key = key(KeyType::Ed25519);
        let mut der = root(&key, Scheme::Ed25519).der().to_vec();
        let at = at.index(der.len());
        der[at] = to;
        let _ = Certificate::read(&der).map(|read| read.self_signed());
        let mut der = request(&key, &[San::Dns("a".to_owned())]);
        let at = at % der.len();
        der[at] = to;
        let _ = Request::read(&der);
    }
}
