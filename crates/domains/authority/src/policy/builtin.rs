//! The policies every authority has.

/// The text `default` begins with. Operators may change it; every token has it unless it was issued without.
pub const DEFAULT_POLICY: &str = r#"# What every token may do. Change it to suit you: it is never overwritten.

# The token itself: see it, renew it, revoke it, and see what it may do where.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
path "sys/capabilities-self" {
  capabilities = ["update"]
}

# Its own entity.
path "identity/entity/id/{{identity.entity.id}}" {
  capabilities = ["read"]
}
path "identity/entity/name/{{identity.entity.name}}" {
  capabilities = ["read"]
}

# What user interfaces ask for. The answer's form may change.
path "sys/internal/ui/resultant-acl" {
  capabilities = ["read"]
}

# Leases whose id it knows. sys/renew is the older path.
path "sys/renew" {
  capabilities = ["update"]
}
path "sys/leases/renew" {
  capabilities = ["update"]
}
path "sys/leases/lookup" {
  capabilities = ["update"]
}

# Its own cubbyhole.
path "cubbyhole/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# Wrapping.
path "sys/wrapping/wrap" {
  capabilities = ["update"]
}
path "sys/wrapping/lookup" {
  capabilities = ["update"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}

# Hashing.
path "sys/tools/hash" {
  capabilities = ["update"]
}
path "sys/tools/hash/*" {
  capabilities = ["update"]
}

# The state of a control group request whose accessor it knows.
path "sys/control-group/request" {
  capabilities = ["update"]
}

# Signing in to applications by OpenID Connect.
path "identity/oidc/provider/+/authorize" {
  capabilities = ["read", "update"]
}
"#;

/// The text of `response-wrapping`, the policy of wrapping tokens.
pub const RESPONSE_WRAPPING_POLICY: &str = r#"path "cubbyhole/response" {
  capabilities = ["read"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}
"#;

/// Whether a policy can be neither changed nor removed. (`default` can be changed, but not removed.)
pub fn is_immutable(name: &str) -> bool {
    matches!(name, "root" | "response-wrapping" | "control-group")
}

/// Whether a token may be given a policy by name.
pub fn is_assignable(name: &str) -> bool {
    !matches!(name, "response-wrapping" | "control-group")
}

/// A list of policies as a token has it: trimmed, in lower case, each once, in order. `root` stands alone: it
/// grants all the others could.
pub fn sanitize<I: IntoIterator<Item = S>, S: AsRef<str>>(names: I) -> Vec<String> {
    let mut names: Vec<String> = names
        .into_iter()
        .map(|name| name.as_ref().trim().to_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    if names.iter().any(|name| name == "root") {
        return vec!["root".to_owned()];
    }
    names.sort();
    names.dedup();
    names
}
