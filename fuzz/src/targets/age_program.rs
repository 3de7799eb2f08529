//! What whoever starts this program as a plugin of age may say to it: it ends, and asks for nothing it was not told of.

use keyward_crypto::SystemRandom;
use keyward_crypto::age::plugin::program::{self, Ask, Program};
use keyward_crypto::age::{Error, FileKey, Recipient, Stanza};

const RECIPIENT: &str = "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e";

struct Asking;

impl Program for Asking {
    fn recipient(&self, identity: &str) -> Result<Recipient, Error> {
        assert!(!identity.is_empty());
        RECIPIENT.parse()
    }

    fn unwrap(&self, _: &str, stanzas: &[Stanza], ask: Ask<'_>) -> Result<Option<FileKey>, Error> {
        assert!(!stanzas.is_empty());
        Ok(ask("PIN?").map(|_| FileKey::new([7; 16])))
    }
}

pub(crate) fn run(data: &[u8]) {
    for machine in ["identity-v1", "recipient-v1"] {
        let mut out = Vec::new();
        let _ = program::serve(&Asking, machine, &SystemRandom, &mut &*data, &mut out);
        assert!(out.is_empty() || out.starts_with(b"-> "));
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "-> add-identity X\n\n-> recipient-stanza 0 p256tag AAAAAA\n\n-> done\n\n-> ok\nMTIzNA\n-> ok\n\n",
        "-> add-identity X\n\n-> recipient-stanza 1 X25519 a b\nAAAA\n-> done\n\n-> fail\n\n",
        "-> add-identity X\n\n-> wrap-file-key\nAAAAAAAAAAAAAAAAAAAAAA\n-> done\n\n-> ok\n\n",
        "-> add-recipient age1x\n\n-> done\n\n-> ok\n\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
