//! Posture: whether workloads and their nodes comply with the policies of their cluster, and how nodes are, said so that others may
//! rely on it.
//!
//! Who judges is the policy engine; who relies on it is the authority, whose conditions may demand it before a secret is read.
//! Neither knows the other: what they share is here. A [`Verdict`] is about one pod, one namespace or one node. It travels in
//! a [`Record`], which belongs to one session of one publisher, has its number in it, and is [`Signed`] with a key that lives only as long as
//! the session.
//!
//! A verdict has no end of its own. It holds for as long as its publisher, who must have seen every change since, goes on to say
//! so: each record of a session confirms all before it, and [`Said::Holds`] says nothing else. So thousands of verdicts
//! are kept fresh by one signature, and all of them end together when nobody confirms them.

mod images;
mod moment;
mod node;
mod record;
mod verdict;

pub use images::{Images, MOST_DIGESTS};
pub use node::NodeState;
pub use record::{Bad, LONGEST, Publisher, PublisherKey, Record, Said, Signed};
pub use verdict::{Finding, MOST_RULINGS, MOST_SUBJECTS, Pods, Ruling, Subject, Tier, Verdict};
