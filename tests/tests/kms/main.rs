//! The KMS plugin as an API server meets it: the real program, the real authority, the API server's own code.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod apiserver;
mod inspect;
mod process;
mod provider;
