//! One device's end: its sink, its chain, and what an operator may know of both.

use super::Report;
use super::sink::{self, Sink};
use keyward_authority::audit::chain::Head;
use keyward_authority::audit::{Config, Record};
use parking_lot::Mutex;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is known of a device, without waiting for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceStatus {
    /// The device, with a trailing slash.
    pub path: String,
    /// The last record written. None before the device was opened.
    pub head: Option<Head>,
    /// Records written since it was opened.
    pub written: u64,
    /// Records it did not take.
    pub lost: u64,
    /// Why the last record was not taken, if it was not.
    pub trouble: Option<String>,
}

/// Read by anyone at any time; one lock, for the parts that belong together.
pub(super) struct Status {
    path: String,
    parts: Mutex<(Option<Head>, Option<String>)>,
    written: AtomicU64,
    lost: AtomicU64,
    /// Not yet told in the log itself.
    untold: AtomicU64,
    pub(super) reopen: AtomicBool,
}

impl Status {
    pub(super) fn new(path: &str) -> Status {
        Status {
            path: path.to_owned(),
            parts: Mutex::default(),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            untold: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
        }
    }

    pub(super) fn show(&self) -> DeviceStatus {
        let (head, trouble) = self.parts.lock().clone();
        DeviceStatus {
            path: self.path.clone(),
            head,
            written: self.written.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            trouble,
        }
    }

    /// Counts a record the device did not take, and says so once until it takes one again.
    pub(super) fn lose(&self, why: &str, report: &Report) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.untold.fetch_add(1, Ordering::Relaxed);
        if self.parts.lock().1.replace(why.to_owned()).is_none() {
            report(&format!("audit device {} does not take records: {why}", self.path));
        }
    }

    fn wrote(&self, head: Head, records: u64, report: &Report) {
        self.written.fetch_add(records, Ordering::Relaxed);
        let mut parts = self.parts.lock();
        parts.0 = Some(head);
        if parts.1.take().is_some() {
            drop(parts);
            report(&format!(
                "audit device {} takes records again; {} were not written to it so far",
                self.path,
                self.lost.load(Ordering::Relaxed)
            ));
        }
    }
}

/// Writes records to one device, one at a time.
pub(super) struct Output {
    config: Config,
    report: Report,
    sink: Option<Box<dyn Sink>>,
    head: Option<Head>,
    line: Vec<u8>,
}

impl Output {
    /// Opened at the first record.
    pub(super) fn new(config: Config, report: Report) -> Output {
        Output { config, report, sink: None, head: None, line: Vec::new() }
    }

    /// Writes `record`, or says why not; what happened is counted in `status`.
    pub(super) fn write(&mut self, record: &Record, status: &Status) -> io::Result<()> {
        self.write_all(&[record], status)
    }

    /// Writes all of `records` at once, or none of them.
    pub(super) fn write_all(&mut self, records: &[&Record], status: &Status) -> io::Result<()> {
        let form = self.config.form;
        let texts: Vec<&str> = records.iter().filter_map(|record| record.text(form)).collect();
        let outcome = self.try_write(&texts, status);
        if let Err(why) = &outcome {
            texts.iter().for_each(|_| status.lose(&why.to_string(), &self.report));
        }
        outcome
    }

    fn try_write(&mut self, texts: &[&str], status: &Status) -> io::Result<()> {
        let reopen = status.reopen.swap(false, Ordering::Relaxed);
        if self.sink.is_none() {
            self.open()?;
        } else if reopen && let Some(sink) = &mut self.sink {
            // What cannot be reopened now is opened anew at the next record.
            if let Err(why) = sink.reopen() {
                self.sink = None;
                return Err(why);
            }
        }
        let untold = status.untold.load(Ordering::Relaxed);
        if untold > 0 {
            self.link(&[&notice(untold)], status)?;
            status.untold.fetch_sub(untold, Ordering::Relaxed);
        }
        self.link(texts, status)
    }

    /// Opens the sink; the chain goes on from the records in memory, or else from those that are there.
    fn open(&mut self) -> io::Result<()> {
        let sink = sink::open(&self.config, &self.report)?;
        self.head = self.head.or_else(|| sink.resumed());
        self.sink = Some(sink);
        Ok(())
    }

    fn link(&mut self, texts: &[&str], status: &Status) -> io::Result<()> {
        let Some(sink) = &mut self.sink else { return Err(io::ErrorKind::NotConnected.into()) };
        self.line.clear();
        let next = texts.iter().fold(self.head.unwrap_or(Head::START), |head, text| {
            head.link(&self.config.prefix, text, &mut self.line)
        });
        if let Err(why) = sink.write(&self.line) {
            // A full disk is the same file still; anything else is opened anew.
            if why.kind() != io::ErrorKind::StorageFull {
                self.sink = None;
            }
            return Err(why);
        }
        self.head = Some(next);
        status.wrote(next, texts.len() as u64, &self.report);
        if self.line.capacity() > 256 * 1024 {
            self.line = Vec::new();
        }
        Ok(())
    }
}

/// The record of what is missing before it.
fn notice(lost: u64) -> String {
    format!(
        "{{\"time\":\"{}\",\"type\":\"notice\",\"error\":\"{lost} records were not written to this device\"}}",
        sink::now()
    )
}
