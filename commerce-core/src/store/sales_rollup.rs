//! Units sold, counted on write, so that the best sellers of any window are read from some hundred
//! rows, exact to the second, whatever the history.
//!
//! Four levels of buckets: a second, a minute, an hour, a day. A commit writes one row: the counts of the
//! second it sells in. When a minute is over, the next commit adds its seconds up into one row of the
//! minute; so minutes become hours, and hours days. How far each level is *closed* is kept beside. A sale
//! in a bucket that is closed already (an order of yesterday is cancelled, history is imported) is counted
//! at every level that has closed it. A window is read from the coarsest closed buckets inside it, and
//! from finer ones towards its ends.
//!
//! A row's id is its level and bucket. Nothing here knows a database: a store reads the rows that are
//! [`touched`], writes what has [`changed`], and reads a [`window`] into a [`Ranking`].
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

/// The levels, finest first. Each bucket is made of whole buckets of the level before.
const LEVELS: [Level; 4] = [
    Level { number: 0, seconds: 1 },
    Level { number: 1, seconds: 60 },
    Level { number: 2, seconds: 60 * 60 },
    Level { number: 3, seconds: 24 * 60 * 60 },
];

/// Buckets take the lower bits of a row's id, the level those above.
const LEVEL_SHIFT: u32 = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    number: i64,
    seconds: i64,
}

impl Level {
    /// The id of the row of a bucket.
    fn row(self, bucket: i64) -> i64 {
        self.number.wrapping_shl(LEVEL_SHIFT) | bucket
    }

    /// The bucket that an instant falls in.
    fn bucket(self, at: i64) -> i64 {
        at.div_euclid(self.seconds)
    }

    /// When a bucket begins.
    fn start(self, bucket: i64) -> i64 {
        bucket.saturating_mul(self.seconds)
    }
}

/// For each level, the instant before which every sale is counted there. The finest counts all.
pub type RollupWatermarks = [i64; 4];

/// How far levels are closed, from what is kept of it.
pub fn closed([minutes, hours, days]: [i64; 3]) -> RollupWatermarks {
    [Timestamp::MAX.unix().saturating_add(1), minutes, hours, days]
}

/// The levels as the audit needs to know them.
pub fn levels(closed: RollupWatermarks) -> Vec<SalesLevel> {
    let known = |(level, until): (&Level, i64)| SalesLevel {
        seconds: level.seconds,
        until: Timestamp::from_unix(until),
    };
    LEVELS.iter().zip(closed).map(known).collect()
}

/// Rows by id, as far as they are there.
pub type Buckets = BTreeMap<i64, Vec<u8>>;

/// The rows to be read before sales are counted: single ones, and ranges of those that are to be added up.
#[derive(Debug, Default)]
pub struct AffectedBuckets {
    pub rows: Vec<i64>,
    pub ranges: Vec<Range<i64>>,
}

impl AffectedBuckets {
    /// Whether whoever has read these rows has what the other needs.
    pub fn covers(&self, other: &Self) -> bool {
        self.ranges == other.ranges && other.rows.iter().all(|row| self.rows.contains(row))
    }
}

/// Which rows sales of now, or of the second before, would need, whatever is sold.
pub fn touched_at(closed: RollupWatermarks, now: Timestamp) -> AffectedBuckets {
    let sale = |paid_at| Sale { paid_at, product_id: ProductId::new(0), units: 0 };
    touched(closed, &[sale(now.plus_seconds(-1)), sale(now)])
}

/// Which rows counting these sales needs.
pub fn touched(closed: RollupWatermarks, sales: &[Sale]) -> AffectedBuckets {
    let Some(latest) = latest(sales) else { return AffectedBuckets::default() };
    let mut rows = BTreeSet::new();
    for (level, until) in LEVELS.into_iter().zip(closed) {
        let counted = sales.iter().map(|sale| sale.paid_at.unix()).filter(|at| *at < until);
        rows.extend(counted.map(|at| level.row(level.bucket(at))));
    }
    let ranges = closings(closed, latest).into_iter().map(|closing| closing.finer_rows());
    AffectedBuckets { rows: rows.into_iter().collect(), ranges: ranges.collect() }
}

/// What counting sales comes to: the rows to be written, of which empty ones go, and how far minutes,
/// hours and days are closed now, where that has changed.
#[derive(Debug)]
pub struct Changed {
    pub rows: Buckets,
    pub closed: Option<[i64; 3]>,
}

/// Adds what was sold, and takes out what was given back. `buckets` has every row that is [`touched`].
pub fn changed(
    closed: RollupWatermarks,
    sales: &[Sale],
    mut buckets: Buckets,
) -> Result<Changed, StoreError> {
    let mut written = BTreeSet::new();
    for (level, until) in LEVELS.into_iter().zip(closed) {
        for (bucket, changes) in grouped(level, until, sales) {
            let row = level.row(bucket);
            let before = buckets.get(&row).map(Vec::as_slice).unwrap_or_default();
            let after = merged(before, &changes)?;
            buckets.insert(row, after);
            written.insert(row);
        }
    }
    let closings = latest(sales).map(|latest| closings(closed, latest)).unwrap_or_default();
    let mut now_closed = closed;
    for closing in &closings {
        for (row, counts) in closing.add_up(&buckets)? {
            buckets.insert(row, counts);
            written.insert(row);
        }
        if let Some(until) = now_closed.get_mut(closing.index) {
            *until = closing.until;
        }
    }
    buckets.retain(|row, _| written.contains(row));
    let [_, minutes, hours, days] = now_closed;
    let closed = (!closings.is_empty()).then_some([minutes, hours, days]);
    Ok(Changed { rows: buckets, closed })
}

fn latest(sales: &[Sale]) -> Option<i64> {
    sales.iter().map(|sale| sale.paid_at.unix()).max()
}

/// The closing of a level: its buckets that have ended become the sums of finer ones.
struct Closing {
    /// The level's place among [`LEVELS`].
    index: usize,
    finer: Level,
    level: Level,
    from: i64,
    until: i64,
}

/// What is to be closed once something was sold at `latest`.
fn closings(closed: RollupWatermarks, latest: i64) -> Vec<Closing> {
    let levels = LEVELS.into_iter().zip(LEVELS.into_iter().skip(1)).zip(closed.into_iter().skip(1));
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

    /// The row of each bucket that has finer rows.
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

/// What changes in each bucket of a level that begins before `until`.
fn grouped(level: Level, until: i64, sales: &[Sale]) -> BTreeMap<i64, Vec<(i64, i64)>> {
    let mut buckets: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
    for sale in sales.iter().filter(|sale| sale.paid_at.unix() < until) {
        let changes = buckets.entry(level.bucket(sale.paid_at.unix())).or_default();
        changes.push((sale.product_id.get(), sale.units));
    }
    buckets.values_mut().for_each(sum_up);
    buckets
}

/// The ids below which the row of the latest sale stands that [`window`] asks for, given where the window
/// ends.
pub fn seconds_rows() -> Range<i64> {
    let [seconds, minutes, ..] = LEVELS;
    seconds.row(0)..minutes.row(0)
}

/// The ranges of rows that add up to what was sold in `(after, until]`; `newest` is the last row among
/// [`seconds_rows`].
pub fn window(
    after: Timestamp,
    until: Timestamp,
    newest: Option<i64>,
    closed: RollupWatermarks,
) -> Vec<Range<i64>> {
    let [.., days] = LEVELS;
    let start = after.unix().saturating_add(1);
    let end = until.unix().saturating_add(1);
    // When nothing was sold since, the window may as well end with that day, which saves reading the
    // parts of it one by one.
    let whole_day = days.start(days.bucket(end).saturating_add(1));
    let end = if newest.is_none_or(|newest| newest < end) { whole_day } else { end };
    let ranges = cover(start, end, closed).into_iter();
    ranges.map(|(level, from, to)| level.row(from)..level.row(to)).collect()
}

/// The fewest closed buckets that cover `start..end` exactly: coarse ones inside, finer ones towards
/// both ends and where coarse ones are not closed yet.
fn cover(start: i64, end: i64, closed: RollupWatermarks) -> Vec<(Level, i64, i64)> {
    let mut ranges = Vec::new();
    let mut open = vec![(start, end)];
    for (level, until) in LEVELS.into_iter().zip(closed).rev() {
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

/// Adds rows up, and ranks what was sold.
#[derive(Debug, Default)]
pub struct Ranking(Units);

impl Ranking {
    /// Adds the counts of a row.
    pub fn add(&mut self, counts: &[u8]) -> Result<(), StoreError> {
        for count in Decoder::new(counts) {
            let (product, sold) = count?;
            let sum = self.0.entry(product).or_default();
            *sum = sum.saturating_add(sold);
        }
        Ok(())
    }

    /// The products that sold most: most units first, ties by id.
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

/// Shows every count of a row to the audit.
pub fn show(id: i64, counts: &[u8], visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
    let unsound = || StoreError::Corrupt(format!("sales row {id} is of no level"));
    let level = LEVELS.into_iter().rev().find(|level| level.row(0) <= id).ok_or_else(unsound)?;
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

/// Hashes an id by one multiplication: ids are no secret, and a ranking adds up very many.
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
        fn a_cover_has_every_second_once(
            start in 0_i64..2_000_000,
            length in 0_i64..400_000,
            latest in 0_i64..3_000_000,
        ) {
            let end = start + length;
            let closed = [i64::MAX, latest / 60 * 60, latest / 3_600 * 3_600, latest / 86_400 * 86_400];
            let mut covered = Vec::new();
            for (level, from, to) in cover(start, end, closed) {
                let until = closed[usize::try_from(level.number).unwrap()];
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
    fn three_days_need_few_ranges() {
        let ranges = cover(86_400 * 5 + 12_345, 86_400 * 8 + 12_345, [i64::MAX; 4]);
        assert_eq!(ranges.len(), 7);
        assert_eq!(ranges[0].2 - ranges[0].1, 2, "two whole days");
    }
}
