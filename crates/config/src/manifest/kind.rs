//! The kinds of objects that are read.

use std::fmt;
use std::sync::Arc;

use crate::world::ObjectName;

pub(crate) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// The group of InferencePool v1.
pub(crate) const POOL_GROUP: &str = "inference.networking.k8s.io";
/// The group of the older and the model-level kinds.
pub(crate) const POOL_GROUP_EXPERIMENTAL: &str = "inference.networking.x-k8s.io";
/// The group of our own kinds.
pub(crate) const POINTSMAN_GROUP: &str = "pointsman.dev";

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Listeners.
    Gateway,
    /// Routes.
    HttpRoute,
    /// A pool of engines.
    InferencePool,
    /// A public model name with its targets and criticality.
    InferenceModel,
    /// A priority, chosen by header.
    InferenceObjective,
    /// Model names replaced by weighted targets.
    InferenceModelRewrite,
    /// Endpoints, on a laptop only.
    EndpointSlice,
    /// Our own settings of a pool.
    PoolPolicy,
    /// Our own settings of the gateway.
    GatewayPolicy,
}

impl Kind {
    /// The name in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "Gateway",
            Self::HttpRoute => "HTTPRoute",
            Self::InferencePool => "InferencePool",
            Self::InferenceModel => "InferenceModel",
            Self::InferenceObjective => "InferenceObjective",
            Self::InferenceModelRewrite => "InferenceModelRewrite",
            Self::EndpointSlice => "EndpointSlice",
            Self::PoolPolicy => "PoolPolicy",
            Self::GatewayPolicy => "GatewayPolicy",
        }
    }

    /// Groups and versions it is read in, the newest first.
    #[must_use]
    pub const fn api_versions(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Gateway | Self::HttpRoute => &[(GATEWAY_GROUP, "v1"), (GATEWAY_GROUP, "v1beta1")],
            Self::InferencePool => &[(POOL_GROUP, "v1"), (POOL_GROUP_EXPERIMENTAL, "v1alpha2")],
            Self::InferenceModel | Self::InferenceObjective | Self::InferenceModelRewrite => {
                &[(POOL_GROUP_EXPERIMENTAL, "v1alpha2")]
            }
            Self::EndpointSlice => &[("discovery.k8s.io", "v1")],
            Self::PoolPolicy | Self::GatewayPolicy => &[(POINTSMAN_GROUP, "v1alpha1")],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind that is read, for help pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedKind {
    /// The kind.
    pub kind: Kind,
    /// What it is for, in a few words.
    pub purpose: &'static str,
}

/// Every kind that is read.
#[must_use]
pub const fn supported_kinds() -> &'static [SupportedKind] {
    const KINDS: &[SupportedKind] = &[
        SupportedKind { kind: Kind::Gateway, purpose: "listeners: ports, host names, TLS" },
        SupportedKind { kind: Kind::HttpRoute, purpose: "which requests go to which pools" },
        SupportedKind { kind: Kind::InferencePool, purpose: "engines that serve the same models" },
        SupportedKind {
            kind: Kind::InferenceModel,
            purpose: "public model name, weighted targets, criticality",
        },
        SupportedKind { kind: Kind::InferenceObjective, purpose: "a priority, chosen by request header" },
        SupportedKind {
            kind: Kind::InferenceModelRewrite,
            purpose: "model names replaced by weighted targets",
        },
        SupportedKind { kind: Kind::EndpointSlice, purpose: "addresses of engines, outside clusters" },
        SupportedKind { kind: Kind::PoolPolicy, purpose: "placement, saturation, time budgets of a pool" },
        SupportedKind { kind: Kind::GatewayPolicy, purpose: "trusted sources and limits of the gateway" },
    ];
    KINDS
}

pub(crate) fn by_name(name: &str) -> Option<Kind> {
    supported_kinds().iter().map(|supported| supported.kind).find(|kind| kind.as_str() == name)
}

pub(crate) fn list_of_names() -> String {
    supported_kinds().iter().map(|supported| supported.kind.as_str()).collect::<Vec<_>>().join(", ")
}

/// What to do about kinds that people can be expected to try.
pub(crate) fn advice(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Secret" => {
            "keep keys out of manifests: name the files in the listener's tls.options, pointsman.dev/certificate-file \
             and pointsman.dev/key-file"
        }
        "Service" | "Endpoints" => {
            "write an EndpointSlice with the annotation pointsman.dev/laptop-only: \"true\""
        }
        "ReferenceGrant" => "put the route and its pool into one namespace",
        "GRPCRoute" | "TLSRoute" | "TCPRoute" | "UDPRoute" => "write an HTTPRoute",
        "GatewayClass" => "remove it: every Gateway of the folder is taken, whatever its class",
        "Deployment" | "Pod" | "StatefulSet" | "ConfigMap" | "ServiceAccount" => {
            "keep workloads in a folder of their own: this one holds routing only"
        }
        _ => return None,
    })
}

/// Which object: its kind, namespace and name. Versions and groups of one kind share their names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub name: ObjectName,
}

impl ObjectId {
    pub(crate) fn new(kind: Kind, namespace: &str, name: &str) -> Option<Self> {
        let valid = crate::decode::is_dns_name(name) && crate::decode::is_dns_label(namespace);
        valid.then(|| Self {
            kind,
            name: ObjectName { namespace: Arc::from(namespace), name: Arc::from(name) },
        })
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}
