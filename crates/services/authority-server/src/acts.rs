//! Doing what is to be done outside: see [`keyward_authority::act`].

mod challenge;

pub use challenge::Reach;

use crate::outside::Outside;
use challenge::Challenges;
use keyward_authority::act::database::{self as asked, Deed};
use keyward_authority::act::http::{self, Call};
use keyward_authority::act::{Act, Failure, Yielded};
use keyward_authority::outside::Hidden;
use keyward_crypto::Secret;
use keyward_databases::{Databases, Dialect, Server, Tls, TlsMode, Work};
use keyward_https::Verb;
use std::sync::Arc;

/// The other systems that things are done by.
pub(crate) struct Acts {
    databases: Databases,
    challenges: Challenges,
    outside: Arc<Outside>,
}

impl Acts {
    /// With challenges that lead as far as `reach` says, and acts of what is asked through `outside`.
    pub(crate) fn new(reach: Reach, outside: Arc<Outside>) -> Acts {
        Acts { databases: Databases::default(), challenges: Challenges::new(reach), outside }
    }

    /// Does `act`. Takes no longer than [`keyward_databases::PATIENCE`], or than each of its calls may; which is less
    /// than what a lease allows for.
    pub(crate) async fn perform(&self, act: &Act) -> Yielded {
        match act {
            Act::Database(deed) => self.ask_database(deed).await,
            // Apart, for whoever asks a database would carry their room around.
            Act::Challenge(challenge) => Box::pin(self.challenges.perform(challenge)).await.map(|()| None),
            Act::Http(deed) => Box::pin(self.call(deed)).await,
            Act::Ldap(deed) => Box::pin(self.outside.set_password(deed)).await.map(|()| None),
        }
    }

    async fn call(&self, deed: &http::Deed) -> Yielded {
        let (mut yielded, mut failed) = (None, None);
        for (at, call) in deed.calls.iter().enumerate() {
            match (self.call_once(deed, call).await, call) {
                (Ok(body), _) => yielded = body,
                // What is left of others is deleted all the same.
                (Err(failure), Call::Delete { .. }) => failed = failed.or(Some(failure)),
                (Err(failure), Call::Post { .. }) => {
                    let nothing_done = failure.nothing_done && at == 0;
                    return Err(Failure { nothing_done, ..failure });
                }
            }
        }
        failed.map_or(Ok(yielded), Err)
    }

    async fn call_once(&self, deed: &http::Deed, call: &Call) -> Yielded {
        let (url, verb, gone_will_do) = match call {
            Call::Post { url, body } => (url, Verb::Post { media_type: "application/json", body }, false),
            Call::Delete { url } => (url, Verb::Delete, true),
        };
        let sent = self.outside.send(url, verb, &deed.roots, &deed.credential).await;
        let reply =
            sent.map_err(|unanswered| Failure { why: unanswered.why, nothing_done: unanswered.unheard })?;
        match reply.status {
            200..300 => match String::from_utf8(reply.body.to_vec()) {
                Ok(body) => Ok(Some(Hidden::new(body))),
                Err(_) => {
                    Err(Failure { why: format!("{url}: the answer is not UTF-8"), nothing_done: false })
                }
            },
            404 if gone_will_do => Ok(None),
            status => Err(Failure {
                why: format!("{url}: HTTP status {status}: {}", reason(&reply.body)),
                nothing_done: (400..500).contains(&status),
            }),
        }
    }

    async fn ask_database(&self, deed: &Deed) -> Yielded {
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
        done.map(|()| None)
            .map_err(|failure| Failure { why: failure.why, nothing_done: failure.nothing_done })
    }
}

/// What a refusal says of itself, where it is an object that has a message; it describes what was asked and holds no
/// credential.
fn reason(body: &[u8]) -> String {
    const LONGEST: usize = 500;
    let said: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = said.get("message").and_then(serde_json::Value::as_str).unwrap_or("no reason given");
    message.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

fn exposed(word: &Hidden) -> &str {
    word.0.expose()
}

/// The adapter's words for a server.
fn server(asked: &asked::Server) -> Server {
    let secret = |hidden: &Arc<Hidden>| Arc::new(Secret::new(exposed(hidden).to_owned()));
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
