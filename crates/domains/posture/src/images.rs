//! What a pod runs, as its spec pins it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// Digests that are named of one pod; containers with further ones count as pinned to none.
pub const MOST_DIGESTS: usize = 64;

/// The images of a pod's containers, by their digests: the only part of a reference that no registry can give another meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// The digests that containers are pinned to: `sha256:` and 64 hexadecimal digits.
    pub digests: BTreeSet<String>,
    /// How many containers are pinned to none of these.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unpinned: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Images {
    /// Of the spec of a pod: of its containers, those that initialize it, and those that were put into it later.
    pub fn of_spec(spec: &Value) -> Images {
        let kinds = ["containers", "initContainers", "ephemeralContainers"];
        let containers = kinds.iter().flat_map(|kind| spec[*kind].as_array().into_iter().flatten());
        let mut images = Images::default();
        for container in containers {
            let digest = container["image"].as_str().and_then(digest);
            match digest
                .filter(|digest| images.digests.len() < MOST_DIGESTS || images.digests.contains(*digest))
            {
                Some(digest) => drop(images.digests.insert(digest.to_owned())),
                None => images.unpinned = images.unpinned.saturating_add(1),
            }
        }
        images
    }
}

/// The digest behind the name and tag of a reference.
fn digest(reference: &str) -> Option<&str> {
    let (name, digest) = reference.split_once('@')?;
    let hex = digest.strip_prefix("sha256:")?;
    let is_hex = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex && !name.is_empty()).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hex(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    #[test]
    fn every_container_counts() {
        let (a, b) = (hex('a'), hex('b'));
        let pinned = |digest: &str| json!({"name": "c", "image": format!("example.org/app:1@{digest}")});
        let spec = json!({
            "containers": [pinned(&a), pinned(&a)],
            "initContainers": [pinned(&b)],
            "ephemeralContainers": [{"name": "debug", "image": "busybox"}],
            "volumes": [{"name": "image", "image": {"reference": "busybox"}}],
        });
        let images = Images::of_spec(&spec);
        assert_eq!(images, Images { digests: [a, b].into(), unpinned: 1 });
        assert_eq!(Images::of_spec(&json!({})), Images::default());
    }

    #[test]
    fn what_is_no_digest_pins_nothing() {
        let (good, upper) = (hex('a'), hex('A'));
        for image in [
            "app".to_owned(),
            "app:latest".to_owned(),
            good.clone(),
            format!("@{good}"),
            format!("app@{upper}"),
            format!("app@{good}0"),
            format!("app@{}", &good[..70]),
            format!("app@{good}@{good}"),
            format!("app@sha512:{}", "a".repeat(128)),
            format!("app@{good} "),
            String::new(),
        ] {
            let images = Images::of_spec(&json!({"containers": [{"name": "c", "image": image}]}));
            assert_eq!(images, Images { digests: BTreeSet::new(), unpinned: 1 }, "{image}");
        }
        let images = Images::of_spec(&json!({"containers": [{"name": "c"}, 1, {"image": {}}]}));
        assert_eq!(images.unpinned, 3);
    }

    #[test]
    fn more_than_are_named_are_pinned_to_none() {
        let container = |n: usize| json!({"image": format!("app@sha256:{n:064}")});
        let containers: Vec<Value> = (0..MOST_DIGESTS + 2).chain([0]).map(container).collect();
        let images = Images::of_spec(&json!({ "containers": containers }));
        assert_eq!((images.digests.len(), images.unpinned), (MOST_DIGESTS, 2));
    }
}
