//! What a decision needs from outside: a key set, a cluster's word on a token, a directory's on a password.
//!
//! A handler is a function of a snapshot and waits for nothing. It asks [`Gathered::answer`]; what is not there yet
//! it names by failing with [`Refusal::Lacks`], and it is run again with the answer beside it.
//! Questions must therefore be the same at every run: they are found by what they ask, not by when.

pub mod ldap;

use crate::refusal::Refusal;
use keyward_crypto::{Secret, same};
use std::sync::Arc;
use std::time::Duration;

/// Questions one request may ask; more would be a handler that never asks the same twice.
pub const MOST_QUESTIONS: usize = 16;

/// The longest answer that is read, in bytes.
pub const LONGEST_ANSWER: usize = 1024 * 1024;

/// A text that may be a credential: compared in constant time, wiped, never shown.
pub struct Hidden(pub Secret<String>);

impl Hidden {
    /// From plain text.
    pub fn new(text: impl Into<String>) -> Hidden {
        Hidden(Secret::new(text.into()))
    }
}

impl PartialEq for Hidden {
    fn eq(&self, other: &Hidden) -> bool {
        same(self.0.expose().as_bytes(), other.0.expose().as_bytes())
    }
}

impl Eq for Hidden {}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Whose certificates a server is believed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// The machine's own.
    System,
    /// These, in PEM.
    Pem(Arc<str>),
    /// Those mounted into the pod that the authority runs in; the machine's own elsewhere.
    Pod,
}

/// What a request shows in its `Authorization` header.
#[derive(Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    None,
    /// A bearer token (RFC 6750).
    Bearer(Hidden),
    /// A name and a secret (RFC 7617).
    Basic(String, Hidden),
    /// The bearer token mounted into the pod that the authority runs in, read anew when it is renewed; elsewhere
    /// this one.
    PodOr(Hidden),
    /// That token, and nobody elsewhere.
    Pod,
}

/// One HTTP request whose answer is JSON.
#[derive(Debug, PartialEq, Eq)]
pub struct Ask {
    /// `https://...`, or `http://...` where the operator configured that.
    pub url: String,
    /// Whose certificates are believed.
    pub roots: Roots,
    /// Who asks.
    pub credential: Credential,
    /// A body with its media type, which makes the request a POST.
    pub body: Option<(&'static str, Hidden)>,
    /// An answer of success as old as this will do; zero asks anew.
    pub may_be_old: Duration,
    /// Times it is sent again where it was not heard, while there is time.
    pub retries: u8,
}

impl Ask {
    /// A GET of something public.
    pub fn get(url: impl Into<String>, roots: Roots, may_be_old: Duration) -> Ask {
        Ask { url: url.into(), roots, credential: Credential::None, body: None, may_be_old, retries: 0 }
    }
}

/// What came back. Shared with the server's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Arc<[u8]>,
    /// Another number for every body: what is built from a body is kept under it.
    pub version: u64,
}

/// An answer, or why there is none: for the operator, without any secret.
pub type Answer = Result<Reply, String>;

/// What a decision asks of the world outside.
#[derive(Debug, PartialEq, Eq)]
pub enum Question {
    /// By HTTP.
    Http(Ask),
    /// Of a directory.
    Ldap(ldap::Ask),
    /// For milliseconds of computing, where no other request waits for them.
    Leisure,
}

impl Question {
    /// Who is asked.
    pub fn whom(&self) -> String {
        match self {
            Question::Http(ask) => ask.url.clone(),
            Question::Ldap(ask) => ask.server.urls.join(","),
            Question::Leisure => String::new(),
        }
    }
}

/// What the world says to a question of the same kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// By HTTP.
    Http(Answer),
    /// By a directory.
    Ldap(ldap::Answer),
    /// Nobody waits.
    Leisure,
}

/// The answers there are so far.
#[derive(Default)]
pub struct Gathered(Vec<(Arc<Question>, Told)>);

impl Gathered {
    /// The answer to `ask`; fails with the question when it has not been asked.
    pub fn answer(&self, ask: Ask) -> Result<&Answer, Refusal> {
        let found = self.0.iter().find_map(|told| match told {
            (question, Told::Http(answer)) if matches!(&**question, Question::Http(asked) if *asked == ask) => {
                Some(answer)
            }
            _ => None,
        });
        found.ok_or_else(|| Refusal::Lacks(Arc::new(Question::Http(ask))))
    }

    /// What a directory says to `ask`; fails with the question when it has not been asked.
    pub fn ldap(&self, ask: ldap::Ask) -> Result<&ldap::Answer, Refusal> {
        let found = self.0.iter().find_map(|told| match told {
            (question, Told::Ldap(answer)) if matches!(&**question, Question::Ldap(asked) if *asked == ask) => {
                Some(answer)
            }
            _ => None,
        });
        found.ok_or_else(|| Refusal::Lacks(Arc::new(Question::Ldap(ask))))
    }

    /// Makes sure that what follows may take milliseconds; fails with the question when that has not been asked for.
    /// What always takes long has a route that says so (see [`crate::route::Traits`]).
    pub fn leisure(&self) -> Result<(), Refusal> {
        let granted = self.0.iter().any(|(_, told)| *told == Told::Leisure);
        if granted { Ok(()) } else { Err(Refusal::Lacks(Arc::new(Question::Leisure))) }
    }

    /// These and one more.
    pub fn with(&self, question: Arc<Question>, told: Told) -> Result<Gathered, Refusal> {
        if self.0.len() >= MOST_QUESTIONS {
            return Err(Refusal::Internal("a request asked for too much from outside".to_owned()));
        }
        let mut answers = self.0.clone();
        answers.push((question, told));
        Ok(Gathered(answers))
    }
}
