//! References to container images, read as container runtimes read them.

use serde_json::{Map, Value};
use std::fmt;

/// An image reference with its defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Such as `docker.io`.
    pub registry: String,
    /// Such as `library/nginx`.
    pub path: String,
    /// Empty where there is none.
    pub tag: String,
    /// With its algorithm; empty where there is none.
    pub digest: String,
}

impl Image {
    /// `nginx` is `docker.io/nginx:latest`; with a digest there is no default tag.
    pub fn parse(text: &str) -> Result<Image, String> {
        let (rest, digest) = text.split_once('@').unwrap_or((text, ""));
        let colon = rest.rfind(':').filter(|at| !rest[*at..].contains('/'));
        let (rest, tag) = colon.map_or((rest, ""), |at| (&rest[..at], &rest[at + 1..]));
        let (registry, path) = match rest.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => ("docker.io", rest),
        };
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        let tag_fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let digest_fine = digest.is_empty()
            || digest.split_once(':').is_some_and(|(kind, hex)| {
                !kind.is_empty() && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
            });
        let path_fine = !path.is_empty() && path.chars().all(fine) && !path.split('/').any(str::is_empty);
        if !path_fine
            || !tag.chars().all(tag_fine)
            || tag.len() > 128
            || !digest_fine
            || text.ends_with([':', '@'])
        {
            return Err(format!("bad image: {text}"));
        }
        let tag = if tag.is_empty() && digest.is_empty() { "latest" } else { tag };
        Ok(Image { registry: registry.into(), path: path.into(), tag: tag.into(), digest: digest.into() })
    }

    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// What the variables `images.containers.NAME` of policies hold.
    pub fn info(&self, pointer: &str) -> Value {
        let mut map = Map::new();
        map.insert("registry".into(), self.registry.clone().into());
        map.insert("path".into(), self.path.clone().into());
        map.insert("name".into(), self.name().into());
        if !self.tag.is_empty() {
            map.insert("tag".into(), self.tag.clone().into());
        }
        if !self.digest.is_empty() {
            map.insert("digest".into(), self.digest.clone().into());
        }
        map.insert("reference".into(), self.to_string().into());
        map.insert("referenceWithTag".into(), format!("{}/{}:{}", self.registry, self.path, self.tag).into());
        map.insert("jsonPointer".into(), pointer.into());
        Value::Object(map)
    }
}

/// Whether two references mean the same image.
pub fn same(one: &str, other: &str) -> bool {
    one == other || matches!((Image::parse(one), Image::parse(other)), (Ok(one), Ok(other)) if one == other)
}

impl fmt::Display for Image {
    /// With the digest where there is one, else with the tag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)?;
        if self.digest.is_empty() { write!(f, ":{}", self.tag) } else { write!(f, "@{}", self.digest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        for (text, full) in [
            ("nginx", "docker.io/nginx:latest"),
            ("nginx:1.2", "docker.io/nginx:1.2"),
            ("ghcr.io/a/b:c", "ghcr.io/a/b:c"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("team/app", "docker.io/team/app:latest"),
        ] {
            assert_eq!(Image::parse(text).unwrap().to_string(), full);
        }
        for text in ["", "UPPER", "a:", "a@sha256:zz", "a b", "a//b"] {
            assert!(Image::parse(text).is_err(), "{text}");
        }
    }
}
