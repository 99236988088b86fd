//! Reloads the certificate authorities and API keys for engines when their files change.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Shared;
use crate::connect::Connector;

const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Checks the files of the connectors in use once a second, for as long as the fleet exists.
pub(super) async fn follow(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let Some(shared) = shared.upgrade() else { return };
        let connectors = in_use(&shared);
        if connectors.is_empty() {
            continue;
        }
        // The runtime reports a panic; the files are checked again in the next second.
        let _ =
            tokio::task::spawn_blocking(move || connectors.iter().for_each(|it| check(&shared, it))).await;
    }
}

fn in_use(shared: &Shared) -> Vec<Arc<Connector>> {
    let mut connectors: Vec<Arc<Connector>> = Vec::new();
    for pool in &shared.current.load().pools {
        // All endpoints of a pool share a connector.
        let Some(endpoint) = pool.endpoints.first() else { continue };
        let connector = &endpoint.connector;
        if connector.has_files() && !connectors.iter().any(|other| Arc::ptr_eq(other, connector)) {
            connectors.push(Arc::clone(connector));
        }
    }
    connectors
}

fn check(shared: &Shared, connector: &Connector) {
    match connector.reload_if_changed() {
        Ok(false) => {}
        Ok(true) => {
            shared.metrics.certificate_reloaded(true);
            tracing::info!("certificate authorities or API key for engines reloaded");
        }
        Err(error) => {
            shared.metrics.certificate_reloaded(false);
            tracing::warn!(%error, "changed certificate authorities or API key for engines cannot be used; the old ones stay in use");
        }
    }
}
