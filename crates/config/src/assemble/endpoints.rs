//! EndpointSlices to the endpoints of each pool.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Assembly, position, whole};
use crate::manifest::endpoint_slice::{EndpointSlice, SlicePort};
use crate::manifest::inference_pool::InferencePool;
use crate::manifest::{Kind, Object, Spec};
use crate::world::{AppProtocol, EndpointAddress, EngineKind, ObjectName};

/// What has been said of one host and port, and by which slice.
type Seen<'a> = BTreeMap<(Arc<str>, u16), (AppProtocol, Option<EngineKind>, &'a Object)>;

impl<'a> Assembly<'a> {
    /// The endpoints of each pool: slices of its namespace whose labels its selector matches, addresses × ports.
    pub(super) fn endpoints(
        &mut self,
        pools: &[(&'a Object, &'a InferencePool)],
    ) -> BTreeMap<ObjectName, Vec<EndpointAddress>> {
        let mut endpoints: BTreeMap<ObjectName, Vec<EndpointAddress>> = BTreeMap::new();
        let mut seen = Seen::new();
        for object in self.of(Kind::EndpointSlice) {
            let Spec::EndpointSlice(slice) = &object.spec else { continue };
            let selecting: Vec<_> = pools.iter().filter(|(pool, spec)| selects(pool, spec, object)).collect();
            if selecting.is_empty() && self.broken.iter().all(|id| id.kind != Kind::InferencePool) {
                let message =
                    "no InferencePool of its namespace selects its labels: its endpoints serve nothing";
                self.warn(object, &whole(object), message, "give it the labels of a pool's selector");
            }
            for (pool, spec) in selecting {
                for address in addresses(slice, spec) {
                    if self.agrees(object, &address, &mut seen) {
                        endpoints.entry(pool.id.name.clone()).or_default().push(address);
                    }
                }
            }
        }
        for list in endpoints.values_mut() {
            list.sort();
            list.dedup();
        }
        for (pool, _) in pools {
            let broken_slice = self.broken.iter().any(|id| id.kind == Kind::EndpointSlice);
            if !broken_slice && endpoints.get(&pool.id.name).is_none_or(Vec::is_empty) {
                let fix =
                    "write an EndpointSlice whose labels the pool selects, with an address that is ready";
                self.warn(pool, &whole(pool), "has no endpoint: requests are answered with 503", fix);
            }
        }
        endpoints
    }

    /// Whether nothing else is said of the same host and port elsewhere.
    fn agrees(&mut self, object: &'a Object, address: &EndpointAddress, seen: &mut Seen<'a>) -> bool {
        let EndpointAddress { host, port, protocol, engine } = address;
        let (other_protocol, other_engine, other) =
            *seen.entry((Arc::clone(host), *port)).or_insert((*protocol, *engine, object));
        if (other_protocol, other_engine) == (*protocol, *engine) {
            return true;
        }
        let message = format!(
            "{host}:{port} is declared with another protocol or engine too, by {} ({})",
            other.id,
            position(other)
        );
        let fix = "one address has one appProtocol and one engine label; name both in the slice";
        let spot = whole(object);
        if !self.problems.iter().any(|p| p.object.as_ref() == Some(&object.id) && p.message == message) {
            self.error(object, &spot, message, fix);
        }
        false
    }
}

fn selects(pool: &Object, spec: &InferencePool, slice: &Object) -> bool {
    let labels = &slice.metadata.labels;
    pool.id.name.namespace == slice.id.name.namespace
        && !spec.selector.is_empty()
        && spec.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn addresses(slice: &EndpointSlice, pool: &InferencePool) -> Vec<EndpointAddress> {
    const FROM_POOL: SlicePort = SlicePort { port: None, protocol: None };
    let from_pool = [FROM_POOL];
    let ports = if slice.ports.is_empty() { &from_pool[..] } else { &slice.ports };
    let mut addresses = Vec::new();
    for host in &slice.hosts {
        for SlicePort { port, protocol } in ports {
            let own = port.as_slice();
            for port in if own.is_empty() { &pool.ports } else { own } {
                addresses.push(EndpointAddress {
                    host: Arc::clone(host),
                    port: *port,
                    protocol: protocol.unwrap_or(pool.protocol),
                    engine: slice.engine,
                });
            }
        }
    }
    addresses
}
