//! Entries as the store holds them, which whoever could write to the disk may have changed.

use keyward_authority::barrier::Keyring;
use keyward_core::Timestamp;
use keyward_testkit::fakes::SeededRandom;
use std::sync::OnceLock;

const PLACE: &[u8] = b"m/uuid/entry";

fn ring() -> &'static Keyring {
    static RING: OnceLock<Keyring> = OnceLock::new();
    RING.get_or_init(|| {
        let random = SeededRandom::new(1);
        Keyring::generate(&random, Timestamp::from_secs(1), 0).rotated(&random, Timestamp::from_secs(2), 9)
    })
}

pub(crate) fn run(data: &[u8]) {
    // Nothing opens but what was sealed here; it is one of the seeds, and says so.
    if let Ok(plain) = ring().open_entry(PLACE, data) {
        assert_eq!(plain, b"a seed");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    vec![ring().seal(&SeededRandom::new(2), PLACE, b"a seed").unwrap(), vec![1; 40]]
}
