//! Recipients whose key is held in hardware, `age1tag1...`: HPKE with P-256, and a tag that says whom a stanza is for before
//! anybody is asked for a PIN or to touch something (<https://c2sp.org/age>, "The tagged recipient types").
//!
//! # Threats
//! The tag tells who knows the recipient that a file is for it. P-256 does not withstand a quantum computer, so these recipients
//! do not stand beside such that do, unless somebody allows it ([`Mixing`](super::Mixing)).

use std::fmt;

use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey};
use keyward_core::Random;
use p256::elliptic_curve::sec1::ToSec1Point;

use super::dhkem::{Context, Point};
use super::format::{Stanza, decode, encode};
use super::{Error, FileKey, Wrap, held};
use crate::bech32;
use crate::mac::{MacKey, sha256};
use crate::secret::{Secret, SecretKey};

const TAG: &str = "p256tag";
const LABEL: &[u8] = b"age-encryption.org/p256tag";
pub(super) const RECIPIENT: &str = "age1tag";
const NO_POINT: Error = Error::Key("a tagged recipient is no point on the curve P-256");

/// Who can be sealed for: a point on P-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    compressed: [u8; 33],
    point: Point,
}

impl Recipient {
    /// Of a point, compressed or not (SEC 1, 2.3.3).
    pub fn new(point: &[u8]) -> Result<Recipient, Error> {
        let key = p256::PublicKey::from_sec1_bytes(point).map_err(|_| NO_POINT)?;
        let written = |compress| key.to_sec1_point(compress);
        let compressed = written(true).as_bytes().try_into().map_err(|_| NO_POINT)?;
        let point = written(false).as_bytes().try_into().map_err(|_| NO_POINT)?;
        Ok(Recipient { compressed, point })
    }

    pub(super) fn from_data(data: &[u8]) -> Result<Recipient, Error> {
        match data.len() {
            33 => Recipient::new(data),
            _ => Err(NO_POINT),
        }
    }

    /// The point, compressed.
    pub const fn compressed(&self) -> &[u8; 33] {
        &self.compressed
    }

    /// What a stanza with the share `sender` has to be for this recipient.
    fn tag(&self, sender: &Point) -> [u8; 4] {
        let own = sha256(&self.compressed);
        let hashed = MacKey::new(LABEL).tag_parts(&[sender, own.first_chunk::<4>().unwrap_or(&[0; 4])]);
        *hashed.first_chunk().unwrap_or(&[0; 4])
    }

    /// Opens with a private key that is held elsewhere. It is used only on stanzas that bear the right tag.
    pub(super) fn unwrap_with(
        &self,
        stanzas: &[Stanza],
        operate: held::Operation<'_>,
    ) -> Result<Option<FileKey>, Error> {
        for stanza in stanzas.iter().filter(|stanza| stanza.tag() == TAG) {
            let [tag, sender] = stanza.exactly()?;
            let (tag, sender): ([u8; 4], Point) = (decode(tag)?, decode(sender)?);
            let body = stanza.wrapped_key()?;
            // A token is never given what is no point: its answers could tell something of the key.
            if Recipient::new(&sender).is_err() {
                return Err(Error::Header("a share is no point on the curve P-256"));
            }
            if tag != self.tag(&sender) {
                continue;
            }
            let agreed = SecretKey::from_slice(operate(&sender)?.expose())
                .ok_or(Error::Key("the token agreed on a secret of another length than that of P-256"))?;
            if let Some(file_key) = Context::new(&agreed, &sender, &self.point, LABEL).open(body) {
                return Ok(Some(file_key));
            }
        }
        Ok(None)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32::encode(RECIPIENT, &self.compressed))
    }
}

impl Wrap for Recipient {
    fn wrap(&self, file_key: &FileKey, random: &dyn Random) -> Result<Vec<Stanza>, Error> {
        // One in 2^32 numbers is none of the curve's.
        let ephemeral = loop {
            if let Some(key) = private(SecretKey::random(random).expose()) {
                break key;
            }
        };
        let share = ephemeral.compute_public_key().map_err(|_| NO_POINT)?;
        let sender: Point = share.as_ref().try_into().map_err(|_| NO_POINT)?;
        let agreed = agree(&ephemeral, &self.point).ok_or(NO_POINT)?;
        let body = Context::new(&agreed, &sender, &self.point, LABEL).seal(file_key);
        Ok(vec![Stanza::new(TAG, &[&encode(&self.tag(&sender)), &encode(&sender)], body)])
    }
}

/// A private key by its number; none when it is 0 or not below the curve's order.
pub(super) fn private(number: &[u8; 32]) -> Option<PrivateKey> {
    PrivateKey::from_private_key(&ECDH_P256, number).ok()
}

/// The x coordinate of the product.
pub(super) fn agree(key: &PrivateKey, point: &Point) -> Option<SecretKey> {
    let agreed = agreement::agree(key, UnparsedPublicKey::new(&ECDH_P256, point), (), |agreed| {
        <[u8; 32]>::try_from(agreed).map(Secret::new).map_err(|_| ())
    });
    agreed.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;
    use crate::age::{self, Mixing};

    /// What stands in the specification.
    const SPECIFIED: &str = "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e";

    fn key() -> (PrivateKey, Recipient) {
        let key = PrivateKey::generate(&ECDH_P256).unwrap();
        let recipient = Recipient::new(key.compute_public_key().unwrap().as_ref()).unwrap();
        (key, recipient)
    }

    fn header(sealed: &[u8]) -> age::Header {
        age::Header::read(&mut &*sealed).unwrap()
    }

    #[test]
    fn the_recipient_and_the_tag_of_the_specification() {
        let recipient: age::Recipient = SPECIFIED.parse().unwrap();
        assert_eq!(recipient.to_string(), SPECIFIED);
        let age::Recipient::Tag(recipient) = recipient else { panic!("another kind: {recipient}") };
        let sender =
            "BOqTylUtZFwkMTxd6UENg8kopiMhRJBOUXMv5w2xVOmJu7eezoALGXiNtq5Vka+UQvaYbQvAdwjIJEDaoBaq7So";
        // By the rule of the text; the example beside it is of the rule before.
        assert_eq!(hex::encode(recipient.tag(&decode(sender).unwrap())), "0da8ddbf");
        assert!(!age::Wrap::post_quantum(&recipient));
    }

    #[test]
    fn only_the_holder_opens_and_is_asked_only_for_its_own() {
        let (mine, recipient) = key();
        let (_, other) = key();
        let sealed = age::seal(&[&other, &recipient], Mixing::Refuse, &SystemRandom, b"hush").unwrap();
        let header = header(&sealed);
        let mut asked = 0;
        let opened = recipient.unwrap_with(header.stanzas(), &mut |sender| {
            asked += 1;
            Ok(Secret::new(agree(&mine, sender.try_into().unwrap()).unwrap().expose().to_vec()))
        });
        assert!(opened.unwrap().is_some() && asked == 1);
        let (_, stranger) = key();
        let opened = stranger.unwrap_with(header.stanzas(), &mut |_| panic!("it is not for this one"));
        assert!(opened.unwrap().is_none());
        // A token that holds another key than it should opens nothing.
        let (wrong, _) = key();
        let opened = recipient.unwrap_with(header.stanzas(), &mut |sender| {
            Ok(Secret::new(agree(&wrong, sender.try_into().unwrap()).unwrap().expose().to_vec()))
        });
        assert!(opened.unwrap().is_none());
    }

    #[test]
    fn stanzas_that_break_the_rules_are_refused() {
        let (_, recipient) = key();
        let whole = recipient.wrap(&Secret::new([7; 16]), &SystemRandom).unwrap().remove(0);
        let with = |at: usize, text: &str| {
            let mut stanza = whole.clone();
            stanza.arguments[at] = text.to_owned();
            stanza
        };
        let mut off_curve: Point = decode(&whole.arguments[2]).unwrap();
        off_curve[64] ^= 1;
        let mut longer = whole.clone();
        longer.arguments.push("x".to_owned());
        let broken = [
            with(1, "AAA"),
            with(1, "AAAAAB"),
            with(2, "AAAA"),
            with(2, &encode(&off_curve)),
            with(2, &encode(&[0; 65])),
            Stanza { body: vec![0; 31], ..whole.clone() },
            Stanza { arguments: whole.arguments[..2].to_vec(), ..whole.clone() },
            longer,
        ];
        for stanza in broken {
            let told = format!("{stanza:?}");
            let opened = recipient.unwrap_with(&[stanza], &mut |_| panic!("the token is not asked"));
            assert!(matches!(opened, Err(Error::Header(_))), "{told}");
        }
        for data in [&[0xff; 33][..], &[0; 33], &[], &[4; 65]] {
            let text = bech32::encode(RECIPIENT, data);
            assert!(matches!(text.parse::<age::Recipient>(), Err(Error::Key(_))), "{data:?}");
        }
    }
}
