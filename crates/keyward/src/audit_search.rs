//! `keyward audit search`: who did what, by a log; and what of it is alive, by the authority.

use crate::cli::output::Output;
use crate::cli::{Failure, Session};
use keyward_authority::audit::search::{Outcome, Query, Row, hash};
use keyward_authority::lease::Holder;
use keyward_authority_client::{Method, RequestOptions};
use keyward_authority_server::audit::search::{Answer, files};
use keyward_authority_server::audit::verify::{BROKEN, Failure as Unread};
use keyward_authority_server::clock::SteadyClock;
use keyward_core::{Clock, Timestamp, parse_duration};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A log, its parts in order, and what to look for in it
#[derive(clap::Args)]
pub(crate) struct Search {
    /// The log's files, oldest first; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Who asked: the id of an entity, a token's display name or accessor
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// The pod that asked
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = pod)]
    pod: Option<String>,
    /// The same, by the pod's UID
    #[arg(long, value_name = "UID")]
    pod_uid: Option<String>,
    /// The path, in which `*` stands for any text; of key-value secrets also as `keyward kv` has it
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The lease handed out, renewed or revoked: its id, or a path above it
    #[arg(long, value_name = "ID")]
    lease: Option<String>,
    /// What was asked
    #[arg(long, value_parser = ["create", "read", "update", "patch", "delete", "list", "help"])]
    operation: Option<String>,
    /// Not before this time: RFC 3339, or how long ago, such as 24h
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    until: Option<Timestamp>,
    /// Only what was denied
    #[arg(long)]
    denied: bool,
    /// A hash that stands anywhere in the record, as `sys/audit-hash` tells it
    #[arg(long, value_name = "HASH", value_parser = hashed)]
    hashed: Option<String>,
    /// Ask the authority what stands for --who and --lease where its audit device of this name has only hashes
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Show the leases and tokens handed out that are alive now; asks the authority
    #[arg(long)]
    alive: bool,
    /// Show so many requests, the last ones
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    limit: usize,
}

fn pod(text: &str) -> Result<String, String> {
    match text.split('/').filter(|part| !part.is_empty()).count() == 2 && text.matches('/').count() == 1 {
        true => Ok(text.to_owned()),
        false => Err("write it as NAMESPACE/NAME".to_owned()),
    }
}

fn hashed(text: &str) -> Result<String, String> {
    let known = hash(text).map(str::to_owned);
    known.ok_or_else(|| "write it as records do: hmac-sha256: and 64 hexadecimal digits".to_owned())
}

fn moment(text: &str) -> Result<Timestamp, String> {
    if let Some(at) = Timestamp::parse_rfc3339(text) {
        return Ok(at);
    }
    let ago = parse_duration(text)
        .map_err(|_| "write a time as 2026-11-21T07:00:00Z, or how long ago as 24h".to_owned())?;
    Ok(Timestamp::EPOCH.plus(SteadyClock::start().now().since(Timestamp::EPOCH.plus(ago))))
}

impl Search {
    /// Whether the log alone does not answer.
    pub(crate) fn asks_the_authority(&self) -> bool {
        self.alive || self.device.is_some()
    }

    fn query(&self) -> Result<Query, Failure> {
        let text = |option: &Option<String>| option.clone().unwrap_or_default();
        let pod = Holder { pod: text(&self.pod), pod_uid: text(&self.pod_uid), ..Holder::default() };
        let mut query = Query {
            pod,
            path: text(&self.path),
            lease: text(&self.lease),
            hashed: text(&self.hashed),
            operation: text(&self.operation),
            since: self.since,
            until: self.until,
            denied: self.denied,
            issuing: self.alive,
            ..Query::default()
        };
        if let Some(who) = &self.who {
            query.add_who(who).map_err(|why| Failure::Usage(format!("--who: {why}")))?;
        }
        Ok(query)
    }

    fn read(&self, query: Query) -> Result<Answer, Failure> {
        files(&self.files, query, self.limit).map_err(|why| match why {
            Unread::Unreadable { file, why } => {
                Failure::Remote(format!("{} cannot be read: {why}.", file.display()))
            }
            // A search goes on behind a break.
            Unread::Broken { .. } => Failure::Code(BROKEN),
        })
    }

    fn to_json(&self, row: &Row) -> Value {
        let mut value = json!(row);
        value["file"] = json!(self.files.get(row.place.file).map(|file| file.display().to_string()));
        value["line"] = json!(row.place.line);
        value
    }
}

/// Without an authority.
pub(crate) fn offline(output: &Output, search: &Search) -> Result<(), Failure> {
    let answer = search.read(search.query()?)?;
    show(output, search, &answer)
}

/// With an authority.
pub(crate) async fn run(session: &Session, search: &Search) -> Result<(), Failure> {
    let mut query = search.query()?;
    if let Some(device) = &search.device {
        if let Some(who) = &search.who {
            query.who.push(ask_hash(session, device, who).await?);
        }
        if let Some(lease) = &search.lease {
            query.hashed_lease = ask_hash(session, device, lease).await?;
        }
    }
    let answer = search.read(query)?;
    match search.alive {
        true => show_alive(session, search, &answer).await,
        false => show(&session.output, search, &answer),
    }
}

async fn ask_hash(session: &Session, device: &str, value: &str) -> Result<String, Failure> {
    let path = format!("sys/audit-hash/{}", device.trim_matches('/'));
    let body = json!({ "input": value });
    let reply = session.ask("Error asking for the hash", Method::Put, &path, Some(&body)).await?;
    let told = reply.data().and_then(|data| data["hash"].as_str().map(str::to_owned));
    told.ok_or_else(|| Failure::Remote("Error asking for the hash: the answer has none".to_owned()))
}

fn show(output: &Output, search: &Search, answer: &Answer) -> Result<(), Failure> {
    if output.is_table() {
        if !answer.rows.is_empty() {
            table(output, &REQUESTS, answer.rows.iter().map(request_cells).collect())?;
        }
        tell(&counted(answer, "request", "found"));
    } else {
        let rows: Vec<Value> = answer.rows.iter().map(|row| search.to_json(row)).collect();
        output.value(&json!({ "requests": rows, "found": answer.found, "log": answer.log.to_json() }))?;
    }
    conclude(output, answer)
}

/// The log's own state, and the exit code for it.
fn conclude(output: &Output, answer: &Answer) -> Result<(), Failure> {
    if output.is_table() {
        answer.log.sentences().iter().for_each(|sentence| tell(sentence));
    }
    if answer.log.is_whole() { Ok(()) } else { Err(Failure::Code(BROKEN)) }
}

/// Beside the table, which other programs may read.
fn tell(sentence: &str) {
    eprintln!("{sentence}");
}

fn counted(answer: &Answer, what: &str, done: &str) -> String {
    let ending = if answer.found == 1 { "" } else { "s" };
    let shown = answer.rows.len();
    match usize::try_from(answer.found).is_ok_and(|found| found <= shown) {
        true => format!("{} {what}{ending} {done}.", answer.found),
        false => format!("{} {what}{ending} {done}; the last {shown} count here: see --limit.", answer.found),
    }
}

const REQUESTS: [&str; 9] =
    ["Time", "Who", "Entity", "Pod", "Operation", "Path", "Outcome", "Lease", "Reason"];

fn request_cells(row: &Row) -> Vec<String> {
    vec![
        Timestamp::from_secs(row.time.secs()).to_string(),
        row.display_name.clone(),
        row.entity_id.clone(),
        row.pod.clone(),
        row.operation.clone(),
        row.path.clone(),
        row.outcome.name().to_owned(),
        row.lease_id.clone(),
        if row.outcome == Outcome::Done { String::new() } else { row.error.clone() },
    ]
}

/// Rows without the columns that hold nothing. Whoever asked may have put control characters into a path, to be
/// read by the terminal of whoever searches.
fn table(output: &Output, headings: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    let used: Vec<usize> = (0..headings.len())
        .filter(|at| rows.iter().any(|row| row.get(*at).is_some_and(|cell| !cell.is_empty())))
        .collect();
    let pick =
        |row: &Vec<String>| used.iter().filter_map(|at| row.get(*at)).map(|cell| plain(cell)).collect();
    let headings: Vec<&str> = used.iter().filter_map(|at| headings.get(*at).copied()).collect();
    output.rows(&headings, &rows.iter().map(pick).collect::<Vec<_>>(), &Value::Null)
}

fn plain(cell: &str) -> String {
    let escaped = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    cell.chars().map(escaped).collect()
}

/// Something handed out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Credential {
    Lease(String),
    /// By its accessor.
    Token(String),
}

impl Credential {
    const fn kind(&self) -> &'static str {
        match self {
            Credential::Lease(_) => "lease",
            Credential::Token(_) => "token",
        }
    }

    fn id(&self) -> &str {
        match self {
            Credential::Lease(id) | Credential::Token(id) => id,
        }
    }

    /// When it ends, or nothing if it has ended.
    async fn ends(&self, session: &Session) -> Result<Option<Value>, Failure> {
        let (path, body, gone) = match self {
            Credential::Lease(id) => ("sys/leases/lookup", json!({ "lease_id": id }), "invalid lease"),
            Credential::Token(id) => {
                ("auth/token/lookup-accessor", json!({ "accessor": id }), "invalid accessor")
            }
        };
        let options = RequestOptions::default();
        match session.client.request(Method::Put, path, Some((&body).into()), &options).await {
            Ok(reply) => Ok(Some(reply.data().map_or(Value::Null, |data| data["expire_time"].clone()))),
            Err(why) if why.rejection().is_some_and(|rejection| rejection.said().contains(gone)) => Ok(None),
            Err(why) => Err(session.failure(&format!("Error looking up a {}", self.kind()), why, false)),
        }
    }
}

/// What was handed out by `rows`, each with the last row that says so, and how many tokens are there only by the hash
/// of their accessor.
fn handed_out(rows: &[Row]) -> (BTreeMap<Credential, &Row>, usize) {
    let mut credentials = BTreeMap::new();
    let mut hidden = BTreeSet::new();
    for row in rows {
        if !row.lease_id.is_empty() {
            credentials.insert(Credential::Lease(row.lease_id.clone()), row);
        }
        match row.issued_accessor.as_str() {
            "" => {}
            accessor if hash(accessor).is_some() => drop(hidden.insert(accessor)),
            accessor => drop(credentials.insert(Credential::Token(accessor.to_owned()), row)),
        }
    }
    (credentials, hidden.len())
}

async fn show_alive(session: &Session, search: &Search, answer: &Answer) -> Result<(), Failure> {
    let (credentials, hidden) = handed_out(&answer.rows);
    let mut alive = Vec::new();
    for (credential, row) in &credentials {
        if let Some(ends) = credential.ends(session).await? {
            alive.push((credential, *row, ends));
        }
    }
    let output = &session.output;
    if output.is_table() {
        if !alive.is_empty() {
            let cells =
                alive.iter().map(|(credential, row, ends)| alive_cells(credential, row, ends)).collect();
            table(output, &CREDENTIALS, cells)?;
        }
        tell(&counted(answer, "request", "handed out leases or tokens"));
        tell(&format!("{} of {} that can be looked up are alive.", alive.len(), credentials.len()));
        if hidden > 0 {
            tell(&format!(
                "{hidden} tokens are in the log only by the hash of their accessor, and cannot be looked up: a \
                 device with hmac_accessor=false shows it."
            ));
        }
        let ids: Vec<_> = alive.iter().map(|(credential, ..)| *credential).collect();
        if let Some(hint) = hint(search, &ids, hidden) {
            tell(&hint);
        }
    } else {
        let value = |(credential, row, ends): &(&Credential, &Row, Value)| {
            json!({
                "type": credential.kind(),
                "id": credential.id(),
                "expire_time": ends,
                "request": search.to_json(row),
            })
        };
        output.value(&json!({
            "alive": alive.iter().map(value).collect::<Vec<_>>(),
            "looked_up": credentials.len(),
            "hashed_accessors": hidden,
            "found": answer.found,
            "log": answer.log.to_json(),
        }))?;
    }
    conclude(output, answer)
}

const CREDENTIALS: [&str; 7] = ["Credential", "Id", "Ends", "Handed Out", "Who", "Pod", "Path"];

fn alive_cells(credential: &Credential, row: &Row, ends: &Value) -> Vec<String> {
    vec![
        credential.kind().to_owned(),
        credential.id().to_owned(),
        ends.as_str().unwrap_or("never").to_owned(),
        Timestamp::from_secs(row.time.secs()).to_string(),
        row.display_name.clone(),
        row.pod.clone(),
        row.path.clone(),
    ]
}

/// How to end what is alive.
fn hint(search: &Search, alive: &[&Credential], hidden: usize) -> Option<String> {
    let pod = search.pod.as_ref().map(|pod| format!("--pod {pod}"));
    let pod = pod.or(search.pod_uid.as_ref().map(|uid| format!("--pod-uid {uid}")));
    match (pod, alive) {
        (Some(pod), _) if hidden > 0 || !alive.is_empty() => {
            Some(format!("`keyward lease revoke {pod}` ends all that the pod holds."))
        }
        (_, []) => None,
        (_, [Credential::Lease(id)]) => Some(format!("`keyward lease revoke {}` ends it.", plain(id))),
        (_, _) => Some(
            "`keyward lease revoke ID` ends a lease, `keyward token revoke --accessor ID` a token; with --pod or --entity \
             the first ends all that one holds."
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_strictly() {
        assert!(pod("prod/web").is_ok() && moment("2026-11-21T07:00:00Z").is_ok());
        assert!(moment("1h").unwrap() < moment("0s").unwrap());
        for bad in ["", "prod", "prod/", "/web", "a/b/c", "a//b"] {
            assert!(pod(bad).is_err(), "{bad}");
        }
        assert!(moment("yesterday").is_err() && hashed("hmac-sha256:0").is_err());
    }

    #[test]
    fn nothing_in_a_log_steers_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\n\u{9b}c"), "a\\u{1b}[2Jb\\n\\u{9b}c");
        assert_eq!(plain("secret/data/\u{fc}"), "secret/data/\u{fc}");
    }
}
