//! How a path below a mount finds its handler: static tables, which also yield help, the OpenAPI description and
//! the warning about unrecognized parameters.

use crate::act::{Done, Undertaking};
use crate::context::Context;
use crate::lease;
use crate::params::Params;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::token::Renew;
use crate::txn::Txn;
use keyward_core::Timestamp;

/// Decides one operation on one path.
pub type Handler = fn(&mut Context<'_, '_>) -> Result<Response, Refusal>;

/// Tells whether the entry a write names is already there, which makes it an update rather than a creation.
pub type Exists = fn(&mut Context<'_, '_>) -> Result<bool, Refusal>;

/// What a parameter is; for descriptions, since [`crate::fields::Fields`] reads weakly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// A boolean.
    Bool,
    /// A duration.
    Duration,
    /// A list of texts.
    List,
    /// A map of texts.
    Pairs,
    /// Any JSON object or list.
    Json,
}

/// One parameter of a route.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in the body or query.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it does.
    pub about: &'static str,
}

/// Shorthand for [`Field`].
pub const fn field(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, about }
}

/// All of `parts` in one list, which has `ALL` fields.
pub const fn joined<const ALL: usize>(parts: &[&[Field]]) -> [Field; ALL] {
    let mut all = [field("", Kind::Text, ""); ALL];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let mut next = 0;
        while next < parts[part].len() {
            all[at] = parts[part][next];
            (at, next) = (at + 1, next + 1);
        }
        part += 1;
    }
    assert!(at == ALL, "ALL is how many fields the parts have together");
    all
}

/// Who may use a route, and what the server must know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// Needs no token: logins and status.
    pub open: bool,
    /// Needs the `sudo` capability too.
    pub sudo: bool,
    /// Takes long on a processor (password hashing, RSA keys): the server runs it aside.
    pub heavy: bool,
    /// Takes any parameters: none is unrecognized.
    pub any_fields: bool,
    /// Answers `HEAD` as it answers `GET`.
    pub head: bool,
}

/// One path of a backend.
pub struct Route {
    /// Segments separated by `/`; `{name}` takes one segment, `{name*}` the rest, which may be empty, up to what
    /// the pattern has behind it, before which it may not be.
    pub pattern: &'static str,
    /// `Update` serves creations too.
    pub operations: &'static [(Operation, Handler)],
    /// Without it every write is an update.
    pub exists: Option<Exists>,
    /// The parameters it knows, those of the pattern excepted.
    pub fields: &'static [Field],
    /// See [`Traits`].
    pub traits: Traits,
    /// One sentence.
    pub help: &'static str,
}

impl Route {
    /// A route with no existence check, no fields and no special traits, to be completed by struct update.
    pub const EMPTY: Route = Route {
        pattern: "",
        operations: &[],
        exists: None,
        fields: &[],
        traits: Traits { open: false, sudo: false, heavy: false, any_fields: false, head: false },
        help: "",
    };

    /// The handler of `operation`; a creation is served as an update.
    pub fn handler(&self, operation: Operation) -> Option<Handler> {
        let wanted = if operation == Operation::Create { Operation::Update } else { operation };
        self.operations.iter().find(|(served, _)| *served == wanted).map(|(_, handler)| *handler)
    }

    /// Matches `path` (relative to the mount) and captures the pattern's parameters.
    pub fn captures(&self, path: &str) -> Option<Params> {
        let mut params = Params::default();
        let mut rest = path;
        let mut end = 0;
        for part in self.pattern.split('/') {
            end += part.len();
            if let Some(name) = part.strip_suffix("*}").and_then(|part| part.strip_prefix('{')) {
                let behind = self.pattern.get(end..).unwrap_or("");
                let taken = match behind {
                    "" => rest,
                    _ => rest.trim_end_matches('/').strip_suffix(behind).filter(|taken| !taken.is_empty())?,
                };
                params.0.push((name, taken.to_owned()));
                return Some(params);
            }
            end += 1;
            let (segment, tail) = rest.split_once('/').unwrap_or((rest, ""));
            match part.strip_suffix('}').and_then(|part| part.strip_prefix('{')) {
                Some(_) if segment.is_empty() => return None,
                Some(name) => params.0.push((name, segment.to_owned())),
                None if part == segment => {}
                None => return None,
            }
            rest = tail;
        }
        rest.is_empty().then_some(params)
    }
}

/// What a mount of one type serves.
pub struct Backend {
    /// The type as `sys/mounts` names it.
    pub kind: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Its paths; the first that matches serves.
    pub routes: &'static [&'static [Route]],
    /// What a token issued by a login here may be renewed for; none where there is no login.
    pub renew: Option<Renew>,
    /// How what it hands out is taken back; none where it has no leases.
    pub leases: Option<lease::Ops>,
    /// What it does outside, leases apart.
    pub journal: Option<Journal>,
}

/// What is to be done outside now, if anything is.
pub type Resumed = Result<Option<Undertaking>, Refusal>;

/// How a backend goes on with what it does outside; see [`crate::act`].
pub struct Journal {
    /// What is to be done about `what` of a mount, given by its uuid, now that its time has come.
    pub due: fn(&mut Txn<'_>, uuid: &str, what: &str, now: Timestamp) -> Resumed,
    /// Records what came of it.
    pub conclude:
        fn(&mut Txn<'_>, uuid: &str, what: &str, done: &Done, now: Timestamp) -> Result<(), Refusal>,
}

impl Backend {
    /// A backend that serves nothing, to be completed by struct update.
    pub const EMPTY: Backend =
        Backend { kind: "", about: "", routes: &[], renew: None, leases: None, journal: None };

    /// The first route that matches and serves `operation`; if none does, the first that matches.
    pub fn find(&self, path: &str, operation: Operation) -> Option<(&'static Route, Params)> {
        // A trailing slash names a directory: `keys/a/` must not be served as `keys/a`, whose policy may differ.
        let directory = path.ends_with('/') && operation != Operation::List;
        let mut first = None;
        for route in self.routes.iter().flat_map(|table| table.iter()) {
            if directory && !route.pattern.ends_with("*}") {
                continue;
            }
            if let Some(params) = route.captures(path) {
                if operation == Operation::Help || route.handler(operation).is_some() {
                    return Some((route, params));
                }
                first = first.or(Some((route, params)));
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_not_the_entry_of_its_name() {
        fn nothing(_: &mut Context<'_, '_>) -> Result<Response, Refusal> {
            Ok(Response::empty())
        }
        const OPERATIONS: &[(Operation, Handler)] = &[(Operation::Read, nothing), (Operation::List, nothing)];
        const ROUTES: &[Route] = &[
            Route { pattern: "keys/{name}", operations: OPERATIONS, ..Route::EMPTY },
            Route { pattern: "data/{path*}", operations: OPERATIONS, ..Route::EMPTY },
        ];
        static TABLES: &[&[Route]] = &[ROUTES];
        let backend = Backend { kind: "test", routes: TABLES, ..Backend::EMPTY };
        assert!(backend.find("keys/a", Operation::Read).is_some());
        assert!(backend.find("keys/a/", Operation::Read).is_none());
        assert!(backend.find("keys/a/", Operation::List).is_some());
        assert!(backend.find("data/a/", Operation::Read).is_some());
    }

    #[test]
    fn patterns_capture() {
        let captured = |pattern: &'static str, path: &str| {
            let params = Route { pattern, ..Route::EMPTY }.captures(path)?;
            Some(
                params
                    .0
                    .into_iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        };
        for (pattern, path, wanted) in [
            ("config", "config", Some("")),
            ("config", "config/", Some("")),
            ("config", "configs", None),
            ("config", "config/x", None),
            ("keys/{name}", "keys/a", Some("name=a")),
            ("keys/{name}", "keys/", None),
            ("keys/{name}/rotate", "keys/a/rotate", Some("name=a")),
            ("keys/{name}/rotate", "keys/a", None),
            ("data/{path*}", "data/a/b/", Some("path=a/b/")),
            ("data/{path*}", "data/", Some("path=")),
            ("data/{path*}", "data", Some("path=")),
            ("{path*}", "a/b", Some("path=a/b")),
            ("mounts/{path*}/tune", "mounts/a/b/tune", Some("path=a/b")),
            ("mounts/{path*}/tune", "mounts/a/tune/tune/", Some("path=a/tune")),
            ("mounts/{path*}/tune", "mounts/tune", None),
            ("mounts/{path*}/tune", "mounts//tune", None),
            ("mounts/{path*}/tune", "mounts/a/b", None),
        ] {
            assert_eq!(captured(pattern, path).as_deref(), wanted, "{pattern} {path}");
        }
    }
}
