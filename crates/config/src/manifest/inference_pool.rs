//! InferencePool, v1 and v1alpha2: which pods, which ports.

use std::collections::BTreeMap;

use super::metadata::read_labels;
use crate::decode::{Field, Fields, is_dns_name};
use crate::world::AppProtocol;

#[derive(Debug, PartialEq)]
pub(crate) struct InferencePool {
    /// Labels that select a slice when it carries all of them.
    pub(crate) selector: BTreeMap<Box<str>, Box<str>>,
    /// Ports of endpoints whose slice names none.
    pub(crate) ports: Vec<u16>,
    /// Protocol of endpoints whose slice names none.
    pub(crate) protocol: AppProtocol,
}

pub(crate) fn read_v1(spec: &mut Fields<'_>) -> Option<InferencePool> {
    let selector = spec.required("selector", "write selector with matchLabels").and_then(|selector| {
        selector.fields(|fields| {
            fields.refuse(
                "matchExpressions",
                "an InferencePool selects by matchLabels only",
                "write matchLabels",
            );
            fields.required("matchLabels", "write at least one label").map(|f| read_selector(&f))
        })
    });
    let ports =
        spec.required("targetPorts", "write targetPorts: [{number: 8000}]").map(|f| read_target_ports(&f));
    let protocol = spec.get("appProtocol").map_or(Some(AppProtocol::Http), |f| {
        f.choice(&[("http", AppProtocol::Http), ("kubernetes.io/h2c", AppProtocol::H2c)])
    });
    if let Some(picker) = spec.get("endpointPickerRef") {
        read_picker_v1(&picker);
    }
    Some(InferencePool { selector: selector.flatten()?, ports: ports?, protocol: protocol? })
}

pub(crate) fn read_v1alpha2(spec: &mut Fields<'_>) -> Option<InferencePool> {
    let selector = spec.required("selector", "write labels below selector").and_then(|field| {
        if field.node.entry("matchLabels").is_some() {
            field.error(
                "v1alpha2 has the labels right below selector",
                "remove matchLabels, or write apiVersion: inference.networking.k8s.io/v1",
            );
            return None;
        }
        Some(read_selector(&field))
    });
    let port = spec.required("targetPortNumber", "write targetPortNumber: 8000").and_then(|f| f.port());
    if let Some(picker) =
        spec.required("extensionRef", "a cluster wants it: write extensionRef: {name: pointsman}")
    {
        read_picker_v1alpha2(&picker);
    }
    Some(InferencePool { selector: selector?, ports: vec![port?], protocol: AppProtocol::Http })
}

fn read_selector(field: &Field<'_>) -> BTreeMap<Box<str>, Box<str>> {
    let labels = read_labels(field);
    if labels.is_empty() && field.is_sound() {
        field.error("selects nothing", "write at least one label");
    }
    if labels.len() > 64 {
        field.error("has more than 64 labels", "fewer labels select as well");
    }
    labels
}

fn read_target_ports(field: &Field<'_>) -> Vec<u16> {
    let mut seen = Vec::new();
    let ports = field.list(8, |item| {
        let port = item
            .fields(|fields| fields.required("number", "write number: 8000").and_then(|f| f.port()))
            .flatten()?;
        if seen.contains(&port) {
            item.error(format!("port {port} stands there twice"), "each port once");
        }
        seen.push(port);
        Some(port)
    });
    if ports.is_empty() && field.is_sound() {
        field.error("has no port", "write targetPorts: [{number: 8000}]");
    }
    ports
}

const FAILURE_MODES: [(&str, ()); 2] = [("FailOpen", ()), ("FailClose", ())];

/// The picker is a cluster's way of asking who serves; a gateway that decides itself asks nobody. The reference is
/// checked, so that the same file applies to a cluster, and has no further effect.
fn read_picker_v1(field: &Field<'_>) {
    field.fields(|fields| {
        let service = read_picker_target(fields);
        let port = fields.get("port").map(|port| {
            port.fields(|fields| fields.required("number", "write number: 9002").and_then(|f| f.port()));
        });
        if port.is_none() && service {
            let message = "port is required where kind is Service or not given";
            field.error(message, "write port: {number: 9002}");
        }
    });
}

fn read_picker_v1alpha2(field: &Field<'_>) {
    field.fields(|fields| {
        read_picker_target(fields);
        if let Some(port) = fields.get("portNumber") {
            port.port();
        }
    });
}

/// Whether the picker is a Service.
fn read_picker_target(fields: &mut Fields<'_>) -> bool {
    if let Some(group) = fields.get("group") {
        group.text_where(|text| text.is_empty() || is_dns_name(text), "an API group");
    }
    let kind = fields.get("kind").map_or(Some("Service"), |f| f.text_up_to(63));
    if let Some(name) = fields.required("name", "name the picker's Service") {
        name.text_where(is_dns_name, "the name of a Service");
    }
    if let Some(mode) = fields.get("failureMode") {
        mode.choice(&FAILURE_MODES);
    }
    kind == Some("Service")
}
