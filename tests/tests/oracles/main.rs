//! Our readers against the ones whose formats they read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod age;
mod hcl;
#[cfg(target_os = "linux")]
mod images;
