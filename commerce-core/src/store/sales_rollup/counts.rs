//! The encoding of the counts of a bucket: pairs of variable-length integers in product order, the difference to the
//! product before and the units.

use crate::error::StoreError;

/// Sorts counts by product and adds up those of the same product.
pub(super) fn sum_up(counts: &mut Vec<(i64, i64)>) {
    counts.sort_unstable_by_key(|(product, _)| *product);
    counts.dedup_by(|later, sum| {
        let same = later.0 == sum.0;
        if same {
            sum.1 = sum.1.saturating_add(later.1);
        }
        same
    });
}

/// Adds changes to the counts of a row: a merge of two sorted runs. Counts of zero are dropped.
pub(super) fn merged(before: &[u8], changes: &[(i64, i64)]) -> Result<Vec<u8>, StoreError> {
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

/// Writes counts in ascending product order.
struct Encoder {
    bytes: Vec<u8>,
    last: i64,
}

impl Encoder {
    fn push(&mut self, (product, units): (i64, i64)) {
        if units != 0 {
            self.number(product.wrapping_sub(self.last).cast_unsigned());
            // Zigzag, so that small negative numbers are short too.
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

/// Reads the output of [`Encoder`].
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
    last: i64,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
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
            return Some(Err(StoreError::Corrupt(
                "the counts of a sales row are truncated".to_owned(),
            )));
        };
        self.last = self.last.wrapping_add(distance.cast_signed());
        let units = units.wrapping_shr(1).cast_signed() ^ (units & 1).cast_signed().wrapping_neg();
        Some(Ok((self.last, units)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn decoded(bytes: &[u8]) -> Vec<(i64, i64)> {
        Decoder::new(bytes).map(Result::unwrap).collect()
    }

    #[rstest]
    #[case::first(&[], &[(3, 2), (9, 1)], &[(3, 2), (9, 1)])]
    #[case::between(&[(3, 2), (9, 1)], &[(1, 5), (4, 5), (10, 5)], &[(1, 5), (3, 2), (4, 5), (9, 1), (10, 5)])]
    #[case::added(&[(3, 2), (9, 1)], &[(9, 200)], &[(3, 2), (9, 201)])]
    #[case::returned(&[(3, 2), (9, 1)], &[(3, -2)], &[(9, 1)])]
    #[case::zero_dropped(&[(3, 2)], &[(3, -2)], &[])]
    #[case::edges(&[(0, 1)], &[(i64::MAX, i64::MIN)], &[(0, 1), (i64::MAX, i64::MIN)])]
    fn changes_merge_into_counts(
        #[case] before: &[(i64, i64)],
        #[case] changes: &[(i64, i64)],
        #[case] after: &[(i64, i64)],
    ) {
        let before = merged(&[], before).unwrap();
        assert_eq!(decoded(&merged(&before, changes).unwrap()), after);
    }

    #[test]
    fn truncated_counts_are_an_error() {
        let whole = merged(&[], &[(300, 2)]).unwrap();
        let cut = &whole[..whole.len() - 1];
        assert!(Decoder::new(cut).any(|count| count.is_err()));
    }
}
