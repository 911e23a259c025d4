//! The list of what is wrong, kept short enough to be read and to be held.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Display;

/// How many problems of one check are named. Whoever mends a store needs the first few; a table that
/// was lost as a whole must not fill the memory with millions of the same.
const MAX_NAMED: u64 = 10_000;

/// One row that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The check that found it.
    pub check: &'static str,
    /// The row, as in `order 17`.
    pub subject: String,
    /// What it is and what it should be.
    pub detail: String,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    named: Vec<Problem>,
    counts: BTreeMap<&'static str, u64>,
}

impl Problems {
    pub(super) fn add(&mut self, check: &'static str, subject: String, detail: String) {
        let count = self.counts.entry(check).or_default();
        *count = count.saturating_add(1);
        if *count <= MAX_NAMED {
            self.named.push(Problem { check, subject, detail });
        }
    }

    pub(super) fn into_list(mut self) -> Vec<Problem> {
        for (check, count) in self.counts {
            let more = count.saturating_sub(MAX_NAMED);
            if more > 0 {
                let (subject, detail) = ("store".to_owned(), format!("{more} more were found"));
                self.named.push(Problem { check, subject, detail });
            }
        }
        self.named
    }
}

/// A value that may be absent, as details write it.
pub(super) fn shown(value: Option<impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_problems_are_counted() {
        let mut problems = Problems::default();
        for number in 0..MAX_NAMED + 7 {
            problems.add("stock", format!("product {number}"), String::new());
        }
        let list = problems.into_list();
        assert_eq!(list.len(), 10_001);
        assert_eq!(list.last().unwrap().detail, "7 more were found");
    }
}
