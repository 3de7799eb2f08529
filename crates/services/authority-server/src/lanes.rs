//! Threads that carry connections, each with a reactor of its own.
//!
//! A connection stays on the lane it was given. On a runtime whose workers steal from each other, a request that is
//! answered in 15 us costs another 3 to 5 us for waking a second worker, which finds nothing to do. What would hold
//! up a lane for long is done aside, on threads for that.

use parking_lot::Mutex;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// As many as the machine has processors. They end when this is dropped, and with them whatever they still carry.
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    open: watch::Sender<()>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Lane {
    runtime: Handle,
    /// Connections now.
    load: Arc<AtomicUsize>,
}

impl Lanes {
    /// Starts them; an error says that the system gives no thread or no descriptor.
    pub(crate) fn start() -> io::Result<Lanes> {
        let mut started =
            Lanes { lanes: Vec::new(), open: watch::Sender::new(()), threads: Mutex::default() };
        for number in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let lane = Lane { runtime: runtime.handle().clone(), load: Arc::default() };
            let mut open = started.open.subscribe();
            let thread = thread::Builder::new().name(format!("lane-{number}"));
            let thread = thread.spawn(move || {
                runtime.block_on(async { while open.changed().await.is_ok() {} });
                // What was given to others to do, such as waiting for a name to be resolved, may take its time.
                runtime.shutdown_background();
            })?;
            started.lanes.push(lane);
            started.threads.get_mut().push(thread);
        }
        Ok(started)
    }

    /// Carries a connection on the lane that has the fewest.
    pub(crate) fn carry(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let Some(lane) = self.lanes.iter().min_by_key(|lane| lane.load.load(Ordering::Relaxed)) else {
            return;
        };
        lane.load.fetch_add(1, Ordering::Relaxed);
        let place = Place(lane.load.clone());
        lane.runtime.spawn(async move {
            connection.await;
            drop(place);
        });
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.open = watch::Sender::new(());
        for thread in self.threads.get_mut().drain(..) {
            let _ = thread.join();
        }
    }
}

/// One connection's place on its lane, given back however it ends.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use tokio::sync::{mpsc, oneshot};

    #[tokio::test]
    async fn connections_are_shared_out_evenly_and_places_come_back() {
        let lanes = Lanes::start().unwrap();
        let count = lanes.lanes.len();
        let (end, ended) = watch::channel(());
        let (tell, mut told) = mpsc::unbounded_channel();
        for _ in 0..3 * count {
            let (tell, mut ended) = (tell.clone(), ended.clone());
            lanes.carry(async move {
                tell.send(thread::current().name().map(str::to_owned)).unwrap();
                let _ = ended.changed().await;
            });
        }
        let mut carried = HashMap::new();
        for _ in 0..3 * count {
            *carried.entry(told.recv().await.unwrap()).or_insert(0) += 1;
        }
        assert!(carried.values().all(|carried| *carried == 3), "{carried:?}");
        drop(end);
        while lanes.lanes.iter().any(|lane| lane.load.load(Ordering::Relaxed) > 0) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_is_still_carried_ends_with_the_lanes() {
        let lanes = Lanes::start().unwrap();
        let (held, cut) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        lanes.carry(async move {
            let _held = held;
            tell.send(()).unwrap();
            std::future::pending().await
        });
        told.await.unwrap();
        drop(lanes);
        assert!(cut.await.is_err());
    }
}
