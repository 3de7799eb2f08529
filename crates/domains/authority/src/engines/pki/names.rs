//! Which names a role allows.

use super::role::Role;

/// The first of `names` that `role` does not allow.
pub(super) fn refused<'n>(role: &Role, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names.into_iter().find(|name| !allows(role, name))
}

/// Whether `role` allows `name` as a common name.
pub(super) fn allows_common_name(role: &Role, name: &str) -> bool {
    if role.cn_validations == ["disabled"] {
        return true;
    }
    let kind = if name.contains('@') { "email" } else { "hostname" };
    allows(role, name) && role.cn_validations.iter().any(|allowed| allowed == kind)
}

/// Whether `role` allows a host name or e-mail address.
fn allows(role: &Role, name: &str) -> bool {
    let Some(parts) = Parts::of(name) else { return false };
    if parts.wildcard.is_some() && (!role.allow_wildcard_certificates || parts.email) {
        return false;
    }
    if role.enforce_hostnames {
        let base = parts.base.is_empty() && parts.wildcard.is_some() || is_hostname(parts.base);
        if !base || !parts.wildcard.is_none_or(is_wildcard_label) {
            return false;
        }
    }
    role.allow_any_name || allows_localhost(role, &parts) || allows_domain(role, name, &parts)
}

/// A name in its parts.
struct Parts<'n> {
    /// The host without the label of a wildcard.
    base: &'n str,
    /// The leftmost label, when it has a wildcard.
    wildcard: Option<&'n str>,
    email: bool,
}

impl<'n> Parts<'n> {
    fn of(name: &'n str) -> Option<Parts<'n>> {
        let mut halves = name.split('@');
        let (first, second) = (halves.next()?, halves.next());
        if halves.next().is_some() {
            return None;
        }
        let (host, email) = (second.unwrap_or(first), second.is_some());
        if !host.contains('*') {
            return Some(Parts { base: host, wildcard: None, email });
        }
        let (label, base) = host.split_once('.').unwrap_or((host, ""));
        let one = label.matches('*').count() == 1 && !base.contains('*');
        one.then_some(Parts { base, wildcard: Some(label), email })
    }

    /// Whether the name stands below `domain`, or is a wildcard directly below it.
    fn is_below(&self, domain: &str) -> bool {
        let (base, domain) = (self.base.to_ascii_lowercase(), domain.to_ascii_lowercase());
        base.strip_suffix(&domain).is_some_and(|above| above.ends_with('.') && !domain.is_empty())
            || (self.wildcard.is_some() && base == domain)
    }
}

fn allows_localhost(role: &Role, parts: &Parts<'_>) -> bool {
    let local = ["localhost", "localdomain"];
    role.allow_localhost
        && (local.contains(&parts.base) && parts.wildcard.is_none()
            || role.allow_subdomains && local.iter().any(|domain| parts.is_below(domain)))
}

fn allows_domain(role: &Role, name: &str, parts: &Parts<'_>) -> bool {
    role.allowed_domains.iter().filter(|domain| !domain.is_empty()).any(|domain| {
        let bare =
            name.eq_ignore_ascii_case(domain) || parts.email && parts.base.eq_ignore_ascii_case(domain);
        role.allow_bare_domains && bare
            || role.allow_subdomains && parts.is_below(domain)
            || role.allow_glob_domains && domain.contains('*') && glob(domain, name)
    })
}

/// A host name of letters, digits and hyphens (RFC 1123, 2.1), perhaps with a dot at the end.
pub(super) fn is_hostname(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        let edge = |c: char| c.is_ascii_alphanumeric();
        (1..=63).contains(&label.len())
            && label.starts_with(edge)
            && label.ends_with(edge)
            && label.chars().all(|c| edge(c) || c == '-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// A host name, or one with a wildcard as its whole first label: what becomes an alternative name.
pub(super) fn is_certifiable(name: &str) -> bool {
    is_hostname(name.strip_prefix("*.").unwrap_or(name))
}

/// One wildcard, alone or beside letters, digits and inner hyphens (RFC 6125, 6.4.3).
fn is_wildcard_label(label: &str) -> bool {
    let (before, after) = label.split_once('*').unwrap_or((label, ""));
    let part = |part: &str| part.is_empty() || is_hostname(part) && !part.contains('.');
    part(before) && part(after)
}

/// Whether `pattern` matches `text`, where `*` stands for any characters, none among them.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = rest.get(at + piece.len()..).unwrap_or("");
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn role(domains: &[&str]) -> Role {
        let allowed_domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
        Role { allowed_domains, allow_localhost: false, ..Role::default() }
    }

    fn check(role: &Role, allowed: &[&str], not_allowed: &[&str]) {
        for name in allowed {
            assert!(allows(role, name), "{name} should be allowed");
        }
        for name in not_allowed {
            assert!(!allows(role, name), "{name} should not be allowed");
        }
    }

    #[test]
    fn bare_domains_are_only_themselves() {
        let role = Role { allow_bare_domains: true, ..role(&["example.com", "a@b.org"]) };
        check(
            &role,
            &["example.com", "EXAMPLE.com", "me@example.com"],
            &[
                "a.example.com",
                "*.example.com",
                "xexample.com",
                "example.com.evil.org",
                "me@a.example.com",
                "",
            ],
        );
    }

    #[test]
    fn subdomains_are_below_a_dot() {
        let role = Role { allow_subdomains: true, ..role(&["example.com"]) };
        check(
            &role,
            &[
                "a.example.com",
                "a.b.Example.com",
                "*.example.com",
                "*.a.example.com",
                "f*.example.com",
                "x@a.example.com",
            ],
            &[
                "example.com",
                "aexample.com",
                "a.*.example.com",
                "**.example.com",
                "a.example.com@evil.org",
                "x@y@a.example.com",
            ],
        );
        let strict = Role { allow_wildcard_certificates: false, ..role };
        check(&strict, &["a.example.com"], &["*.example.com", "f*.example.com"]);
    }

    #[test]
    fn globs_match_whole_names() {
        let role = Role { allow_glob_domains: true, ..role(&["ftp*.example.com"]) };
        check(
            &role,
            &["ftp1.example.com", "ftp.example.com"],
            &["ftp.example.com.evil.org", "web.example.com"],
        );
    }

    #[test]
    fn local_names_need_their_switch() {
        let on = Role { allow_localhost: true, ..role(&[]) };
        check(
            &on,
            &["localhost", "localdomain", "me@localhost"],
            &["a.localhost", "*.localhost", "example.com"],
        );
        check(&Role { allow_subdomains: true, ..on }, &["a.localhost", "*.localdomain"], &["alocalhost"]);
        check(&role(&[]), &[], &["localhost"]);
    }

    #[test]
    fn hostnames_are_enforced_even_for_any_name() {
        let any = Role { allow_any_name: true, ..role(&[]) };
        let long = "a".repeat(64);
        check(
            &any,
            &["a", "a-b.c", "*.a", "*", "a.", "b*z.example.net"],
            &["a b", "-a", "a-", "a_b", "a..b", "", &long, "a\0b", "ä.de", "*-.example.net"],
        );
        check(&Role { enforce_hostnames: false, ..any }, &["a b", "ä.de", "User 7"], &["a*b*c", "a@b@c"]);
    }

    #[test]
    fn common_names_are_what_they_may_be() {
        let role = Role { allow_any_name: true, enforce_hostnames: false, ..role(&[]) };
        let with = |kinds: &[&str]| Role {
            cn_validations: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            ..role.clone()
        };
        assert!(allows_common_name(&with(&["email"]), "a@b") && !allows_common_name(&with(&["email"]), "b"));
        assert!(
            allows_common_name(&with(&["hostname"]), "b") && !allows_common_name(&with(&["hostname"]), "a@b")
        );
        assert!(allows_common_name(&Role { allow_any_name: false, ..with(&["disabled"]) }, "Anyone at all"));
    }

    proptest! {
        #[test]
        fn no_name_escapes_its_domain(name in "[a-z*@.]{0,12}\\PC{0,3}") {
            let role = Role { allow_subdomains: true, allow_bare_domains: true, ..role(&["example.com"]) };
            if allows(&role, &name) {
                let host = name.rsplit('@').next().unwrap_or_default();
                prop_assert!(host == "example.com" || host.ends_with(".example.com"), "{name}");
            }
        }

        #[test]
        fn a_glob_without_stars_is_equality(pattern in "[ab]{0,4}", text in "[ab]{0,4}") {
            prop_assert_eq!(glob(&pattern, &text), pattern == text);
            let around = format!("*{pattern}*");
            prop_assert_eq!(glob(&around, &text), text.contains(&pattern));
        }
    }
}
