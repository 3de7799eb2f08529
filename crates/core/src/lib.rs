//! The vocabulary every other crate shares: time, durations, schedules, randomness, and the transaction as a value.
//!
//! Nothing in this crate can hold a plaintext: values here are opaque bytes that the barrier has already
//! encrypted, and names that are not secret.

pub mod duration;
pub mod random;
pub mod schedule;
pub mod time;
pub mod transaction;

pub use duration::{DurationError, parse_duration};
pub use random::Random;
pub use schedule::{BadSchedule, Schedule};
pub use time::{Clock, Timestamp};
pub use transaction::{Batch, BatchId, Each, Entry, Fault, Key, LIMITS, Limits, Rev, View, Want};
