//! The second pass over the days on which sales counts are wrong, which reports each wrong count.

use super::Check;
use super::buckets::{CHECK, Day, Expected};
use super::problems::Problems;
use crate::clock::Timestamp;
use crate::store::{Counted, Record, SalesCount};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

/// The largest number of rows that are counted again one by one: some hundred megabytes. Days beyond it are reported
/// as a whole, so that the audit of a store that has lost all its counts ends.
const MAX_ROWS: u64 = 2_000_000;

pub(super) struct Recount {
    expected: Rc<Expected>,
    days: HashSet<Day>,
    left_out: Vec<Day>,
    counts: BTreeMap<(i64, Timestamp, Counted), Counts>,
}

#[derive(Default)]
struct Counts {
    counted: i64,
    expected: i64,
}

impl Recount {
    /// Creates a recount of wrong days, each with its number of rows.
    pub(super) fn of(expected: Rc<Expected>, wrong: &[(Day, u64)]) -> Self {
        let mut recount =
            Self { expected, days: HashSet::new(), left_out: Vec::new(), counts: BTreeMap::new() };
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

    fn counts(&mut self, seconds: i64, start: Timestamp, of: Counted) -> Option<&mut Counts> {
        let is_wrong = self.days.contains(&Day::of(seconds, start));
        is_wrong.then(|| self.counts.entry((seconds, start, of)).or_default())
    }
}

impl Check for Recount {
    fn visit(&mut self, record: &Record, _problems: &mut Problems) {
        match record {
            Record::Order(order) => {
                let expected = Rc::clone(&self.expected);
                expected.each(order, |seconds, start, of, count| {
                    if let Some(counts) = self.counts(seconds, start, of) {
                        counts.expected = counts.expected.saturating_add(count);
                    }
                });
            }
            Record::SalesCount(SalesCount { seconds, start, of, count }) => {
                if let Some(counts) = self.counts(*seconds, *start, *of) {
                    counts.counted = counts.counted.saturating_add(*count);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        for ((seconds, start, of), Counts { counted, expected }) in &self.counts {
            if counted != expected {
                let of = match of {
                    Counted::Units(product) => format!("sales of product {product}"),
                    Counted::Net(product) => format!("money for product {product}"),
                    Counted::Figure(figure) => figure.name().to_owned(),
                };
                let subject = format!("{of} in {seconds} s from {start}");
                let detail = format!("{counted} are counted, and the orders give {expected}");
                problems.add(CHECK, subject, detail);
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
        let mut recount =
            Recount::of(Rc::new(Expected::new(Vec::new())), &[(day(0), MAX_ROWS), (day(1), 1)]);
        let mut problems = Problems::default();
        recount.finish(&mut problems);
        let subjects: Vec<_> = problems.into_list().into_iter().map(|one| one.subject).collect();
        assert_eq!(subjects, ["sales in 60 s on the day from 1970-01-02T00:00:00Z"]);
    }
}
