//! Decoded manifests, each checked on its own.

pub(crate) mod endpoint_slice;
pub(crate) mod gateway;
pub(crate) mod http_route;
pub(crate) mod inference_pool;
mod metadata;
pub(crate) mod model;
pub(crate) mod placement;
pub(crate) mod policy;
pub(crate) mod route_filter;
pub(crate) mod route_match;

use std::sync::Arc;

use pointsman_yaml::{Field, Fields, Located, Node, Position, Problem, Report, nearest, quoted, truncated};

use crate::endpoint::MetricsPage;
use crate::identity::ObjectId;
use crate::kind::{self, Kind};
use crate::settings::GatewayPolicy;
use metadata::Metadata;

/// A decoded object.
#[derive(Debug, PartialEq)]
pub(crate) struct Object {
    pub(crate) id: ObjectId,
    /// The name of its text.
    pub(crate) file: Arc<str>,
    pub(crate) position: Position,
    pub(crate) group: Arc<str>,
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
}

/// The spec of an object.
#[derive(Debug, PartialEq)]
pub(crate) enum Spec {
    Gateway(Vec<Located<gateway::GatewayListener>>),
    HttpRoute(http_route::HttpRoute),
    InferencePool(inference_pool::InferencePool),
    InferenceModel(model::InferenceModel),
    InferenceObjective(model::InferenceObjective),
    InferenceModelRewrite(model::InferenceModelRewrite),
    EndpointSlice(endpoint_slice::EndpointSlice),
    PoolPolicy(Box<policy::PoolPolicySpec>),
    GatewayPolicy(GatewayPolicy),
}

impl Spec {
    /// The spec of an InferencePool.
    pub(crate) const fn pool(&self) -> Option<&inference_pool::InferencePool> {
        if let Self::InferencePool(pool) = self { Some(pool) } else { None }
    }
}

/// The result of decoding one object.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// The object, where all its required fields are usable.
    pub(crate) object: Option<Object>,
    /// Whether there is an object and no error in it.
    pub(crate) is_valid: bool,
    /// The identity, where it is valid.
    pub(crate) id: Option<ObjectId>,
    pub(crate) position: Position,
    pub(crate) problems: Vec<Problem>,
}

/// Decodes the object of a document, or the objects of a `List`.
pub(crate) fn decode(file: &Arc<str>, root: &Node) -> Vec<Decoded> {
    let kind = root.entry("kind").and_then(Node::text);
    if kind != Some("List") {
        return vec![decode_object(file, root)];
    }
    let report = Report::new(Arc::clone(file), "List".to_owned());
    let items = Field::root(root, &report).fields(|list| {
        list.ignore("apiVersion");
        list.ignore("kind");
        list.ignore("metadata");
        list.required("items", "write the objects below items")
            .map(|items| items.list(usize::MAX, |item| Some(item.node)))
    });
    let mut decoded: Vec<Decoded> =
        items.flatten().unwrap_or_default().into_iter().map(|item| decode_object(file, item)).collect();
    let problems = report.into_problems();
    if !problems.is_empty() {
        decoded.push(Decoded { object: None, is_valid: false, id: None, position: root.position, problems });
    }
    decoded
}

fn decode_object(file: &Arc<str>, root: &Node) -> Decoded {
    let kind_text = root.entry("kind").and_then(Node::text).unwrap_or_default();
    let (namespace, name) = metadata::peek(root);
    let id = kind::by_name(kind_text).and_then(|kind| ObjectId::new(kind, namespace, name?));
    let label = match (&id, kind_text.is_empty(), name) {
        (Some(id), ..) => id.to_string(),
        (None, true, _) => "object".to_owned(),
        (None, false, None) => truncated(kind_text).into_owned(),
        (None, false, Some(name)) => {
            format!("{} {namespace}/{}", truncated(kind_text), truncated(name))
        }
    };
    let report = Report::new(Arc::clone(file), label);
    let namespace = id.as_ref().map(|id| &*id.name.namespace);
    let object = Field::root(root, &report).fields(|fields| read_object(file, fields, namespace)).flatten();
    let is_valid = object.is_some() && !report.has_errors();
    Decoded { object, is_valid, id, position: root.position, problems: report.into_problems() }
}

fn read_object(file: &Arc<str>, fields: &mut Fields<'_>, namespace: Option<&str>) -> Option<Object> {
    let supported = read_kind(fields);
    fields.ignore("status");
    let metadata = fields.required_value("metadata", "write metadata with a name", |metadata| {
        metadata.fields(|fields| metadata::read(fields)).flatten()
    });
    let Some((kind, group, version)) = supported else {
        // The fields of an unsupported kind are not known.
        fields.ignore("spec");
        for name in ["data", "stringData", "type", "rules", "subsets"] {
            fields.ignore(name);
        }
        return None;
    };
    if kind != Kind::EndpointSlice
        && metadata.as_ref().is_some_and(|metadata| metadata.metrics != MetricsPage::default())
    {
        let message = format!("the place of metrics pages has no effect on a {kind}");
        fields.error_in(
            "metadata",
            message,
            "write it on the EndpointSlice, or as engine.metrics in a PoolPolicy",
        );
    }
    let spec = match kind {
        Kind::EndpointSlice => endpoint_slice::read(fields, metadata.as_ref()).map(Spec::EndpointSlice),
        Kind::Gateway
        | Kind::HttpRoute
        | Kind::InferencePool
        | Kind::InferenceModel
        | Kind::InferenceObjective
        | Kind::InferenceModelRewrite
        | Kind::PoolPolicy
        | Kind::GatewayPolicy => fields.required_value("spec", "write a spec", |spec| {
            spec.fields(|fields| read_spec(kind, version, namespace, fields)).flatten()
        }),
    };
    let metadata = metadata?;
    let id = ObjectId { kind, name: metadata.name.clone() };
    let position = fields.location().position;
    Some(Object { id, file: Arc::clone(file), position, group: group.into(), metadata, spec: spec? })
}

fn read_spec(kind: Kind, version: &str, namespace: Option<&str>, spec: &mut Fields<'_>) -> Option<Spec> {
    match kind {
        Kind::Gateway => gateway::read(spec).map(Spec::Gateway),
        Kind::HttpRoute => Some(Spec::HttpRoute(http_route::read(spec, namespace))),
        Kind::InferencePool if version == "v1" => inference_pool::read_v1(spec).map(Spec::InferencePool),
        Kind::InferencePool => inference_pool::read_v1alpha2(spec).map(Spec::InferencePool),
        Kind::InferenceModel => model::read_model(spec).map(Spec::InferenceModel),
        Kind::InferenceObjective => model::read_objective(spec).map(Spec::InferenceObjective),
        Kind::InferenceModelRewrite => model::read_rewrite(spec).map(Spec::InferenceModelRewrite),
        Kind::PoolPolicy => policy::read_pool(spec).map(|policy| Spec::PoolPolicy(Box::new(policy))),
        Kind::GatewayPolicy => Some(Spec::GatewayPolicy(policy::read_gateway(spec))),
        Kind::EndpointSlice => None,
    }
}

/// Reads the kind, its group and its version.
fn read_kind(fields: &mut Fields<'_>) -> Option<(Kind, &'static str, &'static str)> {
    let api_version =
        fields.required("apiVersion", "write the group and version of the object").and_then(|f| {
            let text = f.text()?;
            Some((f, text))
        });
    let kind_field = fields.required("kind", "write the kind of the object")?;
    let kind_text = kind_field.text()?;
    let Some(kind) = kind::by_name(kind_text) else {
        let names = Kind::ALL.map(Kind::as_str);
        let fix = match (kind::advice(kind_text), nearest(kind_text, names.into_iter())) {
            (Some(advice), _) => advice.to_owned(),
            (None, Some(near)) => format!("did you mean {near}?"),
            (None, None) => format!("remove it; supported kinds are {}", names.join(", ")),
        };
        kind_field.error(format!("{} is not a supported kind", quoted(kind_text)), fix);
        return None;
    };
    let (field, text) = api_version?;
    let versions = kind.api_versions();
    let found = versions.iter().find(|(group, version)| text == format!("{group}/{version}"));
    if found.is_none() {
        let all: Vec<String> = versions.iter().map(|(group, version)| format!("{group}/{version}")).collect();
        let message = format!("{} is not a supported version of {kind}", quoted(text));
        field.error(message, format!("write {}", all.join(" or ")));
    }
    found.map(|(group, version)| (kind, *group, *version))
}
