//! Patterns of `*` (any run of bytes, also an empty one) and `?` (one byte), as policies write names, images and values.

/// A pattern, compiled: the common shapes need no search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Glob {
    /// `*`
    Any,
    /// No wildcard.
    Exact(Box<str>),
    /// `prefix*`
    Prefix(Box<str>),
    /// `*suffix`
    Suffix(Box<str>),
    /// Anything else.
    General(Box<str>),
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Glob {
        let wild = |text: &str| text.contains(['*', '?']);
        if !wild(pattern) {
            return Glob::Exact(pattern.into());
        }
        if pattern == "*" {
            return Glob::Any;
        }
        match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
            (Some(prefix), _) if !wild(prefix) => Glob::Prefix(prefix.into()),
            (_, Some(suffix)) if !wild(suffix) => Glob::Suffix(suffix.into()),
            _ => Glob::General(pattern.into()),
        }
    }

    /// As it was written.
    pub(crate) fn pattern(&self) -> String {
        match self {
            Glob::Any => "*".to_owned(),
            Glob::Exact(text) | Glob::General(text) => text.to_string(),
            Glob::Prefix(prefix) => format!("{prefix}*"),
            Glob::Suffix(suffix) => format!("*{suffix}"),
        }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Glob::Any => true,
            Glob::Exact(exact) => **exact == *text,
            Glob::Prefix(prefix) => text.starts_with(&**prefix),
            Glob::Suffix(suffix) => text.ends_with(&**suffix),
            Glob::General(pattern) => matches(pattern, text),
        }
    }
}

/// Whether the whole of `text` is matched by `pattern`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut in_text) = (0, 0);
    // Where to go on after the last star, should what follows it not fit.
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, in_text));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => match star {
                Some((after, tried)) => {
                    at = after;
                    in_text = tried + 1;
                    star = Some((after, tried + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// Whether `text` has a wildcard in it.
pub(crate) fn is_wild(text: &str) -> bool {
    text.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("?*", "", false),
            ("?*", "a", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("*:latest", "nginx:latest", true),
            ("ghcr.io/*", "ghcr.io/a/b", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("", "a", false),
            ("**a", "ba", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }
}
