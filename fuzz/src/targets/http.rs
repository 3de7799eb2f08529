//! What comes over a connection: HTTP/1.1, methods, targets, queries, headers, bodies.

use crate::open::{Open, runtime};
use keyward_authority_server::config;
use keyward_authority_server::http::Limits;
use keyward_authority_server::lanes::Lanes;
use keyward_authority_server::listener::{Address, Listener};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;

/// Serves as long as the process lives.
struct Server {
    _folder: TempDir,
    _stop: watch::Sender<bool>,
    socket: PathBuf,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let (open, folder) = (Open::new(), tempfile::tempdir().unwrap());
        let socket = folder.path().join("s");
        let config = config::Listener {
            address: Address::Unix(socket.clone(), 0o600),
            tls: None,
            limits: Limits { body: 1 << 20, ..Limits::default() },
            forwarded: None,
        };
        let (stop, stopped) = watch::channel(false);
        let listener = Arc::new(runtime().block_on(Listener::bind(&config)).unwrap());
        let lanes = Arc::new(Lanes::start().unwrap());
        runtime().spawn(listener.serve(open.node, lanes, stopped));
        Server { _folder: folder, _stop: stop, socket }
    })
}

pub(crate) fn run(data: &[u8]) {
    let mut stream = UnixStream::connect(&server().socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // The server may hang up before it has read everything.
    let _ = stream.write_all(data);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(why) = stream.read_to_end(&mut answer) {
        assert_ne!(why.kind(), std::io::ErrorKind::WouldBlock, "no answer and no end");
    }
    let status = answer.get(..12).and_then(crate::text).unwrap_or_default();
    assert!(answer.is_empty() || status.starts_with("HTTP/1.") && status != "HTTP/1.1 500", "{status}");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&[
        "GET /v1/sys/health?standbyok=true&sealedcode=299 HTTP/1.1\r\nHost: a\r\n\r\n",
        "LIST /v1/secret/metadata/ HTTP/1.1\r\nHost: a\r\nX-Vault-Token: t\r\nX-Vault-Namespace: a/\r\n\r\n",
        "PUT /v1/sys/tools/hash%2fsha2-256 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\nX-Vault-Wrap-TTL: \
         60s\r\nContent-Length: 15\r\n\r\n{\"input\":\"YQ\"}\n",
        "POST /v1/sys/unseal HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "PATCH /v1/secret/data/a?list=true&help=1 HTTP/1.1\r\nHost: a\r\nContent-Type: \
         application/merge-patch+json\r\nContent-Length: 2\r\n\r\n{}",
    ])
}
