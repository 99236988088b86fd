//! EndpointSlices to the endpoints of pools.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Assembly, position, whole};
use crate::endpoint::EndpointAddress;
use crate::identity::ObjectName;
use crate::kind::Kind;
use crate::manifest::endpoint_slice::{EndpointSlice, SlicePort};
use crate::manifest::inference_pool::InferencePool;
use crate::manifest::{Object, Spec};

/// The address of each host and port with the slice that declares it.
type Declared<'a> = BTreeMap<(Arc<str>, u16), (EndpointAddress, &'a Object)>;

impl<'a> Assembly<'a> {
    /// The endpoints of each pool, from the slices of its namespace that its selector matches.
    pub(super) fn endpoints(
        &mut self,
        pools: &[(&'a Object, &'a InferencePool)],
    ) -> BTreeMap<ObjectName, Vec<EndpointAddress>> {
        let mut endpoints: BTreeMap<ObjectName, Vec<EndpointAddress>> = BTreeMap::new();
        let mut declared = Declared::new();
        for object in self.of(Kind::EndpointSlice) {
            let Spec::EndpointSlice(slice) = &object.spec else { continue };
            let selecting: Vec<_> = pools.iter().filter(|(pool, spec)| selects(pool, spec, object)).collect();
            if selecting.is_empty() && self.invalid.iter().all(|id| id.kind != Kind::InferencePool) {
                let message =
                    "no InferencePool of its namespace selects its labels, so its endpoints are not used";
                let elsewhere = pools.iter().find(|(_, spec)| has_labels(spec, object));
                let fix = match elsewhere {
                    Some((pool, _)) => {
                        format!("{} does, in another namespace: move both into one", pool.id.name)
                    }
                    None => "add the labels of a pool's selector".to_owned(),
                };
                self.warn(object, &whole(object), message, &fix);
            }
            for (pool, spec) in selecting {
                for address in addresses(slice, spec) {
                    if self.agrees(object, &address, &mut declared) {
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
            let has_invalid_slice = self.invalid.iter().any(|id| id.kind == Kind::EndpointSlice);
            if !has_invalid_slice && endpoints.get(&pool.id.name).is_none_or(Vec::is_empty) {
                let fix =
                    "write an EndpointSlice with a ready address and with the labels of the pool's selector";
                self.warn(pool, &whole(pool), "has no endpoint, so the response is 503", fix);
            }
        }
        endpoints
    }

    /// Checks that no other slice declares another protocol, engine or metrics page for the same host and port.
    fn agrees(&mut self, object: &'a Object, address: &EndpointAddress, declared: &mut Declared<'a>) -> bool {
        let EndpointAddress { host, port, .. } = address;
        let key = (Arc::clone(host), *port);
        let (other_address, other) = declared.entry(key).or_insert_with(|| (address.clone(), object));
        if other_address == address {
            return true;
        }
        let message = format!(
            "{host}:{port} is declared with another protocol, engine or metrics page by {} ({})",
            other.id,
            position(other)
        );
        let fix =
            "give an address the same appProtocol, engine label and place of the metrics page in every slice";
        self.error(object, &whole(object), message, fix);
        false
    }
}

fn selects(pool: &Object, spec: &InferencePool, slice: &Object) -> bool {
    pool.id.name.namespace == slice.id.name.namespace && has_labels(spec, slice)
}

fn has_labels(spec: &InferencePool, slice: &Object) -> bool {
    let labels = &slice.metadata.labels;
    !spec.selector.is_empty() && spec.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
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
                    metrics: slice.metrics.clone(),
                });
            }
        }
    }
    addresses
}
