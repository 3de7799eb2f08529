//! Redis and Valkey.

use crate::{CONNECT, Failure, Server, TlsMode, Work};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, TlsCertificates,
};

/// A connection.
pub(crate) struct Session(MultiplexedConnection);

/// Opens a connection to the first host that lets us in.
pub(crate) async fn open(server: &Server, password: &str) -> Result<Session, String> {
    let mut why = "it has no host".to_owned();
    for (host, port) in &server.hosts {
        match connect(server, host, *port, password).await {
            Ok(connection) => return Ok(Session(connection)),
            Err(error) => why = explain(&error),
        }
    }
    Err(why)
}

async fn connect(
    server: &Server,
    host: &str,
    port: u16,
    password: &str,
) -> Result<MultiplexedConnection, RedisError> {
    let who = RedisConnectionInfo::default().set_username(&server.user).set_password(password);
    let host = host.to_owned();
    let address = match server.tls.mode {
        TlsMode::Disable => ConnectionAddr::Tcp(host, port),
        mode => {
            let insecure = !matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
            ConnectionAddr::TcpTls { host, port, insecure, tls_params: None }
        }
    };
    let info = address.into_connection_info()?.set_redis_settings(who);
    let client = match server.tls.mode {
        TlsMode::Disable => Client::open(info)?,
        _ => {
            let client_tls = server.tls.identity.as_ref().map(|(chain, key)| ClientTlsConfig {
                client_cert: chain.as_bytes().to_vec(),
                client_key: key.expose().as_bytes().to_vec(),
            });
            let root_cert = server.tls.authorities.as_ref().map(|pem| pem.as_bytes().to_vec());
            Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })?
        }
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT / 2))
        .set_response_timeout(Some(CONNECT));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// A server's errors may quote the command; their code says enough.
fn explain(why: &RedisError) -> String {
    match why.code() {
        Some(code) => format!("the database refused it: {code} ({})", why.category()),
        None if why.is_io_error() => format!("the database cannot be reached: {why}"),
        None => format!("the database cannot be used: {}", why.category()),
    }
}

fn failed(why: &RedisError, first: bool) -> Failure {
    Failure { why: explain(why), nothing_done: first && why.code().is_some() }
}

impl Session {
    pub(crate) async fn is_alive(&mut self) -> bool {
        redis::cmd("PING").query_async::<()>(&mut self.0).await.is_ok()
    }

    pub(crate) async fn perform(&mut self, work: &Work<'_>) -> Result<(), Failure> {
        match work {
            Work::Verify => redis::cmd("PING")
                .query_async::<()>(&mut self.0)
                .await
                .map_err(|why| Failure::before(explain(&why))),
            Work::Commands(commands) => self.run(commands).await,
            Work::Run(_) | Work::Drop { .. } => Err(Failure::before("Redis takes commands, not statements")),
        }
    }

    async fn run(&mut self, commands: &[Vec<&str>]) -> Result<(), Failure> {
        let mut first = true;
        for words in commands {
            let Some((name, arguments)) = words.split_first() else { continue };
            let mut command = redis::cmd(name);
            for argument in arguments {
                command.arg(argument);
            }
            let reply: redis::Value =
                command.query_async(&mut self.0).await.map_err(|why| failed(&why, first))?;
            drop(reply);
            first = false;
        }
        Ok(())
    }
}
