//! Values out of other tools' sealed files, for who holds their keys: Bitnami's SealedSecret, SOPS and ZenLock.

mod sealed_secret;
mod sops;

use std::collections::BTreeSet;

use keyward_crypto::age::Unwrap;
use keyward_envelope::zenlock;
use keyward_intent::{Subject, ZenLock, yaml};

use crate::{Failure, PlainSecret};

pub use sealed_secret::{PrivateKeys, is_sealed_secret, open_sealed_secret};
pub use sops::{is_sops, open_sops};

/// A ZenLock's values, and the subjects it names.
pub fn open_zenlock(
    text: &str,
    identities: &[&dyn Unwrap],
) -> Result<(PlainSecret, BTreeSet<Subject>), Failure> {
    let lock = ZenLock::read(yaml::body(text))?;
    Ok((zenlock::open(&lock, identities)?, zenlock::subjects(&lock)?))
}
