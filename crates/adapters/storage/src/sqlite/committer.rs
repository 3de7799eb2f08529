//! The one thread that writes: takes all that is queued, one transaction, one flush, one verdict each.

use std::ffi::c_int;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use keyward_core::{Batch, BatchId, Fault, Key, Rev, Want};
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, WeakUnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::damage::{damaged, fault, lost_a_commit, lost_a_write};
use super::{Shared, row, schema};
use crate::REMEMBERED;

/// Jobs of one drain. The bytes of one are bounded by the queue's.
const DRAIN: usize = 1024;
/// Bytes one permit of the queue stands for.
const PERMIT: usize = 1024;
/// What a batch costs in the queue beside its bytes.
const JOB: usize = 512;
/// Pages given back to the file system after a checkpoint, when the file has many that are free.
const GIVE_BACK: i64 = 512;
/// How long commits may wait for readers of an overgrown log.
const READERS_WAIT: Duration = Duration::from_millis(250);

type Verdict = Result<Rev, Fault>;

/// One batch, and where its verdict goes.
pub(super) struct Job {
    batch: Batch,
    answer: oneshot::Sender<Verdict>,
    _room: OwnedSemaphorePermit,
}

/// The way in: bounded by the bytes that wait, not by their number.
pub(super) struct Queue {
    room: Arc<Semaphore>,
    permits: u32,
    // Weak: a commit that nobody polls must not keep the committer from ending.
    jobs: WeakUnboundedSender<Job>,
}

impl Queue {
    pub(super) fn new(bytes: usize) -> (Queue, UnboundedSender<Job>, UnboundedReceiver<Job>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let permits = (bytes / PERMIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let room = Arc::new(Semaphore::new(permits));
        (Queue { room, permits: permits as u32, jobs: sender.downgrade() }, sender, receiver)
    }

    /// Waits for room, hands the batch in and waits for its verdict.
    pub(super) async fn commit(&self, batch: Batch) -> Verdict {
        let closed = || Fault::Io("it has been closed".into());
        let bytes = JOB
            + batch.wants.iter().map(|(key, _)| key.len()).sum::<usize>()
            + batch.puts.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
            + batch.deletes.iter().map(Vec::len).sum::<usize>();
        // A batch larger than the whole queue takes all of it.
        let cost = (bytes.div_ceil(PERMIT) as u32).min(self.permits);
        let room = Arc::clone(&self.room).acquire_many_owned(cost).await.map_err(|_| closed())?;
        let (answer, verdict) = oneshot::channel();
        let job = Job { batch, answer, _room: room };
        self.jobs.upgrade().and_then(|jobs| jobs.send(job).ok()).ok_or_else(closed)?;
        verdict.await.unwrap_or(Err(Fault::Unknown))
    }
}

/// Why a drain came to nothing.
enum Failure {
    /// Rolled back; the store goes on.
    Refused(Fault),
    /// Bytes may or may not be on the disk; nothing more can be promised.
    Lost(String),
}

pub(super) struct Committer {
    shared: Arc<Shared>,
    connection: Connection,
    file: PathBuf,
    /// The last revision committed.
    rev: Rev,
    /// Frames the log may have before it is checkpointed.
    log_frames: i64,
    /// Frames it has since the last commit, as the engine tells.
    frames: Arc<AtomicI64>,
    /// Frames it had when a checkpoint was last tried; 0 since it was last begun anew.
    tried_at: i64,
    scratch: Vec<u8>,
}

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        mut connection: Connection,
        rev: Rev,
        log_bytes: u64,
    ) -> rusqlite::Result<Committer> {
        let log_frames = (log_bytes / u64::from(schema::PAGE)).max(1) as i64;
        let file = shared.folder.database();
        let frames = Arc::new(AtomicI64::new(0));
        let told = Arc::clone(&frames);
        connection.wal_hook(Some(move |_: &mut Wal, frames: c_int| {
            told.store(frames.into(), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Committer { shared, connection, file, rev, log_frames, frames, tried_at: 0, scratch: Vec::new() })
    }

    /// Serves the queue until every sender is gone.
    pub(super) fn run(mut self, mut queue: UnboundedReceiver<Job>) {
        let mut jobs = Vec::new();
        while queue.blocking_recv_many(&mut jobs, DRAIN) > 0 {
            self.serve(std::mem::take(&mut jobs));
            if self.shared.poison.get().is_none()
                && let Err(Failure::Lost(why)) = self.tend()
            {
                self.poison(why);
            }
        }
        // The last connection to close writes the log back and removes it; readers cannot.
        self.shared.pool.clear();
    }

    fn serve(&mut self, jobs: Vec<Job>) {
        if let Err(fault) = self.shared.usable() {
            jobs.into_iter().for_each(|job| drop(job.answer.send(Err(fault.clone()))));
            return;
        }
        let batches: Vec<&Batch> = jobs.iter().map(|job| &job.batch).collect();
        match self.apply(&batches) {
            Ok(verdicts) => {
                self.shared.full.store(false, Ordering::Relaxed);
                self.settle(jobs, verdicts);
            }
            // One batch must not fail its neighbours: each gets a verdict of its own.
            Err(Failure::Refused(_)) if jobs.len() > 1 => {
                jobs.into_iter().for_each(|job| self.serve(vec![job]));
            }
            Err(Failure::Refused(fault)) => {
                self.shared.full.store(fault == Fault::Full, Ordering::Relaxed);
                jobs.into_iter().for_each(|job| drop(job.answer.send(Err(fault.clone()))));
            }
            Err(Failure::Lost(why)) => {
                self.poison(why);
                jobs.into_iter().for_each(|job| drop(job.answer.send(Err(Fault::Unknown))));
            }
        }
    }

    /// Publishes what was committed, tells the watchers, and answers, in this order: who has an answer finds
    /// every cache up to date.
    fn settle(&mut self, jobs: Vec<Job>, verdicts: Vec<Verdict>) {
        let mut published = self.shared.published.write();
        for (job, verdict) in jobs.iter().zip(&verdicts) {
            let Ok(rev) = verdict else { continue };
            for (key, value) in &job.batch.puts {
                self.shared.cache.changed(key, *rev, Some(value));
            }
            for key in &job.batch.deletes {
                self.shared.cache.changed(key, *rev, None);
            }
        }
        *published = self.rev;
        drop(published);
        let mut answers = Vec::with_capacity(jobs.len());
        let mut changes = Vec::with_capacity(jobs.len());
        for (job, verdict) in jobs.into_iter().zip(verdicts) {
            if let Ok(rev) = verdict {
                changes.push((rev, changed(job.batch)));
            }
            answers.push((job.answer, verdict));
        }
        self.shared.feed.publish(changes.into_iter());
        answers.into_iter().for_each(|(answer, verdict)| drop(answer.send(verdict)));
    }

    /// One transaction for all the batches whose wants hold; the later see what the earlier wrote.
    fn apply(&mut self, batches: &[&Batch]) -> Result<Vec<Verdict>, Failure> {
        let file = &self.file;
        let refused = |error| match lost_a_write(&error) {
            true => Failure::Lost(error.to_string()),
            false => Failure::Refused(fault(file, &error)),
        };
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(refused)?;
        let mut rev = self.rev;
        let mut verdicts = Vec::with_capacity(batches.len());
        for batch in batches {
            match broken_want(&transaction, batch).map_err(refused)? {
                Checked::Holds => {
                    rev += 1;
                    write(&transaction, batch, rev, &mut self.scratch).map_err(refused)?;
                    verdicts.push(Ok(rev));
                }
                Checked::Broken(key) => verdicts.push(Err(Fault::Conflict(key))),
                Checked::Damaged => {
                    return Err(Failure::Refused(damaged(
                        file.display(),
                        "an entry is not what was written",
                    )));
                }
            }
        }
        if rev > self.rev {
            schema::set_rev(&transaction, rev, &mut self.scratch).map_err(refused)?;
            transaction.commit().map_err(|error| match lost_a_commit(&error) {
                true => Failure::Lost(error.to_string()),
                false => refused(error),
            })?;
            self.rev = rev;
        }
        Ok(verdicts)
    }

    /// Keeps the log short. Only this thread checkpoints, so no commit can run beside it.
    fn tend(&mut self) -> Result<(), Failure> {
        let frames = self.frames.load(Ordering::Relaxed);
        if frames < self.tried_at {
            self.tried_at = 0;
        }
        if frames - self.tried_at < self.log_frames {
            return Ok(());
        }
        self.tried_at = frames;
        self.checkpoint("PASSIVE")?;
        // The next commit begins the log anew unless a reader still uses it. Readers come and go, so that is
        // left to chance until the log is long; then commits wait for them.
        if frames >= self.log_frames * 8 {
            let patience = |span| self.connection.busy_timeout(span).map_err(|error| self.failed(&error));
            patience(READERS_WAIT)?;
            let restarted = self.checkpoint("RESTART");
            patience(schema::PATIENCE)?;
            restarted?;
        }
        self.give_back()
    }

    /// Copies what it can of the log into the database, as this mode has it. One that is busy copies less, and is tried
    /// again.
    fn checkpoint(&self, mode: &str) -> Result<(), Failure> {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let done = self.connection.prepare_cached(&sql);
        done.and_then(|mut statement| statement.query_row([], |_| Ok(())))
            .map_err(|error| self.failed(&error))
    }

    /// Returns free pages to the file system, a few at a time, once they are a quarter of a file worth it.
    fn give_back(&self) -> Result<(), Failure> {
        let count = |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let pages = count("page_count").map_err(|error| self.failed(&error))?;
        let free = count("freelist_count").map_err(|error| self.failed(&error))?;
        if free < GIVE_BACK || free < pages / 4 {
            return Ok(());
        }
        // Each step of the statement frees one page.
        let sql = format!("PRAGMA incremental_vacuum({GIVE_BACK})");
        let freed = self.connection.prepare(&sql).and_then(|mut statement| {
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        });
        freed.map_err(|error| self.failed(&error))
    }

    /// What an error outside any batch means: what is committed stays in the log, unless bytes were lost.
    fn failed(&self, error: &rusqlite::Error) -> Failure {
        match lost_a_commit(error) {
            true => Failure::Lost(error.to_string()),
            false => Failure::Refused(fault(&self.file, error)),
        }
    }

    fn poison(&self, why: String) {
        let why = format!(
            "writing {} failed ({why}), so it is not known what is on the disk: check the disk, then start \
             Keyward again; what was acknowledged before is kept",
            self.file.display()
        );
        let _ = self.shared.poison.set(why);
        // The log stays as it is for the next start to read, instead of being written back and removed.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.poison("the committer failed".into());
        }
    }
}

fn changed(batch: Batch) -> Arc<[Key]> {
    batch.puts.into_iter().map(|(key, _)| key).chain(batch.deletes).collect()
}

enum Checked {
    Holds,
    Broken(Key),
    Damaged,
}

fn broken_want(connection: &Connection, batch: &Batch) -> rusqlite::Result<Checked> {
    let mut statement = connection.prepare_cached("SELECT v FROM kv WHERE k = ?1")?;
    for (key, want) in &batch.wants {
        let mut rows = statement.query([key])?;
        let found = match rows.next()? {
            None => None,
            Some(row) => match row.get_ref(0)?.as_blob().ok().and_then(|stored| row::decode(key, stored)) {
                Some((rev, _)) => Some(rev),
                None => return Ok(Checked::Damaged),
            },
        };
        let holds = match want {
            Want::Absent => found.is_none(),
            Want::At(rev) => found == Some(*rev),
        };
        if !holds {
            return Ok(Checked::Broken(key.clone()));
        }
    }
    Ok(Checked::Holds)
}

fn write(connection: &Connection, batch: &Batch, rev: Rev, scratch: &mut Vec<u8>) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached("REPLACE INTO kv(k, v) VALUES (?1, ?2)")?;
    for (key, value) in &batch.puts {
        row::encode(key, rev, value, scratch);
        put.execute(params![key, *scratch])?;
    }
    let mut delete = connection.prepare_cached("DELETE FROM kv WHERE k = ?1")?;
    for key in &batch.deletes {
        delete.execute([key])?;
    }
    if batch.id != BatchId::default() {
        let slot = (rev % REMEMBERED) as i64;
        row::encode(&slot.to_be_bytes(), rev, &batch.id, scratch);
        let mut remember = connection.prepare_cached("REPLACE INTO recent(slot, v) VALUES (?1, ?2)")?;
        remember.execute(params![slot, *scratch])?;
    }
    Ok(())
}
