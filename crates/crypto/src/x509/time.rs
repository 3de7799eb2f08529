//! Times in whole seconds since 1970, as certificates have them.

use std::time::Duration;

use der::DateTime;
use der::asn1::{GeneralizedTime, UtcTime};
use x509_cert::time::Time;

use super::Error;

/// 9999-12-31T23:59:59Z: what RFC 5280, 4.1.2.5 writes for a certificate that does not expire.
pub const NEVER: u64 = 253_402_300_799;

const OUT_OF_RANGE: Error = Error::Value("a time is before 1970 or after 9999");

fn date(seconds: u64) -> Result<DateTime, Error> {
    DateTime::from_unix_duration(Duration::from_secs(seconds)).map_err(|_| OUT_OF_RANGE)
}

/// As certificates and lists have it: two digits of the year until 2049, four after.
pub(super) fn encode(seconds: u64) -> Result<Time, Error> {
    let date = date(seconds)?;
    Ok(match UtcTime::from_date_time(date) {
        Ok(time) => Time::UtcTime(time),
        Err(_) => Time::GeneralTime(GeneralizedTime::from_date_time(date)),
    })
}

/// As OCSP has it.
pub(super) fn generalized(seconds: u64) -> Result<GeneralizedTime, Error> {
    date(seconds).map(GeneralizedTime::from_date_time)
}

/// Reads `YYYY-MM-DDTHH:MM:SSZ`, up to the year 9999.
pub fn parse_time(text: &str) -> Option<u64> {
    text.parse::<DateTime>().ok().map(|date| date.unix_duration().as_secs())
}
