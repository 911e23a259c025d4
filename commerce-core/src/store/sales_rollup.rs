//! The sales roll-up: units sold, counted on write, so that the best sellers of any window are read from some
//! hundred rows, exact to the second, whatever the size of the history.
//!
//! There are four levels of buckets: second, minute, hour, day. A commit writes one row: the counts of the second
//! in which it sells. When a minute has ended, the next commit adds its seconds up into one row of the minute; so
//! minutes become hours, and hours days. The *watermark* of a level, kept beside the rows, is the time before
//! which the level is *closed*, that is complete. A sale in a closed bucket (an order of yesterday is cancelled,
//! history is imported) is counted at every level that has closed it. A window is read from the coarsest closed
//! buckets inside it, and from finer ones towards its ends.
//!
//! The id of a row is its level and bucket. This module knows no database: a store reads the rows that are
//! [`affected`], writes those that [`count`] returns, and reads a [`window`] into a [`Ranking`].
//! docs/best-sellers.md has the alternatives and their measurements.

use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::ProductId;
use crate::state::Sale;
use crate::store::{Record, SalesCount, SalesLevel};
use counts::{Decoder, merged, sum_up};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

mod counts;

/// The levels, finest first. Each bucket consists of whole buckets of the level before.
const LEVELS: [Level; 4] = [
    Level { number: 0, seconds: 1 },
    Level { number: 1, seconds: 60 },
    Level { number: 2, seconds: 60 * 60 },
    Level { number: 3, seconds: 24 * 60 * 60 },
];

/// The position of the level within the id of a row; the bucket takes the bits below.
const LEVEL_SHIFT: u32 = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    number: i64,
    seconds: i64,
}

impl Level {
    /// Returns the id of the row of a bucket.
    fn row(self, bucket: i64) -> i64 {
        self.number.wrapping_shl(LEVEL_SHIFT) | bucket
    }

    /// Returns the bucket of a time.
    fn bucket(self, at: i64) -> i64 {
        at.div_euclid(self.seconds)
    }

    /// Returns the start of a bucket.
    fn start(self, bucket: i64) -> i64 {
        bucket.saturating_mul(self.seconds)
    }
}

/// The watermark of each level: all sales before that time are counted at the level. The finest counts all.
pub type RollupWatermarks = [i64; 4];

/// Returns the watermarks from the kept ones of minutes, hours and days.
#[must_use]
pub fn watermarks([minutes, hours, days]: [i64; 3]) -> RollupWatermarks {
    [Timestamp::MAX.unix().saturating_add(1), minutes, hours, days]
}

/// Returns the levels for the audit.
#[must_use]
pub fn levels(watermarks: RollupWatermarks) -> Vec<SalesLevel> {
    let level_of = |(level, until): (&Level, i64)| SalesLevel {
        seconds: level.seconds,
        until: Timestamp::from_unix(until),
    };
    LEVELS.iter().zip(watermarks).map(level_of).collect()
}

/// The counts of the rows that exist, by row id.
pub type Buckets = BTreeMap<i64, Vec<u8>>;

/// The rows that counting sales reads.
#[derive(Debug, Default)]
pub struct AffectedBuckets {
    /// Single rows, to which sales are added.
    pub rows: Vec<i64>,
    /// Ranges of rows, which are added up.
    pub ranges: Vec<Range<i64>>,
}

impl AffectedBuckets {
    /// Returns true if these rows include all of `other`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.ranges == other.ranges && other.rows.iter().all(|row| self.rows.contains(row))
    }
}

/// Returns the rows that sales at `now`, or in the second before, affect, whatever is sold.
#[must_use]
pub fn affected_at(watermarks: RollupWatermarks, now: Timestamp) -> AffectedBuckets {
    let sale = |paid_at| Sale { paid_at, product_id: ProductId::new(0), units: 0 };
    affected(watermarks, &[sale(now.plus_seconds(-1)), sale(now)])
}

/// Returns the rows that counting these sales reads.
#[must_use]
pub fn affected(watermarks: RollupWatermarks, sales: &[Sale]) -> AffectedBuckets {
    let Some(latest) = latest(sales) else { return AffectedBuckets::default() };
    let mut rows = BTreeSet::new();
    for (level, until) in LEVELS.into_iter().zip(watermarks) {
        let counted = sales.iter().map(|sale| sale.paid_at.unix()).filter(|at| *at < until);
        rows.extend(counted.map(|at| level.row(level.bucket(at))));
    }
    let ranges = closings(watermarks, latest).into_iter().map(|closing| closing.finer_rows());
    AffectedBuckets { rows: rows.into_iter().collect(), ranges: ranges.collect() }
}

/// The changes of counting sales.
#[derive(Debug)]
pub struct RollupChanges {
    /// The rows to be written; those without counts are deleted.
    pub rows: Buckets,
    /// The new watermarks of minutes, hours and days, if they have changed.
    pub watermarks: Option<[i64; 3]>,
}

/// Adds units sold, and subtracts units returned. `buckets` contains every row that is [`affected`].
///
/// # Errors
///
/// [`StoreError::Corrupt`] when the counts of a row cannot be read.
pub fn count(
    watermarks: RollupWatermarks,
    sales: &[Sale],
    mut buckets: Buckets,
) -> Result<RollupChanges, StoreError> {
    let mut written = BTreeSet::new();
    for (level, until) in LEVELS.into_iter().zip(watermarks) {
        for (bucket, changes) in grouped(level, until, sales) {
            let row = level.row(bucket);
            let before = buckets.get(&row).map(Vec::as_slice).unwrap_or_default();
            let after = merged(before, &changes)?;
            buckets.insert(row, after);
            written.insert(row);
        }
    }
    let closings = latest(sales).map(|latest| closings(watermarks, latest)).unwrap_or_default();
    let mut new_watermarks = watermarks;
    for closing in &closings {
        for (row, counts) in closing.add_up(&buckets)? {
            buckets.insert(row, counts);
            written.insert(row);
        }
        if let Some(until) = new_watermarks.get_mut(closing.index) {
            *until = closing.until;
        }
    }
    buckets.retain(|row, _| written.contains(row));
    let [_, minutes, hours, days] = new_watermarks;
    let watermarks = (!closings.is_empty()).then_some([minutes, hours, days]);
    Ok(RollupChanges { rows: buckets, watermarks })
}

fn latest(sales: &[Sale]) -> Option<i64> {
    sales.iter().map(|sale| sale.paid_at.unix()).max()
}

/// The closing of a level: its ended buckets become the sums of finer ones.
struct Closing {
    /// The index of the level in [`LEVELS`].
    index: usize,
    finer: Level,
    level: Level,
    from: i64,
    until: i64,
}

/// Returns the levels to close after a sale at `latest`.
fn closings(watermarks: RollupWatermarks, latest: i64) -> Vec<Closing> {
    let levels =
        LEVELS.into_iter().zip(LEVELS.into_iter().skip(1)).zip(watermarks.into_iter().skip(1));
    let closings = (1..).zip(levels).map(|(index, ((finer, level), from))| {
        let until = level.start(level.bucket(latest));
        Closing { index, finer, level, from, until }
    });
    // Coarser buckets end no sooner than finer ones.
    closings.take_while(|closing| closing.until > closing.from).collect()
}

impl Closing {
    fn finer_rows(&self) -> Range<i64> {
        let row = |at| self.finer.row(self.finer.bucket(at));
        row(self.from)..row(self.until)
    }

    /// Returns the row of each bucket that has finer rows.
    fn add_up(&self, buckets: &Buckets) -> Result<Buckets, StoreError> {
        let mut sums: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
        for (row, counts) in buckets.range(self.finer_rows()) {
            let start = self.finer.start(row ^ self.finer.row(0));
            let sum = sums.entry(self.level.bucket(start)).or_default();
            for count in Decoder::new(counts) {
                sum.push(count?);
            }
        }
        let added = sums.into_iter().map(|(bucket, mut sum)| {
            sum_up(&mut sum);
            Ok((self.level.row(bucket), merged(&[], &sum)?))
        });
        added.collect()
    }
}

/// Returns the changes of each bucket of a level, for sales before `until`.
fn grouped(level: Level, until: i64, sales: &[Sale]) -> BTreeMap<i64, Vec<(i64, i64)>> {
    let mut buckets: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
    for sale in sales.iter().filter(|sale| sale.paid_at.unix() < until) {
        let changes = buckets.entry(level.bucket(sale.paid_at.unix())).or_default();
        changes.push((sale.product_id.get(), sale.units));
    }
    buckets.values_mut().for_each(sum_up);
    buckets
}

/// Returns the ids of all rows of seconds; the greatest existing one is the parameter `newest` of [`window`].
#[must_use]
pub fn seconds_rows() -> Range<i64> {
    let [seconds, minutes, ..] = LEVELS;
    seconds.row(0)..minutes.row(0)
}

/// Returns the ranges of rows that add up to the sales of `(after, until]`. `newest` is the greatest row of
/// [`seconds_rows`].
#[must_use]
pub fn window(
    after: Timestamp,
    until: Timestamp,
    newest: Option<i64>,
    watermarks: RollupWatermarks,
) -> Vec<Range<i64>> {
    let [.., days] = LEVELS;
    let start = after.unix().saturating_add(1);
    let end = until.unix().saturating_add(1);
    // If there are no later sales, the window may end with that day: one row instead of its parts.
    let whole_day = days.start(days.bucket(end).saturating_add(1));
    let end = if newest.is_none_or(|newest| newest < end) { whole_day } else { end };
    let ranges = cover(start, end, watermarks).into_iter();
    ranges.map(|(level, from, to)| level.row(from)..level.row(to)).collect()
}

/// Returns the fewest closed buckets that cover `start..end` exactly: coarse ones inside, finer ones towards both
/// ends and after the watermark of the coarse ones.
fn cover(start: i64, end: i64, watermarks: RollupWatermarks) -> Vec<(Level, i64, i64)> {
    let mut ranges = Vec::new();
    let mut open = vec![(start, end)];
    for (level, until) in LEVELS.into_iter().zip(watermarks).rev() {
        let mut finer = Vec::new();
        for (start, end) in open {
            let first = level.bucket(start.saturating_add(level.seconds.saturating_sub(1)));
            let last = level.bucket(end.min(until));
            if first >= last {
                finer.push((start, end));
                continue;
            }
            ranges.push((level, first, last));
            finer.push((start, level.start(first)));
            finer.push((level.start(last), end));
        }
        finer.retain(|(start, end)| start < end);
        open = finer;
    }
    ranges
}

/// Adds rows up and ranks the products.
#[derive(Debug, Default)]
pub struct Ranking(Units);

impl Ranking {
    /// Adds the counts of a row.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] when the counts cannot be read.
    pub fn add(&mut self, counts: &[u8]) -> Result<(), StoreError> {
        for count in Decoder::new(counts) {
            let (product, sold) = count?;
            let sum = self.0.entry(product).or_default();
            *sum = sum.saturating_add(sold);
        }
        Ok(())
    }

    /// Returns the best-selling products: most units first, ties by id.
    #[must_use]
    pub fn top(self, limit: usize) -> Vec<(ProductId, i64)> {
        let units = self.0;
        let mut ranking: Vec<(Reverse<i64>, i64)> = units
            .into_iter()
            .filter(|(_, units)| *units > 0)
            .map(|(product, units)| (Reverse(units), product))
            .collect();
        if limit < ranking.len() {
            ranking.select_nth_unstable(limit);
            ranking.truncate(limit);
        }
        ranking.sort_unstable();
        ranking.into_iter().map(|(units, product)| (ProductId::new(product), units.0)).collect()
    }
}

/// Visits every count of a row, for the audit.
///
/// # Errors
///
/// [`StoreError::Corrupt`] when the id has no level or the counts cannot be read.
pub fn visit_counts(
    id: i64,
    counts: &[u8],
    visit: &mut dyn FnMut(Record),
) -> Result<(), StoreError> {
    let corrupt = || StoreError::Corrupt(format!("sales row {id} has no level"));
    let level = LEVELS.into_iter().rev().find(|level| level.row(0) <= id).ok_or_else(corrupt)?;
    for count in Decoder::new(counts) {
        let (product, units) = count?;
        visit(Record::SalesCount(SalesCount {
            seconds: level.seconds,
            start: Timestamp::from_unix(level.start(id ^ level.row(0))),
            product_id: ProductId::new(product),
            units,
        }));
    }
    Ok(())
}

/// Units by product.
type Units = HashMap<i64, i64, BuildHasherDefault<IdHasher>>;

/// Hashes an id by one multiplication: ids are not secret, and a ranking adds up very many.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_i64(i64::from(*byte));
        }
    }

    fn write_i64(&mut self, id: i64) {
        let spread = (self.0 ^ id.cast_unsigned()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ (spread >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cover_contains_every_second_once(
            start in 0_i64..2_000_000,
            length in 0_i64..400_000,
            latest in 0_i64..3_000_000,
        ) {
            let end = start + length;
            let watermarks = [i64::MAX, latest / 60 * 60, latest / 3_600 * 3_600, latest / 86_400 * 86_400];
            let mut covered = Vec::new();
            for (level, from, to) in cover(start, end, watermarks) {
                let until = watermarks[usize::try_from(level.number).unwrap()];
                prop_assert!(level.start(to) <= until, "a bucket that is not closed");
                covered.push((level.start(from), level.start(to)));
            }
            covered.sort_unstable();
            let mut reached = start;
            for (from, to) in covered {
                prop_assert_eq!(from, reached);
                prop_assert!(from < to);
                reached = to;
            }
            prop_assert_eq!(reached, end.max(start));
        }
    }

    #[test]
    fn cover_of_three_days_needs_seven_ranges() {
        let ranges = cover(86_400 * 5 + 12_345, 86_400 * 8 + 12_345, [i64::MAX; 4]);
        assert_eq!(ranges.len(), 7);
        assert_eq!(ranges[0].2 - ranges[0].1, 2, "two whole days");
    }
}
