//! Best sellers: the counts of units sold in the roll-ups agree with the orders.
//!
//! Every order line counts once for each roll-up level, which is far too much to hold in memory. Therefore the orders
//! and the counts of a day are folded into one number, which is zero if they agree. Only the days with another number
//! are [counted again](super::recount), row by row.

use super::Check;
use super::buckets::{Day, buckets};
use super::problems::Problems;
use super::recount::Recount;
use crate::clock::Timestamp;
use crate::id::ProductId;
use crate::store::{Record, SalesCount, SalesLevel};
use std::collections::HashMap;

pub(super) struct Sales {
    levels: Vec<SalesLevel>,
    days: HashMap<Day, Sum>,
}

/// The orders of a day less its counts.
#[derive(Clone, Copy, Default)]
struct Sum {
    fingerprint: u64,
    rows: u64,
}

impl Sales {
    pub(super) fn new(levels: Vec<SalesLevel>) -> Self {
        Self { levels, days: HashMap::new() }
    }
}

impl Check for Sales {
    fn visit(&mut self, record: &Record, _problems: &mut Problems) {
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

    fn second_pass(&self) -> Option<Box<dyn Check>> {
        let wrong = self.days.iter().filter(|(_, sum)| sum.fingerprint != 0);
        let mut wrong: Vec<_> = wrong.map(|(day, sum)| (*day, sum.rows)).collect();
        wrong.sort_unstable();
        if wrong.is_empty() {
            return None;
        }
        Some(Box::new(Recount::of(self.levels.clone(), &wrong)))
    }
}

impl Sum {
    fn add(&mut self, start: Timestamp, product: ProductId, units: i64) {
        let part = weight(start, product).wrapping_mul(units.cast_unsigned());
        self.fingerprint = self.fingerprint.wrapping_add(part);
        self.rows = self.rows.saturating_add(1);
    }
}

/// A pseudo-random odd number for a bucket and product. Since it is odd, only zero units give a product of zero: one
/// wrong row is always found, and several cancel each other once in 2^63 times.
fn weight(start: Timestamp, product: ProductId) -> u64 {
    let start = split_mix(start.unix().cast_unsigned());
    split_mix(start ^ product.get().cast_unsigned()) | 1
}

/// The finisher of `SplitMix64`.
fn split_mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number.wrapping_shr(30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number.wrapping_shr(27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number.wrapping_shr(31)
}
