//! Scrapes an endpoint's metrics page at its pace, and asks for its models now and then.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use pointsman_config::EngineKind;
use pointsman_core::{Event, ModelKey, PaceBounds, ScrapePace};
use tokio::time::Instant;

use super::MonitorContext;
use crate::client::{AskError, Client};
use crate::endpoint::PoolEndpoint;
use crate::models;
use crate::scrape::{Extractor, FIRST_PATH, SECOND_PATH, path};

const MODELS_PATH: &str = "/v1/models";
/// A thousand models with all that vLLM says of each.
const MODELS_LIMIT: usize = 1 << 20;

pub(super) async fn run(post: MonitorContext) {
    let activity = Arc::clone(&post.pool_endpoint.load().activity);
    let settings = &post.settings;
    let bounds = PaceBounds { shortest: settings.scrape_shortest, longest: settings.scrape_longest };
    let mut pace = ScrapePace::new(bounds, u64::from(post.pool_endpoint.load().id.0));
    let mut client = Client::new(post.tasks.clone());
    let mut scraper = Scraper::default();
    let mut last = Instant::now();
    let mut models_due = last;
    loop {
        let endpoint = post.pool_endpoint.load_full();
        let leave = post.tasks.leave_to_ask().await;
        let failing = scraper.failures > 0;
        scraper.scrape(&post, &endpoint, &mut client).await;
        // An engine that answers again may have been started anew, with other models.
        let back = failing && scraper.failures == 0;
        if back || Instant::now() >= models_due {
            ask_models(&post, &endpoint, &mut client).await;
            models_due = Instant::now() + settings.models_every;
        }
        drop(leave);
        let pause = pace.next_pause(activity.dispatched(), activity.in_flight(), last.elapsed());
        last = Instant::now();
        rest(&post, &endpoint, pause).await;
    }
}

/// Pauses, but not longer than the shortest interval once a request is sent to an endpoint that was idle.
async fn rest(post: &MonitorContext, endpoint: &PoolEndpoint, pause: Duration) {
    let shortest = post.settings.scrape_shortest;
    if pause <= shortest * 2 {
        tokio::time::sleep(pause).await;
        return;
    }
    endpoint.activity.announce_next_dispatch();
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = endpoint.activity.dispatch.notified() => tokio::time::sleep(shortest).await,
    }
}

/// What is remembered of an endpoint's page.
#[derive(Debug, Default)]
struct Scraper {
    /// The engine that the page showed.
    detected: Option<EngineKind>,
    /// An engine that shows no known series at the first path may do so at the second.
    try_second: bool,
    /// Failures in a row, so that only the first is logged.
    failures: u32,
}

impl Scraper {
    async fn scrape(&mut self, post: &MonitorContext, endpoint: &Arc<PoolEndpoint>, client: &mut Client) {
        let result = self.read(post, endpoint, client).await;
        endpoint.series.scraped(result.is_ok());
        match result {
            Ok(()) => self.failures = 0,
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures == 1 {
                    tracing::info!(endpoint = endpoint.authority(), %error, "metrics cannot be read");
                }
                // An engine that answers nobody any more is found out by probes, before its streams time out.
                if matches!(error, AskError::TimedOut | AskError::Connect(_))
                    && endpoint.activity.in_flight() > 0
                {
                    endpoint.activity.suspect();
                }
            }
        }
    }

    async fn read(
        &mut self,
        post: &MonitorContext,
        endpoint: &Arc<PoolEndpoint>,
        client: &mut Client,
    ) -> Result<(), AskError> {
        let engine = endpoint.address.engine.or(self.detected);
        let from = match engine {
            Some(engine) => path(engine),
            None if self.try_second => SECOND_PATH,
            None => FIRST_PATH,
        };
        let taken = post.scheduler.clock.now();
        let mut extractor = Extractor::new(engine);
        let take = |piece: &[u8]| {
            extractor.feed(piece);
            ControlFlow::Continue(())
        };
        let settings = &post.settings;
        let answer = client.get(endpoint, from, settings.scrape_budget, settings.page_limit, take).await;
        self.detected = extractor.engine();
        let report = extractor.finish(taken);
        match (answer, report) {
            (Ok(()), Some(report)) => {
                post.scheduler.tell(Event::Load { endpoint: endpoint.id, report });
                Ok(())
            }
            (Ok(()), None) => {
                self.look_elsewhere();
                Err(AskError::Unusable)
            }
            (Err(error), _) => {
                if matches!(error, AskError::Status(_)) {
                    self.look_elsewhere();
                }
                Err(error)
            }
        }
    }

    /// The page is not where it was looked for, or the engine behind the address is another one now.
    fn look_elsewhere(&mut self) {
        self.detected = None;
        self.try_second = !self.try_second;
    }
}

async fn ask_models(post: &MonitorContext, endpoint: &PoolEndpoint, client: &mut Client) {
    let mut body = Vec::new();
    let take = |piece: &[u8]| {
        body.extend_from_slice(piece);
        ControlFlow::Continue(())
    };
    let answer = client.get(endpoint, MODELS_PATH, post.settings.scrape_budget, MODELS_LIMIT, take).await;
    match answer.and_then(|()| models::parse(&body).map_err(|_| AskError::Unusable)) {
        Ok(models) => {
            let adapters = models.iter().filter(|model| model.parent.is_some());
            let adapters: Vec<_> = adapters.map(|model| ModelKey::of(&model.id)).collect();
            let known = endpoint.served.replace(models);
            if known {
                return;
            }
            post.scheduler.served_changed(endpoint.id);
            if !adapters.is_empty() {
                post.scheduler.tell(Event::AdaptersDeclared { adapters });
            }
        }
        Err(error) => tracing::debug!(endpoint = endpoint.authority(), %error, "models cannot be read"),
    }
}
