//! InferencePools with their policies, and the GatewayPolicy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use pointsman_core::PoolPolicy;
use pointsman_yaml::nearest;

use super::{Assembly, beside, position, whole};
use crate::endpoint::{AppProtocol, EndpointAddress, mixed_protocols};
use crate::files::Files;
use crate::identity::ObjectName;
use crate::kind::Kind;
use crate::manifest::inference_pool::InferencePool;
use crate::manifest::model::{PoolRef, PoolTargets};
use crate::manifest::policy::PoolPolicySpec;
use crate::manifest::{Object, Spec};
use crate::models::ModelRules;
use crate::options::Consumer;
use crate::settings::{EngineAccess, GatewayPolicy, Timeouts};
use crate::world::PoolSpec;

impl<'a> Assembly<'a> {
    pub(super) fn gateway_policy(&mut self) -> GatewayPolicy {
        let mut policies = self.of(Kind::GatewayPolicy);
        let first = policies.next();
        for object in policies {
            if let Some(first) = first {
                let message =
                    format!("is the second GatewayPolicy, after {} ({})", first.id.name, position(first));
                let fix = "merge the two: a GatewayPolicy applies to the whole gateway";
                self.error(object, &whole(object), message, fix);
            }
        }
        let Some(Spec::GatewayPolicy(policy)) = first.map(|object| &object.spec) else {
            return GatewayPolicy::default();
        };
        policy.clone()
    }

    pub(super) fn pools(&mut self) -> Vec<PoolSpec> {
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
                rules.default_model.clone_from(&policy.default_model);
                self.warn_if_nothing_is_served(object, policy, &rules);
            }
            let mut endpoints = endpoints.remove(&name).unwrap_or_default();
            if matches!(self.consumer, Consumer::Picker { .. })
                && let Some(message) = mixed_protocols(&endpoints)
            {
                let fix = "give all of them the same appProtocol, or make a pool of each";
                self.error(object, &whole(object), message, fix);
            }
            if let Some((object, policy)) = policy {
                endpoints
                    .iter_mut()
                    .for_each(|address| address.metrics = address.metrics.or(&policy.metrics));
                self.warn_of_access(object, policy, &endpoints);
                let access = access(object, policy);
                if access.ca.is_some() || access.api_key.is_some() {
                    self.name_files(object, &policy.engine_location, Files::EngineAccess(access));
                }
            }
            specs.push(PoolSpec {
                endpoints,
                policy: self.pool_policy(policy),
                timeouts: policy.map_or_else(Timeouts::default, |(_, policy)| policy.timeouts),
                access: policy.map(|(object, policy)| access(object, policy)).unwrap_or_default(),
                models: Arc::new(rules),
                name,
            });
        }
        specs
    }

    /// The policy of a pool: its PoolPolicy, overridden by the picker's configuration file.
    fn pool_policy(&mut self, spec: Option<(&Object, &PoolPolicySpec)>) -> PoolPolicy {
        let mut policy = spec.map(|(_, spec)| spec.policy.clone()).unwrap_or_default();
        if let Consumer::Picker { config: Some(config) } = self.consumer {
            if let Some((object, spec)) = spec
                && let Some(location) = &spec.picker_setting
            {
                let fix = "remove it from one of the two";
                self.error(object, location, "is also set by the picker's --config-file", fix);
            }
            config.apply(&mut policy);
        }
        policy
    }

    fn warn_if_nothing_is_served(&mut self, object: &Object, policy: &PoolPolicySpec, rules: &ModelRules) {
        let declares = rules.declared_models().next().is_some() || rules.rewrite_rest.is_some();
        if rules.reject_undeclared && !declares {
            let message = "the pool rejects undeclared models and declares none, so it rejects every model";
            let fix = "write an InferenceModel for each model that is served";
            self.warn(object, &policy.pool.location, message, fix);
        }
    }

    /// Warns of settings of TLS without an endpoint that uses TLS, and of certificates that are not verified.
    fn warn_of_access(&mut self, object: &Object, policy: &PoolPolicySpec, endpoints: &[EndpointAddress]) {
        let EngineAccess { ca, insecure_skip_verify, .. } = &policy.access;
        if !endpoints.is_empty()
            && endpoints.iter().all(|endpoint| endpoint.protocol != AppProtocol::Https)
            && (ca.is_some() || *insecure_skip_verify)
        {
            let message = "no endpoint of the pool uses TLS, so its certificate settings have no effect";
            self.warn(object, &policy.engine_location, message, "write appProtocol: https, or remove them");
        } else if *insecure_skip_verify {
            let message =
                "the certificates of the engines are not verified: anyone on the way can read and answer";
            let fix = "name the certificates to trust in caFile; an engine's own will do";
            self.warn(object, &policy.engine_location, message, fix);
        }
    }

    /// The pool that a reference names, in the namespace of the object. A pool that does not exist is an error.
    pub(super) fn check_pool_ref(&mut self, object: &'a Object, pool: &PoolRef) -> Option<ObjectName> {
        let name =
            ObjectName { namespace: Arc::clone(&object.id.name.namespace), name: Arc::clone(&pool.value) };
        if self.get(Kind::InferencePool, &name).is_some() {
            return Some(name);
        }
        if !self.is_invalid(Kind::InferencePool, &name) {
            let fix = self.missing_pool_fix(&name);
            self.error(object, &pool.location, format!("there is no InferencePool {name}"), fix);
        }
        None
    }

    /// The pools that an object applies to, each once. A pool that is named and does not exist is an error.
    pub(super) fn check_pool_targets(
        &mut self,
        object: &'a Object,
        targets: &PoolTargets,
    ) -> BTreeSet<ObjectName> {
        let mut pools: BTreeSet<ObjectName> =
            targets.refs.iter().filter_map(|pool| self.check_pool_ref(object, pool)).collect();
        let labels = &targets.labels.value;
        if !labels.is_empty() {
            let selected = self.of(Kind::InferencePool).filter(|pool| {
                let own = &pool.metadata.labels;
                pool.id.name.namespace == object.id.name.namespace
                    && labels.iter().all(|(key, value)| own.get(key) == Some(value))
            });
            let selected: Vec<_> = selected.map(|pool| pool.id.name.clone()).collect();
            if selected.is_empty() {
                let message = "no InferencePool of the namespace has these labels";
                self.warn(object, &targets.labels.location, message, "write labels of a pool's metadata");
            }
            pools.extend(selected);
        }
        pools
    }

    /// The suggested fix of a reference to a pool that does not exist.
    pub(super) fn missing_pool_fix(&self, missing: &ObjectName) -> String {
        let pools = || self.of(Kind::InferencePool).map(|pool| &pool.id.name);
        if let Some(other) = pools().find(|name| name.name == missing.name) {
            return format!("there is one in namespace {}: move both into one namespace", other.namespace);
        }
        let names = pools().filter(|name| name.namespace == missing.namespace).map(|name| &*name.name);
        match nearest(&missing.name, names) {
            Some(near) => format!("did you mean {near}?"),
            None => "write the pool, or correct the name".to_owned(),
        }
    }

    /// The PoolPolicy of each pool. A second one is an error.
    fn pool_policies(&mut self) -> BTreeMap<ObjectName, (&'a Object, &'a PoolPolicySpec)> {
        let mut policies: BTreeMap<ObjectName, (&Object, &PoolPolicySpec)> = BTreeMap::new();
        for object in self.of(Kind::PoolPolicy) {
            let Spec::PoolPolicy(policy) = &object.spec else { continue };
            let Some(pool) = self.check_pool_ref(object, &policy.pool) else { continue };
            if let Some((first, _)) = policies.get(&pool) {
                let message =
                    format!("the pool already has a PoolPolicy, {} ({})", first.id.name, position(first));
                self.error(object, &policy.pool.location, message, "merge the two");
                continue;
            }
            policies.insert(pool, (object, policy));
        }
        policies
    }
}

fn access(object: &Object, policy: &PoolPolicySpec) -> EngineAccess {
    let resolve = |path: &Option<PathBuf>| path.as_ref().map(|path| beside(&object.file, path));
    EngineAccess {
        ca: resolve(&policy.access.ca),
        api_key: resolve(&policy.access.api_key),
        ..policy.access.clone()
    }
}
