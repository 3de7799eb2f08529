//! Why a policy is refused, and the reading of policies that finds it out.

use crate::nearest;
use crate::yaml::Lines;
use serde_json::{Map, Value};
use std::fmt;

/// Why a policy cannot mean anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where in the policy: keys and indexes.
    pub path: Vec<String>,
    /// The line in its file, from one; 0 where it has no file.
    pub line: usize,
    /// What is wrong there, and what is right where that is near.
    pub why: String,
}

impl Refusal {
    /// With the line that the path is at.
    pub(crate) fn lined(mut self, lines: Option<&Lines>) -> Refusal {
        self.line = lines.map_or(0, |lines| lines.of(self.path.iter().map(String::as_str)));
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        for (index, step) in self.path.iter().enumerate() {
            match step.parse::<usize>() {
                Ok(number) => write!(f, "[{number}]")?,
                Err(_) => write!(f, "{}{step}", if index > 0 { "." } else { "" })?,
            }
        }
        write!(f, "{}{}", if self.path.is_empty() { "" } else { ": " }, self.why)
    }
}

impl std::error::Error for Refusal {}

/// A place in a policy.
#[derive(Clone, Copy)]
pub(crate) struct At<'v> {
    pub(crate) value: &'v Value,
    above: Option<(&'v At<'v>, Step<'v>)>,
}

#[derive(Clone, Copy)]
enum Step<'v> {
    Key(&'v str),
    Index(usize),
}

pub(crate) type Read<T> = Result<T, Refusal>;

impl<'v> At<'v> {
    pub(crate) fn new(value: &'v Value) -> At<'v> {
        At { value, above: None }
    }

    fn path(&self) -> Vec<String> {
        let Some((above, step)) = &self.above else { return Vec::new() };
        let mut path = above.path();
        path.push(match step {
            Step::Key(key) => (*key).to_owned(),
            Step::Index(index) => index.to_string(),
        });
        path
    }

    pub(crate) fn refuse<T>(&self, why: impl fmt::Display) -> Read<T> {
        Err(Refusal { path: self.path(), line: 0, why: why.to_string() })
    }

    /// What is at a key; None also where it is null.
    pub(crate) fn get<'n>(&'n self, key: &'n str) -> Option<At<'n>>
    where
        'v: 'n,
    {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(At { value, above: Some((self, Step::Key(key))) })
    }

    pub(crate) fn need<'n>(&'n self, key: &'n str) -> Read<At<'n>> {
        self.get(key).map_or_else(|| self.refuse(format_args!("{key} is missing")), Ok)
    }

    pub(crate) fn map(&self) -> Read<&'v Map<String, Value>> {
        self.value.as_object().map_or_else(|| self.refuse("a mapping is expected"), Ok)
    }

    pub(crate) fn list(&self) -> Read<&'v Vec<Value>> {
        self.value.as_array().map_or_else(|| self.refuse("a list is expected"), Ok)
    }

    /// What `read` makes of each element.
    pub(crate) fn each<T>(&self, mut read: impl FnMut(&At<'_>) -> Read<T>) -> Read<Vec<T>> {
        let mut items = Vec::new();
        for (index, value) in self.list()?.iter().enumerate() {
            items.push(read(&At { value, above: Some((self, Step::Index(index))) })?);
        }
        Ok(items)
    }

    /// What `read` makes of each element at a key; none where there is no such key.
    pub(crate) fn each_of<T>(&self, key: &str, read: impl FnMut(&At<'_>) -> Read<T>) -> Read<Vec<T>> {
        self.get(key).map_or_else(|| Ok(Vec::new()), |list| list.each(read))
    }

    pub(crate) fn str(&self) -> Read<&'v str> {
        self.value.as_str().map_or_else(|| self.refuse("a string is expected"), Ok)
    }

    /// The string at a key; empty where there is none.
    pub(crate) fn text(&self, key: &str) -> Read<&'v str> {
        match self.value.get(key) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(_) => self.get(key).map_or(Ok(""), |at| at.refuse("a string is expected")),
        }
    }

    pub(crate) fn texts(&self, key: &str) -> Read<Vec<&'v str>> {
        let Some(list) = self.value.get(key).filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
        let texts: Option<Vec<&'v str>> =
            list.as_array().map(|list| list.iter().map(Value::as_str).collect()).unwrap_or_default();
        texts.map_or_else(|| self.need(key)?.refuse("a list of strings is expected"), Ok)
    }

    pub(crate) fn flag(&self, key: &str, default: bool) -> Read<bool> {
        match self.value.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => self.get(key).map_or(Ok(default), |at| at.refuse("true or false is expected")),
        }
    }

    /// Refuses keys that are not known, with the nearest that is.
    pub(crate) fn only(&self, known: &[&str]) -> Read<()> {
        for key in self.map()?.keys() {
            if !known.contains(&key.as_str()) {
                let hint = nearest::hint(key, known.iter().copied());
                let here = At { value: self.value, above: Some((self, Step::Key(key))) };
                return here.refuse(format_args!("there is no field {key}{hint}"));
            }
        }
        Ok(())
    }
}
