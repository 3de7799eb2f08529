//! `kms inspect`: says which key protects what, from the bytes alone. Needs no API server, etcd, plugin or key.

mod bbolt;
mod snapshot;
mod table;
mod value;

pub use snapshot::{
    Checksum, Count, KeyUse, ResourceReport, SnapshotQuery, SnapshotReport, inspect_snapshot,
};
pub use table::{snapshot_table, value_table};
pub use value::{KekReport, Protection, ValueReport, inspect_value};
