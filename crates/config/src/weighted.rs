//! Choices by weight from one uniform random number.

use pointsman_core::Rng;

/// Cumulated weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weights {
    /// Where each item's part ends.
    ends: Vec<u64>,
}

impl Weights {
    pub(crate) fn new(weights: impl Iterator<Item = u32>) -> Self {
        let ends = weights.scan(0_u64, |sum, weight| {
            *sum += u64::from(weight);
            Some(*sum)
        });
        Self { ends: ends.collect() }
    }

    /// The item that a number, uniform over 64 bits, falls to; none where all weights are zero.
    pub(crate) fn pick(&self, draw: u64) -> Option<usize> {
        let total = self.ends.last().copied().filter(|total| *total > 0)?;
        // The high half of the product is uniform over 0..total (Lemire 2019, without its rejection: the error is
        // below 2⁻⁴⁰ for weights as manifests have them).
        let point = u64::try_from((u128::from(draw) * u128::from(total)) >> 64).ok()?;
        Some(self.ends.partition_point(|end| *end <= point))
    }
}

/// A number that is uniform where `draw` is and independent of its size for all purposes here, so that one random
/// number of a request serves several choices.
pub(crate) const fn mixed(draw: u64) -> u64 {
    Rng::seeded(draw).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_gets_exactly_its_share_of_an_even_sweep() {
        #[track_caller]
        fn check(weights: &[u32]) {
            let picker = Weights::new(weights.iter().copied());
            let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
            let steps = total * 10;
            let mut counts = vec![0_u64; weights.len()];
            for i in 0..steps {
                let draw = u64::try_from(((u128::from(i) << 64) + (1 << 63)) / u128::from(steps)).unwrap();
                counts[picker.pick(draw).unwrap()] += 1;
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
    fn the_ends_of_the_range_fall_to_the_first_and_the_last_item_with_weight() {
        let weights = Weights::new([0, 5, 5, 0].into_iter());
        assert_eq!(weights.pick(0), Some(1));
        assert_eq!(weights.pick(u64::MAX), Some(2));
        assert_eq!(Weights::new([0, 0].into_iter()).pick(7), None);
        assert_eq!(Weights::default().pick(7), None);
    }

    #[test]
    fn mixing_leaves_two_choices_of_one_number_independent() {
        let half = Weights::new([1, 1].into_iter());
        let tenth = Weights::new([9, 1].into_iter());
        let mut first_and_rare = 0;
        for i in 0..100_000_u64 {
            let draw = mixed(i);
            if half.pick(draw) == Some(0) && tenth.pick(mixed(draw)) == Some(1) {
                first_and_rare += 1;
            }
        }
        // 5 % of 100,000, within 3σ (69).
        assert!((4_793..=5_207).contains(&first_and_rare), "{first_and_rare}");
    }
}
