//! When a pool is saturated: sheddable requests are rejected then.

use std::time::Duration;

use crate::cast::count;
use crate::endpoints::{Endpoint, Endpoints};
use crate::ids::PoolId;
use crate::policy::SaturationLimits;
use crate::rates::Prices;
use crate::time::Time;

/// Bounds of `Retry-After`, in seconds.
const RETRY_AFTER: (f64, f64) = (1.0, 30.0);

/// Whether an endpoint is saturated: by its gauge while that is fresh, corrected by dispatches since; else when more
/// requests are in flight than it was ever seen to serve unsaturated. Without evidence it is not.
pub(crate) fn endpoint_saturated(endpoint: &Endpoint, limits: &SaturationLimits, now: Time) -> bool {
    excess(endpoint, limits, now) > 0.0
}

/// Whether all ready endpoints of a pool are saturated. A pool without ready endpoints is not.
pub(crate) fn pool_saturated(
    endpoints: &Endpoints,
    pool: PoolId,
    limits: &SaturationLimits,
    now: Time,
) -> bool {
    let mut ready = endpoints.ready(pool).peekable();
    ready.peek().is_some() && ready.all(|endpoint| endpoint_saturated(endpoint, limits, now))
}

/// When a retry is worthwhile: when the first endpoint has prefilled its waiting prompts and finished the fraction of its
/// requests that exceeds the limits. In whole seconds.
pub(crate) fn retry_after(
    endpoints: &Endpoints,
    pool: PoolId,
    limits: &SaturationLimits,
    prices: &Prices,
) -> Duration {
    let (least, most) = RETRY_AFTER;
    let mut soonest = most;
    for endpoint in endpoints.ready(pool) {
        let (requests, context) = (f64::from(endpoint.in_flight()), count(endpoint.context()));
        let prefill = count(endpoint.prefill.tokens()) * prices.seconds_per_prompt_token(&endpoint.speed);
        let reply = prices.output * prices.step(&endpoint.speed, requests, context);
        soonest = soonest.min(prefill + reply * excess(endpoint, limits, prices.now));
    }
    // Rounded up: the header has no smaller unit than a second.
    let mut whole = 1_u32;
    while f64::from(whole) < soonest.clamp(least, most) {
        whole += 1;
    }
    Duration::from_secs(u64::from(whole))
}

/// The fraction of an endpoint's requests that exceeds the limits: above 0 where it is saturated.
fn excess(endpoint: &Endpoint, limits: &SaturationLimits, now: Time) -> f64 {
    let in_flight = f64::from(endpoint.in_flight());
    let load = endpoint.engine_load(now).filter(|load| load.waiting.is_some() || load.kv_use.is_some());
    let Some(load) = load else {
        return endpoint.most_unsaturated.map_or(0.0, |most| share(in_flight, f64::from(most)));
    };
    let waiting = load.waiting.unwrap_or(0.0);
    let too_many = waiting - f64::from(limits.waiting);
    let queue = if too_many > 0.0 { too_many / in_flight.max(waiting).max(1.0) } else { 0.0 };
    queue.max(load.kv_use.map_or(0.0, |kv_use| share(kv_use, limits.kv_use)))
}

/// The fraction of `value` that exceeds `limit`.
fn share(value: f64, limit: f64) -> f64 {
    if value > limit && value > 0.0 { (value - limit) / value } else { 0.0 }
}
