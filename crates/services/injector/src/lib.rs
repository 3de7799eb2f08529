//! The mutating webhook that gives pods what their annotations ask for: `POST /inject`.
//!
//! It holds no secret and asks for none; what it decides is decided in `keyward-consumption`. It does nothing outside of its
//! answer (`sideEffects: None`), so a dry run is answered as any other request. Pods that ask for nothing never come here: the
//! webhook's configuration has a match condition.

mod bundle;
mod handler;
mod serve;

pub use serve::{InjectorError, Options, Shown, run};
