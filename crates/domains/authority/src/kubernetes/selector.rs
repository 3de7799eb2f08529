//! Label selectors of roles (`LabelSelector` of `meta/v1`), written in JSON or YAML.

use keyward_intent::LabelSelector;

/// Reads a selector. The text says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<LabelSelector, String> {
    let selector: LabelSelector = serde_saphyr::from_str(text).map_err(|why| why.to_string())?;
    selector.check().map_err(|why| why.0)?;
    Ok(selector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

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
            "matchLabels: {env: a b}",
            "matchExpressions: [{key: team, operator: In}]",
            "matchExpressions: [{key: team, operator: Exists, values: [a]}]",
            "matchExpressions: [{key: team, operator: Like, values: [a]}]",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
