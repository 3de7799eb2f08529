//! SOPS files of Secrets, with age recipients: each value under AES-256-GCM with its path as associated data, and a hash of
//! all values under the same key.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use keyward_crypto::age::{self, Unwrap};
use keyward_crypto::keys::Hash;
use keyward_crypto::secret::{SecretBytes, SecretKey};
use keyward_crypto::{Secret, aead, same};
use keyward_intent::{Metadata, names, yaml};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::secret::PlainSecret;
use crate::violation::{Failure, invalid};

/// Any YAML, with its keys in the order of the file, on which the hash depends.
enum Node {
    Map(Vec<(String, Node)>),
    List(Vec<Node>),
    Text(String),
    /// A number or truth value as SOPS hashes it.
    Plain(String),
    Null,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Plain(if value { "True" } else { "False" }.to_owned()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

/// What stands beside the values.
#[derive(Deserialize)]
struct Sops {
    #[serde(default)]
    age: Vec<AgeKey>,
    lastmodified: String,
    mac: String,
    #[serde(default)]
    key_groups: Vec<serde_json::Value>,
    #[serde(default)]
    mac_only_encrypted: bool,
}

#[derive(Deserialize)]
struct AgeKey {
    enc: String,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    sops: Option<Sops>,
}

/// Whether a document carries what SOPS writes.
pub fn is_sops(text: &str) -> bool {
    yaml::read::<Document>(yaml::body(text)).is_ok_and(|document| document.sops.is_some())
}

/// The Secret in a SOPS file.
pub fn open_sops(text: &str, identities: &[&dyn Unwrap]) -> Result<PlainSecret, Failure> {
    let text = yaml::body(text);
    let Some(sops) = yaml::read::<Document>(text)?.sops else { return invalid("SOPS did not make it") };
    if !sops.key_groups.is_empty() {
        return invalid("key groups of SOPS are not taken: decrypt it with sops, and seal the Secret");
    }
    if sops.mac_only_encrypted {
        return invalid("mac_only_encrypted is not taken: decrypt it with sops, and seal the Secret");
    }
    let key = data_key(&sops, identities)?;
    let tree: Node = yaml::read(text)?;
    let mut walk = Walk { key: &key, hashed: Zeroizing::new(Vec::new()), leaves: Vec::new() };
    if let Node::Map(entries) = &tree {
        for (name, node) in entries.iter().filter(|(name, _)| name != "sops") {
            walk.node(node, &mut vec![name.clone()])?;
        }
    }
    walk.check(&sops)?;
    walk.secret()
}

fn data_key(sops: &Sops, identities: &[&dyn Unwrap]) -> Result<SecretKey, Failure> {
    for entry in &sops.age {
        match age::open(entry.enc.as_bytes(), identities, 64) {
            Ok(key) => {
                let key = SecretKey::from_slice(key.expose());
                return key
                    .ok_or_else(|| Failure::Invalid("the data key of SOPS has not 32 bytes".to_owned()));
            }
            Err(age::Error::NoMatch) => {}
            Err(why) => return Err(Failure::Age { what: "the data key of SOPS".to_owned(), why }),
        }
    }
    invalid("none of the identities is among the file's age recipients")
}

/// `ENC[AES256_GCM,data:...,iv:...,tag:...,type:...]`.
struct Encrypted {
    data: Vec<u8>,
    nonce: [u8; 32],
}

fn encrypted(text: &str) -> Option<Encrypted> {
    let inside = text.strip_prefix("ENC[AES256_GCM,")?.strip_suffix(']')?;
    let part = |name: &str| inside.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix(':'));
    let bytes = |name: &str| BASE64.decode(part(name)?).ok();
    let mut data = bytes("data")?;
    data.extend(bytes("tag")?);
    Some(Encrypted { data, nonce: bytes("iv")?.try_into().ok()? })
}

struct Walk<'a> {
    key: &'a SecretKey,
    hashed: Zeroizing<Vec<u8>>,
    leaves: Vec<(Vec<String>, SecretBytes)>,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node, path: &mut Vec<String>) -> Result<(), Failure> {
        match node {
            Node::Map(entries) => {
                for (name, node) in entries {
                    path.push(name.clone());
                    self.node(node, path)?;
                    path.pop();
                }
            }
            Node::List(items) => items.iter().try_for_each(|item| self.node(item, path))?,
            Node::Text(text) => self.text(text, path)?,
            Node::Plain(text) => self.leaf(Secret::new(text.clone().into_bytes()), path),
            Node::Null => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str, path: &[String]) -> Result<(), Failure> {
        let Some(sealed) = encrypted(text) else {
            self.leaf(Secret::new(text.as_bytes().to_vec()), path);
            return Ok(());
        };
        let place = format!("{}:", path.join(":"));
        let value = aead::open_with_long_nonce(self.key, &sealed.nonce, place.as_bytes(), &sealed.data);
        let value =
            value.map_err(|_| Failure::Invalid(format!("{} was altered or moved", path.join("."))))?;
        self.leaf(value, path);
        Ok(())
    }

    fn leaf(&mut self, value: SecretBytes, path: &[String]) {
        self.hashed.extend_from_slice(value.expose());
        self.leaves.push((path.to_vec(), value));
    }

    /// The hash of all values in the order of the file, under the same key.
    fn check(&self, sops: &Sops) -> Result<(), Failure> {
        let sealed = encrypted(&sops.mac);
        let opened = sealed.and_then(|sealed| {
            aead::open_with_long_nonce(self.key, &sealed.nonce, sops.lastmodified.as_bytes(), &sealed.data)
                .ok()
        });
        let hash = Hash::Sha2_512.digest(&self.hashed).unwrap_or_default();
        let hash: String = hash.iter().map(|byte| format!("{byte:02X}")).collect();
        match opened.is_some_and(|mac| same(mac.expose(), hash.as_bytes())) {
            true => Ok(()),
            false => {
                invalid("the values are not those that SOPS hashed: some were added, removed or reordered")
            }
        }
    }

    fn secret(self) -> Result<PlainSecret, Failure> {
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        let mut data = BTreeMap::new();
        let mut metadata = Metadata::default();
        for (path, value) in self.leaves {
            let text = || String::from_utf8_lossy(value.expose()).into_owned();
            match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["data", key] => {
                    let bytes = BASE64.decode(value.expose());
                    let bytes = bytes.map_err(|_| Failure::Invalid(format!("data.{key} is not base64")))?;
                    data.insert((*key).to_owned(), Secret::new(bytes));
                }
                ["stringData", key] => drop(data.insert((*key).to_owned(), value)),
                ["metadata", "name"] => metadata.name = text(),
                ["metadata", "namespace"] => metadata.namespace = Some(text()),
                ["metadata", "labels", name] => drop(metadata.labels.insert((*name).to_owned(), text())),
                ["metadata", "annotations", name] => {
                    drop(metadata.annotations.insert((*name).to_owned(), text()));
                }
                [top] => drop(texts.insert((*top).to_owned(), text())),
                _ => {}
            }
        }
        let is = |name: &str, wanted: &str| texts.get(name).is_some_and(|text| text == wanted);
        if !is("kind", "Secret") || !is("apiVersion", "v1") {
            return invalid("the file is no Secret of v1: of SOPS files only Secrets are taken");
        }
        names::object("metadata.name", &metadata.name)?;
        data.keys().try_for_each(|key| names::item(key))?;
        let kind = texts.remove("type").unwrap_or_else(|| "Opaque".to_owned());
        Ok(PlainSecret { metadata, kind, data })
    }
}
