//! The age format's test vectors (<https://c2sp.org/CCTV/age>), all of them: what they expect is matched exactly, down to the
//! kind of failure.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use keyward_crypto::age::{self, Error, Identity, Unwrap, armor, scrypt::Passphrase};
use keyward_crypto::{Secret, sha256};
use keyward_testkit::{conformance, require};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// How many there are: one that is lost would not be missed otherwise.
const VECTORS: usize = 143;

struct Vector {
    fields: BTreeMap<String, Vec<String>>,
    body: Vec<u8>,
}

impl Vector {
    fn read(path: &Path) -> Vector {
        let bytes = std::fs::read(path).unwrap();
        let end = bytes.windows(2).position(|two| two == b"\n\n").unwrap();
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in std::str::from_utf8(&bytes[..end]).unwrap().lines() {
            let (key, value) = line.split_once(": ").unwrap();
            fields.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        let body = bytes[end + 2..].to_vec();
        let body = match fields.get("compressed") {
            Some(_) => miniz_oxide::inflate::decompress_to_vec_zlib(&body).unwrap(),
            None => body,
        };
        Vector { fields, body }
    }

    fn all(&self, field: &str) -> impl Iterator<Item = &str> {
        self.fields.get(field).into_iter().flatten().map(String::as_str)
    }

    /// What comes out, and how it ended.
    fn open(&self) -> (Vec<u8>, Result<(), Error>) {
        let mut keys: Vec<Box<dyn Unwrap>> = Vec::new();
        for text in self.all("identity") {
            keys.push(Box::new(text.parse::<Identity>().unwrap()));
        }
        for text in self.all("passphrase") {
            keys.push(Box::new(Passphrase::new(Secret::new(text.to_owned())).unwrap()));
        }
        let keys: Vec<&dyn Unwrap> = keys.iter().map(AsRef::as_ref).collect();
        let mut out = Vec::new();
        let done = match self.fields.contains_key("armored") {
            true => read(armor::Reader::new(self.body.as_slice()), &keys, &mut out),
            false => read(self.body.as_slice(), &keys, &mut out),
        };
        (out, done)
    }
}

fn read(mut input: impl std::io::BufRead, keys: &[&dyn Unwrap], out: &mut Vec<u8>) -> Result<(), Error> {
    let header = age::Header::read(&mut input)?;
    let file_key = age::unwrap(&header, keys)?;
    age::begin_payload(&file_key, input)?.read_to_end(out)?;
    Ok(())
}

fn kind(done: &Result<(), Error>) -> &'static str {
    match done {
        Ok(()) => "success",
        Err(Error::Header(_)) => "header failure",
        Err(Error::NoMatch) => "no match",
        Err(Error::Mac) => "HMAC failure",
        Err(Error::Payload) => "payload failure",
        Err(Error::Armor(_)) => "armor failure",
        Err(_) => "something else",
    }
}

#[test]
fn every_vector_is_met() {
    let folder = conformance::folder("age");
    if !require(folder.as_ref()) {
        return;
    }
    let mut names: Vec<_> =
        std::fs::read_dir(folder.unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert_eq!(names.len(), VECTORS);
    let mut missed = Vec::new();
    for path in &names {
        let vector = Vector::read(path);
        let expected = vector.all("expect").next().unwrap();
        let (out, done) = vector.open();
        // For a failure of the payload the hash is that of what may be released before it is noticed.
        let hash = vector.all("payload").next();
        let right = expected != "success" || hash == Some(hex::encode(sha256(&out)).as_str());
        let nothing = matches!(expected, "success" | "payload failure")
            || out.is_empty()
            || vector.fields.contains_key("armored");
        if kind(&done) != expected || !right || !nothing {
            missed.push(format!("{}: expected {expected}, got {done:?}", path.display()));
        }
        // Whole or nothing, for who does not stream.
        if expected != "success" {
            let keys: Vec<Identity> = vector.all("identity").map(|text| text.parse().unwrap()).collect();
            assert!(age::open(&vector.body, &age::identities(&keys), 1 << 30).is_err(), "{}", path.display());
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
