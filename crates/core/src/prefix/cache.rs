//! The model of one endpoint's prefix cache besides its blocks: its capacity, and how often hits were confirmed.

use super::{Holder, PrefixIndex, Tick};

/// Capacity in tokens of a cache whose size is not reported: near a 24 GB GPU with a small model, so that seldom too much
/// is expected. It grows where the engine reports more hits than expected.
const DEFAULT_CAPACITY: f64 = 131_072.0;
/// Largest plausible capacity in tokens; a larger reported one is ignored.
const MAX_CAPACITY: f64 = 1e9;

/// Expected cached share of a prompt below which a comparison says nothing.
const TOO_LITTLE: f64 = 0.1;
/// Difference up to which expected and reported shares agree: prompt tokens are an estimate here and exact there.
const CLOSE: f64 = 0.1;
/// Share of the usable capacity that one complete miss removes, and factor of a confirmed or unexpected hit.
const MISSED: f64 = 0.1;
const CONFIRMED: f64 = 1.01;
/// Bounds of the usable share; above 1 only for a capacity that is not reported.
const MAX_USABLE: f64 = 16.0;
const MIN_USABLE: f64 = 1.0 / 32.0;

/// Share of confirmed hits below which an engine counts as one without a prefix cache.
const NOT_CACHING: f64 = 0.1;

/// Used share of the capacity from which a cache counts as full: the next prompt evicts blocks.
const FULL: f64 = 0.98;

/// Idle time, in mean times between two uses (which spread widely), after which a block is as likely used again as not.
const INTERVALS: f64 = 3.0;
/// Upper bound of [`Cache::eviction`]: blocks that are evicted long before their next use would be evicted anyway.
const MAX_EVICTION: f64 = 2.0;

/// Least requests between two comparisons with the engine's counters.
const PER_SCRAPE: u32 = 8;

/// How far expected cache hits were confirmed, with exponential forgetting.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Agreement {
    requests: f64,
    /// Decayed sums of shares of prompts.
    expected: f64,
    reported: f64,
}

impl Agreement {
    /// Decay per comparison: about the last thirty count.
    const KEPT: f64 = 0.97;
    /// Weight of the prior, in prompts that were expected to be cached.
    const PRIOR: f64 = 2.0;

    fn observe(&mut self, expected: f64, reported: f64) {
        self.requests = self.requests * Self::KEPT + 1.0;
        self.expected = self.expected * Self::KEPT + expected;
        self.reported = self.reported * Self::KEPT + reported;
    }

    /// The confirmed share of the expected hits, 0 to 1, shrunk to the prior.
    fn met(&self, prior: f64) -> f64 {
        ((self.reported.min(self.expected) + Self::PRIOR * prior) / (self.expected + Self::PRIOR))
            .clamp(0.0, 1.0)
    }

    /// Mean expected and reported cached shares of a prompt; `None` before the first comparison.
    pub(crate) fn means(&self) -> Option<(f64, f64)> {
        (self.requests > 0.0).then(|| (self.expected / self.requests, self.reported / self.requests))
    }
}

/// Expectations since the last comparison with the engine's counters.
#[derive(Clone, Copy, Debug, Default)]
struct Unscraped {
    requests: u32,
    expected: f64,
    prompt: f64,
    /// The counters at that time: prompt tokens, and the cached ones among them.
    totals: Option<(f64, f64)>,
}

/// The model of one endpoint's cache.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    /// Its holder in the index, once it has blocks.
    pub(crate) holder: Option<Holder>,
    /// Tokens of prompts in flight that are in the index.
    pub(crate) indexed: u64,
    /// Tokens of long prompts in flight that evict nothing yet.
    pub(crate) unproven: u64,
    /// The capacity in tokens that the engine reported.
    reported_capacity: Option<f64>,
    /// Share of the capacity that seems to be available for prefixes.
    usable: f64,
    pub(crate) agreement: Agreement,
    /// Whether responses report cached tokens: then the engine's counters are not needed.
    responses_report: bool,
    unscraped: Unscraped,
    /// The last use of the block to be evicted next, if the cache is full.
    evicted_next: Option<Tick>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            holder: None,
            indexed: 0,
            unproven: 0,
            reported_capacity: None,
            usable: 1.0,
            agreement: Agreement::default(),
            responses_report: false,
            unscraped: Unscraped::default(),
            evicted_next: None,
        }
    }
}

impl Cache {
    /// Resets the cache. Requests in flight keep their share of `indexed` and `unproven` until they end.
    pub(crate) fn forget(&mut self, index: &mut PrefixIndex) {
        if let Some(holder) = self.holder.take() {
            index.leave(holder);
        }
        let Self { indexed, unproven, .. } = *self;
        *self = Self { indexed, unproven, ..Self::default() };
    }

    /// The engine reported its capacity in tokens.
    pub(crate) fn capacity_reported(&mut self, tokens: Option<f64>) {
        if let Some(tokens) = tokens.filter(|tokens| (1.0..=MAX_CAPACITY).contains(tokens)) {
            self.reported_capacity = Some(tokens);
            self.usable = self.usable.min(1.0);
        }
    }

    /// Updates its number of blocks. `fit` of them fit beside the requests in flight; `oldest` is the last use of
    /// the one to be evicted next.
    pub(crate) fn set_blocks(&mut self, blocks: u32, fit: u32, oldest: Option<Tick>) {
        let is_full = f64::from(blocks) >= FULL * f64::from(fit);
        self.evicted_next = oldest.filter(|_| is_full);
    }

    /// How likely blocks that a new prompt evicts are used again: 0 where there is room, and the more the sooner blocks are
    /// evicted compared with the mean time between two uses in prompts, up to [`MAX_EVICTION`]. *d* of the default rule.
    pub(crate) fn eviction(&self, now: Tick, reuse_interval: f64) -> f64 {
        let by_idle =
            |used: Tick| (INTERVALS * reuse_interval / f64::from(now.since(used).max(1))).min(MAX_EVICTION);
        self.evicted_next.map_or(0.0, by_idle)
    }

    /// Tokens that the cache holds: as reported, else as assumed.
    pub(crate) fn size(&self) -> f64 {
        self.reported_capacity.unwrap_or(DEFAULT_CAPACITY)
    }

    /// The assumed capacity for prefixes in tokens.
    pub(crate) fn capacity(&self) -> f64 {
        self.size() * self.usable
    }

    /// Weight of an expected cached token, 0 to 1. `fleet` is the agreement over all endpoints.
    pub(crate) fn trust(&self, fleet: &Agreement) -> f64 {
        ((self.agreement.met(fleet.met(1.0)) - NOT_CACHING) / (1.0 - NOT_CACHING)).max(0.0)
    }

    /// Takes in a dispatched prompt with its expected cached tokens.
    pub(crate) fn expect(&mut self, expected: u32, prompt: u32) {
        self.unscraped.requests = self.unscraped.requests.saturating_add(1);
        self.unscraped.expected += f64::from(expected);
        self.unscraped.prompt += f64::from(prompt);
    }

    /// Takes in the cached share of a prompt that a response reported.
    pub(crate) fn response_reported(&mut self, expected: f64, reported: f64, fleet: &mut Agreement) {
        self.responses_report = true;
        self.compare(expected, reported, fleet);
    }

    /// Takes in the engine's counters of prompt tokens and cached ones, which are used where responses report nothing.
    pub(crate) fn totals_reported(&mut self, prompt: f64, cached: f64, fleet: &mut Agreement) {
        if self.responses_report || !(prompt.is_finite() && cached.is_finite()) {
            return;
        }
        let Some((old_prompt, old_cached)) = self.unscraped.totals else {
            self.unscraped = Unscraped { totals: Some((prompt, cached)), ..Unscraped::default() };
            return;
        };
        let (new, hits) = (prompt - old_prompt, cached - old_cached);
        if self.unscraped.requests < PER_SCRAPE || new <= 0.0 || self.unscraped.prompt <= 0.0 {
            return;
        }
        let expected = self.unscraped.expected / self.unscraped.prompt;
        self.unscraped = Unscraped { totals: Some((prompt, cached)), ..Unscraped::default() };
        self.compare(expected, (hits / new).clamp(0.0, 1.0), fleet);
    }

    /// Compares an expected with a reported share of a prompt, 0 to 1.
    fn compare(&mut self, expected: f64, reported: f64, fleet: &mut Agreement) {
        let confirmed = expected >= TOO_LITTLE && reported + CLOSE >= expected;
        if confirmed || reported > expected + CLOSE {
            self.usable *= CONFIRMED;
        } else if expected >= TOO_LITTLE {
            self.usable *= 1.0 - MISSED * (expected - reported) / expected;
        }
        let most = if self.reported_capacity.is_some() { 1.0 } else { MAX_USABLE };
        self.usable = self.usable.clamp(MIN_USABLE, most);
        if expected >= TOO_LITTLE {
            self.agreement.observe(expected, reported.min(expected));
            fleet.observe(expected, reported.min(expected));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_of_an_eviction_falls_with_the_idle_time_of_the_evicted_block() {
        let ticks = std::iter::successors(Some(Tick::START), |tick| Some(tick.next()));
        let ticks: Vec<Tick> = ticks.take(601).collect();
        let now = ticks[600];
        let eviction = |blocks, idle: usize| {
            let mut cache = Cache::default();
            cache.set_blocks(blocks, 100, Some(ticks[600 - idle]));
            cache.eviction(now, 20.0)
        };
        assert_eq!(eviction(90, 5).to_bits(), 0.0_f64.to_bits(), "there is room");
        assert_eq!(eviction(99, 60).to_bits(), 1.0_f64.to_bits());
        assert_eq!(eviction(99, 600).to_bits(), 0.1_f64.to_bits());
        assert_eq!(eviction(99, 0).to_bits(), MAX_EVICTION.to_bits());
        let mut empty = Cache::default();
        empty.set_blocks(0, 0, None);
        assert_eq!(empty.eviction(now, 20.0).to_bits(), 0.0_f64.to_bits(), "nothing can be evicted");
    }
}
