//! PostgreSQL.

use crate::{CONNECT, Failure, Server, TlsMode, Work, tls};
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Between tries at what others were in the way of; doubled each time, and given up after about two seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// A connection.
pub(crate) struct Session(Client);

/// Opens a connection to the first host that lets us in.
pub(crate) async fn open(server: &Server, password: &str) -> Result<Session, String> {
    let mut config = Config::new();
    for (host, port) in &server.hosts {
        config.host(host).port(*port);
    }
    let from_environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(user) =
        Some(server.user.clone()).filter(|user| !user.is_empty()).or(from_environment("PGUSER"))
    {
        config.user(user);
    }
    let password = Some(password.to_owned()).filter(|password| !password.is_empty());
    if let Some(password) = password.or(from_environment("PGPASSWORD")) {
        config.password(password);
    }
    if !server.database.is_empty() {
        config.dbname(&server.database);
    }
    let mut options = Vec::new();
    config.application_name("keyward");
    for (name, value) in &server.options {
        match name.as_str() {
            "application_name" => {
                config.application_name(value);
            }
            "options" => options.push(value.clone()),
            // Spaces end an option unless they are escaped.
            name => options.push(format!("-c {name}={}", value.replace('\\', "\\\\").replace(' ', "\\ "))),
        }
    }
    if !options.is_empty() {
        config.options(options.join(" "));
    }
    config.connect_timeout(CONNECT / 2);
    config.ssl_mode(match server.tls.mode {
        TlsMode::Disable => SslMode::Disable,
        TlsMode::Prefer => SslMode::Prefer,
        _ => SslMode::Require,
    });
    let connector = MakeRustlsConnect::new(tls::config(&server.tls)?);
    let (client, connection) = config.connect(connector).await.map_err(|why| explain(&why))?;
    tokio::spawn(async move {
        // Whoever uses the client hears of its end.
        let _ = connection.await;
    });
    Ok(Session(client))
}

/// What a server or a connection said. Only the messages of errors that cannot quote a statement are repeated.
fn explain(why: &Error) -> String {
    match why.as_db_error() {
        Some(said) => {
            let code = said.code();
            let quotes = [SqlState::SYNTAX_ERROR, SqlState::SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION];
            let message =
                if quotes.contains(code) { "a statement has a syntax error" } else { said.message() };
            let detail = said.detail().filter(|_| *code == SqlState::DEPENDENT_OBJECTS_STILL_EXIST);
            let detail =
                detail.map(|detail| format!(" ({})", detail.replace('\n', "; "))).unwrap_or_default();
            format!("the database said: {message}{detail} (SQLSTATE {})", code.code())
        }
        None => {
            let mut text = why.to_string();
            let mut source = std::error::Error::source(why);
            while let Some(inner) = source {
                text = format!("{text}: {inner}");
                source = inner.source();
            }
            format!("the database cannot be reached: {text}")
        }
    }
}

/// Two at once who grant or revoke something on the same table, or drop users, may find each other in the way.
fn passes(why: &Error) -> bool {
    why.as_db_error().is_some_and(|said| {
        [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(said.code())
            || *said.code() == SqlState::INTERNAL_ERROR && said.message().starts_with("tuple concurrently")
    })
}

fn during(why: &Error) -> Failure {
    Failure::during(explain(why))
}

/// An identifier in double quotes (PostgreSQL's manual, section 4.1.1).
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Session {
    pub(crate) fn is_alive(&self) -> bool {
        !self.0.is_closed()
    }

    pub(crate) async fn perform(&mut self, work: &Work<'_>) -> Result<(), Failure> {
        match work {
            Work::Verify => self.0.batch_execute("").await.map_err(|why| Failure::before(explain(&why))),
            Work::Run(statements) => self.run(statements).await,
            Work::Drop { user, statements } => Box::pin(self.drop_user(user, statements)).await,
            Work::Commands(_) => Err(Failure::before("PostgreSQL takes statements, not commands")),
        }
    }

    /// In one transaction, again while others get in its way.
    async fn run(&mut self, statements: &[&str]) -> Result<(), Failure> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.try_run(statements).await {
                Err((why, _)) if passes(&why) && pause < LAST_PAUSE => tokio::time::sleep(pause).await,
                Err((why, nothing_done)) => return Err(Failure { why: explain(&why), nothing_done }),
                Ok(()) => return Ok(()),
            }
            pause *= 2;
        }
    }

    /// What a failed transaction did is rolled back, unless it was at its end.
    async fn try_run(&mut self, statements: &[&str]) -> Result<(), (Error, bool)> {
        let refused = |why: Error| {
            let refused = why.as_db_error().is_some();
            (why, refused)
        };
        // What is sent in one message is one transaction already (PostgreSQL's manual, Multiple Statements in a Simple Query).
        if let [all] = statements {
            return self.0.batch_execute(all).await.map_err(refused);
        }
        let transaction = self.0.transaction().await.map_err(refused)?;
        for statement in statements {
            transaction.batch_execute(statement).await.map_err(refused)?;
        }
        transaction.commit().await.map_err(|why| (why, false))
    }

    /// One statement by itself, again while others get in its way.
    async fn run_one(&self, sql: &str) -> Result<(), Failure> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.0.batch_execute(sql).await {
                Err(why) if passes(&why) && pause < LAST_PAUSE => tokio::time::sleep(pause).await,
                done => return done.map_err(|why| during(&why)),
            }
            pause *= 2;
        }
    }

    async fn drop_user(&mut self, user: &str, statements: &[String]) -> Result<(), Failure> {
        let Some(holds) = self.find(user).await? else { return Ok(()) };
        let dropped = if statements.is_empty() {
            self.drop_as_usual(user, holds).await
        } else {
            self.end_sessions(user).await;
            self.run(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await
        };
        match dropped {
            // Somebody else may have been first.
            Err(failure) => match self.find(user).await {
                Ok(None) => Ok(()),
                _ => Err(failure),
            },
            Ok(()) => Ok(()),
        }
    }

    /// Whether the user has rights or owns something, in any database of the server; none when there is no such user.
    async fn find(&self, user: &str) -> Result<Option<bool>, Failure> {
        let found = self
            .0
            .query_typed(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_shdepend d WHERE d.refobjid = r.oid \
                 AND d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass) \
                 FROM pg_catalog.pg_roles r WHERE r.rolname = $1",
                &[(&user, Type::NAME)],
            )
            .await
            .map_err(|why| during(&why))?;
        found.first().map(|row| row.try_get(0).map_err(|why| during(&why))).transpose()
    }

    /// Not every user may end another's sessions: then they last until they end, as with other tools.
    async fn end_sessions(&self, user: &str) {
        let ended =
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = $1";
        let _ = self.0.query_typed(ended, &[(&user, Type::NAME)]).await;
    }

    /// No new sessions, none of the old, no rights, no user. Most users have no rights of their own but what a role gives
    /// them.
    async fn drop_as_usual(&self, user: &str, holds: bool) -> Result<(), Failure> {
        let role = identifier(user);
        self.run_one(&format!("ALTER ROLE {role} NOLOGIN")).await?;
        self.end_sessions(user).await;
        if holds {
            self.revoke_all(user, &role).await?;
        }
        self.run_one(&format!("DROP ROLE IF EXISTS {role}")).await
    }

    /// Takes the rights away that keep a user from being dropped.
    async fn revoke_all(&self, user: &str, role: &str) -> Result<(), Failure> {
        let run = async |sql: String| self.run_one(&sql).await;
        let schemas = self
            .0
            .query_typed(
                "SELECT DISTINCT n.nspname::text FROM pg_catalog.pg_shdepend d \
                 JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid AND r.rolname = $1 \
                 JOIN pg_catalog.pg_database b ON b.oid = d.dbid AND b.datname = pg_catalog.current_database() \
                 LEFT JOIN pg_catalog.pg_class c \
                 ON c.oid = d.objid AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
                 LEFT JOIN pg_catalog.pg_proc p \
                 ON p.oid = d.objid AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace OR n.oid = p.pronamespace \
                 OR n.oid = d.objid AND d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
                 WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass",
                &[(&user, Type::NAME)],
            )
            .await
            .map_err(|why| during(&why))?;
        for row in schemas {
            let schema = identifier(&row.try_get::<_, String>(0).map_err(|why| during(&why))?);
            for of in ["TABLES IN SCHEMA", "SEQUENCES IN SCHEMA", "FUNCTIONS IN SCHEMA"] {
                // What cannot be revoked keeps the user from being dropped, and that is reported.
                let _ = run(format!("REVOKE ALL PRIVILEGES ON ALL {of} {schema} FROM {role}")).await;
            }
            let _ = run(format!("REVOKE ALL PRIVILEGES ON SCHEMA {schema} FROM {role}")).await;
        }
        let database = self.0.query_one("SELECT pg_catalog.current_database()::text", &[]).await;
        let database = database.and_then(|row| row.try_get::<_, String>(0)).map_err(|why| during(&why))?;
        let _ = run(format!("REVOKE ALL PRIVILEGES ON DATABASE {} FROM {role}", identifier(&database))).await;
        Ok(())
    }
}
