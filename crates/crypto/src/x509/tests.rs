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

/// A certificate of `root`'s for a key of its own, with these extensions.
fn issued(root: &Certificate, by: &Key, serial: u8, extensions: Vec<Extension>) -> (Key, Certificate) {
    let own = key(KeyType::EcdsaP256);
    let public = PublicKey::of(&own).unwrap();
    let name = subject("leaf");
    let template = Template {
        serial: &[serial],
        issuer: root.subject(),
        subject: &name,
        not_before: NOW,
        not_after: NOW + 1000,
        spki: public.spki(),
        extensions,
    };
    let made = template.issue(&public, by, Scheme::of(by, 0, false).unwrap()).unwrap();
    (own, made)
}

/// What a responder that signs with `key` says to the usual request about `leaf`.
fn answered(
    leaf: &Certificate,
    root: &Certificate,
    signer: &Certificate,
    key: &Key,
    status: CertStatus,
) -> Vec<u8> {
    let request = OcspRequest::read(&ocsp_request(leaf, root).unwrap()).unwrap();
    assert!(request.queries[0].is_of(root) && request.queries[0].serial() == leaf.serial());
    let answer =
        OcspAnswer { request: &request, statuses: &[status], signer, at: NOW + 10, until: NOW + 100 };
    answer.sign(key, Scheme::of(key, 0, false).unwrap()).unwrap()
}

#[test]
fn an_ocsp_answer_is_believed_of_the_issuer_and_whom_it_names() {
    let (root_key, other_key) = (key(KeyType::EcdsaP256), key(KeyType::EcdsaP256));
    let scheme = Scheme::of(&root_key, 0, false).unwrap();
    let (root, other) = (root(&root_key, scheme), root(&other_key, scheme));
    // A serial number whose first bit is set.
    let (_, leaf) = issued(&root, &root_key, 200, Vec::new());
    let purpose = |oid: &str| vec![Extension::ext_key_usage(&[oid.to_owned()]).unwrap()];
    let (named_key, named) = issued(&root, &root_key, 7, purpose(oid::OCSP_SIGNING));
    let (client_key, client) = issued(&root, &root_key, 8, purpose(oid::CLIENT_AUTH));
    let (strange_key, strange) = issued(&other, &other_key, 9, purpose(oid::OCSP_SIGNING));
    let read = |der: &[u8], others: &[Certificate], now| OcspWord::read(der, &leaf, &root, others, now);
    for status in [CertStatus::Good, CertStatus::Revoked(NOW + 5), CertStatus::Unknown] {
        let der = answered(&leaf, &root, &root, &root_key, status);
        let word = OcspWord { status, this_update: NOW + 10, next_update: Some(NOW + 100) };
        assert_eq!(read(&der, &[], NOW), Ok(word));
        let delegated = answered(&leaf, &root, &named, &named_key, status);
        assert_eq!(read(&delegated, &[], NOW), Ok(word));
        assert_eq!(read(&delegated, &[], NOW + 2000), Err(Error::Signature), "its time is over");
        let stranger = answered(&leaf, &root, &strange, &strange_key, status);
        assert_eq!(read(&stranger, &[], NOW), Err(Error::Signature));
        assert_eq!(read(&stranger, std::slice::from_ref(&other), NOW), Ok(word));
        let unfit = answered(&leaf, &root, &client, &client_key, status);
        assert_eq!(read(&unfit, &[], NOW), Err(Error::Signature), "not for signing answers");
    }
    let der = answered(&leaf, &root, &root, &root_key, CertStatus::Good);
    assert!(
        OcspWord::read(&der, &named, &root, &[], NOW)
            .unwrap_err()
            .to_string()
            .contains("another certificate")
    );
    for at in 0..der.len() {
        let mut damaged = der.clone();
        damaged[at] ^= 0x40;
        let word = read(&damaged, &[], NOW);
        // Certificates in the answer that nobody needs may be damaged; what is believed is what was signed.
        assert!(word.is_err() || word == read(&der, &[], NOW), "{at}");
    }
    assert!(read(&OcspError::Unauthorized.der(), &[], NOW).unwrap_err().to_string().contains("refuses"));
    assert!(read(&vec![0x30; 70_000], &[], NOW).is_err());
}

#[test]
fn certificates_say_where_ocsp_servers_are() {
    let root_key = key(KeyType::EcdsaP256);
    let root = root(&root_key, Scheme::of(&root_key, 0, false).unwrap());
    let urls = ["http://a.test/ocsp".to_owned(), "http://b.test".to_owned()];
    let info = Extension::authority_info(&urls, &["http://c.test/ca".to_owned()]).unwrap();
    let (_, leaf) = issued(&root, &root_key, 7, vec![info]);
    assert_eq!((leaf.ocsp_servers(), root.ocsp_servers()), (urls.to_vec(), Vec::new()));
}

proptest! {
    #[test]
    fn no_ocsp_answer_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let root_key = key(KeyType::Ed25519);
        let root = root(&root_key, Scheme::of(&root_key, 0, false).unwrap());
        prop_assert!(OcspWord::read(&bytes, &root, &root, &[], NOW).is_err());
    }
}
