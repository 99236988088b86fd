//! Certificate authorities and keys towards engines that change on disk.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Shared;
use crate::connect::Connector;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at the files of the connectors in use once a second, for as long as the fleet lives.
pub(super) async fn follow(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(shared) = shared.upgrade() else { return };
        let connectors = in_use(&shared);
        if connectors.is_empty() {
            continue;
        }
        // A panic in there is reported by the runtime; the next second is another try.
        let _ = tokio::task::spawn_blocking(move || connectors.iter().for_each(|it| look(&shared, it))).await;
    }
}

fn in_use(shared: &Shared) -> Vec<Arc<Connector>> {
    let mut connectors: Vec<Arc<Connector>> = Vec::new();
    for pool in &shared.current.load().pools {
        // All endpoints of a pool are reached the same way.
        let Some(endpoint) = pool.endpoints.first() else { continue };
        let connector = &endpoint.connector;
        if connector.has_files() && !connectors.iter().any(|other| Arc::ptr_eq(other, connector)) {
            connectors.push(Arc::clone(connector));
        }
    }
    connectors
}

fn look(shared: &Shared, connector: &Connector) {
    match connector.reload_if_changed() {
        Ok(false) => {}
        Ok(true) => {
            shared.metrics.certificate_reloaded(true);
            tracing::info!("certificate authorities or key towards engines read again");
        }
        Err(error) => {
            shared.metrics.certificate_reloaded(false);
            tracing::warn!(%error, "changed certificate authorities or key towards engines cannot be used; the old ones stay");
        }
    }
}
