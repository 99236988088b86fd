//! `pointsman gateway`.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use pointsman_config::{
    Inventory, Options, QuickOptions, World, load, load_with_previous, print_manifests, quick_form,
};
use pointsman_fleet::manifests::{Reload, Watch};
use pointsman_fleet::{Fleet, FleetOptions};
use pointsman_telemetry::Metrics;
use pointsman_telemetry::trace::{OtlpOptions, Tracer};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::args::GatewayArgs;
use crate::serving::{self, Plan, Problems, Serving};
use crate::shutdown;

/// Where the quick form listens unless told.
const QUICK_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

pub(crate) async fn run(args: GatewayArgs) -> Result<ExitCode> {
    if args.print_manifests {
        print!("{}", print_manifests(&args.endpoint, &quick_options(&args))?);
        return Ok(ExitCode::SUCCESS);
    }
    let stop = shutdown::on_signal()?;
    let metrics = serving::metrics();
    let (tracer, exporter) = start_tracing(&args, &metrics)?;
    let (world, files) = first_world(&args)?;
    let quick_listen = files.is_none().then_some(QUICK_LISTEN);
    let plan = Plan {
        listen: args.listen.or(quick_listen),
        admin: args.admin,
        fleet: FleetOptions { record: args.record.clone(), ..FleetOptions::default() },
        world,
        drain: args.drain_timeout,
    };
    let serving = Serving::start(plan, metrics, tracer).await?;
    let watching = files.map(|files| watch(files, &serving, stop.clone()));
    println!("{}", ready_line(&serving));
    stop.cancelled().await;
    serving.stop().await;
    for task in watching.into_iter().chain(exporter.map(Exporting::finish)) {
        // A task that panicked has been logged, and there is nothing left to do about it.
        let _ = task.await;
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
struct Files {
    watch: Watch,
    objects: Inventory,
}

/// What to start with. At start any error stops.
fn first_world(args: &GatewayArgs) -> Result<(World, Option<Files>)> {
    if args.manifests.is_empty() {
        return Ok((quick_form(&args.endpoint, &quick_options(args))?, None));
    }
    let (sources, watch) = Watch::start(args.manifests.clone())?;
    let loaded = load(&sources, &Options::default());
    for problem in &loaded.problems {
        eprintln!("{problem}");
    }
    if loaded.has_errors() {
        bail!("the manifests have errors; `pointsman check` names them without starting anything");
    }
    Ok((loaded.world, Some(Files { watch, objects: loaded.objects })))
}

fn quick_options(args: &GatewayArgs) -> QuickOptions {
    QuickOptions {
        engine_ca: args.engine_ca.clone(),
        engine_api_key_file: args.engine_api_key_file.clone(),
        ..QuickOptions::default()
    }
}

/// Applies what the files say whenever they change, until the stop.
fn watch(mut files: Files, serving: &Serving, stop: CancellationToken) -> JoinHandle<()> {
    let (fleet, problems) = (serving.fleet().clone(), Arc::clone(serving.problems()));
    tokio::spawn(async move {
        loop {
            let reload = tokio::select! {
                reload = files.watch.next() => reload,
                () = stop.cancelled() => return,
            };
            let (found, objects) = apply(&fleet, reload, files.objects);
            files.objects = objects;
            report(&fleet, found, &problems);
        }
    })
}

/// Puts a reading in force; a bad object keeps its last good version, and what cannot be read changes nothing.
fn apply(fleet: &Fleet, reload: Reload, previous: Inventory) -> (Vec<String>, Inventory) {
    let sources = match reload.sources {
        Ok(sources) => sources,
        Err(error) => return (vec![error.to_string()], previous),
    };
    let loaded = load_with_previous(&sources, &Options::default(), &previous);
    let mut found: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    let errors = loaded
        .problems
        .iter()
        .filter(|problem| problem.severity == pointsman_config::Severity::Error)
        .count();
    if let Err(error) = fleet.apply(loaded.world, errors) {
        found.push(error.to_string());
        return (found, previous);
    }
    (found, loaded.objects)
}

fn report(fleet: &Fleet, found: Vec<String>, problems: &Problems) {
    let generation = fleet.current().number;
    for problem in &found {
        tracing::warn!(generation, "{problem}");
    }
    tracing::info!(generation, problems = found.len(), "manifests read again");
    problems.store(Arc::new(found));
}

/// The exporter of traces, which goes on until what was traced last is sent.
struct Exporting {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Exporting {
    fn finish(self) -> JoinHandle<()> {
        self.stop.cancel();
        self.task
    }
}

fn start_tracing(args: &GatewayArgs, metrics: &Metrics) -> Result<(Tracer, Option<Exporting>)> {
    let lookup = |name: &str| std::env::var(name).ok();
    let options = OtlpOptions::from_env(args.otlp_endpoint.clone(), env!("CARGO_PKG_VERSION"), lookup);
    let Some(options) = options.context("traces")? else { return Ok((Tracer::disabled(), None)) };
    let (tracer, exporter) = Tracer::otlp(options, metrics.dropped_spans()).context("traces")?;
    let stop = CancellationToken::new();
    let task = tokio::spawn(exporter.run(stop.clone().cancelled_owned()));
    Ok((tracer, Some(Exporting { stop, task })))
}
