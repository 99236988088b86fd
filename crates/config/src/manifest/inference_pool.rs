//! InferencePool, v1 and v1alpha2: selector and ports of a pool's endpoints.

use std::collections::BTreeMap;

use pointsman_yaml::{Field, Fields};

use super::metadata::read_labels;
use crate::endpoint::AppProtocol;
use crate::names::is_dns_name;

/// An InferencePool.
#[derive(Debug, PartialEq)]
pub(crate) struct InferencePool {
    /// The pool selects every EndpointSlice that has all these labels.
    pub(crate) selector: BTreeMap<Box<str>, Box<str>>,
    /// Ports of endpoints whose slice has none.
    pub(crate) ports: Vec<u16>,
    /// Protocol of endpoints whose slice has none.
    pub(crate) protocol: AppProtocol,
}

pub(crate) fn read_v1(spec: &mut Fields<'_>) -> Option<InferencePool> {
    let selector = spec.required_value("selector", "write selector with matchLabels", |selector| {
        if selector.node.entry("matchLabels").is_none() && selector.node.entries().next().is_some() {
            selector.error(
                "v1 has the labels below matchLabels",
                "write matchLabels above them, or apiVersion: inference.networking.x-k8s.io/v1alpha2",
            );
            return None;
        }
        selector.fields(|fields| {
            fields.refuse(
                "matchExpressions",
                "an InferencePool selects by matchLabels only",
                "write matchLabels",
            );
            fields.required("matchLabels", "write at least one label").map(|f| read_selector(&f))
        })
    });
    spec.refuse("targetPortNumber", "is the name in v1alpha2", "write targetPorts: [{number: 8000}]");
    spec.refuse(
        "extensionRef",
        "is the name in v1alpha2",
        "write endpointPickerRef: {name: …, port: {number: 9002}}",
    );
    let ports = if spec.has("targetPortNumber") {
        spec.get("targetPorts")
    } else {
        spec.required("targetPorts", "write targetPorts: [{number: 8000}]")
    };
    let ports = ports.map(|f| read_target_ports(&f));
    let protocol = spec.get("appProtocol").map_or(Some(AppProtocol::Http), |f| {
        f.choice(&[("http", AppProtocol::Http), ("kubernetes.io/h2c", AppProtocol::H2c)])
    });
    if let Some(picker) = spec.get("endpointPickerRef") {
        read_picker_v1(&picker);
    }
    Some(InferencePool { selector: selector.flatten()?, ports: ports?, protocol: protocol? })
}

pub(crate) fn read_v1alpha2(spec: &mut Fields<'_>) -> Option<InferencePool> {
    let selector = spec.required_value("selector", "write labels below selector", |field| {
        if field.node.entry("matchLabels").is_some() {
            field.error(
                "v1alpha2 has the labels directly below selector",
                "remove matchLabels, or write apiVersion: inference.networking.k8s.io/v1",
            );
            return None;
        }
        Some(read_selector(field))
    });
    const V1: &str = "is the name in v1";
    spec.refuse(
        "targetPorts",
        V1,
        "write targetPortNumber: 8000, or apiVersion: inference.networking.k8s.io/v1",
    );
    spec.refuse("endpointPickerRef", V1, "write extensionRef, or apiVersion: inference.networking.k8s.io/v1");
    let port = if spec.has("targetPorts") {
        spec.get("targetPortNumber")
    } else {
        spec.required("targetPortNumber", "write targetPortNumber: 8000")
    };
    let port = port.and_then(|field| field.port());
    let picker = if spec.has("endpointPickerRef") {
        spec.get("extensionRef")
    } else {
        spec.required("extensionRef", "a cluster requires it: write extensionRef: {name: pointsman}")
    };
    if let Some(picker) = picker {
        read_picker_v1alpha2(&picker);
    }
    Some(InferencePool { selector: selector?, ports: vec![port?], protocol: AppProtocol::Http })
}

fn read_selector(field: &Field<'_>) -> BTreeMap<Box<str>, Box<str>> {
    let labels = read_labels(field);
    if labels.is_empty() && field.is_sound() {
        field.error("is empty", "write at least one label");
    }
    if labels.len() > 64 {
        field.error("has more than 64 labels", "remove labels");
    }
    labels
}

fn read_target_ports(field: &Field<'_>) -> Vec<u16> {
    let mut seen = Vec::new();
    field.non_empty_list(8, "write targetPorts: [{number: 8000}]", |item| {
        let port = item
            .fields(|fields| fields.required_value("number", "write number: 8000", Field::port))
            .flatten()?;
        if seen.contains(&port) {
            item.error(format!("port {port} is listed twice"), "remove one of the two");
        }
        seen.push(port);
        Some(port)
    })
}

const FAILURE_MODES: [(&str, ()); 2] = [("FailOpen", ()), ("FailClose", ())];

/// Checks the reference to the endpoint picker, so that the same file applies to a cluster. It has no further effect:
/// only a cluster's gateway calls the picker.
fn read_picker_v1(field: &Field<'_>) {
    field.fields(|fields| {
        let service = read_picker_target(fields);
        let port_fix = "write port: {number: 9002}";
        fields.refuse("portNumber", "is the name in v1alpha2", port_fix);
        fields.refuse("targetPortNumber", "is the name in v1alpha1", port_fix);
        let has_former_port = fields.has("portNumber") || fields.has("targetPortNumber");
        let port = fields.get("port").map(|port| {
            port.fields(|fields| fields.required_value("number", "write number: 9002", Field::port));
        });
        if port.is_none() && service && !has_former_port {
            let message = "port is required where kind is Service or omitted";
            field.error(message, port_fix);
        }
    });
}

fn read_picker_v1alpha2(field: &Field<'_>) {
    field.fields(|fields| {
        read_picker_target(fields);
        fields.optional("portNumber", |f| f.port());
        fields.refuse("port", "is the name in v1", "write portNumber: 9002");
        fields.refuse("targetPortNumber", "is the name in v1alpha1", "write portNumber: 9002");
    });
}

/// Reads the fields that both versions share, and returns whether the picker is a Service.
fn read_picker_target(fields: &mut Fields<'_>) -> bool {
    fields.optional("group", |f| f.text_where(|text| text.is_empty() || is_dns_name(text), "an API group"));
    let kind = fields.get("kind").map_or(Some("Service"), |f| f.text_up_to(63));
    if let Some(name) = fields.required("name", "name the picker's Service") {
        name.text_where(is_dns_name, "the name of a Service");
    }
    fields.optional("failureMode", |f| f.choice(&FAILURE_MODES));
    kind == Some("Service")
}
