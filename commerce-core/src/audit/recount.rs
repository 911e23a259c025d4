//! The second pass over the days on which best-seller counts are wrong, which reports each wrong count.

use super::Check;
use super::buckets::{CHECK, Day, buckets};
use super::problems::Problems;
use crate::clock::Timestamp;
use crate::id::ProductId;
use crate::store::{Record, SalesCount, SalesLevel};
use std::collections::{BTreeMap, HashSet};

/// The largest number of rows that are counted again one by one: some hundred megabytes. Days beyond it are reported
/// as a whole, so that the audit of a store that has lost all its counts ends.
const MAX_ROWS: u64 = 2_000_000;

pub(super) struct Recount {
    levels: Vec<SalesLevel>,
    days: HashSet<Day>,
    left_out: Vec<Day>,
    units: BTreeMap<(i64, Timestamp, ProductId), Units>,
}

#[derive(Default)]
struct Units {
    counted: i64,
    sold: i64,
}

impl Recount {
    /// Creates a recount of wrong days, each with its number of rows.
    pub(super) fn of(levels: Vec<SalesLevel>, wrong: &[(Day, u64)]) -> Self {
        let mut recount =
            Self { levels, days: HashSet::new(), left_out: Vec::new(), units: BTreeMap::new() };
        let mut room = MAX_ROWS;
        for &(day, rows) in wrong {
            match room.checked_sub(rows) {
                Some(rest) => {
                    room = rest;
                    recount.days.insert(day);
                }
                None => recount.left_out.push(day),
            }
        }
        recount
    }

    fn units(&mut self, seconds: i64, start: Timestamp, product: ProductId) -> Option<&mut Units> {
        let is_wrong = self.days.contains(&Day::of(seconds, start));
        is_wrong.then(|| self.units.entry((seconds, start, product)).or_default())
    }
}

impl Check for Recount {
    fn visit(&mut self, record: &Record, _problems: &mut Problems) {
        match record {
            Record::Order(order) => {
                let buckets: Vec<_> = buckets(order, &self.levels).collect();
                for (seconds, start) in buckets {
                    for line in &order.lines {
                        if let Some(units) = self.units(seconds, start, line.product_id) {
                            units.sold = units.sold.saturating_add(line.quantity);
                        }
                    }
                }
            }
            Record::SalesCount(SalesCount { seconds, start, product_id, units: more }) => {
                if let Some(units) = self.units(*seconds, *start, *product_id) {
                    units.counted = units.counted.saturating_add(*more);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        for ((seconds, start, product), Units { counted, sold }) in &self.units {
            if counted != sold {
                let subject = format!("sales of product {product} in {seconds} s from {start}");
                problems.add(CHECK, subject, format!("{counted} are counted and {sold} were sold"));
            }
        }
        for day in &self.left_out {
            let subject = format!("sales in {} s on the day from {}", day.seconds, day.start());
            let detail =
                "the counts are not those of the orders; too many are wrong to report each";
            problems.add(CHECK, subject, detail.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_beyond_the_row_limit_are_reported_as_a_whole() {
        let day = |number| Day { seconds: 60, number };
        let mut recount = Recount::of(Vec::new(), &[(day(0), MAX_ROWS), (day(1), 1)]);
        let mut problems = Problems::default();
        recount.finish(&mut problems);
        let subjects: Vec<_> = problems.into_list().into_iter().map(|one| one.subject).collect();
        assert_eq!(subjects, ["sales in 60 s on the day from 1970-01-02T00:00:00Z"]);
    }
}
