//! Objects of kinds that are not read: those of a cluster beside the routing, which are passed over, and mistakes.

use pointsman_yaml::nearest;

use crate::kind::{GROUPS, Kind};

/// What an object of a kind that is not read means.
pub(crate) enum Foreign {
    /// It has no part in routing here. The folder that applies to a cluster runs here too, so it is passed over.
    PassedOver {
        /// What that means.
        message: String,
        /// What to do where that is not intended.
        fix: &'static str,
    },
    /// It would change routing, or is a mistake.
    Refused {
        /// The suggested fix.
        fix: String,
    },
    /// A configuration of the endpoint picker.
    PickerConfig,
    /// Texts, among them possibly configurations of the endpoint picker.
    ConfigMap,
}

/// Kinds of Kubernetes' own group that has no name.
const CORE: [&str; 15] = [
    "Endpoints",
    "Event",
    "LimitRange",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "PodTemplate",
    "ReplicationController",
    "ResourceQuota",
    "Secret",
    "Service",
    "ServiceAccount",
    "Binding",
];

/// The fix where nothing has to be done.
pub(crate) const LEAVE: &str = "nothing, or move it to another folder";
/// The fix of a field for which nothing has to be done.
pub(crate) const LEAVE_FIELD: &str = "nothing, or remove it";
/// The fix of a kustomization.
pub(crate) const KUSTOMIZE: &str =
    "if it changes them, save the output of `kubectl kustomize` in a folder and give that";

/// What an object of this group and kind means; `None` for a supported kind of its own group.
pub(crate) fn classify(group: &str, kind: &str) -> Option<Foreign> {
    if crate::kind::by_name(kind).is_some() {
        return is_elsewhere(group).then(|| passed_over(format!("is a {kind} of another API, {group}")));
    }
    Some(match (group, kind) {
        (_, "EndpointPickerConfig") => Foreign::PickerConfig,
        ("", "ConfigMap") => Foreign::ConfigMap,
        ("", "Secret") => Foreign::PassedOver {
            message: "Secrets are not read".to_owned(),
            fix: "keep keys out of manifests: name their files in the listener's tls.options, pointsman.dev/certificate-file \
                  and pointsman.dev/key-file, and in engine.apiKeyFile of a PoolPolicy",
        },
        ("", "Service" | "Endpoints") => Foreign::PassedOver {
            message: format!("{kind} has no part in routing here"),
            fix: "for endpoints, write an EndpointSlice with the annotation pointsman.dev/static-endpoints: \"true\"",
        },
        (_, "ReferenceGrant") => Foreign::PassedOver {
            message: "ReferenceGrant is not supported".to_owned(),
            fix: "move the route and its pool into one namespace",
        },
        (_, "GatewayClass") => Foreign::PassedOver {
            message: "has no effect: every Gateway of the folder is used, whatever its class".to_owned(),
            fix: LEAVE,
        },
        (_, "GRPCRoute" | "TLSRoute" | "TCPRoute" | "UDPRoute") => refused("write an HTTPRoute"),
        (_, "BackendTLSPolicy") => refused(
            "write appProtocol: https in the EndpointSlice, and engine.caFile in a PoolPolicy for the authorities",
        ),
        _ if kind.ends_with("Kustomization") || group.starts_with("kustomize.") => Foreign::PassedOver {
            message: "kustomize is not run: the files beside it are read as they are".to_owned(),
            fix: KUSTOMIZE,
        },
        ("", _) if CORE.contains(&kind) => passed_over(format!("{kind} has no part in routing here")),
        _ if is_elsewhere(group) && is_route(kind) => Foreign::PassedOver {
            message: format!("the routes of {group} do not apply here"),
            fix: "where they should, write an HTTPRoute",
        },
        _ if is_elsewhere(group) || (is_misspelt(group) && !is_kin(group) && near_kind(kind).is_none()) => {
            passed_over(format!("{kind} of {group} has no part in routing here"))
        }
        _ => unknown(kind),
    })
}

fn passed_over(message: String) -> Foreign {
    Foreign::PassedOver { message, fix: LEAVE }
}

fn refused(fix: &str) -> Foreign {
    Foreign::Refused { fix: fix.to_owned() }
}

fn near_kind(kind: &str) -> Option<&'static str> {
    nearest(kind, Kind::ALL.map(Kind::as_str).into_iter())
}

fn unknown(kind: &str) -> Foreign {
    let fix = match near_kind(kind) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("remove it; supported kinds are {}", Kind::ALL.map(Kind::as_str).join(", ")),
    };
    Foreign::Refused { fix }
}

/// Whether objects of this kind, of another API, are routes.
fn is_route(kind: &str) -> bool {
    kind.ends_with("Route") || ["Ingress", "VirtualService"].contains(&kind)
}

/// Whether a group is neither one of those that are read nor a misspelt or former one of them.
fn is_elsewhere(group: &str) -> bool {
    !(group.is_empty() || is_kin(group) || GROUPS.contains(&group) || is_misspelt(group))
}

/// Whether a group is another one of the projects whose groups are read.
fn is_kin(group: &str) -> bool {
    let first_label = |group: &str| group.split('.').next().map(str::to_owned);
    ["k8s.io", "llm-d.ai"].into_iter().any(|domain| group.ends_with(domain))
        && GROUPS.into_iter().any(|own| first_label(own) == first_label(group))
}

/// Whether a group is none of those that are read, and similar to one.
fn is_misspelt(group: &str) -> bool {
    let near = nearest(group, GROUPS.into_iter());
    near.is_some_and(|own| own != group && own.len().abs_diff(group.len()) <= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_a_cluster_are_passed_over_and_mistakes_are_not() {
        #[track_caller]
        fn check(group: &str, kind: &str, expected: &str) {
            let found = match classify(group, kind) {
                None => "read",
                Some(Foreign::PassedOver { .. }) => "passed over",
                Some(Foreign::Refused { .. }) => "refused",
                Some(Foreign::PickerConfig) => "picker",
                Some(Foreign::ConfigMap) => "config map",
            };
            assert_eq!(found, expected, "{group}/{kind}");
        }
        check("gateway.networking.k8s.io", "Gateway", "read");
        check("networking.istio.io", "Gateway", "passed over");
        check("gateway.networking.k8s.oi", "Gateway", "read");
        for (group, kind) in [
            ("apps", "Deployment"),
            ("", "Service"),
            ("", "Pod"),
            ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
            ("networking.gke.io", "HealthCheckPolicy"),
            ("networking.gke.io", "GCPGatewayPolicy"),
            ("networking.istio.io", "DestinationRule"),
            ("monitoring.coreos.com", "ServiceMonitor"),
            ("kustomize.config.k8s.io", "Kustomization"),
            ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"),
            ("autoscaling", "HorizontalPodAutoscaler"),
            ("networking.k8s.io", "NetworkPolicy"),
            ("gateway.networking.k8s.io", "ReferenceGrant"),
            ("gateway.envoyproxy.io", "BackendTrafficPolicy"),
            ("gateway.envoyproxy.io", "EnvoyPatchPolicy"),
            ("gateway.kgateway.dev", "TrafficPolicy"),
            ("gateway.nginx.org", "ObservabilityPolicy"),
            ("gateway.solo.io", "Gateway"),
            ("llmd.ai", "VariantAutoscaling"),
            ("aigateway.envoyproxy.io", "AIGatewayRoute"),
        ] {
            check(group, kind, "passed over");
        }
        check("gateway.networking.k8s.io", "TLSRoute", "refused");
        check("gateway.networking.x-k8s.io", "XListenerSet", "refused");
        check("inference.networking.x-k8s.io", "InferencePoolImport", "refused");
        check("inference.networking.k8.io", "InferencePool", "read");
        check("pointsman.de", "PoolPolicy", "read");
        check("pointsman.de", "PoolPolicie", "refused");
        check("gateway.networking.k8s.io", "HttpRoute", "refused");
        check("", "Gatway", "refused");
        check("pointsman.dev", "Policy", "refused");
        check("llm-d.ai", "EndpointPickerConfig", "picker");
        check("", "ConfigMap", "config map");
    }
}
