//! EndpointSlice: static addresses of engines, outside a cluster.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use pointsman_yaml::{Field, Fields, quoted};

use super::metadata::{ENGINE_LABEL, METRICS_PORT, Metadata, STATIC_ENDPOINTS};
use crate::endpoint::{AppProtocol, EngineKind, MetricsPage};
use crate::foreign::LEAVE_FIELD;
use crate::names::{is_dns_label, is_dns_name};

/// An EndpointSlice: its endpoints are all combinations of host and port.
#[derive(Debug, PartialEq)]
pub(crate) struct EndpointSlice {
    /// Hosts of ready endpoints.
    pub(crate) hosts: Vec<Arc<str>>,
    pub(crate) ports: Vec<SlicePort>,
    pub(crate) engine: Option<EngineKind>,
    pub(crate) metrics: MetricsPage,
}

/// A port of an EndpointSlice. Values that are `None` are taken from the pool.
#[derive(Debug, PartialEq)]
pub(crate) struct SlicePort {
    pub(crate) port: Option<u16>,
    pub(crate) protocol: Option<AppProtocol>,
}

const PROTOCOLS: [(&str, AppProtocol); 3] =
    [("http", AppProtocol::Http), ("https", AppProtocol::Https), ("kubernetes.io/h2c", AppProtocol::H2c)];

/// Whether a text is an address of the type, the description of such addresses, and the fix for others.
type AddressType = (fn(&str) -> bool, &'static str, &'static str);

const ADDRESS_TYPES: [(&str, AddressType); 3] = [
    ("IPv4", (|text| text.parse::<Ipv4Addr>().is_ok(), "an IPv4 address", OTHER_TYPE)),
    ("IPv6", (|text| text.parse::<Ipv6Addr>().is_ok(), "an IPv6 address", OTHER_TYPE)),
    (
        "FQDN",
        (is_host_name, "a host name in lower case", "write one, or addressType IPv4 or IPv6 for addresses"),
    ),
];

const OTHER_TYPE: &str = "write one, or another addressType: FQDN is that of host names";

/// Host names need no dot, so that `localhost` is valid.
fn is_host_name(text: &str) -> bool {
    is_dns_name(text) && text.parse::<Ipv4Addr>().is_err()
}

pub(crate) fn read(slice: &mut Fields<'_>, metadata: Option<&Metadata>) -> Option<EndpointSlice> {
    let engine = metadata.and_then(|metadata| check_metadata(slice, metadata));
    let address_type =
        slice.required_value("addressType", "write IPv4, IPv6 or FQDN", |f| f.choice(&ADDRESS_TYPES));
    let endpoints = slice.required("endpoints", "write the addresses of the engines");
    let mut of_a_cluster = BTreeSet::new();
    let hosts =
        endpoints.as_ref().map(|f| f.list(1000, |item| read_endpoint(item, address_type, &mut of_a_cluster)));
    if let Some(endpoints) = endpoints.filter(|_| !of_a_cluster.is_empty()) {
        let names: Vec<&str> = of_a_cluster.into_iter().collect();
        let verb = if names.len() == 1 { "has" } else { "have" };
        endpoints.warn(format!("{} {verb} no effect outside a cluster", names.join(", ")), LEAVE_FIELD);
    }
    let ports = slice.list("ports", 100, read_port);
    address_type?;
    let metrics = metadata.map(|metadata| metadata.metrics.clone()).unwrap_or_default();
    Some(EndpointSlice { hosts: hosts?.into_iter().flatten().collect(), ports, engine, metrics })
}

/// Checks the annotation of static endpoints, and reads the label of the engine.
fn check_metadata(slice: &Fields<'_>, metadata: &Metadata) -> Option<EngineKind> {
    let path = format!("metadata.annotations[\"{STATIC_ENDPOINTS}\"]");
    if !metadata.has_static_endpoints && slice.is_sound(&path) {
        let fix = format!(
            "add the annotation {STATIC_ENDPOINTS}: \"true\", and do not apply the file to a cluster, which creates \
             EndpointSlices from pods"
        );
        slice.error_in(&path, "an EndpointSlice must be marked as static endpoints", fix);
    }
    let label = metadata.labels.get(ENGINE_LABEL)?;
    let engine = EngineKind::ALL.into_iter().find(|engine| engine.as_str() == &**label);
    if engine.is_none() {
        let words = EngineKind::words();
        let path = format!("metadata.labels[\"{ENGINE_LABEL}\"]");
        let message = format!("{} is not a known engine", quoted(label));
        slice.error_in(&path, message, format!("write one of {words}, or remove it"));
    }
    engine
}

/// Fields of an endpoint that a cluster writes.
const OF_A_CLUSTER: [&str; 6] = ["hints", "deprecatedTopology", "hostname", "nodeName", "targetRef", "zone"];

/// The hosts of an endpoint; empty where it is not ready. Adds its fields without effect to `of_a_cluster`.
fn read_endpoint(
    field: &Field<'_>,
    address_type: Option<AddressType>,
    of_a_cluster: &mut BTreeSet<&'static str>,
) -> Option<Vec<Arc<str>>> {
    field.fields(|fields| {
        for name in OF_A_CLUSTER {
            fields.ignore(name);
        }
        of_a_cluster.extend(OF_A_CLUSTER.into_iter().filter(|name| fields.has(name)));
        let addresses = fields.required("addresses", "write at least one address")?;
        let hosts = addresses
            .non_empty_list(100, "write at least one address", |item| read_address(item, address_type));
        let ready = fields.get("conditions").and_then(|conditions| {
            conditions.fields(|fields| {
                let is_ready = fields.value_or("ready", true, Field::boolean);
                let is_terminating = fields.value_or("terminating", false, Field::boolean);
                fields.ignore("serving");
                of_a_cluster.extend(fields.has("serving").then_some("serving"));
                is_ready && !is_terminating
            })
        });
        Some(if ready.unwrap_or(true) { hosts } else { Vec::new() })
    })?
}

fn read_address(field: &Field<'_>, address_type: Option<AddressType>) -> Option<Arc<str>> {
    let text = field.text()?;
    let (is_valid, rule, fix) = address_type?;
    if !is_valid(text) {
        field.error(format!("{} is not {rule}", quoted(text)), fix);
        return None;
    }
    Some(text.into())
}

fn read_port(field: &Field<'_>) -> Option<SlicePort> {
    field.fields(|fields| {
        fields.optional("name", |f| {
            let is_valid = |text: &str| text.is_empty() || is_dns_label(text);
            let name = f.text_where(is_valid, "a name of lower case letters, digits and dashes")?;
            if name.contains("metrics") {
                let fix =
                    format!("remove the port, and say where metrics are by the annotation {METRICS_PORT}");
                f.warn("requests are sent to this port as to the others", fix);
            }
            Some(name)
        });
        let transports = [("TCP", Some(())), ("UDP", None), ("SCTP", None)];
        fields.optional("protocol", |f| f.supported_choice(&transports, "write TCP, or remove the port"));
        let port = fields.optional("port", Field::port);
        let protocol = fields.optional("appProtocol", |f| f.choice(&PROTOCOLS));
        Some(SlicePort { port: port?, protocol: protocol? })
    })?
}
