//! What a client of an ACME server controls: names, a web server and a TLS server, all on loopback.

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::PrivateKeyDer;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is shown to who asks.
#[derive(Default)]
struct Shown {
    /// Documents by path.
    documents: HashMap<String, String>,
    /// TXT records by name.
    texts: HashMap<String, Vec<String>>,
    /// Digests of key authorizations by host.
    digests: HashMap<String, Vec<u8>>,
}

/// See the module. The servers end with the test's process.
pub(super) struct World {
    shown: Arc<Mutex<Shown>>,
    pub(super) dns: SocketAddr,
    pub(super) http_port: u16,
    pub(super) tls_port: u16,
}

impl World {
    pub(super) fn new() -> World {
        let shown = Arc::new(Mutex::new(Shown::default()));
        let names = UdpSocket::bind("127.0.0.1:0").unwrap();
        let web = TcpListener::bind("127.0.0.1:0").unwrap();
        let tls = TcpListener::bind("127.0.0.1:0").unwrap();
        let world = World {
            shown: shown.clone(),
            dns: names.local_addr().unwrap(),
            http_port: web.local_addr().unwrap().port(),
            tls_port: tls.local_addr().unwrap().port(),
        };
        let (for_web, for_tls) = (shown.clone(), shown.clone());
        std::thread::spawn(move || answer_names(&names, &shown));
        std::thread::spawn(move || serve(&web, |stream| answer_web(stream, &for_web)));
        std::thread::spawn(move || serve(&tls, |stream| answer_tls(stream, &for_tls)));
        world
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        lock(&self.shown)
    }

    pub(super) fn show_document(&self, token: &str, text: &str) {
        self.shown().documents.insert(format!("/.well-known/acme-challenge/{token}"), text.to_owned());
    }

    pub(super) fn show_text(&self, host: &str, text: &str) {
        self.shown().texts.entry(format!("_acme-challenge.{host}")).or_default().push(text.to_owned());
    }

    pub(super) fn show_digest(&self, host: &str, digest: &[u8]) {
        self.shown().digests.insert(host.to_owned(), digest.to_vec());
    }
}

fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(listener: &TcpListener, answer: impl Fn(TcpStream) -> std::io::Result<()>) {
    while let Ok((stream, _)) = listener.accept() {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
        // Who goes away is no matter of this server's.
        let _ = answer(stream);
    }
}

fn answer_web(mut stream: TcpStream, shown: &Mutex<Shown>) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let length = stream.read(&mut request)?;
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let path = request.split(' ').nth(1).unwrap_or("");
    let (status, body) = match lock(shown).documents.get(path) {
        Some(text) => ("200 OK", text.clone()),
        None => ("404 Not Found", String::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn answer_tls(mut stream: TcpStream, shown: &Mutex<Shown>) -> std::io::Result<()> {
    // One host at a time is enough for these tests, so that the certificate need not wait for the name.
    let (host, digest) = match lock(shown).digests.iter().next() {
        Some((host, digest)) => (host.clone(), digest.clone()),
        None => return Ok(()),
    };
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host]).unwrap();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
    // The usual way looks at the certificate first, and does not know its critical extension.
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate.der().clone()], key));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let mut session = ServerConnection::new(Arc::new(config)).unwrap();
    session.complete_io(&mut stream)?;
    session.send_close_notify();
    session.complete_io(&mut stream).map(|_| ())
}

/// Answers questions for addresses with loopback, and for TXT records with what is shown (RFC 1035, section 4.1).
fn answer_names(socket: &UdpSocket, shown: &Mutex<Shown>) {
    const A: u16 = 1;
    const TXT: u16 = 16;
    let mut packet = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut packet) {
        let Some((name, kind, end)) = question(&packet[..length]) else { continue };
        let answers: Vec<Vec<u8>> = match kind {
            A => vec![vec![127, 0, 0, 1]],
            TXT => {
                let texts = lock(shown).texts.get(&name).cloned().unwrap_or_default();
                let length = |text: &String| u8::try_from(text.len()).unwrap();
                texts.iter().map(|text| [&[length(text)], text.as_bytes()].concat()).collect()
            }
            _ => Vec::new(),
        };
        let count = u8::try_from(answers.len()).unwrap();
        // The question's id; an authoritative answer without an error; one question, so many answers.
        let mut reply = [&packet[..2], &[0x85, 0x80, 0, 1, 0, count, 0, 0, 0, 0], &packet[12..end]].concat();
        for data in answers {
            let length = u16::try_from(data.len()).unwrap().to_be_bytes();
            // The name of the question, its type, the class of the Internet, no time to live.
            reply
                .extend([&[0xc0, 12][..], &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 0], &length, &data].concat());
        }
        let _ = socket.send_to(&reply, from);
    }
}

/// The name and the type that are asked for, and where the question ends.
fn question(packet: &[u8]) -> Option<(String, u16, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
    Some((labels.join("."), kind, at + 4))
}
