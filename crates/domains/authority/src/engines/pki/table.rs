//! The authorities of a mount as they are stored, and all of them together, read once for each change.

use super::bundle::Written;
use super::crl::CrlConfig;
use super::urls::Urls;
use crate::context::Context;
use crate::engines::transit::wire::Hidden;
use crate::refusal::Refusal;
use crate::txn::Txn;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_core::random;
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::sha256;
use keyward_crypto::x509::{Certificate, Extension, PublicKey, Scheme};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const ISSUERS: &str = "issuer/";
const KEYS: &str = "key/";
const CONFIG: &str = "config/authorities";
const EPOCH: &str = "epoch";

/// Issuers and keys a mount may have together: all of them go into one transaction when they are removed.
const MOST: usize = 80;

/// The reference that follows the configuration.
pub(super) const DEFAULT: &str = "default";

/// What an issuer may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Usage {
    pub(super) issuing: bool,
    pub(super) crl_signing: bool,
    pub(super) ocsp_signing: bool,
}

impl Usage {
    pub(super) const ALL: Usage = Usage { issuing: true, crl_signing: true, ocsp_signing: true };

    /// As clients read it.
    pub(super) fn names(self) -> String {
        let named = [
            (true, "read-only"),
            (self.issuing, "issuing-certificates"),
            (self.crl_signing, "crl-signing"),
            (self.ocsp_signing, "ocsp-signing"),
        ];
        named.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect::<Vec<_>>().join(",")
    }

    pub(super) fn parse(names: &[String]) -> Result<Usage, Refusal> {
        let mut usage = Usage { issuing: false, crl_signing: false, ocsp_signing: false };
        for name in names {
            match name.as_str() {
                "read-only" => {}
                "issuing-certificates" => usage.issuing = true,
                "crl-signing" => usage.crl_signing = true,
                "ocsp-signing" => usage.ocsp_signing = true,
                other => {
                    return Err(Refusal::invalid(format!(
                        "Unable to parse specified usages: unknown name for usage at index: {other}; there are \
                         read-only, issuing-certificates, crl-signing and ocsp-signing"
                    )));
                }
            }
        }
        Ok(usage)
    }
}

/// What is done when a certificate would outlive its issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum NotAfter {
    /// It is refused.
    Err,
    /// It ends with its issuer.
    Truncate,
    /// It is issued.
    Permit,
}

/// An issuer as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct IssuerEntry {
    pub(super) id: String,
    pub(super) name: String,
    /// DER in base64.
    pub(super) certificate: String,
    pub(super) manual_chain: Vec<String>,
    pub(super) not_after: NotAfter,
    pub(super) usage: Usage,
    /// How lists are signed, by Go's name; empty for the usual.
    pub(super) revocation_scheme: String,
    /// Nanoseconds since the epoch.
    pub(super) revoked: Option<u64>,
    pub(super) urls: Option<Urls>,
}

/// A key as it is stored.
#[derive(Serialize, Deserialize)]
struct KeyEntry {
    id: String,
    name: String,
    kind: String,
    /// PKCS#8 in DER.
    private: Hidden,
}

/// `config/cluster`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Cluster {
    pub(super) path: String,
    pub(super) aia_path: String,
}

/// What is configured for the whole mount.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    /// An issuer's id; empty when there is none.
    pub(super) default_issuer: String,
    pub(super) default_follows_latest: bool,
    /// A key's id; empty when there is none.
    pub(super) default_key: String,
    pub(super) urls: Urls,
    pub(super) cluster: Cluster,
    pub(super) crl: CrlConfig,
}

/// An issuer, read.
#[derive(Clone)]
pub(super) struct Issuer {
    pub(super) entry: IssuerEntry,
    pub(super) certificate: Certificate,
    pub(super) pem: String,
    /// Its own certificate and those above it, as far as they are here.
    pub(super) chain: Vec<Certificate>,
    /// Itself and its chain in the answers to requests.
    pub(super) written: Written,
    pub(super) is_authority: bool,
    /// How certificates below it name its key.
    pub(super) key_id_below: Extension,
    pub(super) key: Option<Arc<HeldKey>>,
    /// What issuers with the same name and key have in common: their revocations.
    pub(super) group: String,
}

impl Issuer {
    /// The same, where certificates that would outlive it are treated in another way.
    pub(super) fn with_not_after(&self, not_after: NotAfter) -> Issuer {
        Issuer { entry: IssuerEntry { not_after, ..self.entry.clone() }, ..self.clone() }
    }

    /// Its key, or a refusal.
    pub(super) fn key(&self) -> Result<&HeldKey, Refusal> {
        self.key.as_deref().ok_or_else(|| {
            Refusal::invalid(format!(
                "unable to use issuer {}: it has no key here; import the key, or name an issuer that has one",
                self.entry.id
            ))
        })
    }

    /// The id of its key; empty when the key is not here.
    pub(super) fn key_id(&self) -> &str {
        self.key.as_ref().map_or("", |key| &key.id)
    }

    /// How it signs lists and OCSP answers.
    pub(super) fn revocation_scheme(&self) -> Result<Scheme, Refusal> {
        let key = &self.key()?.key;
        Scheme::named(&self.entry.revocation_scheme)
            .filter(|scheme| scheme.fits(key))
            .or_else(|| Scheme::of(key, 0, false))
            .ok_or_else(|| Refusal::Corrupt(format!("the key of issuer {}", self.entry.id)))
    }
}

/// A key, read.
pub(super) struct HeldKey {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) key: Key,
    pub(super) public: PublicKey,
}

/// All authorities of a mount.
pub(super) struct Table {
    pub(super) issuers: Vec<Arc<Issuer>>,
    pub(super) keys: Vec<Arc<HeldKey>>,
    pub(super) config: Config,
}

impl Table {
    /// The issuer with an id, a name, or the default one.
    pub(super) fn find(&self, reference: &str) -> Option<&Arc<Issuer>> {
        let id = if reference == DEFAULT { &self.config.default_issuer } else { reference };
        let known = |issuer: &&Arc<Issuer>| {
            issuer.entry.id == id || (reference != DEFAULT && issuer.entry.name == reference)
        };
        self.issuers.iter().find(known)
    }

    /// As [`Table::find`], or the refusal clients know.
    pub(super) fn issuer(&self, reference: &str) -> Result<&Arc<Issuer>, Refusal> {
        self.find(reference).ok_or_else(|| match (reference, self.config.default_issuer.is_empty()) {
            (DEFAULT, true) => Refusal::invalid("no default issuer currently configured"),
            _ => Refusal::invalid(format!("unable to find PKI issuer for reference: {reference}")),
        })
    }

    /// The key with an id, a name, or the default one.
    pub(super) fn key(&self, reference: &str) -> Result<&Arc<HeldKey>, Refusal> {
        let id = if reference == DEFAULT { &self.config.default_key } else { reference };
        let known = |key: &&Arc<HeldKey>| key.id == id || (reference != DEFAULT && key.name == reference);
        self.keys
            .iter()
            .find(known)
            .ok_or_else(|| Refusal::invalid(format!("unable to find PKI key for reference: {reference}")))
    }

    /// The URLs in certificates that `issuer` signs.
    pub(super) fn urls<'t>(&'t self, issuer: &'t Issuer) -> &'t Urls {
        issuer.entry.urls.as_ref().unwrap_or(&self.config.urls)
    }
}

/// The authorities of the request's mount.
pub(super) fn table(cx: &mut Context<'_, '_>) -> Result<Arc<Table>, Refusal> {
    let prefix = cx.mount.prefix();
    of_mount(cx.txn, &prefix)
}

/// The authorities of the mount whose entries stand below `prefix`.
pub(super) fn of_mount(txn: &mut Txn<'_>, prefix: &str) -> Result<Arc<Table>, Refusal> {
    let memo = format!("{prefix}authorities");
    txn.built_since(&format!("{prefix}{EPOCH}"), memo.as_bytes(), |txn| build(txn, prefix))
}

fn build(txn: &mut Txn<'_>, prefix: &str) -> Result<Table, Refusal> {
    let config: Config = txn.get_json(&format!("{prefix}{CONFIG}"))?.unwrap_or_default();
    let mut keys = Vec::new();
    for path in txn.keys(&format!("{prefix}{KEYS}"), b"", usize::MAX)? {
        let corrupt = || Refusal::Corrupt(path.clone());
        let Some(entry) = txn.get_json::<KeyEntry>(&path)? else { continue };
        let kind = KeyType::named(&entry.kind).ok_or_else(corrupt)?;
        let key = Key::import(kind, entry.private.0).map_err(|_| corrupt())?;
        let public = PublicKey::of(&key).ok_or_else(corrupt)?;
        keys.push(Arc::new(HeldKey { id: entry.id, name: entry.name, key, public }));
    }
    let mut found = Vec::new();
    for path in txn.keys(&format!("{prefix}{ISSUERS}"), b"", usize::MAX)? {
        let corrupt = || Refusal::Corrupt(path.clone());
        let Some(entry) = txn.get_json::<IssuerEntry>(&path)? else { continue };
        let der = STANDARD.decode(&entry.certificate).map_err(|_| corrupt())?;
        found.push((Certificate::read(&der).map_err(|_| corrupt())?, entry));
    }
    let issuers = (0..found.len())
        .map(|at| {
            let (certificate, entry) = &found[at];
            let key = keys.iter().find(|key| key.public == *certificate.public()).cloned();
            let chain = chain(&found, at);
            Ok(Arc::new(Issuer {
                entry: entry.clone(),
                pem: certificate.pem(),
                written: Written::of(certificate, &chain)?,
                is_authority: certificate.is_authority(),
                key_id_below: Extension::authority_key_id(&certificate.key_id()).map_err(super::refuse)?,
                chain,
                key,
                group: group(certificate),
                certificate: certificate.clone(),
            }))
        })
        .collect::<Result<_, Refusal>>()?;
    Ok(Table { issuers, keys, config })
}

/// Name and key: who has both can sign each other's lists.
fn group(certificate: &Certificate) -> String {
    let mut both = certificate.subject().der();
    both.extend_from_slice(certificate.public().spki());
    hex::encode(&sha256(&both)[..12])
}

/// The certificate at `at` and those above it, up to one that signed itself.
fn chain(all: &[(Certificate, IssuerEntry)], at: usize) -> Vec<Certificate> {
    let (first, entry) = &all[at];
    if !entry.manual_chain.is_empty() {
        let with = |id: &String| all.iter().find(|(_, entry)| entry.id == *id);
        return entry
            .manual_chain
            .iter()
            .filter_map(with)
            .map(|(certificate, _)| certificate.clone())
            .collect();
    }
    let mut made = vec![first.clone()];
    while let Some(last) = made.last().filter(|last| last.subject() != last.issuer()) {
        let above = all
            .iter()
            .map(|(above, _)| above)
            .find(|above| !made.iter().any(|known| known.der() == above.der()) && last.signed_by(above));
        match above.cloned() {
            Some(above) => made.push(above),
            None => break,
        }
    }
    made
}

fn touch(cx: &mut Context<'_, '_>) -> Result<(), Refusal> {
    let epoch = cx.key(EPOCH);
    cx.txn.bump(&epoch)
}

/// Writes what is configured.
pub(super) fn put_config(cx: &mut Context<'_, '_>, config: &Config) -> Result<(), Refusal> {
    touch(cx)?;
    cx.put_json(CONFIG, config)
}

/// Writes an issuer.
pub(super) fn put_issuer(cx: &mut Context<'_, '_>, entry: &IssuerEntry) -> Result<(), Refusal> {
    touch(cx)?;
    cx.put_json(&format!("{ISSUERS}{}", entry.id), entry)
}

/// An issuer that is not there yet.
pub(super) fn new_issuer(cx: &Context<'_, '_>, name: &str, certificate: &Certificate) -> IssuerEntry {
    IssuerEntry {
        id: random::uuid(cx.random()),
        name: name.to_owned(),
        certificate: STANDARD.encode(certificate.der()),
        manual_chain: Vec::new(),
        not_after: NotAfter::Err,
        usage: Usage::ALL,
        revocation_scheme: String::new(),
        revoked: None,
        urls: None,
    }
}

/// Refuses one more issuer or key than a mount may have.
pub(super) fn make_room(table: &Table, more: usize) -> Result<(), Refusal> {
    match table.issuers.len() + table.keys.len() + more <= MOST {
        true => Ok(()),
        false => Err(Refusal::invalid(format!(
            "a mount holds at most {MOST} issuers and keys together: delete those that are not used, or mount \
             another engine"
        ))),
    }
}

/// Writes a key.
pub(super) fn put_key(
    cx: &mut Context<'_, '_>,
    id: &str,
    name: &str,
    kind: KeyType,
    key: &Key,
) -> Result<(), Refusal> {
    touch(cx)?;
    let private =
        key.private().ok_or_else(|| Refusal::Internal("a key without its private part".to_owned()))?;
    let entry = KeyEntry {
        id: id.to_owned(),
        name: name.to_owned(),
        kind: kind.name().to_owned(),
        private: Hidden(private),
    };
    cx.put_json(&format!("{KEYS}{id}"), &entry)
}

/// Gives a key another name.
pub(super) fn rename_key(cx: &mut Context<'_, '_>, id: &str, name: &str) -> Result<(), Refusal> {
    touch(cx)?;
    let path = format!("{KEYS}{id}");
    let mut entry: KeyEntry = cx.get_json(&path)?.ok_or_else(|| Refusal::Corrupt(cx.key(&path)))?;
    name.clone_into(&mut entry.name);
    cx.put_json(&path, &entry)
}

/// Removes a key.
pub(super) fn delete_key(cx: &mut Context<'_, '_>, id: &str) -> Result<(), Refusal> {
    touch(cx)?;
    cx.delete(&format!("{KEYS}{id}"));
    Ok(())
}

/// Removes an issuer.
pub(super) fn delete_issuer(cx: &mut Context<'_, '_>, id: &str) -> Result<(), Refusal> {
    touch(cx)?;
    cx.delete(&format!("{ISSUERS}{id}"));
    Ok(())
}

/// Removes an issuer of the mount whose entries stand below `prefix`.
pub(super) fn delete_issuer_of(txn: &mut Txn<'_>, prefix: &str, id: &str) -> Result<(), Refusal> {
    txn.bump(&format!("{prefix}{EPOCH}"))?;
    txn.delete(&format!("{prefix}{ISSUERS}{id}"));
    Ok(())
}

/// Writes what is configured for the mount whose entries stand below `prefix`.
pub(super) fn put_config_of(txn: &mut Txn<'_>, prefix: &str, config: &Config) -> Result<(), Refusal> {
    txn.bump(&format!("{prefix}{EPOCH}"))?;
    txn.put_json(&format!("{prefix}{CONFIG}"), config)
}
