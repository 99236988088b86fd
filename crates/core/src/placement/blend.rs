//! llm-d's weighted scorers as in llm-d-router: each scores an endpoint from 0 to 1, the weighted sum is the endpoint's
//! score, and a picker takes one by score. The cost is the negative score.
//!
//! Source: llm-d-router, `pkg/epp/framework/plugins/scheduling` (`scorer/*`, `picker/*`), defaults of
//! `pkg/epp/config/loader/defaults.go`, as of August 2026 (`ebab68792`). They read the engines' gauges as last scraped,
//! however old; a gauge that was never scraped is zero, so that such an endpoint counts as idle (pull request 2848 of
//! September leaves it unscored). Ties are broken at random (pull request 2515 takes turns).
//!
//! Two differences in the inputs: the engine's gauge does not distinguish waiting from running adapters, so that
//! `lora-affinity-scorer` never gives its 0.6; and prompts are matched by Pointsman's prefix index.

use super::no_hit_lru::ColdOrder;
use super::{Candidate, View, affinity, random, scraped};
use crate::event::Fallbacks;
use crate::policy::{Blend, Picker};
use pointsman_random::Rng;

/// Endpoints that are drawn: the winner and its fallbacks.
const DRAWN: usize = Fallbacks::CAPACITY + 1;

pub(super) fn weigh(
    blend: &Blend,
    view: &View<'_>,
    cold: &mut ColdOrder,
    rng: &mut Rng,
    candidates: &mut [Candidate],
) -> usize {
    let kept = match &blend.affinity {
        Some(affinity) => affinity::narrow(affinity, view, rng, candidates),
        None => candidates.len(),
    };
    let candidates = &mut candidates[..kept];
    let ranges = Ranges::of(view, candidates);
    for candidate in candidates.iter_mut() {
        candidate.cost = -score(blend, view, &ranges, candidate);
    }
    if blend.weights.no_hit_lru > 0.0 {
        cold.consider(view, candidates);
        for position in 0..candidates.len() {
            let score = cold.score(view, candidates, position);
            candidates[position].cost -= blend.weights.no_hit_lru * score;
        }
    }
    match blend.picker {
        Picker::MaxScore => {}
        Picker::Random => _ = random::weigh(rng, candidates),
        Picker::WeightedRandom => draw(rng, candidates),
    }
    kept
}

/// Least and most of the figures that scorers compare among the candidates.
struct Ranges {
    waiting: Range,
    running: Range,
    most_in_flight: u32,
}

impl Ranges {
    fn of(view: &View<'_>, candidates: &[Candidate]) -> Self {
        let mut ranges = Self { waiting: Range::EMPTY, running: Range::EMPTY, most_in_flight: 0 };
        for candidate in candidates {
            ranges.waiting.add(scraped::waiting(view, candidate));
            ranges.running.add(scraped::running(view, candidate));
            ranges.most_in_flight = ranges.most_in_flight.max(candidate.in_flight);
        }
        ranges
    }
}

#[derive(Clone, Copy)]
struct Range {
    least: u32,
    most: u32,
}

impl Range {
    const EMPTY: Self = Self { least: u32::MAX, most: 0 };

    fn add(&mut self, value: u32) {
        self.least = self.least.min(value);
        self.most = self.most.max(value);
    }

    /// 1 for the least, 0 for the most, and 1 for all where they are equal.
    fn fewness(self, value: u32) -> f64 {
        if self.most <= self.least {
            return 1.0;
        }
        f64::from(self.most - value.min(self.most)) / f64::from(self.most - self.least)
    }
}

fn score(blend: &Blend, view: &View<'_>, ranges: &Ranges, candidate: &Candidate) -> f64 {
    let weights = &blend.weights;
    let waiting = scraped::waiting(view, candidate);
    // Scorers without weight are skipped: they would take time.
    let weighted = |weight: f64, score: &dyn Fn() -> f64| {
        if weight == 0.0 { 0.0 } else { weight * score().clamp(0.0, 1.0) }
    };
    weighted(weights.queue, &|| ranges.waiting.fewness(waiting))
        + weighted(weights.running_requests, &|| ranges.running.fewness(scraped::running(view, candidate)))
        + weighted(weights.kv_cache_utilization, &|| 1.0 - scraped::kv_use(view, candidate))
        + weighted(weights.prefix_cache, &|| prefix(blend, view, candidate))
        + weighted(weights.lora_affinity, &|| lora_affinity(view, candidate))
        + weighted(weights.load_aware, &|| {
            let limit = blend.load_aware_threshold.max(1);
            0.5 * (1.0 - f64::from(waiting.min(limit)) / f64::from(limit))
        })
        + weighted(weights.active_request, &|| active_request(blend, ranges, candidate))
        + weighted(weights.token_load, &|| token_load(blend, view, candidate))
}

fn prefix(blend: &Blend, view: &View<'_>, candidate: &Candidate) -> f64 {
    let total = f64::from(view.facts.prompt_tokens);
    let matched = f64::from(view.cached_tokens(candidate));
    if matched <= 0.0 {
        return 0.0;
    }
    let length = (matched / f64::from(blend.prefix.match_length_scale_tokens.max(1))).min(1.0);
    let by_length = blend.prefix.match_length_weight;
    by_length * length * length + (1.0 - by_length) * matched / total
}

fn lora_affinity(view: &View<'_>, candidate: &Candidate) -> f64 {
    if scraped::runs_target(view, candidate) {
        1.0
    } else if scraped::has_room(view, candidate) {
        0.8
    } else {
        0.0
    }
}

fn active_request(blend: &Blend, ranges: &Ranges, candidate: &Candidate) -> f64 {
    if candidate.in_flight <= blend.active_request.idle_threshold {
        return 1.0;
    }
    let most = f64::from(ranges.most_in_flight);
    (most - f64::from(candidate.in_flight)) / most * blend.active_request.max_busy_score
}

fn token_load(blend: &Blend, view: &View<'_>, candidate: &Candidate) -> f64 {
    1.0 - affinity::tokens_with(view, candidate) / super::count(blend.token_load_threshold.max(1))
}

/// Draws the winner and its fallbacks without replacement, with probabilities in proportion to their scores: the order
/// of sorting by `U^(1/score)` (Efraimidis and Spirakis 2006), without powers. Candidates with score 0 are drawn only
/// where all scores are 0.
fn draw(rng: &mut Rng, candidates: &mut [Candidate]) {
    let scores = |candidates: &[Candidate]| -> f64 {
        candidates.iter().map(|candidate| (-candidate.cost).max(0.0)).sum()
    };
    if scores(candidates) <= 0.0 {
        random::weigh(rng, candidates);
        return;
    }
    for position in 0..candidates.len().min(DRAWN) {
        let left = &candidates[position..];
        let mut at = scores(left) * rng.unit();
        let drawn = left
            .iter()
            .position(|candidate| {
                at -= (-candidate.cost).max(0.0);
                at < 0.0
            })
            .unwrap_or(0);
        candidates.swap(position, position + drawn);
    }
    // The cost is the order of drawing; the others come last.
    for (position, candidate) in candidates.iter_mut().enumerate() {
        candidate.cost = f64::from(u32::try_from(position.min(DRAWN)).unwrap_or(u32::MAX));
    }
}
