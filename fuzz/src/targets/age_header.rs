//! The header of an age file, which anybody can write.

use keyward_crypto::age::{self, Header, Identity};
use std::sync::OnceLock;

fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| super::age_file::IDENTITY.parse().unwrap())
}

pub(crate) fn run(data: &[u8]) {
    // What is read of a header is all that stands there, byte for byte.
    if let Ok(header) = Header::read(&mut &data[..]) {
        assert!(data.starts_with(header.bytes()));
        let again = Header::read(&mut header.bytes()).unwrap();
        assert_eq!(again.stanzas(), header.stanzas());
        let _ = age::unwrap(&header, &[identity()]);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let recipient = identity().recipient().unwrap();
    let file = age::seal(&[&recipient], age::Mixing::Refuse, &keyward_crypto::SystemRandom, b"x").unwrap();
    let odd = crate::texts(&[
        "age-encryption.org/v1\n-> scrypt rF0/NwblUHHTpgQgRpe5CQ 1\nqW9eVsT0NVb/Vswtw8kPIxUnaYmm9Px1dYmq2+4+qZA\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        "age-encryption.org/v1\n-> a b c\n\n-> d\nAAAA\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
    ]);
    std::iter::once(file).chain(odd).collect()
}
