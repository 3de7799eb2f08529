//! Password policies: how long a generated password is, and of which characters.
//!
//! As in Vault, a candidate is drawn from all characters that any rule names, and drawn again until every rule is
//! satisfied.

use crate::hcl;
use crate::refusal::Refusal;
use crate::txn::Txn;
use keyward_core::Random;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, LazyLock};

const ENTRIES: &str = "policy/password/";
/// Characters of a password.
const LENGTHS: std::ops::RangeInclusive<i64> = 4..=100;
/// Candidates drawn before a policy counts as one that cannot be satisfied.
const ATTEMPTS: usize = 2000;

/// So many of the characters of a set, at least.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    charset: Vec<char>,
    least: usize,
}

/// A policy that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    length: usize,
    rules: Vec<Rule>,
    /// Every character of every rule, once.
    all: Vec<char>,
}

/// A policy as written.
#[derive(Serialize, Deserialize)]
struct Stored {
    text: String,
}

static USUAL: LazyLock<Arc<PasswordPolicy>> = LazyLock::new(Arc::default);

impl Default for PasswordPolicy {
    /// Twenty characters: lower case, upper case, digits and a dash, one of each at least.
    fn default() -> PasswordPolicy {
        let rule = |charset: &str| Rule { charset: charset.chars().collect(), least: 1 };
        PasswordPolicy::of(
            20,
            vec![
                rule("abcdefghijklmnopqrstuvwxyz"),
                rule("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
                rule("0123456789"),
                rule("-"),
            ],
        )
    }
}

impl PasswordPolicy {
    fn of(length: usize, mut rules: Vec<Rule>) -> PasswordPolicy {
        let mut all: Vec<char> = rules.iter().flat_map(|rule| rule.charset.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        // Most candidates that fail lack one of the few.
        rules.sort_by_key(|rule| rule.charset.len());
        PasswordPolicy { length, rules, all }
    }

    /// Reads a policy in HCL or JSON: `length = 20  rule "charset" { charset = "abc" min-chars = 1 }`.
    pub fn parse(text: &str) -> Result<PasswordPolicy, Refusal> {
        let bad = |why: String| Refusal::invalid(format!("invalid password policy: {why}"));
        let document = hcl::parse(text).map_err(|why| bad(why.to_string()))?;
        let length = document.get("length").and_then(hcl::Value::as_int);
        let length = length.filter(|length| LENGTHS.contains(length));
        let length = length.ok_or_else(|| bad("length must be a number from 4 to 100".to_owned()))?;
        let mut rules = Vec::new();
        for block in document.blocks("rule", 1) {
            let block = block.map_err(|why| bad(why.to_string()))?;
            let kind = block.labels.first().map_or("", |label| label.text.as_str());
            if kind != "charset" {
                return Err(bad(format!("{}: unknown rule {kind:?}; known: charset", block.at)));
            }
            let charset = block.body.get("charset").and_then(hcl::Value::as_str).unwrap_or_default();
            let least = block.body.get("min-chars").map_or(Some(0), hcl::Value::as_int);
            let least = least.and_then(|least| usize::try_from(least).ok());
            let least = least.ok_or_else(|| bad("min-chars must be a number, zero or more".to_owned()))?;
            if charset.is_empty() || charset.chars().any(char::is_control) {
                return Err(bad("a charset must have characters, and no control characters".to_owned()));
            }
            rules.push(Rule { charset: charset.chars().collect(), least });
        }
        let policy = PasswordPolicy::of(usize::try_from(length).unwrap_or_default(), rules);
        if policy.all.is_empty() {
            return Err(bad("it needs at least one rule \"charset\"".to_owned()));
        }
        if policy.rules.iter().map(|rule| rule.least).sum::<usize>() > policy.length {
            return Err(bad("its rules ask for more characters than its length".to_owned()));
        }
        Ok(policy)
    }

    /// A new password. Fails for policies that hardly any candidate satisfies.
    pub fn generate(&self, random: &dyn Random) -> Result<String, Refusal> {
        for _ in 0..ATTEMPTS {
            let candidate = draw(&self.all, self.length, random);
            let satisfied =
                |rule: &Rule| candidate.iter().filter(|c| rule.charset.contains(c)).count() >= rule.least;
            if self.rules.iter().all(satisfied) {
                return Ok(candidate.into_iter().collect());
            }
        }
        Err(Refusal::invalid("the password policy is too strict: no candidate satisfied it"))
    }
}

/// Each character as likely as any other.
fn draw(of: &[char], length: usize, random: &dyn Random) -> Vec<char> {
    let bound = u16::try_from(of.len()).unwrap_or(u16::MAX).max(1);
    // Numbers past the last multiple would make the first characters likelier.
    let fair = u16::MAX - u16::MAX % bound;
    let mut drawn = Vec::with_capacity(length);
    let mut bytes = [0; 64];
    while drawn.len() < length {
        random.fill(&mut bytes);
        let numbers = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let fair = numbers.filter(|number| *number < fair).map(|number| of[usize::from(number % bound)]);
        drawn.extend(fair.take(length - drawn.len()));
    }
    drawn
}

/// The policy `name`; the usual one when `name` is empty.
pub fn find(txn: &mut Txn<'_>, name: &str) -> Result<Option<Arc<PasswordPolicy>>, Refusal> {
    if name.is_empty() {
        return Ok(Some(USUAL.clone()));
    }
    let key = format!("{ENTRIES}{name}");
    let corrupt = || Refusal::Corrupt(format!("{ENTRIES}{name}"));
    txn.built(&key, |plain| {
        let stored: Stored = serde_json::from_slice(plain).map_err(|_| corrupt())?;
        PasswordPolicy::parse(&stored.text).map_err(|_| corrupt())
    })
}

/// As [`find`], for who cannot do without.
pub fn wanted(txn: &mut Txn<'_>, name: &str) -> Result<Arc<PasswordPolicy>, Refusal> {
    find(txn, name)?.ok_or_else(|| Refusal::invalid(format!("password policy {name:?} is not there")))
}

/// The text of the policy `name`.
pub fn text(txn: &mut Txn<'_>, name: &str) -> Result<Option<String>, Refusal> {
    Ok(txn.get_json::<Stored>(&format!("{ENTRIES}{name}"))?.map(|stored| stored.text))
}

/// Stores the policy `name`, once it is read and a password was made by it.
pub fn put(txn: &mut Txn<'_>, name: &str, text: &str) -> Result<(), Refusal> {
    PasswordPolicy::parse(text)?.generate(txn.random())?;
    txn.put_json(&format!("{ENTRIES}{name}"), &Stored { text: text.to_owned() })
}

/// Removes the policy `name`.
pub fn delete(txn: &mut Txn<'_>, name: &str) {
    txn.delete(&format!("{ENTRIES}{name}"));
}

/// The directory of the policies.
pub const fn directory() -> &'static str {
    ENTRIES
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_testkit::fakes::SeededRandom;
    use proptest::prelude::*;

    #[test]
    fn passwords_satisfy_every_rule() {
        let text = r#"length = 12
            rule "charset" { charset = "abc" min-chars = 2 }
            rule "charset" { charset = "0123456789" min-chars = 1 }"#;
        let policy = PasswordPolicy::parse(text).unwrap();
        let random = SeededRandom::new(1);
        for _ in 0..200 {
            let password = policy.generate(&random).unwrap();
            assert_eq!(password.len(), 12);
            assert!(password.chars().filter(|c| "abc".contains(*c)).count() >= 2);
            assert!(password.chars().any(|c| c.is_ascii_digit()));
        }
        let usual = PasswordPolicy::default().generate(&random).unwrap();
        assert!(usual.len() == 20 && usual.contains('-'));
    }

    #[test]
    fn policies_that_cannot_be_satisfied_are_refused() {
        for (text, wanted) in [
            ("length = 3", "4 to 100"),
            ("length = 20", "at least one rule"),
            ("length = 20 rule \"charset\" { charset = \"\" }", "must have characters"),
            ("length = 20 rule \"other\" { charset = \"a\" }", "unknown rule"),
            ("length = 4 rule \"charset\" { charset = \"a\" min-chars = 5 }", "more characters"),
            ("length", "line 1"),
        ] {
            let why = PasswordPolicy::parse(text).err().map(|why| why.to_string()).unwrap_or_default();
            assert!(why.contains(wanted), "{text}: {why}");
        }
    }

    #[test]
    fn every_character_is_as_likely_as_any_other() {
        let of: Vec<char> = "abcdefghijklmnopqrstuvwxyz".chars().collect();
        let drawn = draw(&of, 26_000, &SeededRandom::new(5));
        for c in &of {
            let count = drawn.iter().filter(|drawn| *drawn == c).count();
            assert!((800..1200).contains(&count), "{c}: {count}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,80}") {
            let _ = PasswordPolicy::parse(&text);
        }
    }
}
