//! The bootstrap of an Envoy (1.37 and later) in front of a pool that uses this picker.

mod engines;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use pointsman_config::{PoolSpec, TlsFiles, mixed_protocols};

use engines::engines;

/// Circuit breaker limits: Envoy's default of 1,024 concurrent and pending requests is less than a pool of engines takes.
const MAX_REQUESTS: u32 = 100_000;
/// The most that Envoy can be told to buffer on a connection.
const MAX_BUFFER: u64 = u32::MAX as u64;
/// Number of retries: one for each fallback that the picker names.
const RETRIES: u32 = 3;

/// The response bodies that Envoy sends to the picker. Each costs both some microseconds per chunk of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBodies {
    /// None: requests are counted in and out, and rates are learned from the engines' own metrics. A complete response and
    /// a client that disconnected cannot be told apart.
    Never,
    /// The bodies of this percentage of requests.
    Sample(u8),
    /// All: first tokens, inter-token latency and usage of every request are known.
    Usage,
}

/// Options of the bootstrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyOptions {
    /// The address on which Envoy listens for clients.
    pub listen: SocketAddr,
    /// The address of Envoy's admin pages.
    pub admin: SocketAddr,
    /// The picker's address.
    pub picker: SocketAddr,
    /// The transport security between Envoy and the picker.
    pub link: PickerLink,
    /// The response bodies that Envoy sends to the picker.
    pub response_bodies: ResponseBodies,
    /// Send request bodies buffered, where full duplex is not supported.
    pub buffered: bool,
    /// The longest request body in bytes. Envoy buffers as much of each request to retry it.
    pub max_body: u64,
    /// While the picker is unavailable, let Envoy choose any endpoint itself instead of a 500 response.
    pub fail_open: bool,
}

/// The transport security between Envoy and the picker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PickerLink {
    /// None: plaintext.
    Plain,
    /// TLS.
    Tls {
        /// Envoy's client certificate.
        certificate: Option<TlsFiles>,
        /// The authorities that the picker's certificate is verified against; without, it is not verified.
        picker_ca: Option<PathBuf>,
    },
}

/// A pool that a bootstrap cannot express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// An Envoy cluster uses one protocol.
    #[error("pool {pool}: {message}")]
    MixedProtocols {
        /// The pool.
        pool: String,
        /// The mistake.
        message: String,
    },
}

/// The bootstrap, as YAML.
///
/// # Errors
/// One cluster cannot hold the pool's endpoints.
pub fn envoy_config(pool: &PoolSpec, options: &EnvoyOptions) -> Result<String, BootstrapError> {
    let name = pool.name.to_string();
    if let Some(message) = mixed_protocols(&pool.endpoints) {
        return Err(BootstrapError::MixedProtocols { pool: name, message });
    }
    let protocol = pool.endpoints.first().map(|endpoint| endpoint.protocol).unwrap_or_default();
    let mut text = format!("# Envoy in front of the pool {name}, with pointsman as the endpoint picker.\n");
    text += &admin(options);
    text += "static_resources:\n  listeners:\n";
    text += &listener(options);
    text += "  clusters:\n";
    text += &engines(pool, protocol);
    text += &picker(options);
    Ok(text)
}

fn socket_address(address: SocketAddr) -> String {
    format!("socket_address: {{address: \"{}\", port_value: {}}}", address.ip(), address.port())
}

fn admin(options: &EnvoyOptions) -> String {
    format!("admin:\n  address: {{{}}}\n", socket_address(options.admin))
}

fn listener(options: &EnvoyOptions) -> String {
    format!(
        r#"  - name: inference
    address: {{{address}}}
    per_connection_buffer_limit_bytes: {buffer}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: inference
          # A stream of tokens may pause during a prefill and last for minutes.
          stream_idle_timeout: 600s
          request_timeout: 0s
          # Also on the picker's refusals.
          always_set_request_id_in_response: true
          upgrade_configs: [{{upgrade_type: websocket}}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              # A longer body could not be retried: after a failed attempt its response would be 507.
              request_body_buffer_limit: {max_body}
              routes:
{routes}          http_filters:
          - name: pointsman
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
              grpc_service:
                envoy_grpc: {{cluster_name: pointsman}}
              # Longer than the picker's own timeout (--pick-timeout), so that its response comes first.
              message_timeout: 35s
              failure_mode_allow: {fail_open}
              processing_mode:
{mode}              # Tells the picker which responses are Envoy's own.
              response_attributes: [response.code_details]
              metadata_options:
                forwarding_namespaces: {{untyped: [envoy.lb, envoy.lb.subset_hint]}}
                receiving_namespaces: {{untyped: [envoy.lb]}}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#,
        address = socket_address(options.listen),
        // Full duplex buffers a body for retries only, the other mode all of it.
        buffer = if options.buffered { options.max_body.min(MAX_BUFFER) } else { 32 << 10 },
        max_body = options.max_body,
        routes = routes(options),
        fail_open = options.fail_open,
        mode = mode(options, options.response_bodies == ResponseBodies::Usage, 16),
    )
}

/// With full duplex, Envoy ignores mode changes from the picker, so a sample needs a route of its own.
fn routes(options: &EnvoyOptions) -> String {
    let route = |fraction: &str, more: &str| {
        format!(
            r#"              - match: {{prefix: "/"{fraction}}}
                route:
                  cluster: engines
                  timeout: 0s
                  retry_policy:
                    # Failures before the engine saw the request; each retry goes to the picker's next choice.
                    retry_on: connect-failure,refused-stream,reset-before-request
                    num_retries: {RETRIES}
{more}"#
        )
    };
    let ResponseBodies::Sample(percent) = options.response_bodies else { return route("", "") };
    let fraction = format!(
        ", runtime_fraction: {{default_value: {{numerator: {}, denominator: HUNDRED}}}}",
        percent.min(100)
    );
    let sampled = format!(
        r#"                typed_per_filter_config:
                  pointsman:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute
                    overrides:
                      processing_mode:
{}"#,
        mode(options, true, 24)
    );
    route(&fraction, &sampled) + &route("", "")
}

fn mode(options: &EnvoyOptions, response_bodies: bool, indent: usize) -> String {
    let request = if options.buffered { "BUFFERED" } else { "FULL_DUPLEX_STREAMED" };
    // Without response trailers, the stream to the picker would end at the response headers.
    let response = match (response_bodies, options.buffered) {
        (false, _) => "NONE",
        (true, false) => "FULL_DUPLEX_STREAMED",
        (true, true) => "STREAMED",
    };
    let lines = [
        ("request_header_mode", "SEND"),
        ("request_body_mode", request),
        ("request_trailer_mode", "SEND"),
        ("response_header_mode", "SEND"),
        ("response_body_mode", response),
        ("response_trailer_mode", "SEND"),
    ];
    lines.map(|(name, value)| format!("{:indent$}{name}: {value}\n", "")).concat()
}

fn transport_socket(link: &PickerLink) -> String {
    let PickerLink::Tls { certificate, picker_ca } = link else { return String::new() };
    let mut more = String::new();
    if let Some(TlsFiles { certificate, key }) = certificate {
        let (certificate, key) = (quoted(certificate), quoted(key));
        let pair =
            format!("certificate_chain: {{filename: {certificate}}}, private_key: {{filename: {key}}}");
        more += &format!(", tls_certificates: [{{{pair}}}]");
    }
    if let Some(authorities) = picker_ca {
        more += &format!(", validation_context: {{trusted_ca: {{filename: {}}}}}", quoted(authorities));
    }
    format!(
        r#"    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context: {{alpn_protocols: [h2]{more}}}
"#
    )
}

/// A path as a YAML string.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "''"))
}

fn picker(options: &EnvoyOptions) -> String {
    format!(
        r#"  - name: pointsman
    type: STATIC
    connect_timeout: 2s
    # Where there are several pickers, one that is down or draining gets no calls.
    health_checks:
    - timeout: 1s
      interval: 1s
      no_traffic_interval: 1s
      unhealthy_threshold: 1
      healthy_threshold: 1
      grpc_health_check: {{service_name: readiness}}
    circuit_breakers:
      thresholds:
      - {{max_connections: {MAX_REQUESTS}, max_pending_requests: {MAX_REQUESTS}, max_requests: {MAX_REQUESTS}}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http2_protocol_options: {{initial_stream_window_size: 1048576, initial_connection_window_size: 16777216}}
{tls}    load_assignment:
      cluster_name: pointsman
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{{address}}}}}
"#,
        tls = transport_socket(&options.link),
        address = socket_address(options.picker),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pointsman_config::{AppProtocol, EndpointAddress, EngineAccess, ObjectName, Timeouts};
    use pointsman_core::PoolPolicy;

    use super::*;

    fn pool(endpoints: &[(&str, AppProtocol)]) -> PoolSpec {
        let endpoint = |(host, protocol): &(&str, AppProtocol)| EndpointAddress {
            host: (*host).into(),
            port: 8000,
            protocol: *protocol,
            engine: None,
            metrics: pointsman_config::MetricsPage::default(),
        };
        PoolSpec {
            name: ObjectName { namespace: "default".into(), name: "pool".into() },
            policy: PoolPolicy::default(),
            models: Arc::default(),
            endpoints: endpoints.iter().map(endpoint).collect(),
            timeouts: Timeouts::default(),
            access: EngineAccess::default(),
        }
    }

    fn options(response_bodies: ResponseBodies) -> EnvoyOptions {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        EnvoyOptions {
            listen: at(8080),
            admin: at(9901),
            picker: at(9002),
            link: PickerLink::Tls { certificate: None, picker_ca: None },
            response_bodies,
            buffered: false,
            max_body: 32 << 20,
            fail_open: false,
        }
    }

    fn printed(options: &EnvoyOptions) -> String {
        envoy_config(&pool(&[("127.0.0.1", AppProtocol::Http), ("fd00::1", AppProtocol::Http)]), options)
            .unwrap()
    }

    fn check(options: &EnvoyOptions, expected: &[(&str, usize)]) {
        let text = printed(options);
        for (line, times) in expected {
            assert_eq!(text.matches(line).count(), *times, "{line} in\n{text}");
        }
    }

    #[test]
    fn each_option_of_response_bodies_has_its_modes() {
        check(
            &options(ResponseBodies::Usage),
            &[("response_body_mode: FULL_DUPLEX_STREAMED", 1), ("response_body_mode: NONE", 0)],
        );
        check(
            &options(ResponseBodies::Never),
            &[("response_body_mode: NONE", 1), ("response_trailer_mode: SEND", 1), ("runtime_fraction", 0)],
        );
        check(
            &options(ResponseBodies::Sample(5)),
            &[
                ("response_body_mode: FULL_DUPLEX_STREAMED", 1),
                ("response_body_mode: NONE", 1),
                ("numerator: 5, denominator: HUNDRED", 1),
                ("cluster: engines", 2),
            ],
        );
    }

    #[test]
    fn options_appear_in_the_bootstrap() {
        let plain =
            EnvoyOptions { link: PickerLink::Plain, buffered: true, ..options(ResponseBodies::Usage) };
        check(
            &plain,
            &[
                ("UpstreamTlsContext", 0),
                ("request_body_mode: BUFFERED", 1),
                ("response_body_mode: STREAMED", 1),
            ],
        );
        check(
            &options(ResponseBodies::Usage),
            &[("UpstreamTlsContext", 1), ("failure_mode_allow: false", 1)],
        );
        let certificate = Some(TlsFiles { certificate: "/e/tls.crt".into(), key: "/e/o'k".into() });
        let link = PickerLink::Tls { certificate, picker_ca: Some("/p/ca.crt".into()) };
        check(
            &EnvoyOptions { link, ..options(ResponseBodies::Usage) },
            &[
                ("certificate_chain: {filename: '/e/tls.crt'}, private_key: {filename: '/e/o''k'}", 1),
                ("trusted_ca: {filename: '/p/ca.crt'}", 1),
            ],
        );
        let open = EnvoyOptions { fail_open: true, ..options(ResponseBodies::Usage) };
        check(&open, &[("failure_mode_allow: true", 1)]);
    }

    #[test]
    fn every_endpoint_of_the_pool_is_listed() {
        check(
            &options(ResponseBodies::Usage),
            &[
                (r#"address: "127.0.0.1", port_value: 8000"#, 1),
                (r#"address: "fd00::1", port_value: 8000"#, 1),
            ],
        );
    }

    #[test]
    fn host_names_are_resolved_by_envoy() {
        let named = |hosts: &[&str]| {
            let endpoints: Vec<_> = hosts.iter().map(|host| (*host, AppProtocol::Http)).collect();
            envoy_config(&pool(&endpoints), &options(ResponseBodies::Usage)).unwrap()
        };
        let text = named(&["127.0.0.1", "localhost"]);
        assert!(
            text.contains("  - name: engines\n    type: STRICT_DNS\n    dns_lookup_family: ALL\n"),
            "{text}"
        );
        assert!(text.contains(r#"address: "localhost", port_value: 8000"#), "{text}");
        assert!(named(&["127.0.0.1"]).contains("  - name: engines\n    type: STATIC\n"));
    }

    #[test]
    fn engines_with_tls_are_verified_against_the_pools_certificates() {
        let with = |access: EngineAccess| {
            let pool = pool(&[("gpu-1.local", AppProtocol::Https), ("10.0.0.1", AppProtocol::Https)]);
            envoy_config(&PoolSpec { access, ..pool }, &options(ResponseBodies::Usage)).unwrap()
        };
        let text = with(EngineAccess { ca: Some("/e/ca.crt".into()), ..EngineAccess::default() });
        assert!(
            text.contains("trusted_ca: {filename: '/e/ca.crt'}, match_typed_subject_alt_names: "),
            "{text}"
        );
        assert!(text.contains(r#"{san_type: DNS, matcher: {exact: "gpu-1.local"}}"#), "{text}");
        assert!(text.contains(r#"{san_type: IP_ADDRESS, matcher: {exact: "10.0.0.1"}}"#), "{text}");
        assert!(
            with(EngineAccess::default())
                .contains("trusted_ca: {filename: /etc/ssl/certs/ca-certificates.crt}")
        );
        let unverified = with(EngineAccess { insecure_skip_verify: true, ..EngineAccess::default() });
        assert!(!unverified.contains("trusted_ca") && unverified.contains("auto_host_sni"));
    }

    #[test]
    fn bodies_up_to_the_limit_can_be_retried() {
        check(&options(ResponseBodies::Usage), &[("request_body_buffer_limit: 33554432", 1)]);
        let buffered = EnvoyOptions { buffered: true, max_body: 1 << 20, ..options(ResponseBodies::Usage) };
        check(&buffered, &[("per_connection_buffer_limit_bytes: 1048576", 1)]);
        let longest = EnvoyOptions { max_body: 8 << 30, ..buffered };
        check(&longest, &[("per_connection_buffer_limit_bytes: 4294967295", 1)]);
    }

    #[test]
    fn a_pool_that_one_cluster_cannot_express_is_refused() {
        let refused = |endpoints: &[(&str, AppProtocol)]| {
            envoy_config(&pool(endpoints), &options(ResponseBodies::Usage)).unwrap_err()
        };
        let mixed = refused(&[("10.0.0.1", AppProtocol::Http), ("10.0.0.2", AppProtocol::H2c)]);
        assert_eq!(
            mixed.to_string(),
            "pool default/pool: its endpoints use different protocols, http and h2c, and a gateway's cluster has one"
        );
    }

    #[test]
    fn a_pool_may_have_no_endpoint_yet() {
        let text = envoy_config(&pool(&[]), &options(ResponseBodies::Usage)).unwrap();
        assert!(text.contains("      - lb_endpoints: []\n"), "{text}");
    }
}
