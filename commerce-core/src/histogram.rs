//! Histograms of durations and sizes, cheap to update from many threads.

use std::sync::atomic::{AtomicU64, Ordering};

/// The bucket edges for durations, in microseconds: the usual ones from 5 ms to 10 s, and three below them, where most
/// commits are.
pub const TIMES: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// The bucket edges for sizes of batches.
pub const SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// The number of buckets: one for each edge of the longest scale, and one for larger values.
const BUCKETS: usize = TIMES.len() + 1;
const _: () = assert!(SIZES.len() < BUCKETS);

/// Counts values in buckets.
///
/// ```
/// use commerce_core::{Histogram, SIZES};
/// let sizes = Histogram::new(SIZES);
/// for size in [1, 3, 5_000] {
///     sizes.add(size);
/// }
/// let distribution = sizes.distribution();
/// assert_eq!((distribution.count(), distribution.sum), (3, 5_004));
/// let up_to_four = distribution.buckets().take_while(|(edge, _)| *edge <= 4);
/// let up_to_four: u64 = up_to_four.map(|(_, count)| count).sum();
/// assert_eq!(up_to_four, 2);
/// ```
#[derive(Debug)]
pub struct Histogram {
    edges: &'static [u64],
    counts: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// The counts of a [`Histogram`] at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    edges: &'static [u64],
    counts: [u64; BUCKETS],
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// Creates a histogram with these edges, [`TIMES`] or [`SIZES`].
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

    /// Returns the counts so far.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let counts = std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed));
        Distribution { edges: self.edges, counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

impl Distribution {
    /// Returns the number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns each edge with the number of values above the previous edge and up to this one. Values beyond the last
    /// edge are in [`Distribution::count`] only.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.edges.iter().copied().zip(self.counts)
    }
}
