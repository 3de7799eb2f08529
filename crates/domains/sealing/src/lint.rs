//! What is wrong with the documents of a tree, told without any key: for hooks and continuous integration.

use keyward_core::{Timestamp, parse_duration};
use keyward_envelope::object::SKEW;
use keyward_intent::{Rule, Rules, SealedSecret, yaml};

use crate::object::{check_conditions, verify};
use crate::recipients::Audience;
use crate::secret::PlainSecret;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Something to look at.
    Warning,
    /// Something that must not be committed.
    Error,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// A short name for it, for programs.
    pub rule: &'static str,
    /// What it is, and what to do.
    pub said: String,
}

fn error(rule: &'static str, said: impl Into<String>) -> Finding {
    Finding { weight: Weight::Error, rule, said: said.into() }
}

/// Expires within so many seconds: a warning.
const SOON: u64 = 14 * 24 * 3600;

/// Looks at one document of a file at which `rule` holds.
pub fn document(text: &str, rules: &Rules, rule: Option<&Rule>, now: Timestamp) -> Vec<Finding> {
    let body = yaml::body(text);
    let kind = match yaml::read::<yaml::Kind>(body) {
        Ok(kind) => kind,
        // Templates of other tools are no YAML, and none of our business; what hides a Secret is.
        Err(why) => {
            return ["Secret", "SealedSecret"]
                .iter()
                .any(|kind| yaml::says_kind(body, kind))
                .then(|| error("unreadable", format!("a Secret that cannot be read: {why}")))
                .into_iter()
                .collect();
        }
    };
    if PlainSecret::is(&kind) && holds_values(body) {
        return vec![error(
            "plaintext",
            "a Secret in plaintext: seal it with `keyward seal`, and take it out of the history",
        )];
    }
    if kind.kind == "List" && has_plain_items(body) {
        return vec![error("plaintext", "a List with a Secret in plaintext: seal it with `keyward seal`")];
    }
    if !SealedSecret::is(&kind) {
        return Vec::new();
    }
    match SealedSecret::read(body) {
        Ok(object) => sealed(&object, rules, rule, now),
        Err(why) => vec![error("invalid", why.0)],
    }
}

/// Whether a Secret has values. SOPS files are Secrets too, and theirs are encrypted.
fn holds_values(body: &str) -> bool {
    let sealed_by_sops = crate::import::is_sops(body);
    !sealed_by_sops && PlainSecret::read(body).map_or(true, |secret| !secret.data.is_empty())
}

#[derive(serde::Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<yaml::Kind>,
}

fn has_plain_items(body: &str) -> bool {
    yaml::read::<List>(body).is_ok_and(|list| list.items.iter().any(PlainSecret::is))
}

fn sealed(object: &SealedSecret, rules: &Rules, rule: Option<&Rule>, now: Timestamp) -> Vec<Finding> {
    let mut found = Vec::new();
    let authors = rule.map(|rule| rules.authors_of(rule)).filter(|authors| !authors.is_empty());
    if let Err(why) = verify(object, authors.as_deref()) {
        found.push(error("signature", why.to_string()));
    }
    let bounds = &object.spec.bounds;
    if let Err(why) = check_conditions(bounds) {
        found.push(error("condition", why.to_string()));
    }
    if let Some(until) = bounds.not_after {
        if until.timestamp() <= now {
            found.push(error("expired", format!("expired at {until}: seal the values anew")));
        } else if until.timestamp().since(now).as_secs() < SOON {
            let said = format!("expires at {until}: seal the values anew");
            found.push(Finding { weight: Weight::Warning, rule: "expires", said });
        }
    }
    let Some(rule) = rule else {
        found.push(Finding {
            weight: Weight::Warning,
            rule: "no-rule",
            said: format!("no rule of {} is for this file", keyward_intent::RULES_FILE),
        });
        return found;
    };
    if !bounds.clusters.is_subset(&rule.clusters) {
        found.push(error("cluster", "sealed for a cluster that the rule does not name"));
    }
    if bounds.scope > rule.scope {
        let said = format!("its scope is {}, and the rule takes {}", bounds.scope.name(), rule.scope.name());
        found.push(error("scope", said));
    }
    if rule.phase.is_some_and(|phase| bounds.phase > phase) {
        found.push(error(
            "phase",
            format!("it may be opened up to {}, later than the rule takes", bounds.phase),
        ));
    }
    if let Some(missing) = rule.conditions.difference(&bounds.conditions).next() {
        found.push(error(
            "condition",
            format!(
                "the rule wants the condition {missing}: seal it by the rule, or `keyward reseal --condition`"
            ),
        ));
    }
    if !rule.takes_images(&bounds.images) {
        found.push(error(
            "images",
            "it names an image that the rule does not, or none: `keyward reseal --image`",
        ));
    }
    if let Some(wanted) = &rule.namespace_selector
        && !bounds.namespace_selector.as_ref().is_some_and(|selector| selector.is_within(wanted))
    {
        found.push(error(
            "namespace-selector",
            format!("the rule wants {wanted} of namespaces: seal it by the rule, or `keyward reseal --namespace-selector`"),
        ));
    }
    if let Some(life) = rule.max_life.as_deref().and_then(|life| parse_duration(life).ok()) {
        // A machine that is ahead of this one seals for the longest life, and does no wrong.
        let too_long = bounds.not_after.is_none_or(|until| until.timestamp().since(now) > life + SKEW);
        if too_long {
            found.push(error("life", "it lives longer than the rule's maxLife: seal it with --life"));
        }
    }
    found.extend(recipients(object, rules, rule));
    found
}

fn recipients(object: &SealedSecret, rules: &Rules, rule: &Rule) -> Option<Finding> {
    match audience(rules, rule) {
        Ok(audience) if audience.is_of(&object.spec) => None,
        Ok(_) => Some(error(
            "recipients",
            "sealed for other recipients than the rule names: `keyward reseal` seals it for them",
        )),
        Err(why) => Some(error("rules", why.to_string())),
    }
}

/// Whom a rule names, as the rules' file writes them. Plugins are not connected.
pub fn audience(rules: &Rules, rule: &Rule) -> Result<Audience, crate::Failure> {
    let named = |names: &[String]| {
        let each = names.iter().map(|name| {
            let text = rules.recipients.get(name).map(String::as_str).unwrap_or_default();
            text.parse().map_err(|why| crate::violation::age_failure(&format!("recipient {name}"), why))
        });
        each.collect::<Result<Vec<_>, _>>()
    };
    if rule.groups.is_empty() {
        return named(&rule.recipients).map(Audience::Each);
    }
    let groups = rule.groups.iter().map(|group| Ok((group.name.clone(), named(&group.recipients)?)));
    Ok(Audience::Threshold {
        required: rule.required.unwrap_or(2),
        groups: groups.collect::<Result<_, crate::Failure>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_found(text: &str) -> Vec<&'static str> {
        let found = document(text, &Rules::empty(), None, Timestamp::from_secs(1_800_000_000));
        found.into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn plaintext_is_found_however_it_is_written() {
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n";
        for (text, wanted) in [
            (format!("{secret}data: {{a: YQ==}}\n"), Some("plaintext")),
            (format!("---\n{secret}stringData: {{a: b}}\n"), Some("plaintext")),
            (format!("{secret}data: {{a: not base64}}\n"), Some("plaintext")),
            (format!("{secret}stringData: &x {{a: b}}\n"), Some("unreadable")),
            (format!("{secret}data: {{a: YQ==}}\ndata: {{}}\n"), Some("unreadable")),
            ("{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {\"name\": \"a\"}, \"data\": {\"a\": \"YQ==\"}}".to_owned(), Some("plaintext")),
            ("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret}\n".to_owned(), Some("plaintext")),
            (secret.to_owned(), None),
            ("kind: ConfigMap\napiVersion: v1\n".to_owned(), None),
            ("{{ if .Values.x }}\na: b\n{{ end }}\n".to_owned(), None),
            ("kind: SealedSecret\napiVersion: keyward.io/v1alpha1\n".to_owned(), Some("invalid")),
        ] {
            assert_eq!(rules_found(&text), wanted.into_iter().collect::<Vec<_>>(), "{text}");
        }
    }
}
