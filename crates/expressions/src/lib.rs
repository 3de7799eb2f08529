//! The Common Expression Language, metered, over JSON as it is; and what expressions of Kubernetes work on: quantities,
//! versions, durations, image references, certificates; and conditions, where they are written. Pure: time and randomness are handed in ([`World`]), and what lies outside
//! is asked of who evaluates ([`cel::Host`]).

pub mod cel;
pub mod condition;
pub mod crypt;
pub mod duration;
pub mod image;
pub mod json;
pub mod meter;
pub mod nearest;
pub mod pem;
pub mod quantity;
pub mod version;

use meter::Meter;

/// The time, randomness and budget of an evaluation.
#[derive(Debug)]
pub struct World {
    /// Nanoseconds since 1970.
    pub now: i128,
    /// Where random bytes begin.
    pub seed: std::cell::Cell<u64>,
    /// What it may cost.
    pub meter: Meter,
}
