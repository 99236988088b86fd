//! What is believed of one endpoint's prefix cache besides what it holds: how much fits, and how often it had what
//! was expected.

use super::{Holder, PrefixIndex, Tick};

/// Tokens that fit a cache whose size nobody told: near a 24 GB card with a small model, so that too much is seldom
/// expected. It grows where the engine finds more than expected.
const USUAL_CAPACITY: f64 = 131_072.0;
/// No engine's cache is larger, in tokens; a page that says so is not believed.
const LARGEST_CAPACITY: f64 = 1e9;

/// A request whose expected share of cached prompt is smaller says nothing.
const TOO_LITTLE: f64 = 0.1;
/// Expected and reported shares this close agree: prompts are counted by estimate here and exactly there.
const CLOSE: f64 = 0.1;
/// What one complete miss takes off the usable share, and what a confirmed or an unexpected hit adds.
const MISSED: f64 = 0.1;
const CONFIRMED: f64 = 1.01;
/// An untold capacity may turn out larger by this at most.
const MOST_USABLE: f64 = 16.0;
const LEAST_USABLE: f64 = 1.0 / 32.0;

/// Below this share of confirmed expectations an engine is treated as one that caches nothing.
const NOT_CACHING: f64 = 0.1;

/// A cache with this share of what fits is full: the next prompt puts something out.
const FULL: f64 = 0.98;

/// A block that was idle for so many mean times between uses is as likely to be used again as not: times between uses
/// spread widely.
const USES: f64 = 3.0;
/// What goes out much sooner than it would be used is no dearer than this: it would be gone anyway.
const SOONEST: f64 = 2.0;

/// Requests between two comparisons with the engine's own sums.
const PER_SCRAPE: u32 = 8;

/// How much of what was expected to be cached was, with forgetting.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Agreement {
    requests: f64,
    /// Sums of shares of prompts.
    expected: f64,
    reported: f64,
}

impl Agreement {
    /// What a new comparison leaves of the others: about the last thirty count.
    const KEPT: f64 = 0.97;
    /// What the prior counts, in prompts that were expected to be cached.
    const PRIOR: f64 = 2.0;

    fn observe(&mut self, expected: f64, reported: f64) {
        self.requests = self.requests * Self::KEPT + 1.0;
        self.expected = self.expected * Self::KEPT + expected;
        self.reported = self.reported * Self::KEPT + reported;
    }

    /// The share of expectations that were met, 0 to 1, shrunk to the prior.
    fn met(&self, prior: f64) -> f64 {
        ((self.reported.min(self.expected) + Self::PRIOR * prior) / (self.expected + Self::PRIOR))
            .clamp(0.0, 1.0)
    }

    /// Mean shares of prompts that were expected and reported to be cached, where anything was reported.
    pub(crate) fn means(&self) -> Option<(f64, f64)> {
        (self.requests > 0.0).then(|| (self.expected / self.requests, self.reported / self.requests))
    }
}

/// What was expected since the engine's sums were last compared.
#[derive(Clone, Copy, Debug, Default)]
struct Unscraped {
    requests: u32,
    expected: f64,
    prompt: f64,
    /// Its sums then: prompt tokens, and of those the cached ones.
    totals: Option<(f64, f64)>,
}

/// The belief about one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    /// Its name in the index, once it holds something.
    pub(crate) holder: Option<Holder>,
    /// Tokens of prompts in flight that are in the index.
    pub(crate) indexed: u64,
    /// Tokens that fit, as the engine told.
    told: Option<f64>,
    /// How much of that seems to be there for prefixes.
    usable: f64,
    pub(crate) agreement: Agreement,
    /// Whether answers say what was cached: then the engine's sums are not needed.
    answers_tell: bool,
    unscraped: Unscraped,
    /// Where it is full: when what goes out next was last used.
    displaced: Option<Tick>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            holder: None,
            indexed: 0,
            told: None,
            usable: 1.0,
            agreement: Agreement::default(),
            answers_tell: false,
            unscraped: Unscraped::default(),
            displaced: None,
        }
    }
}

impl Cache {
    /// The engine lost what it had. Requests in flight keep their share of `indexed` until they end.
    pub(crate) fn forget(&mut self, index: &mut PrefixIndex) {
        if let Some(holder) = self.holder.take() {
            index.leave(holder);
        }
        let indexed = self.indexed;
        *self = Self { indexed, ..Self::default() };
    }

    /// The engine said how many tokens fit.
    pub(crate) fn capacity_told(&mut self, tokens: Option<f64>) {
        if let Some(tokens) = tokens.filter(|tokens| (1.0..=LARGEST_CAPACITY).contains(tokens)) {
            self.told = Some(tokens);
            self.usable = self.usable.min(1.0);
        }
    }

    /// It holds so many blocks, of so many that fit beside the requests in flight, and `oldest` is when what it would give
    /// up next was last used.
    pub(crate) fn holds(&mut self, blocks: u32, fit: u32, oldest: Option<Tick>) {
        let is_full = f64::from(blocks) >= FULL * f64::from(fit);
        self.displaced = oldest.filter(|_| is_full);
    }

    /// How much what comes in puts out that will be asked for again: 0 where there is room, and the more the sooner
    /// blocks go compared with the mean time between two uses, up to [`SOONEST`]. Both are in prompts that came.
    pub(crate) fn displacement(&self, now: Tick, reused_after: f64) -> f64 {
        let by_idle = |used: Tick| (USES * reused_after / f64::from(now.since(used).max(1))).min(SOONEST);
        self.displaced.map_or(0.0, by_idle)
    }

    /// Tokens that are taken to fit.
    pub(crate) fn capacity(&self) -> f64 {
        self.told.unwrap_or(USUAL_CAPACITY) * self.usable
    }

    /// What an expectation is worth, 0 to 1. `fleet` is the agreement over all endpoints.
    pub(crate) fn trust(&self, fleet: &Agreement) -> f64 {
        ((self.agreement.met(fleet.met(1.0)) - NOT_CACHING) / (1.0 - NOT_CACHING)).max(0.0)
    }

    /// A prompt of which so many tokens are expected to be cached was sent.
    pub(crate) fn expect(&mut self, expected: u32, prompt: u32) {
        self.unscraped.requests = self.unscraped.requests.saturating_add(1);
        self.unscraped.expected += f64::from(expected);
        self.unscraped.prompt += f64::from(prompt);
    }

    /// An answer said which share of its prompt was cached.
    pub(crate) fn answer_told(&mut self, expected: f64, reported: f64, fleet: &mut Agreement) {
        self.answers_tell = true;
        self.compare(expected, reported, fleet);
    }

    /// The engine's sums were read: prompt tokens, and of those the cached ones. They stand in where answers say nothing.
    pub(crate) fn totals_told(&mut self, prompt: f64, cached: f64, fleet: &mut Agreement) {
        if self.answers_tell || !(prompt.is_finite() && cached.is_finite()) {
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

    /// Shares of a prompt, 0 to 1.
    fn compare(&mut self, expected: f64, reported: f64, fleet: &mut Agreement) {
        let confirmed = expected >= TOO_LITTLE && reported + CLOSE >= expected;
        if confirmed || reported > expected + CLOSE {
            self.usable *= CONFIRMED;
        } else if expected >= TOO_LITTLE {
            self.usable *= 1.0 - MISSED * (expected - reported) / expected;
        }
        let most = if self.told.is_some() { 1.0 } else { MOST_USABLE };
        self.usable = self.usable.clamp(LEAST_USABLE, most);
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
    fn what_goes_out_is_the_dearer_the_sooner_it_would_be_asked_for() {
        let ticks = std::iter::successors(Some(Tick::START), |tick| Some(tick.next()));
        let ticks: Vec<Tick> = ticks.take(601).collect();
        let now = ticks[600];
        let displacement = |blocks, idle: usize| {
            let mut cache = Cache::default();
            cache.holds(blocks, 100, Some(ticks[600 - idle]));
            cache.displacement(now, 20.0)
        };
        assert_eq!(displacement(90, 5).to_bits(), 0.0_f64.to_bits(), "there is room");
        assert_eq!(displacement(99, 60).to_bits(), 1.0_f64.to_bits());
        assert_eq!(displacement(99, 600).to_bits(), 0.1_f64.to_bits());
        assert_eq!(displacement(99, 0).to_bits(), SOONEST.to_bits());
        let mut empty = Cache::default();
        empty.holds(0, 0, None);
        assert_eq!(empty.displacement(now, 20.0).to_bits(), 0.0_f64.to_bits(), "nothing can go");
    }
}
