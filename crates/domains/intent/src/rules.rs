//! `.keyward.yaml`: who seals what for whom, by the place of a file in the tree.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::bounds::{check_conditions, check_images, is_within};
use crate::{API_VERSION, Invalid, LabelSelector, Phase, Scope, invalid, names, yaml};

/// The name of the file; the nearest one above a manifest counts.
pub const FILE: &str = ".keyward.yaml";
const KIND: &str = "SealingRules";

/// The rules of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rules {
    api_version: String,
    kind: String,
    /// Recipients by the names that rules call them.
    #[serde(default)]
    pub recipients: BTreeMap<String, String>,
    /// Authors by the names that rules call them: SSH public keys of the type Ed25519.
    #[serde(default)]
    pub authors: BTreeMap<String, String>,
    /// The first whose paths match a file counts.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// What holds for some files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Patterns of paths, relative to the rules' folder: `*` and `?` stay within a name, `**` does not. All files when
    /// there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The clusters that manifests are bound to.
    pub clusters: BTreeSet<String>,
    /// Names of recipients, each of whom opens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// Groups of recipients, of whom `required` must act together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// How many groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<u8>,
    /// Names of authors whose signatures are taken; all there are when none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<String>,
    /// The widest scope that is taken.
    #[serde(default)]
    pub scope: Scope,
    /// The last phase that is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Labels that must be demanded of the namespace of who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Conditions that must be bound, in CEL.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub conditions: BTreeSet<String>,
    /// Digests of the images that may be named.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub images: BTreeSet<String>,
    /// The longest life, such as `2160h`; without it manifests need not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_life: Option<String>,
    /// Whether recipients that a quantum computer could break may stand beside others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_mixed: bool,
}

/// Recipients of whom any one stands for all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Group {
    /// The group's name.
    pub name: String,
    /// Names of recipients.
    pub recipients: Vec<String>,
}

impl Rule {
    /// Whether what is sealed for these images is sealed for none that the rule does not name.
    pub fn takes_images(&self, images: &BTreeSet<String>) -> bool {
        is_within(images, &self.images)
    }
}

impl Rules {
    /// Without anybody in them.
    pub fn empty() -> Rules {
        Rules {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            recipients: BTreeMap::new(),
            authors: BTreeMap::new(),
            rules: Vec::new(),
        }
    }

    /// Reads a rules file.
    pub fn read(text: &str) -> Result<Rules, Invalid> {
        let read: Rules = yaml::read(text)?;
        if read.api_version != API_VERSION || read.kind != KIND {
            return invalid(format!("it is no {KIND} of {API_VERSION}"));
        }
        read.rules.iter().enumerate().try_for_each(|(at, rule)| {
            read.check(rule).map_err(|why| Invalid(format!("rule {}: {why}", at + 1)))
        })?;
        Ok(read)
    }

    /// As YAML.
    pub fn write(&self) -> Result<String, Invalid> {
        yaml::write(self)
    }

    fn check(&self, rule: &Rule) -> Result<(), Invalid> {
        if rule.clusters.is_empty() {
            return invalid("it names no cluster");
        }
        rule.clusters.iter().try_for_each(|cluster| names::label("a cluster", cluster))?;
        if rule.recipients.is_empty() == rule.groups.is_empty() {
            return invalid("it names either recipients or groups");
        }
        let needed = usize::from(rule.required.unwrap_or_default());
        if !rule.groups.is_empty() && (needed < 2 || needed > rule.groups.len()) {
            return invalid("required is at least 2, and not more than there are groups");
        }
        if rule.groups.is_empty() && rule.required.is_some() {
            return invalid("required stands beside groups");
        }
        if rule.groups.iter().any(|group| group.recipients.is_empty()) {
            return invalid("a group has no recipient");
        }
        let grouped = rule.groups.iter().flat_map(|group| &group.recipients);
        for name in rule.recipients.iter().chain(grouped) {
            if !self.recipients.contains_key(name) {
                return invalid(format!("recipient {name} is not among the recipients above"));
            }
        }
        for name in &rule.authors {
            if !self.authors.contains_key(name) {
                return invalid(format!("author {name} is not among the authors above"));
            }
        }
        check_conditions(&rule.conditions)?;
        check_images(&rule.images)?;
        if let Some(selector) = &rule.namespace_selector {
            selector.check_demands().map_err(|why| Invalid(format!("namespaceSelector: {why}")))?;
        }
        if let Some(life) = &rule.max_life
            && !keyward_core::parse_duration(life).is_ok_and(|life| !life.is_zero())
        {
            return invalid("maxLife is a time such as 720h or 90d");
        }
        Ok(())
    }

    /// The rule for a file, by its path relative to the rules' folder with `/` between names.
    pub fn rule_for(&self, path: &str) -> Option<&Rule> {
        self.rules
            .iter()
            .find(|rule| rule.paths.is_empty() || rule.paths.iter().any(|pattern| matches(pattern, path)))
    }

    /// The public keys whose signatures a rule takes.
    pub fn authors_of<'a>(&'a self, rule: &'a Rule) -> Vec<&'a str> {
        let named = |name: &String| rule.authors.is_empty() || rule.authors.contains(name);
        self.authors.iter().filter(|(name, _)| named(name)).map(|(_, key)| key.as_str()).collect()
    }
}

/// Whether a pattern takes a whole path. Names are compared one by one, so the time is bounded by their product.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    // Which prefixes of the path the pattern so far takes.
    let mut taken = vec![false; path.len() + 1];
    taken[0] = true;
    for name in pattern {
        let mut next = vec![false; path.len() + 1];
        for at in 0..=path.len() {
            next[at] = match name {
                "**" => taken[at] || at > 0 && next[at - 1],
                _ => at > 0 && taken[at - 1] && name_matches(name.as_bytes(), path[at - 1].as_bytes()),
            };
        }
        taken = next;
    }
    taken.last().copied().unwrap_or_default()
}

fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut taken = vec![false; name.len() + 1];
    taken[0] = true;
    for byte in pattern {
        let mut next = vec![false; name.len() + 1];
        for at in 0..=name.len() {
            next[at] = match byte {
                b'*' => taken[at] || at > 0 && next[at - 1],
                b'?' => at > 0 && taken[at - 1],
                byte => at > 0 && taken[at - 1] && name[at - 1] == *byte,
            };
        }
        taken = next;
    }
    taken.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_whole_paths() {
        for (pattern, path, wanted) in [
            ("**", "a/b/c.yaml", true),
            ("prod/**", "prod/a/b.yaml", true),
            ("prod/**", "production/a.yaml", false),
            ("**/*.sealed.yaml", "a/b/x.sealed.yaml", true),
            ("**/*.sealed.yaml", "x.sealed.yaml", true),
            ("*/secrets/*.yaml", "a/secrets/b.yaml", true),
            ("*/secrets/*.yaml", "a/b/secrets/b.yaml", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "a", false),
            ("*", "a/b", false),
        ] {
            assert_eq!(matches(pattern, path), wanted, "{pattern} {path}");
        }
        assert!(!matches(&"*a".repeat(500), &"a".repeat(400)));
    }

    const RULES: &str = "apiVersion: keyward.io/v1alpha1\nkind: SealingRules\nrecipients: {prod: age1x, a: age1y, b: age1z}\nauthors: {ada: ssh-ed25519 AAAA}\n";

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules = Rules::read(&format!(
            "{RULES}rules:\n- paths: [\"prod/**\"]\n  clusters: [prod]\n  recipients: [prod]\n- clusters: [test]\n  groups: [{{name: x, recipients: [a]}}, {{name: y, recipients: [b]}}]\n  required: 2\n"
        ))
        .unwrap();
        assert!(rules.rule_for("prod/x.yaml").unwrap().clusters.contains("prod"));
        assert!(rules.rule_for("x.yaml").unwrap().clusters.contains("test"));
        assert_eq!(rules.authors_of(&rules.rules[0]), ["ssh-ed25519 AAAA"]);
        assert_eq!(Rules::read(&rules.write().unwrap()).unwrap(), rules);
    }

    #[test]
    fn rules_that_cannot_be_followed_are_refused() {
        for (rule, wanted) in [
            ("clusters: []\n  recipients: [prod]", "no cluster"),
            ("clusters: [prod]", "either"),
            ("clusters: [prod]\n  recipients: [nobody]", "nobody"),
            ("clusters: [prod]\n  recipients: [prod]\n  authors: [eve]", "eve"),
            ("clusters: [prod]\n  recipients: [prod]\n  required: 2", "groups"),
            ("clusters: [prod]\n  groups: [{name: x, recipients: [a]}]\n  required: 2", "required"),
            ("clusters: [prod]\n  recipients: [prod]\n  maxLife: soon", "maxLife"),
            ("clusters: [prod]\n  recipients: [prod]\n  odd: 1", "odd"),
        ] {
            let refused = Rules::read(&format!("{RULES}rules:\n- {rule}\n")).unwrap_err();
            assert!(refused.0.contains(wanted), "{rule}: {refused}");
        }
        assert!(Rules::read("kind: SealingRules").is_err());
    }
}
