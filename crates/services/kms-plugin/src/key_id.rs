//! The identifier under which the API server knows the provider's key.

use keyward_core::Timestamp;
use keyward_crypto::sha256;
use keyward_keystores::KeyVersion;

/// The identifier of a key: 36 characters, public, the same on every node and after every restart. It tells
/// the provider's key and version and the operator's epoch apart, and says nothing of any local key.
pub fn key_id(cluster: &str, provider: &str, version: &KeyVersion, epoch: u64) -> String {
    let mut input = b"keyward kms key id v1".to_vec();
    for field in [cluster, provider, version.as_str()] {
        input.extend_from_slice(&(field.len() as u64).to_be_bytes());
        input.extend_from_slice(field.as_bytes());
    }
    input.extend_from_slice(&epoch.to_be_bytes());
    format!("kw1-{}", hex::encode(&sha256(&input)[..16]))
}

/// The present moment.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::EPOCH.plus(since.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(cluster: &str, provider: &str, version: &str, epoch: u64) -> String {
        key_id(cluster, provider, &KeyVersion::new(version).unwrap(), epoch)
    }

    #[test]
    fn is_stable() {
        // A change of this value makes every stored object of every cluster unreadable.
        assert_eq!(
            id("prod", "transit::transit/kube", "1@1700000000", 1),
            "kw1-a834d870726d2987d572a6ace7aeec76"
        );
    }

    #[test]
    fn tells_everything_apart() {
        let base = id("prod", "transit::transit/kube", "1@1700000000", 1);
        assert_eq!(base.len(), 36);
        for other in [
            id("prod2", "transit::transit/kube", "1@1700000000", 1),
            id("prod", "transit::transit/kube2", "1@1700000000", 1),
            id("prod", "transit::transit/kube", "1@1700000001", 1),
            id("prod", "transit::transit/kube", "1@1700000000", 2),
            id("prodt", "ransit::transit/kube", "1@1700000000", 1),
        ] {
            assert_ne!(base, other);
        }
    }
}
