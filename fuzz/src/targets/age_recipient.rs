//! Recipients and identities as people write them: what is read is written the same.

use keyward_crypto::age::{Recipient, pq, read_identities};
use keyward_crypto::{SystemRandom, bech32};

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    let _ = (read_identities(text), bech32::decode(text));
    if let Ok(recipient) = text.parse::<Recipient>() {
        let shown = recipient.to_string();
        assert_eq!(shown.parse::<Recipient>().unwrap().to_string(), shown);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let strong = pq::Identity::generate(&SystemRandom).recipient().to_string();
    crate::texts(&[
        &strong,
        super::age_file::IDENTITY,
        "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
        "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFAAZdsXa0z0SwQ4yMLo/h3czbeYeKxE7B4tjztIhPhM",
    ])
}
