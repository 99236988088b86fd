//! The default: the least total delay in seconds. Nothing to tune.
//!
//! `cost = 32·P/R + (12 + n + 60·f)·u/R + Ô·(s + s′)`, with, for each endpoint: *P* the prompt tokens dispatched there and
//! not yet prefilled, *R* its prefill rate, *u* the request's own tokens to prefill there, *n* the requests that decode
//! there, *f* whether its prefix cache is full (1 or 0), *Ô* the expected output length, *s* the seconds per output token
//! at its load, this request and all reservations included, so that a burst sees itself, and *s′* the part of *s* that
//! load makes.
//!
//! Each term is a delay, to this request or to others. Decoding costs the request `Ô·s` and, since on a line each of *n*
//! requests slows the *n* others by as much as they slow it, those beside it `Ô·s′`. Prefill costs `u/R` to the request
//! itself and to each of the *n* that stand still meanwhile; loading an adapter does the same. Three prices are above the
//! delay at hand, because they stand for delays to come. Tokens that wait (32) are the first sign of an engine at its
//! limit, where every further second of work delays all that follow, and they are most of the time to a first token. The
//! request's own prefill (12) will be such waiting to those that come next. And a miss where the cache is full (60 more)
//! puts out as many blocks of other prompts, which then miss in their turn. Where the cache has room a copy displaces
//! nothing, and hot prefixes spread by themselves. Where every endpoint is full, prompts wait for seats and blocks: the
//! first price is 4 then, and *n* the mean over the endpoints, since otherwise long prompts would avoid those where many
//! short ones run, and the more so the more of them gathered there. All these lie on a wide plateau: `docs/placement.md`
//! has the evidence, and what was rejected.

use super::{Candidate, View, to_front};
use crate::adapters::Residency;
use crate::endpoints::Endpoint;

/// The price of a second of prefill that is ahead of the request.
const WAITING: f64 = 32.0;
/// The same where every endpoint is full: prompts wait for seats and blocks then, not for each other's prefill.
const WAITING_WHERE_FULL: f64 = 4.0;
/// The price of a second of the request's own prefill, apart from the requests that it holds up.
const OWN: f64 = 12.0;
/// What is added to that where new blocks displace others.
const DISPLACING: f64 = 60.0;

/// What differs between a pool that has room somewhere and one that is full.
#[derive(Clone, Copy, Debug)]
struct Terms {
    /// The price of a second of prefill that is ahead of the request.
    waiting: f64,
    /// Requests that a prefill holds up, where not each endpoint's own count stands for them.
    held_up: Option<f64>,
    /// The expected output, in tokens.
    output: f64,
}

pub(super) fn weigh(view: &View<'_>, candidates: &mut [Candidate]) -> usize {
    let limit = view.facts.max_output_tokens.map_or(f64::MAX, f64::from);
    let output = view.prices.output.min(limit);
    let room = to_front(candidates, |candidate| !is_full(view, view.endpoint(candidate)));
    let terms = match room {
        // Where all are full the least cost takes it, and it waits in the engine.
        // Knowing who is short would part short from long there, as different prices of prompts would.
        0 => Terms {
            waiting: WAITING_WHERE_FULL,
            held_up: Some(mean_running(view, candidates)),
            output: view.prices.output,
        },
        _ => Terms { waiting: WAITING, held_up: None, output },
    };
    for candidate in candidates.iter_mut() {
        candidate.cost = cost(view, candidate, &terms);
    }
    if room == 0 { candidates.len() } else { room }
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
    let displaces = if endpoint.cache.is_full() { DISPLACING } else { 0.0 };
    let ahead = count(endpoint.prefill.tokens()) * per_prompt_token;
    terms.waiting * ahead
        + (stalls + displaces) * uncached * per_prompt_token
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
fn is_full(view: &View<'_>, endpoint: &Endpoint) -> bool {
    let Some(gauge) = endpoint.fresh_gauge(view.prices.now) else { return false };
    let load = gauge.corrected(endpoint.counts());
    let seats = gauge.report.max_running.filter(|seats| *seats > 0).map(f64::from);
    let no_seat = seats.is_some_and(|seats| load.requests.is_some_and(|requests| requests >= seats));
    let no_block = gauge.kv_tokens().is_some_and(|tokens| {
        let free = tokens * (1.0 - load.kv_use.unwrap_or(0.0));
        let per_request = count(endpoint.context) / f64::from(endpoint.in_flight.max(1));
        // What was sent since is in the use of the cache already.
        let ahead = gauge.report.waiting.map_or(0.0, f64::from) * per_request;
        f64::from(view.facts.prompt_tokens) + ahead > free
    });
    no_seat || no_block
}

#[expect(clippy::cast_precision_loss, reason = "token counts stay far below 2^52")]
const fn count(tokens: u64) -> f64 {
    tokens as f64
}
