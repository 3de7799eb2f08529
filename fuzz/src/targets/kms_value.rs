//! Values as etcd holds them, for `kms inspect --value`.

use keyward_kms_plugin::inspect::{inspect_value, value_table};

pub(crate) fn run(data: &[u8]) {
    let report = inspect_value(data);
    assert!(!value_table(&report).is_empty());
    assert!(serde_json::to_string(&report).is_ok());
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    vec![b"{\"kind\":\"Secret\"}".to_vec(), b"k8s:enc:aescbc:v1:key1:xxxx".to_vec(), value()]
}

/// A value under KMS v2: Kubernetes' `EncryptedObject` with data, key id, seed and one annotation.
pub(super) fn value() -> Vec<u8> {
    let kek = super::kms_envelope::seeds().remove(0);
    let mut annotation = Vec::new();
    field(&mut annotation, 1, keyward_kms_plugin::ANNOTATION.as_bytes());
    field(&mut annotation, 2, &kek);
    let mut value = b"k8s:enc:kms:v2:keyward:".to_vec();
    field(&mut value, 1, &[9; 60]);
    field(&mut value, 2, b"kw1-0123456789abcdef");
    field(&mut value, 3, &[8; 61]);
    field(&mut value, 4, &annotation);
    value.extend([5 << 3, 1]);
    value
}

/// A field of bytes in protocol buffers, shorter than 16,384.
pub(super) fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    match bytes.len() {
        short @ ..128 => out.push(short as u8),
        long => out.extend([(long & 127 | 128) as u8, (long >> 7) as u8]),
    }
    out.extend(bytes);
}
