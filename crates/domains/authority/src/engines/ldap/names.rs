//! What is put into filters (RFC 4515) and names (RFC 4514), and what is read out of names.

use crate::refusal::Refusal;

/// `text` as a value in a filter: nothing in it is a part of the filter.
pub fn filter_value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'*' | b'(' | b')' | b'\\' | 0x00..=0x1f | 0x7f..=0xff => out.push_str(&format!("\\{byte:02x}")),
            plain => out.push(char::from(plain)),
        }
    }
    out
}

/// `text` as a value in a name: nothing in it is a part of the name.
pub fn name_value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '=' | '>' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '#' | ' ' if at == 0 => {
                out.push('\\');
                out.push(c);
            }
            ' ' if at == last => out.push_str("\\ "),
            '\0'..='\x1f' => out.push_str(&format!("\\{:02x}", u32::from(c))),
            plain => out.push(plain),
        }
    }
    out
}

/// The value of the first common name in a name; none when it is no name or has none.
pub fn common_name(dn: &str) -> Option<String> {
    let mut parts = Vec::new();
    let (mut part, mut escaped) = (String::new(), false);
    for c in dn.chars() {
        match c {
            ',' | '+' | ';' if !escaped => parts.push(std::mem::take(&mut part)),
            _ => part.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(part);
    let is_pair = |part: &&String| part.contains('=');
    if !parts.iter().all(|part| is_pair(&part)) {
        return None;
    }
    let value = parts.iter().find_map(|part| {
        let (kind, value) = part.split_once('=')?;
        kind.trim().eq_ignore_ascii_case("cn").then_some(value)
    })?;
    // Only spaces are none of a name (RFC 4514, section 2.4).
    unescaped(value.trim_start_matches(' '))
}

fn unescaped(value: &str) -> Option<String> {
    let mut out = Vec::with_capacity(value.len());
    let bytes = value.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|pair| pair.iter().all(u8::is_ascii_hexdigit));
        match (byte, digits) {
            (b'\\', Some(pair)) => {
                out.push(u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?);
                at += 3;
            }
            (b'\\', None) => {
                out.push(*bytes.get(at + 1)?);
                at += 2;
            }
            (plain, _) => {
                out.push(*plain);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

/// A filter with places such as `{{.Username}}` in it, as Vault's configuration has them.
pub fn fill(filter: &str, field: &str, values: &[(&str, &str)]) -> Result<String, Refusal> {
    let known = || values.iter().map(|(name, _)| format!("{{{{.{name}}}}}")).collect::<Vec<_>>().join(", ");
    let odd = || Refusal::invalid(format!("{field}: the places to fill in are {}", known()));
    let mut parts = filter.split("{{");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (inside, after) = part.split_once("}}").ok_or_else(odd)?;
        let name = inside.trim().strip_prefix('.').ok_or_else(odd)?;
        let (_, value) = values.iter().find(|(known, _)| *known == name).ok_or_else(odd)?;
        out.push_str(value);
        out.push_str(after);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_stays_a_value() {
        for (text, in_filter, in_name) in [
            ("ada", "ada", "ada"),
            ("*", "\\2a", "*"),
            ("a)(uid=*", "a\\29\\28uid=\\2a", "a)(uid\\=*"),
            ("a\\2a", "a\\5c2a", "a\\\\2a"),
            ("a,ou=x", "a,ou=x", "a\\,ou\\=x"),
            (" a ", " a ", "\\ a\\ "),
            ("#a", "#a", "\\#a"),
            ("a\0b", "a\\00b", "a\\00b"),
            ("ü", "\\c3\\bc", "ü"),
        ] {
            assert_eq!((filter_value(text).as_str(), name_value(text).as_str()), (in_filter, in_name));
        }
    }

    #[test]
    fn names_are_read() {
        for (dn, wanted) in [
            ("cn=ops,ou=groups,dc=example,dc=com", Some("ops")),
            ("uid=a,CN=Ops Team,dc=com", Some("Ops Team")),
            ("cn=a\\,b,dc=com", Some("a,b")),
            ("cn=a\\2cb,dc=com", Some("a,b")),
            ("cn=a+uid=b,dc=com", Some("a")),
            ("ou=x,dc=com", None),
            ("ops", None),
            ("cn=a,ops", None),
            ("", None),
        ] {
            assert_eq!(common_name(dn).as_deref(), wanted, "{dn}");
        }
    }

    #[test]
    fn places_are_filled_in() {
        let values = [("Username", "ada"), ("UserDN", "cn=ada")];
        let fill = |filter: &str| fill(filter, "groupfilter", &values).ok();
        assert_eq!(fill("(|(a={{.Username}})(b={{ .UserDN }}))").as_deref(), Some("(|(a=ada)(b=cn=ada))"));
        for odd in ["{{.Other}}", "{{Username}}", "{{.Username", "{{if .Username}}x{{end}}"] {
            assert_eq!(fill(odd), None, "{odd}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_value_is_a_part(text in ".{0,40}") {
            let filter = filter_value(&text);
            let has_none = |specials: &[char]| !filter.contains(specials);
            assert!(has_none(&['(', ')', '*', '\0']));
            // Read back as it was put in, whatever it was.
            assert_eq!(common_name(&format!("cn={},dc=com", name_value(&text))), Some(text));
        }

        #[test]
        fn reading_never_panics(dn in ".{0,60}") {
            let _ = common_name(&dn);
            let _ = fill(&dn, "f", &[("A", "b")]);
        }
    }
}
