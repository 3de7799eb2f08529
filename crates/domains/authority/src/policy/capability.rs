//! What a path may be used for.

use crate::request::Operation;
use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of capabilities.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u16);

/// In the order `sys/capabilities` answers them.
const NAMES: [(&str, Capabilities); 11] = [
    ("create", Capabilities::CREATE),
    ("delete", Capabilities::DELETE),
    ("deny", Capabilities::DENY),
    ("list", Capabilities::LIST),
    ("patch", Capabilities::PATCH),
    ("read", Capabilities::READ),
    ("recover", Capabilities::RECOVER),
    ("scan", Capabilities::SCAN),
    ("subscribe", Capabilities::SUBSCRIBE),
    ("sudo", Capabilities::SUDO),
    ("update", Capabilities::UPDATE),
];

impl Capabilities {
    /// No capability.
    pub const NONE: Capabilities = Capabilities(0);
    /// Nothing at all, whatever else is granted.
    pub const DENY: Capabilities = Capabilities(1);
    /// Write where nothing is.
    pub const CREATE: Capabilities = Capabilities(1 << 1);
    /// Read.
    pub const READ: Capabilities = Capabilities(1 << 2);
    /// Write where something may be.
    pub const UPDATE: Capabilities = Capabilities(1 << 3);
    /// Change parts.
    pub const PATCH: Capabilities = Capabilities(1 << 4);
    /// Delete.
    pub const DELETE: Capabilities = Capabilities(1 << 5);
    /// List one level of names.
    pub const LIST: Capabilities = Capabilities(1 << 6);
    /// List names recursively.
    pub const SCAN: Capabilities = Capabilities(1 << 7);
    /// Use a root-protected path, on top of what the operation needs.
    pub const SUDO: Capabilities = Capabilities(1 << 8);
    /// Receive events.
    pub const SUBSCRIBE: Capabilities = Capabilities(1 << 9);
    /// Read from a snapshot and write back.
    pub const RECOVER: Capabilities = Capabilities(1 << 10);

    /// The capability of this name.
    pub fn named(name: &str) -> Option<Capabilities> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, capability)| *capability)
    }

    /// All names there are.
    pub fn all_names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// The names of the capabilities in the set, in alphabetical order.
    pub fn names(self) -> Vec<&'static str> {
        NAMES.iter().filter(|(_, capability)| self.has(*capability)).map(|(name, _)| *name).collect()
    }

    /// Whether all of `other` is in the set.
    pub const fn has(self, other: Capabilities) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether something is granted.
    pub const fn grants(self) -> bool {
        !self.is_empty() && !self.has(Capabilities::DENY)
    }

    /// Unites the two; a denial on either side leaves nothing but the denial.
    #[must_use]
    pub fn merged(self, other: Capabilities) -> Capabilities {
        let both = self | other;
        if both.has(Capabilities::DENY) { Capabilities::DENY } else { both }
    }

    /// What `operation` needs. `Help` needs nothing.
    pub const fn needed(operation: Operation) -> Capabilities {
        match operation {
            Operation::Create => Capabilities::CREATE,
            Operation::Read => Capabilities::READ,
            Operation::Update => Capabilities::UPDATE,
            Operation::Patch => Capabilities::PATCH,
            Operation::Delete => Capabilities::DELETE,
            Operation::List => Capabilities::LIST,
            Operation::Help => Capabilities::NONE,
        }
    }
}

impl BitOr for Capabilities {
    type Output = Capabilities;
    fn bitor(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 | other.0)
    }
}

impl BitOrAssign for Capabilities {
    fn bitor_assign(&mut self, other: Capabilities) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.names().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bits_belong_together() {
        let all: Vec<_> = Capabilities::all_names().collect();
        assert!(all.is_sorted(), "{all:?}");
        for name in &all {
            assert_eq!(Capabilities::named(name).map(Capabilities::names), Some(vec![*name]));
        }
        let union =
            all.iter().filter_map(|name| Capabilities::named(name)).fold(Capabilities::NONE, BitOr::bitor);
        assert_eq!(union.names(), all);
        assert_eq!(Capabilities::named("Read"), None);
    }

    #[test]
    fn a_denial_is_all_that_is_left() {
        let some = Capabilities::READ | Capabilities::SUDO;
        assert_eq!(some.merged(Capabilities::DENY), Capabilities::DENY);
        assert_eq!(Capabilities::DENY.merged(some), Capabilities::DENY);
        assert_eq!(some.merged(Capabilities::LIST).names(), ["list", "read", "sudo"]);
        assert!(some.grants() && !Capabilities::DENY.grants() && !Capabilities::NONE.grants());
    }
}
