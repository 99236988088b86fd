//! InferenceModels, InferenceObjectives and InferenceModelRewrites to the model rules of pools.

use std::collections::BTreeMap;
use std::sync::Arc;

use pointsman_yaml::{Location, truncated};

use super::{Assembly, ages_are_known, by_age, position};
use crate::identity::ObjectName;
use crate::kind::Kind;
use crate::manifest::model::{InferenceModelRewrite, RewriteRule};
use crate::manifest::{Object, Spec};
use crate::models::{ModelRule, ModelRules};

/// The object whose rule applies to a model name of a pool; `None` is the rule of all other names.
type Owners<'a> = BTreeMap<(ObjectName, Option<Arc<str>>), &'a Object>;

impl<'a> Assembly<'a> {
    pub(super) fn model_rules(&mut self) -> BTreeMap<ObjectName, ModelRules> {
        let mut rules = BTreeMap::new();
        self.add_models(&mut rules);
        for object in self.of(Kind::InferenceObjective) {
            let Spec::InferenceObjective(objective) = &object.spec else { continue };
            for pool in self.check_pool_targets(object, &objective.pools) {
                let rules = rules.entry(pool).or_default();
                rules.objectives.insert(Arc::clone(&object.id.name.name), objective.priority);
            }
        }
        let mut owners = Owners::new();
        for object in by_age(self.of(Kind::InferenceModelRewrite)) {
            let Spec::InferenceModelRewrite(rewrite) = &object.spec else { continue };
            for pool in self.check_pool_targets(object, &rewrite.pools) {
                self.add_rewrite(object, rewrite, &pool, rules.entry(pool.clone()).or_default(), &mut owners);
            }
        }
        rules
    }

    fn add_models(&mut self, rules: &mut BTreeMap<ObjectName, ModelRules>) {
        let mut owners = Owners::new();
        for object in by_age(self.of(Kind::InferenceModel)) {
            let Spec::InferenceModel(model) = &object.spec else { continue };
            let Some(pool) = self.check_pool_ref(object, &model.pool) else { continue };
            let key = (pool.clone(), Some(Arc::clone(&model.name.value)));
            if self.claim(&mut owners, key, object, &model.name.location) {
                let rule = ModelRule { priority: model.priority, targets: model.targets.clone() };
                rules.entry(pool).or_default().models.insert(Arc::clone(&model.name.value), rule);
            }
        }
    }

    fn add_rewrite(
        &mut self,
        object: &'a Object,
        rewrite: &'a InferenceModelRewrite,
        pool: &ObjectName,
        rules: &mut ModelRules,
        owners: &mut Owners<'a>,
    ) {
        for RewriteRule { names, matches_all, targets, location } in &rewrite.rules {
            for name in names {
                let key = (pool.clone(), Some(Arc::clone(&name.value)));
                if self.claim(owners, key, object, &name.location) {
                    rules.rewrites.insert(Arc::clone(&name.value), targets.clone());
                }
            }
            if *matches_all && self.claim(owners, (pool.clone(), None), object, location) {
                rules.rewrite_rest = Some(targets.clone());
            }
        }
    }

    /// Makes the object the owner of a name. Where there is an owner, which is older, a warning says so.
    fn claim(
        &mut self,
        owners: &mut Owners<'a>,
        key: (ObjectName, Option<Arc<str>>),
        object: &'a Object,
        location: &Location,
    ) -> bool {
        let Some(owner) = owners.get(&key) else {
            owners.insert(key, object);
            return true;
        };
        let place = position(owner);
        let name = truncated(key.1.as_deref().unwrap_or("every other model"));
        if owner.id == object.id {
            let message = format!("{name} is matched by an earlier rule of the same object");
            self.warn(object, location, message, "remove one of them: the first applies");
        } else if ages_are_known(owner, object) {
            let message = format!("{name} is declared by {}, which is older ({place})", owner.id);
            self.warn(object, location, message, "remove one of them, or choose another name");
        } else {
            let message = format!(
                "{name} is declared by {} ({place}), which has precedence only because creation times are missing or equal",
                owner.id
            );
            let fix = "remove one of them, or write metadata.creationTimestamp in both";
            self.warn(object, location, message, fix);
        }
        false
    }
}
