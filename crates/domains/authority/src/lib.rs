//! The runtime authority as pure functions of (snapshot, request, now).
//!
//! Nothing here knows a clock, a file, a socket or a thread: a server gathers a snapshot of the store and a
//! request, asks [`authority::Authority`], commits the batch it yields and performs the few effects it names.
//!
//! Where to find things: [`authority`] is a request's way; [`route`] and [`context`] are what an engine is
//! written against; [`engines`] holds one module per thing that can be mounted; [`txn`], [`barrier`] and [`memo`]
//! stand between handlers and the store; [`seal`] brings the root key into being and back.

pub mod act;
pub mod audit;
pub mod authority;
mod barcode;
pub mod barrier;
pub mod cidr;
pub mod context;
pub mod cubbyhole;
pub mod engines;
pub mod expiry;
pub mod fields;
mod glob;
pub mod hcl;
pub mod help;
pub mod identity;
pub mod jobs;
pub mod jws;
pub mod jwt;
mod kubernetes;
pub mod lease;
pub mod lockout;
pub mod memo;
pub mod mounts;
mod name_template;
pub mod nonces;
pub mod otpauth;
pub mod outside;
pub mod params;
pub mod password_policy;
pub mod policies;
pub mod policy;
pub mod posture;
pub mod problem;
pub mod refusal;
pub mod request;
pub mod response;
pub mod rotation;
pub mod route;
pub mod seal;
pub mod settings;
#[cfg(test)]
mod testing;
pub mod token;
pub mod txn;
pub mod work;
pub mod wrapping;
