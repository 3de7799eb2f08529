//! Where objects of a kind are served.

use std::borrow::Cow;
use std::fmt;

use kube::core::ApiResource;

/// A kind of object, as discovery has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// The API group; empty for the core.
    pub group: Cow<'static, str>,
    /// The version, such as `v1`.
    pub version: Cow<'static, str>,
    /// As objects say it, such as `Pod`.
    pub kind: Cow<'static, str>,
    /// As paths say it, such as `pods`.
    pub plural: Cow<'static, str>,
    /// Whether its objects stand in namespaces.
    pub namespaced: bool,
}

impl Kind {
    /// A kind whose objects stand in namespaces.
    pub const fn namespaced(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Kind {
        Kind {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            kind: Cow::Borrowed(kind),
            plural: Cow::Borrowed(plural),
            namespaced: true,
        }
    }

    /// A kind whose objects stand in no namespace.
    pub const fn cluster_wide(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Kind {
        let mut wide = Kind::namespaced(group, version, kind, plural);
        wide.namespaced = false;
        wide
    }

    /// `group/version`, or only the version in the core.
    pub fn api_version(&self) -> String {
        match self.group.is_empty() {
            true => self.version.to_string(),
            false => format!("{}/{}", self.group, self.version),
        }
    }

    pub(crate) fn resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.to_string(),
            version: self.version.to_string(),
            api_version: self.api_version(),
            kind: self.kind.to_string(),
            plural: self.plural.to_string(),
        }
    }
}

/// As `kubectl` names it: `sealedsecrets.keyward.io`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group.is_empty() {
            true => f.write_str(&self.plural),
            false => write!(f, "{}.{}", self.plural, self.group),
        }
    }
}
