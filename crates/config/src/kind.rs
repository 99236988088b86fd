//! Supported kinds of objects.

use std::fmt;

/// API group of the Gateway API.
pub(crate) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// API group of InferencePool v1.
pub(crate) const POOL_GROUP: &str = "inference.networking.k8s.io";
/// API group of InferencePool v1alpha2 and of the model-level kinds.
pub(crate) const POOL_GROUP_EXPERIMENTAL: &str = "inference.networking.x-k8s.io";
/// API group of the model-level kinds since they moved to llm-d, and of EndpointPickerConfig.
pub(crate) const LLM_D_GROUP: &str = "llm-d.ai";
/// API group of PoolPolicy and GatewayPolicy.
const POINTSMAN_GROUP: &str = "pointsman.dev";
/// API group of EndpointSlice.
const DISCOVERY_GROUP: &str = "discovery.k8s.io";

/// The groups that have a supported kind.
pub(crate) const GROUPS: [&str; 6] =
    [GATEWAY_GROUP, POOL_GROUP, POOL_GROUP_EXPERIMENTAL, LLM_D_GROUP, POINTSMAN_GROUP, DISCOVERY_GROUP];

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Listeners.
    Gateway,
    /// Routes.
    HttpRoute,
    /// Pool of engines.
    InferencePool,
    /// Public model name with target models and criticality.
    InferenceModel,
    /// Priority, selected by a request header.
    InferenceObjective,
    /// Replacement of model names by weighted target models.
    InferenceModelRewrite,
    /// Static endpoints, outside a cluster.
    EndpointSlice,
    /// Settings of a pool.
    PoolPolicy,
    /// Settings of the gateway.
    GatewayPolicy,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Gateway,
        Self::HttpRoute,
        Self::InferencePool,
        Self::InferenceModel,
        Self::InferenceObjective,
        Self::InferenceModelRewrite,
        Self::EndpointSlice,
        Self::PoolPolicy,
        Self::GatewayPolicy,
    ];

    /// The `kind` in manifests.
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

    /// Supported (group, version) pairs, newest first.
    #[must_use]
    pub const fn api_versions(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Gateway | Self::HttpRoute => &[(GATEWAY_GROUP, "v1"), (GATEWAY_GROUP, "v1beta1")],
            Self::InferencePool => &[(POOL_GROUP, "v1"), (POOL_GROUP_EXPERIMENTAL, "v1alpha2")],
            Self::InferenceModel => &[(POOL_GROUP_EXPERIMENTAL, "v1alpha2")],
            Self::InferenceObjective | Self::InferenceModelRewrite => {
                &[(LLM_D_GROUP, "v1"), (LLM_D_GROUP, "v1alpha2"), (POOL_GROUP_EXPERIMENTAL, "v1alpha2")]
            }
            Self::EndpointSlice => &[(DISCOVERY_GROUP, "v1")],
            Self::PoolPolicy | Self::GatewayPolicy => &[(POINTSMAN_GROUP, "v1alpha1")],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The kind of that name in manifests.
pub(crate) fn by_name(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
}
