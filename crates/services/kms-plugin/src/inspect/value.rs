//! What protects one value in etcd.

use prost::Message;
use serde::Serialize;

use crate::envelope::{ANNOTATION, WrappedKek};
use crate::proto::stored::EncryptedObject;

const ENCRYPTED: &[u8] = b"k8s:enc:";
const KMS_V2: &str = "kms:v2";

/// How a value is protected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "scheme", rename_all = "snake_case")]
pub enum Protection {
    /// Not encrypted by the API server.
    Plaintext,
    /// By a KMS v2 plugin.
    KmsV2 {
        /// The provider's name in the API server's configuration.
        provider: String,
        /// The key that protects it.
        key_id: String,
    },
    /// By another scheme of the API server, as `aescbc:v1` with the name of its key.
    Other {
        /// The scheme and its version.
        kind: String,
        /// The key's or the provider's name.
        name: String,
    },
    /// Marked as encrypted, but no API server could read it.
    Broken {
        /// What is wrong with it.
        why: String,
    },
}

/// One value, looked into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ValueReport {
    /// What protects it.
    pub protection: Protection,
    /// Its length in bytes.
    pub bytes: usize,
    /// The part of it that is the encrypted object itself; 0 when it is not encrypted by KMS v2.
    pub encrypted_bytes: usize,
    /// Whether the sealed secret is a seed (one key per write) or the key itself.
    pub seed: bool,
    /// Names and lengths of the annotations.
    pub annotations: Vec<(String, usize)>,
    /// The provider's key version and the epoch, when our plugin wrote it.
    pub kek: Option<KekReport>,
}

/// The local key a value depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KekReport {
    /// The version of the provider's key that wraps it.
    pub version: String,
    /// The operator's epoch.
    pub epoch: u64,
    /// Its length in bytes as wrapped.
    pub wrapped_bytes: usize,
}

/// Looks into a value as etcd holds it; a final line feed, as tools print one, is forgiven.
pub fn inspect_value(value: &[u8]) -> ValueReport {
    let report = look(value);
    match (&report.protection, value.strip_suffix(b"\n")) {
        (Protection::Broken { .. }, Some(shorter)) => look(shorter),
        _ => report,
    }
}

fn look(value: &[u8]) -> ValueReport {
    let mut report = ValueReport {
        protection: Protection::Plaintext,
        bytes: value.len(),
        encrypted_bytes: 0,
        seed: false,
        annotations: Vec::new(),
        kek: None,
    };
    let Some(rest) = value.strip_prefix(ENCRYPTED) else { return report };
    report.protection = match split(rest) {
        Some((kind, name, sealed)) if kind == KMS_V2 => match kms(name, sealed, &mut report) {
            Ok(protection) => protection,
            Err(why) => Protection::Broken { why },
        },
        Some((kind, name, _)) => Protection::Other { kind: kind.to_owned(), name: name.to_owned() },
        None => Protection::Broken { why: "the mark of encryption is cut short".to_owned() },
    };
    report
}

/// `kms:v2:NAME:...` into `kms:v2`, `NAME` and the rest.
fn split(rest: &[u8]) -> Option<(&str, &str, &[u8])> {
    let colons: Vec<usize> =
        rest.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at).take(3).collect();
    let [_, second, third] = colons[..] else { return None };
    let kind = std::str::from_utf8(&rest[..second]).ok()?;
    let name = std::str::from_utf8(&rest[second + 1..third]).ok()?;
    Some((kind, name, &rest[third + 1..]))
}

fn kms(name: &str, sealed: &[u8], report: &mut ValueReport) -> Result<Protection, String> {
    let object = EncryptedObject::decode(sealed)
        .map_err(|_| "the encrypted object is cut short or altered".to_owned())?;
    if object.key_id.is_empty() || object.encrypted_data.is_empty() || object.encrypted_dek_source.is_empty()
    {
        return Err("the encrypted object lacks its key, its data or its sealed seed".to_owned());
    }
    report.encrypted_bytes = object.encrypted_data.len();
    report.seed = object.encrypted_dek_source_type == 1;
    report.annotations = object.annotations.iter().map(|(name, value)| (name.clone(), value.len())).collect();
    report.annotations.sort();
    report.kek =
        object.annotations.get(ANNOTATION).and_then(|value| WrappedKek::decode(value)).map(|record| {
            KekReport {
                version: record.version.to_string(),
                epoch: record.epoch,
                wrapped_bytes: record.wrapped.len(),
            }
        });
    Ok(Protection::KmsV2 { provider: name.to_owned(), key_id: object.key_id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_keystores::KeyVersion;
    use proptest::prelude::*;

    fn stored(key_id: &str, annotations: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let object = EncryptedObject {
            encrypted_data: vec![1; 50],
            key_id: key_id.to_owned(),
            encrypted_dek_source: vec![2; 61],
            annotations: annotations
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            encrypted_dek_source_type: 1,
        };
        [b"k8s:enc:kms:v2:keyward:".as_slice(), &object.encode_to_vec()].concat()
    }

    #[test]
    fn tells_what_protects_a_value() {
        let record = WrappedKek { epoch: 3, version: KeyVersion::new("2@17").unwrap(), wrapped: vec![0; 93] };
        let value =
            stored("kw1-a", &[(ANNOTATION, record.encode().unwrap()), ("other.example.org", vec![1, 2])]);
        let report = inspect_value(&value);
        assert_eq!(
            report.protection,
            Protection::KmsV2 { provider: "keyward".to_owned(), key_id: "kw1-a".to_owned() }
        );
        assert_eq!((report.encrypted_bytes, report.seed, report.annotations.len()), (50, true, 2));
        assert_eq!(report.kek, Some(KekReport { version: "2@17".to_owned(), epoch: 3, wrapped_bytes: 93 }));
        assert_eq!(inspect_value(&[value, b"\n".to_vec()].concat()).protection, report.protection);
    }

    #[test]
    fn knows_the_other_schemes() {
        for (value, kind, name) in [
            (&b"k8s:enc:aescbc:v1:key1:xxxx"[..], "aescbc:v1", "key1"),
            (b"k8s:enc:secretbox:v1:k:xxxx", "secretbox:v1", "k"),
            (b"k8s:enc:kms:v1:old:xxxx", "kms:v1", "old"),
        ] {
            let other = Protection::Other { kind: kind.to_owned(), name: name.to_owned() };
            assert_eq!(inspect_value(value).protection, other);
        }
        for plain in [&b"k8s\0\n\x0c\n\x02v1"[..], b"{\"kind\":\"Secret\"}", b"", b"k8s:en"] {
            assert_eq!(inspect_value(plain).protection, Protection::Plaintext);
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let value = stored("kw1-a", &[]);
        for broken in [&value[..value.len() - 1], b"k8s:enc:", b"k8s:enc:kms:v2:keyward", &stored("", &[])] {
            assert!(matches!(inspect_value(broken).protection, Protection::Broken { .. }), "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_into_without_panic(rest: Vec<u8>, marked: bool) {
            let value = if marked { [b"k8s:enc:kms:v2:n:".as_slice(), &rest].concat() } else { rest };
            inspect_value(&value);
        }
    }
}
