//! The arguments of `pointsman epp`: those of the extension's picker, in both spellings, and further ones.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
#[command(after_help = "\
The flags of the extension's picker are accepted in both spellings (--pool-name, -poolName). Flags that have no effect
here are refused, with the alternative.

Examples:
  pointsman epp --endpoint http://127.0.0.1:8000 --bind 127.0.0.1 --secure-serving=false
  pointsman epp --manifests examples/canary --pool-name llama --print-envoy-config > envoy.yaml")]
pub(crate) struct EppArgs {
    /// A folder of manifests (YAML or JSON), reloaded when it changes; may be repeated
    #[arg(long, value_name = "DIR", group = "source")]
    pub(crate) manifests: Vec<PathBuf>,
    /// An engine, such as http://127.0.0.1:8000; may be repeated
    #[arg(long, value_name = "URL", group = "source")]
    pub(crate) endpoint: Vec<String>,
    /// The InferencePool to pick from; optional if there is only one
    #[arg(long, value_name = "NAME")]
    pub(crate) pool_name: Option<String>,
    /// The pool's namespace
    #[arg(long, value_name = "NAME", env = "NAMESPACE", default_value = "default")]
    pub(crate) pool_namespace: String,
    /// An EndpointPickerConfig of either API group, instead of the pool's PoolPolicy
    #[arg(long, value_name = "FILE")]
    pub(crate) config_file: Option<PathBuf>,
    /// The same, as text
    #[arg(long, value_name = "YAML", conflicts_with = "config_file")]
    pub(crate) config_text: Option<String>,
    /// The address of all ports
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V6(Ipv6Addr::UNSPECIFIED))]
    pub(crate) bind: IpAddr,
    /// The port of ext_proc
    #[arg(long, value_name = "PORT", default_value_t = 9002)]
    pub(crate) grpc_port: u16,
    /// The port of the gRPC health service, in plain text
    #[arg(long, value_name = "PORT", default_value_t = 9003)]
    pub(crate) grpc_health_port: u16,
    /// The port of metrics and debug pages
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    pub(crate) metrics_port: u16,
    /// Whether the ext_proc port uses TLS
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true",
          action = ArgAction::Set)]
    pub(crate) secure_serving: bool,
    /// A folder with tls.crt and tls.key, reloaded when they change [default: a self-signed certificate]
    #[arg(long, value_name = "DIR")]
    pub(crate) cert_path: Option<PathBuf>,
    /// Certificate authorities (PEM) for the gateway's client certificate, which is then required
    #[arg(long, value_name = "FILE", requires = "cert_path")]
    pub(crate) client_ca: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: super::ServerArgs,
    /// Timeout for the placement of a request
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) pick_timeout: Duration,
    /// Whether objective headers are trusted; if clients can send them, strip them in the route
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub(crate) trust_request_headers: bool,
    /// Name a single destination, for data planes that read the header as one address
    #[arg(long)]
    pub(crate) single_destination: bool,
    /// Allow requests to engines' administration paths
    #[arg(long)]
    pub(crate) administration_paths: bool,
    #[command(flatten)]
    pub(crate) envoy: EnvoyArgs,
    #[command(flatten)]
    pub(crate) upstream: UpstreamArgs,
}

/// Options of the Envoy bootstrap.
#[derive(Debug, Args)]
pub(crate) struct EnvoyArgs {
    /// Print an Envoy bootstrap for the pool, and exit
    #[arg(long)]
    pub(crate) print_envoy_config: bool,
    /// In the bootstrap: Envoy's address for clients
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", requires = "print_envoy_config")]
    pub(crate) envoy_listen: SocketAddr,
    /// In the bootstrap: the address of Envoy's admin pages
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9901", requires = "print_envoy_config")]
    pub(crate) envoy_admin: SocketAddr,
    /// In the bootstrap: which response bodies Envoy sends to the picker
    #[arg(long, value_enum, default_value_t = Bodies::Sample, requires = "print_envoy_config")]
    pub(crate) response_bodies: Bodies,
    /// In the bootstrap: the percentage of requests for `--response-bodies sample`
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=100),
          requires = "print_envoy_config")]
    pub(crate) sample: u8,
    /// In the bootstrap: send request bodies buffered instead of in full duplex
    #[arg(long, requires = "print_envoy_config")]
    pub(crate) envoy_buffered: bool,
    /// In the bootstrap: a folder with tls.crt and tls.key, Envoy's client certificate; required with --client-ca
    #[arg(long, value_name = "DIR", requires = "print_envoy_config")]
    pub(crate) envoy_cert_path: Option<PathBuf>,
    /// In the bootstrap: certificate authorities (PEM) for the picker's certificate [default: not verified]
    #[arg(long, value_name = "FILE", requires = "print_envoy_config")]
    pub(crate) envoy_picker_ca: Option<PathBuf>,
    /// In the bootstrap: route without the picker while it is unavailable
    #[arg(long, requires = "print_envoy_config")]
    pub(crate) envoy_fail_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bodies {
    /// None: no cost per token, but a client that disconnects looks like a complete response
    Never,
    /// Those of a sample of the requests
    Sample,
    /// All: first token, pace and usage of every request are known
    Usage,
}

macro_rules! upstream {
    ($($field:ident: $advice:literal),+ $(,)?) => {
        /// Flags of the extension's picker that have no effect here.
        #[derive(Debug, Args)]
        pub(crate) struct UpstreamArgs {
            $(#[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
            $field: Option<String>,)+
        }

        impl UpstreamArgs {
            /// A sentence for each flag that was given.
            pub(crate) fn unsupported(&self) -> Vec<String> {
                let given = [$((stringify!($field), self.$field.is_some(), $advice)),+];
                let given = given.into_iter().filter(|(_, given, _)| *given);
                given.map(|(name, _, advice)| format!("--{} has no effect here: {advice}", name.replace('_', "-"))).collect()
            }
        }
    };
}

upstream! {
    endpoint_selector: "name the endpoints by --endpoint, or in manifests",
    endpoint_target_ports: "name the endpoints by --endpoint, or in manifests",
    ha_enable_leader_election: "run one picker per gateway, or several without a leader",
    refresh_metrics_interval: "the scrape interval follows the engine's load",
    refresh_prometheus_metrics_interval: "pool gauges are computed at each scrape",
    metrics_staleness_threshold: "stale metrics are discounted automatically",
    total_queued_requests_metric: "the engine is detected from its metrics page",
    total_running_requests_metric: "the engine is detected from its metrics page",
    kv_cache_usage_percentage_metric: "the engine is detected from its metrics page",
    lora_info_metric: "the engine is detected from its metrics page",
    cache_info_metric: "the engine is detected from its metrics page",
    model_server_metrics_port: "metrics are scraped at the endpoint's port",
    model_server_metrics_path: "metrics are scraped at the engine's path",
    destination_endpoint_hint_key: "it is x-gateway-destination-endpoint, as proposal 004 specifies",
    destination_endpoint_hint_metadata_namespace: "it is envoy.lb, as proposal 004 specifies",
    enable_pprof: "profiling is not supported",
    metrics_endpoint_auth: "bind the metrics port to an address that only the scraper can reach",
    allow_experimental_plugins: "plugins are not supported",
    emit_endpoint_scores: "keep decisions by --decisions and read them by `pointsman explain` (docs/endpoint-picker.md)",
    disable_endpoint_subset_filter: "a gateway's subset is always respected",
    enable_cert_reload: "certificates are always reloaded when they change",
    health_checking: "health is always served on the ext_proc port too",
    pool_group: "pools of both API groups are read",
    tracing: "traces are exported where --otlp-endpoint is set",
    enable_grpc_stream_metrics: "streams are always counted",
    grpc_max_recv_msg_size: "the limit is maxBodyBytes of the GatewayPolicy",
    grpc_max_send_msg_size: "bodies are returned in chunks of at most 62 kB",
    tls_min_version: "TLS 1.2 and 1.3 are supported",
    tls_cipher_suites: "the cipher suites are those of rustls",
    metrics_client_ca_file: "bind the metrics port to an address that only the scraper can reach",
    metrics_cert_dir: "metrics are served in plain text",
    v: "use --log",
    zap_log_level: "use --log",
    zap_encoder: "use --log-format",
    zap_devel: "use --log-format",
}

/// Converts the older spelling of the extension's flags, `-poolName` or `--poolName`, to the newer one. Other arguments are
/// unchanged.
pub(crate) fn newer_spelling(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.get(1).is_some_and(|command| command == "epp") {
        for argument in arguments.iter_mut().skip(2) {
            if let Some(newer) = argument.to_str().and_then(newer) {
                *argument = newer.into();
            }
        }
    }
    arguments
}

fn newer(argument: &str) -> Option<String> {
    let flag = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
    let old = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '-')
        && (name.len() > 1 || name == "v");
    let single = !argument.starts_with("--");
    if !old || !(single || name.chars().any(|character| character.is_ascii_uppercase())) {
        return None;
    }
    let mut spelled = String::from("--");
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            spelled.push('-');
        }
        spelled.push(character.to_ascii_lowercase());
    }
    Some(value.map_or(spelled.clone(), |value| format!("{spelled}={value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &[&str], expected: &[&str]) {
        let spelled = newer_spelling(given.iter().map(OsString::from));
        assert_eq!(spelled, expected.iter().map(OsString::from).collect::<Vec<_>>());
    }

    #[test]
    fn both_spellings_are_accepted() {
        check(&["p", "epp", "-poolName", "llama"], &["p", "epp", "--pool-name", "llama"]);
        check(&["p", "epp", "--poolName=llama"], &["p", "epp", "--pool-name=llama"]);
        check(&["p", "epp", "-grpc-port=9002", "-v=4"], &["p", "epp", "--grpc-port=9002", "--v=4"]);
        check(&["p", "epp", "--pool-name", "-1"], &["p", "epp", "--pool-name", "-1"]);
        check(&["p", "epp", "-h"], &["p", "epp", "-h"]);
        check(&["p", "gateway", "-poolName"], &["p", "gateway", "-poolName"]);
    }
}
