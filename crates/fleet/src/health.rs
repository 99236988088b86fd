//! What a change of an endpoint's health means to the rest of the fleet.

use pointsman_core::Health;

use crate::activity::Activity;
use crate::endpoint::PoolEndpoint;

/// Under the scheduler's lock, so that changes arrive in order: starts or ends the probing. Whether it is news that
/// belongs in the log: a renewed ejection is not, of which a pool that is down sees one per attempt.
pub(crate) fn note(activity: &Activity, health: Health) -> bool {
    match health {
        Health::Ejected(_) => activity.set_ejected(true),
        Health::Ready | Health::Draining | Health::OnTrial => {
            activity.set_ejected(false);
            true
        }
    }
}

/// After the lock: counts, and logs what is news.
pub(crate) fn report(endpoint: &PoolEndpoint, health: Health, news: bool) {
    let (pool, endpoint_name) = (endpoint.pool.name(), endpoint.authority());
    match health {
        Health::Ejected(ejection) => {
            endpoint.series.ejected(ejection.cause);
            if !news {
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
