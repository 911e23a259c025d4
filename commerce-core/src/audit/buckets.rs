//! The buckets of the sales roll-up, grouped by day.

use crate::clock::{DAY_SECONDS, Timestamp};
use crate::id::OrderId;
use crate::model::order::Order;
use crate::model::sale::Sale;
use crate::store::{Counted, Record, SalesLevel};
use std::collections::HashSet;

/// The name of the check of sales counts.
pub(super) const CHECK: &str = "sales";

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

/// The counts that follow from orders: what each one adds to which bucket.
pub(super) struct Expected {
    levels: Vec<SalesLevel>,
    first_orders: HashSet<OrderId>,
}

impl Expected {
    pub(super) fn new(levels: Vec<SalesLevel>) -> Self {
        Self { levels, first_orders: HashSet::new() }
    }

    /// Notes the first order of a customer.
    pub(super) fn note(&mut self, record: &Record) {
        if let Record::Account(account) = record {
            self.first_orders.extend(account.first_order.map(|first| first.order_id));
        }
    }

    /// Passes each count of an order to `add`, with the length and the start of its bucket.
    pub(super) fn each(&self, order: &Order, mut add: impl FnMut(i64, Timestamp, Counted, i64)) {
        for sale in Sale::all_of(order, self.first_orders.contains(&order.id)) {
            for level in &self.levels {
                // No instant follows the last one: a level with that watermark holds all sales.
                if sale.at >= level.until && level.until != Timestamp::MAX {
                    continue;
                }
                let inside = sale.at.unix().checked_rem(level.seconds).unwrap_or(0);
                let start = sale.at.plus_seconds(inside.saturating_neg());
                for (of, count) in sale.counts().filter(|(of, _)| level.counts(*of)) {
                    add(level.seconds, start, of, count);
                }
            }
        }
    }
}

impl SalesLevel {
    fn counts(&self, of: Counted) -> bool {
        match of {
            Counted::Units(_) | Counted::Net(_) => self.has_products,
            Counted::Figure(_) => self.has_totals,
        }
    }
}
