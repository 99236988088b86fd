//! Latency measures.

/// A latency measure of the serving literature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Time to first token: from the intended send time to the first generated token.
    Ttft,
    /// Time per output token after the first: `(E2E − TTFT) / (output − 1)`.
    Tpot,
    /// Normalised time per output token: `E2E / output`, what LPG calls per-output-token latency.
    Ntpot,
    /// End to end: from the intended send time to the last byte.
    E2e,
    /// Inter-token latency: the time between two tokens, pooled over all requests.
    Itl,
}

impl Measure {
    /// The measures with one value per request, in printing order.
    pub const PER_REQUEST: [Self; 4] = [Self::Ttft, Self::Tpot, Self::Ntpot, Self::E2e];

    /// The JSON key, for example `ttft_ms`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Ttft => "ttft_ms",
            Self::Tpot => "tpot_ms",
            Self::Ntpot => "ntpot_ms",
            Self::E2e => "e2e_ms",
            Self::Itl => "itl_ms",
        }
    }

    /// The name in tables.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ttft => "TTFT",
            Self::Tpot => "TPOT",
            Self::Ntpot => "NTPOT",
            Self::E2e => "E2E",
            Self::Itl => "ITL",
        }
    }
}
