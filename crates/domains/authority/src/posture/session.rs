//! Who reports: sessions of publishers, each with a key of its own.

use super::{Cluster, Held, Known, LONGEST_VALIDITY, MOST_BYTES, State, Verdicts};
use crate::refusal::Refusal;
use keyward_core::{Random, Timestamp, random};
use keyward_posture::{MOST_SUBJECTS, PublisherKey, Record, Said, Signed, Subject};
use std::sync::Arc;
use std::time::Duration;

/// Records that a report has at most.
pub const MOST_RECORDS: usize = 500;
/// How far a publisher's clock may be ahead of ours.
const AHEAD: Duration = Duration::from_secs(30);

/// A session that is wanted.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The mount at which the publisher logged in, and at which its cluster's pods do.
    pub mount: &'a str,
    /// The storage name of the publisher's token: nobody else may report in the session.
    pub token: &'a str,
    /// What the publisher calls its cluster.
    pub cluster: &'a str,
    /// The public key of the session.
    pub key: &'a str,
    /// How long verdicts count without being confirmed.
    pub validity: Duration,
}

/// A session that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Names it.
    pub session: String,
    /// How long its verdicts count without being confirmed.
    pub validity: Duration,
}

/// What came of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The last record of the session.
    pub sequence: u64,
    /// Until when its verdicts count.
    pub until: Timestamp,
}

pub(super) struct Session {
    id: String,
    token: String,
    cluster: String,
    key: Arc<PublisherKey>,
    line: Arc<str>,
    validity: Duration,
    began: Timestamp,
    sequence: u64,
    /// When its publisher last said that all it said holds, by its clock or by ours, whichever is earlier.
    pub(super) confirmed: Timestamp,
    pub(super) until: Timestamp,
}

/// A session, for operators.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// The mount at which its publisher logged in.
    pub mount: String,
    /// What the publisher calls its cluster.
    pub cluster: String,
    /// Names the session.
    pub session: String,
    /// The fingerprint of its key, as `ssh-keygen -l` shows it.
    pub key: String,
    /// When it began.
    pub began: String,
    /// When everything it said was last confirmed.
    pub confirmed: String,
    /// Whether its verdicts count now.
    pub counts: bool,
    /// Whether it may still report: a later session of the cluster ends it.
    pub current: bool,
    /// The last record.
    pub sequence: u64,
}

fn refused<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::invalid(why))
}

impl Verdicts {
    /// Begins a session. What earlier ones of the cluster reported counts until it ends by itself or is said anew, so that a new
    /// leader of the engine makes no gap; but they may report no more.
    pub fn begin(
        &self,
        wanted: &Wanted<'_>,
        now: Timestamp,
        randomness: &dyn Random,
    ) -> Result<Begun, Refusal> {
        let Some(key) = PublisherKey::read(wanted.key) else {
            return refused("key must be an Ed25519 key as authorized_keys has it");
        };
        if wanted.cluster.is_empty() || wanted.cluster.len() > 253 {
            return refused("cluster must be a name of 1 to 253 characters");
        }
        if wanted.validity < Duration::from_secs(1) || wanted.validity > LONGEST_VALIDITY {
            return refused(format!("validity must be between 1s and {}s", LONGEST_VALIDITY.as_secs()));
        }
        let session = Session {
            id: random::uuid(randomness),
            token: wanted.token.to_owned(),
            cluster: wanted.cluster.to_owned(),
            key: Arc::new(key),
            line: wanted.key.into(),
            validity: wanted.validity,
            began: now,
            sequence: 0,
            confirmed: Timestamp::EPOCH,
            until: Timestamp::EPOCH,
        };
        let begun = Begun { session: session.id.clone(), validity: wanted.validity };
        self.write(|state| {
            state.begun += 1;
            let number = state.begun;
            let cluster = state.clusters.entry(wanted.mount.to_owned()).or_default();
            cluster.sessions.insert(number, session);
            cluster.sweep(now);
        });
        Ok(begun)
    }

    /// Takes what a publisher says, all of it or nothing. Records that were taken already are passed over, since a report may be
    /// sent again when its answer was lost.
    pub fn report(
        &self,
        (mount, token, id): (&str, &str, &str),
        records: &[Signed],
        now: Timestamp,
    ) -> Result<Taken, Refusal> {
        if records.len() > MOST_RECORDS {
            return refused(format!("a report has at most {MOST_RECORDS} records"));
        }
        let (number, key, line) = self.read(|state| {
            let (number, session) = state.current(mount, token, id)?;
            Ok::<_, Refusal>((number, session.key.clone(), session.line.clone()))
        })?;
        // Signatures are checked while nobody waits.
        let mut opened = Vec::with_capacity(records.len());
        for signed in records {
            let record = signed.open(&key).map_err(|why| Refusal::invalid(why.to_string()))?;
            opened.push((record, signed));
        }
        self.write(|state| {
            state.current(mount, token, id)?;
            let Some(cluster) = state.clusters.get_mut(mount) else { return refused(unknown(id)) };
            cluster.take(number, opened, &line, now)
        })
    }

    /// All sessions that are known, the latest first.
    pub fn sessions(&self, now: Timestamp) -> Vec<Shown> {
        self.read(|state| {
            let of_cluster = |(mount, cluster): (&String, &Cluster)| {
                let last = cluster.sessions.last_key_value().map(|(number, _)| *number);
                let shown = cluster.sessions.iter().rev().map(|(number, session)| Shown {
                    mount: mount.clone(),
                    cluster: session.cluster.clone(),
                    session: session.id.clone(),
                    key: session.key.fingerprint(),
                    began: session.began.to_string(),
                    confirmed: session.confirmed.to_string(),
                    counts: now < session.until,
                    current: Some(*number) == last,
                    sequence: session.sequence,
                });
                shown.collect::<Vec<_>>()
            };
            let mut all: Vec<Shown> = state.clusters.iter().flat_map(of_cluster).collect();
            all.sort_by(|left, right| (&left.mount, &right.began).cmp(&(&right.mount, &left.began)));
            all
        })
    }
}

fn unknown(id: &str) -> String {
    format!(
        "there is no session {id:?} of this token: begin one at sys/posture/sessions; those of before are forgotten when the \
         authority starts or is unsealed"
    )
}

impl State {
    /// The session that a token may report in.
    fn current(&self, mount: &str, token: &str, id: &str) -> Result<(u64, &Session), Refusal> {
        let cluster = self.clusters.get(mount).ok_or_else(|| Refusal::invalid(unknown(id)))?;
        let found = cluster.sessions.iter().find(|(_, session)| session.id == id && session.token == token);
        let (number, session) = found.ok_or_else(|| Refusal::invalid(unknown(id)))?;
        match cluster.sessions.last_key_value() {
            Some((last, _)) if last == number => Ok((*number, session)),
            _ => refused("a later session of the cluster has begun, and this one may report no more"),
        }
    }
}

impl Cluster {
    fn take(
        &mut self,
        number: u64,
        records: Vec<(Record, &Signed)>,
        line: &Arc<str>,
        now: Timestamp,
    ) -> Result<Taken, Refusal> {
        let (pods, namespaces, nodes) = (&self.pods, &self.namespaces, &self.nodes);
        let is_known = |subject: &Subject| match subject {
            Subject::Pod { uid, .. } => pods.contains_key(uid),
            Subject::Namespace { name } => namespaces.contains_key(name),
            Subject::Node { name, .. } => nodes.contains_key(name),
        };
        let (mut subjects, mut bytes) = (pods.len() + namespaces.len() + nodes.len(), self.bytes);
        let Some(session) = self.sessions.get_mut(&number) else { return refused("the session has ended") };
        let (mut sequence, mut confirmed) = (session.sequence, session.confirmed);
        for (record, signed) in &records {
            session.fits(record, now)?;
            if record.sequence <= session.sequence {
                continue;
            }
            if record.sequence != sequence + 1 {
                let (wanted, came) = (sequence + 1, record.sequence);
                return refused(format!("record {wanted} of the session comes next, not {came}"));
            }
            sequence = record.sequence;
            confirmed = confirmed.max(record.at.min(now));
            if let Said::Verdict(verdict) = &record.said {
                subjects += usize::from(!is_known(&verdict.subject));
                bytes += signed.text.len();
            }
        }
        if subjects > MOST_SUBJECTS || bytes > MOST_BYTES {
            return refused(format!(
                "verdicts of more than {MOST_BYTES} bytes, or on more than {MOST_SUBJECTS} subjects, are not kept of one cluster"
            ));
        }
        let before = std::mem::replace(&mut session.sequence, sequence);
        session.confirmed = confirmed;
        session.until = confirmed.plus(session.validity);
        let taken = Taken { sequence, until: session.until };
        for (record, signed) in records.into_iter().filter(|(record, _)| record.sequence > before) {
            self.apply(number, record.said, signed, line);
        }
        Ok(taken)
    }

    fn apply(&mut self, number: u64, said: Said, signed: &Signed, line: &Arc<str>) {
        let before = match said {
            Said::Holds => None,
            Said::Gone(Subject::Pod { uid, .. }) => self.pods.remove(&uid),
            Said::Gone(Subject::Namespace { name }) => self.namespaces.remove(&name),
            Said::Gone(Subject::Node { name, uid }) => {
                let is_same = self.nodes.get(&name).is_some_and(|held| held.uid() == Some(uid.as_str()));
                if is_same { self.nodes.remove(&name) } else { None }
            }
            Said::Verdict(verdict) => {
                let (held, key) = match &verdict.subject {
                    Subject::Pod { uid, .. } => (&mut self.pods, uid.clone()),
                    Subject::Namespace { name } => (&mut self.namespaces, name.clone()),
                    Subject::Node { name, .. } => (&mut self.nodes, name.clone()),
                };
                let known =
                    Known { verdict, digest: signed.digest(), signed: signed.clone(), key: line.clone() };
                self.bytes += signed.text.len();
                held.insert(key, Held { session: number, known: Arc::new(known) })
            }
        };
        self.bytes -= before.map_or(0, |before| before.known.signed.text.len());
    }
}

impl Session {
    /// Whether a record belongs to this session, and was signed lately.
    fn fits(&self, record: &Record, now: Timestamp) -> Result<(), Refusal> {
        if record.session != self.id {
            return refused("a record is of another session");
        }
        if record.cluster != self.cluster {
            return refused(format!(
                "a record is about the cluster {:?}, and the session about {:?}",
                record.cluster, self.cluster
            ));
        }
        if record.at > now.plus(AHEAD) {
            return refused(format!(
                "a record was signed at {}, and it is {now}: set the publisher's clock",
                record.at
            ));
        }
        if record.at.plus(self.validity) <= now {
            return refused(format!(
                "a record was signed at {}, and it is {now}: it is older than the {}s that verdicts of the session count",
                record.at,
                self.validity.as_secs()
            ));
        }
        Ok(())
    }
}
