//! ShareGPT's lengths as the load generator of upstream's benchmark filters them.

/// A seeded generator (`SplitMix64`).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Quantiles of the prompts: published are the median, p90, p99 and the mean 251.5; the one at 0.75 is placed to
/// meet the mean.
const PROMPT: &[(f64, f64)] =
    &[(0.0, 4.0), (0.5, 109.0), (0.75, 350.0), (0.9, 714.0), (0.99, 987.0), (1.0, 1024.0)];

/// The same of the outputs, mean 225.3.
const OUTPUT: &[(f64, f64)] =
    &[(0.0, 4.0), (0.5, 144.0), (0.75, 250.0), (0.9, 564.0), (0.99, 948.0), (1.0, 1024.0)];

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lengths are small and positive")]
fn at(points: &[(f64, f64)], share: f64) -> u32 {
    let above = points.iter().position(|(upper, _)| share < *upper).unwrap_or(points.len() - 1);
    let ((low, from), (high, to)) = (points[above - 1], points[above]);
    (from + (to - from) * (share - low) / (high - low)).round() as u32
}

/// A prompt's and an answer's length, drawn independently.
pub(crate) fn draw(random: &mut Random) -> (u32, u32) {
    (at(PROMPT, random.unit()), at(OUTPUT, random.unit()))
}

#[test]
fn the_means_are_the_published_ones() {
    let mut random = Random::new(1);
    let (mut prompts, mut outputs) = (0_u64, 0_u64);
    for _ in 0..200_000 {
        let (prompt, output) = draw(&mut random);
        prompts += u64::from(prompt);
        outputs += u64::from(output);
    }
    assert!(prompts.abs_diff(200_000 * 2515 / 10) < 200_000 * 3, "{prompts}");
    assert!(outputs.abs_diff(200_000 * 2253 / 10) < 200_000 * 3, "{outputs}");
}
