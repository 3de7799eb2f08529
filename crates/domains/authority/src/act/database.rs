//! What a database is asked to do, as a value.

use crate::outside::Hidden;
use std::sync::Arc;
use std::time::Duration;

/// Which language a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    PostgreSql,
    /// MySQL and MariaDB.
    MySql,
    /// Redis and Valkey.
    Redis,
}

/// How far a server's TLS is believed; as `sslmode` of PostgreSQL's clients has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS where the server offers it, whoever it is.
    Prefer,
    /// TLS, whoever the server is.
    Require,
    /// TLS, by a certificate that the known authorities signed.
    VerifyCa,
    /// That, and for this host name.
    VerifyFull,
}

/// TLS to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// See [`TlsMode`].
    pub mode: TlsMode,
    /// Authorities in PEM; the machine's own when absent.
    pub authorities: Option<Arc<str>>,
    /// The name the certificate must have, if it is not the host's.
    pub server_name: Option<String>,
    /// What we show: certificates in PEM, and their key.
    pub identity: Option<(Arc<str>, Arc<Hidden>)>,
}

/// How connections are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// At most so many at a time.
    pub open: usize,
    /// Kept while nobody needs them.
    pub idle: usize,
    /// Closed when they are older; never when zero.
    pub lifetime: Duration,
}

/// A server, and who asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Names the pool of connections: one for each configuration.
    pub pool: String,
    /// Another number after every change of the configuration.
    pub version: u64,
    /// See [`Dialect`].
    pub dialect: Dialect,
    /// Hosts and ports, tried in order.
    pub hosts: Vec<(String, u16)>,
    /// The database; the server's choice when empty.
    pub database: String,
    /// The user; who runs the process when empty.
    pub user: String,
    /// Tried in order. There is a second only while it is not known whether the server has taken a new one.
    pub passwords: Vec<Arc<Hidden>>,
    /// See [`Tls`].
    pub tls: Tls,
    /// Settings of the session, by name.
    pub options: Vec<(String, String)>,
    /// See [`Limits`].
    pub limits: Limits,
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    /// To be there, and to let us in.
    Verify,
    /// SQL, in order; in one transaction where the server has them.
    Run(Vec<Hidden>),
    /// That a user be gone with all rights and sessions: by this SQL, else as is usual.
    Drop {
        /// The user.
        user: String,
        /// In order.
        statements: Vec<String>,
    },
    /// Commands, each in its words.
    Commands(Vec<Vec<Hidden>>),
}

/// Work for a server.
#[derive(Debug, PartialEq, Eq)]
pub struct Deed {
    /// Whose.
    pub server: Arc<Server>,
    /// What.
    pub work: Work,
}
