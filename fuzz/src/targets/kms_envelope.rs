//! The annotation beside each seed in etcd: the local key as the provider wrapped it.

use keyward_keystores::KeyVersion;
use keyward_kms_plugin::WrappedKek;

pub(crate) fn run(data: &[u8]) {
    if let Some(read) = WrappedKek::decode(data) {
        // One longer than the API server takes is read, but not written.
        assert!(read.encode().is_none_or(|written| written == data));
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let version = KeyVersion::new("1-1700000000").unwrap();
    let kek = WrappedKek { epoch: 3, version, wrapped: b"vault:v1:AAAA".to_vec() };
    vec![kek.encode().unwrap()]
}
