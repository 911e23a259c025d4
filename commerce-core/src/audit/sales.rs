//! Best sellers: finds the days on which the counts of units sold are not those of the orders.
//!
//! Every order line is counted once a level, far too many to be held. What orders and counts say of a
//! day is therefore folded into one number that is zero when both say the same; only the days on which
//! it is not are [counted again](super::recount), row by row.

use super::Check;
use super::problems::Problems;
use super::recount::Recount;
use crate::clock::Timestamp;
use crate::id::ProductId;
use crate::model::order::Order;
use crate::store::{Record, SalesCount, SalesLevel};
use std::collections::HashMap;

pub(super) const CHECK: &str = "sales";

const DAY_SECONDS: i64 = 24 * 60 * 60;

pub(super) struct Sales {
    levels: Vec<SalesLevel>,
    days: HashMap<Day, Sum>,
}

/// The buckets of one length that begin on one day.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Day {
    pub(super) seconds: i64,
    pub(super) number: i64,
}

/// What the orders of a day say, less what its counts say.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    fingerprint: u64,
    pub(super) rows: u64,
}

impl Sales {
    pub(super) fn new(levels: Vec<SalesLevel>) -> Self {
        Self { levels, days: HashMap::new() }
    }
}

impl Check for Sales {
    fn see(&mut self, record: &Record, _problems: &mut Problems) {
        match record {
            Record::Order(order) => {
                for (seconds, start) in buckets(order, &self.levels) {
                    let sum = self.days.entry(Day::of(seconds, start)).or_default();
                    for line in &order.lines {
                        sum.add(start, line.product_id, line.quantity);
                    }
                }
            }
            Record::SalesCount(SalesCount { seconds, start, product_id, units }) => {
                let sum = self.days.entry(Day::of(*seconds, *start)).or_default();
                sum.add(*start, *product_id, units.wrapping_neg());
            }
            _ => {}
        }
    }

    fn second_look(&self) -> Option<Box<dyn Check>> {
        let wrong = self.days.iter().filter(|(_, sum)| sum.fingerprint != 0);
        let mut wrong: Vec<_> = wrong.map(|(day, sum)| (*day, sum.rows)).collect();
        wrong.sort_unstable();
        if wrong.is_empty() {
            return None;
        }
        Some(Box::new(Recount::of(self.levels.clone(), &wrong)))
    }
}

/// The buckets that an order counts in: none unless it is paid.
pub(super) fn buckets(
    order: &Order,
    levels: &[SalesLevel],
) -> impl Iterator<Item = (i64, Timestamp)> {
    let paid_at = order.paid_at.filter(|_| order.status.counts_as_sold());
    paid_at.into_iter().flat_map(move |at| {
        // The last instant there is has none after it: a level until then is a level of all sales.
        let counting =
            levels.iter().filter(move |level| at < level.until || level.until == Timestamp::MAX);
        counting.map(move |SalesLevel { seconds, .. }| {
            let inside = at.unix().checked_rem(*seconds).unwrap_or(0);
            (*seconds, at.plus_seconds(inside.saturating_neg()))
        })
    })
}

impl Day {
    pub(super) fn of(seconds: i64, start: Timestamp) -> Self {
        Self { seconds, number: start.unix().div_euclid(DAY_SECONDS) }
    }

    pub(super) fn start(self) -> Timestamp {
        Timestamp::from_unix(self.number.saturating_mul(DAY_SECONDS))
    }
}

impl Sum {
    fn add(&mut self, start: Timestamp, product: ProductId, units: i64) {
        let part = mixed(start, product).wrapping_mul(units.cast_unsigned());
        self.fingerprint = self.fingerprint.wrapping_add(part);
        self.rows = self.rows.saturating_add(1);
    }
}

/// A number for a bucket and product that looks random. It is odd: no count of units but zero makes it
/// vanish, so one wrong row is always found, and several hide each other once in 2^63 times.
fn mixed(start: Timestamp, product: ProductId) -> u64 {
    let start = scattered(start.unix().cast_unsigned());
    scattered(start ^ product.get().cast_unsigned()) | 1
}

/// The finisher of `SplitMix64`.
fn scattered(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number.wrapping_shr(30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number.wrapping_shr(27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number.wrapping_shr(31)
}
