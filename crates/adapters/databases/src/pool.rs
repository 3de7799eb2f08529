//! Connections, kept for each configured server.

use crate::{CONNECT, Dialect, Failure, PATIENCE, Server, Work, mysql, postgresql, redis};
use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a server that did not let anybody in is left alone: thousands may be waiting for it.
const RESPITE: Duration = Duration::from_secs(3);

/// A connection to one kind of server.
pub(crate) enum Session {
    PostgreSql(postgresql::Session),
    MySql(mysql::Session),
    Redis(redis::Session),
}

/// Opens connections to one server.
pub(crate) struct Opener(Arc<Server>);

impl Manager for Opener {
    type Type = Session;
    type Error = String;

    async fn create(&self) -> Result<Session, String> {
        let server = &self.0;
        let mut why = "it has no password to try".to_owned();
        for password in &server.passwords {
            // Apart: whoever uses a connection that is open need not have room for the opening of one.
            match Box::pin(open(server, password.expose())).await {
                Ok(session) => return Ok(session),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    async fn recycle(&self, session: &mut Session, metrics: &Metrics) -> RecycleResult<String> {
        let lifetime = self.0.lifetime;
        if !lifetime.is_zero() && metrics.created.elapsed() > lifetime {
            return Err(RecycleError::message("it is too old"));
        }
        let alive = match session {
            Session::PostgreSql(session) => session.is_alive(),
            Session::MySql(session) => session.is_alive().await,
            Session::Redis(session) => session.is_alive().await,
        };
        if alive { Ok(()) } else { Err(RecycleError::message("it was closed")) }
    }
}

async fn open(server: &Server, password: &str) -> Result<Session, String> {
    match server.dialect {
        Dialect::PostgreSql => postgresql::open(server, password).await.map(Session::PostgreSql),
        Dialect::MySql => mysql::open(server, password).await.map(Session::MySql),
        Dialect::Redis => redis::open(server, password).await.map(Session::Redis),
    }
}

struct Kept {
    version: u64,
    pool: Pool<Opener>,
    /// When the last attempt to connect failed, and why.
    refused: Mutex<Option<(Instant, String)>>,
}

/// Every server that is worked with.
#[derive(Default)]
pub struct Databases {
    kept: Mutex<HashMap<String, Arc<Kept>>>,
}

impl Databases {
    /// Does `work` on `server`, within [`PATIENCE`].
    pub async fn perform(&self, server: &Arc<Server>, work: &Work<'_>) -> Result<(), Failure> {
        let kept = self.kept_for(server).map_err(Failure::before)?;
        let started = Instant::now();
        let mut session = kept.session().await.map_err(Failure::before)?;
        let left = PATIENCE.saturating_sub(started.elapsed());
        let done = tokio::time::timeout(left, session.perform(work)).await;
        let done =
            done.unwrap_or_else(|_| Err(Failure::during("the database took too long and was given up")));
        if done.as_ref().is_err_and(|failure| !failure.nothing_done) {
            // Nobody knows what it is still doing.
            drop(Object::take(session));
        } else {
            drop(session);
            let mut idle = 0;
            kept.pool.retain(|_, _| {
                idle += 1;
                idle <= server.idle
            });
        }
        done
    }

    /// Closes the connections to servers whose pool `gone` names.
    pub fn forget(&self, gone: impl Fn(&str) -> bool) {
        self.kept.lock().retain(|pool, _| !gone(pool));
    }

    fn kept_for(&self, server: &Arc<Server>) -> Result<Arc<Kept>, String> {
        let mut all = self.kept.lock();
        if let Some(kept) = all.get(&server.pool).filter(|kept| kept.version >= server.version) {
            return Ok(kept.clone());
        }
        let pool = Pool::builder(Opener(server.clone()))
            .max_size(server.open.max(1))
            .wait_timeout(Some(PATIENCE / 2))
            .create_timeout(Some(CONNECT))
            .recycle_timeout(Some(CONNECT))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|why| why.to_string())?;
        let kept = Arc::new(Kept { version: server.version, pool, refused: Mutex::default() });
        all.insert(server.pool.clone(), kept.clone());
        Ok(kept)
    }
}

impl Kept {
    async fn session(&self) -> Result<Object<Opener>, String> {
        let refused = self.refused.lock().clone();
        if let Some((_, why)) = refused.filter(|(at, _)| at.elapsed() < RESPITE) {
            return Err(why);
        }
        let got = self.pool.get().await.map_err(|why| match why {
            PoolError::Backend(why) => why,
            PoolError::Timeout(_) => {
                "the database did not answer in time, or all connections were busy".to_owned()
            }
            other => other.to_string(),
        });
        if let Err(why) = &got {
            *self.refused.lock() = Some((Instant::now(), why.clone()));
        }
        got
    }
}

impl Session {
    async fn perform(&mut self, work: &Work<'_>) -> Result<(), Failure> {
        match self {
            Session::PostgreSql(session) => session.perform(work).await,
            Session::MySql(session) => session.perform(work).await,
            Session::Redis(session) => session.perform(work).await,
        }
    }
}
