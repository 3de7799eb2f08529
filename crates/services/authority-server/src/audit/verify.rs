//! Checking logs offline; see `docs/audit.md`.

use keyward_authority::audit::chain::{Head, Proved, Verifier, Why};
use keyward_authority::audit::search::Place;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Lines longer than this are no records: they are not read to their end.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// Exit code: the log is whole.
pub const WHOLE: u8 = 0;
/// Exit code: the log is broken.
pub const BROKEN: u8 = 1;
/// Exit code: the log could not be read.
pub const UNREADABLE: u8 = 2;

/// Why nothing was proved.
#[derive(Debug)]
pub enum Failure {
    /// The log is broken here. The line is counted from 1 within the file.
    Broken {
        /// The file; the last one when records are missing at the end.
        file: PathBuf,
        /// The line.
        line: u64,
        /// What is wrong there.
        why: Why,
    },
    /// A file cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        why: io::Error,
    },
}

/// Checks `files` as one log, the oldest first; `-` is standard input. With `expected`, the last record must be
/// that one.
pub fn files(files: &[PathBuf], expected: Option<Head>) -> Result<Proved, Failure> {
    let mut verifier = Verifier::default();
    let broken = |place: Place, why| Failure::Broken {
        file: files.get(place.file).cloned().unwrap_or_default(),
        line: place.line,
        why,
    };
    let end = each_line(files, |place, line| verifier.line(line).map_err(|found| broken(place, found.why)))?;
    verifier.finish(expected).map_err(|found| broken(end, found.why))
}

/// Hands each line of `files`, with its newline, to `take`. Answers with the place of the end: the last file and how many
/// lines it has.
pub(super) fn each_line(
    files: &[PathBuf],
    mut take: impl FnMut(Place, &[u8]) -> Result<(), Failure>,
) -> Result<Place, Failure> {
    let mut place = Place::default();
    let mut line = Vec::new();
    for (at, file) in files.iter().enumerate() {
        place = Place { file: at, line: 0 };
        let unreadable = |why| Failure::Unreadable { file: file.clone(), why };
        let mut reader = open(file).map_err(unreadable)?;
        loop {
            line.clear();
            let read = io::Read::take(&mut reader, LONGEST_LINE).read_until(b'\n', &mut line);
            if read.map_err(unreadable)? == 0 {
                break;
            }
            place.line += 1;
            take(place, &line)?;
        }
    }
    Ok(place)
}

fn open(file: &Path) -> io::Result<Box<dyn BufRead>> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(file)?;
    if opened.metadata()?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    Ok(Box::new(BufReader::with_capacity(256 * 1024, opened)))
}

/// Checks `files` and writes what came of it for a person. Answers with the exit code.
pub fn report(files: &[PathBuf], expected: Option<Head>, out: &mut dyn Write) -> io::Result<u8> {
    match self::files(files, expected) {
        Ok(proved) => {
            writeln!(
                out,
                "The log is whole: {} records, {} to {}.",
                proved.records, proved.first, proved.head.seq
            )?;
            writeln!(out, "Last record: {} {}", proved.head.seq, proved.head.hash())?;
            if proved.first > 1 {
                writeln!(
                    out,
                    "It begins after record {}: the files before were not checked.",
                    proved.first - 1
                )?;
            }
            if expected.is_none() {
                writeln!(
                    out,
                    "That nothing is missing behind the last record is proved only with its known number and hash."
                )?;
            }
            Ok(WHOLE)
        }
        Err(Failure::Broken { file, line, why }) => {
            writeln!(out, "The log is broken at {}, line {line}: {why}.", file.display())?;
            Ok(BROKEN)
        }
        Err(Failure::Unreadable { file, why }) => {
            writeln!(out, "{} cannot be read: {why}.", file.display())?;
            Ok(UNREADABLE)
        }
    }
}
