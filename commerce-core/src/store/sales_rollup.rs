//! The sales roll-up: what was sold, counted on write, so that the sales of any window are read from some hundred
//! rows, exact to the second, whatever the size of the history.
//!
//! There are four levels of buckets: second, minute, hour, day. A commit writes one row: the counts of the second
//! in which it sells. When a minute has ended, the next commit adds its seconds up into one row of the minute; so
//! minutes become hours, and hours days. The *watermark* of a level, kept beside the rows, is the time before
//! which the level is *closed*, that is complete. A sale in a closed bucket (an order of yesterday is cancelled,
//! history is imported) is counted at every level that has closed it. A window is read from the coarsest closed
//! buckets inside it, and from finer ones towards its ends.
//!
//! A row has the figures of the bucket (its *totals*), and the units and the money of each product. Hours and days have
//! no totals of their own: one more row a day, the *pack*, has the totals of its quarter hours, since a local day of
//! any zone begins at one. It is complete up to the watermark of hours.
//!
//! The id of a row is its level and bucket. This module knows no database: a store reads the rows that are
//! [`affected`], writes those that [`count`] returns, and reads a [`window`] into a [`Ranking`] or into
//! [`ProductSums`], and the figures of consecutive windows into [`Totals`]. docs/statistics.md has the alternatives
//! and their measurements.

use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::ProductId;
use crate::model::sale::{Figure, Figures, Sale};
use crate::store::{Counted, Record, SalesCount, SalesLevel};
use counts::{Count, Decoder, add_products, add_totals, products, sum_up};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

mod counts;
mod sums;

pub use sums::{ProductSums, Ranking, Totals};

/// The levels, finest first. Each bucket consists of whole buckets of the level before.
const LEVELS: [Level; 4] = [SECONDS, MINUTES, HOURS, DAYS];

const SECONDS: Level = Level { number: 0, seconds: 1 };
const MINUTES: Level = Level { number: 1, seconds: 60 };
const HOURS: Level = Level { number: 2, seconds: 60 * 60 };
const DAYS: Level = Level { number: 3, seconds: 24 * 60 * 60 };

/// The packs: each has the totals of the quarter hours of a day.
const PACKS: Level = Level { number: 4, seconds: DAYS.seconds };

/// The length of the buckets in a pack: the offset of every zone is a multiple of it.
const QUARTER: i64 = 15 * 60;

/// The bits of a figure in a key of a pack; the quarter hour takes the bits above.
const FIGURE_BITS: u32 = 4;
const _: () = assert!(Figure::ALL.len() <= 1 << FIGURE_BITS, "every figure has a key");

/// The position of the level within the id of a row; the bucket takes the bits below.
const LEVEL_SHIFT: u32 = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    number: i64,
    seconds: i64,
}

impl Level {
    /// Returns the level and the bucket of a row.
    fn of_row(id: i64) -> Result<(Self, i64), StoreError> {
        let level = [PACKS, DAYS, HOURS, MINUTES, SECONDS]
            .into_iter()
            .find(|level| level.number == id.wrapping_shr(LEVEL_SHIFT));
        let level =
            level.ok_or_else(|| StoreError::Corrupt(format!("sales row {id} has no level")))?;
        Ok((level, id ^ level.row(0)))
    }

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

    /// Returns the rows of the buckets that begin in `from..until`.
    fn rows(self, from: i64, until: i64) -> Range<i64> {
        let first = |at: i64| self.bucket(at.saturating_add(self.seconds.saturating_sub(1)));
        self.row(first(from))..self.row(first(until))
    }

    /// Returns true if its rows have totals.
    fn has_totals(self) -> bool {
        self.number <= MINUTES.number
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
    let level_of = |(level, until): (Level, i64)| SalesLevel {
        seconds: level.seconds,
        until: Timestamp::from_unix(until),
        has_products: true,
        has_totals: level.has_totals(),
    };
    let [.., hours, _] = watermarks;
    let quarters = SalesLevel {
        seconds: QUARTER,
        until: Timestamp::from_unix(hours),
        has_products: false,
        has_totals: true,
    };
    LEVELS.into_iter().zip(watermarks).map(level_of).chain([quarters]).collect()
}

/// The counts of a bucket, as a row has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketRow {
    /// The figures.
    pub totals: Vec<u8>,
    /// The units of products.
    pub units: Vec<u8>,
    /// The money of products.
    pub net: Vec<u8>,
}

impl BucketRow {
    /// Returns true if it has no counts: then it is deleted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.totals.is_empty() && self.units.is_empty() && self.net.is_empty()
    }

    fn add(&mut self, changes: &Changes) -> Result<(), StoreError> {
        if !changes.totals.is_empty() {
            self.totals = add_totals(&self.totals, &changes.totals)?;
        }
        if !changes.products.is_empty() {
            (self.units, self.net) = add_products((&self.units, &self.net), &changes.products)?;
        }
        Ok(())
    }
}

/// The rows that exist, by id.
pub type Buckets = BTreeMap<i64, BucketRow>;

/// Changes of a row.
#[derive(Default)]
struct Changes {
    totals: Vec<Count<1>>,
    products: Vec<Count<2>>,
}

/// Changes by row.
type ChangesByRow = BTreeMap<i64, Changes>;

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
    let sale = |at| Sale { at, figures: Figures::default(), products: Vec::new() };
    affected(watermarks, &[sale(now.plus_seconds(-1)), sale(now)])
}

/// Returns the rows that counting these sales reads.
#[must_use]
pub fn affected(watermarks: RollupWatermarks, sales: &[Sale]) -> AffectedBuckets {
    let Some(latest) = latest(sales) else { return AffectedBuckets::default() };
    let mut rows = BTreeSet::new();
    for (level, until) in LEVELS.into_iter().chain([PACKS]).zip(with_packs(watermarks)) {
        let counted = sales.iter().map(|sale| sale.at.unix()).filter(|at| *at < until);
        rows.extend(counted.map(|at| level.row(level.bucket(at))));
    }
    let ranges = closings(watermarks, latest)
        .into_iter()
        .flat_map(|closing| [Some(closing.finer_rows()), closing.packs()].into_iter().flatten());
    AffectedBuckets { rows: rows.into_iter().collect(), ranges: ranges.collect() }
}

/// The watermark of each level, and that of the packs.
fn with_packs(watermarks: RollupWatermarks) -> [i64; 5] {
    let [seconds, minutes, hours, days] = watermarks;
    [seconds, minutes, hours, days, hours]
}

/// The changes of counting sales.
#[derive(Debug)]
pub struct RollupChanges {
    /// The rows to be written; empty ones are deleted.
    pub rows: Buckets,
    /// The new watermarks of minutes, hours and days, if they have changed.
    pub watermarks: Option<[i64; 3]>,
}

/// Counts sales. `buckets` contains every row that is [`affected`].
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
    let mut write = |buckets: &mut Buckets, changes: ChangesByRow| {
        changes.into_iter().try_for_each(|(row, mut changes)| {
            sum_up(&mut changes.totals);
            sum_up(&mut changes.products);
            written.insert(row);
            buckets.entry(row).or_default().add(&changes)
        })
    };
    write(&mut buckets, changes(watermarks, sales))?;
    let closings = latest(sales).map(|latest| closings(watermarks, latest)).unwrap_or_default();
    let mut new_watermarks = watermarks;
    for closing in &closings {
        let changes = closing.add_up(&buckets)?;
        write(&mut buckets, changes)?;
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
    sales.iter().map(|sale| sale.at.unix()).max()
}

/// Returns the changes of each row by sales: at every level that is closed at their time, and in the packs.
fn changes(watermarks: RollupWatermarks, sales: &[Sale]) -> ChangesByRow {
    let mut changes = ChangesByRow::new();
    let [.., hours, _] = watermarks;
    for sale in sales {
        let at = sale.at.unix();
        for (level, until) in LEVELS.into_iter().zip(watermarks) {
            if at < until && (level.has_totals() || !sale.products.is_empty()) {
                let row = changes.entry(level.row(level.bucket(at))).or_default();
                let sold = sale.products.iter();
                row.products
                    .extend(sold.map(|(id, sold)| (id.get(), [sold.units, sold.net.minor()])));
                if level.has_totals() {
                    row.totals.extend(
                        sale.figures.iter().map(|(figure, number)| (figure.key(), [number])),
                    );
                }
            }
        }
        if at < hours {
            let row = changes.entry(PACKS.row(PACKS.bucket(at))).or_default();
            let figures = sale.figures.iter();
            row.totals
                .extend(figures.map(|(figure, number)| (pack_key(at, figure.key()), [number])));
        }
    }
    changes
}

impl Figure {
    /// The key in totals.
    fn key(self) -> i64 {
        i64::try_from(self.number()).unwrap_or_default()
    }

    /// The figure of a key.
    fn of_key(key: i64) -> Result<Self, StoreError> {
        let figure = usize::try_from(key).ok().and_then(|number| Self::ALL.get(number));
        let unknown =
            || StoreError::Corrupt(format!("the totals of a sales row have figure {key}"));
        figure.copied().ok_or_else(unknown)
    }
}

/// The key of a figure in the pack of the day of an instant.
fn pack_key(at: i64, figure: i64) -> i64 {
    let quarter = at.rem_euclid(PACKS.seconds).div_euclid(QUARTER);
    quarter.wrapping_shl(FIGURE_BITS) | figure
}

/// Splits a key of a pack into the start of its quarter hour, within the day, and the key of its figure.
fn quarter_and_figure(key: i64) -> (i64, i64) {
    let quarter = key.wrapping_shr(FIGURE_BITS);
    (quarter.saturating_mul(QUARTER), key ^ quarter.wrapping_shl(FIGURE_BITS))
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
        self.finer.rows(self.from, self.until)
    }

    /// Returns the packs that the totals of closed hours are added to.
    fn packs(&self) -> Option<Range<i64>> {
        let until = PACKS.bucket(self.until.saturating_sub(1)).saturating_add(1);
        (self.level == HOURS).then(|| PACKS.row(PACKS.bucket(self.from))..PACKS.row(until))
    }

    /// Returns the changes of the rows that finer rows are added up into.
    fn add_up(&self, buckets: &Buckets) -> Result<ChangesByRow, StoreError> {
        let mut changes = ChangesByRow::new();
        for (row, counts) in buckets.range(self.finer_rows()) {
            let start = self.finer.start(row ^ self.finer.row(0));
            if self.level.has_totals() || !counts.units.is_empty() {
                let sum = changes.entry(self.level.row(self.level.bucket(start))).or_default();
                for count in products(&counts.units, &counts.net) {
                    sum.products.push(count?);
                }
                if self.level.has_totals() {
                    for total in Decoder::new(&counts.totals) {
                        let (key, number) = total?;
                        sum.totals.push((key, [number]));
                    }
                }
            }
            if self.level == HOURS {
                let pack = changes.entry(PACKS.row(PACKS.bucket(start))).or_default();
                for total in Decoder::new(&counts.totals) {
                    let (key, number) = total?;
                    pack.totals.push((pack_key(start, key), [number]));
                }
            }
        }
        Ok(changes)
    }
}

/// Returns the ids of all rows of seconds; the greatest existing one is the parameter `newest` of [`window`].
#[must_use]
pub fn seconds_rows() -> Range<i64> {
    SECONDS.row(0)..MINUTES.row(0)
}

/// Returns the ranges of rows that add up to the products sold in `(after, until]`. `newest` is the greatest row of
/// [`seconds_rows`].
#[must_use]
pub fn window(
    after: Timestamp,
    until: Timestamp,
    newest: Option<i64>,
    watermarks: RollupWatermarks,
) -> Vec<Range<i64>> {
    let start = after.unix().saturating_add(1);
    let end = until.unix().saturating_add(1);
    // If there are no later sales, the window may end with that day: one row instead of its parts.
    let whole_day = DAYS.start(DAYS.bucket(end).saturating_add(1));
    let end = if newest.is_none_or(|newest| newest < end) { whole_day } else { end };
    cover(&LEVELS, start, end, watermarks)
}

/// Returns the fewest rows of these levels that cover `start..end` exactly: coarse ones inside, finer ones towards both
/// ends and after the watermark of the coarse ones.
fn cover(levels: &[Level], start: i64, end: i64, watermarks: RollupWatermarks) -> Vec<Range<i64>> {
    let mut ranges = Vec::new();
    let mut open = vec![(start, end)];
    for (level, until) in levels.iter().zip(watermarks).rev() {
        let mut finer = Vec::new();
        for (start, end) in open {
            let first = level.bucket(start.saturating_add(level.seconds.saturating_sub(1)));
            let last = level.bucket(end.min(until));
            if first >= last {
                finer.push((start, end));
                continue;
            }
            ranges.push(level.row(first)..level.row(last));
            finer.push((start, level.start(first)));
            finer.push((level.start(last), end));
        }
        finer.retain(|(start, end)| start < end);
        open = finer;
    }
    ranges
}

/// Visits every count of a row, for the audit.
///
/// # Errors
///
/// [`StoreError::Corrupt`] when the id has no level or the counts cannot be read.
pub fn visit_counts(
    id: i64,
    row: &BucketRow,
    visit: &mut dyn FnMut(Record),
) -> Result<(), StoreError> {
    let (level, bucket) = Level::of_row(id)?;
    let start = level.start(bucket);
    let mut count = |seconds, start, of, count| {
        let start = Timestamp::from_unix(start);
        visit(Record::SalesCount(SalesCount { seconds, start, of, count }));
    };
    for product in products(&row.units, &row.net) {
        let (product, [units, net]) = product?;
        count(level.seconds, start, Counted::Units(ProductId::new(product)), units);
        count(level.seconds, start, Counted::Net(ProductId::new(product)), net);
    }
    for total in Decoder::new(&row.totals) {
        let (key, number) = total?;
        let (seconds, start, key) = if level == PACKS {
            let (quarter, figure) = quarter_and_figure(key);
            (QUARTER, start.saturating_add(quarter), figure)
        } else {
            (level.seconds, start, key)
        };
        count(seconds, start, Counted::Figure(Figure::of_key(key)?), number);
    }
    Ok(())
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
            for rows in cover(&LEVELS, start, end, watermarks) {
                let (level, from) = Level::of_row(rows.start).unwrap();
                let to = rows.end ^ level.row(0);
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
        let ranges = cover(&LEVELS, 86_400 * 5 + 12_345, 86_400 * 8 + 12_345, [i64::MAX; 4]);
        assert_eq!(ranges.len(), 7);
        assert_eq!(ranges[0].end - ranges[0].start, 2, "two whole days");
    }
}
