//! The default rule, `pointsman`: the least total delay in seconds, with nothing to tune.
//!
//! `cost = w·P/R + (12 + n + 60·d)·u/R + 24·b/(1.04 − b)·h·(u − u₀)/R + Ô·(s + s′)`, where for each endpoint *P* are
//! the prompt tokens dispatched there and not yet prefilled, *R* its prefill rate, *u* the prompt tokens of this request
//! that are not cached there, *u₀* the fewest of any candidate, *n* the requests that decode there, *d* how soon the
//! blocks that *u* evicts would be used again, *Ô* the expected output length, *s* the seconds per output token at the
//! endpoint's load with this request and all reservations included, and *s′* the part of *s* that load adds. For the
//! pool, *b* is the share of endpoints that prefill, and *h* falls from 1 to 0 as the shared prefix gets popular enough
//! to need another copy. Reservations count at once, so that a burst spreads.
//!
//! Each term is a delay, to this request or to others. Decoding costs the request `Ô·s`. The step line is linear in the
//! batch, so each of *n* requests slows the *n* others by as much as they slow it: `Ô·s′` for those beside it. Prefill
//! costs `u/R` to the request and to each of the *n* requests whose decode steps it stalls; loading an adapter does the
//! same. The weights stand for delays to later requests:
//!
//! - Waiting prompts (*w* = 24) are the first sign of an engine at its limit, and most of the time to first token. Where
//!   first tokens are not observed, the number of waiting tokens is an estimate, and *w* is 8.
//! - The request's own prefill (12) is waiting time for the next requests, and what it evicts from a full cache (up to
//!   60·2) has to be prefilled again, the more likely the sooner blocks are evicted there.
//! - `u − u₀` is prefill that a better placement would avoid. It delays every request until the engine is idle again:
//!   b/(1 − b) of them for each that arrives meanwhile, by the mean busy period of an M/G/1 queue. Without this term
//!   endpoints spill prompts on each other at high load; spills make prefill, prefill makes queues, and queues make
//!   spills, until hit rate and capacity are lost. It falls to zero for popular shared prefixes: those that give each of
//!   their holders half of an endpoint's fair share of the prompts.
//!
//! Where every endpoint is full, prompts wait for `max_num_seqs` slots and KV blocks: *w* is 4 then, and *n* the mean over
//! the endpoints. With each endpoint's own *n*, long prompts would avoid the endpoints where many short requests run, and
//! more and more of those would gather there. All constants lie on a wide plateau: `docs/placement.md` has the evidence
//! and the rejected alternatives.

use super::{Candidate, View, count, to_front};
use crate::adapters::Residency;
use crate::capacity::Capacity;
use crate::decision::{CostTerm, Delay};
use crate::endpoints::Endpoint;

/// Weight of a second of prefill that is ahead of the request.
const WAITING: f64 = 24.0;
/// The same where first tokens are not observed.
const WAITING_UNOBSERVED: f64 = 8.0;
/// The same where every endpoint is full.
const WAITING_WHERE_FULL: f64 = 4.0;
/// Weight of a second of the request's own prefill, apart from the requests whose decode it stalls.
const OWN_PREFILL: f64 = 12.0;
/// Added to that weight times *d*, which is 1 where evicted blocks are as likely to be used again as not.
const EVICTION: f64 = 60.0;
/// Weight of a second of avoidable prefill, for each request that would arrive meanwhile and find the engine busy.
const DETOUR: f64 = 24.0;
/// Keeps the busy-period factor *b/(1 − b)* finite where all endpoints prefill all the time.
const NEVER_IDLE: f64 = 0.04;
/// A shared prefix that gives each of its holders this many fair shares of the prompts has no detour weight.
const POPULAR: f64 = 0.5;
/// A match shorter than the longest by less than this share of the prompt counts as equally long.
const EQUAL_MATCH: f64 = 0.1;

/// Weights and estimates of one decision that are equal for all endpoints.
#[derive(Clone, Copy, Debug)]
struct Weights {
    /// Weight of a second of prefill ahead of the request, where first tokens are observed.
    waiting: f64,
    /// Requests that a prefill stalls, where the pool's mean replaces each endpoint's own count.
    stalled: Option<f64>,
    /// The expected output, in tokens.
    output: f64,
    /// Weight of a second of prefill that another endpoint would save.
    detour: f64,
    /// Prompt tokens to prefill on the endpoint with the longest match: *u₀*.
    least_uncached: f64,
}

impl Weights {
    /// The weights for these candidates, in any order.
    fn of(view: &View<'_>, candidates: &[Candidate], all_full: bool) -> Self {
        let limit = view.facts.max_output_tokens.map_or(f64::MAX, f64::from);
        let least = candidates.iter().map(|candidate| view.uncached_tokens(candidate)).min().unwrap_or(0);
        let weights = Self {
            waiting: WAITING,
            stalled: None,
            output: view.rates.output.min(limit),
            detour: detour(view, candidates, least),
            least_uncached: f64::from(least),
        };
        if !all_full {
            return weights;
        }
        // The request waits in the engine. The client's bound on the output does not count here: short and long requests
        // would separate, as they would with a different weight for long prompts.
        Self {
            waiting: WAITING_WHERE_FULL,
            stalled: Some(mean_running(view, candidates)),
            output: view.rates.output,
            ..weights
        }
    }
}

pub(super) fn weigh(view: &View<'_>, candidates: &mut [Candidate]) -> usize {
    let room = to_front(candidates, |candidate| !is_full(view, candidate));
    let weights = Weights::of(view, candidates, room == 0);
    for candidate in candidates.iter_mut() {
        candidate.cost = Delays::of(view, candidate, &weights).cost();
    }
    // A full endpoint is passed over where another one has an equally long match. Where only full ones have it, they stay
    // candidates: to prefill the prompt elsewhere may take longer than to wait.
    let longest = weights.least_uncached + EQUAL_MATCH * f64::from(view.facts.prompt_tokens);
    let has_match = |candidate: &Candidate| f64::from(view.uncached_tokens(candidate)) <= longest;
    if room == 0 {
        candidates.len()
    } else if candidates[..room].iter().any(has_match) {
        room
    } else {
        room + to_front(&mut candidates[room..], has_match)
    }
}

/// The terms of a candidate's cost, for the record of a decision among `candidates`.
pub(super) fn terms(view: &View<'_>, candidates: &[Candidate], candidate: &Candidate) -> Vec<CostTerm> {
    let all_full = candidates.iter().all(|candidate| is_full(view, candidate));
    let weights = Weights::of(view, candidates, all_full);
    Delays::of(view, candidate, &weights).terms()
}

/// Weight of a second of avoidable prefill; `least` are the uncached tokens of the endpoint with the longest match.
fn detour(view: &View<'_>, candidates: &[Candidate], least: u32) -> f64 {
    let Some(idle) = view.matched.prefix_idle else { return 0.0 };
    let nearly = 0.75 * f64::from(view.facts.prompt_tokens - least);
    let has_prefix = |candidate: &&Candidate| f64::from(view.cached_tokens(candidate)) >= nearly;
    let holders = candidates.iter().filter(has_prefix).count();
    // The prefix's share of the prompts, estimated by the prompts since its last use, in fair shares of an endpoint. Both
    // are counted over all pools that share this state.
    let fair_shares = view.endpoints.len() as f64 / f64::from(idle) / holders.max(1) as f64;
    let unpopular = (1.0 - fair_shares / POPULAR).max(0.0);
    DETOUR * view.prefill_busy / (1.0 - view.prefill_busy + NEVER_IDLE) * unpopular
}

/// Mean number of requests per endpoint that are past their prefill.
fn mean_running(view: &View<'_>, candidates: &[Candidate]) -> f64 {
    let running = candidates.iter().map(|candidate| {
        let endpoint = view.endpoint(candidate);
        running(endpoint, load_with(view, endpoint).0)
    });
    running.sum::<f64>() / f64::from(u32::try_from(candidates.len()).unwrap_or(u32::MAX).max(1))
}

/// Requests at the endpoint whose decode a prefill stalls, of `requests` with this one. Requests that wait for their own
/// prefill are not stalled by one behind them.
fn running(endpoint: &Endpoint, requests: f64) -> f64 {
    (requests - 1.0 - f64::from(endpoint.prefill.len())).max(0.0)
}

/// The delays that placing the request at one endpoint causes, in seconds unless stated.
#[derive(Clone, Copy, Debug)]
struct Delays {
    /// Weight of `ahead`.
    waiting: f64,
    /// Prefill of the prompts ahead of the request.
    ahead: f64,
    /// Requests whose decode a prefill stalls.
    stalled: f64,
    /// Weight of the prefill whose blocks evict others.
    eviction: f64,
    /// Prompt tokens to prefill: *u*.
    uncached: f64,
    /// *1/R*.
    per_prompt_token: f64,
    /// Weight of `avoidable`.
    detour: f64,
    /// Prompt tokens that another endpoint would not have to prefill: *u − u₀*.
    avoidable: f64,
    /// Time to load the adapter, which stalls the engine as a prefill does.
    adapter_load: f64,
    /// Time until a slot for the adapter is free.
    adapter_wait: f64,
    /// Decoding of the request: *Ô·s*.
    decode: f64,
    /// Slower decoding of the requests beside it: *Ô·s′*.
    slowed: f64,
}

impl Delays {
    fn of(view: &View<'_>, candidate: &Candidate, weights: &Weights) -> Self {
        let (rates, endpoint, output) = (view.rates, view.endpoint(candidate), weights.output);
        let uncached = f64::from(view.uncached_tokens(candidate));
        let per_prompt_token = rates.seconds_per_prompt_token(&endpoint.speed);
        let (requests, context) = load_with(view, endpoint);
        let decode = output * rates.step(&endpoint.speed, requests, context);
        let (adapter_load, adapter_wait) =
            match view.adapter.map(|adapter| endpoint.adapters.residency(adapter)) {
                None | Some(Residency::Resident) => (0.0, 0.0),
                Some(Residency::Missing) => (rates.adapter_load, 0.0),
                // The evicted adapter will likely have to be loaded again.
                Some(Residency::MissingAndFull) => (2.0 * rates.adapter_load, 0.0),
                // A slot is free again when the requests of one adapter have ended.
                Some(Residency::MissingAndBusy) => (rates.adapter_load, decode),
            };
        let observed = 1.0 - endpoint.prefill.unobserved_share();
        let unobserved = WAITING_UNOBSERVED.min(weights.waiting);
        Self {
            waiting: unobserved + (weights.waiting - unobserved) * observed,
            ahead: count(endpoint.prefill.tokens()) * per_prompt_token,
            stalled: weights.stalled.unwrap_or_else(|| running(endpoint, requests)),
            eviction: EVICTION * endpoint.cache.eviction(view.matched.now, view.matched.reuse_interval),
            uncached,
            per_prompt_token,
            detour: weights.detour,
            avoidable: uncached - weights.least_uncached,
            adapter_load,
            adapter_wait,
            decode,
            slowed: decode - output * rates.empty_step(&endpoint.speed),
        }
    }

    /// Their weighted sum.
    fn cost(&self) -> f64 {
        // An engine loads an adapter in the step that first needs it, which stalls the others as a prefill does.
        let stalls = OWN_PREFILL + self.stalled;
        self.waiting * self.ahead
            + (stalls + self.eviction) * self.uncached * self.per_prompt_token
            + self.detour * self.avoidable * self.per_prompt_token
            + stalls * self.adapter_load
            + OWN_PREFILL * self.adapter_wait
            + self.decode
            + self.slowed
    }

    /// The terms of that sum.
    fn terms(&self) -> Vec<CostTerm> {
        let prefill = self.uncached * self.per_prompt_token;
        let adapter = (OWN_PREFILL + self.stalled) * self.adapter_load + OWN_PREFILL * self.adapter_wait;
        let terms = [
            (Delay::Waiting, self.waiting * self.ahead),
            (Delay::OwnPrefill, OWN_PREFILL * prefill),
            (Delay::Stalls, self.stalled * prefill),
            (Delay::Eviction, self.eviction * prefill),
            (Delay::Detour, self.detour * self.avoidable * self.per_prompt_token),
            (Delay::AdapterLoad, adapter),
            (Delay::Decode, self.decode),
            (Delay::SlowedDecode, self.slowed),
        ];
        terms.map(|(delay, seconds)| CostTerm { delay, seconds }).into()
    }
}

/// Requests and tokens of context at the endpoint if this request were there too. Requests from other routers count as
/// far as a fresh gauge shows them, with the mean context of ours.
fn load_with(view: &View<'_>, endpoint: &Endpoint) -> (f64, f64) {
    let own = f64::from(endpoint.in_flight()) + 1.0;
    let context = count(endpoint.context()) + f64::from(view.facts.prompt_tokens);
    let foreign = endpoint.fresh_gauge(view.rates.now).map_or(0.0, |gauge| gauge.foreign);
    (own + foreign, context * (1.0 + foreign / own))
}

fn is_full(view: &View<'_>, candidate: &Candidate) -> bool {
    Capacity::of(view.endpoint(candidate), view.rates.now).is_full_for(view.uncached_tokens(candidate))
}
