//! Objects: one decoded manifest each, checked as far as it can be checked alone.

pub(crate) mod endpoint_slice;
pub(crate) mod gateway;
pub(crate) mod http_route;
pub(crate) mod inference_pool;
mod kind;
mod metadata;
pub(crate) mod model;
pub(crate) mod placement;
pub(crate) mod policy;
pub(crate) mod route_filter;
pub(crate) mod route_match;

use std::sync::Arc;

pub use kind::{Kind, ObjectId, SupportedKind, supported_kinds};
pub(crate) use metadata::Metadata;
pub use placement::read_parameters;

use crate::decode::{Field, Fields, Report, nearest};
use crate::problem::{Mark, Problem};
use crate::source::Node;

/// A decoded object.
#[derive(Debug, PartialEq)]
pub(crate) struct Object {
    pub(crate) id: ObjectId,
    /// The text it came from.
    pub(crate) file: Arc<str>,
    pub(crate) mark: Mark,
    pub(crate) group: Arc<str>,
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
}

/// What an object says, by kind.
#[derive(Debug, PartialEq)]
pub(crate) enum Spec {
    Gateway(gateway::Gateway),
    HttpRoute(http_route::HttpRoute),
    InferencePool(inference_pool::InferencePool),
    InferenceModel(model::InferenceModel),
    InferenceObjective(model::InferenceObjective),
    InferenceModelRewrite(model::InferenceModelRewrite),
    EndpointSlice(endpoint_slice::EndpointSlice),
    PoolPolicy(Box<policy::PoolPolicySpec>),
    GatewayPolicy(policy::GatewayLimits),
}

impl Spec {
    /// The pool, where it is one.
    pub(crate) const fn pool(&self) -> Option<&inference_pool::InferencePool> {
        if let Self::InferencePool(pool) = self { Some(pool) } else { None }
    }
}

/// What decoding one document gave.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// The object, as far as it could be read.
    pub(crate) object: Option<Object>,
    /// Nothing was wrong with it.
    pub(crate) sound: bool,
    /// Its identity, where that much could be read.
    pub(crate) id: Option<ObjectId>,
    pub(crate) mark: Mark,
    pub(crate) problems: Vec<Problem>,
}

/// The objects of one document: one, or those of a `List`.
pub(crate) fn decode(file: &Arc<str>, root: &Node) -> Vec<Decoded> {
    let kind = root.entry("kind").and_then(Node::text);
    if kind != Some("List") {
        return vec![decode_object(file, root)];
    }
    let report = Report::new(Arc::clone(file), "List".to_owned(), None);
    let field = Field::new(root, String::new(), &report);
    let items = field.fields(|list| {
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
        decoded.push(Decoded { object: None, sound: false, id: None, mark: root.mark, problems });
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
        (None, false, None) => crate::source::shortened(kind_text).into_owned(),
        (None, false, Some(name)) => {
            format!("{} {namespace}/{}", crate::source::shortened(kind_text), crate::source::shortened(name))
        }
    };
    let report = Report::new(Arc::clone(file), label, id.clone());
    let field = Field::new(root, String::new(), &report);
    let object = field.fields(|fields| read_object(file, fields, root)).flatten();
    let sound = object.is_some() && !report.has_errors();
    Decoded { object, sound, id, mark: root.mark, problems: report.into_problems() }
}

fn read_object(file: &Arc<str>, fields: &mut Fields<'_>, root: &Node) -> Option<Object> {
    let supported = read_kind(fields);
    fields.ignore("status");
    let metadata = fields
        .required("metadata", "write metadata with a name")
        .and_then(|metadata| metadata.fields(|fields| metadata::read(fields)).flatten());
    let Some((kind, group, version)) = supported else {
        // Of an unknown kind nothing else can be judged.
        fields.ignore("spec");
        for name in ["data", "stringData", "type", "rules", "subsets"] {
            fields.ignore(name);
        }
        return None;
    };
    let spec = match kind {
        Kind::EndpointSlice => endpoint_slice::read(fields, metadata.as_ref()).map(Spec::EndpointSlice),
        Kind::Gateway
        | Kind::HttpRoute
        | Kind::InferencePool
        | Kind::InferenceModel
        | Kind::InferenceObjective
        | Kind::InferenceModelRewrite
        | Kind::PoolPolicy
        | Kind::GatewayPolicy => fields
            .required("spec", "write a spec")
            .and_then(|spec| spec.fields(|fields| read_spec(kind, version, fields)).flatten()),
    };
    let metadata = metadata?;
    let id = ObjectId { kind, name: metadata.name.clone() };
    Some(Object { id, file: Arc::clone(file), mark: root.mark, group: group.into(), metadata, spec: spec? })
}

fn read_spec(kind: Kind, version: &str, spec: &mut Fields<'_>) -> Option<Spec> {
    match kind {
        Kind::Gateway => gateway::read(spec).map(Spec::Gateway),
        Kind::HttpRoute => Some(Spec::HttpRoute(http_route::read(spec))),
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

/// The kind, and the group and version it is written in.
fn read_kind(fields: &mut Fields<'_>) -> Option<(Kind, &'static str, &'static str)> {
    let api_version =
        fields.required("apiVersion", "write the group and version of the object").and_then(|f| {
            let text = f.text()?;
            Some((f, text))
        });
    let kind_field = fields.required("kind", "write the kind of the object")?;
    let kind_text = kind_field.text()?;
    let Some(kind) = kind::by_name(kind_text) else {
        let names = || supported_kinds().iter().map(|supported| supported.kind.as_str());
        let fix = match (kind::advice(kind_text), nearest(kind_text, names())) {
            (Some(advice), _) => advice.to_owned(),
            (None, Some(near)) => format!("did you mean {near}?"),
            (None, None) => format!("remove it; supported are {}", kind::list_of_names()),
        };
        kind_field
            .error(format!("{} is not a kind that is supported", crate::source::quoted(kind_text)), fix);
        return None;
    };
    let (field, text) = api_version?;
    let versions = kind.api_versions();
    let found = versions.iter().find(|(group, version)| text == format!("{group}/{version}"));
    if found.is_none() {
        let all: Vec<String> = versions.iter().map(|(group, version)| format!("{group}/{version}")).collect();
        let message = format!("{} is not a version of {kind} that is supported", crate::source::quoted(text));
        field.error(message, format!("write {}", all.join(" or ")));
    }
    found.map(|(group, version)| (kind, *group, *version))
}
