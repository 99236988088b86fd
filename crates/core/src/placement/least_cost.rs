//! The default: the least total delay in seconds. Nothing to tune.
//!
//! `cost = w·P/R + (12 + n + 60·d)·u/R + 24·b/(1.04 − b)·h·(u − u₀)/R + Ô·(s + s′)`, with, for each endpoint: *P* the prompt
//! tokens dispatched there and not yet prefilled, *R* its prefill rate, *u* the request's own tokens to prefill there, *u₀*
//! the fewest anywhere, *n* the requests that decode there, *d* how much what *u* puts out of its prefix cache will be
//! missed, *Ô* the expected output length, *s* the seconds per output token at its load, this request and all
//! reservations included, so that a burst sees itself, and *s′* the part of *s* that load makes; and, for the pool: *b* how
//! much of the endpoints prefill keeps busy, and *h* how little the prompt's head needs another copy.
//!
//! Each term is a delay, to this request or to others. Decoding costs the request `Ô·s` and, since on a line each of *n*
//! requests slows the *n* others by as much as they slow it, those beside it `Ô·s′`. Prefill costs `u/R` to the request
//! itself and to each of the *n* that stand still meanwhile; loading an adapter does the same. The rest stands for delays
//! to come:
//!
//! - Tokens that wait (*w* = 24) are the first sign of an engine at its limit, and most of the time to a first token. Where
//!   first tokens cannot be seen, how many wait is a guess, and *w* is 8.
//! - The request's own prefill (12) will be such waiting to those that come next, and what it displaces in a full cache
//!   (up to 60·2) will have to be prefilled again, the more likely the sooner blocks go there.
//! - `u − u₀` is work that a better placement would not make. It delays all that come before the engine is idle again:
//!   b/(1 − b) of them for each that would come meanwhile, as the mean busy period of a queue says. Without this,
//!   endpoints spill prompts on each other at high load, each spill makes work, work makes queues, and queues make
//!   spills, until hit rate and capacity are gone. It is what another copy costs, so it falls to nothing for heads that
//!   need one: those that give each of their holders half of an endpoint's fair share of the prompts.
//!
//! Where every endpoint is full, prompts wait for seats and blocks: *w* is 4 then, and *n* the mean over the endpoints,
//! since otherwise long prompts would avoid those where many short ones run, and the more so the more of them gathered
//! there. All these lie on a wide plateau: `docs/placement.md` has the evidence, and what was rejected.

use super::{Candidate, View, to_front};
use crate::adapters::Residency;
use crate::endpoints::Endpoint;

/// The price of a second of prefill that is ahead of the request.
const WAITING: f64 = 24.0;
/// The same where nobody sees when it is done.
const WAITING_UNSEEN: f64 = 8.0;
/// The same where every endpoint is full.
const WAITING_WHERE_FULL: f64 = 4.0;
/// The price of a second of the request's own prefill, apart from the requests that it holds up.
const OWN: f64 = 12.0;
/// What is added to that where new blocks displace others that will be asked for.
const DISPLACING: f64 = 60.0;
/// The price of a second of prefill that another endpoint would save, for each request that would come meanwhile and
/// find the engine busy.
const DETOUR: f64 = 24.0;
/// Keeps that finite where all endpoints prefill all the time.
const NEVER_IDLE: f64 = 0.04;
/// A head with this share of an endpoint's requests for each of its holders is spread at no such price.
const POPULAR: f64 = 0.5;
/// An endpoint whose match is shorter than the longest by less than this share of the prompt has as good as all of it.
const AS_GOOD: f64 = 0.1;

/// What is the same for all endpoints.
#[derive(Clone, Copy, Debug)]
struct Terms {
    /// The price of a second of prefill that is ahead of the request, where first tokens are seen.
    waiting: f64,
    /// Requests that a prefill holds up, where not each endpoint's own count stands for them.
    held_up: Option<f64>,
    /// The expected output, in tokens.
    output: f64,
    /// The price of a second of prefill that another endpoint would save.
    detour: f64,
    /// Prompt tokens that have to be prefilled wherever the request goes.
    unavoidable: f64,
}

pub(super) fn weigh(view: &View<'_>, candidates: &mut [Candidate]) -> usize {
    let limit = view.facts.max_output_tokens.map_or(f64::MAX, f64::from);
    let least = candidates.iter().map(|candidate| view.uncached_tokens(candidate)).min().unwrap_or(0);
    let terms = Terms {
        waiting: WAITING,
        held_up: None,
        output: view.prices.output.min(limit),
        detour: detour(view, candidates, least),
        unavoidable: f64::from(least),
    };
    let room = to_front(candidates, |candidate| !is_full(view, candidate));
    let terms = match room {
        // Where all are full the least cost takes it, and it waits in the engine.
        // Knowing who is short would part short from long there, as different prices of prompts would.
        0 => Terms {
            waiting: WAITING_WHERE_FULL,
            held_up: Some(mean_running(view, candidates)),
            output: view.prices.output,
            ..terms
        },
        _ => terms,
    };
    for candidate in candidates.iter_mut() {
        candidate.cost = cost(view, candidate, &terms);
    }
    // A full one is passed over where another has as good as all that is cached. Where only full ones have it, they stay in
    // the choice: to prefill it again elsewhere may take longer than to wait.
    let as_good = terms.unavoidable + AS_GOOD * f64::from(view.facts.prompt_tokens);
    let has_it = |candidate: &Candidate| f64::from(view.uncached_tokens(candidate)) <= as_good;
    if room == 0 {
        candidates.len()
    } else if candidates[..room].iter().any(has_it) {
        room
    } else {
        room + to_front(&mut candidates[room..], has_it)
    }
}

/// The price of a second of prefill that another endpoint would save; `least` is what the one with the longest match has to
/// prefill.
fn detour(view: &View<'_>, candidates: &[Candidate], least: u32) -> f64 {
    let Some(idle) = view.reuse.head_idle else { return 0.0 };
    let nearly = 0.75 * f64::from(view.facts.prompt_tokens - least);
    let has_it = |candidate: &&Candidate| f64::from(view.cached_tokens(candidate)) >= nearly;
    let holders = candidates.iter().filter(has_it).count();
    // The head's share of the prompts, by the time since the last one, in fair shares of an endpoint. Both are counted over
    // all pools that share this state.
    let fair_shares = view.endpoints.len() as f64 / f64::from(idle) / holders.max(1) as f64;
    let needless = (1.0 - fair_shares / POPULAR).max(0.0);
    DETOUR * view.prefill_busy / (1.0 - view.prefill_busy + NEVER_IDLE) * needless
}

/// Requests per endpoint that are past their prefill.
fn mean_running(view: &View<'_>, candidates: &[Candidate]) -> f64 {
    let running = candidates.iter().map(|candidate| {
        let endpoint = view.endpoint(candidate);
        running(endpoint, load_with(view, endpoint).0)
    });
    running.sum::<f64>() / f64::from(u32::try_from(candidates.len()).unwrap_or(u32::MAX).max(1))
}

/// Requests at the endpoint that stand still while another is prefilled, of `requests` with this one. What waits for its
/// own prefill is not held up by one behind it.
fn running(endpoint: &Endpoint, requests: f64) -> f64 {
    (requests - 1.0 - f64::from(endpoint.prefill.len())).max(0.0)
}

fn cost(view: &View<'_>, candidate: &Candidate, terms: &Terms) -> f64 {
    let (prices, endpoint, output) = (view.prices, view.endpoint(candidate), terms.output);
    let uncached = f64::from(view.uncached_tokens(candidate));
    let per_prompt_token = prices.seconds_per_prompt_token(&endpoint.speed);
    let (requests, context) = load_with(view, endpoint);
    let step = prices.step(&endpoint.speed, requests, context);
    let decode = output * step;
    let added = decode - output * prices.empty_step(&endpoint.speed);
    let (load, wait) = match view.adapter.map(|adapter| endpoint.adapters.residency(adapter)) {
        None | Some(Residency::Resident) => (0.0, 0.0),
        Some(Residency::Missing) => (prices.adapter_load, 0.0),
        // The one that gives its slot will likely have to be loaded again.
        Some(Residency::MissingAndFull) => (2.0 * prices.adapter_load, 0.0),
        // A slot is free again when the requests of one adapter have ended.
        Some(Residency::MissingAndBusy) => (prices.adapter_load, decode),
    };
    // An engine loads an adapter in the step that first needs it, so that the others stand still as they do for a
    // prefill.
    let stalls = OWN + terms.held_up.unwrap_or_else(|| running(endpoint, requests));
    let displaces = DISPLACING * endpoint.cache.displacement(view.reuse.now, view.reuse.after);
    let seen = 1.0 - endpoint.prefill.unseen_share();
    let unseen = WAITING_UNSEEN.min(terms.waiting);
    let waiting = unseen + (terms.waiting - unseen) * seen;
    let ahead = count(endpoint.prefill.tokens()) * per_prompt_token;
    waiting * ahead
        + (stalls + displaces) * uncached * per_prompt_token
        + terms.detour * (uncached - terms.unavoidable) * per_prompt_token
        + stalls * load
        + OWN * wait
        + decode
        + added
}

/// Requests and tokens of context at the endpoint if this request were there too. Requests that others sent there
/// count as far as a fresh gauge shows them, as if they were like ours.
fn load_with(view: &View<'_>, endpoint: &Endpoint) -> (f64, f64) {
    let own = f64::from(endpoint.in_flight) + 1.0;
    let context = count(endpoint.context) + f64::from(view.facts.prompt_tokens);
    let foreign = endpoint.fresh_gauge(view.prices.now).map_or(0.0, |gauge| gauge.foreign);
    (own + foreign, context * (1.0 + foreign / own))
}

/// Whether the engine would let the request wait for a seat or for blocks, by a fresh gauge and what was sent since.
fn is_full(view: &View<'_>, candidate: &Candidate) -> bool {
    let endpoint = view.endpoint(candidate);
    let Some(gauge) = endpoint.fresh_gauge(view.prices.now) else { return false };
    let load = gauge.corrected(endpoint.counts());
    let seats = gauge.report.max_running.filter(|seats| *seats > 0).map(f64::from);
    let no_seat = seats.is_some_and(|seats| load.requests.is_some_and(|requests| requests >= seats));
    let no_block = gauge.kv_tokens().is_some_and(|tokens| {
        let free = tokens * (1.0 - load.kv_use.unwrap_or(0.0));
        let per_request = count(endpoint.filled()) / f64::from(endpoint.in_flight.max(1));
        // What was sent since is in the use of the cache already.
        let ahead = gauge.report.waiting.map_or(0.0, f64::from) * per_request;
        f64::from(view.uncached_tokens(candidate)) + ahead > free
    });
    no_seat || no_block
}

#[expect(clippy::cast_precision_loss, reason = "token counts stay far below 2^52")]
const fn count(tokens: u64) -> f64 {
    tokens as f64
}
