//! `pointsman gateway`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use pointsman_config::{Inventory, Options, QuickOptions, World, load, print_manifests, quick_form};
use pointsman_fleet::FleetOptions;
use pointsman_fleet::manifests::Watch;
use pointsman_telemetry::Metrics;
use pointsman_telemetry::trace::{OtlpOptions, Tracer};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::args::GatewayArgs;
use crate::serving::{self, Plan, Serving};
use crate::shutdown;

/// Where the quick form listens unless told.
const QUICK_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

pub(crate) async fn run(args: GatewayArgs) -> Result<ExitCode> {
    if args.print_manifests {
        print!("{}", print_manifests(&args.endpoint, &quick_options(&args)?)?);
        return Ok(ExitCode::SUCCESS);
    }
    let stop = shutdown::on_signal()?;
    let metrics = serving::metrics();
    let (tracer, exporter) = start_tracing(args.otlp_endpoint.clone(), &metrics)?;
    let (world, files) =
        first_world(&args.manifests, &args.endpoint, &quick_options(&args)?, &Options::default())?;
    let quick_listen = files.is_none().then_some(QUICK_LISTEN);
    let plan = Plan {
        listen: args.listen.or(quick_listen),
        admin: args.admin,
        fleet: FleetOptions { record: args.record.clone(), ..FleetOptions::default() },
        world,
        drain: args.drain_timeout,
    };
    let serving = Serving::start(plan, metrics, tracer).await?;
    if let Some(Files { watch, objects }) = files {
        let problems = Arc::clone(serving.problems());
        serving
            .fleet()
            .follow(watch, objects, Options::default(), move |found| problems.store(Arc::new(found)));
    }
    println!("{}", ready_line(&serving));
    stop.cancelled().await;
    serving.stop().await;
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    Ok(ExitCode::SUCCESS)
}

fn ready_line(serving: &Serving) -> String {
    let addresses: Vec<String> =
        serving.addresses().iter().map(|address| format!("http://{address}")).collect();
    format!(
        "pointsman gateway: ready, listening on {}, admin on http://{}",
        addresses.join(" "),
        serving.admin_address()
    )
}

/// Manifests in files, as they were read last.
pub(crate) struct Files {
    pub(crate) watch: Watch,
    pub(crate) objects: Inventory,
}

/// What to start with. At start any error stops.
pub(crate) fn first_world(
    manifests: &[PathBuf],
    endpoints: &[String],
    quick: &QuickOptions,
    options: &Options,
) -> Result<(World, Option<Files>)> {
    if manifests.is_empty() {
        return Ok((quick_form(endpoints, quick)?, None));
    }
    let (sources, watch) = Watch::start(manifests.to_vec())?;
    let loaded = load(&sources, options);
    for problem in &loaded.problems {
        eprintln!("{problem}");
    }
    if loaded.has_errors() {
        bail!("the manifests have errors; `pointsman check` names them without starting anything");
    }
    Ok((loaded.world, Some(Files { watch, objects: loaded.objects })))
}

/// Paths become absolute, so that printed manifests mean the same wherever they are saved.
///
/// # Errors
/// Certificate authorities are given, and no endpoint is reached over TLS.
fn quick_options(args: &GatewayArgs) -> Result<QuickOptions> {
    if args.engine_ca.is_some() && !args.endpoint.iter().any(|url| url.starts_with("https://")) {
        bail!("--engine-ca has no effect: no --endpoint starts with https://");
    }
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    Ok(QuickOptions {
        engine_ca: args.engine_ca.as_ref().map(absolute),
        engine_api_key_file: args.engine_api_key_file.as_ref().map(absolute),
        ..QuickOptions::default()
    })
}

/// The exporter of traces, which goes on until what was traced last is sent.
pub(crate) struct Exporting {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Exporting {
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        // A task that panicked has been logged, and there is nothing left to do about it.
        let _ = self.task.await;
    }
}

/// A tracer, and what sends its spans where `endpoint` or the environment says.
pub(crate) fn start_tracing(
    endpoint: Option<String>,
    metrics: &Metrics,
) -> Result<(Tracer, Option<Exporting>)> {
    let lookup = |name: &str| std::env::var(name).ok();
    let options = OtlpOptions::from_env(endpoint, env!("CARGO_PKG_VERSION"), lookup);
    let Some(options) = options.context("traces")? else { return Ok((Tracer::disabled(), None)) };
    let (tracer, exporter) = Tracer::otlp(options, metrics.dropped_spans()).context("traces")?;
    let stop = CancellationToken::new();
    let task = tokio::spawn(exporter.run(stop.clone().cancelled_owned()));
    Ok((tracer, Some(Exporting { stop, task })))
}
