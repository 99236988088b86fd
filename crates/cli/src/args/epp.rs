//! The arguments of `pointsman epp`: those of the extension's picker, in both spellings, and further ones.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, CommandFactory as _, Parser as _, ValueEnum};
use pointsman_config::{AppProtocol, MetricsPage};

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
#[command(after_help = "\
The flags of the extension's picker are accepted in both spellings (--pool-name, -poolName). Flags that ask for something \
other than what is done here are refused, with the alternative. SIGHUP reads the manifests again.

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
    /// The InferencePool to pick from; optional if there is only one. With --endpoint, the name of that pool
    #[arg(long, value_name = "NAME")]
    pub(crate) pool_name: Option<String>,
    /// The pool's namespace
    #[arg(long, value_name = "NAME", env = "NAMESPACE", default_value = "default")]
    pub(crate) pool_namespace: String,
    /// An EndpointPickerConfig, instead of placement and saturation of the pool's PoolPolicy
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
    /// The port of the gRPC health service, in plaintext
    #[arg(long, value_name = "PORT", default_value_t = 9003)]
    pub(crate) grpc_health_port: u16,
    /// The port of metrics and debug pages
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    pub(crate) metrics_port: u16,
    /// The port of the engines' metrics pages, where it is not the endpoints'; 0 means that it is
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) model_server_metrics_port: u16,
    /// The path of the engines' metrics pages [default: the engine's usual one]
    #[arg(long, value_name = "PATH", value_parser = metrics_path)]
    pub(crate) model_server_metrics_path: Option<String>,
    /// The scheme of the engines' metrics pages [default: that of the endpoints]
    #[arg(long, value_enum, value_name = "SCHEME")]
    pub(crate) model_server_metrics_scheme: Option<Scheme>,
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
    pub(crate) access: super::AccessArgs,
    #[command(flatten)]
    pub(crate) server: super::ServerArgs,
    /// Timeout for the placement of a request
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = super::values::timeout)]
    pub(crate) pick_timeout: Duration,
    /// Whether objective headers are trusted; if clients can send them, strip them in the route
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub(crate) trust_request_headers: bool,
    /// Always name a single destination [default: until the data plane has reported the endpoint that served, then a list]
    #[arg(long, conflicts_with = "destination_list")]
    pub(crate) single_destination: bool,
    /// Always name a list of destinations, best first
    #[arg(long)]
    pub(crate) destination_list: bool,
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
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = super::values::address, requires = "print_envoy_config")]
    pub(crate) envoy_listen: SocketAddr,
    /// In the bootstrap: the address of Envoy's admin pages
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9901", value_parser = super::values::address, requires = "print_envoy_config")]
    pub(crate) envoy_admin: SocketAddr,
    /// In the bootstrap: which response bodies Envoy sends to the picker
    #[arg(long, value_enum, default_value_t = Bodies::Sample, requires = "print_envoy_config")]
    pub(crate) response_bodies: Bodies,
    /// In the bootstrap: the percentage of requests for `--response-bodies sample` [default: 5]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100),
          requires = "print_envoy_config")]
    pub(crate) sample: Option<u8>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scheme {
    Http,
    Https,
}

fn metrics_path(text: &str) -> Result<String, &'static str> {
    MetricsPage::is_path(text).then(|| text.to_owned()).ok_or("a path such as /metrics is expected")
}

impl EppArgs {
    /// Where metrics pages are, by the flags.
    pub(crate) fn metrics_page(&self) -> MetricsPage {
        MetricsPage {
            port: Some(self.model_server_metrics_port).filter(|port| *port > 0),
            path: self.model_server_metrics_path.as_deref().map(Into::into),
            protocol: self.model_server_metrics_scheme.map(|scheme| match scheme {
                Scheme::Http => AppProtocol::Http,
                Scheme::Https => AppProtocol::Https,
            }),
        }
    }
}

/// Whether a flag's value asks for what is done anyway.
type Accepts = fn(&str) -> bool;

macro_rules! upstream {
    ($($field:ident: $accepts:expr, $advice:literal;)+) => {
        /// Flags of the extension's picker that have no effect here.
        #[derive(Debug, Args)]
        pub(crate) struct UpstreamArgs {
            $(#[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
            $field: Option<String>,)+
        }

        impl UpstreamArgs {
            /// The flags that were given: name, value, whether it asks for what is done anyway, and advice.
            fn given(&self) -> Vec<(&'static str, &str, bool, &'static str)> {
                let all: Vec<(&'static str, Option<&str>, Accepts, &'static str)> =
                    vec![$((stringify!($field), self.$field.as_deref(), $accepts, $advice)),+];
                let given = all.into_iter().filter_map(|(name, value, accepts, advice)| {
                    let value = value?;
                    Some((name, value, accepts(value), advice))
                });
                given.collect()
            }
        }
    };
}

impl UpstreamArgs {
    /// A sentence for each flag that asks for something else than what is done anyway.
    pub(crate) fn unsupported(&self) -> Vec<String> {
        self.sentences(false)
    }

    /// A sentence for each flag that is accepted without effect.
    pub(crate) fn without_effect(&self) -> Vec<String> {
        self.sentences(true)
    }

    fn sentences(&self, accepted: bool) -> Vec<String> {
        let given = self.given().into_iter().filter(|(_, _, accepts, _)| *accepts == accepted);
        let verdict = if accepted { "has no effect here" } else { "is not supported" };
        let sentence = |(name, value, _, advice): (&str, &str, bool, &str)| {
            format!("--{}={value} {verdict}: {advice}", name.replace('_', "-"))
        };
        given.map(sentence).collect()
    }
}

const ANY: Accepts = |_| true;
const NONE: Accepts = |_| false;
const OFF: Accepts = |value| value == "false";
/// A series of an engine whose page is known.
const SERIES: Accepts = |value| {
    value.is_empty() || ["vllm:", "sglang:", "trtllm_", "nv_"].iter().any(|known| value.starts_with(known))
};

/// Feature gates that ask for nothing but what is done anyway.
const GATES: Accepts = |gates| {
    let is_flow_control = |gate: &str| ["flowControl", "flowControl=true"].contains(&gate.trim());
    !gates.split(',').any(is_flow_control)
};

upstream! {
    endpoint_selector: NONE, "name the endpoints by --endpoint, or in manifests";
    endpoint_target_ports: NONE, "name the endpoints by --endpoint, or in manifests";
    ha_enable_leader_election: OFF, "run one picker per gateway, or several without a leader";
    refresh_metrics_interval: ANY, "the scrape interval follows the engine's load";
    refresh_prometheus_metrics_interval: ANY, "pool gauges are computed at each scrape";
    metrics_staleness_threshold: ANY, "stale metrics are discounted automatically";
    total_queued_requests_metric: SERIES, "the engine is detected from its metrics page";
    total_running_requests_metric: SERIES, "the engine is detected from its metrics page";
    kv_cache_usage_percentage_metric: SERIES, "the engine is detected from its metrics page";
    lora_info_metric: SERIES, "the engine is detected from its metrics page";
    cache_info_metric: SERIES, "the engine is detected from its metrics page";
    model_server_metrics_https_insecure_skip_verify: ANY, "certificates are verified as for requests";
    destination_endpoint_hint_key: |key| key == "x-gateway-destination-endpoint",
        "it is x-gateway-destination-endpoint, as proposal 004 specifies";
    destination_endpoint_hint_metadata_namespace: |name| name == "envoy.lb",
        "it is envoy.lb, as proposal 004 specifies";
    enable_pprof: OFF, "profiling is not supported";
    metrics_endpoint_auth: OFF, "bind the metrics port to an address that only the scraper can reach";
    allow_experimental_plugins: ANY, "the supported plugins need no permission";
    emit_endpoint_scores: OFF, "keep decisions by --decisions and read them by `pointsman explain` (docs/endpoint-picker.md)";
    disable_endpoint_subset_filter: OFF, "a gateway's subset is always respected";
    enable_cert_reload: ANY, "certificates are always reloaded when they change";
    health_checking: ANY, "health is always served on the ext_proc port too";
    pool_group: |group| ["inference.networking.k8s.io", "inference.networking.x-k8s.io"].contains(&group),
        "pools of both API groups are read";
    tracing: ANY, "traces are exported where --otlp-endpoint or OTEL_EXPORTER_OTLP_ENDPOINT is set";
    enable_latency_predictor: OFF, "the default placement minimises the expected latency";
    endpoint_data_parallel_size: |size| ["0", "1"].contains(&size), "name each rank as an endpoint";
    feature_gates: GATES, "requests are not queued (sheddable ones are rejected with 429), and other features are always on";
    plugin_state_staleness_threshold: ANY, "requests are counted until they end";
    fairness_id_metric_label_limit: ANY, "no metric has a fairness id as a label";
    enable_grpc_stream_metrics: ANY, "streams are always counted";
    grpc_max_recv_msg_size: NONE, "the limit is maxBodyBytes of the GatewayPolicy";
    grpc_max_send_msg_size: NONE, "bodies are returned in chunks of at most 62 kB";
    tls_min_version: |version| version == "VersionTLS12", "TLS 1.2 and 1.3 are supported";
    tls_cipher_suites: NONE, "the cipher suites are those of rustls";
    metrics_client_ca_file: NONE, "bind the metrics port to an address that only the scraper can reach";
    metrics_cert_dir: NONE, "metrics are served in plaintext";
    kubeconfig: NONE, "clusters are not watched: give --manifests or --endpoint";
    v: ANY, "use --log";
    zap_log_level: ANY, "use --log";
    zap_encoder: ANY, "use --log-format";
    zap_devel: ANY, "use --log-format";
    zap_stacktrace_level: ANY, "the log has no stack traces";
    zap_time_encoding: ANY, "the log has RFC 3339 times";
}

/// Finds all flags of `epp` that are not known, with a near one where there is one. A single one is left to clap.
///
/// # Errors
/// The flags, a line each.
pub(crate) fn check_flags(arguments: &[OsString]) -> Result<(), String> {
    if arguments.get(1).is_none_or(|command| command != "epp") {
        return Ok(());
    }
    let command = super::Cli::command();
    let known = |name: &str| {
        let of = |command: &clap::Command| {
            command.get_arguments().any(|argument| argument.get_long() == Some(name))
        };
        ["help", "version"].contains(&name) || of(&command) || command.find_subcommand("epp").is_some_and(of)
    };
    let flags = arguments.iter().skip(2).take_while(|argument| *argument != "--").filter_map(|argument| {
        let flag = argument.to_str()?.strip_prefix("--")?;
        let name = flag.split_once('=').map_or(flag, |(name, _)| name);
        let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '-');
        (is_name && !known(name)).then_some(name)
    });
    let unknown: Vec<&str> = flags.collect();
    if unknown.len() < 2 {
        return Ok(());
    }
    let line = |name: &&str| {
        let near = suggestion(name).map(|near| format!(": did you mean {near}?")).unwrap_or_default();
        format!("\n  --{name}{near}")
    };
    let lines: String = unknown.iter().map(line).collect();
    Err(format!("unknown flags of `pointsman epp`:{lines}"))
}

/// The flag that clap suggests for an unknown one.
fn suggestion(name: &str) -> Option<String> {
    let arguments = ["pointsman", "epp", "--endpoint", "http://127.0.0.1"].into_iter();
    let error = super::Cli::try_parse_from(arguments.chain([format!("--{name}").as_str()])).err()?;
    let near = error.get(clap::error::ContextKind::SuggestedArg)?;
    if let clap::error::ContextValue::String(near) = near { Some(near.clone()) } else { None }
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

    fn parsed(flags: &[&str]) -> EppArgs {
        let words =
            ["pointsman", "epp", "--endpoint", "http://127.0.0.1"].into_iter().chain(flags.iter().copied());
        let command = crate::args::Cli::try_parse_from(words).unwrap().command;
        let crate::args::Command::Epp(args) = command else { panic!("{command:?}") };
        *args
    }

    #[test]
    fn flags_that_ask_for_what_is_done_anyway_are_accepted() {
        // The arguments of the chart of llm-d-router with its defaults.
        let chart = parsed(&[
            "--pool-name",
            "llama",
            "--pool-namespace",
            "default",
            "--pool-group",
            "inference.networking.k8s.io",
            "--zap-encoder",
            "json",
            "--grpc-health-port",
            "9003",
            "--tracing=false",
            "--metrics-endpoint-auth=false",
        ]);
        assert_eq!(chart.upstream.unsupported(), Vec::<String>::new());
        assert_eq!(chart.upstream.without_effect().len(), 4);
        let newer =
            parsed(&["--feature-gates=dataLayer,flowControl=false", "--fairness-id-metric-label-limit=10"]);
        assert_eq!(newer.upstream.unsupported(), Vec::<String>::new());
        assert_eq!(parsed(&["--feature-gates=a,flowControl=true"]).upstream.unsupported().len(), 1);
        let asks =
            parsed(&["--metrics-endpoint-auth", "--ha-enable-leader-election", "--pool-group=example.com"]);
        let refused = asks.upstream.unsupported();
        assert_eq!(refused.len(), 3, "{refused:?}");
        assert!(refused[0].starts_with("--ha-enable-leader-election=true is not supported: "), "{refused:?}");
    }

    #[test]
    fn all_unknown_flags_are_named_at_once() {
        let check = |flags: &[&str]| {
            let words = ["p", "epp"].into_iter().chain(flags.iter().copied()).map(OsString::from);
            check_flags(&words.collect::<Vec<_>>())
        };
        assert_eq!(check(&["--pool-name", "a", "--log=info", "--help"]), Ok(()));
        assert_eq!(check(&["--one-unknown"]), Ok(()), "left to clap");
        let message =
            check(&["--pool-nam", "a", "--nothing-like-it=3", "--config-text", "--- a"]).unwrap_err();
        assert_eq!(
            message,
            "unknown flags of `pointsman epp`:\n  --pool-nam: did you mean --pool-name?\n  --nothing-like-it"
        );
    }
}
