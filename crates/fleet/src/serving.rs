//! Which endpoints of a pool serve which model, worked out when a list or the endpoints change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use pointsman_config::models::ModelRules;
use pointsman_core::{EndpointId, ModelKey};
use pointsman_telemetry::PoolSeries;

use crate::endpoint::PoolEndpoint;
use crate::models::ServedModels;

/// The most models of a pool whose requests are narrowed; requests for others go to all endpoints.
const MAX_NARROWED: usize = 4_096;

/// Models that some engines of the pool list and others do not, with the endpoints that requests for them may go to.
/// Models that all list, or none, are not in it.
type Narrowed = HashMap<ModelKey, Arc<[EndpointId]>>;

/// What is known of who serves what in one pool, kept over configurations.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    scope: Mutex<Scope>,
    narrowed: ArcSwap<Narrowed>,
}

/// What the answer is worked out from.
#[derive(Debug, Default)]
struct Scope {
    members: Vec<(EndpointId, Arc<ServedModels>)>,
    labels: Option<(Arc<PoolSeries>, Arc<ModelRules>)>,
}

impl Serving {
    /// The endpoints that requests for this model are to be limited to: those that list it, and those whose list is
    /// not known yet; `None` where they may go to any.
    pub(crate) fn narrowed(&self, target: ModelKey) -> Option<Arc<[EndpointId]>> {
        self.narrowed.load().get(&target).cloned()
    }

    /// The pool has these endpoints now, and these rules.
    pub(crate) fn turn_to(
        &self,
        endpoints: &[Arc<PoolEndpoint>],
        series: &Arc<PoolSeries>,
        rules: &Arc<ModelRules>,
    ) {
        let mut scope = self.scope.lock().unwrap_or_else(PoisonError::into_inner);
        scope.members =
            endpoints.iter().map(|endpoint| (endpoint.id, Arc::clone(&endpoint.served))).collect();
        scope.labels = Some((Arc::clone(series), Arc::clone(rules)));
        self.work_out(&scope);
    }

    /// The list of this endpoint changed, which may be of another pool.
    pub(crate) fn changed(&self, endpoint: EndpointId) {
        let scope = self.scope.lock().unwrap_or_else(PoisonError::into_inner);
        if scope.members.iter().any(|(id, _)| *id == endpoint) {
            self.work_out(&scope);
        }
    }

    /// Under the lock, so that the last one to work it out has seen everything.
    fn work_out(&self, scope: &Scope) {
        let lists: Vec<_> = scope.members.iter().map(|(id, served)| (*id, served.keys())).collect();
        self.narrowed.store(Arc::new(narrow(&lists)));
        if let Some((series, rules)) = &scope.labels {
            declare(series, rules, &scope.members);
        }
    }
}

/// Engines of a pool nearly always list the same, so that they are compared as groups.
fn narrow(lists: &[(EndpointId, Arc<[ModelKey]>)]) -> Narrowed {
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
    let partly = listing.into_iter().filter(|(_, by)| by.len() < groups.len()).take(MAX_NARROWED);
    let narrowed = partly.map(|(key, by)| {
        let mut endpoints: Vec<_> = by.into_iter().flatten().chain(&unknown).copied().collect();
        endpoints.sort_unstable();
        (key, endpoints.into())
    });
    narrowed.collect()
}

/// Names the models that may be labels: what declared models come to by the rules, then what the engines list.
fn declare(series: &PoolSeries, rules: &ModelRules, members: &[(EndpointId, Arc<ServedModels>)]) {
    let mut lists: Vec<_> = members.iter().map(|(_, served)| served.list()).collect();
    lists.sort_by(|a, b| a.iter().map(|model| &model.id).cmp(b.iter().map(|model| &model.id)));
    lists.dedup_by(|a, b| a == b);
    let served = || lists.iter().flat_map(|list| list.iter()).map(|model| &*model.id);
    // A rewrite of all names that no rule declares holds for these too.
    let mapped = served().flat_map(|model| rules.targets_of(model).map(move |target| (model, &**target)));
    let declared = rules.pairs().map(|(public, target)| (&**public, &**target));
    series.declare(declared.chain(mapped).chain(served().map(|model| (model, model))));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists of the endpoints 0, 1, …; where requests for each of the models may go.
    #[track_caller]
    fn check(lists: &[&[&str]], expected: &[(&str, Option<&[u32]>)]) {
        let keys = |list: &&[&str]| -> Arc<[ModelKey]> {
            let mut keys: Vec<_> = list.iter().map(|name| ModelKey::of(name)).collect();
            keys.sort_unstable();
            keys.into()
        };
        let lists: Vec<_> = (0..).map(EndpointId).zip(lists.iter().map(keys)).collect();
        let narrowed = narrow(&lists);
        for (model, endpoints) in expected {
            let found = narrowed.get(&ModelKey::of(model)).map(|ids| ids.iter().map(|id| id.0).collect());
            assert_eq!(found, endpoints.map(<[u32]>::to_vec), "{model}");
        }
    }

    #[test]
    fn a_model_that_only_some_list_is_narrowed_to_them_and_to_the_unknown() {
        check(&[&["m", "a"], &["m"], &["m", "a"]], &[("a", Some(&[0, 2])), ("m", None), ("b", None)]);
        check(&[&["m", "a"], &["m"], &[]], &[("a", Some(&[0, 2])), ("m", None)]);
        check(&[&["x"], &["y"]], &[("x", Some(&[0])), ("y", Some(&[1])), ("z", None)]);
    }

    #[test]
    fn a_model_that_all_with_a_known_list_have_goes_anywhere() {
        check(&[&["m"], &["m"]], &[("m", None)]);
        check(&[&["m"], &[]], &[("m", None)]);
        check(&[&[], &[]], &[("m", None)]);
        check(&[], &[("m", None)]);
    }

    #[test]
    fn no_more_models_than_the_bound_are_narrowed() {
        let key = |number: usize| ModelKey(u64::try_from(number).unwrap());
        let lists = [
            (EndpointId(0), (0..MAX_NARROWED).map(key).collect()),
            (EndpointId(1), (MAX_NARROWED..MAX_NARROWED * 2).map(key).collect()),
        ];
        assert_eq!(narrow(&lists).len(), MAX_NARROWED);
    }
}
