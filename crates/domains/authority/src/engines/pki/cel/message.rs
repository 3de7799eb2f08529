//! What a program made, read as one of the messages it stands for.

use crate::refusal::Refusal;
use keyward_expressions::cel::Val;
use keyward_expressions::nearest;

const SECOND: i128 = 1_000_000_000;

/// A message's fields.
pub(super) struct Message<'a> {
    /// What it is called in messages to people.
    kind: &'static str,
    fields: Vec<(Val<'a>, Val<'a>)>,
}

impl<'a> Message<'a> {
    /// `value` as a `kind`, which has the fields `known`; refuses what is none and what has others.
    pub(super) fn of(kind: &'static str, value: &Val<'a>, known: &[&str]) -> Result<Message<'a>, Refusal> {
        let fields = value.entries().ok_or_else(|| {
            Refusal::invalid(format!("the CEL role yields {} where a {kind} is wanted", value.type_name()))
        })?;
        for (name, _) in &fields {
            let name = name.as_str().unwrap_or_default();
            if !known.contains(&name) {
                return Err(Refusal::invalid(format!(
                    "{kind} has no field {name:?} that certificates are made with here{}",
                    nearest::hint(name, known.iter().copied())
                )));
            }
        }
        Ok(Message { kind, fields })
    }

    /// The value of `name`, unless it is not there or null.
    pub(super) fn get(&self, name: &str) -> Option<Val<'a>> {
        let (_, value) = self.fields.iter().find(|(known, _)| known.as_str() == Some(name))?;
        match value.clone().simple() {
            Val::Null | Val::Optional(None) => None,
            Val::Optional(Some(value)) => Some((*value).clone().simple()),
            value => Some(value),
        }
    }

    fn wrong(&self, name: &str, wanted: &str, value: &Val<'_>) -> Refusal {
        Refusal::invalid(format!("{}.{name} must be {wanted}, and is {}", self.kind, value.type_name()))
    }

    /// A text; empty where there is none.
    pub(super) fn text(&self, name: &str) -> Result<String, Refusal> {
        let Some(value) = self.get(name) else { return Ok(String::new()) };
        value.as_str().map(str::to_owned).ok_or_else(|| self.wrong(name, "a string", &value))
    }

    /// True or false; false where it does not say.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None => Ok(false),
            Some(Val::Bool(value)) => Ok(value),
            Some(value) => Err(self.wrong(name, "true or false", &value)),
        }
    }

    /// A whole number, not negative; 0 where there is none.
    pub(super) fn number(&self, name: &str) -> Result<u64, Refusal> {
        let Some(value) = self.get(name) else { return Ok(0) };
        number(&value).ok_or_else(|| self.wrong(name, "a whole number that is not negative", &value))
    }

    /// A moment, in seconds since 1970.
    pub(super) fn moment(&self, name: &str) -> Result<Option<u64>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Val::Timestamp(nanos)) if nanos >= 0 => Ok(u64::try_from(nanos / SECOND).ok()),
            Some(value) => Err(self.wrong(name, "a timestamp since 1970", &value)),
        }
    }

    /// Bytes; none where there are none.
    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>, Refusal> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Val::Bytes(bytes)) => Ok(bytes.to_vec()),
            Some(value) => Err(self.wrong(name, "bytes", &value)),
        }
    }

    /// The elements of a list; none where there is no list.
    pub(super) fn list(&self, name: &str) -> Result<Vec<Val<'a>>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let items = value.items().ok_or_else(|| self.wrong(name, "a list", &value))?;
        Ok(items.into_iter().map(Val::simple).collect())
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let text = |item: Val<'_>| {
            item.as_str().map(str::to_owned).ok_or_else(|| self.wrong(name, "a list of strings", &item))
        };
        self.list(name)?.into_iter().map(text).collect()
    }
}

/// A whole number that is not negative.
pub(super) fn number(value: &Val<'_>) -> Option<u64> {
    match value {
        Val::Int(value) => u64::try_from(*value).ok(),
        Val::Uint(value) => Some(*value),
        _ => None,
    }
}
