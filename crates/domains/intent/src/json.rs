//! JSON as manifests are written in it by programs: the quick way, taken only where the strict reader of YAML would read the
//! very same.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Levels of lists and maps, as in YAML.
const DEEPEST: usize = 64;

/// What a text says, if it is JSON, no key stands twice in it and it fits. What does not is for the other reader to refuse: there
/// is one set of rules, and one wording of errors, which never quotes a value.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Option<T> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    Unambiguous(DEEPEST).deserialize(&mut reader).and_then(|()| reader.end()).ok()?;
    serde_json::from_str(text).ok()
}

/// Reads a value and forgets it, unless a key stands twice in a map or it is deeper than so many levels.
#[derive(Clone, Copy)]
struct Unambiguous(usize);

impl<'de> DeserializeSeed<'de> for Unambiguous {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Unambiguous {
    fn below<E: Error>(self) -> Result<Unambiguous, E> {
        self.0.checked_sub(1).map(Unambiguous).ok_or_else(|| E::custom("too deep"))
    }
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while list.next_element_seed(below)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (below, mut seen) = (self.below()?, BTreeSet::new());
        while let Some(key) = map.next_key::<String>()? {
            // What YAML merges by this key would be hidden from a reviewer; its reader says so.
            if key == "<<" || !seen.insert(key) {
                return Err(A::Error::custom("a key stands twice"));
            }
            map.next_value_seed(below)?;
        }
        Ok(())
    }
}
