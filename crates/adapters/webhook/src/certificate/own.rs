//! An authority of the process's own, and the certificate it signs for the server.

use super::Error;
use keyward_core::Timestamp;
use keyward_core::random::bytes;
use keyward_crypto::SystemRandom;
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::x509::{
    Certificate, Extension, KeyUsages, PublicKey, San, Scheme, Subject, Template, attribute,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;
use std::time::Duration;

const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
/// Clocks of a cluster differ: what is made now counts for machines that are behind.
const BEHIND: Duration = Duration::from_secs(3600);

/// How long things live.
#[derive(Clone, Copy, Debug)]
pub struct Lives {
    /// An authority; the next is made when two thirds are over.
    pub authority: Duration,
    /// A certificate of the server; the next is made when half is over.
    pub server: Duration,
    /// From when a new authority is in the bundle until it signs, and from when it signs until the one before is forgotten:
    /// longer than the bundle takes to reach every API server.
    pub settling: Duration,
}

impl Default for Lives {
    fn default() -> Lives {
        let day = Duration::from_secs(24 * 3600);
        Lives { authority: 365 * day, server: 7 * day, settling: Duration::from_secs(600) }
    }
}

struct Authority {
    key: Key,
    certificate: Certificate,
    made: Timestamp,
}

struct Serving {
    key: Key,
    certificate: Certificate,
    made: Timestamp,
    /// The authority that signed, by its key.
    by: Vec<u8>,
}

pub(super) struct Own {
    names: Vec<San>,
    lives: Lives,
    /// The newest last; there is always one.
    authorities: Vec<Authority>,
    serving: Serving,
}

impl Own {
    pub(super) fn new(names: &[String], lives: Lives, now: Timestamp) -> Result<Own, Error> {
        let name = |name: &String| name.parse().map_or_else(|_| San::Dns(name.clone()), San::Ip);
        let names: Vec<San> = names.iter().map(name).collect();
        let authority = Authority::make(lives, now)?;
        let serving = authority.serve(&names, lives, now)?;
        Ok(Own { names, lives, authorities: vec![authority], serving })
    }

    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from(self.serving.certificate.der().to_vec())]
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        let key = self.serving.key.private().ok_or(Error::Key("its private part is not known"))?;
        Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose().clone())))
    }

    pub(super) fn bundle(&self) -> Arc<str> {
        // Go reads no block that begins on the line where another ends.
        let pem = |authority: &Authority| format!("{}\n", authority.certificate.pem().trim_end());
        self.authorities.iter().map(pem).collect::<String>().into()
    }

    /// True where something is new.
    pub(super) fn renew(&mut self, now: Timestamp) -> Result<bool, Error> {
        let lives = self.lives;
        let mut changed = false;
        if self.newest().is_none_or(|newest| now.since(newest.made) >= lives.authority * 2 / 3) {
            self.authorities.push(Authority::make(lives, now)?);
            changed = true;
        }
        // A newer authority signs once it is believed everywhere.
        let settled = |authority: &&Authority| now.since(authority.made) >= lives.settling;
        let signer = self.authorities.iter().rev().find(settled).or_else(|| self.authorities.first());
        if let Some(signer) = signer
            && (signer.certificate.key_id() != self.serving.by
                || now.since(self.serving.made) >= lives.server / 2)
        {
            self.serving = signer.serve(&self.names, lives, now)?;
            changed = true;
        }
        // One that is older than the signer is believed for as long as connections may still show its work.
        if let Some(at) = self.authorities.iter().position(|one| one.certificate.key_id() == self.serving.by)
            && at > 0
            && now.since(self.serving.made) >= lives.settling
        {
            self.authorities.drain(..at);
            changed = true;
        }
        Ok(changed)
    }

    fn newest(&self) -> Option<&Authority> {
        self.authorities.last()
    }
}

fn name(common: &str) -> Result<Subject, Error> {
    Ok(Subject::new(&[(attribute::COMMON_NAME, &[common.to_owned()])])?)
}

fn serial() -> [u8; 16] {
    let mut serial: [u8; 16] = bytes(&SystemRandom);
    // Positive, and not beginning with zeros.
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}

fn pair() -> Result<(Key, PublicKey, Scheme), Error> {
    let key = Key::generate(KeyType::EcdsaP256, 0, &SystemRandom)
        .map_err(|_| Error::Key("the generator failed"))?;
    let public = PublicKey::of(&key).ok_or(Error::Key("its public part is not known"))?;
    let scheme = Scheme::of(&key, 0, false).ok_or(Error::Key("it does not sign"))?;
    Ok((key, public, scheme))
}

fn not_before(now: Timestamp) -> u64 {
    now.secs().saturating_sub(BEHIND.as_secs())
}

impl Authority {
    fn make(lives: Lives, now: Timestamp) -> Result<Authority, Error> {
        let (key, public, scheme) = pair()?;
        // Go tells authorities of one bundle apart by name and key id; the key alone would do.
        let name = name("Keyward webhook authority")?;
        let template = Template {
            serial: &serial(),
            issuer: &name,
            subject: &name,
            not_before: not_before(now),
            not_after: now.plus(lives.authority).secs(),
            spki: public.spki(),
            extensions: vec![
                Extension::key_usage(KeyUsages::AUTHORITY)?,
                Extension::basic_constraints(true, Some(0))?,
                Extension::subject_key_id(&public.identifier())?,
            ],
        };
        let certificate = template.issue(&public, &key, scheme)?;
        Ok(Authority { key, certificate, made: now })
    }

    fn serve(&self, names: &[San], lives: Lives, now: Timestamp) -> Result<Serving, Error> {
        let (key, public, _) = pair()?;
        let scheme = Scheme::of(&self.key, 0, false).ok_or(Error::Key("it does not sign"))?;
        let digital = KeyUsages::named("DigitalSignature").unwrap_or_default();
        let subject = name("keyward webhook")?;
        let template = Template {
            serial: &serial(),
            issuer: self.certificate.subject(),
            subject: &subject,
            not_before: not_before(now),
            not_after: now.plus(lives.server).secs().min(self.certificate.not_after()),
            spki: public.spki(),
            extensions: vec![
                Extension::key_usage(digital)?,
                Extension::ext_key_usage(&[SERVER_AUTH.to_owned()])?,
                Extension::basic_constraints(false, None)?,
                Extension::authority_key_id(&self.certificate.key_id())?,
                Extension::alternative_names(names, false)?,
            ],
        };
        let certificate = template.issue(&public, &self.key, scheme)?;
        Ok(Serving { key, certificate, made: now, by: self.certificate.key_id() })
    }
}
