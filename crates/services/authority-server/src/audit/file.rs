//! An audit log in a file.
//!
//! Lines are appended whole: one that does not fit, because the disk is full, is cut off again, so that the
//! chain goes on from the line before. A file that is removed, replaced or cut from outside is noticed within
//! [`LOOK_EVERY`], at the next record.

use super::Report;
use super::sink::Sink;
use keyward_authority::audit::chain::Head;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the file is compared with what its path names.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// No record is as long as this: a file whose last line is longer is no audit log.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// An open log.
pub(super) struct LogFile {
    path: PathBuf,
    mode: Option<u32>,
    prefix: String,
    report: Report,
    file: File,
    /// Device and inode.
    id: (u64, u64),
    /// Where the next line begins.
    length: u64,
    /// The length when the file was last seen to be in its place.
    seen: u64,
    looked: Instant,
    resumed: Option<Head>,
}

impl LogFile {
    /// Opens or creates the log and finds the end of its chain. A line that was not written whole is cut off: it
    /// was never acknowledged.
    pub(super) fn open(path: &Path, mode: Option<u32>, prefix: &str, report: Report) -> io::Result<LogFile> {
        let mut log = LogFile::look_at(path, mode, prefix, report)?;
        let torn = log.settle()?;
        if torn > 0 {
            log.length -= torn;
            log.file.set_len(log.length)?;
            log.say(&format!("{torn} bytes of a record that was not written whole were cut off"));
        }
        log.seen = log.length;
        if log.resumed.is_none() && log.length > 0 {
            log.say("it ends with a record that carries no chain: a new chain begins behind it");
        }
        Ok(log)
    }

    /// Makes sure that the log can be opened, and leaves what is in it alone: another device may be writing it.
    pub(super) fn probe(path: &Path, mode: Option<u32>, prefix: &str, report: Report) -> io::Result<()> {
        LogFile::look_at(path, mode, prefix, report)?.settle().map(|_| ())
    }

    fn look_at(path: &Path, mode: Option<u32>, prefix: &str, report: Report) -> io::Result<LogFile> {
        let file = open(path, mode)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Ok(LogFile {
            path: path.to_owned(),
            mode,
            prefix: prefix.to_owned(),
            report,
            file,
            id: id(&about),
            length: about.len(),
            seen: about.len(),
            looked: Instant::now(),
            resumed: None,
        })
    }

    /// Finds the last whole line, and answers how many bytes are behind it.
    fn settle(&mut self) -> io::Result<u64> {
        if self.length == 0 {
            return Ok(0);
        }
        let tail = tail(&mut self.file, self.length)?;
        let end = tail.iter().rposition(|byte| *byte == b'\n');
        let (whole, torn) = tail.split_at(end.map_or(0, |end| end + 1));
        let last = whole.strip_suffix(b"\n").unwrap_or(whole);
        let last = last.rsplit(|byte| *byte == b'\n').next().unwrap_or(last);
        let begins = |line: &[u8]| line.strip_prefix(self.prefix.as_bytes()).is_some_and(is_record_start);
        let foreign = match (whole.is_empty(), Head::of_line(last)) {
            (true, _) => !begins(torn),
            (false, Some(_)) => false,
            // A log that Vault began.
            (false, None) => !(is_record_start(last) && last.ends_with(b"}")),
        };
        if foreign {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "the file holds something else than audit records; choose another file, or move this one away",
            ));
        }
        self.resumed = Head::of_line(last);
        Ok(torn.len() as u64)
    }

    fn say(&self, what: &str) {
        (self.report)(&format!("audit log {}: {what}", self.path.display()));
    }

    /// Makes sure that the path still names this file and that nobody else wrote to it.
    fn look(&mut self) -> io::Result<()> {
        if self.looked.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        match std::fs::metadata(&self.path) {
            Ok(about) if id(&about) == self.id => {
                if about.len() != self.length {
                    let change = if about.len() < self.length { "shortened" } else { "written to" };
                    self.say(&format!(
                        "it was {change} by something else: {} bytes were expected, {} are there",
                        self.length,
                        about.len()
                    ));
                    self.length = about.len();
                }
                (self.seen, self.looked) = (self.length, Instant::now());
                Ok(())
            }
            Ok(_) => {
                self.say("it was replaced by another file, which records now go to");
                self.replace()
            }
            Err(why) if why.kind() == ErrorKind::NotFound => {
                self.say("it was removed or moved away; records now go to a new file");
                self.replace()
            }
            Err(why) => Err(why),
        }
    }

    /// Goes on in whatever the path names now. What was written to a removed file since it was last seen in its
    /// place is written again.
    fn replace(&mut self) -> io::Result<()> {
        let mut unseen = Vec::new();
        if self.file.metadata()?.nlink() == 0 && self.length > self.seen {
            self.file.seek(SeekFrom::Start(self.seen))?;
            (&self.file).take(self.length - self.seen).read_to_end(&mut unseen)?;
        }
        let new = LogFile::open(&self.path, self.mode, &self.prefix, self.report.clone())?;
        *self = new;
        if unseen.is_empty() { Ok(()) } else { self.append(&unseen) }
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if let Err(why) = (&self.file).write_all(line) {
            // Whatever part of it was written must not stay.
            self.file.set_len(self.length)?;
            return Err(why);
        }
        self.length += line.len() as u64;
        Ok(())
    }
}

impl Sink for LogFile {
    fn resumed(&self) -> Option<Head> {
        self.resumed
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.look()?;
        self.append(line)
    }

    fn reopen(&mut self) -> io::Result<()> {
        let same = std::fs::metadata(&self.path).is_ok_and(|about| id(&about) == self.id);
        if same { Ok(()) } else { self.replace() }
    }
}

fn id(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

fn open(path: &Path, mode: Option<u32>) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(mode.unwrap_or(0o600));
    let file = match options.open(path) {
        Err(why) if why.kind() == ErrorKind::NotFound => {
            return Err(io::Error::new(why.kind(), "its folder does not exist: create it first"));
        }
        opened => opened?,
    };
    let about = file.metadata()?;
    // The file may have been there with other permissions, or the process's umask have taken some away.
    if let Some(mode) = mode
        && about.is_file()
        && about.permissions().mode() & 0o7777 != mode
    {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(file)
}

/// The end of the file: at least the last whole line and what follows it, or everything.
fn tail(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    let mut take = 64 * 1024;
    loop {
        let start = length.saturating_sub(take);
        file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        file.take(length - start).read_to_end(&mut tail)?;
        // A newline before the last line, and the one that ends it.
        if start == 0 || tail.iter().filter(|byte| **byte == b'\n').count() >= 2 {
            return Ok(tail);
        }
        if take >= LONGEST_LINE {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "its last line is too long to be an audit record; choose another file, or move this one away",
            ));
        }
        take *= 4;
    }
}

/// True for the beginning of a JSON object, behind a prefix of one word perhaps.
fn is_record_start(line: &[u8]) -> bool {
    let start = line.iter().take(40).position(|byte| *byte == b'{');
    start.is_some_and(|start| {
        line[..start].iter().all(|byte| byte.is_ascii_alphanumeric() || b"@-_: ".contains(byte))
    })
}
