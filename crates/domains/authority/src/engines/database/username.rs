//! Names of users.

use crate::act::database::Dialect;
use crate::name_template::{NameTemplate, Subject};
use crate::refusal::Refusal;
use keyward_core::{Random, Timestamp, random};

/// The longest name in use: Redis has no limit, PostgreSQL cuts at 63 bytes.
const LONGEST: usize = 128;

/// How users are called.
pub(super) enum UsernameTemplate {
    /// As Vault calls those of such a database: written without a template, which takes ten times as long.
    Usual(Dialect),
    /// By a template of the operator's.
    Own(NameTemplate),
}

impl UsernameTemplate {
    /// Reads `text`; the usual names of `dialect` when it is empty.
    pub(super) fn parse(text: &str, dialect: Dialect) -> Result<UsernameTemplate, Refusal> {
        match text {
            "" => Ok(UsernameTemplate::Usual(dialect)),
            text => NameTemplate::parse(text, "username template").map(UsernameTemplate::Own),
        }
    }

    /// A name that no statement can be broken out of: it has letters, digits and `-_.@:` only.
    pub(super) fn render(
        &self,
        subject: &Subject<'_>,
        now: Timestamp,
        randomness: &dyn Random,
    ) -> Result<String, Refusal> {
        let subject =
            Subject { display_name: &tame(subject.display_name), role_name: &tame(subject.role_name) };
        let name = match self {
            UsernameTemplate::Usual(dialect) => usual(*dialect, &subject, now, randomness),
            UsernameTemplate::Own(template) => template.render(&subject, now, randomness)?,
        };
        if name.is_empty() || name.len() > LONGEST || !name.chars().all(is_tame) {
            return Err(Refusal::invalid(format!(
                "the username template must yield 1 to {LONGEST} letters, digits and -_.@: and yielded something else"
            )));
        }
        Ok(name)
    }
}

/// Who asked, the role, 20 random characters and the time, as far as they fit. `subject` is tame, and so of ASCII alone.
fn usual(dialect: Dialect, subject: &Subject<'_>, now: Timestamp, randomness: &dyn Random) -> String {
    let (v, between, each, most) = match dialect {
        Dialect::PostgreSql => ('v', '-', 8, 63),
        Dialect::MySql => ('v', '-', 10, 32),
        Dialect::Redis => ('V', '_', 15, 80),
    };
    let (who, role) = (subject.display_name, subject.role_name);
    let drawn = random::base62(randomness, 20);
    let mut name =
        format!("{v}{between}{who:.each$}{between}{role:.each$}{between}{drawn}{between}{}", now.secs());
    name.truncate(most);
    if dialect == Dialect::Redis {
        name.make_ascii_uppercase();
    }
    name
}

fn is_tame(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ':')
}

/// Display names come from whoever logs in.
fn tame(text: &str) -> String {
    text.chars().map(|c| if is_tame(c) { c } else { '_' }).collect()
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
    fn names_that_no_statement_can_hold_are_refused() {
        for template in ["a b", "'", "{{ .RoleName | truncate 0 }}"] {
            assert!(render(template, "token", "reader").is_err(), "{template}");
        }
    }

    /// Vault's own templates, which its documentation of the plugins shows.
    const VAULTS: [(Dialect, &str); 3] = [
        (
            Dialect::PostgreSql,
            r#"{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 8) (.RoleName | truncate 8) (random 20) (unix_time) | truncate 63 }}"#,
        ),
        (
            Dialect::MySql,
            r#"{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 10) (.RoleName | truncate 10) (random 20) (unix_time) | truncate 32 }}"#,
        ),
        (
            Dialect::Redis,
            r#"{{ printf "V_%s_%s_%s_%s" (.DisplayName | truncate 15) (.RoleName | truncate 15) (random 20) (unix_time) | truncate 80 | uppercase }}"#,
        ),
    ];

    proptest! {
        #[test]
        fn usual_names_are_what_the_templates_make(display in "\\PC{0,40}", role in "\\PC{0,40}", at in 0u64..1 << 34) {
            let subject = Subject { display_name: &display, role_name: &role };
            for (dialect, template) in VAULTS {
                let [usual, own] = ["", template].map(|text| {
                    let template = UsernameTemplate::parse(text, dialect).unwrap();
                    template.render(&subject, Timestamp::from_secs(at), &SeededRandom::new(3)).unwrap()
                });
                prop_assert_eq!(usual, own);
            }
        }

        #[test]
        fn no_display_name_breaks_out(display in "\\PC{0,40}", role in "\\PC{0,40}") {
            let name = render("", &display, &role).unwrap();
            prop_assert!(name.chars().all(is_tame));
        }
    }
}
