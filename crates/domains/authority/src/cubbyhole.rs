//! Where a token's own entries are kept: they end with the token, and no other token can name them.

/// The directory of all of them.
pub const ENTRIES: &str = "cubbyhole/";

/// The directory of the token stored as `name`.
pub fn prefix(name: &str) -> String {
    format!("{ENTRIES}{name}/")
}

/// Where a wrapping token keeps the answer it stands for.
pub fn wrapped_key(name: &str) -> String {
    format!("{ENTRIES}{name}/response")
}
