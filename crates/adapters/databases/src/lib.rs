//! Users of databases: made, changed and removed on servers that are somebody else's.
//!
//! What is to be said to a server is the caller's decision, down to the SQL; what is known here is how to speak to each
//! kind of server, how to keep connections, and how to tell whether a failure may have left something behind.
//!
//! No error repeats a statement: statements hold passwords.

mod mysql;
mod pool;
mod postgresql;
mod redis;
mod tls;

pub use pool::Databases;

use keyward_crypto::Secret;
use std::sync::Arc;
use std::time::Duration;

/// For a connection to be opened, and for work to be done on it.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// For all of it: a connection to get, and the work on it.
pub const PATIENCE: Duration = Duration::from_secs(40);

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
#[derive(Clone, Debug)]
pub struct Tls {
    /// See [`TlsMode`].
    pub mode: TlsMode,
    /// Authorities in PEM; the machine's own when absent.
    pub authorities: Option<Arc<str>>,
    /// The name the certificate must have, if it is not the host's.
    pub server_name: Option<String>,
    /// What we show: certificates and their key in PEM.
    pub identity: Option<(Arc<str>, Arc<Secret<String>>)>,
}

/// A server, and who asks it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Names the connections kept: those of an older `version` under the same name are closed.
    pub pool: String,
    /// Another number after every change of what follows.
    pub version: u64,
    /// See [`Dialect`].
    pub dialect: Dialect,
    /// Hosts and ports, tried in order.
    pub hosts: Vec<(String, u16)>,
    /// The database; the server's choice when empty.
    pub database: String,
    /// The user. When it is empty, `PGUSER` or who runs the process, as libpq has it.
    pub user: String,
    /// Tried in order.
    pub passwords: Vec<Arc<Secret<String>>>,
    /// See [`Tls`].
    pub tls: Tls,
    /// Settings of the session, by name; PostgreSQL only.
    pub options: Vec<(String, String)>,
    /// Connections at a time.
    pub open: usize,
    /// Connections kept while nobody needs them.
    pub idle: usize,
    /// Connections older than this are closed; never when zero.
    pub lifetime: Duration,
}

/// What is asked of a server. Everything can be asked twice.
pub enum Work<'w> {
    /// To be there, and to let us in.
    Verify,
    /// SQL, in order; in one transaction on servers that have them for this.
    Run(Vec<&'w str>),
    /// That a user be gone with all rights and sessions: by this SQL, else as is usual.
    Drop {
        /// The user.
        user: &'w str,
        /// In order.
        statements: &'w [String],
    },
    /// Commands, each in its words; Redis only.
    Commands(Vec<Vec<&'w str>>),
}

/// Why work was not done; for people, without any secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub why: String,
    /// It is certain that nothing was changed.
    pub nothing_done: bool,
}

impl Failure {
    pub(crate) fn before(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), nothing_done: true }
    }

    pub(crate) fn during(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), nothing_done: false }
    }
}
