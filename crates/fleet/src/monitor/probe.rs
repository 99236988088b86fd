//! Active probes: `GET /health` while an endpoint is ejected or suspect.

use std::ops::ControlFlow;
use std::sync::Arc;

use pointsman_core::{Event, Rng};

use super::MonitorContext;
use crate::client::{Client, Purpose};

const PATH: &str = "/health";
/// Health pages are empty or nearly so.
const LIMIT: usize = 64 << 10;

/// Probes the endpoint for as long as there is a reason to.
pub(super) async fn run(context: MonitorContext) {
    let activity = Arc::clone(&context.pool_endpoint.load().activity);
    let mut client = Client::new(context.tasks.clone(), Purpose::Probes);
    let mut rng = Rng::seeded(u64::from(context.pool_endpoint.load().id.0));
    loop {
        while !activity.evidence.wants_probe() {
            activity.attention.notified().await;
        }
        let healthy = probe(&context, &mut client).await;
        activity.evidence.probed(healthy);
        let endpoint = context.pool_endpoint.load().id;
        context.scheduler.tell(Event::Probed { endpoint, healthy });
        tokio::time::sleep(context.settings.probes.next_pause(&mut rng)).await;
    }
}

async fn probe(context: &MonitorContext, client: &mut Client) -> bool {
    let endpoint = context.pool_endpoint.load_full();
    let ignore = |_: &[u8]| ControlFlow::Continue(());
    match client.get(&endpoint, PATH, context.settings.probes.timeout, LIMIT, ignore).await {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(endpoint = &*endpoint.authority, %error, "probe failed");
            false
        }
    }
}
