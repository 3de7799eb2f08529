//! Semantic versions and ranges of them, <https://semver.org>.

use std::cmp::Ordering;

/// A version; its build part does not count in comparisons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The first number.
    pub major: u64,
    /// The second.
    pub minor: u64,
    /// The third.
    pub patch: u64,
    pre: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Number(u64),
    Text(Box<str>),
}

fn number(text: &str) -> Option<u64> {
    let fits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if !fits || (text.len() > 1 && text.starts_with('0')) { None } else { text.parse().ok() }
}

impl Version {
    /// None for what is no version.
    pub fn parse(text: &str) -> Option<Version> {
        let (text, build) =
            text.split_once('+').map_or((text, None), |(before, after)| (before, Some(after)));
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if build.is_some_and(|build| !build.split('.').all(word)) {
            return None;
        }
        let (core, pre) = text.split_once('-').map_or((text, None), |(before, after)| (before, Some(after)));
        let mut parts = core.split('.');
        let (major, minor, patch) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
        if parts.next().is_some() {
            return None;
        }
        let part = |text: &str| {
            if !word(text) {
                None
            } else if text.bytes().all(|digit| digit.is_ascii_digit()) {
                number(text).map(Part::Number)
            } else {
                Some(Part::Text(text.into()))
            }
        };
        let pre = match pre {
            Some(pre) => pre.split('.').map(part).collect::<Option<Vec<_>>>()?,
            None => Vec::new(),
        };
        Some(Version { major, minor, patch, pre })
    }

    /// Read as people write versions: `v1.2` is 1.2.0, and leading zeros do not matter.
    pub fn parse_tolerant(text: &str) -> Option<Version> {
        let text = text.trim().strip_prefix('v').unwrap_or(text.trim());
        let end = text.find(['-', '+']).unwrap_or(text.len());
        let (core, rest) = text.split_at(end);
        let mut parts: Vec<String> = core
            .split('.')
            .map(|part| match part.trim_start_matches('0') {
                "" if !part.is_empty() => "0".to_owned(),
                trimmed => trimmed.to_owned(),
            })
            .collect();
        if parts.len() > 3 || (parts.len() < 3 && !rest.is_empty()) {
            return None;
        }
        parts.resize(3, "0".to_owned());
        Version::parse(&format!("{}{rest}", parts.join(".")))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        let core = (self.major, self.minor, self.patch).cmp(&(other.major, other.minor, other.patch));
        core.then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => compare_pre(&self.pre, &other.pre),
        })
    }
}

fn compare_pre(left: &[Part], right: &[Part]) -> Ordering {
    for (left, right) in left.iter().zip(right) {
        let order = match (left, right) {
            (Part::Number(left), Part::Number(right)) => left.cmp(right),
            (Part::Number(_), Part::Text(_)) => Ordering::Less,
            (Part::Text(_), Part::Number(_)) => Ordering::Greater,
            (Part::Text(left), Part::Text(right)) => left.cmp(right),
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len())
}

/// A range: alternatives by `||`, each of comparisons that all hold, such as `>=1.2.0 <2.0.0 || >3.0.0`. A part may be `x`.
pub struct Range(Vec<Vec<(Comparison, Version)>>);

#[derive(Clone, Copy)]
enum Comparison {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

impl Range {
    /// None for what is no range.
    pub fn parse(text: &str) -> Option<Range> {
        text.split("||").map(all_of).collect::<Option<Vec<_>>>().map(Range)
    }

    /// Whether a version is in it.
    pub fn holds(&self, version: &Version) -> bool {
        self.0.iter().any(|all| {
            all.iter().all(|(comparison, bound)| match comparison {
                Comparison::Eq => version.cmp(bound).is_eq(),
                Comparison::Ne => version.cmp(bound).is_ne(),
                Comparison::Gt => version > bound,
                Comparison::Ge => version >= bound,
                Comparison::Lt => version < bound,
                Comparison::Le => version <= bound,
            })
        })
    }
}

fn all_of(text: &str) -> Option<Vec<(Comparison, Version)>> {
    // An operator may stand apart from its version.
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match words.last_mut() {
            Some(last) if last.chars().all(|c| "<>=!".contains(c)) => last.push_str(word),
            _ => words.push(word.to_owned()),
        }
    }
    if words.is_empty() {
        return None;
    }
    let mut all = Vec::new();
    for word in &words {
        let at = word.find(|c: char| !"<>=!".contains(c))?;
        let (operator, version) = word.split_at(at);
        let comparison = match operator {
            "" | "=" | "==" => Comparison::Eq,
            "!" | "!=" => Comparison::Ne,
            ">" => Comparison::Gt,
            ">=" => Comparison::Ge,
            "<" => Comparison::Lt,
            "<=" => Comparison::Le,
            _ => return None,
        };
        bounds(comparison, version, &mut all)?;
    }
    Some(all)
}

fn bounds(comparison: Comparison, text: &str, all: &mut Vec<(Comparison, Version)>) -> Option<()> {
    if let Some(version) = Version::parse(text) {
        all.push((comparison, version));
        return Some(());
    }
    let known: Vec<u64> = text
        .split('.')
        .take_while(|part| !matches!(*part, "x" | "X" | "*"))
        .map(number)
        .collect::<Option<_>>()?;
    let (low, high) = match known[..] {
        [major] => (Version::of(major, 0), Version::of(major + 1, 0)),
        [major, minor] => (Version::of(major, minor), Version::of(major, minor + 1)),
        _ => return None,
    };
    match comparison {
        Comparison::Eq => all.extend([(Comparison::Ge, low), (Comparison::Lt, high)]),
        Comparison::Ne => return None,
        Comparison::Gt => all.push((Comparison::Ge, high)),
        Comparison::Ge => all.push((Comparison::Ge, low)),
        Comparison::Lt => all.push((Comparison::Lt, low)),
        Comparison::Le => all.push((Comparison::Lt, high)),
    }
    Some(())
}

impl Version {
    fn of(major: u64, minor: u64) -> Version {
        Version { major, minor, patch: 0, pre: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order() {
        let sorted =
            ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0", "1.2.0", "1.10.0"];
        let versions: Vec<Version> = sorted.iter().map(|text| Version::parse(text).unwrap()).collect();
        assert!(versions.is_sorted());
        for text in ["1", "1.2", "v1.2.3", "01.2.3", "1.2.3-", "1.2.3.4", ""] {
            assert!(Version::parse(text).is_none(), "{text}");
        }
        assert_eq!(Version::parse_tolerant("v1.02"), Version::parse("1.2.0"));
    }

    #[test]
    fn ranges() {
        for (range, version, holds) in [
            (">=1.2.0 <2.0.0", "1.9.9", true),
            (">=1.2.0 <2.0.0", "2.0.0", false),
            ("<1.0.0 || >= 2.0.0", "2.1.0", true),
            ("1.x", "1.4.0", true),
            ("1.2.x", "1.3.0", false),
            ("!=1.0.0", "1.0.0", false),
        ] {
            let range = Range::parse(range).unwrap();
            assert_eq!(range.holds(&Version::parse(version).unwrap()), holds);
        }
    }
}
