//! What is stored of a secret besides its values.

use crate::context::Context;
use crate::fields::Fields;
use crate::refusal::Refusal;
use keyward_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Versions kept when neither the secret nor the mount says.
const DEFAULT_MAX_VERSIONS: u64 = 10;

/// Settings a secret and its mount have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Limits {
    /// The outer one's when zero.
    pub(super) max_versions: u64,
    pub(super) cas_required: bool,
    /// Seconds; none when zero.
    pub(super) delete_version_after: u64,
    /// Versions are never deleted by time, whatever the mount says.
    pub(super) delete_never: bool,
}

impl Limits {
    /// Takes over what was sent.
    pub(super) fn update(&mut self, sent: &Fields) -> Result<(), Refusal> {
        if let Some(most) = sent.int("max_versions")? {
            self.max_versions =
                u64::try_from(most).map_err(|_| Refusal::invalid("max_versions must not be negative"))?;
        }
        if let Some(required) = sent.bool("cas_required")? {
            self.cas_required = required;
        }
        let negative =
            sent.raw("delete_version_after").is_some_and(|raw| raw.get().trim_matches('"').starts_with('-'));
        if negative {
            (self.delete_version_after, self.delete_never) = (0, true);
        } else if let Some(after) = sent.duration("delete_version_after")? {
            (self.delete_version_after, self.delete_never) = (after.as_secs(), false);
        }
        Ok(())
    }

    /// As clients read them.
    pub(super) fn show(&self) -> Value {
        json!({
            "max_versions": self.max_versions,
            "cas_required": self.cas_required,
            "delete_version_after": crate::token::go_duration(Duration::from_secs(self.delete_version_after)),
        })
    }
}

/// One version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    /// Nanoseconds since the epoch.
    pub(super) created: u64,
    /// Nanoseconds since the epoch; never when absent. May lie ahead.
    pub(super) deletion: Option<u64>,
    pub(super) destroyed: bool,
}

impl Version {
    /// Its value may be read.
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        !self.destroyed && self.deletion.is_none_or(|at| Timestamp::from_nanos(at) > now)
    }

    fn deletion_text(&self) -> String {
        self.deletion.map(|at| Timestamp::from_nanos(at).to_string()).unwrap_or_default()
    }

    /// As clients read it in a list of versions.
    pub(super) fn show(&self) -> Value {
        json!({
            "created_time": Timestamp::from_nanos(self.created).to_string(),
            "deletion_time": self.deletion_text(),
            "destroyed": self.destroyed,
        })
    }
}

/// One secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) versions: BTreeMap<u64, Version>,
    /// The newest version; 0 before the first.
    pub(super) current: u64,
    /// The oldest version kept.
    pub(super) oldest: u64,
    pub(super) created: u64,
    pub(super) updated: u64,
    #[serde(flatten)]
    pub(super) limits: Limits,
    pub(super) custom: Option<BTreeMap<String, String>>,
}

/// The metadata of one version beside its value.
#[derive(Serialize)]
pub(super) struct VersionShown<'a> {
    created_time: String,
    custom_metadata: Option<&'a BTreeMap<String, String>>,
    deletion_time: String,
    destroyed: bool,
    version: u64,
}

impl Meta {
    /// A secret without versions.
    pub(super) fn new(now: Timestamp) -> Meta {
        Meta { created: now.nanos(), updated: now.nanos(), ..Meta::default() }
    }

    /// The version asked for, where 0 is the newest.
    pub(super) fn version(&self, asked: u64) -> Option<(u64, &Version)> {
        let number = if asked == 0 { self.current } else { asked };
        self.versions.get(&number).map(|version| (number, version))
    }

    /// As clients read a version's metadata.
    pub(super) fn shown<'a>(&'a self, number: u64, version: &Version) -> VersionShown<'a> {
        VersionShown {
            created_time: Timestamp::from_nanos(version.created).to_string(),
            custom_metadata: self.custom.as_ref(),
            deletion_time: version.deletion_text(),
            destroyed: version.destroyed,
            version: number,
        }
    }

    /// How many versions are kept.
    pub(super) fn max_versions(&self, mount: &Limits) -> u64 {
        [self.limits.max_versions, mount.max_versions, DEFAULT_MAX_VERSIONS]
            .into_iter()
            .find(|most| *most > 0)
            .unwrap_or(1)
    }

    /// When a version made at `now` is deleted: the sooner of what the secret and the mount say.
    pub(super) fn deletion(&self, mount: &Limits, now: Timestamp) -> Option<u64> {
        if self.limits.delete_never {
            return None;
        }
        let spans = [self.limits.delete_version_after, mount.delete_version_after];
        let span = spans.into_iter().filter(|span| *span > 0).min()?;
        Some(now.plus(Duration::from_secs(span)).nanos())
    }
}

/// Where the metadata of the secret at `path` is stored.
pub(super) fn meta_key(path: &str) -> String {
    ["meta/", path].concat()
}

/// Where a version's value is stored. A path has no control characters, so no other secret's key begins so.
pub(super) fn value_key(path: &str, version: u64) -> String {
    let mut key = values_prefix(path);
    let digits =
        (0..16).rev().map(|at| char::from_digit((version >> (4 * at) & 15) as u32, 16).unwrap_or('0'));
    key.extend(digits);
    key
}

/// What the keys of all versions of the secret at `path` begin with.
pub(super) fn values_prefix(path: &str) -> String {
    ["value/", path, "\0"].concat()
}

/// The path of the secret, which must name one.
pub(super) fn path(cx: &Context<'_, '_>) -> Result<String, Refusal> {
    match cx.param("path") {
        "" => Err(Refusal::invalid("missing path: name a secret below the mount")),
        directory if directory.ends_with('/') => {
            Err(Refusal::invalid("the path of a secret must not end in '/'"))
        }
        path => Ok(path.to_owned()),
    }
}

/// The metadata of the secret at `path`.
pub(super) fn load(cx: &mut Context<'_, '_>, path: &str) -> Result<Option<Arc<Meta>>, Refusal> {
    cx.built_json::<Meta>(&meta_key(path))
}

/// Writes the metadata of the secret at `path`.
pub(super) fn save(cx: &mut Context<'_, '_>, path: &str, meta: &Meta) -> Result<(), Refusal> {
    cx.put_json(&meta_key(path), meta)
}

/// The mount's settings.
pub(super) fn mount_limits(cx: &mut Context<'_, '_>) -> Result<Arc<Limits>, Refusal> {
    Ok(cx.built_json::<Limits>("config")?.unwrap_or_default())
}

/// A write to a secret that is there is an update.
pub(super) fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    let key = meta_key(cx.param("path"));
    cx.exists(&key)
}
