//! Names of users: templates in the language of Go's `text/template`, with the functions that Vault documents for
//! username templates but `timestamp`.

use crate::act::database::Dialect;
use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gotmpl::{Template, TemplateError, Value};
use keyward_core::{Random, Timestamp, random};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const POSTGRESQL: &str = r#"{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 8) (.RoleName | truncate 8) (random 20) (unix_time) | truncate 63 }}"#;
const MYSQL: &str = r#"{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 10) (.RoleName | truncate 10) (random 20) (unix_time) | truncate 32 }}"#;
const REDIS: &str = r#"{{ printf "V_%s_%s_%s_%s" (.DisplayName | truncate 15) (.RoleName | truncate 15) (random 20) (unix_time) | truncate 80 | uppercase }}"#;

/// Random characters one name may take.
const DRAWN: usize = 256;
/// The longest name in use: Redis has no limit, PostgreSQL cuts at 63 bytes.
const LONGEST: usize = 128;

/// A template that was read.
pub(super) struct UsernameTemplate(Template);

/// What a name is made of.
pub(super) struct Subject<'a> {
    pub(super) display_name: &'a str,
    pub(super) role_name: &'a str,
}

impl UsernameTemplate {
    /// Reads `text`; the usual template of `dialect` when it is empty.
    pub(super) fn parse(text: &str, dialect: Dialect) -> Result<UsernameTemplate, Refusal> {
        let text = match (text, dialect) {
            ("", Dialect::PostgreSql) => POSTGRESQL,
            ("", Dialect::MySql) => MYSQL,
            ("", Dialect::Redis) => REDIS,
            (text, _) => text,
        };
        let template = with_state(with_functions(Template::new("username")), "", 0, "").max_range_iters(1000);
        let parsed = template.parse(text);
        parsed
            .map(UsernameTemplate)
            .map_err(|why| Refusal::invalid(format!("invalid username template: {why}")))
    }

    /// A name that no statement can be broken out of: it has letters, digits and `-_.@:` only.
    pub(super) fn render(
        &self,
        subject: &Subject<'_>,
        now: Timestamp,
        randomness: &dyn Random,
    ) -> Result<String, Refusal> {
        let drawn = random::base62(randomness, DRAWN);
        let uuid = random::uuid(randomness);
        let template = with_state(self.0.clone(), &drawn, now.nanos(), &uuid);
        let data = BTreeMap::from([
            ("DisplayName", tame(subject.display_name)),
            ("RoleName", tame(subject.role_name)),
        ]);
        let name = template
            .execute_to_string(&gotmpl::ToValue::to_value(&data))
            .map_err(|why| Refusal::invalid(format!("the username template failed: {why}")))?;
        if name.is_empty() || name.len() > LONGEST || !name.chars().all(is_tame) {
            return Err(Refusal::invalid(format!(
                "the username template must yield 1 to {LONGEST} letters, digits and -_.@: and yielded something else"
            )));
        }
        Ok(name)
    }
}

fn is_tame(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ':')
}

/// Display names come from whoever logs in.
fn tame(text: &str) -> String {
    text.chars().map(|c| if is_tame(c) { c } else { '_' }).collect()
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
    use proptest::prelude::*;

    fn render(template: &str, display_name: &str, role_name: &str) -> Result<String, Refusal> {
        let now = Timestamp::from_secs(1_600_000_000);
        let template = UsernameTemplate::parse(template, Dialect::PostgreSql)?;
        template.render(&Subject { display_name, role_name }, now, &SeededRandom::new(3))
    }

    #[test]
    fn the_usual_names_are_those_of_vault() {
        let name = render("", "kubernetes-production-api", "api-role").unwrap();
        assert!(name.starts_with("v-kubernet-api-role-") && name.ends_with("-1600000000"), "{name}");
        assert!(name.len() <= 63);
        for dialect in [Dialect::MySql, Dialect::Redis] {
            let template = UsernameTemplate::parse("", dialect).unwrap();
            let subject = Subject { display_name: "token", role_name: "reader" };
            let name = template.render(&subject, Timestamp::from_secs(1), &SeededRandom::new(3)).unwrap();
            match dialect {
                Dialect::MySql => assert!(name.starts_with("v-token-reader-") && name.len() == 32, "{name}"),
                _ => assert!(name.starts_with("V_TOKEN_READER_") && name.ends_with("_1"), "{name}"),
            }
        }
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
        for template in
            ["{{ nonsense }}", "{{", "{{ random 0 }}", "{{ random 200 }}{{ random 200 }}", "a b", "'"]
        {
            assert!(render(template, "token", "reader").is_err(), "{template}");
        }
    }

    proptest! {
        #[test]
        fn no_display_name_breaks_out(display in "\\PC{0,40}", role in "\\PC{0,40}") {
            let name = render("", &display, &role).unwrap();
            prop_assert!(name.chars().all(is_tame));
        }
    }
}
