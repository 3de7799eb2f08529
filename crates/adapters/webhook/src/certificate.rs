//! What the server shows: a certificate of files, read again when they change, or one of its own making.

mod own;

pub use own::Lives;

use arc_swap::ArcSwap;
use keyward_core::{Clock, Timestamp};
use keyward_crypto::x509;
use keyward_tls::{Clients, TlsError, TlsFiles, configure, configure_with};
use own::Own;
use parking_lot::Mutex;
use rustls::ServerConfig;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often files are looked at, and dates.
const LOOK: Duration = Duration::from_secs(5);

/// Why there is no certificate to show.
#[derive(Debug)]
pub enum Error {
    /// The files cannot be used.
    Files(TlsError),
    /// A file cannot be read.
    Read(PathBuf, std::io::Error),
    /// A certificate of our own cannot be made.
    Make(x509::Error),
    /// The names of the server are none that a certificate can have.
    Key(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Files(why) => why.fmt(f),
            Error::Read(path, why) => write!(f, "{}: {why}", path.display()),
            Error::Make(why) => write!(f, "a certificate for the webhook cannot be made: {why}"),
            Error::Key(why) => write!(f, "a key for the webhook cannot be made: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<x509::Error> for Error {
    fn from(why: x509::Error) -> Error {
        Error::Make(why)
    }
}

impl From<TlsError> for Error {
    fn from(why: TlsError) -> Error {
        Error::Files(why)
    }
}

/// What the server shows at present, and whom its clients are to believe.
pub struct Certificate {
    config: ArcSwap<ServerConfig>,
    bundle: watch::Sender<Arc<str>>,
    source: Mutex<Source>,
}

enum Source {
    Files { files: TlsFiles, authorities: Option<PathBuf>, seen: Vec<Vec<u8>> },
    Own { own: Box<Own>, clients: Clients },
}

impl Certificate {
    /// Of files in PEM, as cert-manager or an operator lays them down. `authorities` is what clients are to believe; where it
    /// is missing the bundle is empty, and whoever configures the webhook says it.
    ///
    /// # Errors
    ///
    /// What cannot be read, or does not go together.
    pub fn of_files(files: TlsFiles, authorities: Option<PathBuf>) -> Result<Certificate, Error> {
        let seen = contents(&files, authorities.as_ref())?;
        let config = configure(&files)?;
        let bundle = bundle_of(&seen);
        Ok(Certificate {
            config: ArcSwap::new(config),
            bundle: watch::Sender::new(bundle),
            source: Mutex::new(Source::Files { files, authorities, seen }),
        })
    }

    /// Of an authority of its own that lives in this process and nowhere else: its key never rests, and a process that starts
    /// again is believed once its new bundle is where the API server looks. `names` are host names and addresses.
    ///
    /// # Errors
    ///
    /// A name that no certificate can have.
    pub fn own(
        names: &[String],
        lives: Lives,
        clients: Clients,
        now: Timestamp,
    ) -> Result<Certificate, Error> {
        let own = Own::new(names, lives, now)?;
        let config = configure_with(own.chain(), own.key()?, &clients, false)?;
        let bundle = watch::Sender::new(own.bundle());
        Ok(Certificate {
            config: ArcSwap::new(config),
            bundle,
            source: Mutex::new(Source::Own { own: Box::new(own), clients }),
        })
    }

    /// The configuration that connections are to be accepted with.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// The certificates, in PEM, that clients are to believe: the `caBundle` of webhook configurations, which follows it.
    pub fn bundle(&self) -> watch::Receiver<Arc<str>> {
        self.bundle.subscribe()
    }

    /// Reads changed files, renews what is due. What was shown before goes on being shown where that fails. True where
    /// something changed.
    ///
    /// # Errors
    ///
    /// Why nothing changed though it should have.
    pub fn renew(&self, now: Timestamp) -> Result<bool, Error> {
        match &mut *self.source.lock() {
            Source::Files { files, authorities, seen } => {
                let found = contents(files, authorities.as_ref())?;
                if found == *seen {
                    return Ok(false);
                }
                self.config.store(configure(files)?);
                self.publish(bundle_of(&found));
                *seen = found;
                Ok(true)
            }
            Source::Own { own, clients } => {
                if !own.renew(now)? {
                    return Ok(false);
                }
                self.config.store(configure_with(own.chain(), own.key()?, clients, false)?);
                self.publish(own.bundle());
                Ok(true)
            }
        }
    }

    fn publish(&self, bundle: Arc<str>) {
        self.bundle.send_if_modified(|known| {
            let changed = *known != bundle;
            *known = bundle;
            changed
        });
    }

    /// Renews for as long as it is awaited; `failed` is told what did not work, and it is tried again.
    pub async fn keep(&self, clock: &dyn Clock, failed: impl Fn(&Error)) {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(why) = self.renew(clock.now()) {
                failed(&why);
            }
        }
    }
}

/// What is in the files: certificate, key and, last, the authorities.
fn contents(files: &TlsFiles, authorities: Option<&PathBuf>) -> Result<Vec<Vec<u8>>, Error> {
    let clients = match &files.clients {
        Clients::Of(path) => Some(path),
        Clients::Silent | Clients::Any => None,
    };
    let read = |path: &PathBuf| std::fs::read(path).map_err(|why| Error::Read(path.clone(), why));
    let mut contents = vec![read(&files.certificate)?, read(&files.key)?];
    contents.push(clients.map_or_else(|| Ok(Vec::new()), read)?);
    contents.push(authorities.map_or_else(|| Ok(Vec::new()), read)?);
    Ok(contents)
}

fn bundle_of(contents: &[Vec<u8>]) -> Arc<str> {
    contents.last().map(|pem| String::from_utf8_lossy(pem)).unwrap_or_default().into()
}

#[cfg(test)]
mod tests;
