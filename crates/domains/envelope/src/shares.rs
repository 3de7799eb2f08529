//! Objects that k of n groups open together: their own identity, out of its shares.

use keyward_crypto::age::{self, Identity, Unwrap};
use keyward_crypto::secret::SecretBytes;
use keyward_crypto::{Secret, shamir};
use keyward_intent::Threshold;

use crate::violation::{Failure, age_failure, invalid};

/// The object's own identity, out of the shares that `identities` open.
pub(crate) fn unite(threshold: &Threshold, identities: &[&dyn Unwrap]) -> Result<Identity, Failure> {
    let mut parts: Vec<SecretBytes> = Vec::new();
    for share in &threshold.shares {
        match age::open(share.data.as_bytes(), identities, 4096) {
            Ok(part) => parts.push(part),
            Err(age::Error::NoMatch) => {}
            Err(why) => return Err(age_failure(&format!("the share of {}", share.group), why)),
        }
        if parts.len() == usize::from(threshold.required) {
            break;
        }
    }
    if parts.len() < usize::from(threshold.required) {
        return Err(Failure::Shares { found: parts.len(), required: threshold.required });
    }
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.expose().as_slice()).collect();
    let text = shamir::combine(&parts).map_err(|why| Failure::Invalid(why.to_string()))?;
    let text = std::str::from_utf8(text.expose()).ok().map(|text| Secret::new(text.to_owned()));
    let identity = text.and_then(|text| text.expose().parse::<Identity>().ok());
    match identity {
        Some(identity) if identity.recipient().is_some_and(|own| own.to_string() == threshold.recipient) => {
            Ok(identity)
        }
        _ => invalid("the shares do not give the object's identity: they were mixed with those of another"),
    }
}
