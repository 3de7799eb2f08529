//! Moments on the wire: RFC 3339 in UTC, to the second.

use std::fmt;
use std::str::FromStr;

use keyward_core::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Invalid, invalid};

/// A moment, as Kubernetes writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Timestamp);

impl Moment {
    /// The second that `at` is in.
    pub const fn of(at: Timestamp) -> Moment {
        Moment(Timestamp::from_secs(at.secs()))
    }

    /// As a time.
    pub const fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Moment {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Moment, Invalid> {
        match Timestamp::parse_rfc3339(text) {
            Some(at) => Ok(Moment::of(at)),
            None => invalid("a time is written like 2027-01-31T00:00:00Z"),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
