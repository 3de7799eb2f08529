//! Hashing what a record may not show: JSON text in, JSON text out, in one pass and on one line.

use super::hashes::Hashes;

/// Appends `text` as a JSON string.
pub(super) fn push_string(out: &mut String, text: &str) {
    let is_special = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
    out.push('"');
    let mut clean = 0;
    // Most texts have nothing to escape, and looking at all bytes without a branch is many times faster.
    let has_special = text.bytes().fold(false, |found, byte| found | is_special(byte));
    for (at, byte) in text.bytes().enumerate().take(if has_special { text.len() } else { 0 }) {
        if !is_special(byte) {
            continue;
        }
        out.push_str(&text[clean..at]);
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            other => out.push_str(&format!("\\u{other:04x}")),
        }
        clean = at + 1;
    }
    out.push_str(&text[clean..]);
    out.push('"');
}

/// Which numbers are hashed besides all strings. Numbers of our own making (versions, times, sizes) tell an
/// auditor what happened; numbers that users keep may be secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// None.
    Shown,
    /// All.
    Hashed,
    /// Those inside this top-level member.
    HashedIn(&'static str),
}

/// How values are hashed.
pub(super) struct Rules<'a> {
    pub(super) hashes: &'a Hashes,
    /// Members whose strings are shown as they are.
    pub(super) shown: &'a [String],
    pub(super) numbers: Numbers,
}

struct Frame<'j> {
    is_object: bool,
    /// The member being read, or the one the list belongs to; without its quotes, escapes and all.
    name: &'j str,
}

/// Appends `json`, which is valid, with every string value hashed; the names of members are not. `name` is the
/// member that the value belongs to. Stops and answers `false` once it has appended more than `most` bytes.
pub(super) fn push_hashed(out: &mut String, json: &str, name: &str, rules: &Rules<'_>, most: usize) -> bool {
    let (bytes, end) = (json.as_bytes(), out.len().saturating_add(most));
    let mut stack = vec![Frame { is_object: false, name }];
    let (mut at, mut expects_name) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        let next = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => at + 1,
            b'"' => {
                let next = string_end(bytes, at);
                let inside = json.get(at + 1..next - 1).unwrap_or("");
                match stack.last_mut() {
                    Some(frame) if expects_name => {
                        frame.name = inside;
                        out.push_str(&json[at..next]);
                    }
                    Some(frame) if rules.shown.iter().any(|shown| shown == frame.name) => {
                        out.push_str(&json[at..next]);
                    }
                    _ => push_hashed_string(out, rules.hashes, &json[at..next], inside),
                }
                next
            }
            b'-' | b'0'..=b'9' => {
                let next = literal_end(bytes, at);
                if hides_numbers(rules.numbers, name, &stack) {
                    out.push('"');
                    rules.hashes.push(out, &bytes[at..next]);
                    out.push('"');
                } else {
                    out.push_str(&json[at..next]);
                }
                next
            }
            b't' | b'f' | b'n' => {
                let next = literal_end(bytes, at);
                out.push_str(&json[at..next]);
                next
            }
            mark => {
                match mark {
                    b'{' => stack.push(Frame { is_object: true, name: "" }),
                    b'[' => {
                        let name = stack.last().map_or("", |frame| frame.name);
                        stack.push(Frame { is_object: false, name });
                    }
                    b'}' | b']' => drop(stack.pop()),
                    _ => {}
                }
                let in_object = stack.last().is_some_and(|frame| frame.is_object);
                expects_name = in_object && matches!(mark, b'{' | b',');
                out.push(char::from(mark));
                at + 1
            }
        };
        at = next;
        if out.len() > end {
            return false;
        }
    }
    true
}

fn push_hashed_string(out: &mut String, hashes: &Hashes, quoted: &str, inside: &str) {
    out.push('"');
    if inside.contains('\\') {
        // A lone surrogate has no text: what was sent stands for it.
        let decoded: Option<String> = serde_json::from_str(quoted).ok();
        let decoded = zeroize::Zeroizing::new(decoded.unwrap_or_else(|| inside.to_owned()));
        hashes.push(out, decoded.as_bytes());
    } else {
        hashes.push(out, inside.as_bytes());
    }
    out.push('"');
}

fn hides_numbers(numbers: Numbers, name: &str, stack: &[Frame<'_>]) -> bool {
    match numbers {
        Numbers::Shown => false,
        Numbers::Hashed => true,
        // The text is either the value of a top-level member or the object of them all.
        Numbers::HashedIn(hidden) => {
            let top = if name.is_empty() { stack.get(1).map_or("", |frame| frame.name) } else { name };
            top == hidden
        }
    }
}

/// The position behind the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut from = at + 1;
    while let Some(offset) = bytes[from..].iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        match bytes[from + offset] {
            b'"' => return from + offset + 1,
            _ => from = (from + offset + 2).min(bytes.len()),
        }
    }
    bytes.len()
}

fn literal_end(bytes: &[u8], at: usize) -> usize {
    let end = bytes[at..].iter().position(|byte| b",]} \t\r\n".contains(byte));
    end.map_or(bytes.len(), |offset| at + offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_crypto::MacKey;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn hashes() -> Hashes {
        Hashes::new(Arc::new(MacKey::new(b"k")))
    }

    fn hashed(json: &str, shown: &[&str], numbers: Numbers) -> Value {
        let hashes = hashes();
        let shown: Vec<String> = shown.iter().map(|name| (*name).to_owned()).collect();
        let rules = Rules { hashes: &hashes, shown: &shown, numbers };
        let mut out = String::new();
        assert!(push_hashed(&mut out, json, "", &rules, usize::MAX));
        assert!(!out.contains('\n'), "{out}");
        serde_json::from_str(&out).unwrap_or_else(|why| panic!("{out}: {why}"))
    }

    fn hash(text: &str) -> String {
        hashes().of(text)
    }

    #[test]
    fn strings_are_hashed_wherever_they_are() {
        let json = "{\n \"a\" : \"x\", \"b\":[\"x\", {\"c\":\"\\u0078\",\"d\":null}, [\"\"]], \"n\":1.50, \"t\":true,\"e\":{}}";
        assert_eq!(
            hashed(json, &[], Numbers::Shown),
            json!({"a":hash("x"),"b":[hash("x"),{"c":hash("x"),"d":null},[hash("")]],"n":1.5,"t":true,"e":{}})
        );
    }

    #[test]
    fn members_named_are_shown_at_any_depth_and_their_lists_too() {
        let json = r#"{"a":"x","b":{"a":["x",["y"],{"z":"x"}]},"c":["x"]}"#;
        assert_eq!(
            hashed(json, &["a"], Numbers::Shown),
            json!({"a":"x","b":{"a":["x",["y"],{"z":hash("x")}]},"c":[hash("x")]})
        );
    }

    #[test]
    fn numbers_that_users_keep_are_hashed() {
        let json = r#"{"data":{"pin":1234,"l":[-1.5e3]},"options":{"cas":2}}"#;
        assert_eq!(
            hashed(json, &[], Numbers::HashedIn("data")),
            json!({"data":{"pin":hash("1234"),"l":[hash("-1.5e3")]},"options":{"cas":2}})
        );
        assert_eq!(hashed(json, &[], Numbers::Hashed)["options"]["cas"], hash("2"));
    }

    #[test]
    fn a_member_by_itself_knows_its_name() {
        let hashes = hashes();
        let shown = ["show".to_owned()];
        let rules = Rules { hashes: &hashes, shown: &shown, numbers: Numbers::HashedIn("data") };
        for (name, json, wanted) in [
            ("show", "[\"x\",7]", "[\"x\",7]".to_owned()),
            ("data", "{\"a\":7}", format!("{{\"a\":\"{}\"}}", hash("7"))),
            ("data", "7", format!("\"{}\"", hash("7"))),
            ("other", "{\"data\":7}", "{\"data\":7}".to_owned()),
        ] {
            let mut out = String::new();
            assert!(push_hashed(&mut out, json, name, &rules, usize::MAX));
            assert_eq!(out, wanted);
        }
    }

    #[test]
    fn what_grows_too_long_is_given_up() {
        let json = format!("[{}\"\"]", "\"\",".repeat(1000));
        let hashes = hashes();
        let rules = Rules { hashes: &hashes, shown: &[], numbers: Numbers::Shown };
        let mut out = String::from("before");
        assert!(!push_hashed(&mut out, &json, "", &rules, 2000));
        assert!(out.len() < 2200, "{}", out.len());
    }

    proptest::proptest! {
        #[test]
        fn strings_are_written_as_json(text in ".*") {
            let mut out = String::new();
            push_string(&mut out, &text);
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }

        #[test]
        fn nothing_but_names_remains(values in proptest::collection::vec("[a-z\"\\\\\n\u{e9}]{4,12}", 1..6)) {
            let nested = json!({"n": values, "m": {"o": values}});
            let pretty = serde_json::to_string_pretty(&nested).unwrap();
            let shown = hashed(&pretty, &[], Numbers::Shown).to_string();
            for value in &values {
                let quoted = serde_json::to_string(value).unwrap();
                proptest::prop_assert!(!shown.contains(&quoted), "{} in {}", quoted, shown);
            }
            let wanted: Vec<String> = values.iter().map(|value| hash(value)).collect();
            proptest::prop_assert_eq!(hashed(&pretty, &[], Numbers::Shown), json!({"n": wanted, "m": {"o": wanted}}));
        }
    }
}
