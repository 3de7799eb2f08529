//! Tests against a real Kubernetes.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod cluster;
mod controllers;
mod delivery;
mod install;
mod kms;
mod login;
mod nodes;
mod objects;
mod page;
mod pod;
mod policy;
mod posture;
mod rebuild;
mod sealed;
mod subjects;
mod tokens;
mod tour;
mod workload;
