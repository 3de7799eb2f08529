//! Listeners: sockets to connections, connections to requests, and an orderly end.

use crate::alarm::Alarm;
use crate::config;
use crate::http::{Peer, answer};
use crate::lanes::Lanes;
use crate::log;
use crate::node::Node;
use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use keyward_tls::{TlsError, TlsFiles};
use parking_lot::Mutex;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket and its mode.
    Unix(PathBuf, u32),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path, _) => path.display().fmt(f),
        }
    }
}

/// One listener, bound.
pub struct Listener {
    config: config::Listener,
    address: String,
    /// Taken by [`Listener::serve`], which closes it before it waits for the last requests.
    socket: Mutex<Option<Socket>>,
    tls: Option<Tls>,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

struct Tls {
    files: TlsFiles,
    config: ArcSwap<rustls::ServerConfig>,
}

/// A client that does not finish its handshake in this time is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections that may wait to be accepted: all pods of a cluster may come at once, and who finds no place waits a
/// second before trying again.
const BACKLOG: u32 = 4096;
/// How long running requests may take once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(30);

impl Listener {
    /// Binds what `config` says. A Unix socket that no process answers is replaced; one that is answered is not.
    pub async fn bind(config: &config::Listener) -> io::Result<Listener> {
        let tls = match &config.tls {
            None => None,
            Some(files) => {
                let config = keyward_tls::configure(files).map_err(io::Error::other)?;
                Some(Tls { files: files.clone(), config: ArcSwap::new(config) })
            }
        };
        let socket = match &config.address {
            Address::Tcp(address) => Socket::Tcp(listen(*address)?),
            Address::Unix(path, mode) => {
                if tokio::net::UnixStream::connect(path).await.is_ok() {
                    return Err(io::Error::new(
                        io::ErrorKind::AddrInUse,
                        format!("{}: another process listens there", path.display()),
                    ));
                }
                if std::fs::symlink_metadata(path).is_ok_and(|found| {
                    use std::os::unix::fs::FileTypeExt;
                    found.file_type().is_socket()
                }) {
                    std::fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode))?;
                Socket::Unix(listener, path.clone())
            }
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = match &socket {
            Socket::Tcp(listener) => format!("{scheme}://{}", listener.local_addr()?),
            Socket::Unix(_, path) => format!("unix://{}", path.display()),
        };
        Ok(Listener { config: config.clone(), address, socket: Mutex::new(Some(socket)), tls })
    }

    /// The address bound, which matters when port 0 was asked for.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Reads the TLS files again. The old configuration stays when they cannot be used.
    pub fn reload(&self) -> Result<(), TlsError> {
        if let Some(tls) = &self.tls {
            tls.config.store(keyward_tls::configure(&tls.files)?);
        }
        Ok(())
    }

    /// Serves on `lanes` until `stop` turns true, then lets running requests finish.
    pub(crate) async fn serve(
        self: Arc<Listener>,
        node: Arc<Node>,
        lanes: Arc<Lanes>,
        stop: watch::Receiver<bool>,
    ) {
        let mut told = stop.clone();
        let Some(socket) = self.socket.lock().take() else { return };
        let connections = tracker::Tracker::default();
        loop {
            tokio::select! {
                () = stopped(&mut told) => break,
                accepted = accept(&socket) => match accepted {
                    Ok((stream, address)) => {
                        let (listener, node, stop) = (self.clone(), node.clone(), stop.clone());
                        let guard = connections.enter();
                        lanes.carry(async move {
                            match stream.here() {
                                Ok(stream) => listener.connection(node, stream, address, stop).await,
                                Err(why) => log::error(&format!("a connection could not be carried: {why}")),
                            }
                            drop(guard);
                        });
                    }
                    Err(why) => {
                        // Out of descriptors, most likely: waiting lets some connections end.
                        log::error(&format!("a connection could not be accepted: {why}"));
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        // New clients are refused from here on, and may try elsewhere.
        if let Socket::Unix(_, path) = &socket {
            let _ = std::fs::remove_file(path);
        }
        drop(socket);
        if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
            log::warn("some connections did not finish in 30 seconds and were cut");
        }
    }

    async fn connection(
        &self,
        node: Arc<Node>,
        stream: Stream,
        address: Option<SocketAddr>,
        stop: watch::Receiver<bool>,
    ) {
        let peer = Peer { address, tls: self.tls.is_some(), certificates: Arc::default() };
        match (&self.tls, stream) {
            (None, Stream::Tcp(stream)) => self.http(node, stream, peer, stop).await,
            (None, Stream::Unix(stream)) => self.http(node, stream, peer, stop).await,
            (Some(tls), Stream::Tcp(stream)) => self.https(tls, node, stream, peer, stop).await,
            (Some(tls), Stream::Unix(stream)) => self.https(tls, node, stream, peer, stop).await,
        }
    }

    async fn https<S>(&self, tls: &Tls, node: Arc<Node>, stream: S, peer: Peer, stop: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let acceptor = TlsAcceptor::from(tls.config.load_full());
        match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let certificates = shown.iter().map(|certificate| certificate.to_vec()).collect();
                self.http(node, stream, Peer { certificates, ..peer }, stop).await;
            }
            Ok(Err(why)) => log::debug(&format!("a TLS handshake failed: {why}")),
            Err(_) => log::debug("a client did not finish its TLS handshake"),
        }
    }

    async fn http<S>(&self, node: Arc<Node>, stream: S, peer: Peer, mut stop: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let asked = AtomicBool::new(false);
        let service = service_fn(|request| async {
            asked.store(true, Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(answer(&node, &self.config, &peer, request).await)
        });
        let connection = http1::Builder::new()
            .timer(Alarm::new(self.config.limits.head))
            .header_read_timeout(self.config.limits.head)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let told = stop.clone();
        let mut stopped = pin!(stopped(&mut stop));
        let mut waits = false;
        let ended = poll_fn(|cx| {
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            // Asked once, and again when there is an answer: a task's waker stays the same, and to ask takes a lock
            // that all connections share.
            if waits && matches!(told.has_changed(), Ok(false)) {
                return Poll::Pending;
            }
            waits = true;
            stopped.as_mut().poll(cx).map(|()| false)
        });
        if ended.await {
            return;
        }
        connection.as_mut().graceful_shutdown();
        // A graceful end would wait for the first request of a client that has not sent one.
        if !asked.load(Ordering::Relaxed) {
            return;
        }
        let _ = connection.await;
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Else a restart would wait for connections that are long over.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(socket: &Socket) -> io::Result<(Accepted, Option<SocketAddr>)> {
    match socket {
        Socket::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Accepted::Tcp(stream.into_std()?), Some(address)))
        }
        Socket::Unix(listener, _) => Ok((Accepted::Unix(listener.accept().await?.0.into_std()?), None)),
    }
}

/// Ready once the server is told to stop, or is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A connection on its way to a lane.
enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Accepted {
    /// The connection with the reactor of the thread that calls.
    fn here(self) -> io::Result<Stream> {
        Ok(match self {
            Accepted::Tcp(stream) => Stream::Tcp(tokio::net::TcpStream::from_std(stream)?),
            Accepted::Unix(stream) => Stream::Unix(tokio::net::UnixStream::from_std(stream)?),
        })
    }
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

/// Counts connections so that their end can be awaited.
mod tracker {
    use std::sync::Arc;
    use tokio::sync::watch;

    /// Hands out guards and waits until all are dropped.
    #[derive(Default)]
    pub(super) struct Tracker(Arc<watch::Sender<usize>>);

    /// One connection.
    pub(super) struct Guard(Arc<watch::Sender<usize>>);

    impl Tracker {
        pub(super) fn enter(&self) -> Guard {
            self.0.send_modify(|count| *count += 1);
            Guard(self.0.clone())
        }

        pub(super) async fn wait(&self) {
            let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
        }
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.send_modify(|count| *count -= 1);
        }
    }
}
