//! Label selectors (`LabelSelector` of `meta/v1`), written in JSON or YAML.

use serde::Deserialize;
use std::collections::BTreeMap;

/// A selector of labels. An empty one selects everything.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Selector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expression {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Debug, Deserialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// Reads a selector. The text says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Selector, String> {
    let selector: Selector = serde_saphyr::from_str(text).map_err(|why| why.to_string())?;
    for expression in &selector.match_expressions {
        let wants_values = matches!(expression.operator, Operator::In | Operator::NotIn);
        if wants_values == expression.values.is_empty() {
            return Err(format!(
                "the expression on {:?} has values where it must not, or none",
                expression.key
            ));
        }
    }
    Ok(selector)
}

impl Selector {
    /// Whether `labels` are selected.
    pub(crate) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        equal && self.match_expressions.iter().all(|expression| expression.holds(labels))
    }
}

impl Expression {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_selected() {
        let labels =
            BTreeMap::from([("env".to_owned(), "prod".to_owned()), ("team".to_owned(), "a".to_owned())]);
        for (text, wanted) in [
            ("{}", true),
            (r#"{"matchLabels":{"env":"prod"}}"#, true),
            ("matchLabels:\n  env: dev\n", false),
            ("matchLabels: {env: prod, other: x}", false),
            ("matchExpressions: [{key: team, operator: In, values: [a, b]}]", true),
            ("matchExpressions: [{key: team, operator: NotIn, values: [a, b]}]", false),
            ("matchExpressions: [{key: none, operator: NotIn, values: [a]}]", true),
            ("matchExpressions: [{key: env, operator: Exists}]", true),
            ("matchExpressions: [{key: env, operator: DoesNotExist}]", false),
        ] {
            assert_eq!(parse(text).unwrap().selects(&labels), wanted, "{text}");
        }
    }

    #[test]
    fn what_selects_nothing_sensible_is_refused() {
        for text in [
            "matchLabel: {env: prod}",
            "[]",
            "matchExpressions: [{key: team, operator: In}]",
            "matchExpressions: [{key: team, operator: Exists, values: [a]}]",
            "matchExpressions: [{key: team, operator: Like, values: [a]}]",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
