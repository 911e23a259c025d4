//! The list of problems, bounded so that it can be read and fits into memory.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Display;

/// The largest number of problems that are listed for one check. A repair needs the first few; a table that was lost as
/// a whole must not fill the memory with millions of the same problem.
const MAX_LISTED: u64 = 10_000;

/// A row that violates an invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// The name of the check.
    pub check: &'static str,
    /// The row, as in `order 17`.
    pub subject: String,
    /// The value that the row has and the one that it should have.
    pub detail: String,
}

/// The problems so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    listed: Vec<Problem>,
    counts: BTreeMap<&'static str, u64>,
}

impl Problems {
    pub(super) fn add(&mut self, check: &'static str, subject: String, detail: String) {
        let count = self.counts.entry(check).or_default();
        *count = count.saturating_add(1);
        if *count <= MAX_LISTED {
            self.listed.push(Problem { check, subject, detail });
        }
    }

    pub(super) fn into_list(mut self) -> Vec<Problem> {
        for (check, count) in self.counts {
            let more = count.saturating_sub(MAX_LISTED);
            if more > 0 {
                let (subject, detail) = ("store".to_owned(), format!("{more} more were found"));
                self.listed.push(Problem { check, subject, detail });
            }
        }
        self.listed
    }
}

/// The text of an optional value in a detail: the value, or `none`.
pub(super) fn or_none(value: Option<impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_beyond_the_limit_are_counted() {
        let mut problems = Problems::default();
        for number in 0..MAX_LISTED + 7 {
            problems.add("stock", format!("product {number}"), String::new());
        }
        let list = problems.into_list();
        assert_eq!(list.len(), 10_001);
        assert_eq!(list.last().unwrap().detail, "7 more were found");
    }
}
