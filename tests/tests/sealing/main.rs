//! Sealing as people do it: the real program on files, in a build without a network, and in a real Git repository.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod git;
mod input;
mod pkcs11;
mod plugin;
mod subjects;
mod tour;
mod world;
