//! What a change of an endpoint's health means to the rest of the fleet.

use pointsman_core::Health;

use crate::endpoint::Endpoint;
use crate::vitals::Vitals;

/// Under the machine's lock, so that changes arrive in order: starts or ends the probing.
pub(crate) fn note(vitals: &Vitals, health: Health) {
    match health {
        Health::Ejected(_) => vitals.set_ejected(true),
        Health::Ready | Health::Draining | Health::OnTrial => vitals.set_ejected(false),
    }
}

/// After the lock: counts and logs.
pub(crate) fn report(endpoint: &Endpoint, health: Health) {
    let (pool, endpoint_name) = (endpoint.pool.name(), endpoint.authority());
    match health {
        Health::Ejected(ejection) => {
            endpoint.series.ejected(ejection.cause);
            tracing::warn!(
                pool,
                endpoint = endpoint_name,
                reason = ejection.cause.as_str(),
                back_off_ms = u64::try_from(ejection.back_off.as_millis()).unwrap_or(u64::MAX),
                "endpoint ejected"
            );
        }
        Health::OnTrial => tracing::info!(pool, endpoint = endpoint_name, "endpoint on trial"),
        Health::Ready => tracing::info!(pool, endpoint = endpoint_name, "endpoint ready"),
        Health::Draining => tracing::info!(pool, endpoint = endpoint_name, "endpoint draining"),
    }
}
