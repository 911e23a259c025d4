//! The window of a report: `(from, to]`, in whole seconds.

use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::limits::MAX_WINDOW_DAYS;
use crate::zone::{Period, Zone};
use serde::{Deserialize, Serialize};

/// The largest number of buckets of a report: a year of days, and 41 days of hours.
pub(crate) const MAX_BUCKETS: usize = 1_000;

/// A window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// From right after one instant to another one.
    Between {
        /// The instant right before the window.
        from: Timestamp,
        /// The last second of the window. Default: now.
        to: Option<Timestamp>,
    },
    /// Whole local days, and the last one up to an instant.
    Days {
        /// The number of days, 1 to [`MAX_WINDOW_DAYS`].
        days: i64,
        /// The last second of the window. Default: now.
        to: Option<Timestamp>,
    },
}

/// The last seven local days.
impl Default for Window {
    fn default() -> Self {
        Self::Days { days: 7, to: None }
    }
}

/// A window that another one is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// The one right before: as many local days earlier for [`Window::Days`], or else as many seconds.
    Previous,
    /// The same local times a week earlier.
    LastWeek,
    /// The same local times a year earlier.
    LastYear,
}

/// The instant right before a window, and its last second.
pub(super) type Edges = (Timestamp, Timestamp);

impl Window {
    pub(super) fn edges(self, zone: Zone, now: Timestamp) -> Result<Edges, Refusal> {
        match self {
            Self::Between { from, to } => {
                let to = to.unwrap_or(now);
                if from < to {
                    return Ok((from, to));
                }
                let detail = format!("from is {from} and must be before to, which is {to}");
                Err(Refusal::invalid("/from", detail))
            }
            Self::Days { days, to } => {
                check_days(days)?;
                let to = to.unwrap_or(now);
                let first = zone.plus_days(zone.start_of_day(to), 1_i64.saturating_sub(days));
                Ok((zone.start_of_day(first).plus_seconds(-1), to))
            }
        }
    }

    pub(super) fn compared(self, (from, to): Edges, zone: Zone, compare: Compare) -> Edges {
        // The edges are the last seconds of what they end, which belong to the day that ends.
        let by_days = |days| (shift_days(zone, from, days), shift_days(zone, to, days));
        match (compare, self) {
            (Compare::Previous, Self::Days { days, .. }) => by_days(days.saturating_neg()),
            (Compare::Previous, Self::Between { .. }) => {
                let length = from.unix().saturating_sub(to.unix());
                (from.plus_seconds(length), from)
            }
            (Compare::LastWeek, _) => by_days(-7),
            (Compare::LastYear, _) => (shift_year(zone, from), shift_year(zone, to)),
        }
    }
}

pub(super) fn check_days(days: i64) -> Result<(), Refusal> {
    if (1..=MAX_WINDOW_DAYS).contains(&days) {
        return Ok(());
    }
    let detail = format!("days is {days} and must be from 1 to {MAX_WINDOW_DAYS}");
    Err(Refusal::invalid("/days", detail))
}

/// Moves the second after an edge, with which a day begins, so that days of another length stay whole.
fn shift_days(zone: Zone, edge: Timestamp, days: i64) -> Timestamp {
    zone.plus_days(edge.plus_seconds(1), days).plus_seconds(-1)
}

fn shift_year(zone: Zone, edge: Timestamp) -> Timestamp {
    zone.a_year_before(edge.plus_seconds(1)).plus_seconds(-1)
}

/// Returns the edges of the periods in a window: its own, and between them the last second of each period.
pub(super) fn buckets(
    (from, to): Edges,
    zone: Zone,
    period: Period,
) -> Result<Vec<Timestamp>, Refusal> {
    let mut edges = vec![from];
    let mut start = from.plus_seconds(1);
    loop {
        start = zone.next_period(start, period);
        let edge = start.plus_seconds(-1);
        if edge >= to {
            break;
        }
        if edges.len() >= MAX_BUCKETS {
            let detail = format!(
                "the window has more than {MAX_BUCKETS} of these periods: ask for longer ones, or for a shorter window"
            );
            return Err(Refusal::invalid("/by", detail));
        }
        if edges.last().is_some_and(|last| *last < edge) {
            edges.push(edge);
        }
    }
    edges.push(to);
    Ok(edges)
}
