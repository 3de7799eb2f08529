//! A Kubernetes API server's objects, from outside: read, watched, written, and who may do so.
//!
//! Objects are dynamic: a [`Kind`] says where they are served, and what is in one is JSON. Nothing is decided here
//! but how to stay connected. Every request is bounded in time, and what the server asks to be repeated (429, 503,
//! 504) is repeated by the client below, for reads and writes alike, as often as that allows.

mod access;
mod connect;
mod election;
mod error;
mod events;
mod kind;
mod objects;
mod served;
mod watch;

pub use access::Access;
pub use connect::{Cluster, Source};
pub use election::{Election, Leadership};
pub use error::{Error, Why};
pub use events::{About, Events, Severity};
pub use kind::Kind;
pub use kube::core::{DynamicObject as Object, ObjectMeta as Metadata};
pub use objects::{Dependents, Key, Objects, Pages, Selection};
pub use served::Served;
pub use watch::{Change, Changes};
