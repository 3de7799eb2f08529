//! Finding requests in a log: a question, the lines one after the other, and a row for each request that it asks for.
//!
//! A request is told by the record of its answer, which says all that the record of the request says. One that has
//! no such record is told when the log ends: the authority, or whoever asked, went away in between.

#[cfg(test)]
mod tests;

use super::hashes::{HASHED, MARK};
use crate::glob;
use crate::lease::Holder;
use crate::token::{BATCH_PREFIX, SERVICE_PREFIX};
use keyward_core::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, VecDeque};

/// The most requests that wait for the record of their answer. A log has as many as there were requests at the same
/// time, and one for each that was never answered.
const MOST_WAITING: usize = 4096;

/// The most wrapped answers whose opening is waited for.
const MOST_WRAPPED: usize = 4096;

/// Where leases are named in the path of a request, with or without `leases/`.
const LEASES: [&str; 5] = ["lookup/", "renew/", "revoke/", "revoke-prefix/", "revoke-force/"];

/// What requests of version 2 key-value engines write between the mount and the name of a secret.
const KV_PARTS: [&str; 6] = ["data/", "metadata/", "subkeys/", "delete/", "undelete/", "destroy/"];

/// What is asked. What is not said is not asked; a request is found when all that is said is true of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Who asked, or logged in: an entity's id, a display name, or an accessor. Any of these.
    pub who: Vec<String>,
    /// The pod that asked, or logged in.
    pub pod: Holder,
    /// The path, without `v1/`. `*` stands for any text. A secret of a version 2 key-value engine is also found by the
    /// path that the command line has for it, `secret/web` for `secret/data/web`.
    pub path: String,
    /// The lease handed out, renewed or revoked: its id, or a path above it.
    pub lease: String,
    /// What stands for the lease's id in the data of requests.
    pub hashed_lease: String,
    /// A hash as [`hash`] reads it, wherever in the record it stands.
    pub hashed: String,
    /// The operation, as records name it.
    pub operation: String,
    /// Not before this moment.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Only what was denied.
    pub denied: bool,
    /// Only what handed out a lease or a token.
    pub issuing: bool,
}

/// Reads a hash as it stands in records: `hmac-sha256:` and 64 hexadecimal digits.
pub fn hash(text: &str) -> Option<&str> {
    let digits = text.strip_prefix(MARK)?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == HASHED && digits.bytes().all(is_digit)).then_some(text)
}

/// Why a name cannot be searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsearchable;

impl std::fmt::Display for Unsearchable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "a token is no name: an argument can be read by others; give the token's accessor, which `keyward token \
             lookup` shows",
        )
    }
}

impl Query {
    /// Adds a name of whom is searched for. Refuses what looks like a token.
    pub fn add_who(&mut self, name: &str) -> Result<(), Unsearchable> {
        if name.starts_with(SERVICE_PREFIX) || name.starts_with(BATCH_PREFIX) {
            return Err(Unsearchable);
        }
        self.who.push(name.to_owned());
        Ok(())
    }

    /// `wrapped_for` is who the request opened the answer of, which counts as theirs.
    fn finds(&self, record: &Record, wrapped_for: Option<&Holder>, row: &Row, line: &[u8]) -> bool {
        let is_by = |name: &String| {
            record.is_by(name)
                || wrapped_for.is_some_and(|holder| !name.is_empty() && holder.entity_id == *name)
        };
        let mut holders = record.holders().chain(wrapped_for.cloned());
        (!self.denied || row.outcome == Outcome::Denied)
            && (!self.issuing || record.issues())
            && self.since.is_none_or(|since| row.time >= since)
            && self.until.is_none_or(|until| row.time < until)
            && (self.operation.is_empty() || self.operation == record.request.operation)
            && (self.who.is_empty() || self.who.iter().any(is_by))
            && (self.pod == Holder::default() || holders.any(|holder| self.pod.is(&holder)))
            && (self.path.is_empty() || self.is_at(&record.request))
            && (self.lease.is_empty() || self.is_of_lease(record, row))
            && (self.hashed.is_empty() || contains(line, self.hashed.as_bytes()))
    }

    fn is_at(&self, request: &Asked) -> bool {
        let wanted = self.path.trim_matches('/');
        let matches = |path: &str| glob::matches(wanted, path.trim_end_matches('/'));
        matches(&request.path) || request.secret().is_some_and(|path| matches(&path))
    }

    fn is_of_lease(&self, record: &Record, row: &Row) -> bool {
        let wanted = self.lease.trim_end_matches('/');
        let is_below = |path: &str, above: &str| {
            path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let named = record.request.lease_in_data().unwrap_or_default();
        // Whoever revoked all below a path revoked this one with it.
        let with_others = record.request.lease_in_path().is_some_and(|(command, path)| {
            matches!(command, "revoke-prefix/" | "revoke-force/")
                && is_below(wanted, path.trim_end_matches('/'))
        });
        with_others
            || is_below(&row.lease_id, wanted)
            || is_below(&named, wanted)
            || (!self.hashed_lease.is_empty() && named == self.hashed_lease)
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was answered.
    Done,
    /// It was not allowed.
    Denied,
    /// It failed in another way.
    Failed,
    /// The log has no record of an answer.
    Unanswered,
}

impl Outcome {
    /// The word that tables and JSON have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Denied => "denied",
            Outcome::Failed => "failed",
            Outcome::Unanswered => "unanswered",
        }
    }
}

/// Where a record was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file, counted from 0.
    pub file: usize,
    /// The line in it, counted from 1.
    pub line: u64,
}

/// One request that was found. Texts are as the record has them, empty where it has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// When the record was made.
    #[serde(serialize_with = "as_text")]
    pub time: Timestamp,
    /// The request's id.
    pub request_id: String,
    /// The display name of the token that asked; empty for logins.
    pub display_name: String,
    /// The identity that asked, or logged in.
    pub entity_id: String,
    /// The pod that asked, or logged in, as `NAMESPACE/NAME`.
    pub pod: String,
    /// Its UID.
    pub pod_uid: String,
    /// From where.
    pub remote_address: String,
    /// What was asked.
    pub operation: String,
    /// Of what.
    pub path: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Why it was denied or failed.
    pub error: String,
    /// The lease handed out, or named in the path.
    pub lease_id: String,
    /// The accessor of the token handed out, or its hash.
    pub issued_accessor: String,
    /// Where the record is.
    #[serde(skip)]
    pub place: Place,
}

fn as_text<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// A record, and what is to be told because of it.
    Record(Option<Box<Row>>),
    /// A device's own word that it could not write records.
    Notice,
    /// No audit record.
    Foreign,
}

/// Searches a log line by line, in memory that does not grow with the log.
pub struct Search {
    query: Query,
    /// Requests without the record of their answer so far, in the order they were made.
    waiting: BTreeMap<u64, Box<Row>>,
    /// Their places in that order, by the request's id.
    order: BTreeMap<String, u64>,
    next: u64,
    wrapped: Wrapped,
}

impl Search {
    /// A search for `query`.
    pub fn new(query: Query) -> Search {
        Search {
            query,
            waiting: BTreeMap::new(),
            order: BTreeMap::new(),
            next: 0,
            wrapped: Wrapped::default(),
        }
    }

    /// Takes the next line, with or without its newline.
    pub fn line(&mut self, line: &[u8], place: Place) -> Seen {
        // A device's prefix has no braces.
        let start = line.iter().position(|byte| *byte == b'{').unwrap_or(line.len());
        let Ok(record) = serde_json::from_slice::<Record>(&line[start..]) else { return Seen::Foreign };
        let Some(time) = Timestamp::parse_rfc3339(&record.time) else { return Seen::Foreign };
        let answered = match record.kind.as_str() {
            "request" => false,
            "response" => true,
            "notice" => return Seen::Notice,
            _ => return Seen::Foreign,
        };
        let wrapped_for = self.wrapped.opened_by(&record);
        if answered {
            self.wrapped.note(&record);
        }
        let row = record.row(wrapped_for.as_ref(), time, place);
        let found = self.query.finds(&record, wrapped_for.as_ref(), &row, line).then(|| Box::new(row));
        match answered {
            true => {
                self.forget(&record.request.id);
                Seen::Record(found)
            }
            false => Seen::Record(found.and_then(|row| self.wait(row))),
        }
    }

    /// The requests without an answer, when there are no more lines.
    pub fn finish(self) -> impl Iterator<Item = Row> {
        self.waiting.into_values().map(|row| *row)
    }

    fn forget(&mut self, id: &str) {
        if let Some(at) = self.order.remove(id) {
            self.waiting.remove(&at);
        }
    }

    /// Keeps `row` until its answer comes. The one that has waited longest is given up when there are too many.
    fn wait(&mut self, row: Box<Row>) -> Option<Box<Row>> {
        if let Some(before) = self.order.insert(row.request_id.clone(), self.next) {
            self.waiting.remove(&before);
        }
        self.waiting.insert(self.next, row);
        self.next += 1;
        if self.waiting.len() <= MOST_WAITING {
            return None;
        }
        let (_, given_up) = self.waiting.pop_first()?;
        self.order.remove(&given_up.request_id);
        Some(given_up)
    }
}

/// Wrapped answers by the token that opens them, as records show it: its accessor and its hash. What is opened belongs to
/// whom it was wrapped for, whoever opens it.
#[derive(Default)]
struct Wrapped {
    holders: BTreeMap<String, Holder>,
    /// The names of `holders`, the oldest first.
    order: VecDeque<String>,
}

impl Wrapped {
    fn note(&mut self, record: &Record) {
        let Some(info) = record.response.as_ref().and_then(|response| response.wrap_info.as_ref()) else {
            return;
        };
        let Some(holder) = record.holder() else { return };
        for name in [&info.accessor, &info.token] {
            if !name.is_empty() && self.holders.insert(name.clone(), holder.clone()).is_none() {
                self.order.push_back(name.clone());
            }
        }
        while self.order.len() > MOST_WRAPPED * 2 {
            self.order.pop_front().and_then(|name| self.holders.remove(&name));
        }
    }

    fn opened_by(&self, record: &Record) -> Option<Holder> {
        if self.holders.is_empty() {
            return None;
        }
        let asks = record.auth.as_ref().and_then(|auth| self.holders.get(&auth.accessor));
        asks.or_else(|| self.holders.get(&record.request.wrapping_token()?)).cloned()
    }
}

/// What is read of a record.
#[derive(Deserialize)]
struct Record {
    time: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    auth: Option<Token>,
    #[serde(default)]
    request: Asked,
    #[serde(default)]
    response: Option<Answered>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    id: String,
    operation: String,
    path: String,
    mount_point: String,
    mount_type: String,
    remote_address: String,
    data: Option<Box<RawValue>>,
}

/// A token: the one that asks, or the one handed out.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Token {
    accessor: String,
    display_name: String,
    entity_id: String,
    metadata: Option<BTreeMap<String, String>>,
    policy_results: Option<Results>,
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    allowed: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answered {
    auth: Option<Token>,
    secret: Option<Lent>,
    wrap_info: Option<WrapInfo>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrapInfo {
    accessor: String,
    token: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Lent {
    lease_id: String,
}

impl Token {
    fn holder(&self) -> Holder {
        match &self.metadata {
            Some(metadata) => Holder::known(&self.entity_id, metadata),
            None => Holder { entity_id: self.entity_id.clone(), ..Holder::default() },
        }
    }

    fn is(&self, name: &str) -> bool {
        !name.is_empty()
            && [&self.entity_id, &self.display_name, &self.accessor].iter().any(|said| *said == name)
    }
}

impl Asked {
    /// The command and the lease of a request that names one in its path.
    fn lease_in_path(&self) -> Option<(&'static str, &str)> {
        let rest = self.path.strip_prefix("sys/")?;
        let rest = rest.strip_prefix("leases/").unwrap_or(rest);
        LEASES.iter().find_map(|command| Some((*command, rest.strip_prefix(command)?)))
    }

    fn lease_in_data(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Named {
            lease_id: String,
        }
        serde_json::from_str(self.data.as_deref()?.get()).ok().map(|named: Named| named.lease_id)
    }

    /// The token in the body of a request to open a wrapped answer.
    fn wrapping_token(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Named {
            token: String,
        }
        let data = self.data.as_deref().filter(|_| self.path == "sys/wrapping/unwrap")?;
        serde_json::from_str(data.get()).ok().map(|named: Named| named.token)
    }

    /// The path of a secret as people write it.
    fn secret(&self) -> Option<String> {
        if self.mount_type != "kv" {
            return None;
        }
        let rest = self.path.strip_prefix(&self.mount_point)?;
        let name = KV_PARTS.iter().find_map(|part| rest.strip_prefix(part))?;
        Some(format!("{}{name}", self.mount_point))
    }
}

impl Record {
    /// The token that asked, and the one that was handed out.
    fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.auth.iter().chain(self.issued())
    }

    fn issued(&self) -> Option<&Token> {
        self.response.as_ref()?.auth.as_ref()
    }

    fn issues(&self) -> bool {
        self.issued().is_some() || self.lease().is_some()
    }

    fn lease(&self) -> Option<&str> {
        let lease = self.response.as_ref()?.secret.as_ref()?.lease_id.as_str();
        (!lease.is_empty()).then_some(lease)
    }

    fn holders(&self) -> impl Iterator<Item = Holder> {
        self.tokens().map(Token::holder)
    }

    /// Who asked, or logged in: of a login it is known when it is over.
    fn holder(&self) -> Option<Holder> {
        self.holders().find(|holder| *holder != Holder::default())
    }

    fn is_by(&self, name: &str) -> bool {
        self.tokens().any(|token| token.is(name))
    }

    fn outcome(&self) -> Outcome {
        let allowed = self.auth.as_ref().and_then(|auth| auth.policy_results.as_ref()?.allowed);
        if allowed == Some(false) || self.error.contains("permission denied") {
            Outcome::Denied
        } else if !self.error.is_empty() {
            Outcome::Failed
        } else if self.kind == "request" {
            Outcome::Unanswered
        } else {
            Outcome::Done
        }
    }

    fn row(&self, wrapped_for: Option<&Holder>, time: Timestamp, place: Place) -> Row {
        let asks = self.auth.as_ref();
        let holder = self.holder().or_else(|| wrapped_for.cloned()).unwrap_or_default();
        let in_path = self.request.lease_in_path().map(|(_, lease)| lease);
        Row {
            time,
            request_id: self.request.id.clone(),
            display_name: asks.map(|asks| asks.display_name.clone()).unwrap_or_default(),
            entity_id: holder.entity_id,
            pod: holder.pod,
            pod_uid: holder.pod_uid,
            remote_address: self.request.remote_address.clone(),
            operation: self.request.operation.clone(),
            path: self.request.path.clone(),
            outcome: self.outcome(),
            error: self.error.clone(),
            lease_id: self.lease().or(in_path).unwrap_or_default().to_owned(),
            issued_accessor: self.issued().map(|issued| issued.accessor.clone()).unwrap_or_default(),
            place,
        }
    }
}
