//! Load over HTTP keep-alive, with as little work of its own as can be.

use crate::Failure;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the server listens, on plain HTTP
    server: SocketAddr,
    /// The method
    method: String,
    /// The path with its /v1/; `{n}` in it or in the body becomes a number that no other request has
    path: String,
    /// The body
    #[arg(default_value = "")]
    body: String,
    /// The token
    #[arg(long, default_value = "", env = "VAULT_TOKEN", hide_env_values = true)]
    token: String,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// How long
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// Sends what the command line says and prints how many answers a second there were.
pub(crate) fn report(arguments: &Arguments) -> Result<(), Failure> {
    let ask = Ask::new(&arguments.method, &arguments.path, &arguments.token, &arguments.body);
    let load = run(arguments.server, &ask, arguments.connections, Duration::from_secs(arguments.seconds))?;
    println!("{:.0} answers a second", load.per_second());
    Ok(())
}

/// What came of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// A request as sent, whole. `{n}` in the path or body becomes a number that no other request has.
#[derive(Clone)]
pub(crate) struct Ask {
    method: String,
    path: String,
    token: String,
    body: String,
    tls: Option<TlsConnector>,
}

/// A connection, with TLS or without.
type Stream = Box<dyn Connected>;

trait Connected: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connected for S {}

impl Ask {
    pub(crate) fn new(method: &str, path: &str, token: &str, body: &str) -> Ask {
        Ask {
            method: method.to_owned(),
            path: path.to_owned(),
            token: token.to_owned(),
            body: body.to_owned(),
            tls: None,
        }
    }

    /// The same over TLS.
    pub(crate) fn over(mut self, tls: TlsConnector) -> Ask {
        self.tls = Some(tls);
        self
    }

    async fn connect(&self, server: SocketAddr) -> Result<Stream, Failure> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => Ok(Box::new(tls.connect(server.ip().into(), stream).await?)),
        }
    }

    fn bytes(&self, number: u64) -> Vec<u8> {
        let numbered = |text: &str| text.replace("{n}", &number.to_string());
        let (path, body) = (numbered(&self.path), numbered(&self.body));
        let token =
            if self.token.is_empty() { String::new() } else { format!("X-Vault-Token: {}\r\n", self.token) };
        format!(
            "{} {path} HTTP/1.1\r\nHost: bench\r\n{token}Content-Length: {}\r\n\r\n{body}",
            self.method,
            body.len()
        )
        .into_bytes()
    }

    fn is_numbered(&self) -> bool {
        self.path.contains("{n}") || self.body.contains("{n}")
    }
}

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Sends `ask` over `connections` connections for `span`. Every answer must be a success.
pub(crate) fn run(
    server: SocketAddr,
    ask: &Ask,
    connections: usize,
    span: Duration,
) -> Result<Load, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let ask = Arc::new(ask.clone());
        let began = Instant::now();
        let clients: Vec<_> =
            (0..connections).map(|_| tokio::spawn(client(server, ask.clone(), began + span))).collect();
        let mut requests = 0;
        for client in clients {
            requests += client.await??;
        }
        Ok(Load { requests, seconds: began.elapsed().as_secs_f64() })
    })
}

/// Sends `ask` once and answers with the body.
pub(crate) fn once(server: SocketAddr, ask: &Ask) -> Result<String, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stream = ask.connect(server).await?;
        stream.write_all(&ask.bytes(NUMBER.fetch_add(1, Ordering::Relaxed))).await?;
        let mut buffer = Vec::with_capacity(4096);
        let (head, body) = answer(&mut stream, &mut buffer).await?;
        Ok(String::from_utf8_lossy(&buffer[head..head + body]).into_owned())
    })
}

/// Sends `ask` once over a connection that is there and reads the answer.
pub(crate) fn once_over(stream: &mut std::net::TcpStream, ask: &Ask) -> Result<(), Failure> {
    stream.write_all(&ask.bytes(0))?;
    let mut answer = [0; 4096];
    match stream.read(&mut answer)? {
        0 => Err("the server closed the connection".into()),
        _ => Ok(()),
    }
}

async fn client(server: SocketAddr, ask: Arc<Ask>, until: Instant) -> Result<u64, Failure> {
    let mut stream = ask.connect(server).await?;
    let numbered = ask.is_numbered();
    let mut request = ask.bytes(NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut buffer = Vec::with_capacity(64 * 1024);
    let mut count = 0;
    while Instant::now() < until {
        stream.write_all(&request).await?;
        buffer.clear();
        answer(&mut stream, &mut buffer).await?;
        count += 1;
        if numbered {
            request = ask.bytes(NUMBER.fetch_add(1, Ordering::Relaxed));
        }
    }
    Ok(count)
}

/// Reads one answer; where its body begins and how long it is.
async fn answer(stream: &mut Stream, buffer: &mut Vec<u8>) -> Result<(usize, usize), Failure> {
    loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            let length = length(&buffer[..end + 2])?;
            while buffer.len() < end + 4 + length {
                more(stream, buffer).await?;
            }
            if buffer.get(9) != Some(&b'2') {
                let status = String::from_utf8_lossy(&buffer[..end]).lines().next().unwrap_or("").to_owned();
                let body = String::from_utf8_lossy(&buffer[end + 4..]).into_owned();
                return Err(format!("the server answered {status}: {body}").into());
            }
            return Ok((end + 4, length));
        }
        more(stream, buffer).await?;
    }
}

/// The length of the body that `head` announces. Both servers are of the one library, which writes lower case.
fn length(head: &[u8]) -> Result<usize, Failure> {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let Some(at) = find(head, NAME) else { return Ok(0) };
    let value = &head[at + NAME.len()..];
    let digits = value.iter().position(|byte| *byte == b'\r').unwrap_or(value.len());
    Ok(std::str::from_utf8(&value[..digits])?.parse()?)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

async fn more(stream: &mut Stream, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    match stream.read_buf(buffer).await? {
        0 => Err("the server closed the connection".into()),
        _ => Ok(()),
    }
}
