//! Identities of keys in tokens: what is read is written back, and names nothing that the loader would search for.

use keyward_pkcs11::Reference;

const RECIPIENT: &str = "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e";

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(read) = Reference::read(text) {
        assert!(read.module.is_absolute());
        assert_eq!(Reference::read(read.text().expose()), Ok(read));
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seed = |module: &str, token: &str, id: &[u8]| Reference {
        recipient: RECIPIENT.parse().unwrap(),
        module: module.into(),
        token: token.to_owned(),
        id: id.to_vec(),
    };
    let seeds = [seed("/usr/lib/softhsm/libsofthsm2.so", "ada", &[1]), seed("/m", "", &[0, 255])];
    seeds.iter().map(|seed| seed.text().expose().clone().into_bytes()).collect()
}
