//! Finds damage in the write-ahead log before SQLite drops what follows it.
//!
//! After a crash SQLite replays the log up to the first frame whose checksum is wrong, and takes that for the end
//! of what was written: rightly, if the frame belongs to a commit that was under way. If the bytes went bad
//! later, acknowledged commits would vanish without a word. The two can be told apart. Each frame's checksum
//! continues the one stored in the frame before it, so a frame that continues a commit frame was written by
//! someone for whom that commit had succeeded, flush included; and then everything before it had been on disk.
//! (Format: section 4 of SQLite's file format.) Damage in the very last commit cannot be told from a crash.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use keyward_core::Fault;

use super::damage::os;
use super::row::Checksum;
use super::schema::PAGE;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Written by machines that count their checksums in little-endian words, which are all this runs on.
const MAGIC: u32 = 0x377f_0682;

/// Refuses a log in which acknowledged commits follow a damaged frame. Call before SQLite opens the database.
pub(super) fn check(log: &Path, database: &Path) -> Result<(), Fault> {
    let file = match File::open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(os("opening", log, &error)),
    };
    match damage(BufReader::with_capacity(1 << 16, file)) {
        Ok(None) => Ok(()),
        Ok(Some(offset)) => Err(Fault::Io(format!(
            "{} is damaged at byte {offset}, and acknowledged commits follow: restore {} from a backup into an \
             empty folder, or move the damaged file away to go on without the commits it holds",
            log.display(),
            database.display()
        ))),
        Err(error) => Err(os("reading", log, &error)),
    }
}

/// A frame, or the header, which the first frame continues.
#[derive(Default)]
struct Frame {
    ends_commit: bool,
    salts: [u8; 8],
    sum: Checksum,
}

/// Where the first damaged frame begins that commits are known to follow.
fn damage(mut log: impl Read) -> io::Result<Option<u64>> {
    let mut header = [0; HEADER];
    if !fill(&mut log, &mut header)? {
        return Ok(None);
    }
    // Frames with other salts are left over from before the log was last begun anew. Without a header to go by,
    // a frame is held against the one before it.
    let header = parse_header(&header);
    let mut broken = header.is_none().then_some(0);
    let generation = header.as_ref().map(|header| header.salts);
    let mut before = header.unwrap_or_default();
    let mut offset = HEADER as u64;
    let mut bytes = vec![0; FRAME_HEADER + PAGE as usize];
    while fill(&mut log, &mut bytes)? {
        let frame = parse(&bytes);
        let continues = frame.salts == generation.unwrap_or(before.salts) && {
            let mut sum = before.sum;
            sum.add(&bytes[..8]);
            sum.add(&bytes[FRAME_HEADER..]);
            sum == frame.sum
        };
        match broken {
            Some(_) if continues && before.ends_commit => return Ok(broken),
            None if !continues => broken = Some(offset),
            _ => {}
        }
        offset += bytes.len() as u64;
        before = frame;
    }
    Ok(None)
}

fn parse(bytes: &[u8]) -> Frame {
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let mut salts = [0; 8];
    salts.copy_from_slice(&bytes[8..16]);
    Frame { ends_commit: word(4) != 0, salts, sum: Checksum(word(16), word(20)) }
}

/// The header, if it is whole and of the kind this store writes.
fn parse_header(header: &[u8; HEADER]) -> Option<Frame> {
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let mut sum = Checksum::default();
    sum.add(&header[..24]);
    let mut salts = [0; 8];
    salts.copy_from_slice(&header[16..24]);
    let whole = word(0) == MAGIC && word(8) == PAGE && sum == Checksum(word(24), word(28));
    whole.then_some(Frame { ends_commit: false, salts, sum })
}

/// Fills `buffer`; `false` at the end of the file, a cut frame included.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
