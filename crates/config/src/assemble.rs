//! Objects to a [`World`]: what can be checked only by looking at several of them.

mod endpoints;
mod gateways;
mod models;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pointsman_core::PoolPolicy;

use crate::manifest::inference_pool::InferencePool;
use crate::manifest::model::PoolRef;
use crate::manifest::policy::PoolPolicySpec;
use crate::manifest::{Kind, Object, ObjectId, Spec};
use crate::models::ModelRules;
use crate::problem::{Problem, Severity, Spot};
use crate::source::Door;
use crate::world::{EngineAccess, GatewayPolicy, ObjectName, PoolIndex, PoolSpec, Timeouts, World};

/// The objects of a set, by identity.
pub(crate) type Objects = BTreeMap<ObjectId, Arc<Object>>;

/// The world, and the problems found on the way. What is wrong is left out, the rest stands.
pub(crate) fn assemble(objects: &Objects, broken: &BTreeSet<ObjectId>, door: Door) -> (World, Vec<Problem>) {
    let pools = objects.keys().filter(|id| id.kind == Kind::InferencePool).map(|id| &id.name);
    let pool_indices = pools.enumerate().map(|(i, name)| (name, PoolIndex(i))).collect();
    let mut assembly = Assembly { objects, broken, door, pool_indices, problems: Vec::new() };
    let mut world = World { gateway: assembly.gateway_policy(), ..World::default() };
    world.pools = assembly.pools();
    world.listeners = assembly.listeners();
    (world, assembly.problems)
}

/// One pass over the objects.
struct Assembly<'a> {
    objects: &'a Objects,
    /// Objects that have mistakes of their own; what others miss in them is not reported again.
    broken: &'a BTreeSet<ObjectId>,
    /// Who reads.
    door: Door,
    /// Positions in [`World::pools`].
    pool_indices: BTreeMap<&'a ObjectName, PoolIndex>,
    problems: Vec<Problem>,
}

impl<'a> Assembly<'a> {
    fn of(&self, kind: Kind) -> impl Iterator<Item = &'a Object> + use<'a> {
        let objects = self.objects;
        objects.iter().filter(move |(id, _)| id.kind == kind).map(|(_, object)| &**object)
    }

    fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&'a Object> {
        let id = ObjectId { kind, name: ObjectName { namespace: namespace.into(), name: name.into() } };
        self.objects.get(&id).map(|object| &**object)
    }

    fn is_broken(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        let id = ObjectId { kind, name: ObjectName { namespace: namespace.into(), name: name.into() } };
        self.broken.contains(&id)
    }

    fn error(&mut self, object: &Object, spot: &Spot, message: impl Into<String>, fix: impl Into<String>) {
        self.report(Severity::Error, object, spot, message.into(), fix.into());
    }

    fn warn(&mut self, object: &Object, spot: &Spot, message: impl Into<String>, fix: impl Into<String>) {
        self.report(Severity::Warning, object, spot, message.into(), fix.into());
    }

    fn report(&mut self, severity: Severity, object: &Object, spot: &Spot, message: String, fix: String) {
        let path = if spot.path.is_empty() {
            object.id.to_string()
        } else {
            format!("{}: {}", object.id, spot.path)
        };
        self.problems.push(Problem {
            severity,
            file: Arc::clone(&object.file),
            line: spot.mark.line,
            column: spot.mark.column,
            path,
            message,
            fix,
            object: Some(object.id.clone()),
        });
    }

    fn gateway_policy(&mut self) -> GatewayPolicy {
        let mut chosen = GatewayPolicy::default();
        let mut first: Option<&Object> = None;
        for object in self.of(Kind::GatewayPolicy) {
            let Spec::GatewayPolicy(limits) = &object.spec else { continue };
            match first {
                None => chosen = limits.0.clone(),
                Some(other) => {
                    let message =
                        format!("there is a GatewayPolicy already, {} ({})", other.id.name, position(other));
                    self.error(
                        object,
                        &whole(object),
                        message,
                        "merge the two: they hold for the whole gateway",
                    );
                }
            }
            first = first.or(Some(object));
        }
        chosen
    }

    fn pools(&mut self) -> Vec<PoolSpec> {
        let pools: Vec<(&Object, &InferencePool)> = self
            .of(Kind::InferencePool)
            .filter_map(|object| object.spec.pool().map(|pool| (object, pool)))
            .collect();
        let mut endpoints = self.endpoints(&pools);
        let mut rules = self.model_rules();
        let policies = self.pool_policies();
        let mut specs = Vec::new();
        for (object, _) in pools {
            let name = object.id.name.clone();
            let mut rules = rules.remove(&name).unwrap_or_default();
            let policy = policies.get(&name).copied();
            if let Some((object, policy)) = policy {
                rules.reject_undeclared = policy.reject_undeclared;
                self.warn_if_nothing_is_served(object, policy, &rules);
            }
            specs.push(PoolSpec {
                endpoints: endpoints.remove(&name).unwrap_or_default(),
                policy: self.core_policy(policy),
                timeouts: policy.map_or_else(Timeouts::default, |(_, policy)| policy.timeouts),
                access: policy.map(|(object, policy)| access(object, policy)).unwrap_or_default(),
                models: Arc::new(rules),
                name,
            });
        }
        specs
    }

    /// How endpoints are chosen: by the picker's configuration file, where there is one, else by the pool's policy.
    fn core_policy(&mut self, policy: Option<(&Object, &PoolPolicySpec)>) -> PoolPolicy {
        let mut core = policy.map(|(_, policy)| policy.policy.clone()).unwrap_or_default();
        let Door::Picker { config: Some(config) } = self.door else { return core };
        if let Some((object, spot)) =
            policy.and_then(|(object, own)| Some((object, own.picker_config.as_ref()?)))
        {
            self.error(object, spot, "the picker's --config-file says it too", "say it in one of them only");
        }
        config.apply(&mut core);
        core
    }

    fn warn_if_nothing_is_served(&mut self, object: &Object, policy: &PoolPolicySpec, rules: &ModelRules) {
        let declares = rules.declared_models().next().is_some() || rules.rewrite_rest.is_some();
        if rules.reject_undeclared && !declares {
            let message = "the pool rejects undeclared models, and none is declared: every model is refused";
            self.warn(
                object,
                &policy.pool.spot,
                message,
                "write an InferenceModel for each model that is served",
            );
        }
    }

    /// Checks that a reference leads to a pool of the object's own namespace.
    fn check_pool_ref(&mut self, object: &'a Object, pool: &PoolRef) -> Option<ObjectName> {
        let name =
            ObjectName { namespace: Arc::clone(&object.id.name.namespace), name: Arc::clone(&pool.value) };
        if self.get(Kind::InferencePool, &name.namespace, &name.name).is_some() {
            return Some(name);
        }
        if !self.is_broken(Kind::InferencePool, &name.namespace, &name.name) {
            let fix = self.pool_advice(&name);
            self.error(object, &pool.spot, format!("there is no InferencePool {name}"), fix);
        }
        None
    }

    /// What to do about a pool that is not there.
    fn pool_advice(&self, missing: &ObjectName) -> String {
        let pools = || self.of(Kind::InferencePool).map(|pool| &pool.id.name);
        if let Some(elsewhere) = pools().find(|name| name.name == missing.name) {
            return format!("there is one in namespace {}: write both into one", elsewhere.namespace);
        }
        let names = pools().filter(|name| name.namespace == missing.namespace).map(|name| &*name.name);
        match crate::decode::nearest(&missing.name, names) {
            Some(near) => format!("did you mean {near}?"),
            None => "write the pool, or correct the name".to_owned(),
        }
    }

    /// The policy of each pool; a second one is reported and left out.
    fn pool_policies(&mut self) -> BTreeMap<ObjectName, (&'a Object, &'a PoolPolicySpec)> {
        let mut policies: BTreeMap<ObjectName, (&Object, &PoolPolicySpec)> = BTreeMap::new();
        for object in self.of(Kind::PoolPolicy) {
            let Spec::PoolPolicy(policy) = &object.spec else { continue };
            let Some(pool) = self.check_pool_ref(object, &policy.pool) else { continue };
            if let Some((other, _)) = policies.get(&pool) {
                let message =
                    format!("the pool has a PoolPolicySpec already, {} ({})", other.id.name, position(other));
                self.error(object, &policy.pool.spot, message, "merge the two");
                continue;
            }
            policies.insert(pool, (object, policy));
        }
        policies
    }
}

/// `file:line` of an object.
fn position(object: &Object) -> String {
    format!("{}:{}", object.file, object.mark.line)
}

/// The place of an object as a whole.
fn whole(object: &Object) -> Spot {
    Spot { mark: object.mark, path: "".into() }
}

fn access(object: &Object, policy: &PoolPolicySpec) -> EngineAccess {
    let resolve = |path: &Option<Box<str>>| path.as_ref().map(|path| beside(&object.file, path));
    EngineAccess { ca: resolve(&policy.ca_file), api_key: resolve(&policy.api_key_file) }
}

/// A path, taken from the folder of the manifest that names it.
fn beside(file: &str, path: &str) -> PathBuf {
    Path::new(file).parent().unwrap_or(Path::new("")).join(path)
}

/// Older objects first. Without times of creation, names decide; what has one is older than what has none.
fn by_age<'o>(objects: impl Iterator<Item = &'o Object>) -> Vec<&'o Object> {
    let mut objects: Vec<&Object> = objects.collect();
    objects.sort_by_key(|object| (object.metadata.created.unwrap_or(i64::MAX), &object.id.name));
    objects
}

/// Whether their times of creation tell which of two is older.
fn ages_are_known(a: &Object, b: &Object) -> bool {
    matches!((a.metadata.created, b.metadata.created), (Some(a), Some(b)) if a != b)
}
