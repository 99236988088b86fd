//! Active probes: the engine's health page while an endpoint is ejected or suspect.

use std::ops::ControlFlow;
use std::sync::Arc;

use http::StatusCode;
use pointsman_core::{Event, Rng, Time};

use super::MonitorContext;
use crate::client::{Client, GetError, Purpose};

/// Health pages, in the order in which they are tried: of vLLM, SGLang, llama.cpp and TGI; of Triton's OpenAI front end; of
/// NIM; of Triton and KServe. The one that an engine has is remembered.
const PATHS: [&str; 4] = ["/health", "/health/ready", "/v1/health/ready", "/v2/health/ready"];
/// Health pages are empty or nearly so.
const LIMIT: usize = 64 << 10;

/// Number of consecutive refused connections after which an endpoint is down.
const REFUSED: u32 = 2;
/// The same for probes without any answer, which a busy engine may miss.
const UNANSWERED: u32 = 5;

/// The outcome of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProbeOutcome {
    /// The engine answered, which is a sign of life whatever it said; `well` unless it said that it is not ready (5xx). An
    /// engine without a health page answers 404.
    Answered { well: bool },
    /// No connection.
    Refused,
    /// A connection, perhaps, and no answer.
    Unanswered,
}

/// Probes the endpoint for as long as there is a reason to.
pub(super) async fn run(context: MonitorContext) {
    let activity = Arc::clone(&context.pool_endpoint.load().activity);
    let client = Client::new(context.tasks.clone(), Purpose::Probes);
    let mut prober = Prober { client, page: 0 };
    let mut failed = Failed::default();
    let mut rng = Rng::seeded(u64::from(context.pool_endpoint.load().id.0));
    loop {
        while !activity.evidence.wants_probe() {
            activity.attention.notified().await;
        }
        let began = context.scheduler.clock.now();
        let outcome = prober.probe(&context).await;
        let answered = matches!(outcome, ProbeOutcome::Answered { .. });
        activity.evidence.probed(answered);
        let endpoint = context.pool_endpoint.load().id;
        let healthy = outcome == ProbeOutcome::Answered { well: true };
        context.scheduler.tell(Event::Probed { endpoint, healthy });
        if failed.shows_that_it_is_down(outcome, began, activity.evidence.last_byte()) {
            context.scheduler.tell(Event::Unreachable { endpoint });
        }
        tokio::time::sleep(context.settings.probes.next_pause(&mut rng)).await;
    }
}

/// Consecutive failed probes.
#[derive(Debug, Default)]
struct Failed {
    refused: u32,
    unanswered: u32,
    /// When the first of them began.
    since: Option<Time>,
}

impl Failed {
    /// Notes the outcome of a probe that began at `began`. `last_byte` is when the endpoint sent its last byte of a response.
    fn shows_that_it_is_down(&mut self, outcome: ProbeOutcome, began: Time, last_byte: Time) -> bool {
        match outcome {
            ProbeOutcome::Answered { .. } => *self = Self::default(),
            ProbeOutcome::Refused => self.refused += 1,
            ProbeOutcome::Unanswered => self.unanswered += 1,
        }
        if matches!(outcome, ProbeOutcome::Answered { .. }) {
            return false;
        }
        let silent = last_byte <= *self.since.get_or_insert(began);
        silent && (self.refused >= REFUSED || self.refused + self.unanswered >= UNANSWERED)
    }
}

struct Prober {
    client: Client,
    /// The index of the engine's health page in [`PATHS`], as far as known.
    page: usize,
}

impl Prober {
    /// Asks for the engine's health page; where it has none by that name, for the others.
    async fn probe(&mut self, context: &MonitorContext) -> ProbeOutcome {
        for step in 0..PATHS.len() {
            let page = (self.page + step) % PATHS.len();
            match self.ask(context, page).await {
                Ok(()) => {
                    self.page = page;
                    return ProbeOutcome::Answered { well: true };
                }
                Err(GetError::Status(StatusCode::NOT_FOUND)) => {}
                Err(error) => return outcome_of(&error),
            }
        }
        ProbeOutcome::Answered { well: true }
    }

    async fn ask(&mut self, context: &MonitorContext, page: usize) -> Result<(), GetError> {
        let endpoint = context.pool_endpoint.load_full();
        let path = PATHS.get(page).copied().unwrap_or_default();
        let ignore = |_: &[u8]| ControlFlow::Continue(());
        let answer = self.client.get(&endpoint, path, context.settings.probes.timeout, LIMIT, ignore).await;
        if let Err(error) = &answer {
            tracing::debug!(endpoint = &*endpoint.authority, path, %error, "probe failed");
        }
        answer
    }
}

fn outcome_of(error: &GetError) -> ProbeOutcome {
    match error {
        GetError::Status(status) => ProbeOutcome::Answered { well: !status.is_server_error() },
        GetError::Body(_)
        | GetError::TooLong(_)
        | GetError::Unusable
        | GetError::Redirects
        | GetError::UnknownPage => ProbeOutcome::Answered { well: true },
        GetError::Connect(_) => ProbeOutcome::Refused,
        GetError::Exchange(_) | GetError::Request(_) | GetError::TimedOut => ProbeOutcome::Unanswered,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ANSWERED: ProbeOutcome = ProbeOutcome::Answered { well: false };

    /// The number of the probe that shows that the endpoint is down, counted from 1.
    fn down_after(outcomes: &[ProbeOutcome], last_byte: Time) -> Option<usize> {
        let mut failed = Failed::default();
        let began = |index: usize| Time::ZERO + Duration::from_secs(10 + index as u64);
        let mut all = outcomes.iter().enumerate();
        all.find(|(index, outcome)| failed.shows_that_it_is_down(**outcome, began(*index), last_byte))
            .map(|(index, _)| index + 1)
    }

    #[test]
    fn refused_connections_show_sooner_than_silence_that_an_endpoint_is_down() {
        let (refused, unanswered) = (ProbeOutcome::Refused, ProbeOutcome::Unanswered);
        assert_eq!(down_after(&[refused; 4], Time::ZERO), Some(2));
        assert_eq!(down_after(&[refused, ANSWERED, refused, refused], Time::ZERO), Some(4));
        assert_eq!(down_after(&[unanswered; 8], Time::ZERO), Some(5));
        assert_eq!(down_after(&[unanswered, unanswered, unanswered, ANSWERED], Time::ZERO), None);
        let later = Time::ZERO + Duration::from_secs(60);
        assert_eq!(down_after(&[unanswered; 8], later), None, "it sends tokens meanwhile");
    }
}
