//! Index from models to the endpoints of a pool that list them, updated when a list or the endpoints change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use pointsman_config::models::ModelRules;
use pointsman_core::{EndpointId, ModelKey};
use pointsman_telemetry::PoolSeries;

use crate::endpoint::PoolEndpoint;
use crate::models::ServedModels;

/// The largest number of models in a pool's index. Requests for other models may go to all endpoints.
const MAX_MODELS: usize = 4_096;

/// The models that some but not all engines of the pool list, with the endpoints that requests for them may go to.
type EndpointsByModel = HashMap<ModelKey, Arc<[EndpointId]>>;

/// The index of one pool. It outlives a configuration.
#[derive(Debug, Default)]
pub(crate) struct ModelIndex {
    sources: Mutex<Sources>,
    endpoints_by_model: ArcSwap<EndpointsByModel>,
}

/// The inputs of the index.
#[derive(Debug, Default)]
struct Sources {
    members: Vec<(EndpointId, Arc<ServedModels>)>,
    labels: Option<(Arc<PoolSeries>, Arc<ModelRules>)>,
}

impl ModelIndex {
    /// The endpoints that list this model or whose list is not known yet; `None` where a request for it may go to any
    /// endpoint.
    pub(crate) fn endpoints_for(&self, target: ModelKey) -> Option<Arc<[EndpointId]>> {
        self.endpoints_by_model.load().get(&target).cloned()
    }

    /// Sets the pool's endpoints and model rules.
    pub(crate) fn set_pool(
        &self,
        endpoints: &[Arc<PoolEndpoint>],
        series: &Arc<PoolSeries>,
        rules: &Arc<ModelRules>,
    ) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.members =
            endpoints.iter().map(|endpoint| (endpoint.id, Arc::clone(&endpoint.served))).collect();
        sources.labels = Some((Arc::clone(series), Arc::clone(rules)));
        self.update(&sources);
    }

    /// Updates the index after the endpoint's list changed, if the endpoint is one of the pool.
    pub(crate) fn list_changed(&self, endpoint: EndpointId) {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.members.iter().any(|(id, _)| *id == endpoint) {
            self.update(&sources);
        }
    }

    /// Called under the lock of `sources`, so that the index in force is of the latest ones.
    fn update(&self, sources: &Sources) {
        let lists: Vec<_> = sources.members.iter().map(|(id, served)| (*id, served.keys())).collect();
        self.endpoints_by_model.store(Arc::new(index(&lists)));
        if let Some((series, rules)) = &sources.labels {
            declare(series, rules, &sources.members);
        }
    }
}

/// The engines of a pool nearly always have equal lists, so endpoints are compared in groups of equal lists.
fn index(lists: &[(EndpointId, Arc<[ModelKey]>)]) -> EndpointsByModel {
    let mut groups: BTreeMap<&[ModelKey], Vec<EndpointId>> = BTreeMap::new();
    for (id, keys) in lists {
        groups.entry(&**keys).or_default().push(*id);
    }
    let unknown = groups.remove(&[][..]).unwrap_or_default();
    let mut listing: BTreeMap<ModelKey, Vec<&Vec<EndpointId>>> = BTreeMap::new();
    if groups.len() > 1 {
        for (keys, endpoints) in &groups {
            for key in *keys {
                listing.entry(*key).or_default().push(endpoints);
            }
        }
    }
    let partly = listing.into_iter().filter(|(_, by)| by.len() < groups.len()).take(MAX_MODELS);
    let entries = partly.map(|(key, by)| {
        let mut endpoints: Vec<_> = by.into_iter().flatten().chain(&unknown).copied().collect();
        endpoints.sort_unstable();
        (key, endpoints.into())
    });
    entries.collect()
}

/// Declares the models that may be metric labels: the public models of the rules with their targets, then the models that
/// engines list.
fn declare(series: &PoolSeries, rules: &ModelRules, members: &[(EndpointId, Arc<ServedModels>)]) {
    let mut lists: Vec<_> = members.iter().map(|(_, served)| served.list()).collect();
    lists.sort_by(|a, b| a.iter().map(|model| &model.id).cmp(b.iter().map(|model| &model.id)));
    lists.dedup_by(|a, b| a == b);
    let served = || lists.iter().flat_map(|list| list.iter()).map(|model| &*model.id);
    // A rewrite rule for all other names applies to these, too.
    let mapped = served().flat_map(|model| rules.targets_of(model).map(move |target| (model, &**target)));
    let declared = rules.pairs().map(|(public, target)| (&**public, &**target));
    series.declare(declared.chain(mapped).chain(served().map(|model| (model, model))));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists of the endpoints 0, 1, …; the endpoints that requests for each model may go to.
    #[track_caller]
    fn check(lists: &[&[&str]], expected: &[(&str, Option<&[u32]>)]) {
        let keys = |list: &&[&str]| -> Arc<[ModelKey]> {
            let mut keys: Vec<_> = list.iter().map(|name| ModelKey::of(name)).collect();
            keys.sort_unstable();
            keys.into()
        };
        let lists: Vec<_> = (0..).map(EndpointId).zip(lists.iter().map(keys)).collect();
        let index = index(&lists);
        for (model, endpoints) in expected {
            let found = index.get(&ModelKey::of(model)).map(|ids| ids.iter().map(|id| id.0).collect());
            assert_eq!(found, endpoints.map(<[u32]>::to_vec), "{model}");
        }
    }

    #[test]
    fn a_model_that_only_some_list_is_limited_to_them_and_to_endpoints_without_a_list() {
        check(&[&["m", "a"], &["m"], &["m", "a"]], &[("a", Some(&[0, 2])), ("m", None), ("b", None)]);
        check(&[&["m", "a"], &["m"], &[]], &[("a", Some(&[0, 2])), ("m", None)]);
        check(&[&["x"], &["y"]], &[("x", Some(&[0])), ("y", Some(&[1])), ("z", None)]);
    }

    #[test]
    fn a_model_in_all_known_lists_may_go_to_any_endpoint() {
        check(&[&["m"], &["m"]], &[("m", None)]);
        check(&[&["m"], &[]], &[("m", None)]);
        check(&[&[], &[]], &[("m", None)]);
        check(&[], &[("m", None)]);
    }

    #[test]
    fn the_index_has_no_more_models_than_its_limit() {
        let key = |number: usize| ModelKey(u64::try_from(number).unwrap());
        let lists = [
            (EndpointId(0), (0..MAX_MODELS).map(key).collect()),
            (EndpointId(1), (MAX_MODELS..MAX_MODELS * 2).map(key).collect()),
        ];
        assert_eq!(index(&lists).len(), MAX_MODELS);
    }
}
