//! MySQL and MariaDB.

use crate::{Failure, Server, Tls, TlsMode, Work};
use mysql_async::prelude::Queryable as _;
use mysql_async::{ClientIdentity, Conn, Error, OptsBuilder, SslOpts};

/// A connection.
pub(crate) struct Session(Conn);

/// Opens a connection to the first host that lets us in.
pub(crate) async fn open(server: &Server, password: &str) -> Result<Session, String> {
    let mut why = "it has no host".to_owned();
    for (host, port) in &server.hosts {
        let options = OptsBuilder::default()
            .ip_or_hostname(host)
            .tcp_port(*port)
            .user(Some(&server.user))
            .pass(Some(password))
            .db_name(Some(&server.database).filter(|name| !name.is_empty()))
            // The server's socket would be whoever's runs on this machine.
            .prefer_socket(false);
        let first = Conn::new(options.clone().ssl_opts(ssl(&server.tls))).await;
        let opened = match first {
            Err(_) if server.tls.mode == TlsMode::Prefer => Conn::new(options).await,
            opened => opened,
        };
        match opened {
            Ok(connection) => return Ok(Session(connection)),
            Err(error) => why = explain(&error),
        }
    }
    Err(why)
}

fn ssl(tls: &Tls) -> Option<SslOpts> {
    let verify = matches!(tls.mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
    let mut options = SslOpts::default()
        .with_danger_accept_invalid_certs(!verify)
        .with_danger_skip_domain_validation(tls.mode != TlsMode::VerifyFull);
    if let Some(authorities) = &tls.authorities {
        options = options.with_root_certs(vec![authorities.as_bytes().to_vec().into()]);
    }
    if let Some(name) = &tls.server_name {
        options = options.with_danger_tls_hostname_override(Some(name.clone()));
    }
    if let Some((chain, key)) = &tls.identity {
        let (chain, key) = (chain.as_bytes().to_vec(), key.expose().as_bytes().to_vec());
        options = options.with_client_identity(Some(ClientIdentity::new(chain.into(), key.into())));
    }
    (tls.mode != TlsMode::Disable).then_some(options)
}

/// `ER_PARSE_ERROR`: its message repeats the statement from where it went wrong.
const PARSE_ERROR: u16 = 1064;

fn explain(why: &Error) -> String {
    match why {
        Error::Server(said) if said.code == PARSE_ERROR => {
            format!("the database said: a statement has a syntax error (error {PARSE_ERROR})")
        }
        Error::Server(said) => format!("the database said: {} (error {})", said.message, said.code),
        other => format!("the database cannot be reached: {other}"),
    }
}

/// Statements about users are committed each by itself: of several, some may have been carried out.
fn failed(why: &Error, first: bool) -> Failure {
    Failure { why: explain(why), nothing_done: first && matches!(why, Error::Server(_)) }
}

/// The statements in a text that a semicolon ends, outside quotes and comments.
fn split(text: &str) -> Vec<&str> {
    let (mut found, mut start, mut quote, mut escaped) = (Vec::new(), 0, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('\'' | '"'), '\\') => escaped = true,
            (Some(open), c) if open == c => quote = None,
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, ';') => {
                found.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    found.retain(|statement| !statement.trim().is_empty());
    found
}

impl Session {
    pub(crate) async fn is_alive(&mut self) -> bool {
        self.0.ping().await.is_ok()
    }

    pub(crate) async fn perform(&mut self, work: &Work<'_>) -> Result<(), Failure> {
        match work {
            Work::Verify => self.0.ping().await.map_err(|why| failed(&why, true)),
            Work::Run(statements) => self.run(statements).await,
            Work::Drop { user, statements } => self.drop_user(user, statements).await,
            Work::Commands(_) => Err(Failure::before("MySQL takes statements, not commands")),
        }
    }

    async fn run(&mut self, texts: &[&str]) -> Result<(), Failure> {
        let mut first = true;
        for statement in texts.iter().flat_map(|text| split(text)) {
            self.0.query_drop(statement).await.map_err(|why| failed(&why, first))?;
            first = false;
        }
        Ok(())
    }

    async fn drop_user(&mut self, user: &str, statements: &[String]) -> Result<(), Failure> {
        let done = if statements.is_empty() {
            let user = user.replace('\\', "\\\\").replace('\'', "''");
            self.run(&[&format!("DROP USER IF EXISTS '{user}'@'%'")]).await
        } else {
            self.run(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await
        };
        // Not every user may end another's sessions: then they last until they end, as with other tools.
        self.end_sessions(user).await;
        match done {
            // Somebody else may have been first.
            Err(failure) if self.is_there(user).await.unwrap_or(true) => Err(failure),
            _ => Ok(()),
        }
    }

    async fn is_there(&mut self, user: &str) -> Result<bool, Failure> {
        let found: Result<Option<u8>, _> =
            self.0.exec_first("SELECT 1 FROM mysql.user WHERE User = ? LIMIT 1", (user,)).await;
        found.map(|row| row.is_some()).map_err(|why| failed(&why, false))
    }

    async fn end_sessions(&mut self, user: &str) {
        let sessions: Result<Vec<u64>, _> =
            self.0.exec("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = ?", (user,)).await;
        for session in sessions.unwrap_or_default() {
            let _ = self.0.query_drop(format!("KILL CONNECTION {session}")).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn statements_end_at_semicolons_outside_quotes() {
        for (text, wanted) in [
            ("A; B;", &["A", " B"][..]),
            ("A 'x;y' \"p;q\" `i;j`; B", &["A 'x;y' \"p;q\" `i;j`", " B"]),
            ("A 'it\\'s;' ; B", &["A 'it\\'s;' ", " B"]),
            ("A 'it''s;'", &["A 'it''s;'"]),
            (" ; ;", &[]),
        ] {
            assert_eq!(split(text), wanted, "{text}");
        }
    }
}
