//! Selectors of labels, as Kubernetes has them: `LabelSelector` of `meta/v1` in manifests, and on a command line what `kubectl -l`
//! takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Invalid, invalid, names};

/// Labels and expressions of one selector together.
const MOST_REQUIREMENTS: usize = 32;
/// Values of one expression.
const MOST_VALUES: usize = 64;

/// What labels must be. All of it must hold; an empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Labels with their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// What else is demanded of labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what; nothing for `Exists` and `DoesNotExist`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub values: BTreeSet<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// It is there, with one of the values.
    In,
    /// It has none of the values; also where it is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl LabelSelector {
    /// True for one that selects everything.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Whether Kubernetes would take it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.match_labels.len() + self.match_expressions.len() > MOST_REQUIREMENTS {
            return invalid(format!("a selector demands at most {MOST_REQUIREMENTS} things of labels"));
        }
        for (key, value) in &self.match_labels {
            check_key(key)?;
            check_value(value)?;
        }
        self.match_expressions.iter().try_for_each(Requirement::check)
    }

    /// As [`LabelSelector::check`], and whether it demands anything: what selects everything binds nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check_demands(&self) -> Result<(), Invalid> {
        self.check()?;
        match self.is_empty() {
            true => invalid("it selects everything: leave it out, or name a label"),
            false => Ok(()),
        }
    }

    /// Whether `labels` are selected.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements().all(|requirement| requirement.holds(labels))
    }

    /// Whether this selects nothing that `other` does not. What takes several of its demands together to see counts as no.
    pub fn is_within(&self, other: &LabelSelector) -> bool {
        let own: Vec<Requirement> = self.requirements().collect();
        other.requirements().all(|demand| own.iter().any(|requirement| requirement.implies(&demand)))
    }

    /// What both select.
    #[must_use]
    pub fn and(mut self, other: LabelSelector) -> LabelSelector {
        for (key, value) in other.match_labels {
            match self.match_labels.get(&key) {
                Some(known) if *known == value => {}
                Some(_) => self.match_expressions.push(Requirement::equal(&key, &value)),
                None => drop(self.match_labels.insert(key, value)),
            }
        }
        for requirement in other.match_expressions {
            if !self.match_expressions.contains(&requirement) {
                self.match_expressions.push(requirement);
            }
        }
        self
    }

    fn requirements(&self) -> impl Iterator<Item = Requirement> {
        let equal = self.match_labels.iter().map(|(key, value)| Requirement::equal(key, value));
        equal.chain(self.match_expressions.iter().cloned())
    }
}

impl Requirement {
    fn equal(key: &str, value: &str) -> Requirement {
        Requirement { key: key.to_owned(), operator: Operator::In, values: [value.to_owned()].into() }
    }

    fn check(&self) -> Result<(), Invalid> {
        check_key(&self.key)?;
        let wants_values = matches!(self.operator, Operator::In | Operator::NotIn);
        if wants_values == self.values.is_empty() {
            return invalid(format!("the expression on {} has values where it must not, or none", self.key));
        }
        if self.values.len() > MOST_VALUES {
            return invalid(format!("the expression on {} has more than {MOST_VALUES} values", self.key));
        }
        self.values.iter().try_for_each(|value| check_value(value))
    }

    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let among = || value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => among(),
            Operator::NotIn => !among(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }

    /// Whether `other` holds wherever this does.
    fn implies(&self, other: &Requirement) -> bool {
        use Operator::{DoesNotExist, Exists, In, NotIn};
        self.key == other.key
            && match (self.operator, other.operator) {
                (In, In) => self.values.is_subset(&other.values),
                (NotIn, NotIn) => self.values.is_superset(&other.values),
                (In, NotIn) => self.values.is_disjoint(&other.values),
                (In | Exists, Exists) | (DoesNotExist, DoesNotExist | NotIn) => true,
                (Exists, In | NotIn | DoesNotExist)
                | (DoesNotExist, In | Exists)
                | (In, DoesNotExist)
                | (NotIn, In | Exists | DoesNotExist) => false,
            }
    }
}

/// Letters, digits, `-`, `_` and `.`, of which the last three are not at an end; 63 at most.
fn is_plain(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let (first, last) = (text.bytes().next(), text.bytes().last());
    text.len() <= names::LONGEST_LABEL
        && text.bytes().all(inner)
        && [first, last].iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

fn check_key(key: &str) -> Result<(), Invalid> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    match is_plain(name) && prefix.is_none_or(|prefix| names::object("", prefix).is_ok()) {
        true => Ok(()),
        false => invalid(format!(
            "{key:?} is no label: a name such as env, or a domain with a name such as example.org/env"
        )),
    }
}

fn check_value(value: &str) -> Result<(), Invalid> {
    match value.is_empty() || is_plain(value) {
        true => Ok(()),
        false => invalid(format!(
            "{value:?} is no label's value: up to 63 of letters, digits, -, _ and ., beginning and ending with a letter or digit"
        )),
    }
}

impl fmt::Display for LabelSelector {
    /// As `kubectl -l` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equal = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let demands = equal.chain(self.match_expressions.iter().map(Requirement::to_string));
        f.write_str(&demands.collect::<Vec<_>>().join(","))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = || self.values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        match self.operator {
            Operator::In => write!(f, "{} in ({})", self.key, values()),
            Operator::NotIn => write!(f, "{} notin ({})", self.key, values()),
            Operator::Exists => f.write_str(&self.key),
            Operator::DoesNotExist => write!(f, "!{}", self.key),
        }
    }
}

impl FromStr for LabelSelector {
    type Err = Invalid;

    /// From what `kubectl -l` takes: `env=prod,tier in (gold,silver),team,!legacy,zone!=a`.
    fn from_str(text: &str) -> Result<LabelSelector, Invalid> {
        let mut selector = LabelSelector::default();
        for demand in demands(text) {
            let one = one(demand.trim())?;
            selector = selector.and(one);
        }
        selector.check().map(|()| selector)
    }
}

/// The parts between commas that stand in no parentheses.
fn demands(text: &str) -> Vec<&str> {
    let mut within = false;
    text.split(|letter| {
        within = (within || letter == '(') && letter != ')';
        letter == ',' && !within
    })
    .collect()
}

fn one(demand: &str) -> Result<LabelSelector, Invalid> {
    let wrong = || {
        Invalid(format!(
            "{demand:?} is no part of a selector: write it as env=prod, env!=prod, env in (a,b), env notin (a,b), env or !env"
        ))
    };
    let expression = |key: &str, operator, values: BTreeSet<String>| LabelSelector {
        match_expressions: vec![Requirement { key: key.trim().to_owned(), operator, values }],
        ..LabelSelector::default()
    };
    if let Some(key) = demand.strip_prefix('!') {
        return Ok(expression(key, Operator::DoesNotExist, BTreeSet::new()));
    }
    if let Some((before, values)) = demand.split_once('(') {
        let values = values.strip_suffix(')').ok_or_else(wrong)?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, word) = before.trim().split_once(char::is_whitespace).ok_or_else(wrong)?;
        return match word.trim() {
            "in" => Ok(expression(key, Operator::In, values)),
            "notin" => Ok(expression(key, Operator::NotIn, values)),
            _ => Err(wrong()),
        };
    }
    if let Some((key, value)) = demand.split_once("!=") {
        return Ok(expression(key, Operator::NotIn, [value.trim().to_owned()].into()));
    }
    match demand.split_once('=') {
        Some((key, value)) => {
            let value = value.strip_prefix('=').unwrap_or(value).trim();
            let match_labels = [(key.trim().to_owned(), value.to_owned())].into();
            Ok(LabelSelector { match_labels, ..LabelSelector::default() })
        }
        None if demand.is_empty() => Err(wrong()),
        None => Ok(expression(demand, Operator::Exists, BTreeSet::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> LabelSelector {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    fn labels(text: &str) -> BTreeMap<String, String> {
        read(text).match_labels
    }

    #[test]
    fn labels_are_selected() {
        let labels = labels("env=prod,team=a");
        for (text, wanted) in [
            ("env=prod", true),
            ("env==prod, team = a", true),
            ("env=dev", false),
            ("env!=dev", true),
            ("env!=prod", false),
            ("none!=prod", true),
            ("team in (a, b)", true),
            ("team in (b,c)", false),
            ("team notin (b,c),env=prod", true),
            ("team notin (a)", false),
            ("env", true),
            ("none", false),
            ("!env", false),
            ("!none", true),
            ("env=prod,none", false),
            ("env=prod,env=dev", false),
            ("env=", false),
        ] {
            let selector = read(text);
            assert_eq!(selector.selects(&labels), wanted, "{text}");
            assert_eq!(read(&selector.to_string()), selector, "{text}");
        }
        assert!(LabelSelector::default().selects(&labels));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in [
            "",
            ",",
            "env=prod,",
            "=prod",
            "!",
            "env in",
            "env in ()x",
            "env in (a",
            "env like (a)",
            "in (a)",
            "a b",
            "env=a=b",
            "env>3",
            "env=a b",
            "-env",
            "env=-a",
            "/env",
            "Example.org/env",
            "a/b/c",
            "env=(a)",
        ] {
            let parsed = text.parse::<LabelSelector>();
            assert!(parsed.is_err(), "{text}: {parsed:?}");
        }
        let many: Vec<String> = (0..=MOST_REQUIREMENTS).map(|at| format!("l{at}")).collect();
        assert!(many.join(",").parse::<LabelSelector>().is_err());
        let values: Vec<String> = (0..=MOST_VALUES).map(|at| at.to_string()).collect();
        assert!(format!("a in ({})", values.join(",")).parse::<LabelSelector>().is_err());
    }

    #[test]
    fn a_selector_is_within_another_that_demands_no_more() {
        for (narrow, wide, wanted) in [
            ("env=prod", "env=prod", true),
            ("env=prod,team", "env=prod", true),
            ("env=prod", "env=prod,team", false),
            ("env=prod", "env in (prod,test)", true),
            ("env in (prod,test)", "env=prod", false),
            ("env=prod", "env", true),
            ("env", "env=prod", false),
            ("env=prod", "env!=dev", true),
            ("env=dev", "env!=dev", false),
            ("!env", "env!=dev", true),
            ("env", "env!=dev", false),
            ("env notin (dev,test)", "env!=dev", true),
            ("env!=dev", "env notin (dev,test)", false),
            ("!env", "env", false),
            ("team=prod", "env=prod", false),
        ] {
            assert_eq!(read(narrow).is_within(&read(wide)), wanted, "{narrow} within {wide}");
        }
        assert!(read("env").is_within(&LabelSelector::default()));
        assert!(!LabelSelector::default().is_within(&read("env")));
    }

    fn selector() -> impl Strategy<Value = String> {
        let value = "[a-c]";
        let demand = prop_oneof![
            value.prop_map(|value| format!("env={value}")),
            value.prop_map(|value| format!("env!={value}")),
            (value, value).prop_map(|(one, other)| format!("env in ({one},{other})")),
            (value, value).prop_map(|(one, other)| format!("env notin ({one},{other})")),
            Just("env".to_owned()),
            Just("!env".to_owned()),
            value.prop_map(|value| format!("team={value}")),
        ];
        prop::collection::vec(demand, 1..4).prop_map(|demands| demands.join(","))
    }

    proptest! {
        /// What one selects that is within another the other selects too, and both is what each selects.
        #[test]
        fn nothing_that_is_within_is_wider(one in selector(), other in selector()) {
            let (one, other) = (read(&one), read(&other));
            let both = one.clone().and(other.clone());
            prop_assert!(both.is_within(&one) && both.is_within(&other));
            for env in ["", "a", "b", "c", "d"] {
                for team in ["", "a", "d"] {
                    let there = [("env", env), ("team", team)].into_iter().filter(|(_, value)| !value.is_empty());
                    let labels = there.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                    prop_assert_eq!(both.selects(&labels), one.selects(&labels) && other.selects(&labels));
                    prop_assert!(!one.is_within(&other) || !one.selects(&labels) || other.selects(&labels));
                }
            }
        }

        #[test]
        fn no_text_is_too_odd(text in "[a-b!=(), in/.-]{0,40}") {
            if let Ok(selector) = text.parse::<LabelSelector>() {
                prop_assert_eq!(read(&selector.to_string()), selector);
            }
        }
    }
}
