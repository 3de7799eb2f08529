//! What the kinds of databases differ in.

use crate::act::database::{Dialect, Work};
use crate::outside::Hidden;
use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use keyward_core::Timestamp;

/// The plugins that are built in, in the order of their names; further ones of Vault's are taken for one of them.
pub(crate) const PLUGINS: [&str; 3] =
    ["mysql-database-plugin", "postgresql-database-plugin", "redis-database-plugin"];

impl Dialect {
    /// By the name of Vault's plugin.
    pub(super) fn of_plugin(name: &str) -> Result<Dialect, Refusal> {
        match name {
            "postgresql-database-plugin" => Ok(Dialect::PostgreSql),
            "mysql-database-plugin"
            | "mysql-aurora-database-plugin"
            | "mysql-rds-database-plugin"
            | "mysql-legacy-database-plugin" => Ok(Dialect::MySql),
            "redis-database-plugin" | "valkey-database-plugin" => Ok(Dialect::Redis),
            "" => Err(Refusal::invalid("empty plugin name")),
            other => Err(Refusal::invalid(format!(
                "plugin {other:?} is not there; known: postgresql-database-plugin, mysql-database-plugin, \
                 redis-database-plugin"
            ))),
        }
    }

    /// What changes the password of `{{username}}`.
    pub(super) fn rotation(self) -> &'static str {
        match self {
            Dialect::PostgreSql => "ALTER ROLE \"{{username}}\" WITH PASSWORD '{{password}}';",
            Dialect::MySql => "ALTER USER '{{username}}'@'%' IDENTIFIED BY '{{password}}';",
            Dialect::Redis => "",
        }
    }

    /// What lets `{{name}}` log in for longer; empty where logins do not end by themselves.
    pub(super) fn renewal(self) -> &'static str {
        match self {
            Dialect::PostgreSql => "ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}';",
            Dialect::MySql | Dialect::Redis => "",
        }
    }
}

/// What placeholders stand for.
pub(super) struct Values<'a> {
    pub(super) username: &'a str,
    pub(super) password: &'a str,
    pub(super) expires: Option<Timestamp>,
}

/// `statement` with its placeholders replaced. Values are never looked at for placeholders of their own.
pub(super) fn filled(statement: &str, values: &Values<'_>) -> String {
    let mut out = String::with_capacity(statement.len() + 64);
    let mut rest = statement;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (name, behind) = after.split_once("}}").unwrap_or(("", ""));
        match name {
            "name" | "username" => out.push_str(values.username),
            "password" => out.push_str(values.password),
            "expiration" => out.push_str(&values.expires.map(moment).unwrap_or_default()),
            _ => {
                out.push_str("{{");
                rest = after;
                continue;
            }
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// As statements of Vault's plugins have it: `2006-01-02 15:04:05+0000`.
fn moment(at: Timestamp) -> String {
    let text = Timestamp::from_secs(at.secs()).to_string();
    text.trim_end_matches('Z').replace('T', " ") + "+0000"
}

/// `statements` for `values`.
pub(super) fn work(statements: &[String], values: &Values<'_>) -> Work {
    Work::Run(sql(statements).into_iter().map(|text| Hidden::new(filled(&text, values))).collect())
}

/// Statements as they are run: each may have been written as a list in JSON, and that or itself in base64.
pub(super) fn sql(statements: &[String]) -> Vec<String> {
    let plain = |text: &String| {
        let decoded = BASE64.decode(text.trim()).ok().and_then(|text| String::from_utf8(text).ok());
        // Few statements are base64 by chance, and none of those is text.
        decoded.filter(|text| !text.is_empty()).unwrap_or_else(|| text.clone())
    };
    let listed = |text: String| serde_json::from_str::<Vec<String>>(&text).unwrap_or_else(|_| vec![text]);
    statements.iter().map(plain).flat_map(listed).collect()
}

/// The access rules in creation statements for Redis; reading every key where there are none, as in Vault.
pub(super) fn redis_rules(statements: &[String]) -> Result<Vec<String>, Refusal> {
    let bad = || {
        Refusal::invalid(
            "creation_statements for Redis are a JSON list of access rules: [\"~*\", \"+@read\"]",
        )
    };
    let mut rules = Vec::new();
    for statement in statements {
        rules.extend(serde_json::from_str::<Vec<String>>(statement).map_err(|_| bad())?);
    }
    // A rule that sets another password, or switches users off and on, is not about access.
    let odd =
        |rule: &String| rule.is_empty() || rule.starts_with(['>', '<', '#', '!']) || rule.contains('\n');
    match rules.iter().any(odd) {
        true => Err(bad()),
        false if rules.is_empty() => Ok(vec!["~*".to_owned(), "+@read".to_owned()]),
        false => Ok(rules),
    }
}

/// Refuses passwords that could end the quotes a statement has them in.
pub(super) fn check_password(password: &str) -> Result<(), Refusal> {
    match password.chars().any(|c| matches!(c, '\'' | '"' | '\\' | '`') || c.is_control()) {
        true => Err(Refusal::invalid(
            "the password policy yields quotes, backslashes or control characters, which statements cannot hold: \
             leave them out of its charset",
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_once() {
        let values = Values {
            username: "v-{{password}}",
            password: "p{{name}}",
            expires: Some(Timestamp::from_nanos(1_600_000_000_500_000_000)),
        };
        for (statement, wanted) in [
            ("CREATE ROLE \"{{name}}\"", "CREATE ROLE \"v-{{password}}\""),
            ("PASSWORD '{{password}}'", "PASSWORD 'p{{name}}'"),
            ("VALID UNTIL '{{expiration}}';", "VALID UNTIL '2020-09-13 12:26:40+0000';"),
            ("{{username}}{{other}}{{", "v-{{password}}{{other}}{{"),
            ("", ""),
        ] {
            assert_eq!(filled(statement, &values), wanted);
        }
    }

    #[test]
    fn statements_are_unpacked() {
        let encoded = BASE64.encode("[\"A\", \"B;C\"]");
        for (statement, wanted) in [
            ("CREATE ROLE x; GRANT y", &["CREATE ROLE x; GRANT y"][..]),
            ("[\"A\", \"B\"]", &["A", "B"]),
            (&encoded, &["A", "B;C"]),
        ] {
            assert_eq!(sql(&[statement.to_owned()]), wanted, "{statement}");
        }
    }

    #[test]
    fn rules_of_redis_are_about_access() {
        let rules = |text: &str| redis_rules(&[text.to_owned()]);
        assert_eq!(rules(r#"["~app:*","+get"]"#).unwrap(), ["~app:*", "+get"]);
        assert_eq!(redis_rules(&[]).unwrap(), ["~*", "+@read"]);
        for bad in ["+get", r#"[">password"]"#, r#"["nopass\n"]"#, r#"[1]"#] {
            assert!(rules(bad).is_err(), "{bad}");
        }
    }
}
