//! An HTTP/1.1 client that hides nothing: no redirects, no retries, no defaults beside `Host` and
//! `Connection`, and every answer is held to RFC 9112's framing.

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// No answer under test takes longer; one that does fails its test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(100);

/// Whom to ask, and as whom. Each request has a connection of its own.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    token: Option<String>,
}

impl Client {
    /// Plain HTTP to `address`, without a token.
    pub fn new(address: SocketAddr) -> Client {
        Client { address, tls: None, token: None }
    }

    /// The same by TLS; the certificate must name `localhost` or whatever `config` verifies.
    #[must_use]
    pub fn with_tls(&self, config: ClientConfig) -> Client {
        Client { tls: Some(Arc::new(config)), ..self.clone() }
    }

    /// The same with a token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Client {
        Client { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same without a token.
    #[must_use]
    pub fn guest(&self) -> Client {
        Client { token: None, ..self.clone() }
    }

    /// The token requests carry.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Where requests go.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A request of any method to a path that begins with a slash, as it is sent.
    pub fn request<'a>(&'a self, method: &'a str, path: &'a str) -> Request<'a> {
        Request { client: self, method, path, headers: Vec::new(), body: None }
    }

    /// `GET /v1/PATH`.
    pub fn read(&self, path: &str) -> Answer {
        self.request("GET", &format!("/v1/{path}")).send()
    }

    /// `LIST /v1/PATH`.
    pub fn list(&self, path: &str) -> Answer {
        self.request("LIST", &format!("/v1/{path}")).send()
    }

    /// `POST /v1/PATH` with a JSON body.
    pub fn write(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", &format!("/v1/{path}")).json(body).send()
    }

    /// `DELETE /v1/PATH`.
    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", &format!("/v1/{path}")).send()
    }

    /// Opens a connection, to be used for several requests.
    pub fn connect(&self) -> io::Result<Connection> {
        let socket = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(socket),
            Some(config) => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(session, socket))
            }
        };
        Ok(Connection(BufReader::new(stream)))
    }
}

/// What bytes go through.
pub trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// One request, to be completed and sent.
pub struct Request<'a> {
    client: &'a Client,
    method: &'a str,
    path: &'a str,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request<'_> {
    /// Adds a header; the token's is there already.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks for a wrapped answer.
    #[must_use]
    pub fn wrapped(self, ttl: &str) -> Self {
        self.header("X-Vault-Wrap-TTL", ttl)
    }

    /// Sends these bytes, with no `Content-Type`.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends JSON as a client would, with its `Content-Type`.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    /// Sends it on a connection of its own.
    ///
    /// # Panics
    /// When there is no whole answer.
    pub fn send(self) -> Answer {
        let (method, path) = (self.method.to_owned(), self.path.to_owned());
        self.try_send().unwrap_or_else(|why| panic!("{method} {path}: {why}"))
    }

    /// Sends it on a connection of its own, which the server must end after the answer.
    pub fn try_send(self) -> io::Result<Answer> {
        let mut connection = self.client.connect()?;
        let close = self.header("Connection", "close");
        let answer = connection.exchange(&close)?;
        let mut more = Vec::new();
        connection.0.read_to_end(&mut more)?;
        match more.is_empty() {
            true => Ok(answer),
            false => Err(malformed(format!("{} bytes follow the answer", more.len()))),
        }
    }

    /// What goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.path, self.client.address);
        let token = self.client.token.iter().map(|token| ("X-Vault-Token", token.as_str()));
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in token.chain(headers) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// A connection that stays.
pub struct Connection(BufReader<Box<dyn Stream>>);

impl Connection {
    /// Sends a request and reads its answer.
    pub fn exchange(&mut self, request: &Request<'_>) -> io::Result<Answer> {
        // A server may answer and hang up before it has read a body it refuses: the answer counts.
        let sent = self.send(&request.bytes());
        match self.receive(request.method) {
            Err(_) if sent.is_err() => Err(sent.err().unwrap_or_else(|| io::ErrorKind::Other.into())),
            received => received,
        }
    }

    /// Sends raw bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.0.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Reads one answer to a request of `method`.
    pub fn receive(&mut self, method: &str) -> io::Result<Answer> {
        let line = self.line()?;
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| malformed(format!("a status line of {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| malformed(format!("a header of {line:?}")))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if method != "HEAD" && !matches!(status, 100..=199 | 204 | 304) {
            let length = answer.header("content-length").and_then(|length| length.parse().ok());
            let length: usize = length.ok_or_else(|| malformed("an answer without a length".to_owned()))?;
            answer.body = vec![0; length];
            self.0.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Whether the server has ended the connection, without more bytes; waits for either.
    pub fn is_ended(&mut self) -> bool {
        matches!(self.0.fill_buf(), Ok([]) | Err(_))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.0.by_ref().take(64 * 1024).read_until(b'\n', &mut line)?;
        let text = line.strip_suffix(b"\r\n").map(<[u8]>::to_vec).map(String::from_utf8);
        match text {
            Some(Ok(text)) => Ok(text),
            _ if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Err(malformed(format!("a line of {:?}", String::from_utf8_lossy(&line)))),
        }
    }
}

fn malformed(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap_or_else(|_| panic!("not UTF-8: {self:?}"))
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|why| panic!("{why}: {} {}", self.status, self.text()))
    }

    /// The body's `data`.
    pub fn data(&self) -> Value {
        self.json()["data"].take()
    }

    /// The `errors` of the body, which has nothing else.
    pub fn errors(&self) -> Vec<String> {
        let body = self.json();
        let texts = body["errors"].as_array().map(|errors| errors.iter().map(|error| error.as_str()));
        match (body.as_object(), texts) {
            (Some(fields), Some(texts)) if fields.len() == 1 => {
                texts.map(|text| text.unwrap_or_else(|| panic!("{body}")).to_owned()).collect()
            }
            _ => panic!("not a body of errors alone: {body}"),
        }
    }

    /// Itself, when it has this status.
    ///
    /// # Panics
    /// When it has another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// Itself, when it is a refusal with this status and these words in its errors.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn refused(self, status: u16, words: &str) -> Answer {
        let answer = self.expect(status);
        let errors = answer.errors().join("\n");
        assert!(errors.contains(words), "no {words:?} in {errors:?}");
        answer
    }
}
