//! The Unix socket: whose it is, who may use it, and what may be in its place.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use tokio::net::{UnixListener, UnixStream};
use tonic::codegen::tokio_stream::Stream;

use keyward_log::{Log, LogLevel};

/// The longest path of a socket: the kernel's 108 bytes less the final zero.
const LONGEST_PATH: usize = 107;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// The right to a socket's path, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    _lock: File,
}

/// A listening socket. Dropping it removes the file, unless another took its place.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    _file: SocketFile,
}

#[derive(Debug)]
struct SocketFile {
    claim: Claim,
    made: (u64, u64),
}

/// The path in `unix:///path` or `path`. Abstract sockets are refused: they have no owner and no mode.
pub fn socket_path(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.starts_with('@') || path.starts_with("/@") || path.starts_with('\0') {
        return Err(format!("{text:?} is an abstract socket, which any user can connect to: name a file"));
    }
    if !path.starts_with('/') {
        return Err(format!("{text:?} is not absolute: write unix:///run/keyward/kms.sock"));
    }
    if path.len() > LONGEST_PATH {
        return Err(format!("{text:?} is too long for a socket: at most {LONGEST_PATH} bytes"));
    }
    Ok(PathBuf::from(path))
}

impl Claim {
    /// Takes the path for this process, after making sure that nobody serves there. A socket that a process
    /// left behind is removed; anything else in its place is refused and left alone.
    pub(crate) fn take(path: &Path) -> Result<Claim, String> {
        let path = socket_path(&path.to_string_lossy())?;
        let folder = path.parent().filter(|folder| folder.is_dir()).ok_or_else(|| {
            format!("the folder of {} does not exist: make it, for root or this user alone", path.display())
        })?;
        guarded(folder)?;
        let lock_path = path.with_added_extension("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| format!("cannot make {}: {error}", lock_path.display()))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| format!("another process is about to serve on {}", path.display()))?;
        remove_stale(&path)?;
        Ok(Claim { path, _lock: lock })
    }

    /// Listens. The file has mode 0600 from its first moment.
    pub(crate) fn listen(self) -> Result<Socket, String> {
        let failed = |error: std::io::Error| format!("cannot listen on {}: {error}", self.path.display());
        let descriptor = open_socket(&self.path).map_err(|error| failed(error.into()))?;
        let metadata = fs::symlink_metadata(&self.path).map_err(failed)?;
        let listener = UnixListener::from_std(descriptor.into()).map_err(failed)?;
        Ok(Socket { listener, _file: SocketFile { made: (metadata.dev(), metadata.ino()), claim: self } })
    }
}

fn open_socket(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let descriptor = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux gives the file the mode of the descriptor: there is no moment at which others could connect.
    fchmod(&descriptor, Mode::RUSR | Mode::WUSR)?;
    bind(&descriptor, &SocketAddrUnix::new(path)?)?;
    listen(&descriptor, BACKLOG)?;
    Ok(descriptor)
}

/// Whoever may write to the folder may put a socket of his own in our place.
fn guarded(folder: &Path) -> Result<(), String> {
    let metadata =
        fs::metadata(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let (ours, sticky) = (rustix::process::geteuid().as_raw(), metadata.mode() & 0o1000 != 0);
    if metadata.uid() != ours && metadata.uid() != 0 {
        return Err(format!("{} belongs to user {}: chown it to {ours}", folder.display(), metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 && !sticky {
        return Err(format!("{} can be written by others: chmod 0755 it", folder.display()));
    }
    Ok(())
}

fn remove_stale(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| format!("cannot read {shown}: {error}"))?,
    };
    if !metadata.file_type().is_socket() {
        return Err(format!("{shown} is there and is no socket: move it away, or choose another path"));
    }
    let ours = rustix::process::geteuid().as_raw();
    if metadata.uid() != ours {
        return Err(format!(
            "{shown} belongs to user {}, not to {ours}: find out why, then remove it",
            metadata.uid()
        ));
    }
    match StdStream::connect(path) {
        Ok(_) => Err(format!("another process serves on {shown}: stop it, or choose another path")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| format!("cannot remove the stale socket {shown}: {error}"))
        }
        Err(error) => Err(format!("cannot tell whether another process serves on {shown}: {error}")),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.claim.path).is_ok_and(|found| (found.dev(), found.ino()) == self.made);
        if ours {
            // The lock file stays: removing it would let two processes lock two files of its name.
            let _ = fs::remove_file(&self.claim.path);
        }
    }
}

/// Accepted connections of users that may connect.
pub(crate) struct Incoming {
    pub(crate) socket: Socket,
    pub(crate) allowed_uids: Vec<u32>,
    pub(crate) log: Log,
}

impl Incoming {
    fn admits(&self, stream: &UnixStream) -> bool {
        let uid = stream.peer_cred().map(|peer| peer.uid());
        let admitted = uid.as_ref().is_ok_and(|uid| self.allowed_uids.contains(uid));
        if !admitted {
            let who = uid.map_or_else(|error| error.to_string(), |uid| uid.to_string());
            self.log.event(
                LogLevel::Warn,
                "connection refused: this user may not use the socket",
                &[("peer_uid", &who)],
            );
        }
        admitted
    }
}

impl Stream for Incoming {
    type Item = std::io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.socket.listener.poll_accept(context) {
                Poll::Ready(Ok((stream, _))) if self.admits(&stream) => return Poll::Ready(Some(Ok(stream))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener as StdListener;

    #[tokio::test]
    async fn is_private_and_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kms.sock");
        let socket = Claim::take(&path).unwrap().listen().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        StdStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_live_socket_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kms.sock");
        let first = Claim::take(&path).unwrap().listen().unwrap();
        let error = Claim::take(&path).unwrap_err();
        assert!(error.contains("another process"), "{error}");
        drop(first);
        let foreign = StdListener::bind(&path).unwrap();
        let error = Claim::take(&path).unwrap_err();
        assert!(error.contains("another process serves"), "{error}");
        drop(foreign);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kms.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = Claim::take(&path).unwrap().listen().unwrap();
        StdStream::connect(&path).unwrap();
        drop(socket);
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kms.sock");
        fs::write(&path, "precious").unwrap();
        assert!(Claim::take(&path).unwrap_err().contains("no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert!(Claim::take(&path).unwrap_err().contains("no socket"), "a link is not followed");
    }

    #[test]
    fn a_socket_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can make a file of another user");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kms.sock");
        drop(StdListener::bind(&path).unwrap());
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        assert!(Claim::take(&path).unwrap_err().contains("belongs to user 12345"));
        assert!(path.exists());
    }

    #[test]
    fn a_folder_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Claim::take(&folder.path().join("kms.sock")).unwrap_err().contains("chmod 0755"));
        assert!(Claim::take(&folder.path().join("absent/kms.sock")).unwrap_err().contains("does not exist"));
    }

    #[test]
    fn endpoints_are_files() {
        assert_eq!(socket_path("unix:///run/kms.sock"), Ok(PathBuf::from("/run/kms.sock")));
        assert_eq!(socket_path("/run/kms.sock"), Ok(PathBuf::from("/run/kms.sock")));
        for bad in ["unix:///@kms", "@kms", "kms.sock", "unix://kms.sock", "tcp://127.0.0.1:1"] {
            assert!(socket_path(bad).is_err(), "{bad}");
        }
        assert!(socket_path(&format!("/{}", "x".repeat(120))).is_err());
    }

    #[tokio::test]
    async fn only_listed_users_connect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kms.sock");
        let socket = Claim::take(&path).unwrap().listen().unwrap();
        let mut incoming = Incoming { socket, allowed_uids: vec![4_000_000], log: Log::default() };
        let mut refused = StdStream::connect(&path).unwrap();
        let accepted = std::future::poll_fn(|context| Pin::new(&mut incoming).poll_next(context));
        let waited = tokio::time::timeout(std::time::Duration::from_millis(100), accepted).await;
        assert!(waited.is_err(), "nobody was let in");
        refused.set_nonblocking(false).unwrap();
        assert_eq!(
            std::io::Read::read(&mut refused, &mut [0; 1]).unwrap(),
            0,
            "and the connection was closed"
        );
        incoming.allowed_uids.push(rustix::process::geteuid().as_raw());
        let _admitted = StdStream::connect(&path).unwrap();
        let accepted = std::future::poll_fn(|context| Pin::new(&mut incoming).poll_next(context)).await;
        assert!(accepted.unwrap().is_ok());
    }
}
