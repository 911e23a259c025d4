//! The encoding of the counts of a bucket: pairs of variable-length integers in ascending order of their keys, the
//! difference to the key before and the number. The key of a total is its figure; the key of units is their product.
//! The money of products is a list of numbers beside their units, in the same order.

use crate::error::StoreError;

/// A key with its numbers.
pub(super) type Count<const N: usize> = (i64, [i64; N]);

/// Sorts counts by key and adds up those of the same key. Two sorted runs are merged in linear time.
pub(super) fn sum_up<const N: usize>(counts: &mut Vec<Count<N>>) {
    counts.sort_by_key(|(key, _)| *key);
    counts.dedup_by(|later, sum| {
        let same = later.0 == sum.0;
        if same {
            for (sum, more) in sum.1.iter_mut().zip(later.1) {
                *sum = sum.saturating_add(more);
            }
        }
        same
    });
}

/// Adds changes to totals. Those of zero are dropped.
pub(super) fn add_totals(totals: &[u8], changes: &[Count<1>]) -> Result<Vec<u8>, StoreError> {
    let mut counts = Decoder::new(totals)
        .map(|pair| pair.map(|(key, number)| (key, [number])))
        .collect::<Result<Vec<_>, _>>()?;
    counts.extend_from_slice(changes);
    sum_up(&mut counts);
    let mut encoder = Encoder::with_capacity(counts.len().saturating_mul(4));
    for (key, [number]) in counts.into_iter().filter(|(_, numbers)| *numbers != [0]) {
        encoder.pair(key, number);
    }
    Ok(encoder.bytes)
}

/// Adds changes, in ascending order of their products, to the units and the money of products. Those without both are
/// dropped. The bytes between the changed products are copied as they are, since a commit changes few of many.
pub(super) fn add_products(
    (units, net): (&[u8], &[u8]),
    changes: &[Count<2>],
) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    let room = changes.len().saturating_mul(8);
    let encoder = |before: &[u8]| Encoder::with_capacity(before.len().saturating_add(room));
    let mut merge = ProductMerge {
        units: Decoder::new(units),
        money: Decoder::new(net),
        new_units: encoder(units),
        new_money: encoder(net),
    };
    for &(product, [more_units, more_net]) in changes {
        merge.copy_before(product)?;
        let [units, net] = merge.take(product)?.unwrap_or_default();
        let sum = [units.saturating_add(more_units), net.saturating_add(more_net)];
        if sum != [0, 0] {
            merge.push(product, sum);
        }
    }
    merge.copy_rest()
}

/// The merge of a row's products with changes.
struct ProductMerge<'a> {
    units: Decoder<'a>,
    money: Decoder<'a>,
    new_units: Encoder,
    new_money: Encoder,
}

impl ProductMerge<'_> {
    fn push(&mut self, product: i64, [units, net]: [i64; 2]) {
        self.new_units.pair(product, units);
        self.new_money.signed(net);
    }

    /// Reads the next product if it satisfies the condition.
    fn next_if(
        &mut self,
        condition: impl FnOnce(i64) -> bool,
    ) -> Result<Option<Count<2>>, StoreError> {
        let before = self.units.clone();
        match self.units.next().transpose()? {
            Some((product, units)) if condition(product) => {
                let net = self.money.number().ok_or_else(truncated)?;
                Ok(Some((product, [units, signed(net)])))
            }
            _ => {
                self.units = before;
                Ok(None)
            }
        }
    }

    fn take(&mut self, product: i64) -> Result<Option<[i64; 2]>, StoreError> {
        Ok(self.next_if(|next| next == product)?.map(|(_, numbers)| numbers))
    }

    /// Writes the next product if it is below the limit and its distance is from another product than before.
    fn copy_first(&mut self, limit: Option<i64>) -> Result<(), StoreError> {
        if self.new_units.last != self.units.last
            && let Some((product, numbers)) =
                self.next_if(|next| limit.is_none_or(|limit| next < limit))?
        {
            self.push(product, numbers);
        }
        Ok(())
    }

    fn copy_before(&mut self, limit: i64) -> Result<(), StoreError> {
        self.copy_first(Some(limit))?;
        let (units, money) = (self.units.bytes, self.money.bytes);
        while self.next_if(|next| next < limit)?.is_some() {}
        let read = |all: &[u8], rest: &[u8]| all.len().saturating_sub(rest.len());
        let bytes = units.get(..read(units, self.units.bytes)).unwrap_or_default();
        if !bytes.is_empty() {
            self.new_units.bytes.extend_from_slice(bytes);
            self.new_units.last = self.units.last;
            let bytes = money.get(..read(money, self.money.bytes)).unwrap_or_default();
            self.new_money.bytes.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn copy_rest(mut self) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
        self.copy_first(None)?;
        self.new_units.bytes.extend_from_slice(self.units.bytes);
        self.new_money.bytes.extend_from_slice(self.money.bytes);
        Ok((self.new_units.bytes, self.new_money.bytes))
    }
}

/// Reads the units and the money of products.
pub(super) fn products<'a>(
    units: &'a [u8],
    net: &'a [u8],
) -> impl Iterator<Item = Result<Count<2>, StoreError>> + 'a {
    let mut units = Decoder::new(units);
    let mut money = Decoder::new(net);
    std::iter::from_fn(move || match (units.next(), money.bytes.is_empty()) {
        (None, true) => None,
        (None, false) => {
            money.bytes = &[];
            Some(Err(truncated()))
        }
        (Some(pair), _) => Some(pair.and_then(|(product, units)| {
            let net = money.number().ok_or_else(truncated)?;
            Ok((product, [units, signed(net)]))
        })),
    })
}

fn truncated() -> StoreError {
    StoreError::Corrupt("the counts of a sales row are truncated".to_owned())
}

/// Writes counts in ascending order of their keys.
struct Encoder {
    bytes: Vec<u8>,
    last: i64,
}

impl Encoder {
    fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), last: 0 }
    }

    fn pair(&mut self, key: i64, number: i64) {
        self.number(key.wrapping_sub(self.last).cast_unsigned());
        self.signed(number);
        self.last = key;
    }

    fn signed(&mut self, number: i64) {
        // Zigzag, so that small negative numbers are short too.
        self.number((number.wrapping_shl(1) ^ number.wrapping_shr(63)).cast_unsigned());
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

fn signed(number: u64) -> i64 {
    number.wrapping_shr(1).cast_signed() ^ (number & 1).cast_signed().wrapping_neg()
}

/// Reads pairs of keys and numbers.
#[derive(Clone)]
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
    last: i64,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, last: 0 }
    }

    #[inline]
    fn number(&mut self) -> Option<u64> {
        let (&first, rest) = self.bytes.split_first()?;
        if first < 0x80 {
            // Most distances and units.
            self.bytes = rest;
            return Some(u64::from(first));
        }
        self.long_number()
    }

    fn long_number(&mut self) -> Option<u64> {
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
        let (Some(distance), Some(number)) = (self.number(), self.number()) else {
            self.bytes = &[];
            return Some(Err(truncated()));
        };
        self.last = self.last.wrapping_add(distance.cast_signed());
        Some(Ok((self.last, signed(number))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::collections::BTreeMap;

    fn decoded(bytes: &[u8]) -> Vec<(i64, i64)> {
        Decoder::new(bytes).map(Result::unwrap).collect()
    }

    fn totals(counts: &[(i64, i64)]) -> Vec<Count<1>> {
        counts.iter().map(|(key, number)| (*key, [*number])).collect()
    }

    #[rstest]
    #[case::first(&[], &[(3, 2), (9, 1)], &[(3, 2), (9, 1)])]
    #[case::between(&[(3, 2), (9, 1)], &[(1, 5), (4, 5), (10, 5)], &[(1, 5), (3, 2), (4, 5), (9, 1), (10, 5)])]
    #[case::added(&[(3, 2), (9, 1)], &[(9, 200)], &[(3, 2), (9, 201)])]
    #[case::returned(&[(3, 2), (9, 1)], &[(3, -2)], &[(9, 1)])]
    #[case::zero_dropped(&[(3, 2)], &[(3, -2)], &[])]
    #[case::edges(&[(0, 1)], &[(i64::MAX, i64::MIN)], &[(0, 1), (i64::MAX, i64::MIN)])]
    fn changes_are_added_to_totals(
        #[case] before: &[(i64, i64)],
        #[case] changes: &[(i64, i64)],
        #[case] after: &[(i64, i64)],
    ) {
        let before = add_totals(&[], &totals(before)).unwrap();
        assert_eq!(decoded(&add_totals(&before, &totals(changes)).unwrap()), after);
    }

    #[test]
    fn product_stays_while_it_has_units_or_money() {
        let before = [(3, [2, 500]), (9, [1, 70])];
        let (units, net) = add_products((&[], &[]), &before).unwrap();
        assert_eq!(decoded(&units), [(3, 2), (9, 1)]);
        let changes = [(3, [-2, -499]), (4, [1, 0]), (9, [-1, -70])];
        let (units, net) = add_products((&units, &net), &changes).unwrap();
        let after: Vec<_> = products(&units, &net).map(Result::unwrap).collect();
        assert_eq!(after, [(3, [0, 1]), (4, [1, 0])]);
    }

    proptest! {
        #[test]
        fn changes_of_products_add_up(
            before in prop::collection::btree_map(0_i64..40, [-2_i64..3, -200_i64..300], 0..30),
            changes in prop::collection::btree_map(0_i64..40, [-2_i64..3, -200_i64..300], 0..6),
        ) {
            let list = |counts: &BTreeMap<i64, [i64; 2]>| -> Vec<Count<2>> {
                counts.iter().filter(|(_, n)| **n != [0, 0]).map(|(key, n)| (*key, *n)).collect()
            };
            let (units, net) = add_products((&[], &[]), &list(&before)).unwrap();
            let (units, net) = add_products((&units, &net), &list(&changes)).unwrap();
            let mut sums = before;
            for (key, [units, net]) in changes {
                let sum = sums.entry(key).or_default();
                *sum = [sum[0] + units, sum[1] + net];
            }
            let after: Vec<_> = products(&units, &net).map(Result::unwrap).collect();
            prop_assert_eq!(&after, &list(&sums));
            prop_assert_eq!(add_products((&[], &[]), &after).unwrap(), (units, net), "one encoding");
        }
    }

    #[test]
    fn truncated_counts_are_an_error() {
        let (units, net) = add_products((&[], &[]), &[(300, [2, 1_000])]).unwrap();
        let cut = |bytes: &[u8]| bytes[..bytes.len() - 1].to_vec();
        assert!(Decoder::new(&cut(&units)).any(|count| count.is_err()));
        for (units, net) in [(units.clone(), cut(&net)), (units.clone(), vec![]), (vec![], net)] {
            assert!(products(&units, &net).any(|count| count.is_err()));
        }
    }
}
