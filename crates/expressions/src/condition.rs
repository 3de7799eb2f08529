//! Conditions: what is demanded of who asks, when and from where.
//!
//! They stand in policies and roles of the authority, and sealed inside Secrets. Here is what can be told of one where it is
//! written, which need not be where it is evaluated: whether it can be read, and whether it names only what there is.

use crate::cel::{Kind, Names, Program, Signature};

/// Bytes of the longest one.
pub const LONGEST: usize = 2048;
/// Steps that one evaluation may take: some tenths of a millisecond.
pub const STEPS: u64 = 10_000;

/// What they may name.
pub const VARIABLES: [&str; 6] = ["request", "time", "token", "entity", "pod", "posture"];

/// Functions besides those of the language.
pub static FUNCTIONS: &[Signature] = &[Signature { of: "", name: "inCidr", least: 2, most: 2 }];

/// Reads one.
///
/// # Errors
///
/// What is wrong with it, and where: line and column, from 1.
pub fn read(text: &str) -> Result<Program, String> {
    if text.len() > LONGEST {
        return Err(format!("the condition has over {LONGEST} bytes"));
    }
    let names = Names { roots: &VARIABLES, variables: &[], functions: FUNCTIONS, types: &[] };
    let program =
        Program::parse(text, &names).map_err(|why| format!("the condition cannot be read: {why}"))?;
    match program.kind() {
        Kind::Any | Kind::Bool => Ok(program),
        other => Err(format!("the condition yields {}, not true or false", other.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, wanted) in [
            ("posture.compliant ==", "a value is expected at 1:21"),
            (
                "posture.compliant &&\n  pods.name == 'a'",
                "undeclared reference to 'pods' at 2:3; did you mean pod?",
            ),
            ("pod.name.startWith('a')", "there is no function startWith at 1:10; did you mean startsWith?"),
            ("pod.name.startsWith()", "startsWith takes 1 to 1 arguments, and here are 0 at 1:10"),
            ("1 + 'a' == 2", "a number and a string do not go together at 1:3"),
            ("true && size(pod.name)", "&& takes a boolean, and this is a number at 1:9"),
            ("Pod{name: 'a'} == pod", "there is no type Pod at 1:1"),
            ("'a'.matches('[')", "at 1:"),
            ("pod.name", ""),
            ("size(pod.name)", "yields a number, not true or false"),
        ] {
            let why = read(text).err().unwrap_or_default();
            assert!(why.contains(wanted), "{text}: {why}");
            assert_eq!(why.is_empty(), wanted.is_empty(), "{text}: {why}");
        }
        assert!(read(&format!("'{}' == ''", "a".repeat(LONGEST))).is_err());
    }
}
