//! Limits and defaults the operator sets, the same for every request.

use std::time::Duration;

/// What Vault calls the system view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time to live of tokens and leases where nothing else says.
    pub default_ttl: Duration,
    /// Longest time to live of tokens and leases where nothing else says.
    pub max_ttl: Duration,
    /// The name shown in `sys/health` and `sys/seal-status`.
    pub cluster_name: String,
    /// The version shown to clients.
    pub version: String,
    /// Where the store's kind is shown.
    pub storage_type: String,
    /// The address clients reach this node at.
    pub api_addr: String,
}

/// 32 days, as Vault has it.
pub const DEFAULT_TTL: Duration = Duration::from_secs(768 * 3600);

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            default_ttl: DEFAULT_TTL,
            max_ttl: DEFAULT_TTL,
            cluster_name: "keyward".to_owned(),
            version: VERSION.to_owned(),
            storage_type: "memory".to_owned(),
            api_addr: String::new(),
        }
    }
}

/// What clients read as the server's version. They compare it with releases of Vault to decide what they may
/// use, so it begins with the release whose API is served; Keyward's own version is the build part.
pub const VERSION: &str = concat!("1.18.0+keyward.", env!("CARGO_PKG_VERSION"));
