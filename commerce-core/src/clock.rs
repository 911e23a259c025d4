//! Time as a value that the caller passes in. Only [`SystemClock`] reads a clock.

use chrono::format::ParseErrorKind;
use chrono::{DateTime, Datelike, NaiveTime, SecondsFormat, Timelike, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// An instant in UTC, to the second, from 1970 to the end of the year 9999.
///
/// ```
/// use commerce_core::Timestamp;
/// let at: Timestamp = "2017-11-24T21:19:19+09:00".parse().unwrap();
/// assert_eq!(at.to_string(), "2017-11-24T12:19:19Z");
/// assert_eq!(at.plus_seconds(60).unix() - at.unix(), 60);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The seconds of a day in UTC.
pub(crate) const DAY_SECONDS: i64 = 24 * 60 * 60;

impl Timestamp {
    /// The earliest instant: 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self(0);
    /// The latest instant: 9999-12-31T23:59:59Z, the last that RFC 3339 can write.
    pub const MAX: Self = Self(253_402_300_799);

    /// The instant that many seconds after 1970, clamped to [`Timestamp::MIN`] and [`Timestamp::MAX`].
    #[must_use]
    pub const fn from_unix(seconds: i64) -> Self {
        match seconds {
            ..0 => Self::MIN,
            seconds if seconds > Self::MAX.0 => Self::MAX,
            seconds => Self(seconds),
        }
    }

    /// Seconds since 1970.
    #[must_use]
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// The instant that many seconds later, or earlier if negative, clamped to the range.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_unix(self.0.saturating_add(seconds))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = DateTime::<Utc>::from_timestamp(self.0, 0).unwrap_or_default();
        f.write_str(&date.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

/// The reason why a text is no [`Timestamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTimestampError {
    /// The text has another form.
    #[error("an instant is written as RFC 3339, like 2026-01-31T12:00:00Z")]
    Form,
    /// The text names a day or a time of day that no calendar has, as 30 February or 25:00.
    #[error("there is no such day or time: check the date, and that the time is below 24:00:00")]
    NotOnCalendar,
    /// The instant is before [`Timestamp::MIN`] or after [`Timestamp::MAX`].
    #[error("an instant lies from {min} to {max}", min = Timestamp::MIN, max = Timestamp::MAX)]
    Range,
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    /// Reads RFC 3339 with any offset. Fractions of a second are cut off, and a leap second counts as the
    /// second before it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = DateTime::parse_from_rfc3339(text).map_err(|error| {
            let off_calendar = [ParseErrorKind::OutOfRange, ParseErrorKind::Impossible];
            let has_form = off_calendar.contains(&error.kind());
            if has_form { ParseTimestampError::NotOnCalendar } else { ParseTimestampError::Form }
        })?;
        if is_leap_second(read.time()) && !may_be_leap_second(read.to_utc()) {
            return Err(ParseTimestampError::NotOnCalendar);
        }
        let seconds = read.timestamp();
        let inside = (Self::MIN.0..=Self::MAX.0).contains(&seconds);
        inside.then_some(Self(seconds)).ok_or(ParseTimestampError::Range)
    }
}

/// Returns true if the second was written as 60, which chrono stores as a fraction of more than a second.
fn is_leap_second(time: NaiveTime) -> bool {
    time.nanosecond() >= 1_000_000_000
}

/// Returns true if a leap second may follow: they have only been inserted at the end of June and of December.
fn may_be_leap_second(at: DateTime<Utc>) -> bool {
    matches!((at.month(), at.day()), (6, 30) | (12, 31))
        && (at.hour(), at.minute(), at.second()) == (23, 59, 59)
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The source of the current instant. An embedding program or a test may implement its own.
pub trait Clock: Send + Sync {
    /// The current instant.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine shows an instant that no [`Timestamp`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the clock of this machine is not between 1970 and 9999: set it first")]
pub struct InvalidClock;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// Checks that a [`Timestamp`] can hold the clock's instant; [`Clock::now`] would return the nearest one that can.
    ///
    /// # Errors
    ///
    /// [`InvalidClock`] when it cannot.
    #[expect(clippy::disallowed_methods, reason = "only this type reads the clock")]
    pub fn check(self) -> Result<(), InvalidClock> {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = elapsed.ok().and_then(|elapsed| i64::try_from(elapsed.as_secs()).ok());
        let is_valid = seconds.is_some_and(|seconds| seconds <= Timestamp::MAX.0);
        is_valid.then_some(()).ok_or(InvalidClock)
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "only this type reads the clock")]
    fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix(i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX))
    }
}

/// A clock that shows one instant until it is set: for tests and simulations.
///
/// ```
/// use commerce_core::{Clock, ManualClock, Timestamp};
/// let clock = ManualClock::new(Timestamp::from_unix(0));
/// clock.set(Timestamp::from_unix(900));
/// assert_eq!(clock.now(), Timestamp::from_unix(900));
/// ```
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.unix()))
    }

    /// Sets the clock, forwards or back.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.unix(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.0.load(Ordering::SeqCst))
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("2026-11-21T00:00:00Z", Some("2026-11-21T00:00:00Z"))]
    #[case("2026-11-21T09:00:00.999+09:00", Some("2026-11-21T00:00:00Z"))]
    #[case("9999-12-31T23:59:59Z", Some("9999-12-31T23:59:59Z"))]
    #[case("1969-12-31T23:59:59Z", None)]
    #[case("9999-12-31T23:59:59-01:00", None)]
    #[case("2026-11-21", None)]
    #[case("yesterday", None)]
    #[case("2016-12-31T23:59:60Z", Some("2016-12-31T23:59:59Z"))]
    #[case("2017-01-01T08:59:60.5+09:00", Some("2016-12-31T23:59:59Z"))]
    #[case("2016-12-31T23:59:60+09:00", None)]
    #[case("2026-11-21T23:59:60Z", None)]
    #[case("2016-12-31T22:59:60Z", None)]
    fn timestamp_parses_rfc_3339_in_range(#[case] text: &str, #[case] written: Option<&str>) {
        let read = text.parse::<Timestamp>().ok().map(|at| at.to_string());
        assert_eq!(read.as_deref(), written);
    }

    #[rstest]
    #[case("1969-12-31T23:59:59Z", ParseTimestampError::Range)]
    #[case("9999-12-31T23:59:59-01:00", ParseTimestampError::Range)]
    #[case("2026-02-29T00:00:00Z", ParseTimestampError::NotOnCalendar)]
    #[case("2026-01-01T24:00:00Z", ParseTimestampError::NotOnCalendar)]
    #[case("2026-13-01T00:00:00Z", ParseTimestampError::NotOnCalendar)]
    #[case("2026-11-21T23:59:60Z", ParseTimestampError::NotOnCalendar)]
    #[case("2026-11-21T12:00:00", ParseTimestampError::Form)]
    #[case("10000-01-01T00:00:00Z", ParseTimestampError::Form)]
    #[case("", ParseTimestampError::Form)]
    fn invalid_timestamp_is_refused_with_its_reason(
        #[case] text: &str,
        #[case] reason: ParseTimestampError,
    ) {
        assert_eq!(text.parse::<Timestamp>(), Err(reason));
    }
}
