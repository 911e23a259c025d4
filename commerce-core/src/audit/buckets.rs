//! The buckets of the best-seller roll-ups, grouped by day.

use crate::clock::Timestamp;
use crate::model::order::Order;
use crate::store::SalesLevel;

/// The name of the check of best-seller counts.
pub(super) const CHECK: &str = "sales";

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The buckets of one length that begin on one day.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Day {
    pub(super) seconds: i64,
    pub(super) number: i64,
}

impl Day {
    pub(super) fn of(seconds: i64, start: Timestamp) -> Self {
        Self { seconds, number: start.unix().div_euclid(DAY_SECONDS) }
    }

    pub(super) fn start(self) -> Timestamp {
        Timestamp::from_unix(self.number.saturating_mul(DAY_SECONDS))
    }
}

/// The buckets in which an order counts: none unless it is paid.
pub(super) fn buckets(
    order: &Order,
    levels: &[SalesLevel],
) -> impl Iterator<Item = (i64, Timestamp)> {
    let paid_at = order.paid_at.filter(|_| order.status.counts_as_sold());
    paid_at.into_iter().flat_map(move |at| {
        // No instant follows the last one: a level with that watermark holds all sales.
        let counting =
            levels.iter().filter(move |level| at < level.until || level.until == Timestamp::MAX);
        counting.map(move |SalesLevel { seconds, .. }| {
            let inside = at.unix().checked_rem(*seconds).unwrap_or(0);
            (*seconds, at.plus_seconds(inside.saturating_neg()))
        })
    })
}
