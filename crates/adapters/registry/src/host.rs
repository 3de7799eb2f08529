//! Registries as such: how many requests one has at a time, and whether it answered when it was last asked.

use crate::Error;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that one registry has at a time.
const AT_ONCE: usize = 8;
/// How long one that did not answer is left alone.
const REST: Duration = Duration::from_secs(5);
/// Registries that are remembered; all are forgotten when there are more.
const MOST: usize = 1000;

/// See the module.
#[derive(Default)]
pub(crate) struct Hosts(Mutex<HashMap<String, Host>>);

#[derive(Clone)]
struct Host {
    places: Arc<Semaphore>,
    silent: Option<(Instant, String)>,
}

impl Hosts {
    /// A place among a registry's requests.
    pub(crate) async fn place(&self, name: &str) -> Result<OwnedSemaphorePermit, Error> {
        let places = self.answering(name)?.places;
        let place = places.acquire_owned().await;
        let place = place.map_err(|_| Error::Unreachable(format!("{name} is asked nothing any more")))?;
        // It may have fallen silent while others were before us.
        self.answering(name).map(|_| place)
    }

    fn answering(&self, name: &str) -> Result<Host, Error> {
        let mut hosts = self.0.lock();
        if hosts.len() >= MOST && !hosts.contains_key(name) {
            hosts.clear();
        }
        let new = || Host { places: Arc::new(Semaphore::new(AT_ONCE)), silent: None };
        let host = hosts.entry(name.to_owned()).or_insert_with(new);
        match &host.silent {
            Some((since, why)) if since.elapsed() < REST => {
                let ago = since.elapsed().as_secs();
                Err(Error::Unreachable(format!(
                    "{name} did not answer {ago} s ago, and is left alone for a moment: {why}"
                )))
            }
            _ => Ok(host.clone()),
        }
    }

    /// Notes whether it answered.
    pub(crate) fn answered(&self, name: &str, why_not: Option<&str>) {
        if let Some(host) = self.0.lock().get_mut(name) {
            host.silent = why_not.map(|why| (Instant::now(), why.to_owned()));
        }
    }
}
