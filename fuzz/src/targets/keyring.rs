//! What the stored key ring holds below its encryption, as if it were sealed under the right key.

use keyward_authority::barrier::{Keyring, RootKey};
use keyward_core::Timestamp;
use keyward_crypto::{AeadKey, Secret};
use keyward_testkit::fakes::SeededRandom;

const ROOT: [u8; 32] = [3; 32];
/// Where the ring is stored, which its encryption is bound to.
const PLACE: &[u8] = b"core/keyring";

pub(crate) fn run(data: &[u8]) {
    let root = RootKey::new(Secret::from_slice(&ROOT).unwrap());
    assert!(Keyring::open(&root, data).is_err(), "it opens without having been sealed");
    let random = SeededRandom::new(1);
    let sealed = AeadKey::new(&ROOT).seal_with(&random, PLACE, data);
    if let Ok(ring) = Keyring::open(&root, &sealed) {
        let again = Keyring::open(&root, &ring.sealed(&root, &random)).unwrap();
        assert_eq!(again.status(7), ring.status(7));
        let entry = ring.seal(&random, b"k", b"v").unwrap();
        assert_eq!(again.open_entry(b"k", &entry).unwrap(), b"v");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (root, random) = (RootKey::new(Secret::from_slice(&ROOT).unwrap()), SeededRandom::new(1));
    let ring = Keyring::generate(&random, Timestamp::from_secs(1), 0);
    let rotated = ring.rotated(&random, Timestamp::from_secs(9), 40);
    let plain = |ring: &Keyring| {
        AeadKey::new(&ROOT).open_prefixed(PLACE, &ring.sealed(&root, &random)).unwrap()
    };
    vec![plain(&ring), plain(&rotated)]
}
