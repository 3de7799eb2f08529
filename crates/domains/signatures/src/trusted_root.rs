//! Trusted material: authorities and logs that are believed where a policy names none of its own.
//! <https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::x509::{Certificate, PublicKey};
use serde_json::Value;

/// The trusted root of Sigstore's public instance, as its TUF repository hands it out (`trusted_root.json`): the authorities and
/// logs that sign since 2022. Logs that are begun later are not in it; a policy names their keys.
const PUBLIC: &str = include_str!("../data/public-good.json");
const MOST: usize = 64;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedRoot {
    pub(crate) roots: Vec<Certificate>,
    /// In DER.
    pub(crate) between: Vec<Vec<u8>>,
    pub(crate) logs: Vec<PublicKey>,
    pub(crate) certificate_logs: Vec<PublicKey>,
}

impl TrustedRoot {
    /// That of a policy, or where it is empty that of Sigstore's public instance.
    pub(crate) fn read(json: &str) -> Result<TrustedRoot, String> {
        let json = if json.trim().is_empty() { PUBLIC } else { json };
        let value: Value =
            serde_json::from_str(json).map_err(|_| "the trusted root is not JSON".to_owned())?;
        let list = |key: &str| value[key].as_array().into_iter().flatten().take(MOST);
        let mut root = TrustedRoot {
            logs: list("tlogs").filter_map(key).collect(),
            certificate_logs: list("ctlogs").filter_map(key).collect(),
            ..TrustedRoot::default()
        };
        for authority in list("certificateAuthorities") {
            let chain = authority["certChain"]["certificates"].as_array().into_iter().flatten().take(MOST);
            let mut chain: Vec<Certificate> = chain
                .map(|one| {
                    let der =
                        bytes(&one["rawBytes"]).ok_or("a certificate of the trusted root is not base64")?;
                    Certificate::read(&der).map_err(|why| format!("a certificate of the trusted root: {why}"))
                })
                .collect::<Result<_, String>>()?;
            root.roots.extend(chain.pop());
            root.between.extend(chain.iter().map(|one| one.der().to_vec()));
        }
        Ok(root)
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(value.as_str()?).ok()
}

/// A log's key; none of a kind that is not known here.
fn key(log: &Value) -> Option<PublicKey> {
    PublicKey::read(&bytes(&log["publicKey"]["rawBytes"])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_instance_is_known() {
        let root = TrustedRoot::read("").unwrap();
        assert_eq!((root.roots.len(), root.between.len()), (2, 1));
        assert_eq!((root.logs.len(), root.certificate_logs.len()), (1, 2));
        assert!(TrustedRoot::read("[").is_err());
        assert!(TrustedRoot::read("{}").unwrap().roots.is_empty());
    }
}
