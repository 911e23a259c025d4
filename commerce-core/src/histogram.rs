//! Counts by size: how long things took, how big they were. Cheap to add to from many threads.

use std::sync::atomic::{AtomicU64, Ordering};

/// One bucket for each power of two from 1 to 2^30, and one for all beyond: of microseconds that is up
/// to a quarter of an hour.
const BUCKETS: usize = 32;

/// Counts values by the powers of two they lie between.
///
/// ```
/// use commerce_core::Histogram;
/// let sizes = Histogram::default();
/// for size in [1, 3, 900] {
///     sizes.add(size);
/// }
/// let seen = sizes.distribution();
/// assert_eq!((seen.count(), seen.sum), (3, 904));
/// let up_to_four: u64 = seen.buckets().take_while(|(most, _)| *most <= 4).map(|(_, n)| n).sum();
/// assert_eq!(up_to_four, 2);
/// ```
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// What a [`Histogram`] had counted at some instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    counts: [u64; BUCKETS],
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// Counts a value.
    pub fn add(&self, value: u64) {
        // The power of two that the value does not exceed.
        let power = value.max(1).checked_next_power_of_two().map_or(64, u64::trailing_zeros);
        let bucket = usize::try_from(power).unwrap_or(BUCKETS);
        if let Some(count) = self.counts.get(bucket.min(BUCKETS.saturating_sub(1))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// What has been counted so far.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let mut counts = [0; BUCKETS];
        for (copy, count) in counts.iter_mut().zip(&self.counts) {
            *copy = count.load(Ordering::Relaxed);
        }
        Distribution { counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

impl Distribution {
    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The greatest value each bucket holds, and how many it holds. The last holds all beyond as well.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        (0_u32..).zip(self.counts).map(|(power, count)| (1_u64 << power.min(63), count))
    }
}
