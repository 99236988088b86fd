//! Weighted selection by one uniform random number.

use pointsman_core::Rng;

/// Items with weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Weighted<T> {
    pub(crate) items: Vec<T>,
    /// The sum of the weights up to and including each item.
    ends: Vec<u64>,
}

impl<T> FromIterator<(T, u32)> for Weighted<T> {
    fn from_iter<I: IntoIterator<Item = (T, u32)>>(items: I) -> Self {
        let mut sum = 0;
        let items = items.into_iter().map(|(item, weight)| {
            sum += u64::from(weight);
            (item, sum)
        });
        let (items, ends) = items.unzip();
        Self { items, ends }
    }
}

impl<T> Weighted<T> {
    /// The item selected by `draw`, which is uniform over 64 bits; `None` where all weights are zero.
    pub(crate) fn pick(&self, draw: u64) -> Option<&T> {
        let total = self.ends.last().copied().filter(|total| *total > 0)?;
        // The high half of the product is uniform over 0..total. This is Lemire's method (2019) without rejection, whose
        // error is below 2⁻⁴⁰ for the totals that manifests allow.
        let point = u64::try_from((u128::from(draw) * u128::from(total)) >> 64).ok()?;
        self.items.get(self.ends.partition_point(|end| *end <= point))
    }
}

/// A second random number, practically independent of `draw`, so that one random number per request serves several
/// selections.
pub(crate) const fn mixed(draw: u64) -> u64 {
    Rng::seeded(draw).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The positions of these weights as items.
    fn weighted(weights: &[u32]) -> Weighted<usize> {
        weights.iter().copied().enumerate().collect()
    }

    #[test]
    fn items_are_selected_in_proportion_to_their_weights() {
        #[track_caller]
        fn check(weights: &[u32]) {
            let picker = weighted(weights);
            let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
            let steps = total * 10;
            let mut counts = vec![0_u64; weights.len()];
            for i in 0..steps {
                let draw = u64::try_from(((u128::from(i) << 64) + (1 << 63)) / u128::from(steps)).unwrap();
                counts[*picker.pick(draw).unwrap()] += 1;
            }
            let expected: Vec<u64> = weights.iter().map(|w| u64::from(*w) * 10).collect();
            assert_eq!(counts, expected);
        }
        check(&[90, 10]);
        check(&[1]);
        check(&[0, 3, 0, 1, 0]);
        check(&[1, 1, 1]);
        check(&[999, 1]);
    }

    #[test]
    fn items_of_weight_zero_are_never_selected() {
        let weights = weighted(&[0, 5, 5, 0]);
        assert_eq!(weights.pick(0), Some(&1));
        assert_eq!(weights.pick(u64::MAX), Some(&2));
        assert_eq!(weighted(&[0, 0]).pick(7), None);
        assert_eq!(weighted(&[]).pick(7), None);
    }

    #[test]
    fn selections_by_a_number_and_its_mix_are_independent() {
        let half = weighted(&[1, 1]);
        let tenth = weighted(&[9, 1]);
        let mut first_and_rare = 0;
        for i in 0..100_000_u64 {
            let draw = mixed(i);
            if half.pick(draw) == Some(&0) && tenth.pick(mixed(draw)) == Some(&1) {
                first_and_rare += 1;
            }
        }
        // 5 % of 100,000, within 3σ (69).
        assert!((4_793..=5_207).contains(&first_and_rare), "{first_and_rare}");
    }
}
