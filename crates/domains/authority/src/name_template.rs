//! Names of what is made elsewhere: templates in the language of Go's `text/template`, with the functions that Vault
//! documents for username templates but `timestamp`.

use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gotmpl::{Template, TemplateError, Value};
use keyward_core::{Random, Timestamp, random};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Random characters one name may take.
const DRAWN: usize = 256;

/// A template that was read.
pub(crate) struct NameTemplate {
    template: Template,
    what: &'static str,
}

/// Who a name is made for.
pub(crate) struct Subject<'a> {
    /// The name that the caller's token shows.
    pub(crate) display_name: &'a str,
    /// The role that it is made by.
    pub(crate) role_name: &'a str,
}

impl NameTemplate {
    /// Reads `text`; `what` is how refusals call the template.
    pub(crate) fn parse(text: &str, what: &'static str) -> Result<NameTemplate, Refusal> {
        let template = with_state(with_functions(Template::new("name")), "", 0, "").max_range_iters(1000);
        let parsed = template.parse(text);
        parsed
            .map(|template| NameTemplate { template, what })
            .map_err(|why| Refusal::invalid(format!("invalid {what}: {why}")))
    }

    /// A name as the template has it: who uses it checks that it is one.
    pub(crate) fn render(
        &self,
        subject: &Subject<'_>,
        now: Timestamp,
        randomness: &dyn Random,
    ) -> Result<String, Refusal> {
        let drawn = random::base62(randomness, DRAWN);
        let uuid = random::uuid(randomness);
        let template = with_state(self.template.clone(), &drawn, now.nanos(), &uuid);
        let data = BTreeMap::from([("DisplayName", subject.display_name), ("RoleName", subject.role_name)]);
        template
            .execute_to_string(&gotmpl::ToValue::to_value(&data))
            .map_err(|why| Refusal::invalid(format!("the {} failed: {why}", self.what)))
    }
}

type Made = Result<Value, TemplateError>;

fn wrong(name: &str, wanted: &str) -> TemplateError {
    TemplateError::Exec(format!("{name} takes {wanted}"))
}

fn texts<const N: usize>(name: &str, arguments: &[Value]) -> Result<[String; N], TemplateError> {
    let texts: Vec<String> = arguments.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect();
    texts.try_into().map_err(|_| wrong(name, "text"))
}

fn length_and_text(name: &str, arguments: &[Value]) -> Result<(usize, String), TemplateError> {
    let [length, text] = arguments else { return Err(wrong(name, "a length and text")) };
    let length = length.as_int().and_then(|length| usize::try_from(length).ok()).filter(|length| *length > 0);
    length.zip(text.as_str().map(str::to_owned)).ok_or_else(|| wrong(name, "a length above zero and text"))
}

fn sha256_hex(text: &str) -> String {
    hex::encode(keyward_crypto::sha256(text.as_bytes()))
}

fn truncated(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

fn truncated_with_hash(text: &str, length: usize) -> Result<String, TemplateError> {
    const HASH: usize = 8;
    if text.chars().count() <= length {
        return Ok(text.to_owned());
    }
    let kept = length.checked_sub(HASH).filter(|kept| *kept > 0);
    let kept = kept.ok_or_else(|| wrong("truncate_sha256", "a length above 8 and text"))?;
    let rest: String = text.chars().skip(kept).collect();
    Ok(truncated(text, kept) + &truncated(&sha256_hex(&rest), HASH))
}

/// The functions that depend on their arguments alone.
fn with_functions(template: Template) -> Template {
    fn text(name: &'static str, f: fn(&str) -> String) -> impl Fn(&[Value]) -> Made + Send + Sync + 'static {
        move |arguments| texts::<1>(name, arguments).map(|[text]| Value::from(f(&text)))
    }
    template
        .func("uppercase", text("uppercase", str::to_uppercase))
        .func("lowercase", text("lowercase", str::to_lowercase))
        .func("sha256", text("sha256", sha256_hex))
        .func("base64", text("base64", |text| BASE64.encode(text)))
        .func("truncate", |arguments| {
            length_and_text("truncate", arguments).map(|(length, text)| truncated(&text, length).into())
        })
        .func("truncate_sha256", |arguments| {
            let (length, text) = length_and_text("truncate_sha256", arguments)?;
            truncated_with_hash(&text, length).map(Value::from)
        })
        .func("replace", |arguments| {
            let [old, new, text] = texts::<3>("replace", arguments)?;
            Ok(text.replace(&old, &new).into())
        })
}

/// The functions that yield something else for every name.
fn with_state(template: Template, drawn: &str, nanos: u64, uuid: &str) -> Template {
    let (drawn, uuid): (Arc<str>, Arc<str>) = (drawn.into(), uuid.into());
    let used = AtomicUsize::new(0);
    let seconds = i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX);
    let millis = i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX);
    template
        .func("random", move |arguments| {
            let [length] = arguments else { return Err(wrong("random", "a length")) };
            let length = length.as_int().and_then(|length| usize::try_from(length).ok());
            let length = length.filter(|length| (1..=DRAWN).contains(length));
            let length = length.ok_or_else(|| wrong("random", "a length from 1 to 256"))?;
            let start = used.fetch_add(length, Ordering::Relaxed);
            let part = drawn.get(start..start.saturating_add(length));
            part.map(Value::from).ok_or_else(|| TemplateError::Exec("over 256 random characters".to_owned()))
        })
        .func("unix_time", move |_| Ok(Value::from(seconds.to_string())))
        .func("unix_time_millis", move |_| Ok(Value::from(millis.to_string())))
        .func("uuid", move |_| Ok(Value::from(&*uuid)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_testkit::fakes::SeededRandom;

    fn render(template: &str, display_name: &str, role_name: &str) -> Result<String, Refusal> {
        let now = Timestamp::from_secs(1_600_000_000);
        let template = NameTemplate::parse(template, "name template")?;
        template.render(&Subject { display_name, role_name }, now, &SeededRandom::new(3))
    }

    #[test]
    fn every_function_does_what_it_says() {
        for (template, wanted) in [
            ("{{ .DisplayName | uppercase }}", "TOKEN"),
            ("{{ .RoleName | lowercase }}", "reader"),
            ("{{ .RoleName | replace \"e\" \"3\" }}", "R3ad3r"),
            ("{{ .RoleName | truncate 3 }}x", "Reax"),
            ("{{ \"0123456789abcdef\" | truncate_sha256 12 }}", "0123fa16b77f"),
            ("{{ unix_time }}.{{ unix_time_millis }}", "1600000000.1600000000000"),
            ("{{ sha256 \"\" | truncate 8 }}", "e3b0c442"),
            ("{{ if eq .RoleName \"Reader\" }}r{{ else }}w{{ end }}", "r"),
        ] {
            let made = render(template, "token", "Reader").unwrap();
            if template.contains("truncate_sha256") {
                assert_eq!(made.len(), 12, "{made}");
                assert!(made.starts_with("0123"));
            } else {
                assert_eq!(made, wanted, "{template}");
            }
        }
        let twice = render("{{ random 4 }}{{ random 4 }}", "", "").unwrap();
        assert_ne!(twice[..4], twice[4..]);
    }

    #[test]
    fn templates_that_cannot_be_used_are_refused() {
        for template in ["{{ nonsense }}", "{{", "{{ random 0 }}", "{{ random 200 }}{{ random 200 }}"] {
            assert!(render(template, "token", "reader").is_err(), "{template}");
        }
    }
}
