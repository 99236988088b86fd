//! Active probes: `GET /health` while an endpoint is ejected or suspect.

use std::ops::ControlFlow;
use std::sync::Arc;

use pointsman_core::{Event, Rng};

use super::MonitorContext;
use crate::client::Client;

const PATH: &str = "/health";
/// Health pages are empty or nearly so.
const LIMIT: usize = 64 << 10;

/// Waits for a reason to probe, and probes until there is none.
pub(super) async fn run(post: MonitorContext) {
    let activity = Arc::clone(&post.pool_endpoint.load().activity);
    let mut client = Client::new(post.tasks.clone());
    let mut rng = Rng::seeded(u64::from(post.pool_endpoint.load().id.0));
    loop {
        while !activity.wants_probe() {
            activity.attention.notified().await;
        }
        let healthy = probe(&post, &mut client).await;
        activity.probed(healthy);
        let endpoint = post.pool_endpoint.load().id;
        post.scheduler.tell(Event::Probed { endpoint, healthy });
        // Within ±20 %, so that the endpoints of a failed node are not probed in step.
        let draw = u32::try_from(rng.below(401)).unwrap_or(200);
        tokio::time::sleep(post.settings.probe_every * (800 + draw) / 1000).await;
    }
}

async fn probe(post: &MonitorContext, client: &mut Client) -> bool {
    let endpoint = post.pool_endpoint.load_full();
    let ignore = |_: &[u8]| ControlFlow::Continue(());
    match client.get(&endpoint, PATH, post.settings.probe_budget, LIMIT, ignore).await {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(endpoint = endpoint.authority(), %error, "probe failed");
            false
        }
    }
}
