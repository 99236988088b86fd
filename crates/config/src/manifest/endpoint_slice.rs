//! EndpointSlice: where engines listen, on a machine that has no cluster to say so.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::metadata::{ENGINE_LABEL, LAPTOP_ONLY, Metadata};
use crate::decode::{Field, Fields, is_dns_label, is_dns_name};
use crate::source::quoted;
use crate::world::{AppProtocol, EngineKind};

#[derive(Debug, PartialEq)]
pub(crate) struct EndpointSlice {
    /// Hosts of the endpoints that are ready.
    pub(crate) hosts: Vec<Arc<str>>,
    pub(crate) ports: Vec<SlicePort>,
    pub(crate) engine: Option<EngineKind>,
}

/// What is `None` comes from the pool.
#[derive(Debug, PartialEq)]
pub(crate) struct SlicePort {
    pub(crate) port: Option<u16>,
    pub(crate) protocol: Option<AppProtocol>,
}

const ENGINES: [(&str, EngineKind); 4] = [
    ("vllm", EngineKind::Vllm),
    ("sglang", EngineKind::Sglang),
    ("trtllm-serve", EngineKind::TrtllmServe),
    ("triton", EngineKind::Triton),
];

#[derive(Clone, Copy)]
enum AddressType {
    V4,
    V6,
    Fqdn,
}

pub(crate) fn read(slice: &mut Fields<'_>, metadata: Option<&Metadata>) -> Option<EndpointSlice> {
    let engine = metadata.and_then(|metadata| check_metadata(slice, metadata));
    let words = [("IPv4", AddressType::V4), ("IPv6", AddressType::V6), ("FQDN", AddressType::Fqdn)];
    let address_type =
        slice.required("addressType", "write IPv4, IPv6 or FQDN").and_then(|f| f.choice(&words));
    let endpoints = slice.required("endpoints", "write the addresses of the engines");
    let hosts = endpoints.map(|f| f.list(1000, |item| read_endpoint(item, address_type)));
    let ports = slice.get("ports").map(|f| f.list(100, |item| read_port(item))).unwrap_or_default();
    address_type?;
    Some(EndpointSlice { hosts: hosts?.into_iter().flatten().collect(), ports, engine })
}

fn check_metadata(slice: &Fields<'_>, metadata: &Metadata) -> Option<EngineKind> {
    let mark = slice.spot().mark;
    let path = format!("metadata.annotations[\"{LAPTOP_ONLY}\"]");
    if metadata.annotations.get(LAPTOP_ONLY).is_none_or(|value| &**value != "true") {
        let fix = format!(
            "add the annotation {LAPTOP_ONLY}: \"true\", and keep the file out of clusters: they have pods"
        );
        slice.report.error(mark, &path, "an EndpointSlice must say that it is for laptops only", fix);
    }
    let label = metadata.labels.get(ENGINE_LABEL)?;
    let engine = ENGINES.iter().find(|(word, _)| *word == &**label).map(|(_, engine)| *engine);
    if engine.is_none() {
        let words: Vec<&str> = ENGINES.iter().map(|(word, _)| *word).collect();
        let message = format!("{} is not an engine that is known", quoted(label));
        let path = format!("metadata.labels[\"{ENGINE_LABEL}\"]");
        slice.report.error(mark, &path, message, format!("write one of {}, or remove it", words.join(", ")));
    }
    engine
}

/// The hosts of an endpoint; none where it is not ready.
fn read_endpoint(field: &Field<'_>, address_type: Option<AddressType>) -> Option<Vec<Arc<str>>> {
    field.fields(|fields| {
        for name in ["hints", "deprecatedTopology", "hostname", "nodeName", "targetRef", "zone"] {
            fields.refuse(name, "has no effect outside a cluster", "remove it");
        }
        let addresses = fields.required("addresses", "write at least one address")?;
        let hosts = addresses.list(100, |item| read_address(item, address_type));
        if hosts.is_empty() && addresses.is_sound() {
            addresses.error("has no address", "write at least one");
        }
        let ready = fields.get("conditions").and_then(|conditions| {
            conditions.fields(|fields| {
                let ready = fields.get("ready").and_then(|f| f.boolean());
                let terminating = fields.get("terminating").and_then(|f| f.boolean());
                fields.refuse("serving", "has no effect here", "write ready");
                ready.unwrap_or(true) && !terminating.unwrap_or(false)
            })
        });
        Some(if ready.unwrap_or(true) { hosts } else { Vec::new() })
    })?
}

fn read_address(field: &Field<'_>, address_type: Option<AddressType>) -> Option<Arc<str>> {
    let text = field.text()?;
    // Host names need no dot: `localhost` is the most useful of them.
    let (valid, rule) = match address_type? {
        AddressType::V4 => (text.parse::<Ipv4Addr>().is_ok(), "an IPv4 address, as addressType says"),
        AddressType::V6 => (text.parse::<Ipv6Addr>().is_ok(), "an IPv6 address, as addressType says"),
        AddressType::Fqdn => (
            is_dns_name(text) && text.parse::<Ipv4Addr>().is_err(),
            "a host name in lower case, as addressType says",
        ),
    };
    field.text_where(|_| valid, rule).map(Into::into)
}

fn read_port(field: &Field<'_>) -> Option<SlicePort> {
    field.fields(|fields| {
        if let Some(name) = fields.get("name") {
            name.text_where(
                |text| text.is_empty() || is_dns_label(text),
                "a name of lower case letters, digits and dashes",
            );
        }
        if let Some(protocol) = fields.get("protocol")
            && protocol.choice(&[("TCP", true), ("UDP", false), ("SCTP", false)]) == Some(false)
        {
            protocol.error("engines are reached over TCP", "write TCP, or remove the port");
        }
        let port = fields.get("port").map(|f| f.port());
        let protocol = fields.get("appProtocol").map(|f| {
            f.choice(&[
                ("http", AppProtocol::Http),
                ("https", AppProtocol::Https),
                ("kubernetes.io/h2c", AppProtocol::H2c),
            ])
        });
        let port = match port {
            None => None,
            Some(read) => Some(read?),
        };
        let protocol = match protocol {
            None => None,
            Some(read) => Some(read?),
        };
        Some(SlicePort { port, protocol })
    })?
}
