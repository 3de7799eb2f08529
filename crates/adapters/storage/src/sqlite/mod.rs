//! A store in one folder, through SQLite.
//!
//! One thread commits; readers share a cache in front and SQLite's snapshots behind it. A commit is durable
//! before it is visible, visible before it is told, and told before it is acknowledged.
//!
//! After a full disk writes are refused and resume by themselves. After a write that failed otherwise nothing is
//! accepted or shown any more ([`Status::poisoned`]): only a new start finds out what is on the disk.
//!
//! Damage is reported and never repaired. A damaged key is found by [`Sqlite::verify`] and by every backup, but
//! until then may make its own entry look absent; damage in the last commit of the log cannot be told from a
//! crash during that commit, and takes the same way out: the commit is not there.

mod backup;
mod cache;
mod committer;
mod damage;
mod folder;
mod log;
mod near;
mod reader;
mod row;
mod schema;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use keyward_core::{Batch, BatchId, Fault, Rev, View};
use parking_lot::RwLock;
use tokio::sync::mpsc::UnboundedSender;

use crate::feed::Feed;
use crate::{Commit, Sink, Status, Store, Watch, admit};
use cache::Cache;
use committer::{Committer, Job, Queue};
use damage::fault;
use folder::Folder;
use near::Near;
use reader::{Pool, Reading};

pub use folder::DATABASE;

/// How much memory and log a store may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of entries kept in memory in front of the database. Values over an eighth of it are not kept.
    pub cache_bytes: usize,
    /// Connections kept for readers, 256 KiB of pages each; more are opened while more threads read at once.
    pub readers: usize,
    /// Bytes of batches that may wait to be committed; further commits wait for room.
    pub queue_bytes: usize,
    /// Bytes of log after which it is written back to the database. Eight times this makes commits wait for
    /// readers, up to a quarter of a second each time; only a look that lasts longer lets it grow further.
    pub log_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        let readers = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 16));
        Options { cache_bytes: 5 << 20, readers, queue_bytes: 16 << 20, log_bytes: 8 << 20 }
    }
}

/// A store in one folder.
///
/// Dropping it commits what is queued, writes the log back and frees the folder; it blocks meanwhile.
pub struct Sqlite {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    /// Taken when the store is dropped, to end the committer.
    running: Option<(UnboundedSender<Job>, JoinHandle<()>)>,
}

/// What readers and the committer share. The lock around `published` is held by a look for as long as it uses the
/// cache, and by the committer while it changes both; the feed and the pool have locks of their own because they
/// are used outside it.
pub(in crate::sqlite) struct Shared {
    published: RwLock<Rev>,
    cache: Cache,
    near: Near,
    pool: Pool,
    feed: Feed,
    poison: OnceLock<String>,
    full: AtomicBool,
    folder: Folder,
}

impl Shared {
    fn usable(&self) -> Result<(), Fault> {
        self.poison.get().map_or(Ok(()), |why| Err(Fault::Io(why.clone())))
    }

    /// Waits until `rev`, which the engine has committed, is what every look sees: else a second look could show
    /// less than a first.
    fn await_published(&self, rev: Rev) -> Result<(), Fault> {
        while *self.published.read() < rev {
            self.usable()?;
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Sqlite {
    /// Opens the store in the folder `dir`, or begins a new one there. The folder is created (mode 0700) if its
    /// parent exists; the files are for their owner only (mode 0600).
    ///
    /// Fails if another process has the folder, if a newer version wrote the file, or if it is damaged.
    pub fn open(dir: &Path, options: Options) -> Result<Sqlite, Fault> {
        let folder = Folder::claim(dir)?;
        let file = folder.database();
        let said = |error| match fault(&file, &error) {
            Fault::Full => {
                Fault::Io(format!("there is no space left in {}: free some, and start again", dir.display()))
            }
            other => other,
        };
        let may_be_new = folder.prepare()?;
        log::check(&folder.log(), &file)?;
        let mut writer = schema::writer(&file, options.log_bytes).map_err(said)?;
        if may_be_new && schema::is_blank(&writer).map_err(said)? {
            schema::create(&mut writer).map_err(said)?;
        }
        schema::check(&writer, &file)?;
        folder.record()?;
        let rev = schema::rev(&writer, &file)?;
        let shared = Arc::new(Shared {
            published: RwLock::new(rev),
            cache: Cache::new(options.cache_bytes)?,
            near: Near::new(),
            pool: Pool::new(file, options.readers),
            feed: Feed::starting_at(rev),
            poison: OnceLock::new(),
            full: AtomicBool::new(false),
            folder,
        });
        let (queue, jobs, receiver) = Queue::new(options.queue_bytes);
        let committer = Committer::new(Arc::clone(&shared), writer, rev, options.log_bytes)
            .map_err(|error| fault(&shared.folder.database(), &error))?;
        let thread = std::thread::Builder::new()
            .name("keyward-commit".into())
            .spawn(move || committer.run(receiver))
            .map_err(|error| Fault::Io(format!("its thread cannot be started: {error}")))?;
        Ok(Sqlite { shared, queue: Arc::new(queue), running: Some((jobs, thread)) })
    }

    /// Reads everything once and fails at the first damage: structure, order, and the checksum of every entry.
    /// Takes about as long as reading the file, while commits go on.
    pub fn verify(&self) -> Result<Rev, Fault> {
        self.shared.usable()?;
        backup::verify(&self.shared.pool.open()?, &self.shared.folder.database())
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        if let Some((jobs, thread)) = self.running.take() {
            drop(jobs);
            // It ends by itself; had it panicked, every commit since would have been refused already.
            let _ = thread.join();
        }
    }
}

impl Store for Sqlite {
    fn look(&self, f: &mut dyn FnMut(&dyn View) -> Result<(), Fault>) -> Result<(), Fault> {
        self.shared.usable()?;
        let reading = Reading::begin(&self.shared);
        let outcome = f(&reading);
        let Some(snapshot) = reading.overtaken() else { return outcome };
        let outcome = f(&snapshot);
        let rev = snapshot.rev();
        // The committer may be waiting for readers before it publishes.
        drop(snapshot);
        self.shared.await_published(rev)?;
        outcome
    }

    fn commit(&self, batch: Batch) -> Commit {
        let ready = self.shared.usable().and_then(|()| admit(&batch));
        let rev = *self.shared.published.read();
        let queue = Arc::clone(&self.queue);
        Box::pin(async move {
            match ready? {
                true => queue.commit(batch).await,
                false => Ok(rev),
            }
        })
    }

    fn watch(&self, from: Rev, sink: Sink) -> Result<Watch, Fault> {
        self.shared.usable()?;
        let newest = *self.shared.published.read();
        Ok(self.shared.feed.watch(from, newest, sink))
    }

    fn committed(&self, id: BatchId) -> Result<Option<Rev>, Fault> {
        self.shared.usable()?;
        if id == BatchId::default() {
            return Ok(None);
        }
        let snapshot = self.shared.pool.snapshot()?;
        let found = snapshot.committed(&id)?;
        drop(snapshot);
        match found {
            Some(rev) => self.shared.await_published(rev).map(|()| Some(rev)),
            None => Ok(None),
        }
    }

    /// The copy is one file: put it into an empty folder as [`DATABASE`] to open it. It is checked as
    /// [`Sqlite::verify`] does before it gets its name.
    fn backup(&self, to: &Path) -> Result<Rev, Fault> {
        self.shared.usable()?;
        backup::backup(&self.shared.pool, to)
    }

    fn status(&self) -> Status {
        Status {
            kind: "sqlite",
            rev: *self.shared.published.read(),
            bytes: self.shared.folder.bytes(),
            full: self.shared.full.load(Ordering::Relaxed),
            poisoned: self.shared.poison.get().cloned(),
        }
    }
}
