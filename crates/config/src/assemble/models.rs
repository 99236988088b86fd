//! InferenceModels, objectives and rewrites to the rules of each pool.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Assembly, ages_are_known, by_age, position};
use crate::manifest::model::{InferenceModelRewrite, RewriteRule};
use crate::manifest::{Kind, Object, Spec};
use crate::models::{ModelRule, ModelRules};
use crate::problem::Spot;
use crate::world::ObjectName;

/// Which object holds a name of a pool; the empty name stands for every name.
type Holders<'a> = BTreeMap<(ObjectName, Option<Arc<str>>), &'a Object>;

impl<'a> Assembly<'a> {
    pub(super) fn model_rules(&mut self) -> BTreeMap<ObjectName, ModelRules> {
        let mut rules = BTreeMap::new();
        self.add_models(&mut rules);
        for object in self.of(Kind::InferenceObjective) {
            let Spec::InferenceObjective(objective) = &object.spec else { continue };
            let Some(pool) = self.check_pool_ref(object, &objective.pool) else { continue };
            let rules = rules.entry(pool).or_default();
            rules.objectives.insert(Arc::clone(&object.id.name.name), objective.priority);
        }
        let mut holders = Holders::new();
        for object in by_age(self.of(Kind::InferenceModelRewrite)) {
            let Spec::InferenceModelRewrite(rewrite) = &object.spec else { continue };
            let Some(pool) = self.check_pool_ref(object, &rewrite.pool) else { continue };
            self.add_rewrite(object, rewrite, &pool, rules.entry(pool.clone()).or_default(), &mut holders);
        }
        rules
    }

    fn add_models(&mut self, rules: &mut BTreeMap<ObjectName, ModelRules>) {
        let mut holders = Holders::new();
        for object in by_age(self.of(Kind::InferenceModel)) {
            let Spec::InferenceModel(model) = &object.spec else { continue };
            let Some(pool) = self.check_pool_ref(object, &model.pool) else { continue };
            let key = (pool.clone(), Some(Arc::clone(&model.name.value)));
            if let Some(holder) = holders.get(&key) {
                self.warn_of_holder(object, &model.name.spot, &model.name.value, holder);
                continue;
            }
            holders.insert(key, object);
            let rule = ModelRule { priority: model.priority, targets: model.targets.clone() };
            rules.entry(pool).or_default().models.insert(Arc::clone(&model.name.value), rule);
        }
    }

    fn add_rewrite(
        &mut self,
        object: &'a Object,
        rewrite: &'a InferenceModelRewrite,
        pool: &ObjectName,
        rules: &mut ModelRules,
        holders: &mut Holders<'a>,
    ) {
        for RewriteRule { names, every, targets, spot } in &rewrite.rules {
            for name in names {
                let key = (pool.clone(), Some(Arc::clone(&name.value)));
                if let Some(holder) = holders.get(&key) {
                    self.warn_of_holder(object, &name.spot, &name.value, holder);
                    continue;
                }
                holders.insert(key, object);
                rules.rewrites.insert(Arc::clone(&name.value), targets.clone());
            }
            if *every {
                let key = (pool.clone(), None);
                if let Some(holder) = holders.get(&key) {
                    self.warn_of_holder(object, spot, "every model", holder);
                    continue;
                }
                holders.insert(key, object);
                rules.rewrite_rest = Some(targets.clone());
            }
        }
    }

    /// A name belongs to the oldest object that claims it; this one comes too late.
    fn warn_of_holder(&mut self, object: &Object, spot: &Spot, name: &str, holder: &Object) {
        let place = position(holder);
        let name = crate::source::shortened(name);
        if holder.id == object.id {
            let message = format!("{name} is matched by an earlier rule of the object");
            self.warn(object, spot, message, "remove one of them: the first counts");
        } else if ages_are_known(holder, object) {
            let message = format!("{name} belongs to {}, which is older ({place})", holder.id);
            self.warn(object, spot, message, "remove one of them, or choose another name");
        } else {
            let message = format!(
                "{name} belongs to {} ({place}): without times of creation the order of names decides",
                holder.id
            );
            self.warn(
                object,
                spot,
                message,
                "remove one of them, or write metadata.creationTimestamp in both",
            );
        }
    }
}
