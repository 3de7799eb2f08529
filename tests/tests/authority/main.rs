//! The authority as its clients meet it: the real program on a loopback port.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod acme;
mod audit;
mod canary;
mod cert;
mod cli;
mod compatibility;
mod database;
mod faults;
mod go_client;
mod hvac;
mod identity;
mod ldap;
mod library;
mod node_vault;
mod oidc;
mod pki;
mod posture;
mod sealed;
mod ssh;
mod totp;
mod vaultrs;
mod wire;
