//! Values out of other tools' sealed files, for who holds their keys: Bitnami's SealedSecret, SOPS and ZenLock.

mod sealed_secret;
mod sops;

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use keyward_crypto::age::{self, Unwrap};
use keyward_intent::{Subject, ZenLock, yaml};

pub use sealed_secret::{PrivateKeys, is_sealed_secret, open_sealed_secret};
pub use sops::{is_sops, open_sops};

use crate::envelope::LONGEST_VALUE;
use crate::recipients::age_failure;
use crate::secret::PlainSecret;
use crate::violation::Failure;

/// A ZenLock's values, and the subjects it names.
pub fn open_zenlock(
    text: &str,
    identities: &[&dyn Unwrap],
) -> Result<(PlainSecret, BTreeSet<Subject>), Failure> {
    let lock = ZenLock::read(yaml::body(text))?;
    let namespace = lock.metadata.namespace.as_deref().unwrap_or("default");
    let mut secret = PlainSecret {
        metadata: lock.metadata.clone(),
        kind: "Opaque".to_owned(),
        data: std::collections::BTreeMap::new(),
    };
    for (key, sealed) in &lock.spec.encrypted_data {
        let file = BASE64.decode(sealed.trim());
        let file = file.map_err(|_| Failure::Invalid(format!("encryptedData.{key} is not base64")))?;
        let value = age::open(&file, identities, LONGEST_VALUE)
            .map_err(|why| age_failure(&format!("encryptedData.{key}"), why))?;
        secret.data.insert(key.clone(), value);
    }
    let subjects = lock.spec.allowed_subjects.iter().map(|subject| {
        Subject::parse(&subject.name, subject.namespace.as_deref().unwrap_or(namespace))
            .map_err(Failure::from)
    });
    Ok((secret, subjects.collect::<Result<_, _>>()?))
}
