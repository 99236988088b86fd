//! Events about endpoints.

use super::Scheduler;
use crate::capacity::Capacity;
use crate::endpoint::{EndpointSpec, Health, LoadReport};
use crate::endpoints::{Endpoint, Lifecycle};
use crate::event::Effect;
use crate::ids::EndpointId;
use crate::rates::{DecodeMeasurement, Source};
use crate::time::Time;

impl Scheduler {
    pub(super) fn endpoint_up(&mut self, id: EndpointId, spec: EndpointSpec, effects: &mut Vec<Effect>) {
        let index = self.endpoints.insert(id, spec);
        if self.endpoints.set_lifecycle(index, Lifecycle::Up) {
            let health = self.endpoints.all[index].public_health();
            effects.push(Effect::HealthChanged { endpoint: id, health });
        }
    }

    pub(super) fn endpoint_draining(&mut self, id: EndpointId, effects: &mut Vec<Effect>) {
        if let Some(index) = self.endpoints.index(id)
            && self.endpoints.all[index].lifecycle() == Lifecycle::Up
        {
            self.endpoints.set_lifecycle(index, Lifecycle::Draining);
            effects.push(Effect::HealthChanged { endpoint: id, health: Health::Draining });
        }
    }

    pub(super) fn endpoint_down(&mut self, id: EndpointId) {
        if let Some(index) = self.endpoints.index(id) {
            self.endpoints.all[index].cache.forget(&mut self.prefixes.index);
            self.endpoints.set_lifecycle(index, Lifecycle::Down);
        }
    }

    pub(super) fn probed(&mut self, now: Time, id: EndpointId, healthy: bool, effects: &mut Vec<Effect>) {
        #[cfg(test)]
        self.apply_probes_zero_load(id);
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            let changed = endpoint.health.probed(now, healthy);
            announce(changed, endpoint, effects);
        }
    }

    pub(super) fn unreachable(&mut self, now: Time, id: EndpointId, effects: &mut Vec<Effect>) {
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            let changed = endpoint.health.unreachable(now, &mut self.rng);
            announce(changed, endpoint, effects);
        }
    }

    pub(super) fn timer(&mut self, now: Time, effects: &mut Vec<Effect>) {
        for endpoint in &mut self.endpoints.all {
            let changed = endpoint.health.timer(now);
            announce(changed, endpoint, effects);
        }
    }

    /// A reading that is older than the latest one is ignored.
    pub(super) fn load(&mut self, now: Time, id: EndpointId, mut report: LoadReport) {
        let Some(index) = self.endpoints.index(id) else { return };
        let endpoint = &mut self.endpoints.all[index];
        if endpoint.gauge.as_ref().is_some_and(|gauge| gauge.report.taken > report.taken) {
            return;
        }
        report.taken = report.taken.min(now);
        report.kv_use = report.kv_use.filter(|kv_use| (0.0..=1.01).contains(kv_use));
        if let Some(adapters) = &report.adapters {
            endpoint.adapters.reported(adapters, report.deferred);
            self.known_adapters.extend(&adapters.active);
        }
        let before = endpoint.read(report);
        let limits = self.pools.iter().filter(|state| endpoint.spec.pools.contains(state.id));
        let capacity = Capacity::of(endpoint, now);
        let unsaturated =
            limits.map(|state| &state.policy.saturation).all(|limits| !capacity.is_saturated(limits));
        if capacity.evidence().is_some() {
            let then = endpoint.gauge.as_ref().map(|gauge| gauge.then.in_flight);
            if unsaturated {
                endpoint.most_unsaturated = endpoint.most_unsaturated.max(then);
            } else if let Some(then) = then.filter(|then| *then > 0) {
                endpoint.least_saturated =
                    Some(endpoint.least_saturated.map_or(then, |least| least.min(then)));
            }
        }
        self.prefixes.read_totals(endpoint, before.as_ref().map(|before| &before.report.totals));
        if let Some(before) = before {
            self.learn_from_scrapes(now, id, &before.report);
        }
    }

    /// Learns rates from the engine's counters, unless they were measured by streams or responses since the reading before.
    fn learn_from_scrapes(&mut self, now: Time, id: EndpointId, before: &LoadReport) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        let Some(gauge) = &endpoint.gauge else { return };
        let (old, new) = (&before.totals, &gauge.report.totals);
        let tokens = grown(old.prompt_tokens, new.prompt_tokens);
        let cached = grown(old.cached_tokens, new.cached_tokens).unwrap_or(0.0);
        let prefilled = tokens.map_or(0.0, |tokens| (tokens - cached).max(0.0));
        let measured_since = |updated: Option<Time>| updated.is_some_and(|updated| updated >= before.taken);

        let prefill_seconds = grown(old.prefill_seconds, new.prefill_seconds);
        if let Some(seconds) = prefill_seconds
            && prefilled > 0.0
            && !measured_since(endpoint.speed.prefill.updated())
        {
            self.rates.scraped_prefill(now, &mut endpoint.speed, prefilled, seconds);
        }
        let gaps = grown(old.inter_token_seconds, new.inter_token_seconds)
            .zip(grown(old.inter_token_count, new.inter_token_count));
        if let Some((seconds, tokens)) = gaps
            && !measured_since(endpoint.speed.decode.updated())
        {
            let running = |report: &LoadReport| report.running.map_or(1.0, f64::from);
            let requests = f64::midpoint(running(before), running(&gauge.report)).max(1.0);
            let kv_use = gauge.report.kv_use.zip(gauge.kv_tokens());
            let context = kv_use.map_or(0.0, |(kv_use, tokens)| kv_use * tokens);
            // Every stream was in every step, so each met all prompt tokens, in `tokens / requests` steps.
            let prefilled = prefilled * requests / tokens;
            let measured = DecodeMeasurement { tokens, seconds, requests, context, prefilled };
            self.rates.decoded(now, &mut endpoint.speed, measured, Source::Scrape);
        }
    }
}

/// Reports a changed health, and asks to be woken when an ejection may end.
pub(super) fn announce(changed: bool, endpoint: &Endpoint, effects: &mut Vec<Effect>) {
    if !changed || endpoint.lifecycle() != Lifecycle::Up {
        return;
    }
    let health = endpoint.public_health();
    effects.push(Effect::HealthChanged { endpoint: endpoint.id, health });
    if let Health::Ejected(ejection) = health {
        effects.push(Effect::WakeAt(ejection.until));
    }
}

/// The growth of a counter; `None` where it did not grow, which includes a restart of the engine.
fn grown(before: Option<f64>, after: Option<f64>) -> Option<f64> {
    let grown = after? - before?;
    (grown.is_finite() && grown > 0.0).then_some(grown)
}
