//! Sums of rows: the ranking and the products of a window, and the figures of consecutive windows.

use super::counts::{Decoder, products};
use super::{
    Figure, Figures, Level, MINUTES, PACKS, QUARTER, RollupWatermarks, SECONDS, cover,
    quarter_and_figure,
};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::ProductId;
use crate::model::sale::Sold;
use crate::money::Money;
use foldhash::HashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

/// Adds units up and ranks the products.
#[derive(Debug, Default)]
pub struct Ranking(ByProduct<i64>);

impl Ranking {
    /// Adds the units of a row.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] when the units cannot be read.
    pub fn add(&mut self, units: &[u8]) -> Result<(), StoreError> {
        for count in Decoder::new(units) {
            let (product, sold) = count?;
            let sum = self.0.of(product);
            *sum = sum.saturating_add(sold);
        }
        Ok(())
    }

    /// Returns the best-selling products: most units first, ties by id.
    #[must_use]
    pub fn top(self, limit: usize) -> Vec<(ProductId, i64)> {
        // The best products so far, with the last of them on top: few of many products enter it.
        let mut best = BinaryHeap::new();
        for (product, units) in self.0.into_iter().filter(|(_, units)| *units > 0) {
            let rank = (Reverse(units), product);
            if best.len() < limit {
                best.push(rank);
            } else if let Some(mut last) = best.peek_mut().filter(|last| rank < **last) {
                *last = rank;
            }
        }
        let ranking = best.into_sorted_vec().into_iter();
        ranking.map(|(units, product)| (ProductId::new(product), units.0)).collect()
    }
}

/// Adds up the units and the money of products.
#[derive(Debug, Default)]
pub struct ProductSums(ByProduct<Sold>);

impl ProductSums {
    /// Adds the units and the money of a row.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] when they cannot be read.
    pub fn add(&mut self, units: &[u8], net: &[u8]) -> Result<(), StoreError> {
        for product in products(units, net) {
            let (product, [units, net]) = product?;
            let sold = Sold { units, net: Money::from_minor(net) };
            self.0.of(product).add(sold);
        }
        Ok(())
    }

    /// Returns the products that were sold, in no order.
    #[must_use]
    pub fn into_products(self) -> Vec<(ProductId, Sold)> {
        let sold = self.0.into_iter().filter(|(_, sold)| *sold != Sold::default());
        sold.map(|(product, sold)| (ProductId::new(product), sold)).collect()
    }
}

/// Adds up the figures of consecutive windows.
#[derive(Debug)]
pub struct Totals {
    /// The first second of each window, and the one after the last window.
    starts: Vec<i64>,
    figures: Vec<Figures>,
    ranges: Vec<Range<i64>>,
}

impl Totals {
    /// Begins the sums of each `(edges[i], edges[i + 1]]`; edges ascend.
    #[must_use]
    pub fn new(edges: &[Timestamp], watermarks: RollupWatermarks) -> Self {
        let [.., hours, _] = watermarks;
        let starts: Vec<i64> = edges.iter().map(|edge| edge.unix().saturating_add(1)).collect();
        let mut ranges = Vec::new();
        let mut packs: Option<(i64, i64)> = None;
        for (start, end) in starts.iter().copied().zip(starts.iter().copied().skip(1)) {
            let first = start.div_euclid(QUARTER).saturating_mul(QUARTER);
            let first = if first < start { first.saturating_add(QUARTER) } else { first };
            let last = end.min(hours).div_euclid(QUARTER).saturating_mul(QUARTER);
            let mut rest = |start, end| {
                if start < end {
                    ranges.extend(cover(&[SECONDS, MINUTES], start, end, watermarks));
                }
            };
            if first < last {
                packs = Some((packs.map_or(first, |(from, _)| from), last));
                rest(start, first);
                rest(last, end);
            } else {
                rest(start, end);
            }
        }
        if let Some((from, until)) = packs {
            let after = PACKS.bucket(until.saturating_sub(1)).saturating_add(1);
            ranges.push(PACKS.row(PACKS.bucket(from))..PACKS.row(after));
        }
        let figures = vec![Figures::default(); edges.len().saturating_sub(1)];
        Self { starts, figures, ranges }
    }

    /// Returns the ranges of rows with totals to be added.
    #[must_use]
    pub fn ranges(&self) -> Vec<Range<i64>> {
        self.ranges.clone()
    }

    /// Adds the totals of a row.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] when they cannot be read.
    pub fn add(&mut self, id: i64, totals: &[u8]) -> Result<(), StoreError> {
        let (level, bucket) = Level::of_row(id)?;
        let start = level.start(bucket);
        if level == PACKS {
            return self.add_pack(start, totals);
        }
        let window = self.starts.partition_point(|window| *window <= start);
        let sum = window.checked_sub(1).and_then(|window| self.figures.get_mut(window));
        let Some(sum) = sum else { return Ok(()) };
        for total in Decoder::new(totals) {
            let (key, number) = total?;
            sum.add(Figure::of_key(key)?, number);
        }
        Ok(())
    }

    /// Adds the quarter hours of a pack, each to the window that it is in; finer rows have those at an edge.
    fn add_pack(&mut self, day: i64, totals: &[u8]) -> Result<(), StoreError> {
        let window = self.starts.partition_point(|window| *window <= day).saturating_sub(1);
        let windows = self.starts.iter().zip(self.starts.iter().skip(1)).zip(&mut self.figures);
        let mut windows = windows.skip(window);
        let Some(mut current) = windows.next() else { return Ok(()) };
        for total in Decoder::new(totals) {
            let (key, number) = total?;
            let (quarter, figure) = quarter_and_figure(key);
            let start = day.saturating_add(quarter);
            while start >= *current.0.1 {
                let Some(next) = windows.next() else { return Ok(()) };
                current = next;
            }
            let ((first, after), sum) = &mut current;
            if **first <= start && start.saturating_add(QUARTER) <= **after {
                sum.add(Figure::of_key(figure)?, number);
            }
        }
        Ok(())
    }

    /// Returns the figures of each window.
    #[must_use]
    pub fn into_figures(self) -> Vec<Figures> {
        self.figures
    }
}

/// Sums by product. Those of the first ids are in a list, which needs no hash: a ranking of 3 days adds some ten thousand
/// counts.
#[derive(Debug)]
struct ByProduct<T> {
    listed: Vec<T>,
    others: HashMap<i64, T>,
}

/// The ids in the list: more than most shops have products, in at most a megabyte.
const LISTED: usize = 1 << 16;

impl<T> Default for ByProduct<T> {
    fn default() -> Self {
        Self { listed: Vec::new(), others: HashMap::default() }
    }
}

impl<T: Clone + Default> ByProduct<T> {
    /// Returns the sum of a product.
    #[inline]
    fn of(&mut self, product: i64) -> &mut T {
        let index = usize::try_from(product).ok().filter(|index| *index < LISTED);
        if let Some(index) = index.filter(|index| *index >= self.listed.len()) {
            self.listed.resize(index.saturating_add(1), T::default());
        }
        match index.and_then(|index| self.listed.get_mut(index)) {
            Some(sum) => sum,
            None => self.others.entry(product).or_default(),
        }
    }

    /// Returns the products with their sums, in no order.
    fn into_iter(self) -> impl Iterator<Item = (i64, T)> {
        (0..).zip(self.listed).chain(self.others)
    }
}
