//! Audit devices: where records go, and when that is enough for a request to go on.
//!
//! A request goes on once one device has taken its record; with none configured, at once. A single device that
//! is a regular file is written in place, for all requests that are ready together. Otherwise each device has a thread
//! and a bounded queue, and the request waits for the first that has written, so that a device that hangs stops nothing
//! but itself.

mod direct;
mod file;
mod output;
mod queue;
pub mod search;
mod sink;
#[cfg(test)]
mod tests;
pub mod verify;

pub use output::DeviceStatus;

use arc_swap::ArcSwap;
use direct::Direct;
use keyward_authority::audit::{self, Auditing, Config, Device, Record};
use output::{Output, Status};
use parking_lot::Mutex;
use queue::Queue;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Told, in a sentence, what an operator should know. Never given anything secret.
pub type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// No device took the record: the request must not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoDeviceAccepts {
    /// Why, device by device.
    pub why: String,
}

impl std::fmt::Display for NoDeviceAccepts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no audit device accepted the record: {}", self.why)
    }
}

impl std::error::Error for NoDeviceAccepts {}

/// The devices of one unsealed authority.
pub struct Devices {
    set: ArcSwap<Set>,
    /// Held while the set is replaced.
    changing: Mutex<()>,
    report: Report,
    patience: Duration,
}

#[derive(Default)]
struct Set {
    generation: u64,
    devices: Vec<Running>,
    /// The only device, when it may be written in place.
    direct: Option<Direct>,
}

#[derive(Clone)]
struct Running {
    device: Device,
    output: Arc<Mutex<Output>>,
    status: Arc<Status>,
    queue: Option<Arc<Queued>>,
}

type Item = (Arc<Record>, Arc<Ticket>);

/// Closes its queue when nobody offers to it any more; the thread then ends by itself.
struct Queued {
    queue: Arc<Queue<Item>>,
    thread: JoinHandle<()>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// One request's wait for the first device.
struct Ticket {
    left: AtomicUsize,
    answer: Mutex<Option<oneshot::Sender<bool>>>,
}

impl Ticket {
    fn accept(&self) {
        if let Some(answer) = self.answer.lock().take() {
            let _ = answer.send(true);
        }
    }

    fn refuse(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(answer) = self.answer.lock().take()
        {
            let _ = answer.send(false);
        }
    }
}

impl Devices {
    /// No devices yet. `patience` is how long a request waits for devices that say nothing.
    pub fn new(report: Report, patience: Duration) -> Devices {
        Devices { set: ArcSwap::default(), changing: Mutex::new(()), report, patience }
    }

    /// Takes over the devices of `auditing`, unless newer ones are known. Opens nothing: a device is opened at
    /// its first record. Devices that stay keep their chain.
    pub fn configure(&self, auditing: &Auditing) {
        if auditing.generation() <= self.set.load().generation {
            return;
        }
        let _changing = self.changing.lock();
        let old = self.set.load_full();
        if auditing.generation() <= old.generation {
            return;
        }
        let direct = matches!(auditing.devices(), [(_, only)] if is_direct(only));
        let run = |(device, config): &(Device, Config)| {
            let known = old.devices.iter().find(|known| known.device == *device).cloned();
            let mut running = known.unwrap_or_else(|| Running {
                device: device.clone(),
                output: Arc::new(Mutex::new(Output::new(config.clone(), self.report.clone()))),
                status: Arc::new(Status::new(&device.path)),
                queue: None,
            });
            running.queue = if direct { None } else { running.queue.take().or_else(|| self.start(&running)) };
            running
        };
        let devices: Vec<Running> = auditing.devices().iter().map(run).collect();
        let only = devices.first().filter(|_| direct);
        let direct = only.map(|only| Direct::new(only.output.clone(), only.status.clone()));
        self.set.store(Arc::new(Set { generation: auditing.generation(), devices, direct }));
    }

    fn start(&self, running: &Running) -> Option<Arc<Queued>> {
        let queue = Arc::new(Queue::<Item>::new());
        let (output, status) = (running.output.clone(), running.status.clone());
        let taken = queue.clone();
        let work = move || {
            while let Some((record, ticket)) = taken.pop() {
                match output.lock().write(&record, &status) {
                    Ok(()) => ticket.accept(),
                    Err(_) => ticket.refuse(),
                }
            }
        };
        let name = format!("audit {}", running.device.path);
        match std::thread::Builder::new().name(name).spawn(work) {
            Ok(thread) => Some(Arc::new(Queued { queue, thread })),
            Err(why) => {
                (self.report)(&format!("audit device {} has no thread: {why}", running.device.path));
                None
            }
        }
    }

    /// Has `record` written by at least one device, unless there is none.
    pub async fn record(&self, record: Record) -> Result<(), NoDeviceAccepts> {
        let set = self.set.load();
        if record.is_empty() || set.devices.is_empty() {
            return Ok(());
        }
        if let Some(direct) = &set.direct {
            return if direct.write(vec![record]).await { Ok(()) } else { Err(refusal(&set)) };
        }
        let (sender, answer) = oneshot::channel();
        let ticket =
            Arc::new(Ticket { left: AtomicUsize::new(set.devices.len()), answer: Mutex::new(Some(sender)) });
        let record = Arc::new(record);
        for running in &set.devices {
            self.offer(running, &record, &ticket);
        }
        match tokio::time::timeout(self.patience, answer).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(refusal(&set)),
        }
    }

    /// Has both written, in this order; together, where there is one device that is a regular file.
    pub async fn record_both(&self, first: Record, second: Record) -> Result<(), NoDeviceAccepts> {
        let set = self.set.load();
        let Some(direct) = &set.direct else {
            self.record(first).await?;
            return self.record(second).await;
        };
        if direct.write(vec![first, second]).await { Ok(()) } else { Err(refusal(&set)) }
    }

    fn offer(&self, running: &Running, record: &Arc<Record>, ticket: &Arc<Ticket>) {
        let item = (record.clone(), ticket.clone());
        let pushed =
            running.queue.as_ref().is_some_and(|queued| queued.queue.push(item, record.size()).is_ok());
        if !pushed {
            running.status.lose("its queue is full: it does not write, or too slowly", &self.report);
            ticket.refuse();
        }
    }

    /// Has every device open its file or socket anew at the next record.
    pub fn reopen(&self) {
        for running in &self.set.load().devices {
            running.status.reopen.store(true, Ordering::Relaxed);
        }
    }

    /// Takes no more records and waits until those that were taken are written, `patience` at most. Answers
    /// whether they were.
    pub fn finish(&self, patience: Duration) -> bool {
        let set = self.set.load();
        let queued: Vec<&Arc<Queued>> = set.devices.iter().filter_map(|known| known.queue.as_ref()).collect();
        queued.iter().for_each(|queued| queued.queue.close());
        let deadline = Instant::now() + patience;
        while queued.iter().any(|queued| !queued.thread.is_finished()) {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// What is known of each device, without waiting for any.
    pub fn status(&self) -> Vec<DeviceStatus> {
        self.set.load().devices.iter().map(|running| running.status.show()).collect()
    }

    /// Makes sure that `device` can be opened, before it is enabled. May take as long as a connection takes.
    pub fn probe(&self, device: &Device) -> Result<(), String> {
        let config = device.config().map_err(|why| why.to_string())?;
        sink::probe(&config, &self.report).map_err(|why| format!("the audit device cannot be opened: {why}"))
    }
}

fn is_direct(config: &Config) -> bool {
    match &config.sink {
        audit::Sink::File { path, .. } => !sink::is_pipe(Path::new(path)),
        audit::Sink::Discard => true,
        _ => false,
    }
}

fn refusal(set: &Set) -> NoDeviceAccepts {
    let why = set.devices.iter().map(|running| {
        let status = running.status.show();
        let trouble = status.trouble.unwrap_or_else(|| "it did not answer in time".to_owned());
        format!("{} {trouble}", status.path)
    });
    NoDeviceAccepts { why: why.collect::<Vec<_>>().join("; ") }
}
