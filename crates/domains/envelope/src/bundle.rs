//! Enrollment bundles: values for one recipient, once, for a short time, bound to a cluster and a purpose.
//!
//! A file that was decrypted can be decrypted again, so the file alone must not be enough. Its values are under a key made of
//! two halves: a *proof*, which only who decrypts the file learns, and a *share*, which the authority keeps and gives away
//! once, to whoever shows the proof in time. Whoever comes second has a file that nothing opens any more.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use keyward_core::Random;
use keyward_crypto::age::{self, Mixing, Recipient, Unwrap, armor};
use keyward_crypto::secret::{SecretBytes, SecretKey, SecretString};
use keyward_crypto::{AeadKey, Secret, derive, sha256};
use keyward_intent::Moment;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::author::{AuthorKey, Signer};
use crate::violation::{Failure, age_failure, invalid};

/// What is signed begins with it.
const MAGIC: &str = "keyward.io/enrollment-bundle/v1\n";
/// Bytes of the longest bundle that is read.
pub const LONGEST: usize = 1 << 20;

/// What a bundle is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Names it, at the authority too.
    pub id: String,
    /// Where it may be redeemed.
    pub cluster: String,
    /// What for.
    pub purpose: String,
    /// For what in the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Whom it is encrypted for.
    pub recipient: String,
    /// When it was made.
    pub created: Moment,
    /// Until when it may be redeemed.
    pub expires: Moment,
    /// The hash of the values as they are in it, in base64.
    #[serde(default)]
    pub contents: String,
}

/// The plaintext of the age file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    /// The header, byte for byte as it was signed.
    header: String,
    signature: String,
    issuer: String,
    proof: String,
    sealed: String,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.proof.zeroize();
    }
}

/// A new bundle, and what the authority keeps of it.
pub struct Made {
    /// The file, in armor.
    pub file: String,
    /// What is shown to redeem it.
    pub proof: SecretKey,
    /// What is given for it.
    pub share: SecretKey,
}

/// Makes a bundle of values.
pub fn make(
    header: Header,
    items: &BTreeMap<String, SecretBytes>,
    recipient: &Recipient,
    signer: &Signer,
    random: &dyn Random,
) -> Result<Made, Failure> {
    let (proof, share): (SecretKey, SecretKey) = (Secret::random(random), Secret::random(random));
    let plain: BTreeMap<&str, Zeroizing<String>> = items
        .iter()
        .map(|(key, value)| (key.as_str(), Zeroizing::new(BASE64.encode(value.expose()))))
        .collect();
    let plain: BTreeMap<&str, &str> = plain.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let unwritable = |_| Failure::Invalid("the bundle cannot be written".to_owned());
    let plain = Zeroizing::new(serde_json::to_vec(&plain).map_err(unwritable)?);
    let sealed = key(&proof, &share, &header.id).seal_with(random, header.id.as_bytes(), &plain);
    let header = Header { contents: BASE64.encode(sha256(&sealed)), ..header };
    let header = serde_json::to_string(&header).map_err(unwritable)?;
    let wire = Wire {
        signature: signer.sign([MAGIC, &header].concat().as_bytes())?,
        header,
        issuer: signer.public(),
        proof: BASE64.encode(proof.expose()),
        sealed: BASE64.encode(sealed),
    };
    let wire = Zeroizing::new(serde_json::to_vec(&wire).map_err(unwritable)?);
    let file = age::seal(&[recipient], Mixing::Refuse, random, &wire).and_then(|file| armor::encode(&file));
    Ok(Made { file: file.map_err(|why| age_failure("the bundle", why))?, proof, share })
}

fn key(proof: &SecretKey, share: &SecretKey, id: &str) -> AeadKey {
    let both = Secret::new([proof.expose().as_slice(), share.expose()].concat());
    AeadKey::new(Secret::new(derive(both.expose(), MAGIC.as_bytes(), id.as_bytes())).expose())
}

/// A bundle that was decrypted, and not redeemed yet.
pub struct Bundle {
    header: Header,
    issuer: String,
    proof: SecretKey,
    sealed: Vec<u8>,
}

impl Bundle {
    /// Decrypts a bundle, and checks that it is what its issuer signed. Whether the issuer is the right one the caller says.
    pub fn read(file: &[u8], identities: &[&dyn Unwrap]) -> Result<Bundle, Failure> {
        let plain = age::open(file, identities, LONGEST).map_err(|why| age_failure("the bundle", why))?;
        Bundle::parse(plain.expose())
    }

    /// Reads what stands in the age file, as [`Bundle::read`] does.
    pub fn parse(plain: &[u8]) -> Result<Bundle, Failure> {
        let not_one = || Failure::Invalid("the age file holds no enrollment bundle".to_owned());
        let wire: Wire = serde_json::from_slice(plain).map_err(|_| not_one())?;
        let issuer = AuthorKey::read(&wire.issuer)?;
        if !issuer.verifies([MAGIC, &wire.header].concat().as_bytes(), &wire.signature) {
            return invalid("signature: the bundle is not what its issuer signed");
        }
        let header: Header = serde_json::from_str(&wire.header).map_err(|_| not_one())?;
        let sealed = BASE64.decode(&wire.sealed).map_err(|_| not_one())?;
        if header.contents != BASE64.encode(sha256(&sealed)) {
            return invalid("contents: the values are not those that the issuer signed");
        }
        let proof =
            SecretKey::from_slice(&Zeroizing::new(BASE64.decode(&wire.proof).map_err(|_| not_one())?));
        Ok(Bundle { header, issuer: wire.issuer.clone(), proof: proof.ok_or_else(not_one)?, sealed })
    }

    /// What it is bound to.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Who made it: an SSH public key.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What is shown to redeem it, in base64.
    pub fn proof(&self) -> SecretString {
        Secret::new(BASE64.encode(self.proof.expose()))
    }

    /// Its values, with the share that the authority gave for it, in base64.
    pub fn open(&self, share: &str) -> Result<BTreeMap<String, SecretBytes>, Failure> {
        let wrong = || Failure::Invalid("the share is not that of this bundle".to_owned());
        let share = Zeroizing::new(BASE64.decode(share.trim()).map_err(|_| wrong())?);
        let share = SecretKey::from_slice(&share).ok_or_else(wrong)?;
        let id = &self.header.id;
        let plain = key(&self.proof, &share, id).open_prefixed(id.as_bytes(), &self.sealed);
        let plain = Zeroizing::new(plain.map_err(|_| wrong())?);
        let items: BTreeMap<String, Zeroizing<String>> =
            serde_json::from_slice::<BTreeMap<String, String>>(&plain)
                .map_err(|_| wrong())?
                .into_iter()
                .map(|(key, value)| (key, Zeroizing::new(value)))
                .collect();
        let decoded = items.into_iter().map(|(key, value)| {
            let bytes = BASE64.decode(value.as_bytes()).map_err(|_| wrong())?;
            Ok((key, Secret::new(bytes)))
        });
        decoded.collect()
    }
}
