//! The authority over HTTP and TLS, with its audit devices.
//!
//! [`node`] is a request's way through the pure authority, the audit devices and the store; [`http`] and
//! [`front`] are the wire; [`listener`] has the sockets.

pub mod acts;
mod alarm;
pub mod audit;
pub mod clock;
mod company;
pub mod config;
pub mod front;
pub mod http;
mod ids;
pub mod lanes;
pub mod listener;
pub mod log;
mod made;
pub mod node;
mod outside;
pub mod reply;
pub mod server;
