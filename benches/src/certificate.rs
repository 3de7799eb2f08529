//! A certificate made of what cannot be done without: a key, the extensions that every certificate has, a signature, PEM.

use crate::Failure;
use keyward_core::random;
use keyward_crypto::SystemRandom;
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::x509::{
    Extension, KeyUsages, PublicKey, San, Scheme, Subject, Template, attribute, oid, pem,
};
use std::hint::black_box;

/// Who signs.
pub(crate) struct Issuer {
    key: Key,
    scheme: Scheme,
    subject: Subject,
    id: Vec<u8>,
}

fn name(name: &str) -> Result<Subject, Failure> {
    Ok(Subject::new(&[(attribute::COMMON_NAME, &[name.to_owned()])])?)
}

fn public(key: &Key) -> Result<PublicKey, Failure> {
    Ok(PublicKey::of(key).ok_or("the key has no public part")?)
}

impl Issuer {
    pub(crate) fn new() -> Result<Issuer, Failure> {
        let key = Key::generate(KeyType::EcdsaP256, 0, &SystemRandom)?;
        let scheme = Scheme::of(&key, 0, false).ok_or("the issuer's key signs nothing")?;
        Ok(Issuer { scheme, subject: name("bench")?, id: public(&key)?.identifier(), key })
    }

    /// A key (ECDSA P-256), a certificate for it, and both in PEM.
    pub(crate) fn issue(&self) -> Result<(), Failure> {
        let key = Key::generate(KeyType::EcdsaP256, 0, &SystemRandom)?;
        let public = public(&key)?;
        let template = Template {
            serial: &random::bytes::<16>(&SystemRandom).map(|byte| byte & 0x7f),
            issuer: &self.subject,
            subject: &name("a.example.com")?,
            not_before: 1_800_000_000,
            not_after: 1_800_003_600,
            spki: public.spki(),
            extensions: vec![
                Extension::key_usage(KeyUsages(0b10101))?,
                Extension::ext_key_usage(&[oid::CLIENT_AUTH.to_owned()])?,
                Extension::subject_key_id(&public.identifier())?,
                Extension::authority_key_id(&self.id)?,
                Extension::alternative_names(&[San::Dns("a.example.com".to_owned())], false)?,
            ],
        };
        black_box(pem::encode(pem::CERTIFICATE, &template.sign(&self.key, self.scheme)?));
        black_box(key.private_pem());
        Ok(())
    }
}
