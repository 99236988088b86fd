//! The consequences of a change of an endpoint's health: probing, counters and logs.

use pointsman_core::Health;

use crate::activity::Activity;
use crate::endpoint::PoolEndpoint;

/// Starts or ends the probing. Called under the scheduler's lock, so that changes arrive in order. Returns whether the change
/// is to be logged: a renewed ejection is not, since a pool that is down has one per attempt.
pub(crate) fn update_probing(activity: &Activity, health: Health) -> bool {
    match health {
        Health::Ejected(_) => activity.set_ejected(true),
        Health::Ready | Health::Draining | Health::OnTrial => {
            activity.set_ejected(false);
            true
        }
    }
}

/// Counts the change, and logs it where `log` says so. Called after the scheduler's lock is released.
pub(crate) fn report(endpoint: &PoolEndpoint, health: Health, log: bool) {
    let (pool, endpoint_name) = (endpoint.pool.name(), &*endpoint.authority);
    match health {
        Health::Ejected(ejection) => {
            endpoint.series.ejected(ejection.cause);
            if !log {
                return;
            }
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
