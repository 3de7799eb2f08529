//! What is wrong with a configuration, all of it, in the order it was written.

use keyward_authority::hcl::{self, Position};
use std::fmt;

/// Where something was found: a file by its number, and a place in it unless the whole file is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) at: Option<Position>,
}

impl Place {
    /// Where an earlier thing stands, as seen from a later one.
    pub(super) fn seen_from(self, later: Place) -> String {
        match self.at {
            Some(at) if self.file == later.file => format!("in line {}", at.line),
            _ => "in an earlier file".to_owned(),
        }
    }
}

/// Something that keeps the server from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The name the file was given with.
    pub file: String,
    /// The line and column, unless something is missing from all files.
    pub at: Option<Position>,
    /// What is wrong, without a full stop.
    pub what: String,
    /// What to do, as an imperative.
    pub remedy: String,
}

/// Something the operator should know, though the server starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The name the file was given with.
    pub file: String,
    /// The line and column.
    pub at: Option<Position>,
    /// What it is, and why.
    pub what: String,
}

/// Every mistake of a configuration, at least one, by file and line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, &self.file, self.at)?;
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, &self.file, self.at)?;
        f.write_str(&self.what)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if number == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

fn place(f: &mut fmt::Formatter<'_>, file: &str, at: Option<Position>) -> fmt::Result {
    match at {
        Some(at) => write!(f, "{file}:{}:{}: ", at.line, at.column),
        None => write!(f, "{file}: "),
    }
}

/// Gathers while the files are read.
#[derive(Default)]
pub(super) struct Report {
    mistakes: Vec<(Place, String, String)>,
    warnings: Vec<(Place, String)>,
}

impl Report {
    pub(super) fn mistake(&mut self, place: Place, what: impl Into<String>, remedy: impl Into<String>) {
        self.mistakes.push((place, what.into(), remedy.into()));
    }

    pub(super) fn error(&mut self, file: usize, error: hcl::Error) {
        self.mistake(Place { file, at: Some(error.at) }, error.what, error.remedy);
    }

    pub(super) fn warn(&mut self, place: Place, what: impl Into<String>) {
        self.warnings.push((place, what.into()));
    }

    pub(super) fn mistakes(&self) -> usize {
        self.mistakes.len()
    }

    pub(super) fn warnings(mut self, names: &[&str]) -> Vec<Warning> {
        self.warnings.sort_by_key(|(place, _)| *place);
        let warnings = self.warnings.into_iter();
        warnings.map(|(place, what)| Warning { file: name(names, place), at: place.at, what }).collect()
    }

    pub(super) fn failed(mut self, names: &[&str]) -> Mistakes {
        if self.mistakes.is_empty() {
            let remedy = "name a listener and a storage";
            self.mistake(Place { file: 0, at: None }, "the configuration is incomplete", remedy);
        }
        self.mistakes.sort_by_key(|(place, ..)| *place);
        let mistakes = self.mistakes.into_iter();
        let mistakes = mistakes.map(|(place, what, remedy)| Mistake {
            file: name(names, place),
            at: place.at,
            what,
            remedy,
        });
        Mistakes(mistakes.collect())
    }
}

fn name(names: &[&str], place: Place) -> String {
    names.get(place.file).map_or("configuration", |name| name).to_owned()
}
