//! Private keys of which only the bytes are known: the type is found out.

use super::{ImportError, Key, KeyType, der};
use crate::secret::{Secret, SecretBytes};

const RSA_SIZES: [KeyType; 4] = [KeyType::Rsa2048, KeyType::Rsa3072, KeyType::Rsa4096, KeyType::Rsa8192];
const CURVES: [(KeyType, &[u8]); 3] =
    [(KeyType::EcdsaP256, der::P256), (KeyType::EcdsaP384, der::P384), (KeyType::EcdsaP521, der::P521)];

impl Key {
    /// An RSA, ECDSA or Ed25519 key in DER: PKCS#8, or what `RSA PRIVATE KEY` (RFC 8017, A.1.2) or
    /// `EC PRIVATE KEY` (RFC 5915) hold.
    pub fn import_der(key: &[u8]) -> Result<(KeyType, Key), ImportError> {
        let pkcs8 = |bytes: &[u8]| Secret::new(bytes.to_vec());
        match der::private_info(key).map(|info| (info.algorithm, info.curve)) {
            Some((der::RSA | der::RSA_PSS, _)) => first(&RSA_SIZES.map(|kind| (kind, pkcs8(key)))),
            Some((der::ED25519, _)) => first(&[(KeyType::Ed25519, pkcs8(key))]),
            Some((der::EC, curve)) => {
                let known = CURVES.iter().find(|(_, object)| curve == Some(*object));
                let (kind, _) = known.ok_or(ImportError::Rejected(KeyType::EcdsaP256))?;
                first(&[(*kind, pkcs8(key))])
            }
            Some(_) => Err(ImportError::NotPkcs8 { found: None }),
            None => older(key),
        }
    }
}

fn older(key: &[u8]) -> Result<(KeyType, Key), ImportError> {
    const NULL: &[u8] = &[0x05, 0x00];
    match der::older_format(key) {
        Some(format) if format.starts_with("RSA") => {
            let wrapped = der::pkcs8(der::RSA, NULL, key);
            first(&RSA_SIZES.map(|kind| (kind, Secret::new(wrapped.to_vec()))))
        }
        Some(_) => {
            let wrap = |(kind, object): (KeyType, &[u8])| {
                let curve = der::element(der::OBJECT, &[object]);
                (kind, Secret::new(der::pkcs8(der::EC, &curve, key).to_vec()))
            };
            first(&CURVES.map(wrap))
        }
        None => Err(ImportError::NotPkcs8 { found: None }),
    }
}

/// The first type that the bytes are a key of; the last refusal when they are of none.
fn first(candidates: &[(KeyType, SecretBytes)]) -> Result<(KeyType, Key), ImportError> {
    let mut refused = ImportError::NotPkcs8 { found: None };
    for (kind, bytes) in candidates {
        match Key::import(*kind, Secret::new(bytes.expose().clone())) {
            Ok(key) => return Ok((*kind, key)),
            Err(why) => refused = why,
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;
    use crate::x509::pem;

    #[test]
    fn every_form_of_a_key_is_recognized() {
        let kinds = CURVES.map(|(kind, _)| kind);
        for kind in kinds.into_iter().chain([KeyType::Ed25519, KeyType::Rsa2048]) {
            let key = Key::generate(kind, 0, &SystemRandom).unwrap();
            let older = match &key {
                Key::Rsa(key) => key.pkcs1_pem(),
                Key::Ecdsa(key) => key.sec1_pem(),
                _ => None,
            };
            for text in [key.private_pem(), older].into_iter().flatten() {
                let der = pem::blocks(text.expose()).unwrap().remove(0).der;
                let (found, read) = Key::import_der(&der).unwrap();
                assert_eq!((found, read.public()), (kind, key.public()));
                assert!(Key::import_der(&der[..der.len() - 1]).is_err());
            }
        }
        assert!(Key::import_der(b"none").is_err());
    }
}
