//! What a directory is asked to do, as a value.

use crate::outside::Hidden;
use crate::outside::ldap::Server;
use std::sync::Arc;

/// A new password for whoever binds (RFC 3062).
#[derive(Debug, PartialEq, Eq)]
pub struct Deed {
    /// Of whom it is asked.
    pub server: Arc<Server>,
    /// Who binds.
    pub name: String,
    /// Tried in order. There is a second only while it is not known whether the directory has taken a new one.
    pub passwords: Vec<Hidden>,
    /// The password from now on; it may be the present one already.
    pub new: Hidden,
}
