//! A pseudo-random number generator with a fixed sequence for each seed, for `seed` and `bench`.

use std::cmp::Reverse;

/// Sebastiano Vigna's splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()).saturating_mul(u128::from(bound));
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from `min` to `max`, inclusive.
    pub(crate) fn between(&mut self, min: u64, max: u64) -> u64 {
        let span = max.saturating_sub(min).saturating_add(1);
        min.saturating_add(self.below(span))
    }

    /// A number in the half-open range 0.0..1.0.
    #[expect(clippy::float_arithmetic, reason = "a probability, not money")]
    fn chance(&mut self) -> f64 {
        let high = u32::try_from(self.next() >> 32).unwrap_or(0);
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }

    /// The numbers 0 to `count - 1` in a random order.
    pub(crate) fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut numbers: Vec<(u64, usize)> =
            (0..count).map(|number| (self.next(), number)).collect();
        numbers.sort_unstable_by_key(|pair| Reverse(*pair));
        numbers.into_iter().map(|(_, number)| number).collect()
    }
}

/// A Zipf distribution: the n-th item has the weight 1 / n^exponent. With the exponent 0 it is uniform.
#[derive(Clone, Debug)]
pub(crate) struct Zipf {
    /// The cumulative weights.
    sums: Vec<f64>,
}

impl Zipf {
    #[expect(clippy::float_arithmetic, reason = "a probability, not money")]
    pub(crate) fn new(count: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=u32::try_from(count).unwrap_or(u32::MAX)).map(|rank| {
            sum += f64::from(rank).powf(-exponent);
            sum
        });
        Self { sums: weights.collect() }
    }

    /// Draws an index.
    #[expect(clippy::float_arithmetic, reason = "a probability, not money")]
    pub(crate) fn choose(&self, random: &mut SplitMix) -> usize {
        let point = random.chance() * self.sums.last().copied().unwrap_or_default();
        let index = self.sums.partition_point(|sum| *sum <= point);
        index.min(self.sums.len().saturating_sub(1))
    }

    /// Draws `count` distinct indices. An index that was drawn before is replaced by the next free one.
    pub(crate) fn choose_distinct(&self, count: usize, random: &mut SplitMix) -> Vec<usize> {
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count.min(self.sums.len()) {
            let mut index = self.choose(random);
            while chosen.contains(&index) {
                index = index.saturating_add(1).checked_rem(self.sums.len()).unwrap_or(0);
            }
            chosen.push(index);
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn splitmix_matches_the_reference_sequence() {
        let mut random = SplitMix::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn numbers_stay_within_bounds() {
        let mut random = SplitMix::new(1);
        assert!((0..1_000).all(|_| (3..=5).contains(&random.between(3, 5))));
        assert_eq!(random.below(0), 0);
        let shuffled: BTreeSet<usize> = random.shuffled(50).into_iter().collect();
        assert_eq!(shuffled.len(), 50);
    }

    #[test]
    fn zipf_exponent_sets_the_skew() {
        let mut random = SplitMix::new(1);
        let mut firsts = |exponent| {
            let zipf = Zipf::new(10, exponent);
            (0..10_000).filter(|_| zipf.choose(&mut random) == 0).count()
        };
        assert!((900..1_100).contains(&firsts(0.0)));
        assert!((3_200..3_700).contains(&firsts(1.0))); // 1 / (1 + 1/2 + ... + 1/10) is 0.34
        assert!(firsts(10.0) > 9_900);
    }

    #[test]
    fn choose_distinct_can_draw_every_index() {
        let zipf = Zipf::new(20, 10.0);
        let chosen = zipf.choose_distinct(20, &mut SplitMix::new(1));
        assert_eq!(chosen.into_iter().collect::<BTreeSet<_>>().len(), 20);
    }
}
