//! Groups pools that share endpoints, because those share a scheduler: with a scheduler each, every pool would take the
//! load of the others for idle capacity.
//!
//! Kubernetes has such pools: the extension's zero-downtime migration from `v1alpha2` to `v1` runs two InferencePools side
//! by side over one set of pods (<https://gateway-api-inference-extension.sigs.k8s.io/guides/ga-migration/>).

use std::collections::BTreeMap;
use std::sync::Arc;

use pointsman_config::{AppProtocol, EndpointAddress, PoolSpec};

/// The identity of an endpoint. Its engine kind is an attribute, not a part of the identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EndpointKey {
    host: Arc<str>,
    port: u16,
    protocol: AppProtocol,
}

impl EndpointKey {
    pub(super) fn of(address: &EndpointAddress) -> Self {
        Self { host: Arc::clone(&address.host), port: address.port, protocol: address.protocol }
    }
}

/// Groups the positions of pools so that pools with a common endpoint are in one group. Groups and their members are in
/// ascending order.
pub(super) fn group(pools: &[PoolSpec]) -> Vec<Vec<usize>> {
    let mut parents: Vec<usize> = (0..pools.len()).collect();
    let mut owners: BTreeMap<EndpointKey, usize> = BTreeMap::new();
    for (pool, spec) in pools.iter().enumerate() {
        for address in &spec.endpoints {
            let owner = *owners.entry(EndpointKey::of(address)).or_insert(pool);
            let (a, b) = (root(&mut parents, owner), root(&mut parents, pool));
            // The smaller root wins, so that a group's root is its first pool.
            if let Some(parent) = parents.get_mut(a.max(b)) {
                *parent = a.min(b);
            }
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for pool in 0..pools.len() {
        groups.entry(root(&mut parents, pool)).or_default().push(pool);
    }
    groups.into_values().collect()
}

/// The root of a node, with its path halved on the way (Tarjan and van Leeuwen 1984).
fn root(parents: &mut [usize], mut node: usize) -> usize {
    while let Some(&parent) = parents.get(node) {
        if parent == node {
            break;
        }
        let grandparent = parents.get(parent).copied().unwrap_or(parent);
        if let Some(slot) = parents.get_mut(node) {
            *slot = grandparent;
        }
        node = grandparent;
    }
    node
}

#[cfg(test)]
mod tests {
    use pointsman_config::{EngineAccess, ObjectName, Timeouts};

    use super::*;

    #[track_caller]
    fn check(pools: &[&[u16]], expected: &[&[usize]]) {
        let pools: Vec<_> = pools.iter().enumerate().map(|(index, ports)| pool(index, ports)).collect();
        assert_eq!(group(&pools), expected);
    }

    fn pool(index: usize, ports: &[u16]) -> PoolSpec {
        let address = |&port: &u16| EndpointAddress {
            host: "10.0.0.1".into(),
            port,
            protocol: AppProtocol::Http,
            engine: None,
            metrics: pointsman_config::MetricsPage::default(),
        };
        PoolSpec {
            name: ObjectName { namespace: "default".into(), name: format!("pool-{index}").into() },
            policy: pointsman_core::PoolPolicy::default(),
            models: Arc::default(),
            endpoints: ports.iter().map(address).collect(),
            timeouts: Timeouts::default(),
            access: EngineAccess::default(),
        }
    }

    #[test]
    fn pools_without_common_endpoints_are_groups_of_one() {
        check(&[], &[]);
        check(&[&[1], &[2], &[]], &[&[0], &[1], &[2]]);
    }

    #[test]
    fn pools_with_a_common_endpoint_are_one_group() {
        check(&[&[1, 2], &[3], &[2, 4]], &[&[0, 2], &[1]]);
    }

    #[test]
    fn groups_are_transitive() {
        check(&[&[1], &[2], &[3], &[2, 3], &[1, 3], &[9]], &[&[0, 1, 2, 3, 4], &[5]]);
    }
}
