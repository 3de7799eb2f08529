//! What certificates are for, and under which policies: the same for all that one role allows, and written once for
//! them.

use super::authority::Kind;
use super::refuse;
use crate::refusal::Refusal;
use keyward_crypto::x509::{self, Extension, KeyUsages, PolicyIdentifier};

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Uses {
    key_usages: KeyUsages,
    ext_key_usages: Option<Extension>,
    policies: Option<Extension>,
    /// What stands before the identifiers of keys in a certificate that is no authority's.
    of_leaf: Vec<Extension>,
}

impl Uses {
    /// `ext_key_usages` are OIDs. Certificates say that they are no authority's where `leaf_says_so`.
    pub(super) fn new(
        key_usages: KeyUsages,
        ext_key_usages: &[String],
        policies: &[PolicyIdentifier],
        leaf_says_so: bool,
    ) -> Result<Uses, Refusal> {
        let made = |is: bool, make: &dyn Fn() -> Result<Extension, x509::Error>| {
            is.then(make).transpose().map_err(refuse)
        };
        let ext_key_usages = made(!ext_key_usages.is_empty(), &|| Extension::ext_key_usage(ext_key_usages))?;
        let usages = made(key_usages != KeyUsages::default(), &|| Extension::key_usage(key_usages))?;
        let constraints = made(leaf_says_so, &|| Extension::basic_constraints(false, None))?;
        Ok(Uses {
            of_leaf: [usages, ext_key_usages.clone(), constraints].into_iter().flatten().collect(),
            policies: made(!policies.is_empty(), &|| Extension::policies(policies))?,
            key_usages,
            ext_key_usages,
        })
    }

    /// What the key may be used for; nothing is said when none.
    pub(super) const fn key_usages(&self) -> KeyUsages {
        self.key_usages
    }

    /// What a certificate of `kind` says before it identifies keys.
    pub(super) fn before_keys(&self, kind: &Kind<'_>) -> Result<Vec<Extension>, x509::Error> {
        let Kind::Authority { path_len, .. } = kind else { return Ok(self.of_leaf.clone()) };
        let mut made = vec![Extension::key_usage(self.key_usages.and(KeyUsages::AUTHORITY))?];
        made.extend(self.ext_key_usages.clone());
        made.push(Extension::basic_constraints(true, *path_len)?);
        Ok(made)
    }

    /// The policies a certificate is issued under.
    pub(super) fn policies(&self) -> Option<&Extension> {
        self.policies.as_ref()
    }
}
