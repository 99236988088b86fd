//! The default: the least cost in seconds. Nothing to tune.
//!
//! `cost = P/R + 10·u/R + 0.25·Ô·(s + s′)`, with, for each endpoint: *P* the prompt tokens dispatched there and not
//! yet prefilled, *R* its prefill rate, *u* the request's own tokens to prefill there, *Ô* the expected output length,
//! *s* the seconds per output token at its load, this request and all reservations included, so that a burst sees
//! itself, and *s′* the part of *s* that load makes.
//!
//! 10 prices uncached work above its own duration, for the requests it stalls and the cache it displaces. The decode
//! term is the request's own time and, in *s′*, the time it adds to those beside it: on a line each of *n* requests
//! slows the *n* others by as much as they slow it. Among equal endpoints that decides like `0.5·Ô·s`; a slow endpoint
//! gets its share sooner, where its own time alone would keep it idle until the fast ones were as slow.

use super::{Candidate, View, to_front};
use crate::adapters::Residency;
use crate::endpoints::Endpoint;

/// The price of a second of uncached prefill.
const UNCACHED: f64 = 10.0;
/// The price of a second of decoding, be it the request's own or one that it adds to those beside it.
const DECODE: f64 = 0.25;

pub(super) fn weigh(view: &View<'_>, candidates: &mut [Candidate]) -> usize {
    let limit = view.facts.max_output_tokens.map_or(f64::MAX, f64::from);
    let output = view.prices.output.min(limit);
    for candidate in candidates.iter_mut() {
        candidate.cost = cost(view, candidate, output);
    }
    // Where all are full the least cost takes it, and it waits in the engine.
    match to_front(candidates, |candidate| !is_full(view, view.endpoint(candidate))) {
        0 => candidates.len(),
        some => some,
    }
}

fn cost(view: &View<'_>, candidate: &Candidate, output: f64) -> f64 {
    let (prices, endpoint) = (view.prices, view.endpoint(candidate));
    let uncached = f64::from(view.uncached_tokens(candidate));
    let per_prompt_token = prices.seconds_per_prompt_token(&endpoint.speed);
    let (requests, context) = load_with(view, endpoint);
    let step = prices.step(&endpoint.speed, requests, context);
    let decode = output * step;
    let added = decode - output * prices.empty_step(&endpoint.speed);
    let adapter = match view.adapter.map(|adapter| endpoint.adapters.residency(adapter)) {
        None | Some(Residency::Resident) => 0.0,
        Some(Residency::Missing) => prices.adapter_load,
        // The one that gives its slot will likely have to be loaded again.
        Some(Residency::MissingAndFull) => 2.0 * prices.adapter_load,
        // A slot is free again when the requests of one adapter have ended.
        Some(Residency::MissingAndBusy) => prices.adapter_load + decode,
    };
    (count(endpoint.prefill.tokens()) + UNCACHED * uncached) * per_prompt_token
        + DECODE * (decode + added)
        + adapter
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
