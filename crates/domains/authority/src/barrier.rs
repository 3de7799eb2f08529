//! The barrier: what stands between an entry and its ciphertext.
//!
//! A root key, opened by unseal shares, opens the key ring; the key ring's terms encrypt entries with
//! AES-256-GCM (NIST SP 800-38D) under random 96-bit nonces. The storage key is associated data, so an entry
//! moved to another key does not open. Rotation adds a term; older terms go on opening what they sealed.
//!
//! Random nonces allow 2^32 encryptions a term. The store's revision bounds them from above, so the count costs
//! no write: see [`Rotation::is_due`](crate::rotation::Rotation::is_due).

use crate::refusal::Refusal;
use keyward_core::random::{self, Random};
use keyward_core::{Rev, Timestamp};
use keyward_crypto::{AeadKey, MacKey, Secret, derive};
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroize;

/// Where the key ring is stored, sealed under the root key.
pub const KEYRING: &str = "core/keyring";

const FORMAT: u8 = 1;
const HEADER: usize = 5;

/// The key that opens the key ring. Never stored but under unseal shares or a key manager.
pub struct RootKey {
    raw: Secret<[u8; 32]>,
    key: AeadKey,
}

impl RootKey {
    /// From its bytes.
    pub fn new(raw: Secret<[u8; 32]>) -> RootKey {
        let key = AeadKey::new(raw.expose());
        RootKey { raw, key }
    }

    /// A new one.
    pub fn generate(random: &dyn Random) -> RootKey {
        RootKey::new(Secret::new(random::bytes(random)))
    }

    /// Its bytes, to be wrapped.
    pub fn expose(&self) -> &[u8; 32] {
        self.raw.expose()
    }
}

struct Term {
    raw: Secret<[u8; 32]>,
    key: AeadKey,
    installed: Timestamp,
    since: Rev,
}

impl Term {
    fn new(raw: [u8; 32], installed: Timestamp, since: Rev) -> Term {
        Term { key: AeadKey::new(&raw), raw: Secret::new(raw), installed, since }
    }
}

/// The keys in use, and those derived from the ring's own secret, which rotation leaves as it is.
pub struct Keyring {
    base: Secret<[u8; 32]>,
    active: u32,
    terms: BTreeMap<u32, Term>,
    /// Names tokens and accessors in storage without revealing them.
    pub names: MacKey,
    /// Hashes values in audit records.
    pub audit: Arc<MacKey>,
    /// Seals batch tokens.
    pub batch: AeadKey,
}

/// What `sys/key-status` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// The active term.
    pub term: u32,
    /// When it was installed.
    pub installed: Timestamp,
    /// An upper bound of the encryptions under it.
    pub encryptions: u64,
}

impl Keyring {
    /// A ring with one new term.
    pub fn generate(random: &dyn Random, now: Timestamp, rev: Rev) -> Keyring {
        let terms = BTreeMap::from([(1, Term::new(random::bytes(random), now, rev))]);
        Keyring::assemble(random::bytes(random), 1, terms)
    }

    fn assemble(base: [u8; 32], active: u32, terms: BTreeMap<u32, Term>) -> Keyring {
        let mac = |info: &str| {
            let mut key = derive(&base, b"", info.as_bytes());
            let mac = MacKey::new(&key);
            key.zeroize();
            mac
        };
        let mut batch = derive(&base, b"", b"keyward batch tokens");
        let ring = Keyring {
            names: mac("keyward storage names"),
            audit: Arc::new(mac("keyward audit values")),
            batch: AeadKey::new(&batch),
            base: Secret::new(base),
            active,
            terms,
        };
        batch.zeroize();
        ring
    }

    /// The same ring with one more term, which becomes the active one.
    #[must_use]
    pub fn rotated(&self, random: &dyn Random, now: Timestamp, rev: Rev) -> Keyring {
        let copy =
            |(id, term): (&u32, &Term)| (*id, Term::new(*term.raw.expose(), term.installed, term.since));
        let mut terms: BTreeMap<u32, Term> = self.terms.iter().map(copy).collect();
        let active = self.active.saturating_add(1);
        terms.insert(active, Term::new(random::bytes(random), now, rev));
        Keyring::assemble(*self.base.expose(), active, terms)
    }

    /// The active term at store revision `rev`.
    pub fn status(&self, rev: Rev) -> KeyStatus {
        let (installed, since) =
            self.terms.get(&self.active).map_or((Timestamp::EPOCH, rev), |term| (term.installed, term.since));
        KeyStatus { term: self.active, installed, encryptions: rev.saturating_sub(since) }
    }

    /// The stored form, sealed under `root`.
    pub fn sealed(&self, root: &RootKey, random: &dyn Random) -> Vec<u8> {
        let mut plain = Vec::with_capacity(41 + self.terms.len() * 52);
        plain.push(FORMAT);
        plain.extend_from_slice(&self.active.to_be_bytes());
        plain.extend_from_slice(self.base.expose());
        for (id, term) in &self.terms {
            plain.extend_from_slice(&id.to_be_bytes());
            plain.extend_from_slice(&term.installed.nanos().to_be_bytes());
            plain.extend_from_slice(&term.since.to_be_bytes());
            plain.extend_from_slice(term.raw.expose());
        }
        let sealed = root.key.seal_with(random, KEYRING.as_bytes(), &plain);
        plain.zeroize();
        sealed
    }

    /// Opens what [`Keyring::sealed`] made.
    pub fn open(root: &RootKey, stored: &[u8]) -> Result<Keyring, Refusal> {
        let corrupt = || Refusal::Corrupt(KEYRING.to_owned());
        let mut plain = root.key.open_prefixed(KEYRING.as_bytes(), stored).map_err(|_| corrupt())?;
        let ring = Keyring::decode(&plain).ok_or_else(corrupt);
        plain.zeroize();
        ring
    }

    fn decode(plain: &[u8]) -> Option<Keyring> {
        let (head, terms) = plain.split_at_checked(37)?;
        if head.first() != Some(&FORMAT) {
            return None;
        }
        let active = u32::from_be_bytes(head.get(1..5)?.try_into().ok()?);
        let base = head.get(5..37)?.try_into().ok()?;
        let mut ring = BTreeMap::new();
        for term in terms.chunks(52) {
            let id = u32::from_be_bytes(term.get(..4)?.try_into().ok()?);
            let installed = u64::from_be_bytes(term.get(4..12)?.try_into().ok()?);
            let since = u64::from_be_bytes(term.get(12..20)?.try_into().ok()?);
            let raw = term.get(20..52)?.try_into().ok()?;
            ring.insert(id, Term::new(raw, Timestamp::from_nanos(installed), since));
        }
        ring.contains_key(&active).then(|| Keyring::assemble(base, active, ring))
    }

    /// Encrypts an entry that will be stored at `key`.
    pub fn seal(&self, random: &dyn Random, key: &[u8], plain: &[u8]) -> Result<Vec<u8>, Refusal> {
        let term = self.terms.get(&self.active).ok_or_else(|| Refusal::Corrupt(KEYRING.to_owned()))?;
        let mut out = Vec::with_capacity(HEADER + 12 + plain.len() + 16);
        out.push(FORMAT);
        out.extend_from_slice(&self.active.to_be_bytes());
        let nonce: [u8; 12] = random::bytes(random);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&term.key.seal(nonce, key, plain));
        Ok(out)
    }

    /// Decrypts an entry that was stored at `key`.
    pub fn open_entry(&self, key: &[u8], stored: &[u8]) -> Result<Vec<u8>, Refusal> {
        let opened = || {
            let (header, sealed) = stored.split_at_checked(HEADER)?;
            let id = u32::from_be_bytes(header.get(1..5)?.try_into().ok()?);
            let term = self.terms.get(&id).filter(|_| header.first() == Some(&FORMAT))?;
            term.key.open_prefixed(key, sealed).ok()
        };
        opened().ok_or_else(|| Refusal::Corrupt(String::from_utf8_lossy(key).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_testkit::fakes::SeededRandom;

    #[test]
    fn an_entry_opens_only_where_it_was_stored() {
        let random = SeededRandom::new(1);
        let ring = Keyring::generate(&random, Timestamp::from_secs(1), 0);
        let sealed = ring.seal(&random, b"a/b", b"value").unwrap();
        assert_eq!(ring.open_entry(b"a/b", &sealed).unwrap(), b"value");
        assert!(matches!(ring.open_entry(b"a/c", &sealed), Err(Refusal::Corrupt(_))));
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(ring.open_entry(b"a/b", &flipped).is_err(), "byte {at}");
            assert!(ring.open_entry(b"a/b", &sealed[..at]).is_err(), "truncated to {at}");
        }
    }

    #[test]
    fn rotation_keeps_what_was_sealed() {
        let random = SeededRandom::new(2);
        let root = RootKey::generate(&random);
        let first = Keyring::generate(&random, Timestamp::from_secs(1), 0);
        let sealed = first.seal(&random, b"k", b"old").unwrap();
        let second = first.rotated(&random, Timestamp::from_secs(9), 40);
        let stored = second.sealed(&root, &random);
        let read = Keyring::open(&root, &stored).unwrap();
        assert_eq!(
            read.status(47),
            KeyStatus { term: 2, installed: Timestamp::from_secs(9), encryptions: 7 }
        );
        assert_eq!(read.open_entry(b"k", &sealed).unwrap(), b"old");
        let renewed = read.seal(&random, b"k", b"new").unwrap();
        assert!(first.open_entry(b"k", &renewed).is_err());
        assert_eq!(read.names.tag(b"t"), first.names.tag(b"t"));
        assert!(Keyring::open(&RootKey::generate(&random), &stored).is_err());
    }
}
