//! What a pod's annotations ask for.

use std::collections::{BTreeMap, BTreeSet};

use keyward_intent::names;

use crate::{Layout, Refused, refused};

/// The objects that are wanted, by name, with commas between.
const INJECT: &str = "keyward.io/inject";
const MOUNT_PATH: &str = "keyward.io/mount-path";
const CONTAINERS: &str = "keyward.io/containers";
const REFRESH: &str = "keyward.io/refresh";
const ROLE: &str = "keyward.io/role";
/// The object that is wanted, in the words of the Zen Mesh project.
const ZEN_INJECT: &str = "zen-lock/inject";
const ZEN_MOUNT_PATH: &str = "zen-lock/mount-path";

const DEFAULT_PATH: &str = "/keyward/secrets";
const ZEN_DEFAULT_PATH: &str = "/zen-lock/secrets";
/// The authority opens so many at once.
const MOST_OBJECTS: usize = 32;
const LONGEST_PATH: usize = 512;
/// What the kernel, the runtime or the kubelet keeps there is not to be hidden.
const TAKEN: [&str; 5] = ["/proc", "/sys", "/dev", "/run/secrets", "/var/run/secrets"];

/// Whether values change while the pod runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Refresh {
    /// They follow the sealed object.
    #[default]
    Follow,
    /// They stay as they were when the pod started, and no agent runs beside the workload.
    Never,
}

/// What a pod asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Names of sealed objects in the pod's namespace, in order; at least one.
    pub objects: Vec<String>,
    /// Where the workload finds them.
    pub mount_path: String,
    /// The containers that get the mount; all of them where none is named.
    pub containers: Option<BTreeSet<String>>,
    /// Whether values change while the pod runs.
    pub refresh: Refresh,
    /// The role to log in with, where the pod names one.
    pub role: Option<String>,
    /// How files are named.
    pub layout: Layout,
    /// The name of the volume.
    pub volume: &'static str,
}

impl Wish {
    /// Reads the annotations of a pod; none when it asks for nothing.
    pub fn read(annotations: &BTreeMap<String, String>) -> Result<Option<Wish>, Refused> {
        let text = |name: &str| annotations.get(name).map(|text| text.trim());
        match (text(INJECT), text(ZEN_INJECT)) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => refused(format!(
                "a pod has either {INJECT} or {ZEN_INJECT}: name all objects in {INJECT}, which takes ZenLocks too"
            )),
            (Some(names), None) => Ok(Some(Wish {
                objects: objects(INJECT, names)?,
                mount_path: mount_path(MOUNT_PATH, text(MOUNT_PATH).unwrap_or(DEFAULT_PATH))?,
                containers: text(CONTAINERS).map(containers).transpose()?,
                refresh: refresh(text(REFRESH))?,
                role: text(ROLE).map(role).transpose()?,
                layout: Layout::Folders,
                volume: "keyward-secrets",
            })),
            (None, Some(name)) => {
                let objects = objects(ZEN_INJECT, name)?;
                if objects.len() > 1 {
                    return refused(format!("{ZEN_INJECT} names one ZenLock: {INJECT} takes several"));
                }
                Ok(Some(Wish {
                    objects,
                    mount_path: mount_path(ZEN_MOUNT_PATH, text(ZEN_MOUNT_PATH).unwrap_or(ZEN_DEFAULT_PATH))?,
                    containers: text(CONTAINERS).map(containers).transpose()?,
                    refresh: refresh(text(REFRESH))?,
                    role: text(ROLE).map(role).transpose()?,
                    layout: Layout::Flat,
                    // Manifests written for it mount this volume themselves.
                    volume: "zen-secrets",
                }))
            }
        }
    }
}

fn objects(annotation: &str, text: &str) -> Result<Vec<String>, Refused> {
    let mut found: Vec<String> = Vec::new();
    for name in text.split(',').map(str::trim) {
        if name.is_empty() {
            return refused(format!("{annotation} names no object: write the name of a SealedSecret"));
        }
        names::object(annotation, name).map_err(|why| Refused(why.0))?;
        if !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    }
    match found.len() {
        0..=MOST_OBJECTS => Ok(found),
        many => refused(format!("{annotation} names {many} objects: {MOST_OBJECTS} are opened at most")),
    }
}

fn mount_path(annotation: &str, text: &str) -> Result<String, Refused> {
    let path = text.trim_end_matches('/');
    let odd = |character: char| character.is_control() || matches!(character, ':' | ',' | '\\');
    if !path.starts_with('/') || path.len() > LONGEST_PATH || path.contains(odd) {
        return refused(format!(
            "{annotation} is a folder such as {DEFAULT_PATH}: absolute, below /, without colons and commas"
        ));
    }
    let hostile = |part: &str| part.is_empty() || part == "." || part == "..";
    if path[1..].split('/').any(hostile) {
        return refused(format!("{annotation} has an empty part, . or .. in it"));
    }
    let below =
        |taken: &str| path.strip_prefix(taken).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match TAKEN.into_iter().find(|taken| below(taken)) {
        Some(taken) => {
            refused(format!("{annotation} lies in {taken}, which is not ours: choose another folder"))
        }
        None => Ok(path.to_owned()),
    }
}

fn containers(text: &str) -> Result<BTreeSet<String>, Refused> {
    let named: BTreeSet<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    match named.iter().all(|name| names::label(CONTAINERS, name).is_ok()) {
        true => Ok(named),
        false => refused(format!("{CONTAINERS} has names of containers, with commas between")),
    }
}

fn refresh(text: Option<&str>) -> Result<Refresh, Refused> {
    match text {
        None | Some("follow") => Ok(Refresh::Follow),
        Some("never") => Ok(Refresh::Never),
        Some(_) => refused(format!("{REFRESH} is follow or never")),
    }
}

fn role(text: &str) -> Result<String, Refused> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match (1..=128).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => refused(format!("{ROLE} is the name of a role: letters, digits, -, _ and .")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
    use super::*;
    use proptest::prelude::*;

    fn read(annotations: &[(&str, &str)]) -> Result<Option<Wish>, Refused> {
        Wish::read(
            &annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        )
    }

    #[test]
    fn both_dialects_are_read() {
        assert_eq!(read(&[("other", "x")]), Ok(None));
        let ours = read(&[(INJECT, "db, tls,db"), (CONTAINERS, "app"), (REFRESH, "never")]).unwrap().unwrap();
        assert_eq!(ours.objects, ["db", "tls"]);
        assert_eq!((ours.mount_path.as_str(), ours.layout), ("/keyward/secrets", Layout::Folders));
        assert_eq!(
            (ours.containers, ours.refresh),
            (Some(BTreeSet::from(["app".to_owned()])), Refresh::Never)
        );
        let zen = read(&[(ZEN_INJECT, "db-credentials"), (ZEN_MOUNT_PATH, "/etc/config/")]).unwrap().unwrap();
        assert_eq!(
            (zen.mount_path.as_str(), zen.layout, zen.volume),
            ("/etc/config", Layout::Flat, "zen-secrets")
        );
        let zen = read(&[(ZEN_INJECT, "db-credentials")]).unwrap().unwrap();
        assert_eq!(zen.mount_path, "/zen-lock/secrets");
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        for (annotations, named) in [
            (&[(INJECT, "")][..], INJECT),
            (&[(INJECT, "db,,tls")], INJECT),
            (&[(INJECT, "DB")], INJECT),
            (&[(INJECT, "../db")], INJECT),
            (&[(ZEN_INJECT, "a,b")], ZEN_INJECT),
            (&[(INJECT, "a"), (ZEN_INJECT, "b")], ZEN_INJECT),
            (&[(INJECT, "a"), (CONTAINERS, "app,")], CONTAINERS),
            (&[(INJECT, "a"), (REFRESH, "often")], REFRESH),
            (&[(INJECT, "a"), (ROLE, "a/b")], ROLE),
        ] {
            let why = read(annotations).unwrap_err().0;
            assert!(why.contains(named), "{why}");
        }
        for path in [
            "",
            "/",
            "relative",
            "/a/../b",
            "/a//b",
            "/a/.",
            "/a:b",
            "/a,b",
            "/a\nb",
            "/proc/1",
            "/dev",
            "/var/run/secrets/x",
            "/a\\b",
        ] {
            assert!(read(&[(INJECT, "a"), (MOUNT_PATH, path)]).is_err(), "{path:?}");
        }
        assert!(read(&[(INJECT, "a"), (MOUNT_PATH, "/devices/x")]).is_ok());
    }

    proptest! {
        #[test]
        fn a_path_that_is_taken_is_below_the_root(path in "[/.a-z:]{0,12}|.{0,12}") {
            if let Ok(Some(wish)) = read(&[(INJECT, "a"), (MOUNT_PATH, &path)]) {
                prop_assert!(wish.mount_path.len() > 1 && wish.mount_path.starts_with('/'));
                prop_assert!(!wish.mount_path.split('/').any(|part| part == ".."));
            }
        }
    }
}
