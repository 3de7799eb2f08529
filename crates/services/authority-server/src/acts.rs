//! Doing what is to be done outside: see [`keyward_authority::act`].

mod challenge;

pub use challenge::Reach;

use challenge::Challenges;
use keyward_authority::act::database::{self as asked, Deed};
use keyward_authority::act::{Act, Done, Failure};
use keyward_crypto::Secret;
use keyward_databases::{Databases, Dialect, Server, Tls, TlsMode, Work};
use std::sync::Arc;

/// The other systems that things are done by.
pub(crate) struct Acts {
    databases: Databases,
    challenges: Challenges,
}

impl Acts {
    /// With challenges that lead as far as `reach` says.
    pub(crate) fn new(reach: Reach) -> Acts {
        Acts { databases: Databases::default(), challenges: Challenges::new(reach) }
    }

    /// Does `act`. Takes no longer than [`keyward_databases::PATIENCE`], which is less than what a lease allows for.
    pub(crate) async fn perform(&self, act: &Act) -> Done {
        match act {
            Act::Database(deed) => self.ask_database(deed).await,
            Act::Challenge(challenge) => self.challenges.perform(challenge).await,
        }
    }

    async fn ask_database(&self, deed: &Deed) -> Done {
        let work = match &deed.work {
            asked::Work::Verify => Work::Verify,
            asked::Work::Run(statements) => {
                Work::Run(statements.iter().map(|statement| statement.0.expose().as_str()).collect())
            }
            asked::Work::Drop { user, statements } => Work::Drop { user, statements },
            asked::Work::Commands(commands) => {
                Work::Commands(commands.iter().map(|words| words.iter().map(exposed).collect()).collect())
            }
        };
        let done = self.databases.perform(&Arc::new(server(&deed.server)), &work).await;
        if matches!(work, Work::Verify) {
            // It was never more than tried out.
            self.databases.forget(|pool| *pool == deed.server.pool);
        }
        done.map_err(|failure| Failure { why: failure.why, nothing_done: failure.nothing_done })
    }
}

fn exposed(word: &keyward_authority::outside::Hidden) -> &str {
    word.0.expose()
}

/// The adapter's words for a server.
fn server(asked: &asked::Server) -> Server {
    let secret =
        |hidden: &Arc<keyward_authority::outside::Hidden>| Arc::new(Secret::new(exposed(hidden).to_owned()));
    Server {
        pool: asked.pool.clone(),
        version: asked.version,
        dialect: match asked.dialect {
            asked::Dialect::PostgreSql => Dialect::PostgreSql,
            asked::Dialect::MySql => Dialect::MySql,
            asked::Dialect::Redis => Dialect::Redis,
        },
        hosts: asked.hosts.clone(),
        database: asked.database.clone(),
        user: asked.user.clone(),
        passwords: asked.passwords.iter().map(secret).collect(),
        tls: Tls {
            mode: match asked.tls.mode {
                asked::TlsMode::Disable => TlsMode::Disable,
                asked::TlsMode::Prefer => TlsMode::Prefer,
                asked::TlsMode::Require => TlsMode::Require,
                asked::TlsMode::VerifyCa => TlsMode::VerifyCa,
                asked::TlsMode::VerifyFull => TlsMode::VerifyFull,
            },
            authorities: asked.tls.authorities.clone(),
            server_name: asked.tls.server_name.clone(),
            identity: asked.tls.identity.as_ref().map(|(chain, key)| (chain.clone(), secret(key))),
        },
        options: asked.options.clone(),
        open: asked.limits.open,
        idle: asked.limits.idle,
        lifetime: asked.limits.lifetime,
    }
}
