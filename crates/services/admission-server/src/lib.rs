//! The I/O face of admission in a cluster: what `keyward policy serve` runs.
//!
//! [`serve`] starts everything. `sources` watches policies and compiles those that change into a [`policies::Set`], which every
//! review reads without a lock. `review` answers the API server; what a decision lacks `world` finds out, and `outside` answers; what
//! takes long `computing` does apart.
//! `webhooks` says what the API server is to ask, and `configurations` keeps it that way, with `heartbeat` telling which replicas
//! are alive. `scan` looks at what is there already, `images` asks registries, `report` writes what changed of it, `compliance`
//! shows it to people, and `posture` tells the authority. `background` makes, changes and removes objects as policies say.
//! [`listing`] reads policies and reports once, and [`Outside`] answers the policies that a command applies.

mod background;
mod catalog;
mod compliance;
mod computing;
mod configurations;
mod events;
mod heartbeat;
pub mod images;
pub mod listing;
mod log;
mod metrics;
mod mirror;
mod outside;
mod patch;
pub mod policies;
pub mod posture;
mod reach;
mod report;
mod results;
mod review;
mod scan;
mod serve;
mod sources;
mod statuses;
mod verdict;
pub mod webhooks;
mod world;

pub use catalog::Catalog;
pub use configurations::release;
pub use keyward_kubernetes::{Cluster, Error, Source};
pub use keyward_webhook::{Clients, Lives, TlsFiles};
pub use outside::Outside;
pub use reach::within;
pub use report::Dialect;
pub use serve::{Failure, Options, serve};
