//! Counts by size: how long things took, how big they were. Cheap to add to from many threads.

use std::sync::atomic::{AtomicU64, Ordering};

/// The edges for times, in microseconds: the usual ones from 5 ms to 10 s, and three below them, where most commits
/// are.
pub const TIMES: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// The edges for sizes of batches.
pub const SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// As many buckets as the longest scale has edges, and one for all beyond.
const BUCKETS: usize = TIMES.len() + 1;
const _: () = assert!(SIZES.len() < BUCKETS);

/// Counts values by the edges they lie between.
///
/// ```
/// use commerce_core::{Histogram, SIZES};
/// let sizes = Histogram::new(SIZES);
/// for size in [1, 3, 5_000] {
///     sizes.add(size);
/// }
/// let seen = sizes.distribution();
/// assert_eq!((seen.count(), seen.sum), (3, 5_004));
/// let up_to_four: u64 = seen.buckets().take_while(|(edge, _)| *edge <= 4).map(|(_, n)| n).sum();
/// assert_eq!(up_to_four, 2);
/// ```
#[derive(Debug)]
pub struct Histogram {
    edges: &'static [u64],
    counts: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// What a [`Histogram`] had counted at some instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    edges: &'static [u64],
    counts: [u64; BUCKETS],
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// One with these edges, [`TIMES`] or [`SIZES`].
    #[must_use]
    pub fn new(edges: &'static [u64]) -> Self {
        Self { edges, counts: Default::default(), sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub fn add(&self, value: u64) {
        let bucket = self.edges.partition_point(|edge| *edge < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// What has been counted so far.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let counts = std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed));
        Distribution { edges: self.edges, counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

impl Distribution {
    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Each edge, and how many values lie between the one below it and it, itself included. Values beyond the last
    /// edge are in [`Distribution::count`] only.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.edges.iter().copied().zip(self.counts)
    }
}
