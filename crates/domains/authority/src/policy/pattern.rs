//! Which request paths a rule's path stands for, and which of two rules is more specific.

use super::templates::Rendered;
use std::cmp::{Ordering, Reverse};

/// A rule's path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    /// Without the glob's `*`.
    pub(super) text: Box<str>,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// This path alone.
    Exact,
    /// `text*`: everything that begins with the text.
    Prefix,
    /// At least one segment is `+`.
    Segments(Segments),
}

/// A path compared segment by segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Segments {
    /// `None` is `+`, any segment.
    parts: Box<[Option<Box<str>>]>,
    /// The path ended in `*`: its last segment need only begin alike, and more may follow.
    open: bool,
    /// Where the first `+` stands. As in Vault this is any `+`, also one that is part of a longer segment.
    first: usize,
}

impl Pattern {
    /// What a rule's path means. Wildcards are read off the shape.
    pub(super) fn of(path: &Rendered<'_>) -> Pattern {
        let (mut text, mut shape) = (path.text.as_ref(), path.shape.as_ref());
        // The API path begins after the slash.
        if let (Some(rest), Some(shape_rest)) = (text.strip_prefix('/'), shape.strip_prefix('/')) {
            (text, shape) = (rest, shape_rest);
        }
        let open = shape.ends_with('*');
        if open {
            text = text.get(..text.len() - 1).unwrap_or(text);
            shape = shape.get(..shape.len() - 1).unwrap_or(shape);
        }
        let kind = match (has_segments(shape), open) {
            (true, _) => Kind::Segments(Segments::of(text, shape, open)),
            (false, true) => Kind::Prefix,
            (false, false) => Kind::Exact,
        };
        Pattern { text: text.into(), kind }
    }

    /// The path as a policy's author writes it.
    pub(super) fn display(&self) -> String {
        let star = if self.is_open() { "*" } else { "" };
        format!("{}{star}", self.text)
    }

    /// The segments; `None` is `+`.
    pub(super) fn parts(&self) -> impl Iterator<Item = Option<&str>> {
        let (whole, segments) = match &self.kind {
            Kind::Segments(segments) => (None, Some(segments)),
            Kind::Exact | Kind::Prefix => (Some(self.text.split('/').map(Some)), None),
        };
        let segments = segments.into_iter().flat_map(|segments| segments.parts.iter().map(Option::as_deref));
        whole.into_iter().flatten().chain(segments)
    }

    /// Whether it ends in `*`.
    pub(super) fn is_open(&self) -> bool {
        match &self.kind {
            Kind::Exact => false,
            Kind::Prefix => true,
            Kind::Segments(segments) => segments.open,
        }
    }

    /// Orders the more specific pattern first: a later first wildcard, then no `*` at the end, then fewer `+`,
    /// then the longer, then the greater. For exact patterns the order means nothing.
    pub(super) fn specificity(&self, other: &Pattern) -> Ordering {
        let key = |pattern: &Pattern| {
            let (first, wildcards) = match &pattern.kind {
                Kind::Segments(segments) => (segments.first, segments.wildcards()),
                Kind::Exact | Kind::Prefix => (pattern.text.len(), 0),
            };
            (Reverse(first), pattern.is_open(), wildcards, Reverse(pattern.text.len()))
        };
        key(self).cmp(&key(other)).then_with(|| other.text.cmp(&self.text))
    }

    /// Whether it names something below the folder `folder`, which ends in a slash. A prefix that ends before the
    /// folder does matches the folder itself.
    pub(super) fn reaches(&self, folder: &str) -> bool {
        match &self.kind {
            Kind::Exact | Kind::Prefix => self.text.starts_with(folder),
            Kind::Segments(segments) => segments.reaches(folder),
        }
    }
}

/// Vault's test, word for word: `/+bar` counts too, though its segment then matches only itself.
fn has_segments(shape: &str) -> bool {
    shape == "+" || shape.contains("/+") || shape.starts_with("+/")
}

impl Segments {
    fn of(text: &str, shape: &str, open: bool) -> Segments {
        let parts = text
            .split('/')
            .zip(shape.split('/'))
            .map(|(part, shape)| if shape == "+" { None } else { Some(part.into()) })
            .collect();
        let first = shape.find('+').unwrap_or(shape.len());
        Segments { parts, open, first }
    }

    fn wildcards(&self) -> usize {
        self.parts.iter().filter(|part| part.is_none()).count()
    }

    fn reaches(&self, folder: &str) -> bool {
        let folder = folder.strip_suffix('/').unwrap_or(folder);
        let mut parts = self.parts.iter();
        for segment in folder.split('/') {
            match parts.next() {
                // What stood before matched, and anything may follow.
                None => return self.open,
                Some(Some(part)) if **part != *segment => {
                    return self.open && parts.len() == 0 && segment.starts_with(&**part);
                }
                Some(_) => {}
            }
        }
        true
    }
}
