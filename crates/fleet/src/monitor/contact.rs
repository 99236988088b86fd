//! A log line for each endpoint when it first answers, stops to answer, and answers again.

use pointsman_config::EngineKind;

use crate::endpoint::PoolEndpoint;

/// The number of models that a line names.
const MAX_NAMED: usize = 8;
/// The number of failures in a row after which an endpoint that has answered is said not to. One may be a busy moment.
const MISSES: u32 = 3;

/// What the log says of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Contact {
    /// `None` before the first line.
    answers: Option<bool>,
    /// Failures in a row.
    misses: u32,
}

impl Contact {
    /// Logs a change. `engine` is what its metrics page showed.
    pub(super) fn report(&mut self, endpoint: &PoolEndpoint, engine: Option<EngineKind>) {
        let answers = endpoint.activity.answers();
        self.misses = if answers { 0 } else { self.misses.saturating_add(1) };
        let is_moment = self.answers == Some(true) && !answers && self.misses < MISSES;
        if is_moment || self.answers.replace(answers) == Some(answers) {
            return;
        }
        let (pool, address) = (endpoint.pool.name(), &*endpoint.authority);
        if !answers {
            tracing::warn!(pool, endpoint = address, "the endpoint does not answer");
            return;
        }
        let engine = endpoint.address.engine.or(engine).map_or("not recognised", EngineKind::as_str);
        let list = endpoint.served.list();
        let mut models: Vec<&str> = list.iter().take(MAX_NAMED).map(|model| &*model.id).collect();
        if list.len() > MAX_NAMED {
            models.push("…");
        }
        let models = if models.is_empty() { "not listed".to_owned() } else { models.join(", ") };
        tracing::info!(pool, endpoint = address, engine, models, "the endpoint answers");
    }
}
