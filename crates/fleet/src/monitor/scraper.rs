//! Scrapes an endpoint's metrics page at its pace, and lists its models at a fixed interval.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use pointsman_config::{EngineKind, MetricsPage};
use pointsman_core::{Event, ModelKey, PaceBounds, ScrapePace};
use tokio::time::Instant;

use super::MonitorContext;
use super::contact::Contact;
use crate::client::{Client, GetError, Purpose};
use crate::endpoint::PoolEndpoint;
use crate::models;
use crate::scrape::{Extractor, FIRST_PATH, SECOND_PATH, path};

/// The longest pause between two scrapes of an endpoint that does not answer.
const UNANSWERED_PAUSE: Duration = Duration::from_secs(1);
const MODELS_PATH: &str = "/v1/models";
/// Longest model list in bytes: a thousand models as vLLM describes them.
const MODELS_LIMIT: usize = 1 << 20;

pub(super) async fn run(context: MonitorContext) {
    let activity = Arc::clone(&context.pool_endpoint.load().activity);
    let settings = &context.settings;
    let bounds = PaceBounds { shortest: settings.scrape_shortest, longest: settings.scrape_longest };
    let mut pace = ScrapePace::new(bounds, u64::from(context.pool_endpoint.load().id.0));
    let mut client = Client::new(context.tasks.clone(), Purpose::Pages);
    let mut scraper = Scraper::new(Client::new(context.tasks.clone(), Purpose::PagesElsewhere));
    let mut contact = Contact::default();
    let mut last = Instant::now();
    let mut models_due = last;
    loop {
        let endpoint = context.pool_endpoint.load_full();
        let failing = scraper.failures > 0;
        scraper.scrape(&context, &endpoint, &mut client).await;
        // An engine that answers again may have been restarted with other models.
        let recovered = failing && scraper.failures == 0;
        if recovered || Instant::now() >= models_due {
            read_models(&context, &endpoint, &mut client).await;
            models_due = Instant::now() + settings.models_every;
        }
        contact.report(&endpoint, scraper.detected);
        let pause = pace.next_pause(activity.dispatched(), activity.in_flight(), last.elapsed());
        // One that starts is noticed soon, though nothing is sent there.
        let pause = if activity.answers() { pause } else { pause.min(UNANSWERED_PAUSE) };
        last = Instant::now();
        sleep(&context, &endpoint, pause).await;
    }
}

/// Sleeps, but no longer than the shortest interval once a request is sent to an endpoint that was idle.
async fn sleep(context: &MonitorContext, endpoint: &PoolEndpoint, pause: Duration) {
    let shortest = context.settings.scrape_shortest;
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

/// The state of an endpoint's metrics page.
#[derive(Debug)]
struct Scraper {
    /// The client for a page at another port than the endpoint's.
    elsewhere: Client,
    /// The kind of engine, by the series on the page.
    detected: Option<EngineKind>,
    /// Whether the second path is tried, after the first showed no known series.
    try_second: bool,
    /// Number of consecutive failures: only the first one is logged.
    failures: u32,
    /// Whether it was logged that the page is longer than the limit.
    warned_of_length: bool,
}

impl Scraper {
    const fn new(elsewhere: Client) -> Self {
        Self { elsewhere, detected: None, try_second: false, failures: 0, warned_of_length: false }
    }

    async fn scrape(&mut self, context: &MonitorContext, endpoint: &Arc<PoolEndpoint>, client: &mut Client) {
        let mut result = self.read(context, endpoint, client).await;
        // The other path is tried at once after the first failure, and by turns after the others.
        let not_here = matches!(result, Err(GetError::Status(_) | GetError::UnknownPage));
        if not_here && self.failures == 0 && Self::may_be_elsewhere(context, endpoint) {
            result = self.read(context, endpoint, client).await;
        }
        endpoint.series.scraped(result.is_ok());
        match result {
            Ok(()) => self.failures = 0,
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures == 1 {
                    tracing::info!(endpoint = &*endpoint.authority, %error, "metrics cannot be read");
                }
                // An engine that stopped answering is detected by probes before its streams time out.
                if matches!(error, GetError::TimedOut | GetError::Connect(_))
                    && endpoint.activity.in_flight() > 0
                {
                    endpoint.activity.suspect();
                }
            }
        }
    }

    async fn read(
        &mut self,
        context: &MonitorContext,
        endpoint: &Arc<PoolEndpoint>,
        client: &mut Client,
    ) -> Result<(), GetError> {
        let settings = &context.settings;
        let place = endpoint.address.metrics.or(&settings.metrics);
        let from = self.path(endpoint.address.engine, &place);
        let taken = context.scheduler.clock.now();
        let mut extractor = Extractor::new(endpoint.address.engine);
        let take = |piece: &[u8]| {
            extractor.feed(piece);
            ControlFlow::Continue(())
        };
        let (budget, limit) = (settings.scrape_budget, settings.page_limit);
        let answer = match endpoint.at(&place) {
            Some(page) => self.elsewhere.get(&page, &from, budget, limit, take).await,
            None => client.get(endpoint, &from, budget, limit, take).await,
        };
        if matches!(answer, Ok(()) | Err(GetError::TooLong(_))) {
            self.detected = extractor.engine();
        }
        let report = match answer {
            Ok(()) => extractor.finish(taken),
            Err(GetError::TooLong(limit)) => {
                self.warn_of_length(endpoint, limit);
                extractor.finish_cut(taken)
            }
            Err(error) => {
                if matches!(error, GetError::Status(_)) {
                    self.try_other_path();
                }
                return Err(error);
            }
        };
        let Some(report) = report else {
            self.try_other_path();
            return Err(GetError::UnknownPage);
        };
        context.scheduler.tell(Event::Load { endpoint: endpoint.id, report });
        Ok(())
    }

    /// Whether the page's path is not known.
    fn may_be_elsewhere(context: &MonitorContext, endpoint: &PoolEndpoint) -> bool {
        let place = endpoint.address.metrics.or(&context.settings.metrics);
        place.path.is_none() && endpoint.address.engine.is_none()
    }

    /// The path of the page: as configured, else the engine's, else one that is tried.
    fn path(&self, named: Option<EngineKind>, place: &MetricsPage) -> Arc<str> {
        if let Some(path) = &place.path {
            return Arc::clone(path);
        }
        match named {
            Some(engine) => path(engine).into(),
            None if self.try_second => SECOND_PATH.into(),
            None => FIRST_PATH.into(),
        }
    }

    fn warn_of_length(&mut self, endpoint: &PoolEndpoint, limit: usize) {
        if !self.warned_of_length {
            self.warned_of_length = true;
            let endpoint = &*endpoint.authority;
            tracing::warn!(endpoint, limit, "the metrics page is too long: only its start is read");
        }
    }

    /// The page is at the other path, or another engine listens at the address now.
    const fn try_other_path(&mut self) {
        self.try_second = !self.try_second;
    }
}

async fn read_models(context: &MonitorContext, endpoint: &PoolEndpoint, client: &mut Client) {
    let mut body = Vec::new();
    let take = |piece: &[u8]| {
        body.extend_from_slice(piece);
        ControlFlow::Continue(())
    };
    let answer = client.get(endpoint, MODELS_PATH, context.settings.scrape_budget, MODELS_LIMIT, take).await;
    match answer.and_then(|()| models::parse(&body).map_err(|_| GetError::Unusable)) {
        Ok(models) => {
            let adapters = models.iter().filter(|model| model.parent.is_some());
            let adapters: Vec<_> = adapters.map(|model| ModelKey::of(&model.id)).collect();
            let known = endpoint.served.replace(models);
            if known {
                return;
            }
            context.scheduler.served_changed(endpoint.id);
            if !adapters.is_empty() {
                context.scheduler.tell(Event::AdaptersDeclared { adapters });
            }
        }
        Err(error) => tracing::debug!(endpoint = &*endpoint.authority, %error, "models cannot be read"),
    }
}
