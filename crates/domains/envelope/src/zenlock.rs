//! The ZenLock of the Zen Mesh project: values that are bound to nothing. Who opens one binds it by what stands around it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use keyward_crypto::age::{self, Unwrap};
use keyward_intent::{Subject, ZenLock};

use crate::envelope::LONGEST_VALUE;
use crate::secret::PlainSecret;
use crate::violation::{Failure, age_failure, invalid};

/// The namespace it stands in; `default` where none is written, as Kubernetes has it.
pub fn namespace(lock: &ZenLock) -> &str {
    lock.metadata.namespace.as_deref().unwrap_or("default")
}

/// The ServiceAccounts it names. Nobody, when nobody is named.
pub fn subjects(lock: &ZenLock) -> Result<BTreeSet<Subject>, Failure> {
    let subjects = lock.spec.allowed_subjects.iter().map(|subject| {
        let namespace = subject.namespace.as_deref().unwrap_or(namespace(lock));
        let subject = Subject::parse(&subject.name, namespace)?;
        match subject.is_pattern() {
            false => Ok(subject),
            // Nothing of a ZenLock is signed that could say who is meant.
            true => invalid(format!("the subject {subject} of a ZenLock names no ServiceAccount")),
        }
    });
    subjects.collect()
}

/// The age files by their keys.
pub fn files(lock: &ZenLock) -> Result<BTreeMap<&str, Vec<u8>>, Failure> {
    let files = lock.spec.encrypted_data.iter().map(|(key, sealed)| {
        let file = BASE64.decode(sealed.trim());
        let file = file.map_err(|_| Failure::Invalid(format!("encryptedData.{key} is not base64")))?;
        Ok((key.as_str(), file))
    });
    files.collect()
}

/// Its values.
pub fn open(lock: &ZenLock, identities: &[&dyn Unwrap]) -> Result<PlainSecret, Failure> {
    let mut secret =
        PlainSecret { metadata: lock.metadata.clone(), kind: "Opaque".to_owned(), data: BTreeMap::new() };
    for (key, file) in files(lock)? {
        let value = age::open(&file, identities, LONGEST_VALUE)
            .map_err(|why| age_failure(&format!("encryptedData.{key}"), why))?;
        secret.data.insert(key.to_owned(), value);
    }
    Ok(secret)
}
