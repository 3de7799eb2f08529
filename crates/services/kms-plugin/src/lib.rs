//! The Kubernetes KMS v2 plugin: encrypts what a kube-apiserver writes to etcd, with a key that stays elsewhere.
//!
//! # How keys hang together
//! The API server seals every object under a key derived from a *seed*. It hands the seed to us; we seal it under
//! a *local key*, made here and held in memory only, and a *provider* ([`keyward_keystores`]) wraps that local
//! key. The wrapped local key rides in an annotation of every object. So the provider is asked at the start, on a
//! rotation, for a key seen for the first time, and once per check; never per request.
//!
//! # Rotation
//! The identifier the API server knows (`key_id`) follows from the cluster, the provider's key and version, and
//! the operator's epoch. A new version or epoch is found by the next check, and makes a new local key and a new
//! identifier, which is promoted once the provider has given the key back and it is written down. No identifier
//! is ever used for another key, and a provider that goes back to an earlier version does not take us along.
//!
//! # What stops writes
//! A provider that refuses makes `Status` fail at once, one that is silent after `max_staleness`; the API server
//! then writes for 3 minutes more, and no longer. Nothing a plugin does stops reads that the API server has
//! cached (24 h).

mod broker;
mod client;
pub mod doctor;
mod envelope;
mod error;
mod harden;
pub mod inspect;
mod key_id;
mod refusal;
mod registry;
mod serve;
mod service;
mod socket;

/// The wire formats: the plugin contract, and what lies in etcd.
mod proto {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
    pub(crate) mod v2 {
        tonic::include_proto!("v2");
    }
    pub(crate) mod stored {
        tonic::include_proto!("stored");
    }
}

pub use client::{PluginClient, PluginError, PluginStatus, SealedSeed};
pub use envelope::{ANNOTATION, LONGEST_ANNOTATIONS, LONGEST_CIPHERTEXT, LONGEST_SEED, WrappedKek};
pub use error::ServeError;
pub use key_id::key_id;
pub use keyward_log::LogLevel;
pub use registry::request_epoch;
pub use serve::{Options, ProviderOptions, run, serve};
pub use socket::socket_path;
