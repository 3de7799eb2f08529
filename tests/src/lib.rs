//! End-to-end tests against real components: what their binaries share.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "everything here is called by tests, which fail by panicking"
)]

pub mod binary;
pub mod canary;
#[cfg(target_os = "linux")]
pub mod databases;
#[cfg(target_os = "linux")]
pub mod devices;
pub mod http;
#[cfg(target_os = "linux")]
pub mod images;
#[cfg(target_os = "linux")]
pub mod kms;
pub mod sealed;
pub mod server;
#[cfg(target_os = "linux")]
pub mod shell;
