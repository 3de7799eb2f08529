//! Searching logs offline, and telling whether they were whole; see `docs/audit.md`.

use super::verify::{Failure, each_line};
use keyward_authority::audit::chain::{Head, Verifier, Why};
use keyward_authority::audit::search::{Place, Query, Row, Search, Seen};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::path::PathBuf;

/// What was found, and in what kind of log.
#[derive(Debug)]
pub struct Answer {
    /// The last requests found, as many as were wanted, in the order of the log; those without an answer last.
    pub rows: Vec<Row>,
    /// How many were found.
    pub found: u64,
    /// What was read.
    pub log: Log,
}

/// What was read, and what it proves.
#[derive(Debug, Default)]
pub struct Log {
    /// How many lines there are.
    pub lines: u64,
    /// Lines before the first that is bound to another: Vault's, which prove nothing.
    pub unchained: u64,
    /// Lines that are no audit records.
    pub foreign: u64,
    /// Devices' own records that others could not be written.
    pub notices: u64,
    /// The last line of the chain.
    pub head: Option<Head>,
    /// The number of the first record of the chain.
    pub first: Option<u64>,
    /// Places where the chain is broken.
    pub breaks: u64,
    /// The first of them.
    pub broken: Option<Broken>,
}

/// Where a log is not whole.
#[derive(Debug)]
pub struct Broken {
    /// The file.
    pub file: PathBuf,
    /// The line in it, counted from 1.
    pub line: u64,
    /// What is wrong there.
    pub why: Why,
}

/// Searches `files` as one log, the oldest first; `-` is standard input. Keeps the last `most` of what it finds. A broken
/// log is read to its end; only a file that cannot be read is a failure.
pub fn files(files: &[PathBuf], query: Query, most: usize) -> Result<Answer, Failure> {
    let mut search = Search::new(query);
    let mut chain = Chain::default();
    let (mut rows, mut found) = (VecDeque::new(), 0);
    let mut keep = |row: Row| {
        found += 1;
        rows.push_back(row);
        if rows.len() > most {
            rows.pop_front();
        }
    };
    each_line(files, |place, line| {
        chain.line(line, place, files);
        match search.line(line, place) {
            Seen::Record(row) => row.map(|row| *row).into_iter().for_each(&mut keep),
            Seen::Notice => chain.log.notices += 1,
            Seen::Foreign => chain.log.foreign += 1,
        }
        Ok(())
    })?;
    search.finish().for_each(keep);
    Ok(Answer { rows: rows.into(), found, log: chain.log })
}

/// Follows the chain over its breaks.
#[derive(Default)]
struct Chain {
    verifier: Verifier,
    log: Log,
}

impl Chain {
    fn line(&mut self, line: &[u8], place: Place, files: &[PathBuf]) {
        self.log.lines += 1;
        match self.verifier.line(line).map_err(|found| found.why) {
            Ok(()) => {}
            // What an authority before this one wrote.
            Err(Why::Unbound) if self.log.head.is_none() => self.log.unchained += 1,
            Err(why) => {
                self.log.breaks += 1;
                if !matches!(why, Why::Unbound | Why::Torn) {
                    // What follows is held against this line: the first of a chain always fits.
                    self.verifier = Verifier::default();
                    let _ = self.verifier.line(line);
                }
                let file = files.get(place.file).cloned().unwrap_or_default();
                self.log.broken.get_or_insert(Broken { file, line: place.line, why });
            }
        }
        self.log.head = self.verifier.head();
        self.log.first = self.log.first.or(self.log.head.map(|head| head.seq));
    }
}

impl Log {
    /// True when every line is bound to the one before.
    pub fn is_whole(&self) -> bool {
        self.breaks == 0 && self.unchained == 0 && self.lines > 0
    }

    /// The same as a value.
    pub fn to_json(&self) -> Value {
        let broken = self.broken.as_ref().map(|broken| {
            json!({
                "file": broken.file.display().to_string(),
                "line": broken.line,
                "why": broken.why.to_string(),
            })
        });
        json!({
            "whole": self.is_whole(),
            "lines": self.lines,
            "first": self.first,
            "last": self.head.map(|head| json!({ "seq": head.seq, "hash": head.hash() })),
            "breaks": self.breaks,
            "first_break": broken,
            "unchained_lines": self.unchained,
            "foreign_lines": self.foreign,
            "notices": self.notices,
        })
    }

    /// What people should know of it, a sentence or two each.
    pub fn sentences(&self) -> Vec<String> {
        let mut said = Vec::new();
        if self.is_whole() {
            let (first, last) = (self.first.unwrap_or_default(), self.head.map_or(0, |head| head.seq));
            said.push(format!("The log is whole where it was read: records {first} to {last}."));
        }
        if self.lines == 0 {
            said.push("WARNING! The log is empty.".to_owned());
        }
        if let Some(Broken { file, line, why }) = &self.broken {
            let more = match self.breaks {
                1 => String::new(),
                breaks => format!(" It is the first of {breaks} breaks."),
            };
            said.push(format!("WARNING! The log is broken at {}, line {line}: {why}.{more}", file.display()));
        }
        let mut count = |count: u64, what: &str| {
            if count > 0 {
                let lines = if count == 1 { "1 line".to_owned() } else { format!("{count} lines") };
                said.push(format!("WARNING! {lines} {what}"));
            }
        };
        count(self.unchained, "before the chain: nothing proves that they are whole.");
        count(self.foreign, "without an audit record: not searched.");
        count(self.notices, "where the device says that it could not write records.");
        said
    }
}
