//! The capacity of endpoints for further requests: full and saturated.
//!
//! Both are judged by the engine's present load: its fresh gauge, corrected by what was dispatched and released since. An
//! endpoint is *full* for a request which the engine would queue, for want of a `max_num_seqs` slot or of KV blocks; the
//! default rule prefers others then. It is *saturated* where more requests wait or more of the KV cache is used than the
//! pool's policy allows; where all are, sheddable requests are rejected.

use std::time::Duration;

use crate::cast::{count, whole};
use crate::endpoints::Endpoint;
use crate::gauge::{EngineLoad, Gauge};
use crate::policy::SaturationLimits;
use crate::rates::CurrentRates;
use crate::time::Time;

/// Bounds of `Retry-After`, in seconds.
const RETRY_AFTER: (f64, f64) = (1.0, 30.0);

/// The capacity of one endpoint at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity<'a> {
    endpoint: &'a Endpoint,
    /// The fresh gauge and the load by it, if there is one.
    engine: Option<(&'a Gauge, EngineLoad)>,
}

impl<'a> Capacity<'a> {
    pub(crate) fn of(endpoint: &'a Endpoint, now: Time) -> Self {
        let load = |gauge: &'a Gauge| (gauge, gauge.corrected(endpoint.counts()));
        Self { endpoint, engine: endpoint.fresh_gauge(now).map(load) }
    }

    /// Whether the engine would queue a request with this number of uncached prompt tokens. Without a fresh gauge it is not full.
    pub(crate) fn is_full_for(&self, uncached: u32) -> bool {
        let Some((gauge, load)) = self.engine else { return false };
        let slots = gauge.report.max_running.filter(|slots| *slots > 0).map(f64::from);
        let no_slot = slots.is_some_and(|slots| load.requests.is_some_and(|requests| requests >= slots));
        let no_block = gauge.kv_tokens().is_some_and(|tokens| {
            let free = tokens * (1.0 - load.kv_use.unwrap_or(0.0));
            let per_request = count(self.endpoint.filled()) / f64::from(self.endpoint.in_flight().max(1));
            // By the gauge: the corrected use of the cache has what was sent since already.
            let ahead = gauge.report.waiting.map_or(0.0, f64::from) * per_request;
            f64::from(uncached) + ahead > free
        });
        no_slot || no_block
    }

    /// Whether it is saturated: by a fresh gauge that shows waiting requests or KV cache use; else if as many requests are in
    /// flight as it was seen to be saturated by. Without such evidence it is not.
    pub(crate) fn is_saturated(&self, limits: &SaturationLimits) -> bool {
        self.excess(limits) > 0.0
    }

    /// The load by a gauge that shows waiting requests or KV cache use.
    pub(crate) fn evidence(&self) -> Option<EngineLoad> {
        let (_, load) = self.engine?;
        (load.waiting.is_some() || load.kv_use.is_some()).then_some(load)
    }

    /// The fraction of its requests that exceeds the limits.
    fn excess(&self, limits: &SaturationLimits) -> f64 {
        let in_flight = f64::from(self.endpoint.in_flight());
        let Some(load) = self.evidence() else {
            let Some(saturating) = self.endpoint.least_saturated else { return 0.0 };
            let most = self.endpoint.most_unsaturated.unwrap_or(0).max(saturating.saturating_sub(1));
            return fraction_above(in_flight, f64::from(most));
        };
        let waiting = load.waiting.unwrap_or(0.0);
        let too_many = waiting - f64::from(limits.waiting);
        let queue = if too_many > 0.0 { too_many / in_flight.max(waiting).max(1.0) } else { 0.0 };
        queue.max(load.kv_use.map_or(0.0, |kv_use| fraction_above(kv_use, limits.kv_use)))
    }
}

/// The fraction of `value` that exceeds `limit`.
fn fraction_above(value: f64, limit: f64) -> f64 {
    if value > limit && value > 0.0 { (value - limit) / value } else { 0.0 }
}

/// Whether all these ready endpoints are saturated. Where there is none, they are not.
pub(crate) fn all_saturated<'a>(
    ready: impl Iterator<Item = &'a Endpoint>,
    limits: &SaturationLimits,
    now: Time,
) -> bool {
    let mut ready = ready.peekable();
    ready.peek().is_some() && ready.all(|endpoint| Capacity::of(endpoint, now).is_saturated(limits))
}

/// When a retry is worthwhile: when the first of these endpoints has prefilled its waiting prompts and finished the fraction of its
/// requests that exceeds the limits. In whole seconds.
pub(crate) fn retry_after<'a>(
    ready: impl Iterator<Item = &'a Endpoint>,
    limits: &SaturationLimits,
    rates: &CurrentRates,
) -> Duration {
    let (least, most) = RETRY_AFTER;
    let mut soonest = most;
    for endpoint in ready {
        let (requests, context) = (f64::from(endpoint.in_flight()), count(endpoint.context()));
        let prefill = count(endpoint.prefill.tokens()) * rates.seconds_per_prompt_token(&endpoint.speed);
        let response = rates.output * rates.step(&endpoint.speed, requests, context);
        soonest = soonest.min(prefill + response * Capacity::of(endpoint, rates.now).excess(limits));
    }
    // Rounded up: the header has no smaller unit than a second.
    Duration::from_secs(u64::from(whole(soonest.clamp(least, most).ceil())))
}
