//! Sealing: one object beside the cryptography it cannot do without, a tree of 10,000, and many objects in a cluster.

mod admission;
mod authority;
mod controller;
mod inventory;
mod tree;

use crate::Failure;
use crate::measure::figure;
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use keyward_core::Timestamp;
use keyward_crypto::age::{Mixing, Recipient, pq};
use keyward_crypto::keys::Ed25519Key;
use keyward_crypto::{Secret, SystemRandom};
use keyward_intent::{Bounds, Metadata, SealedSecret};
use keyward_sealing::author::{self, Signer};
use keyward_sealing::recipients::Sealer;
use keyward_sealing::{Audience, Place, PlainSecret, object};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The program to measure
    #[arg(long, value_name = "FILE")]
    keyward: PathBuf,
    /// Fewer objects: done within 50 seconds
    #[arg(long)]
    quick: bool,
}

struct World {
    identity: pq::Identity,
    signer: Signer,
    author: String,
}

impl World {
    fn sealer(&self) -> Result<Sealer, Failure> {
        let recipient = Recipient::PostQuantum(Box::new(self.identity.recipient()));
        Ok(Sealer::new(&Audience::Each(vec![recipient]), Mixing::Refuse, &SystemRandom)?)
    }

    fn seal(&self, name: &str, sealer: &Sealer) -> Result<SealedSecret, Failure> {
        let metadata =
            Metadata { name: name.to_owned(), namespace: Some("bench".to_owned()), ..Metadata::default() };
        let data = BTreeMap::from([("password".to_owned(), Secret::new(vec![7; 64]))]);
        let secret = PlainSecret { metadata, kind: "Opaque".to_owned(), data };
        Ok(object::seal(&secret, Bounds::in_cluster("prod"), 1, sealer, &self.signer, &SystemRandom)?)
    }

    fn open(&self, sealed: &SealedSecret) -> Result<(), Failure> {
        let place = Place { authors: Some(&[&self.author]), ..Place::offline(Timestamp::from_secs(1)) };
        object::open(sealed, &place, &[&self.identity])?;
        Ok(())
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let signer = author::generate(&SystemRandom)?;
    let author = signer.public();
    let world = World { identity: pq::Identity::generate(&SystemRandom), signer, author };
    let span = Duration::from_millis(if arguments.quick { 150 } else { 1000 });
    one_object(&world, span)?;
    tree::figures(&world, &arguments.keyward, if arguments.quick { 1_000 } else { 10_000 })?;
    inventory::figure(&arguments.keyward, if arguments.quick { 10_000 } else { 100_000 })?;
    controller::figures(&arguments.keyward, if arguments.quick { 2_000 } else { 10_000 })?;
    admission::figure(&arguments.keyward, span)
}

/// Calls a second, of two kinds in turn, so that what disturbs one disturbs the other.
fn rates(
    span: Duration,
    mut ours: impl FnMut() -> Result<(), Failure>,
    mut raw: impl FnMut() -> Result<(), Failure>,
) -> Result<(f64, f64), Failure> {
    let turn = |work: &mut dyn FnMut() -> Result<(), Failure>| -> Result<(usize, f64), Failure> {
        let (began, mut calls) = (Instant::now(), 0);
        while began.elapsed() < span / 10 {
            work()?;
            calls += 1;
        }
        Ok((calls, began.elapsed().as_secs_f64()))
    };
    let (mut totals, mut times) = ([0usize; 2], [0f64; 2]);
    for _ in 0..10 {
        for (at, work) in
            [&mut ours as &mut dyn FnMut() -> Result<(), Failure>, &mut raw].into_iter().enumerate()
        {
            let (calls, took) = turn(work)?;
            totals[at] += calls;
            times[at] += took;
        }
    }
    Ok((totals[0] as f64 / times[0], totals[1] as f64 / times[1]))
}

/// The calls that one value under one signature cannot do without, from the libraries themselves.
struct Raw {
    private: <XWing as Kem>::PrivateKey,
    public: <XWing as Kem>::PublicKey,
    key: Ed25519Key,
    signature: Vec<u8>,
    encapsulated: <XWing as Kem>::EncappedKey,
    wrapped: Vec<u8>,
    payload: Vec<u8>,
}

fn cipher() -> Result<LessSafeKey, Failure> {
    Ok(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).map_err(|_| "no key")?))
}

impl Raw {
    fn new() -> Result<Raw, Failure> {
        let private = <XWing as Kem>::PrivateKey::from_bytes(&[7; 32]).map_err(|why| why.to_string())?;
        let public = XWing::sk_to_pk(&private);
        let key = Ed25519Key::from_seed(Secret::new([7; 32]));
        let signature = key.sign(&[7; 500]).map_err(|why| why.to_string())?;
        let (encapsulated, wrapped) = wrap(&public)?;
        let mut payload = vec![7; 700];
        cipher()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut payload)
            .map_err(|_| "no sealing")?;
        Ok(Raw { private, public, key, signature, encapsulated, wrapped, payload })
    }

    /// One key wrapped, one payload encrypted, a value and a manifest signed.
    fn seal(&self) -> Result<(), Failure> {
        let (encapsulated, _) = wrap(&self.public)?;
        std::hint::black_box(encapsulated.to_bytes());
        let mut payload = vec![7; 700];
        cipher()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut payload)
            .map_err(|_| "no sealing")?;
        for _ in 0..2 {
            std::hint::black_box(self.key.sign(&[7; 500]).map_err(|why| why.to_string())?);
        }
        Ok(())
    }

    /// One key unwrapped, one payload decrypted, two signatures checked.
    fn open(&self) -> Result<(), Failure> {
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeR::Base,
            &self.private,
            &self.encapsulated,
            b"info",
            &self.wrapped,
            &[],
        );
        opened.map_err(|why| why.to_string())?;
        let mut payload = self.payload.clone();
        cipher()?
            .open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut payload)
            .map_err(|_| "no opening")?;
        for _ in 0..2 {
            if !self.key.verify(&[7; 500], &self.signature) {
                return Err("the signature does not hold".into());
            }
        }
        Ok(())
    }
}

type Wrapped = (<XWing as Kem>::EncappedKey, Vec<u8>);

fn wrap(public: &<XWing as Kem>::PublicKey) -> Result<Wrapped, Failure> {
    let sealed = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeS::Base,
        public,
        b"info",
        &[7; 16],
        &[],
    );
    sealed.map_err(|why| why.to_string().into())
}

fn one_object(world: &World, span: Duration) -> Result<(), Failure> {
    let (raw, sealer) = (Raw::new()?, world.sealer()?);
    let sealed = world.seal("db", &sealer)?;
    let (ours, floor) = rates(span, || world.seal("db", &sealer).map(drop), || raw.seal())?;
    figure("seal-over-raw", ours / floor, format!("{ours:.0} objects a second; the calls alone {floor:.0}"))?;
    let (ours, floor) = rates(span, || world.open(&sealed), || raw.open())?;
    figure("open-over-raw", ours / floor, format!("{ours:.0} objects a second; the calls alone {floor:.0}"))?;
    let (yaml, json) = (sealed.write()?, serde_json::to_string(&sealed)?);
    let read = |text: &str| SealedSecret::read(text).map(drop).map_err(Failure::from);
    let (ours, floor) = rates(span, || read(&json), || read(&yaml))?;
    figure("read-json-over-yaml", ours / floor, format!("{ours:.0} manifests a second; YAML {floor:.0}"))
}
