//! Sales: the counts of the roll-up agree with the orders, and over all time with the ledger.
//!
//! Every order counts some dozen times for each roll-up level, which is far too much to hold in memory. Therefore the
//! orders and the counts of a day are folded into one number, which is zero if they agree. Only the days with another
//! number are [counted again](super::recount), row by row.

use super::Check;
use super::buckets::{CHECK, Day, Expected};
use super::problems::Problems;
use super::recount::Recount;
use crate::clock::Timestamp;
use crate::model::sale::{Figure, Figures};
use crate::store::{Counted, Record, SalesCount, SalesLevel};
use std::collections::HashMap;
use std::rc::Rc;

pub(super) struct Sales {
    expected: Rc<Expected>,
    days: HashMap<Day, Sum>,
    /// The figures of all time.
    all: Figures,
    /// Payments of orders less refunds, by the ledger.
    paid: i64,
}

/// The orders of a day less its counts.
#[derive(Clone, Copy, Default)]
struct Sum {
    fingerprint: u64,
    rows: u64,
}

impl Sales {
    pub(super) fn new(levels: Vec<SalesLevel>) -> Self {
        let expected = Rc::new(Expected::new(levels));
        Self { expected, days: HashMap::new(), all: Figures::default(), paid: 0 }
    }

    fn add(&mut self, seconds: i64, start: Timestamp, of: Counted, count: i64) {
        self.days.entry(Day::of(seconds, start)).or_default().add(start, of, count);
    }

    /// Checks that both bases agree over all time, and with the ledger.
    fn check_law(&self, problems: &mut Problems) {
        let sum = |of: &[(Figure, i64)]| {
            let parts = of.iter().map(|(figure, sign)| self.all.get(*figure).saturating_mul(*sign));
            parts.fold(0_i64, i64::saturating_add)
        };
        let gross = [(Figure::Gross, 1), (Figure::Discounts, -1)];
        let refunds = [(Figure::Refunds, -1)];
        let void = [(Figure::VoidGross, -1), (Figure::VoidDiscounts, 1)];
        let booked = sum(&[gross.as_slice(), &refunds].concat());
        let standing = sum(&[gross.as_slice(), &void].concat());
        if booked != standing || booked != self.paid {
            let detail = format!(
                "{booked} were sold less refunds, {standing} without cancelled orders, and the ledger has {} of \
                 payments less refunds",
                self.paid
            );
            problems.add(CHECK, "sales of all time".to_owned(), detail);
        }
    }
}

impl Check for Sales {
    fn visit(&mut self, record: &Record, _problems: &mut Problems) {
        match record {
            Record::Account(_) => {
                // The second pass shares the expected counts only after the first one.
                if let Some(expected) = Rc::get_mut(&mut self.expected) {
                    expected.note(record);
                }
            }
            Record::Order(order) => {
                let expected = Rc::clone(&self.expected);
                expected
                    .each(order, |seconds, start, of, count| self.add(seconds, start, of, count));
            }
            Record::LedgerEntry(entry) => {
                let paid = entry.as_payment().map_or(0, |_| entry.amount.minor());
                self.paid = self.paid.saturating_sub(paid);
            }
            Record::SalesCount(SalesCount { seconds, start, of, count }) => {
                self.add(*seconds, *start, *of, count.wrapping_neg());
                if let (1, Counted::Figure(figure)) = (seconds, of) {
                    self.all.add(*figure, *count);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        self.check_law(problems);
    }

    fn second_pass(&self) -> Option<Box<dyn Check>> {
        let wrong = self.days.iter().filter(|(_, sum)| sum.fingerprint != 0);
        let mut wrong: Vec<_> = wrong.map(|(day, sum)| (*day, sum.rows)).collect();
        wrong.sort_unstable();
        if wrong.is_empty() {
            return None;
        }
        Some(Box::new(Recount::of(Rc::clone(&self.expected), &wrong)))
    }
}

impl Sum {
    fn add(&mut self, start: Timestamp, of: Counted, count: i64) {
        let part = weight(start, of).wrapping_mul(count.cast_unsigned());
        self.fingerprint = self.fingerprint.wrapping_add(part);
        self.rows = self.rows.saturating_add(1);
    }
}

/// A pseudo-random odd number for a bucket and quantity. Since it is odd, only a count of zero gives a product of zero:
/// one wrong count is always found, and several cancel each other once in 2^63 times.
fn weight(start: Timestamp, of: Counted) -> u64 {
    let start = split_mix(start.unix().cast_unsigned());
    // The kind in the lowest bits.
    let of = match of {
        Counted::Units(product) => product.get().cast_unsigned().wrapping_mul(4),
        Counted::Net(product) => product.get().cast_unsigned().wrapping_mul(4) | 1,
        Counted::Figure(figure) => u64::try_from(figure.number()).unwrap_or(0).wrapping_mul(4) | 2,
    };
    split_mix(start ^ of) | 1
}

/// The finisher of `SplitMix64`.
fn split_mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number.wrapping_shr(30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number.wrapping_shr(27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number.wrapping_shr(31)
}
