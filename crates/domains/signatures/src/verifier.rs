//! Whether somebody has signed.

use crate::attestor::{Attestor, PublicKeySource, Trust};
use crate::candidate::{Candidate, Claim};
use crate::certificate::{self, Fits, Who};
use crate::log::Signer;
use crate::trusted_root::TrustedRoot;
use crate::{Artifact, Digest, MOST_ARTIFACTS};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::keys::Hash;
use keyward_crypto::x509::{Certificate, ChainError, PublicKey, PublicKind, Scheme, is_logged, pem};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Reasons that are told of many.
const TOLD: usize = 3;

/// Why an attestor cannot be asked for: its keys, certificates or patterns cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit(String);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

impl From<String> for Unfit {
    fn from(why: String) -> Unfit {
        Unfit(why)
    }
}

/// Why nobody has signed: of each signature that was found what is wrong with it, each reason once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied(Vec<String>);

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no signatures found");
        }
        write!(f, "no matching signatures: {}", self.0[..self.0.len().min(TOLD)].join("; "))?;
        match self.0.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(f, "; and {more} more reasons"),
        }
    }
}

impl std::error::Error for Denied {}

/// An [`Attestor`], ready to be compared with what was found.
#[derive(Clone, Debug)]
pub struct Verifier {
    by: By,
    /// What is hashed with where a signature does not say.
    hash: Hash,
    annotations: BTreeMap<String, String>,
    /// The logs of which one must have the signature; none where none must.
    logs: Option<Vec<PublicKey>>,
}

#[derive(Clone, Debug)]
enum By {
    Key(PublicKey),
    /// Whoever holds a certificate that these issued, at the moment of signing.
    Issued(Box<Issued>),
}

#[derive(Clone, Debug)]
struct Issued {
    roots: Vec<Certificate>,
    between: Vec<Vec<u8>>,
    /// The logs of which one must have the certificate; none where none must.
    logs: Option<Vec<PublicKey>>,
    /// Any of them; anybody where there is none.
    who: Vec<Who>,
    extensions: Vec<(String, Fits)>,
}

impl Verifier {
    /// Reads the keys, certificates and patterns of an attestor.
    ///
    /// # Errors
    ///
    /// What of it cannot be used.
    pub fn new(attestor: &Attestor) -> Result<Verifier, Unfit> {
        let root = TrustedRoot::read(&attestor.trusted_root)?;
        let logs = |ignored: bool, keys: &str, otherwise: &[PublicKey], what: &str| match ignored {
            true => Ok(None),
            false if keys.trim().is_empty() => Ok(Some(otherwise.to_vec())),
            false => public_keys(keys).map(Some).map_err(|why| format!("the public key of {what}: {why}")),
        };
        let log = &attestor.log;
        let of_certificates = &attestor.certificate_log;
        let mut hash = Hash::Sha2_256;
        let by = match &attestor.trust {
            Trust::Key { key: PublicKeySource::Secret { namespace, name }, .. } => {
                return Err(Unfit(format!("the Secret {namespace}/{name} was not read")));
            }
            Trust::Key { key: PublicKeySource::Pem(text), hash: name } => {
                hash = hash_named(name)?;
                let mut keys = public_keys(text).map_err(|why| format!("the public key: {why}"))?;
                By::Key(keys.swap_remove(0))
            }
            Trust::Certificate { certificate, chain } => By::of_certificate(certificate, chain, || {
                logs(
                    of_certificates.ignored,
                    &of_certificates.keys,
                    &root.certificate_logs,
                    "the certificate log",
                )
            })?,
            Trust::Keyless { roots, identities, extensions } => {
                let given = certificates(roots, "roots")?;
                let own = given.is_empty();
                By::Issued(Box::new(Issued {
                    roots: if own { root.roots.clone() } else { given },
                    between: if own { root.between.clone() } else { Vec::new() },
                    logs: logs(
                        of_certificates.ignored,
                        &of_certificates.keys,
                        &root.certificate_logs,
                        "the certificate log",
                    )?,
                    who: identities.iter().map(Who::new).collect::<Result<_, _>>()?,
                    extensions: extensions
                        .iter()
                        .map(|(name, wanted)| Ok((name.clone(), Fits::new(wanted)?)))
                        .collect::<Result<_, String>>()?,
                }))
            }
        };
        let logs = logs(log.ignored, &log.keys, &root.logs, "the transparency log")?;
        Ok(Verifier { by, hash, annotations: attestor.annotations.clone(), logs })
    }

    /// Whether the attestor signed the image with this digest, by one of the artifacts; `now` is in seconds since 1970.
    ///
    /// # Errors
    ///
    /// Why none of them shows that.
    pub fn signed(&self, digest: &Digest, artifacts: &[Artifact], now: u64) -> Result<(), Denied> {
        let mut denied = Denied(Vec::new());
        for artifact in artifacts.iter().take(MOST_ARTIFACTS) {
            let checked = artifact.read().and_then(|candidate| {
                let Claim::Image { annotations, .. } = &candidate.claim else {
                    return Err("it says something of the image and does not sign it".to_owned());
                };
                self.check(&candidate, digest, now)?;
                self.annotated(annotations)
            });
            match checked {
                Ok(()) => return Ok(()),
                Err(why) => denied.add(why),
            }
        }
        Err(denied)
    }

    /// What the attestor says of the image with this digest: in-toto statements, of those artifacts that show it.
    ///
    /// # Errors
    ///
    /// Why none of them does.
    pub fn statements(
        &self,
        digest: &Digest,
        artifacts: &[Artifact],
        now: u64,
    ) -> Result<Vec<Value>, Denied> {
        let mut denied = Denied(Vec::new());
        let mut statements = Vec::new();
        for artifact in artifacts.iter().take(MOST_ARTIFACTS) {
            let checked = artifact.read().and_then(|candidate| {
                self.check(&candidate, digest, now)?;
                match candidate.claim {
                    Claim::Statement { statement, .. } => Ok(statement),
                    Claim::Image { .. } => Err("it signs the image and says nothing of it".to_owned()),
                }
            });
            match checked {
                Ok(statement) => statements.push(statement),
                Err(why) => denied.add(why),
            }
        }
        if statements.is_empty() { Err(denied) } else { Ok(statements) }
    }

    fn annotated(&self, annotations: &BTreeMap<String, String>) -> Result<(), String> {
        match self.annotations.iter().find(|(key, value)| annotations.get(*key) != Some(value)) {
            None => Ok(()),
            Some((key, _)) => Err(format!("annotation value for {key} does not match")),
        }
    }

    pub(crate) fn check(&self, candidate: &Candidate, digest: &Digest, now: u64) -> Result<(), String> {
        if !candidate.claim.is_about(digest) {
            return Err(format!("it is of another image than {digest}"));
        }
        let (key, signer) = match &self.by {
            By::Key(key) => (key, Signer::Key(key)),
            By::Issued(_) => {
                let certificate = candidate.certificate.as_ref();
                let certificate = certificate.ok_or("no certificate found on signature")?;
                (certificate.public(), Signer::Certificate(certificate))
            }
        };
        let signature = candidate.signatures.iter().find(|one| self.verifies(key, &candidate.message, one));
        let signature = signature.ok_or("invalid signature when validating with the key")?;
        let at = match &self.logs {
            None => None,
            Some(logs) => {
                let mut why = "it is in no transparency log".to_owned();
                let mut found = candidate
                    .entries
                    .iter()
                    .map(|entry| entry.verify(logs, &candidate.hashed, signature, signer));
                let entry = found.find_map(|entry| entry.map_err(|wrong| why = wrong).ok());
                entry.ok_or(why)?
            }
        };
        match (&self.by, &candidate.certificate) {
            (By::Issued(issued), Some(certificate)) => {
                // A proof without a promise tells no time, and only the log's own word counts for one in the past.
                issued.check(certificate, &candidate.between, at.unwrap_or(now), at.is_some())
            }
            _ => Ok(()),
        }
    }

    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let schemes = match key.kind() {
            PublicKind::Rsa(_) => [Scheme::Rsa(self.hash); 2],
            // Those who sign by themselves hash as strongly as the curve is.
            PublicKind::Ec(bits) => [Scheme::Ecdsa(self.hash), Scheme::Ecdsa(natural(bits))],
            PublicKind::Ed25519 => [Scheme::Ed25519; 2],
        };
        let twice = schemes[0] != schemes[1];
        schemes[..=usize::from(twice)]
            .iter()
            .any(|scheme| key.verify(*scheme, message, signature) == Ok(true))
    }
}

impl By {
    fn of_certificate(
        certificate: &str,
        chain: &str,
        logs: impl FnOnce() -> Result<Option<Vec<PublicKey>>, String>,
    ) -> Result<By, Unfit> {
        let above = certificates(chain, "certChain")?;
        let decoded =
            STANDARD.decode(certificate.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let own = certificates(decoded.as_deref().unwrap_or(certificate), "cert")?;
        match (own.first(), above.as_slice()) {
            (None, []) => Err(Unfit("there is neither a certificate nor a chain".to_owned())),
            (None, _) => Ok(By::Issued(Box::new(Issued {
                roots: above,
                between: Vec::new(),
                logs: logs()?,
                who: Vec::new(),
                extensions: Vec::new(),
            }))),
            (Some(own), []) => Ok(By::Key(own.public().clone())),
            (Some(own), [between @ .., root]) => {
                // As cosign does: a certificate that an operator names is judged at the time it begins.
                let between: Vec<Vec<u8>> = between.iter().map(|one| one.der().to_vec()).collect();
                certificate::chain(own, &between, std::slice::from_ref(root), own.not_before())
                    .map_err(|why| format!("the certificate does not fit its chain: {why}"))?;
                Ok(By::Key(own.public().clone()))
            }
        }
    }
}

impl Issued {
    /// Whether a certificate is believed at a moment; `logged` tells that a log has signed the moment.
    fn check(
        &self,
        certificate: &Certificate,
        between: &[Vec<u8>],
        at: u64,
        logged: bool,
    ) -> Result<(), String> {
        let between = [&self.between[..], between].concat();
        let chain = certificate::chain(certificate, &between, &self.roots, at).map_err(|why| match why {
            ChainError::Time if !logged => {
                "its certificate is not valid now, and no log has signed when it was used".to_owned()
            }
            why => format!("its certificate is not believed: {why}"),
        })?;
        if let Some(logs) = &self.logs {
            let issuer = chain.get(1).and_then(|der| Certificate::read(der).ok());
            if !issuer.is_some_and(|issuer| is_logged(certificate, issuer.public(), logs)) {
                return Err("its certificate is in no certificate log that is believed".to_owned());
            }
        }
        if !self.who.is_empty() && !self.who.iter().any(|who| who.is(certificate)) {
            let who = certificate::description(certificate);
            return Err(format!("subject or issuer mismatch: it was signed by {who}"));
        }
        for (name, fits) in &self.extensions {
            match certificate::value(certificate, name) {
                None => return Err(format!("its certificate has no extension {name}")),
                Some(value) if !fits.is(&value) => {
                    return Err(format!("extension mismatch: {name} of its certificate is {value:?}"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

impl Denied {
    fn add(&mut self, why: String) {
        if !self.0.contains(&why) {
            self.0.push(why);
        }
    }
}

fn natural(bits: u64) -> Hash {
    match bits {
        384 => Hash::Sha2_384,
        521 => Hash::Sha2_512,
        _ => Hash::Sha2_256,
    }
}

fn hash_named(name: &str) -> Result<Hash, Unfit> {
    match name {
        "" | "sha256" => Ok(Hash::Sha2_256),
        "sha384" => Ok(Hash::Sha2_384),
        "sha512" => Ok(Hash::Sha2_512),
        other => Err(Unfit(format!(
            "the signature algorithm {other} is not available: use sha256, sha384 or sha512"
        ))),
    }
}

/// The public keys of a PEM text: one at least.
fn public_keys(text: &str) -> Result<Vec<PublicKey>, String> {
    let blocks = pem::blocks(text).ok_or("it is not PEM")?;
    let of = blocks.iter().filter(|block| block.label == "PUBLIC KEY");
    let keys: Vec<PublicKey> = of
        .map(|block| PublicKey::read(&block.der).map_err(|why| why.to_string()))
        .collect::<Result<_, _>>()?;
    if keys.is_empty() { Err("there is no PUBLIC KEY in it".to_owned()) } else { Ok(keys) }
}

fn certificates(text: &str, what: &str) -> Result<Vec<Certificate>, Unfit> {
    let read = certificate::all(text).map_err(|why| format!("{what}: {why}"))?;
    match read.is_empty() && !text.trim().is_empty() {
        true => Err(Unfit(format!("{what}: there is no CERTIFICATE in it"))),
        false => Ok(read),
    }
}
