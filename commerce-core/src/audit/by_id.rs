//! A map from the ids of a table to facts about its rows, in little more memory than the facts themselves.
//!
//! Ids are assigned consecutively, so a table is a few runs of ids without a gap, and the index of a row follows from
//! its id.

use crate::id::{
    ChargeId, CouponId, CustomerId, EventId, LedgerEntryId, OrderId, OwnedCouponId, ProductId,
    RefundId, TokenId,
};
use std::marker::PhantomData;

/// An id that converts to a number and back.
pub(super) trait RowId: Copy + From<i64> {
    fn number(self) -> i64;
}

macro_rules! row_ids {
    ($($id:ident)+) => {$(
        impl RowId for $id {
            fn number(self) -> i64 {
                self.get()
            }
        }
    )+};
}

row_ids! { ChargeId CouponId CustomerId EventId LedgerEntryId OrderId OwnedCouponId ProductId RefundId TokenId }

/// A map from ids to facts.
pub(super) struct ById<I, T> {
    runs: Vec<Run>,
    facts: Vec<T>,
    last: Option<i64>,
    id: PhantomData<I>,
}

/// A run of consecutive ids: the first one, and the index of its fact.
struct Run {
    first: i64,
    index: usize,
}

impl<I, T> Default for ById<I, T> {
    fn default() -> Self {
        Self { runs: Vec::new(), facts: Vec::new(), last: None, id: PhantomData }
    }
}

impl<I: RowId, T> ById<I, T> {
    /// Adds a row. Rows come in the order of their ids; a row out of order is ignored, so that rows that refer to it are
    /// reported.
    pub(super) fn push(&mut self, id: I, fact: T) {
        let id = id.number();
        if self.last.is_some_and(|last| last >= id) {
            return;
        }
        if self.last.and_then(|last| last.checked_add(1)) != Some(id) {
            self.runs.push(Run { first: id, index: self.facts.len() });
        }
        self.facts.push(fact);
        self.last = Some(id);
    }

    pub(super) fn has(&self, id: I) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn get(&self, id: I) -> Option<&T> {
        self.facts.get(self.index(id)?)
    }

    pub(super) fn get_mut(&mut self, id: I) -> Option<&mut T> {
        let index = self.index(id)?;
        self.facts.get_mut(index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        let ends = self.runs.iter().skip(1).map(|run| run.index).chain([self.facts.len()]);
        self.runs.iter().zip(ends).flat_map(|(run, end)| {
            let facts = self.facts.get(run.index..end).unwrap_or_default();
            (run.first..=i64::MAX).map(I::from).zip(facts)
        })
    }

    fn index(&self, id: I) -> Option<usize> {
        let id = id.number();
        let next = self.runs.partition_point(|run| run.first <= id);
        let run = self.runs.get(next.checked_sub(1)?)?;
        let end = self.runs.get(next).map_or(self.facts.len(), |run| run.index);
        let distance = usize::try_from(id.checked_sub(run.first)?).ok()?;
        run.index.checked_add(distance).filter(|index| *index < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn filled(ids: &[i64]) -> ById<OrderId, i64> {
        let mut rows = ById::default();
        for id in ids {
            rows.push(OrderId::new(*id), *id);
        }
        rows
    }

    #[rstest]
    #[case::none(&[])]
    #[case::one_run(&[1, 2, 3])]
    #[case::gaps(&[1, 2, 5, 6, 9])]
    #[case::edges(&[i64::MIN, -1, 0, 1, i64::MAX - 1, i64::MAX])]
    fn get_finds_exactly_the_rows_that_were_pushed(#[case] ids: &[i64]) {
        let rows = filled(ids);
        for id in (-2..12).chain([i64::MIN, i64::MAX]) {
            let fact = rows.get(OrderId::new(id)).copied();
            assert_eq!(fact, ids.contains(&id).then_some(id));
        }
        let listed: Vec<_> = rows.iter().map(|(id, fact)| (id.get(), *fact)).collect();
        let expected: Vec<_> = ids.iter().map(|id| (*id, *id)).collect();
        assert_eq!(listed, expected);
    }

    #[test]
    fn rows_out_of_order_are_ignored() {
        let listed: Vec<_> = filled(&[3, 3, 1, 4]).iter().map(|(id, _)| id.get()).collect();
        assert_eq!(listed, [3, 4]);
    }
}
