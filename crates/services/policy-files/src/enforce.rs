//! Policies made into enforcing ones, in the text of their files: nothing else of it changes, comments among it.

use crate::rollout::{Setting, settings};
use keyward_admission::yaml::{self, Document};
use serde_json::Value;

/// The text with the policies, or bindings of policies, that `wanted` picks refusing what fails.
///
/// # Errors
///
/// The line that cannot be changed without changing more, and what to write there instead; then nothing is to be written.
pub(crate) fn enforce(text: &str, wanted: impl Fn(&Value) -> bool) -> Result<String, String> {
    let documents = yaml::documents(text).map_err(|fault| fault.to_string())?;
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let mut expected = Vec::new();
    for document in documents {
        let mut value = document.value.clone();
        if wanted(&value) {
            for setting in settings(&document.value).into_iter().filter(|setting| !setting.enforced) {
                rewrite(&mut lines, &document, &setting)?;
                put(&mut value, &setting);
            }
        }
        expected.push(value);
    }
    let written = lines.concat();
    match yaml::values(&written) {
        Ok(values) if values == expected => Ok(written),
        _ => {
            Err("its action is written in a way that cannot be changed by itself: change it by hand"
                .to_owned())
        }
    }
}

/// Puts what is wanted into a value, at a path that is there.
fn put(value: &mut Value, setting: &Setting) {
    if let Some(place) = value.pointer_mut(&format!("/{}", setting.path.join("/"))) {
        *place = setting.wanted.clone();
    }
}

fn rewrite(lines: &mut [String], document: &Document, setting: &Setting) -> Result<(), String> {
    let path = setting.path.join(".");
    let (Some(key), Some(now)) =
        (setting.path.last(), document.value.pointer(&format!("/{}", setting.path.join("/"))))
    else {
        return Err(format!("{path} says nothing: write {} there", setting.wanted));
    };
    let steps = setting.path.iter().map(String::as_str);
    let at = document.lines.of(steps.clone());
    let unplain = || format!("line {at}: {path}: write {} there", setting.wanted);
    let line = lines.get_mut(at.saturating_sub(1)).ok_or_else(unplain)?;
    let (before, after) = line.split_once(&format!("{key}:")).ok_or_else(unplain)?;
    if let Some(now) = now.as_str() {
        let wanted = setting.wanted.as_str().unwrap_or_default();
        *line = format!("{before}{key}:{}", after.replacen(now, wanted, 1));
        return Ok(());
    }
    if let Some((open, rest)) = after.split_once('[') {
        let (_, close) = rest.split_once(']').ok_or_else(unplain)?;
        *line = format!("{before}{key}:{open}[Deny]{close}");
        return Ok(());
    }
    // A list of a line each: the first is what is wanted, the others are taken out.
    for (index, item) in now.as_array().into_iter().flatten().enumerate() {
        let (index, item) = (index.to_string(), item.as_str().unwrap_or_default());
        let at = document.lines.of(steps.clone().chain([index.as_str()]));
        let line = lines.get_mut(at.saturating_sub(1)).ok_or_else(unplain)?;
        *line = if index == "0" { line.replacen(item, "Deny", 1) } else { String::new() };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "# Ours.\napiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata:\n  name: a\nspec:\n  rules:\n    - name: r\n      validate:\n        failureAction: Audit # for now\n        pattern: {metadata: {name: \"Audit*\"}}\n";

    fn all(_: &Value) -> bool {
        true
    }

    #[test]
    fn only_the_action_changes() {
        let wanted = RULES.replace("failureAction: Audit", "failureAction: Enforce");
        assert_eq!(enforce(RULES, all), Ok(wanted.clone()));
        assert_eq!(enforce(&wanted, all), Ok(wanted.clone()), "what is enforced stays");
        assert_eq!(enforce(RULES, |_| false), Ok(RULES.to_owned()));
        let quoted = RULES.replace("Audit #", "\"Audit\" #");
        assert_eq!(enforce(&quoted, all), Ok(quoted.replace("\"Audit\" #", "\"Enforce\" #")));
    }

    #[test]
    fn of_several_documents_those_that_are_meant() {
        let two = format!("{RULES}---\n{}", RULES.replace("name: a", "name: b"));
        let wanted = enforce(&two, |object| object["metadata"]["name"] == "b").unwrap();
        assert_eq!(
            wanted,
            format!("{RULES}---\n{}", RULES.replace("name: a", "name: b").replace("n: Audit", "n: Enforce"))
        );
    }

    #[test]
    fn lists_of_actions() {
        let policy = |actions: &str| {
            format!(
                "apiVersion: policies.kyverno.io/v1\nkind: ValidatingPolicy\nspec:\n  validationActions:{actions}\n  validations: []\n"
            )
        };
        for actions in [" [Audit]", " [ Warn, Audit ]", "\n    - Audit", "\n  - Warn\n  # and\n  - Audit"] {
            let written = enforce(&policy(actions), all).unwrap();
            assert_eq!(
                yaml::values(&written).unwrap()[0]["spec"]["validationActions"],
                serde_json::json!(["Deny"]),
                "{written}"
            );
        }
    }

    #[test]
    fn what_cannot_be_changed_by_itself_is_told() {
        let nothing = RULES.replace("        failureAction: Audit # for now\n", "");
        let why = enforce(&nothing, all).unwrap_err();
        assert!(why.contains("spec.validationFailureAction says nothing"), "{why}");
        let aliased = RULES.replace("Audit # for now", "*action").replace("name: a", "name: &action Audit");
        assert!(enforce(&aliased, all).is_err());
        let json = "{\"apiVersion\": \"kyverno.io/v1\", \"kind\": \"ClusterPolicy\", \"spec\": {\"rules\": [{\"validate\": {\"failureAction\": \"Audit\"}}]}}";
        assert!(enforce(json, all).is_err(), "a key in quotes");
    }
}
