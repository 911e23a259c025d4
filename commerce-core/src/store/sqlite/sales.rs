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
//! A row's id is its level and bucket. Its counts are pairs of variable-length integers in the order of
//! products: the distance from the product before, and the units. docs/best-sellers.md has the
//! alternatives and their measurements.

use crate::state::Sale;
use crate::store::{Record, SalesCount, SalesLevel};
use crate::{ProductId, StoreError, Timestamp};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

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
type Closed = [i64; 4];

fn closed(db: &Connection) -> Result<Closed, StoreError> {
    let mut select = db.prepare_cached("SELECT minutes, hours, days FROM sales_closed")?;
    let all = Timestamp::MAX.unix().saturating_add(1);
    Ok(select.query_row([], |row| Ok([all, row.get(0)?, row.get(1)?, row.get(2)?]))?)
}

/// The levels as the audit needs to know them.
pub(super) fn levels(db: &Connection) -> Result<Vec<SalesLevel>, StoreError> {
    let levels = LEVELS.iter().zip(closed(db)?);
    let known = |(level, until): (&Level, i64)| SalesLevel {
        seconds: level.seconds,
        until: Timestamp::from_unix(until),
    };
    Ok(levels.map(known).collect())
}

/// Adds what was sold, and takes out what was given back.
pub(super) fn apply(db: &Connection, sales: &[Sale]) -> Result<(), StoreError> {
    let Some(latest) = sales.iter().map(|sale| sale.paid_at.unix()).max() else { return Ok(()) };
    let closed = closed(db)?;
    let mut select = db.prepare_cached("SELECT counts FROM sales WHERE id = ?1")?;
    for (level, until) in LEVELS.into_iter().zip(closed) {
        for (bucket, changes) in grouped(level, until, sales) {
            let row = level.row(bucket);
            let before: Option<Vec<u8>> = select.query_row([row], |row| row.get(0)).optional()?;
            write(db, row, &merged(before.as_deref().unwrap_or_default(), &changes)?)?;
        }
    }
    close(db, closed, latest)
}

fn write(db: &Connection, row: i64, counts: &[u8]) -> Result<(), StoreError> {
    if counts.is_empty() {
        db.prepare_cached("DELETE FROM sales WHERE id = ?1")?.execute([row])?;
    } else {
        let sql = "INSERT INTO sales (id, counts) VALUES (?1, ?2)
                   ON CONFLICT DO UPDATE SET counts = excluded.counts";
        db.prepare_cached(sql)?.execute(params![row, counts])?;
    }
    Ok(())
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

/// Orders counts by product, each once.
fn sum_up(counts: &mut Vec<(i64, i64)>) {
    counts.sort_unstable_by_key(|(product, _)| *product);
    counts.dedup_by(|later, sum| {
        let same = later.0 == sum.0;
        if same {
            sum.1 = sum.1.saturating_add(later.1);
        }
        same
    });
}

/// The counts of a row with changes added: a merge of two sorted runs. Nothing stays of a zero.
fn merged(before: &[u8], changes: &[(i64, i64)]) -> Result<Vec<u8>, StoreError> {
    let room = before.len().saturating_add(changes.len().saturating_mul(6));
    let mut counts = Encoder { bytes: Vec::with_capacity(room), last: 0 };
    let mut changes = changes.iter().copied().peekable();
    for count in Decoder::new(before) {
        let (product, units) = count?;
        while let Some(change) = changes.next_if(|change| change.0 < product) {
            counts.push(change);
        }
        let more = changes.next_if(|change| change.0 == product).map_or(0, |change| change.1);
        counts.push((product, units.saturating_add(more)));
    }
    changes.for_each(|change| counts.push(change));
    Ok(counts.bytes)
}

/// Closes the buckets that ended before `latest`: each becomes the sum of its finer ones.
fn close(db: &Connection, closed: Closed, latest: i64) -> Result<(), StoreError> {
    let mut now_closed = closed;
    let mut select =
        db.prepare_cached("SELECT id, counts FROM sales WHERE id >= ?1 AND id < ?2")?;
    for (finer, level) in LEVELS.into_iter().zip(LEVELS.into_iter().skip(1)) {
        let until = level.start(level.bucket(latest));
        let Some(closed) = now_closed.get_mut(usize::try_from(level.number).unwrap_or(0)) else {
            continue;
        };
        if until <= *closed {
            // Coarser buckets end no sooner than finer ones.
            break;
        }
        let range = [finer.row(finer.bucket(*closed)), finer.row(finer.bucket(until))];
        add_up(db, &mut select, range, finer, level)?;
        *closed = until;
    }
    if now_closed != closed {
        let [_, minutes, hours, days] = now_closed;
        db.prepare_cached("UPDATE sales_closed SET minutes = ?1, hours = ?2, days = ?3")?
            .execute([minutes, hours, days])?;
    }
    Ok(())
}

/// Writes a row of `level` for each of its buckets that has finer rows in a range of ids.
fn add_up(
    db: &Connection,
    select: &mut CachedStatement<'_>,
    range: [i64; 2],
    finer: Level,
    level: Level,
) -> Result<(), StoreError> {
    let mut buckets: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
    let mut rows = select.query(range)?;
    while let Some(row) = rows.next()? {
        let bucket = row.get::<_, i64>(0)? ^ finer.row(0);
        let sum = buckets.entry(level.bucket(finer.start(bucket))).or_default();
        for count in Decoder::new(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?) {
            sum.push(count?);
        }
    }
    drop(rows);
    for (bucket, mut sum) in buckets {
        sum_up(&mut sum);
        write(db, level.row(bucket), &merged(&[], &sum)?)?;
    }
    Ok(())
}

/// The products that sold most in `(after, until]`: most units first, ties by id.
pub(super) fn best_sellers(
    db: &Connection,
    after: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<(ProductId, i64)>, StoreError> {
    let start = after.unix().saturating_add(1);
    let end = nothing_after(db, until.unix().saturating_add(1))?;
    let mut units: Units = Units::default();
    let mut select = db.prepare_cached("SELECT counts FROM sales WHERE id >= ?1 AND id < ?2")?;
    for (level, from, to) in cover(start, end, closed(db)?) {
        let mut rows = select.query([level.row(from), level.row(to)])?;
        while let Some(row) = rows.next()? {
            for count in Decoder::new(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?) {
                let (product, sold) = count?;
                let sum = units.entry(product).or_default();
                *sum = sum.saturating_add(sold);
            }
        }
    }
    Ok(top(units, limit))
}

fn top(units: Units, limit: usize) -> Vec<(ProductId, i64)> {
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

/// Where the window may as well end: when nothing was sold since `end`, with that day, which saves
/// reading the parts of it one by one.
fn nothing_after(db: &Connection, end: i64) -> Result<i64, StoreError> {
    let [_, minutes, _, days] = LEVELS;
    let mut select = db.prepare_cached("SELECT max(id) FROM sales WHERE id < ?1")?;
    let last: Option<i64> = select.query_row([minutes.row(0)], |row| row.get(0))?;
    let whole_day = days.start(days.bucket(end).saturating_add(1));
    Ok(if last.is_none_or(|last| last < end) { whole_day } else { end })
}

/// The fewest closed buckets that cover `start..end` exactly: coarse ones inside, finer ones towards
/// both ends and where coarse ones are not closed yet.
fn cover(start: i64, end: i64, closed: Closed) -> Vec<(Level, i64, i64)> {
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

/// Every count of every bucket, for the audit.
pub(super) fn scan(db: &Connection, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
    let mut select = db.prepare_cached("SELECT id, counts FROM sales ORDER BY id")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let unsound = || StoreError::Unsound(format!("sales row {id} is of no level"));
        let level =
            LEVELS.into_iter().rev().find(|level| level.row(0) <= id).ok_or_else(unsound)?;
        for count in Decoder::new(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?) {
            let (product, units) = count?;
            visit(Record::SalesCount(SalesCount {
                seconds: level.seconds,
                start: Timestamp::from_unix(level.start(id ^ level.row(0))),
                product_id: ProductId::new(product),
                units,
            }));
        }
    }
    Ok(())
}

/// Writes counts in ascending order of product.
struct Encoder {
    bytes: Vec<u8>,
    last: i64,
}

impl Encoder {
    fn push(&mut self, (product, units): (i64, i64)) {
        if units != 0 {
            self.number(product.wrapping_sub(self.last).cast_unsigned());
            // Zigzag, so that a small number below zero is short too.
            self.number((units.wrapping_shl(1) ^ units.wrapping_shr(63)).cast_unsigned());
            self.last = product;
        }
    }

    fn number(&mut self, mut rest: u64) {
        loop {
            let [low, ..] = rest.to_le_bytes();
            rest >>= 7;
            if rest == 0 {
                return self.bytes.push(low & 0x7f);
            }
            self.bytes.push(low | 0x80);
        }
    }
}

/// Reads what [`Encoder`] wrote.
struct Decoder<'a> {
    bytes: &'a [u8],
    last: i64,
}

impl<'a> Decoder<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, last: 0 }
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        let mut shift = 0_u32;
        loop {
            let (&byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            number |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                return Some(number);
            }
            shift = shift.saturating_add(7);
        }
    }
}

impl Iterator for Decoder<'_> {
    type Item = Result<(i64, i64), StoreError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let (Some(distance), Some(units)) = (self.number(), self.number()) else {
            self.bytes = &[];
            return Some(Err(StoreError::Unsound("counts of sales are cut short".to_owned())));
        };
        self.last = self.last.wrapping_add(distance.cast_signed());
        let units = units.wrapping_shr(1).cast_signed() ^ (units & 1).cast_signed().wrapping_neg();
        Some(Ok((self.last, units)))
    }
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
    use rstest::rstest;

    fn decoded(bytes: &[u8]) -> Vec<(i64, i64)> {
        Decoder::new(bytes).map(Result::unwrap).collect()
    }

    #[rstest]
    #[case::first(&[], &[(3, 2), (9, 1)], &[(3, 2), (9, 1)])]
    #[case::between(&[(3, 2), (9, 1)], &[(1, 5), (4, 5), (10, 5)], &[(1, 5), (3, 2), (4, 5), (9, 1), (10, 5)])]
    #[case::added(&[(3, 2), (9, 1)], &[(9, 200)], &[(3, 2), (9, 201)])]
    #[case::given_back(&[(3, 2), (9, 1)], &[(3, -2)], &[(9, 1)])]
    #[case::nothing_left(&[(3, 2)], &[(3, -2)], &[])]
    #[case::edges(&[(0, 1)], &[(i64::MAX, i64::MIN)], &[(0, 1), (i64::MAX, i64::MIN)])]
    fn counts_merge(
        #[case] before: &[(i64, i64)],
        #[case] changes: &[(i64, i64)],
        #[case] after: &[(i64, i64)],
    ) {
        let before = merged(&[], before).unwrap();
        assert_eq!(decoded(&merged(&before, changes).unwrap()), after);
    }

    #[test]
    fn counts_that_are_cut_short_are_an_error() {
        let whole = merged(&[], &[(300, 2)]).unwrap();
        let cut = &whole[..whole.len() - 1];
        assert!(Decoder::new(cut).any(|count| count.is_err()));
    }

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
