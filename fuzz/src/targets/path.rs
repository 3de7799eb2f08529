//! Paths of requests, before anything is routed by them.

use keyward_authority::request::normalize_path;

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    if let Some(path) = normalize_path(text) {
        assert_eq!(normalize_path(&path).as_ref(), Some(&path), "{text:?}");
        assert!(!path.starts_with('/') && !path.contains("//"), "{path:?}");
        assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{path:?}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&["secret/data/a", "//secret//../sys/", "a/./b\u{0}", "ü/\u{202e}/..."])
}
