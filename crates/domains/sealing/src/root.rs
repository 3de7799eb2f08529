//! The root of trust: one secret of 32 bytes, kept offline in shares, from which everything else offline is derived.
//!
//! What is public of it stands in a signed document, so that two people can tell that they speak of the same root. A new
//! root is only ever one that the old root signed.

use std::collections::BTreeMap;

use keyward_core::Random;
use keyward_crypto::age::pq;
use keyward_crypto::secret::{SecretKey, SecretString};
use keyward_crypto::{Secret, bech32, derive, shamir};
use keyward_envelope::document::{self, id_of};
use keyward_intent::{Moment, names};

use crate::author::Signer;
use crate::violation::{Failure, invalid};

pub use keyward_envelope::document::{Document, DocumentSpec, Predecessor};

/// What a share begins with.
const SHARE: &str = "kwshare";
/// The layout of shares.
const LAYOUT: u8 = 1;

/// The root itself.
pub struct Root {
    key: SecretKey,
    generation: u32,
}

/// What a sealing identity is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// To open everything when nothing else is left.
    BreakGlass,
    /// To wrap the authority's recovery shares.
    Recovery,
    /// What is sealed for one namespace of one cluster, or for a cluster as a whole.
    Sealing {
        /// The cluster.
        cluster: String,
        /// The namespace.
        namespace: Option<String>,
    },
}

impl Purpose {
    /// `break-glass`, `recovery`, `CLUSTER` or `CLUSTER/NAMESPACE`.
    pub fn parse(text: &str) -> Result<Purpose, Failure> {
        match text {
            "break-glass" => Ok(Purpose::BreakGlass),
            "recovery" => Ok(Purpose::Recovery),
            _ => {
                let (cluster, namespace) = match text.split_once('/') {
                    Some((cluster, namespace)) => (cluster, Some(namespace)),
                    None => (text, None),
                };
                names::label("a cluster", cluster)?;
                namespace.map_or(Ok(()), |namespace| names::label("a namespace", namespace))?;
                Ok(Purpose::Sealing { cluster: cluster.to_owned(), namespace: namespace.map(str::to_owned) })
            }
        }
    }

    /// As the document calls it; what [`Purpose::parse`] reads.
    pub fn name(&self) -> String {
        match self {
            Purpose::BreakGlass => "break-glass".to_owned(),
            Purpose::Recovery => "recovery".to_owned(),
            Purpose::Sealing { cluster, namespace: None } => cluster.clone(),
            Purpose::Sealing { cluster, namespace: Some(namespace) } => format!("{cluster}/{namespace}"),
        }
    }
}

impl Root {
    /// A new root, of the first generation or of the one after `old`.
    pub fn generate(old: Option<&Root>, random: &dyn Random) -> Root {
        Root {
            key: Secret::random(random),
            generation: old.map_or(1, |old| old.generation.saturating_add(1)),
        }
    }

    /// 1 for the first; one more with each rotation.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    fn derived(&self, purpose: &str) -> SecretKey {
        let info = format!("keyward.io/root/v1/{purpose}");
        Secret::new(derive(self.key.expose(), b"keyward.io/root/v1", info.as_bytes()))
    }

    /// What the root itself signs with: its document, and that of its successor.
    pub fn signer(&self) -> Result<Signer, Failure> {
        Signer::from_seed(self.derived("statement"))
    }

    /// The intent signing key.
    pub fn author(&self) -> Result<Signer, Failure> {
        Signer::from_seed(self.derived("author"))
    }

    /// A sealing identity.
    pub fn identity(&self, purpose: &Purpose) -> pq::Identity {
        let kind = match purpose {
            Purpose::BreakGlass | Purpose::Recovery => "identity",
            Purpose::Sealing { .. } => "identity/cluster",
        };
        pq::Identity::new(self.derived(&format!("{kind}/{}", purpose.name())))
    }

    /// The shares, any `required` of which give the root back.
    pub fn split(&self, shares: u8, required: u8, random: &dyn Random) -> Result<Vec<Share>, Failure> {
        let parts = shamir::split(self.key.expose(), shares, required, random)
            .map_err(|why| Failure::Invalid(why.to_string()))?;
        let root = self.id()?;
        let numbered = (1u8..).zip(parts);
        Ok(numbered
            .map(|(number, part)| Share { root, generation: self.generation, required, shares, number, part })
            .collect())
    }

    /// The root out of shares. They must be enough, and of one root; whether it is the right one the document says.
    pub fn combine(shares: &[Share]) -> Result<Root, Failure> {
        let Some(first) = shares.first() else { return invalid("no share was given") };
        if shares.iter().any(|share| share.root != first.root || share.required != first.required) {
            return invalid("the shares are of different roots");
        }
        let mut by_number: BTreeMap<u8, &Share> = BTreeMap::new();
        by_number.extend(shares.iter().map(|share| (share.number, share)));
        if by_number.len() < usize::from(first.required) {
            return Err(Failure::Shares { found: by_number.len(), required: first.required });
        }
        let parts: Vec<&[u8]> = by_number.values().map(|share| share.part.expose().as_slice()).collect();
        let key = shamir::combine(&parts).map_err(|why| Failure::Invalid(why.to_string()))?;
        let key = SecretKey::from_slice(key.expose());
        let Some(key) = key else { return invalid("the shares do not give a root: one is damaged") };
        let root = Root { key, generation: first.generation };
        match root.id()? == first.root {
            true => Ok(root),
            false => invalid("the shares do not give the root they name: one of them is damaged or forged"),
        }
    }

    /// Eight bytes that name the root: of the hash of its public key.
    pub fn id(&self) -> Result<[u8; 8], Failure> {
        Ok(id_of(&self.signer()?.public()))
    }

    /// Whether `document` is of this root, and everything in it comes from it.
    pub fn proves(&self, document: &Document) -> Result<(), Failure> {
        let spec = &document.spec;
        if self.signer()?.public() != spec.key || self.generation != spec.generation {
            return invalid(format!("the shares are of another root than {}", spec.id));
        }
        if self.author()?.public() != spec.author {
            return invalid("the author in the document does not come from the root");
        }
        for (name, recipient) in &spec.recipients {
            if self.identity(&Purpose::parse(name)?).recipient().to_string() != *recipient {
                return invalid(format!("recipient {name} in the document does not come from the root"));
            }
        }
        Ok(())
    }

    /// The public document, signed; `counts` says how many shares are required, of how many.
    pub fn document(
        &self,
        now: Moment,
        counts: (u8, u8),
        purposes: &[Purpose],
        old: Option<&Root>,
    ) -> Result<Document, Failure> {
        let signer = self.signer()?;
        let mut all = vec![Purpose::BreakGlass, Purpose::Recovery];
        for purpose in purposes {
            if !all.contains(purpose) {
                all.push(purpose.clone());
            }
        }
        let recipients =
            all.iter().map(|purpose| (purpose.name(), self.identity(purpose).recipient().to_string()));
        let mut spec = DocumentSpec {
            id: document::id(&signer.public()),
            generation: self.generation,
            created: now,
            required: counts.0,
            shares: counts.1,
            key: signer.public(),
            author: self.author()?.public(),
            recipients: recipients.collect(),
            predecessor: None,
            signature: String::new(),
        };
        if let Some(old) = old {
            let old_signer = old.signer()?;
            spec.predecessor = Some(Predecessor {
                id: hex(&old.id()?),
                key: old_signer.public(),
                signature: old_signer.sign(&spec.succession())?,
            });
        }
        spec.signature = signer.sign(&spec.signed())?;
        Ok(Document::new(spec))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One share of a root.
pub struct Share {
    root: [u8; 8],
    generation: u32,
    required: u8,
    shares: u8,
    number: u8,
    part: keyward_crypto::secret::SecretBytes,
}

impl Share {
    /// The root it is of.
    pub fn root(&self) -> String {
        hex(&self.root)
    }

    /// Its number, of how many, and how many are needed.
    pub const fn counts(&self) -> (u8, u8, u8) {
        (self.number, self.shares, self.required)
    }

    /// As people keep it: one word in upper case that finds its own typing errors, and is short in a QR code.
    pub fn text(&self) -> SecretString {
        let head = [[LAYOUT].as_slice(), &self.root, &self.generation.to_be_bytes()].concat();
        let counts = [self.required, self.shares, self.number];
        let data = Secret::new([head.as_slice(), &counts, self.part.expose()].concat());
        bech32::encode_upper(SHARE, data.expose())
    }

    /// Reads [`Share::text`], in any case and with white space in it. Lines that begin with `#` are comments.
    pub fn read(text: &str) -> Result<Share, Failure> {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let word =
            Secret::new(lines.flat_map(str::split_whitespace).collect::<String>().to_ascii_lowercase());
        let damaged = "it is no share of a root, or has a typing error: it begins with KWSHARE1";
        let Some((prefix, data)) = bech32::decode(word.expose()) else { return invalid(damaged) };
        let Some((head, part)) = data.split_first_chunk::<16>() else { return invalid(damaged) };
        let [layout, root @ .., g0, g1, g2, g3, required, shares, number] = *head;
        if prefix != SHARE || layout != LAYOUT || part.len() != 33 {
            return invalid(damaged);
        }
        let part = Secret::new(part.to_vec());
        Ok(Share { root, generation: u32::from_be_bytes([g0, g1, g2, g3]), required, shares, number, part })
    }
}
