//! PostgreSQL.

use crate::{CONNECT, Failure, Server, TlsMode, Work, tls};
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
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
            Work::Drop { user, statements } => self.drop_user(user, statements).await,
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
        // What is sent in one message is one transaction already (PostgreSQL's manual, section 54.2.2.1).
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
        if !self.is_there(user).await? {
            return Ok(());
        }
        let dropped = if statements.is_empty() {
            self.drop_as_usual(user).await
        } else {
            self.end_sessions(user).await;
            self.run(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await
        };
        match dropped {
            // Somebody else may have been first.
            Err(failure) if self.is_there(user).await.unwrap_or(true) => Err(failure),
            _ => Ok(()),
        }
    }

    async fn is_there(&self, user: &str) -> Result<bool, Failure> {
        let found = self.0.query_opt("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1", &[&user]).await;
        found.map(|row| row.is_some()).map_err(|why| during(&why))
    }

    /// Not every user may end another's sessions: then they last until they end, as with other tools.
    async fn end_sessions(&self, user: &str) {
        let _ = self
            .0
            .execute(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = $1",
                &[&user],
            )
            .await;
    }

    /// No new sessions, none of the old, no rights, no user.
    async fn drop_as_usual(&self, user: &str) -> Result<(), Failure> {
        let role = identifier(user);
        let run = async |sql: String| self.run_one(&sql).await;
        run(format!("ALTER ROLE {role} NOLOGIN")).await?;
        self.end_sessions(user).await;
        let schemas = self
            .0
            .query(
                "SELECT DISTINCT table_schema::text FROM information_schema.role_column_grants WHERE grantee = $1 \
                 UNION SELECT n.nspname::text FROM pg_catalog.pg_namespace n, \
                 LATERAL pg_catalog.aclexplode(n.nspacl) acl JOIN pg_catalog.pg_roles r ON r.oid = acl.grantee \
                 WHERE r.rolname = $1 \
                 UNION SELECT n.nspname::text FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, \
                 LATERAL pg_catalog.aclexplode(c.relacl) acl JOIN pg_catalog.pg_roles r ON r.oid = acl.grantee \
                 WHERE r.rolname = $1 UNION SELECT 'public'",
                &[&user],
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
        run(format!("DROP ROLE IF EXISTS {role}")).await
    }
}
