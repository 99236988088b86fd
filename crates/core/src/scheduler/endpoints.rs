//! Events about endpoints.

use super::Scheduler;
use crate::endpoint::{EndpointSpec, Health, LoadReport};
use crate::endpoints::{Endpoint, Life};
use crate::event::Effect;
use crate::gauge::Gauge;
use crate::ids::{EndpointId, ModelKey};
use crate::rates::{DecodeMeasurement, Source};
use crate::saturation;
use crate::time::Time;

impl Scheduler {
    pub(super) fn endpoint_up(&mut self, id: EndpointId, spec: EndpointSpec, effects: &mut Vec<Effect>) {
        let endpoint = self.endpoints.up(id, spec);
        if endpoint.life != Life::Up {
            endpoint.life = Life::Up;
            effects.push(Effect::HealthChanged { endpoint: id, health: endpoint.public_health() });
        }
    }

    pub(super) fn endpoint_draining(&mut self, id: EndpointId, effects: &mut Vec<Effect>) {
        if let Some(endpoint) = self.endpoints.get_mut(id)
            && endpoint.life == Life::Up
        {
            endpoint.life = Life::Draining;
            effects.push(Effect::HealthChanged { endpoint: id, health: Health::Draining });
        }
    }

    pub(super) fn endpoint_down(&mut self, id: EndpointId) {
        if let Some(at) = self.endpoints.index(id) {
            self.forget_cache(at);
            self.endpoints.all_mut()[at].life = Life::Gone;
            self.endpoints.forget_if_done(id);
        }
    }

    pub(super) fn probed(&mut self, now: Time, id: EndpointId, healthy: bool, effects: &mut Vec<Effect>) {
        #[cfg(test)]
        self.zero_load_where_probes_do(id);
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            let changed = endpoint.health.probed(now, healthy);
            announce(changed, endpoint, effects);
        }
    }

    pub(super) fn timer(&mut self, now: Time, effects: &mut Vec<Effect>) {
        for endpoint in self.endpoints.all_mut() {
            let changed = endpoint.health.timer(now);
            announce(changed, endpoint, effects);
        }
    }

    pub(super) fn adapters_declared(&mut self, adapters: &[ModelKey]) {
        for adapter in adapters {
            self.known_adapters.add(*adapter);
        }
    }

    /// A reading that is older than the one at hand is passed over.
    pub(super) fn load(&mut self, now: Time, id: EndpointId, mut report: LoadReport) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        if endpoint.gauge.as_ref().is_some_and(|gauge| gauge.report.taken > report.taken) {
            return;
        }
        report.taken = report.taken.min(now);
        report.kv_use = report.kv_use.filter(|kv_use| (0.0..=1.01).contains(kv_use));
        let then = endpoint.history.at(report.taken, endpoint.counts());
        let gauge = Gauge::new(report, then);
        if let Some(adapters) = &gauge.report.adapters {
            endpoint.adapters.reported(adapters, gauge.report.deferred);
            for adapter in &adapters.active {
                self.known_adapters.add(*adapter);
            }
        }
        let before = endpoint.gauge.replace(gauge);
        let limits = self.pools.iter().filter(|state| endpoint.spec.pools.contains(state.id));
        let told =
            endpoint.engine_load(now).is_some_and(|load| load.waiting.is_some() || load.kv_use.is_some());
        let unsaturated = limits
            .map(|state| &state.policy.saturation)
            .all(|limits| !saturation::endpoint_saturated(endpoint, limits, now));
        if told && unsaturated {
            endpoint.most_unsaturated = endpoint.most_unsaturated.max(Some(then.in_flight));
        }
        if let Some(at) = self.endpoints.index(id) {
            self.read_cache_totals(at, before.as_ref().map(|before| &before.report.totals));
        }
        if let Some(before) = before {
            self.learn_from_scrapes(now, id, &before.report);
        }
    }

    /// Rates from the engine's own sums, where we saw nothing ourselves since the reading before.
    fn learn_from_scrapes(&mut self, now: Time, id: EndpointId, before: &LoadReport) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        let Some(gauge) = &endpoint.gauge else { return };
        let (old, new) = (&before.totals, &gauge.report.totals);
        let tokens = grown(old.prompt_tokens, new.prompt_tokens);
        let cached = grown(old.cached_tokens, new.cached_tokens).unwrap_or(0.0);
        let prefilled = tokens.map_or(0.0, |tokens| (tokens - cached).max(0.0));
        let seen_here = |updated: Option<Time>| updated.is_some_and(|updated| updated >= before.taken);

        let prefill_seconds = grown(old.prefill_seconds, new.prefill_seconds);
        if let Some(seconds) = prefill_seconds
            && prefilled > 0.0
            && !seen_here(endpoint.speed.prefill.updated())
        {
            self.rates.scraped_prefill(now, &mut endpoint.speed, prefilled, seconds);
        }
        let gaps = grown(old.inter_token_seconds, new.inter_token_seconds)
            .zip(grown(old.inter_token_count, new.inter_token_count));
        if let Some((seconds, tokens)) = gaps
            && !seen_here(endpoint.speed.decode.updated())
        {
            let running = |report: &LoadReport| report.running.map_or(1.0, f64::from);
            let requests = f64::midpoint(running(before), running(&gauge.report)).max(1.0);
            let kv_use = gauge.report.kv_use.zip(gauge.kv_tokens());
            let context = kv_use.map_or(0.0, |(kv_use, tokens)| kv_use * tokens);
            // Of the prompt tokens, each of the streams met all, in `tokens / requests` steps.
            let prefilled = prefilled * requests / tokens;
            let measured = DecodeMeasurement { tokens, seconds, requests, context, prefilled };
            self.rates.decoded(now, &mut endpoint.speed, measured, Source::Scrape);
        }
    }
}

/// Tells of a changed health, and of the time at which to look again.
pub(super) fn announce(changed: bool, endpoint: &Endpoint, effects: &mut Vec<Effect>) {
    if !changed || endpoint.life != Life::Up {
        return;
    }
    let health = endpoint.public_health();
    effects.push(Effect::HealthChanged { endpoint: endpoint.id, health });
    match health {
        Health::Ejected(ejection) => effects.push(Effect::WakeAt(ejection.until)),
        Health::Ready | Health::Draining | Health::OnTrial => {}
    }
}

/// By how much a sum grew; `None` where it did not, which includes a restart of the engine.
fn grown(before: Option<f64>, after: Option<f64>) -> Option<f64> {
    let grown = after? - before?;
    (grown.is_finite() && grown > 0.0).then_some(grown)
}
