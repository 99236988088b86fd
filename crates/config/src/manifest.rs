//! Decoded manifests, each checked on its own.

pub(crate) mod endpoint_slice;
pub(crate) mod gateway;
pub(crate) mod http_route;
pub(crate) mod inference_pool;
mod metadata;
pub(crate) mod model;
mod object_type;
pub(crate) mod picker_text;
pub(crate) mod placement;
pub(crate) mod policy;
pub(crate) mod route_filter;
pub(crate) mod route_match;

use std::sync::Arc;

use pointsman_yaml::{Field, Fields, Located, Node, Position, Problem, Report, ValueKind, truncated};

use crate::endpoint::MetricsPage;
use crate::identity::ObjectId;
use crate::kind::{self, Kind};
use crate::options::Options;
use crate::settings::GatewayPolicy;
use metadata::Metadata;
use object_type::{Type, read_type};

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
    /// Why there is no object, where that is no mistake.
    pub(crate) passed_over: Option<PassedOver>,
    pub(crate) position: Position,
    pub(crate) problems: Vec<Problem>,
}

/// An object that is no part of the routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassedOver {
    /// One of a kind that is not read.
    Foreign,
    /// One that holds nothing but configuration of the endpoint picker.
    PickerConfig,
}

/// Decodes the object of a document, or the objects of a `List`.
pub(crate) fn decode(file: &Arc<str>, root: &Node, options: &Options) -> Vec<Decoded> {
    let kind = root.entry("kind").and_then(Node::text);
    // A list that an API server printed has the kind of its items before `List`.
    let is_list =
        kind.is_some_and(|kind| kind == "List" || (kind.ends_with("List") && root.entry("items").is_some()));
    if !is_list {
        return vec![decode_object(file, root, options)];
    }
    let report = Report::new(Arc::clone(file), "List".to_owned());
    let items = Field::root(root, &report).fields(|list| {
        list.ignore("apiVersion");
        list.ignore("kind");
        list.ignore("metadata");
        list.required("items", "write the objects below items")
            .map(|items| items.list(usize::MAX, |item| Some(item.node)))
    });
    let items = items.flatten().unwrap_or_default().into_iter();
    let mut decoded: Vec<Decoded> = items.map(|item| decode_object(file, item, options)).collect();
    let problems = report.into_problems();
    if !problems.is_empty() {
        let position = root.position;
        decoded.push(Decoded {
            object: None,
            is_valid: false,
            id: None,
            passed_over: None,
            position,
            problems,
        });
    }
    decoded
}

fn decode_object(file: &Arc<str>, root: &Node, options: &Options) -> Decoded {
    let kind_text = root.entry("kind").and_then(Node::text).unwrap_or_default();
    let (namespace, name) = metadata::peek(root);
    let mut id = kind::by_name(kind_text).and_then(|kind| ObjectId::new(kind, namespace, name?));
    let label = match (&id, kind_text.is_empty(), name) {
        (Some(id), ..) => id.to_string(),
        (None, true, _) => "object".to_owned(),
        (None, false, None) => truncated(kind_text).into_owned(),
        (None, false, Some(name)) => {
            format!("{} {namespace}/{}", truncated(kind_text), truncated(name))
        }
    };
    let report = Report::new(Arc::clone(file), label);
    let object_namespace = id.as_ref().map(|id| &*id.name.namespace);
    let field = Field::root(root, &report);
    let content = match field.kind() {
        ValueKind::List => {
            field.error("is a list of objects", "write them below `items:` of a List, or after lines `---`");
            None
        }
        // Its text may be a key, which no message repeats.
        ValueKind::String | ValueKind::Number => {
            let fix = "write `name: value` lines, or move files of other programs to another folder";
            field.error("expects a mapping, found a text", fix);
            None
        }
        ValueKind::Mapping => field.fields(|fields| read_object(file, fields, object_namespace, options)),
    };
    let (mut object, mut passed_over) = (None, None);
    match content {
        None | Some(Content::Unusable) => {}
        Some(Content::Object(read)) => object = Some(*read),
        Some(Content::PassedOver(why)) => {
            // A kind of the same name in another API has no identity here.
            (id, passed_over) = (None, Some(why));
        }
    }
    let is_valid = object.is_some() && !report.has_errors();
    let mut problems = report.into_problems();
    if options.picker_configs && passed_over.is_some() {
        picker_text::check(file, root, kind_text, &options.limits, &mut problems);
    }
    Decoded { object, is_valid, id, passed_over, position: root.position, problems }
}

/// What a document holds.
enum Content {
    Object(Box<Object>),
    PassedOver(PassedOver),
    /// Nothing usable; the reason is reported.
    Unusable,
}

fn read_object(
    file: &Arc<str>,
    fields: &mut Fields<'_>,
    namespace: Option<&str>,
    options: &Options,
) -> Content {
    let (kind, group, version) = match read_type(file, fields, options) {
        Type::Supported(kind, group, version) => (kind, group, version),
        // The fields of another type are not known.
        Type::PassedOver(why) => {
            fields.ignore_rest();
            return Content::PassedOver(why);
        }
        Type::Unusable => {
            fields.ignore_rest();
            return Content::Unusable;
        }
    };
    fields.ignore("status");
    let metadata = fields.required_value("metadata", "write metadata with a name", |metadata| {
        metadata.fields(|fields| metadata::read(fields)).flatten()
    });
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
    let (Some(metadata), Some(spec)) = (metadata, spec) else { return Content::Unusable };
    let id = ObjectId { kind, name: metadata.name.clone() };
    let position = fields.location().position;
    let object = Object { id, file: Arc::clone(file), position, group: group.into(), metadata, spec };
    Content::Object(Box::new(object))
}

fn read_spec(kind: Kind, version: &str, namespace: Option<&str>, spec: &mut Fields<'_>) -> Option<Spec> {
    match kind {
        Kind::Gateway => gateway::read(spec).map(Spec::Gateway),
        Kind::HttpRoute => Some(Spec::HttpRoute(http_route::read(spec, namespace))),
        Kind::InferencePool if version == "v1" => inference_pool::read_v1(spec).map(Spec::InferencePool),
        Kind::InferencePool => inference_pool::read_v1alpha2(spec).map(Spec::InferencePool),
        Kind::InferenceModel => model::read_model(spec).map(Spec::InferenceModel),
        Kind::InferenceObjective => model::read_objective(version, spec).map(Spec::InferenceObjective),
        Kind::InferenceModelRewrite => model::read_rewrite(version, spec).map(Spec::InferenceModelRewrite),
        Kind::PoolPolicy => policy::read_pool(spec).map(|policy| Spec::PoolPolicy(Box::new(policy))),
        Kind::GatewayPolicy => Some(Spec::GatewayPolicy(policy::read_gateway(spec))),
        Kind::EndpointSlice => None,
    }
}
