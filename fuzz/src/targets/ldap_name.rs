//! Names of directories' entries, and what callers' names become in filters and names.

use keyward_authority::engines::ldap::names::{common_name, fill, filter_value, name_value};

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    let _ = common_name(text);
    let filter = filter_value(text);
    assert!(!filter.contains(['(', ')', '*', '\0']), "{text}");
    assert_eq!(common_name(&format!("cn={},dc=com", name_value(text))).as_deref(), Some(text));
    if let Ok(filled) = fill(text, "filter", &[("Username", "ada")]) {
        assert!(!filled.contains("{{"), "{text}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&["cn=a\\,b\\2c,ou=x+uid=y,dc=com", "ada)(uid=*", "(&(a={{.Username}})(b={{ .Username }}))", " #a "])
}
