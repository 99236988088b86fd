//! The cluster of the engines.

use std::fmt::Write as _;
use std::net::IpAddr;

use pointsman_config::{AppProtocol, PoolSpec};

use super::{MAX_REQUESTS, quoted};
use crate::address::{DESTINATION, SERVED};

pub(super) fn engines(pool: &PoolSpec, protocol: AppProtocol) -> String {
    let mut endpoints = String::new();
    for endpoint in &pool.endpoints {
        let (host, port) = (&endpoint.host, endpoint.port);
        // Writing to a string does not fail.
        let _ = writeln!(
            endpoints,
            "        - endpoint: {{address: {{socket_address: {{address: \"{host}\", port_value: {port}}}}}}}"
        );
    }
    let endpoints = if endpoints.is_empty() { " []\n".to_owned() } else { format!("\n{endpoints}") };
    let has_names = pool.endpoints.iter().any(|endpoint| endpoint.host.parse::<IpAddr>().is_err());
    // The picker names the address at which it reached an engine, of either family.
    let kind = if has_names { "STRICT_DNS\n    dns_lookup_family: ALL" } else { "STATIC" };
    let versions = match protocol {
        AppProtocol::Http => "explicit_http_config: {http_protocol_options: {}}",
        AppProtocol::H2c => "explicit_http_config: {http2_protocol_options: {}}",
        AppProtocol::Https => "auto_config: {http_protocol_options: {}, http2_protocol_options: {}}",
    };
    let tls = if protocol == AppProtocol::Https { engine_tls(pool) } else { String::new() };
    format!(
        r#"  - name: engines
    type: {kind}
    connect_timeout: 2s
    circuit_breakers:
      thresholds:
      - {{max_connections: {MAX_REQUESTS}, max_pending_requests: {MAX_REQUESTS}, max_requests: {MAX_REQUESTS}, max_retries: {MAX_REQUESTS}}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        # Shorter than the five seconds after which uvicorn closes an idle connection.
        common_http_protocol_options: {{idle_timeout: 4s}}
        {versions}
{tls}    load_balancing_policy:
      policies:
      - typed_extension_config:
          name: envoy.load_balancing_policies.override_host
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost
            override_host_sources:
            - metadata: {{key: envoy.lb, path: [{{key: {DESTINATION}}}]}}
            - header: {DESTINATION}
            selected_host_key: {{key: envoy.lb, path: [{{key: {SERVED}}}]}}
            fallback_policy:
              policies:
              - typed_extension_config:
                  name: envoy.load_balancing_policies.least_request
                  typed_config:
                    "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest
    load_assignment:
      cluster_name: engines
      endpoints:
      - lb_endpoints:{endpoints}"#
    )
}

/// The system's certificate authorities on Debian, whose images Envoy is published with. Envoy verifies names only with a file.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// TLS to engines, with the pool's certificates or the system's authorities.
fn engine_tls(pool: &PoolSpec) -> String {
    let trusted = match &pool.access.ca {
        Some(ca) => format!("trusted_ca: {{filename: {}}}", quoted(ca)),
        None => format!("trusted_ca: {{filename: {SYSTEM_AUTHORITIES}}}"),
    };
    let mut names: Vec<String> = pool.endpoints.iter().map(|endpoint| name_matcher(&endpoint.host)).collect();
    names.dedup();
    let validation = if pool.access.insecure_skip_verify {
        String::new()
    } else {
        let names = names.join(", ");
        format!(", validation_context: {{{trusted}, match_typed_subject_alt_names: [{names}]}}")
    };
    format!(
        r#"    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        auto_host_sni: true
        common_tls_context: {{alpn_protocols: [h2, http/1.1]{validation}}}
"#
    )
}

/// The name that an engine's certificate states.
fn name_matcher(host: &str) -> String {
    let kind = if host.parse::<IpAddr>().is_ok() { "IP_ADDRESS" } else { "DNS" };
    format!("{{san_type: {kind}, matcher: {{exact: \"{host}\"}}}}")
}
