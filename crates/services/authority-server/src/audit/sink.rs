//! Where lines go, other than into files of their own: pipes, standard output, sockets and the system log.

use super::Report;
use super::file::LogFile;
use keyward_authority::audit::chain::Head;
use keyward_authority::audit::{self, Config, Facility, SocketKind};
use keyward_core::Timestamp;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The system log's socket.
const DEV_LOG: &str = "/dev/log";

/// How long the system log may take for a line.
const SYSLOG_TIMEOUT: Duration = Duration::from_secs(2);

/// Takes lines.
pub(super) trait Sink: Send {
    /// The head of the chain that is there already.
    fn resumed(&self) -> Option<Head> {
        None
    }

    /// Writes `line`, which ends in a newline, whole. After an error the line does not count as written.
    fn write(&mut self, line: &[u8]) -> io::Result<()>;

    /// Opens whatever the name stands for now.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens what `config` names. May take as long as a connection takes.
pub(super) fn open(config: &Config, report: &Report) -> io::Result<Box<dyn Sink>> {
    Ok(match &config.sink {
        audit::Sink::File { path, mode } => {
            let path = Path::new(path);
            match is_pipe(path) {
                true => Box::new(Pipe::open(path)?),
                false => Box::new(LogFile::open(path, *mode, &config.prefix, report.clone())?),
            }
        }
        audit::Sink::Stdout => Box::new(Stdout),
        audit::Sink::Discard => Box::new(Discard),
        audit::Sink::Socket { kind, address, write_timeout } => {
            let mut socket =
                Socket { kind: *kind, address: address.clone(), timeout: *write_timeout, wire: None };
            socket.connect()?;
            Box::new(socket)
        }
        audit::Sink::Syslog { facility, tag } => Box::new(Syslog::open(Path::new(DEV_LOG), *facility, tag)?),
    })
}

/// Makes sure that what `config` names can be opened, without touching what is there.
pub(super) fn probe(config: &Config, report: &Report) -> io::Result<()> {
    match &config.sink {
        audit::Sink::File { path, mode } if !is_pipe(Path::new(path)) => {
            LogFile::probe(Path::new(path), *mode, &config.prefix, report.clone())
        }
        _ => open(config, report).map(|_| ()),
    }
}

/// True when `path` names something that is written to but has no end: a FIFO or a character device.
pub(super) fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|about| about.file_type().is_fifo() || about.file_type().is_char_device())
}

struct Discard;

impl Sink for Discard {
    fn write(&mut self, _line: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

struct Stdout;

impl Sink for Stdout {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(line)?;
        out.flush()
    }
}

struct Pipe {
    path: PathBuf,
    file: File,
}

impl Pipe {
    fn open(path: &Path) -> io::Result<Pipe> {
        // Without a reader, opening a FIFO would wait for one.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = match OpenOptions::new().write(true).custom_flags(flags).open(path) {
            Err(why) if why.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {
                return Err(io::Error::new(ErrorKind::NotConnected, "no process reads from it"));
            }
            opened => opened?,
        };
        let blocking = rustix::fs::fcntl_getfl(&file)? - rustix::fs::OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&file, blocking)?;
        Ok(Pipe { path: path.to_owned(), file })
    }
}

impl Sink for Pipe {
    /// Waits for the reader, however long it takes: a line is never cut.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.file.write_all(line)
    }

    fn reopen(&mut self) -> io::Result<()> {
        *self = Pipe::open(&self.path.clone())?;
        Ok(())
    }
}

enum Wire {
    Tcp(TcpStream),
    Udp(UdpSocket),
    Unix(UnixStream),
}

struct Socket {
    kind: SocketKind,
    address: String,
    timeout: Duration,
    wire: Option<Wire>,
}

impl Socket {
    fn connect(&mut self) -> io::Result<()> {
        self.wire = None;
        self.wire = Some(match self.kind {
            SocketKind::Tcp => {
                let stream = each_address(&self.address, |to| TcpStream::connect_timeout(&to, self.timeout))?;
                stream.set_write_timeout(Some(self.timeout))?;
                stream.set_nodelay(true)?;
                Wire::Tcp(stream)
            }
            SocketKind::Udp => Wire::Udp(each_address(&self.address, |to| {
                let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any)?;
                socket.connect(to)?;
                socket.set_write_timeout(Some(self.timeout))?;
                Ok(socket)
            })?),
            SocketKind::Unix => {
                let stream = UnixStream::connect(&self.address)?;
                stream.set_write_timeout(Some(self.timeout))?;
                Wire::Unix(stream)
            }
        });
        Ok(())
    }

    fn send(&mut self, line: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Some(Wire::Tcp(stream)) => stream.write_all(line),
            Some(Wire::Unix(stream)) => stream.write_all(line),
            Some(Wire::Udp(socket)) => socket.send(line).map(|_| ()),
            None => Err(ErrorKind::NotConnected.into()),
        }
    }
}

impl Sink for Socket {
    /// A connection that broke is made anew once. The other side may see the line twice, the first time torn.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self.send(line) {
            Err(why) if !waited(&why) && why.raw_os_error() != Some(too_long()) => {
                self.connect()?;
                self.send(line)
            }
            // Half a line may have been sent: the next one must not follow it on the same connection.
            Err(why) => {
                self.wire = None;
                Err(why)
            }
            Ok(()) => Ok(()),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.connect()
    }
}

fn waited(why: &io::Error) -> bool {
    matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn too_long() -> i32 {
    rustix::io::Errno::MSGSIZE.raw_os_error()
}

fn each_address<T>(address: &str, connect: impl Fn(std::net::SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for to in address.to_socket_addrs()? {
        match connect(to) {
            Ok(connected) => return Ok(connected),
            Err(why) => last = why,
        }
    }
    Err(last)
}

/// The local system log, in the form of RFC 3164 that its daemons read from their socket: no host name.
pub(super) struct Syslog {
    path: PathBuf,
    priority: u16,
    tag: String,
    socket: UnixDatagram,
}

/// RFC 5424, section 6.2.1.
const INFORMATIONAL: u16 = 6;

impl Syslog {
    pub(super) fn open(path: &Path, facility: Facility, tag: &str) -> io::Result<Syslog> {
        let priority = u16::from(facility.0) * 8 + INFORMATIONAL;
        Ok(Syslog { path: path.to_owned(), priority, tag: tag.to_owned(), socket: connect(path)? })
    }

    fn message(&self, line: &[u8], now: Timestamp) -> Vec<u8> {
        let header = format!("<{}>{} {}[{}]: ", self.priority, stamp(now), self.tag, std::process::id());
        let mut message = header.into_bytes();
        message.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        message
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(SYSLOG_TIMEOUT))?;
    Ok(socket)
}

/// `Jan  2 15:04:05`, in UTC.
fn stamp(now: Timestamp) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = now.to_string();
    let number = |range| text.get(range).and_then(|digits: &str| digits.parse::<usize>().ok()).unwrap_or(1);
    let month = MONTHS.get(number(5..7).saturating_sub(1)).copied().unwrap_or("Jan");
    format!("{month} {:>2} {}", number(8..10), text.get(11..19).unwrap_or("00:00:00"))
}

impl Sink for Syslog {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let message = self.message(line, now());
        match self.socket.send(&message) {
            // The daemon was restarted: its socket is another one.
            Err(why) if !waited(&why) && why.raw_os_error() != Some(too_long()) => {
                self.socket = connect(&self.path)?;
                self.socket.send(&message).map(|_| ())
            }
            sent => sent.map(|_| ()),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.socket = connect(&self.path)?;
        Ok(())
    }
}

/// The present moment.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.plus(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_log_gets_its_form() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut log = Syslog::open(&path, Facility(4), "vault").unwrap();
        log.write(b"{\"a\":1}\n").unwrap();
        let mut seen = [0; 256];
        let length = daemon.recv(&mut seen).unwrap();
        let text = String::from_utf8_lossy(&seen[..length]).into_owned();
        let tail = format!(" vault[{}]: {{\"a\":1}}", std::process::id());
        assert!(text.starts_with("<38>") && text.ends_with(&tail), "{text}");
        // A restarted daemon has a new socket at the same path.
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        assert!(log.write(b"{}\n").is_err());
        let daemon = UnixDatagram::bind(&path).unwrap();
        log.write(b"{\"b\":2}\n").unwrap();
        let length = daemon.recv(&mut seen).unwrap();
        assert!(seen[..length].ends_with(b"{\"b\":2}"));
        // What no datagram can hold is refused, and what follows is not harmed.
        assert!(log.write(&vec![b'x'; 8 << 20]).is_err());
        log.write(b"{\"c\":3}\n").unwrap();
    }

    #[test]
    fn moments_are_written_as_syslog_writes_them() {
        let at = |text| stamp(Timestamp::parse_rfc3339(text).unwrap());
        assert_eq!(at("2026-01-02T03:04:05.678Z"), "Jan  2 03:04:05");
        assert_eq!(at("2026-12-31T23:59:59Z"), "Dec 31 23:59:59");
    }
}
