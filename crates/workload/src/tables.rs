//! Published length statistics as quantile tables.
//!
//! Where only the mean and some quantiles are published, linear interpolation between them misses the mean. Further
//! points are placed so that the table's mean is the published one; each table's comment lists them. Prompt and output
//! are independent: no source publishes their correlation.

use super::distribution::Distribution;

/// A named table of prompt and output lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthTable {
    /// ShareGPT as `inference-benchmark` (LPG) filters it: two turns, at least 4 tokens, at most 1,024 each.
    /// Source: `sample.json` of the Gateway API Inference Extension's benchmark.
    ShareGpt,
    /// ShareGPT with the means of DistServe (OSDI'24), 755 and 200: LPG's shape, scaled. An estimate.
    ShareGptDistServe,
    /// Azure's code completion trace of 2023 (8,819 requests).
    Azure2023Code,
    /// Azure's conversation trace of 2023 (19,366 requests).
    Azure2023Conversation,
}

/// Shares from 0 to 1, and lengths.
type Quantiles = &'static [(f64, f64)];

/// Published: mean 251.5 and 225.3, p50, p90, p99. Placed: 0.75, where the prompt's 347 gives a mean of 251.4 (350 would
/// give 252.0). The ends are LPG's filter.
const SHAREGPT_PROMPT: Quantiles =
    &[(0.0, 4.0), (0.5, 109.0), (0.75, 347.0), (0.9, 714.0), (0.99, 987.0), (1.0, 1_024.0)];
const SHAREGPT_OUTPUT: Quantiles =
    &[(0.0, 4.0), (0.5, 144.0), (0.75, 250.0), (0.9, 564.0), (0.99, 948.0), (1.0, 1_024.0)];

/// LPG's shape, times 755/251.5 and 200/225.3.
const DISTSERVE_PROMPT: Quantiles =
    &[(0.0, 12.0), (0.5, 327.0), (0.75, 1_042.0), (0.9, 2_143.0), (0.99, 2_963.0), (1.0, 3_074.0)];
const DISTSERVE_OUTPUT: Quantiles =
    &[(0.0, 4.0), (0.5, 128.0), (0.75, 222.0), (0.9, 501.0), (0.99, 842.0), (1.0, 909.0)];

/// Published: p50, p90, p99. Placed: 0.75; for the output 0.25, 0.75, 0.95 and 0.999 too, its tail being long.
const AZURE_CODE_PROMPT: Quantiles =
    &[(0.0, 3.0), (0.5, 1_469.0), (0.75, 2_324.0), (0.9, 5_188.0), (0.99, 7_436.0), (1.0, 7_437.0)];
const AZURE_CODE_OUTPUT: Quantiles = &[
    (0.0, 1.0),
    (0.25, 7.0),
    (0.5, 13.0),
    (0.75, 22.0),
    (0.9, 55.0),
    (0.95, 78.0),
    (0.99, 251.0),
    (0.999, 450.0),
    (1.0, 1_899.0),
];

/// Published: p50, p90, p99. Placed: for the prompt 0.25, 0.75, 0.95 and 0.999, for the output 0.75.
const AZURE_CONVERSATION_PROMPT: Quantiles = &[
    (0.0, 2.0),
    (0.25, 216.0),
    (0.5, 1_020.0),
    (0.75, 1_450.0),
    (0.9, 2_734.0),
    (0.95, 3_200.0),
    (0.99, 4_142.0),
    (0.999, 6_000.0),
    (1.0, 14_050.0),
];
const AZURE_CONVERSATION_OUTPUT: Quantiles =
    &[(0.0, 1.0), (0.5, 129.0), (0.75, 382.0), (0.9, 424.0), (0.99, 601.0), (1.0, 1_000.0)];

impl LengthTable {
    /// Every table.
    pub const ALL: [Self; 4] =
        [Self::ShareGpt, Self::ShareGptDistServe, Self::Azure2023Code, Self::Azure2023Conversation];

    /// The name in experiments.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ShareGpt => "sharegpt",
            Self::ShareGptDistServe => "sharegpt-distserve",
            Self::Azure2023Code => "azure-2023-code",
            Self::Azure2023Conversation => "azure-2023-conversation",
        }
    }

    const fn points(self) -> (Quantiles, Quantiles) {
        match self {
            Self::ShareGpt => (SHAREGPT_PROMPT, SHAREGPT_OUTPUT),
            Self::ShareGptDistServe => (DISTSERVE_PROMPT, DISTSERVE_OUTPUT),
            Self::Azure2023Code => (AZURE_CODE_PROMPT, AZURE_CODE_OUTPUT),
            Self::Azure2023Conversation => (AZURE_CONVERSATION_PROMPT, AZURE_CONVERSATION_OUTPUT),
        }
    }

    /// Tokens of prompts.
    #[must_use]
    pub fn prompt(self) -> Distribution {
        Distribution::Quantiles(self.points().0.into())
    }

    /// Tokens of outputs.
    #[must_use]
    pub fn output(self) -> Distribution {
        Distribution::Quantiles(self.points().1.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_meet_the_published_means_and_quantiles() {
        #[track_caller]
        fn check(distribution: &Distribution, mean: f64, quantiles: &[f64]) {
            assert!((distribution.mean_tokens() / mean - 1.0).abs() < 0.02, "{}", distribution.mean_tokens());
            let Distribution::Quantiles(points) = distribution else { panic!("not a table") };
            for (share, value) in [0.5, 0.9, 0.99].iter().zip(quantiles) {
                assert!(points.contains(&(*share, *value)), "{share}");
            }
            assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
            assert_eq!((points[0].0, points[points.len() - 1].0), (0.0, 1.0));
        }
        check(&LengthTable::ShareGpt.prompt(), 251.5, &[109.0, 714.0, 987.0]);
        check(&LengthTable::ShareGpt.output(), 225.3, &[144.0, 564.0, 948.0]);
        check(&LengthTable::ShareGptDistServe.prompt(), 755.0, &[]);
        check(&LengthTable::ShareGptDistServe.output(), 200.0, &[]);
        check(&LengthTable::Azure2023Code.prompt(), 2_048.0, &[1_469.0, 5_188.0, 7_436.0]);
        check(&LengthTable::Azure2023Code.output(), 27.9, &[13.0, 55.0, 251.0]);
        check(&LengthTable::Azure2023Conversation.prompt(), 1_155.0, &[1_020.0, 2_734.0, 4_142.0]);
        check(&LengthTable::Azure2023Conversation.output(), 211.0, &[129.0, 424.0, 601.0]);
    }
}
