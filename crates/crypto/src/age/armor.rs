//! ASCII armor: strict PEM (RFC 7468, figure 3) labelled `AGE ENCRYPTED FILE`, with white space allowed around it.

use std::io::{self, BufRead, Read, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;

use super::Error;

const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const END: &str = "-----END AGE ENCRYPTED FILE-----";
/// Columns of a full line, and the bytes in it.
const COLUMNS: usize = 64;
const LINE: usize = 48;
/// As much white space is read before and behind the block.
const MOST_SPACE: u64 = 1024;
/// What is decoded ahead.
const AHEAD: usize = 12 * 1024;

/// Puts a whole file in armor.
pub fn encode(file: &[u8]) -> Result<String, Error> {
    let mut writer = Writer::new(Vec::with_capacity(file.len() / 3 * 4 + file.len() / 24 + 128))?;
    writer.write_all(file)?;
    String::from_utf8(writer.finish()?).map_err(|_| Error::Armor("it is not ASCII"))
}

/// A file as it is, or out of its armor: the first byte tells, since every age file begins with an `a`.
pub fn detect<'a, R: BufRead + 'a>(mut input: R) -> Result<Box<dyn BufRead + 'a>, Error> {
    match input.fill_buf()?.first() {
        None | Some(b'a') => Ok(Box::new(input)),
        Some(_) => Ok(Box::new(Reader::new(input))),
    }
}

/// Puts what is written to it in armor.
pub struct Writer<W: Write> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes the first line.
    pub fn new(mut out: W) -> Result<Writer<W>, Error> {
        writeln!(out, "{BEGIN}")?;
        Ok(Writer { out, line: Vec::with_capacity(LINE) })
    }

    fn put(&mut self) -> io::Result<()> {
        writeln!(self.out, "{}", BASE64.encode(&self.line))?;
        self.line.clear();
        Ok(())
    }

    /// Writes the last lines, and gives back where it wrote to.
    pub fn finish(mut self) -> Result<W, Error> {
        if !self.line.is_empty() {
            self.put()?;
        }
        writeln!(self.out, "{END}")?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(LINE - self.line.len());
        self.line.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if self.line.len() == LINE {
            self.put()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads a file out of its armor.
pub struct Reader<R> {
    input: R,
    state: State,
    decoded: Vec<u8>,
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Before,
    Inside,
    /// A line was not full: the end must follow.
    Last,
    Ended,
    Failed,
}

impl<R: BufRead> Reader<R> {
    /// Of what begins with the armor's first line, perhaps after white space.
    pub fn new(input: R) -> Reader<R> {
        Reader { input, state: State::Before, decoded: Vec::new(), at: 0 }
    }

    /// The next line without its end, which is LF or CRLF; the last may have none.
    fn line(&mut self) -> Result<String, Error> {
        let mut line = Vec::with_capacity(COLUMNS + 2);
        self.input.by_ref().take(COLUMNS as u64 + 2).read_until(b'\n', &mut line)?;
        let line = match line.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => &line,
        };
        String::from_utf8(line.to_vec()).map_err(|_| Error::Armor("it is not ASCII"))
    }

    /// Skips white space: how many bytes there were.
    fn skip_space(&mut self) -> Result<u64, Error> {
        let mut skipped = 0;
        loop {
            let seen = self.input.fill_buf()?;
            let space = seen.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let stops = seen.is_empty() || space < seen.len();
            self.input.consume(space);
            skipped += space as u64;
            match () {
                () if skipped > MOST_SPACE => return Err(Error::Armor("too much white space around it")),
                () if stops => return Ok(skipped),
                () => {}
            }
        }
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.skip_space()?;
        match self.line()?.trim_ascii_end() == BEGIN {
            true => Ok(()),
            false => Err(Error::Armor(
                "it begins neither with age-encryption.org/v1 nor with -----BEGIN AGE ENCRYPTED FILE-----",
            )),
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        self.skip_space()?;
        match self.input.fill_buf()?.is_empty() {
            true => Ok(()),
            false => Err(Error::Armor("something stands behind its last line")),
        }
    }

    fn advance(&mut self) -> Result<(), Error> {
        if self.state == State::Before {
            self.begin()?;
            self.state = State::Inside;
        }
        while self.state != State::Ended && self.decoded.len() < AHEAD {
            let line = self.line()?;
            if line.trim_ascii_end() == END {
                self.end()?;
                self.state = State::Ended;
                break;
            }
            match (self.state, line.len()) {
                (State::Last, _) => return Err(Error::Armor("a short line is not the last")),
                (_, 0) => return Err(Error::Armor("a line is empty, or its end is missing")),
                (_, length) if length > COLUMNS => return Err(Error::Armor("a line is too long")),
                _ => {}
            }
            let bytes = BASE64.decode(&line).map_err(|_| Error::Armor("a line is not canonical base64"))?;
            self.decoded.extend_from_slice(&bytes);
            if bytes.len() < LINE {
                self.state = State::Last;
            }
        }
        Ok(())
    }
}

impl<R: BufRead> BufRead for Reader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.state == State::Failed {
            return Err(Error::Armor("it is damaged").into());
        }
        if self.at >= self.decoded.len() && self.state != State::Ended {
            self.decoded.clear();
            self.at = 0;
            self.advance().inspect_err(|_| self.state = State::Failed)?;
        }
        Ok(self.decoded.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, taken: usize) {
        self.at = self.decoded.len().min(self.at + taken);
    }
}

impl<R: BufRead> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let taken = self.fill_buf()?.read(out)?;
        self.consume(taken);
        Ok(taken)
    }
}
