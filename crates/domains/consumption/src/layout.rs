//! Where values lie below the mount path.

use std::collections::BTreeSet;
use std::str::FromStr;

use keyward_intent::names;

use crate::{Refused, refused};

/// How files are named below the mount path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Layout {
    /// `OBJECT/KEY`: what `keyward.io/inject` gives, the same for one object as for several.
    #[default]
    Folders,
    /// `KEY`: of one object alone, as the ZenLock's annotations promise.
    Flat,
}

impl Layout {
    /// As it is written on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Layout::Folders => "folders",
            Layout::Flat => "flat",
        }
    }

    /// The file of a value, below the mount path. A key that could lie elsewhere is refused.
    pub fn file(self, object: &str, key: &str) -> Result<String, Refused> {
        names::item(key).map_err(|why| Refused(format!("{object}: {}", why.0)))?;
        names::object("the object", object).map_err(|why| Refused(why.0))?;
        Ok(match self {
            Layout::Folders => format!("{object}/{key}"),
            Layout::Flat => key.to_owned(),
        })
    }

    /// What stands directly below the mount path when `files` do: each is a link, so that all change at once.
    pub fn tops<'a>(files: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
        files.filter_map(|file| file.split('/').next()).collect()
    }
}

impl FromStr for Layout {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Layout, Refused> {
        match [Layout::Folders, Layout::Flat].into_iter().find(|layout| layout.name() == text) {
            Some(layout) => Ok(layout),
            None => refused("a layout is folders or flat"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn links_are_what_stands_on_top() {
        assert_eq!(Layout::Folders.file("db", "user").as_deref(), Ok("db/user"));
        assert_eq!(Layout::Flat.file("db", "user").as_deref(), Ok("user"));
        let files = ["db/user", "db/password", "tls/key"];
        assert_eq!(Layout::tops(files.into_iter()), BTreeSet::from(["db", "tls"]));
        assert_eq!("flat".parse(), Ok(Layout::Flat));
        assert!("deep".parse::<Layout>().is_err());
    }

    proptest! {
        #[test]
        fn no_file_leaves_its_folder(object in ".{0,8}", key in "[./a-zA-Z0-9-]{0,6}|.{0,8}") {
            for layout in [Layout::Folders, Layout::Flat] {
                if let Ok(file) = layout.file(&object, &key) {
                    prop_assert!(!file.starts_with('/') && !file.split('/').any(|part| part.is_empty() || part.starts_with("..") || part == "."));
                    prop_assert!(file.split('/').count() <= 2);
                }
            }
        }
    }
}
