//! The paths to the engines behind Envoy, and one turn of measurements on each.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pointsman_extproc::DESTINATION;

use super::collected::{Collected, Column, Used};
use super::figure::PickerFigure;
use super::plan::plan;
use super::report::PickerReport;
use super::{PickerCommands, PickerOptions, PickerPhase};
use crate::client::{Client, Connections, ServerAddress, Target};
use crate::measurement::MeasurementError;
use crate::measurement::load::{closed_loop, open_loop, wait_until_answered};
use crate::measurement::server::{Server, argument, endpoint_urls, free_ports, offset_port, start_stubs};

/// One path to the engines.
struct Arm {
    column: Column,
    client: Arc<Client>,
    envoy: Server,
}

/// The paths and their measurements.
pub(super) struct Arms {
    arms: Vec<Arm>,
    bare: Server,
    picker: Server,
    /// Keeps the engines running.
    _stubs: Server,
    collected: Collected,
}

/// The ports of one picker.
#[derive(Clone, Copy)]
struct Ports {
    grpc: SocketAddr,
    health: SocketAddr,
    metrics: SocketAddr,
}

impl Ports {
    fn free() -> std::io::Result<Self> {
        let grpc = free_ports(3)?;
        Ok(Self { grpc, health: offset_port(grpc, 1), metrics: offset_port(grpc, 2) })
    }

    fn arguments(self) -> Vec<OsString> {
        let ports = [
            ("--grpc-port", self.grpc.port()),
            ("--grpc-health-port", self.health.port()),
            ("--metrics-port", self.metrics.port()),
        ];
        let ports = ports.into_iter().flat_map(|(name, port)| argument(name, &port));
        ["--secure-serving=false".into(), "--bind".into(), self.grpc.ip().to_string().into()]
            .into_iter()
            .chain(ports)
            .collect()
    }
}

impl Arms {
    pub(super) async fn start(commands: &PickerCommands, engines: u16) -> Result<Self, MeasurementError> {
        let (stubs, addresses) = start_stubs(&commands.stub, engines, None).await?;
        let (picker, ports) = picker(commands, &addresses).await?;
        let bare_listen = free_ports(1)?;
        let endpoints = addresses.iter().flat_map(|address| argument("--endpoint", address));
        let arguments = argument("--listen", &bare_listen).into_iter().chain(endpoints);
        let bare = Server::start("the bare picker", &commands.bare_picker, arguments, bare_listen).await?;
        let mut arms = Vec::new();
        for column in Column::ALL {
            let (listen, admin) = (free_ports(1)?, free_ports(1)?);
            let bootstrap = match column {
                Column::Envoy => round_robin(listen, admin, &addresses),
                Column::Bare => {
                    let ports = Ports { grpc: bare_listen, ..ports };
                    printed(commands, ports, &addresses, listen, admin, "usage").await?
                }
                Column::Picker => printed(commands, ports, &addresses, listen, admin, "usage").await?,
                Column::WithoutBodies => printed(commands, ports, &addresses, listen, admin, "never").await?,
                Column::OriginalDst => {
                    original_dst(&printed(commands, ports, &addresses, listen, admin, "usage").await?)
                }
            };
            let (envoy, client) = envoy(commands, &bootstrap, listen).await?;
            arms.push(Arm { column, client, envoy });
        }
        Ok(Self { arms, bare, picker, _stubs: stubs, collected: Collected::default() })
    }

    /// Waits until every arm responds.
    pub(super) async fn wait_until_ready(&self) -> Result<(), MeasurementError> {
        for arm in &self.arms {
            wait_until_answered(&arm.client, arm.column.label()).await?;
        }
        Ok(())
    }

    /// Runs one slice of a phase on every arm; the first arm rotates.
    pub(super) async fn run_slice(
        &mut self,
        phase: PickerPhase,
        slice: usize,
        options: PickerOptions,
    ) -> Result<(), MeasurementError> {
        let plan = plan(phase, slice, options)?.map(Arc::new);
        for turn in 0..self.arms.len() {
            let Some(arm) = self.arms.get((slice + turn) % self.arms.len()) else { continue };
            let picker = match arm.column {
                Column::Envoy => None,
                Column::Bare => Some(&self.bare),
                Column::Picker | Column::WithoutBodies | Column::OriginalDst => Some(&self.picker),
            };
            let before = (arm.envoy.cpu()?, picker.map(Server::cpu).transpose()?);
            let observed = match &plan {
                Some(plan) => open_loop(&arm.client, plan).await?,
                None => closed_loop(&arm.client, options.saturated_slice).await?,
            };
            let after = (arm.envoy.cpu()?, picker.map(Server::cpu).transpose()?);
            let used = Used {
                envoy: after.0.since(&before.0),
                picker: after.1.zip(before.1).map(|(after, before)| after.since(&before)),
                events: if phase == PickerPhase::Streams {
                    observed.completed * u64::from(options.stream_events)
                } else {
                    observed.completed
                },
            };
            self.collected.note(phase, arm.column, &observed, used);
        }
        Ok(())
    }

    pub(super) fn report(
        mut self,
        options: PickerOptions,
        idle_cores: Option<f64>,
    ) -> Result<PickerReport, MeasurementError> {
        self.collected.resident(Column::Bare, self.bare.resident()?);
        self.collected.resident(Column::Picker, self.picker.resident()?);
        if let Some(cores) = idle_cores {
            self.collected.push(PickerFigure::IdleCores, Column::Picker, cores);
        }
        Ok(self.collected.report(options.slices))
    }
}

/// CPU cores used by a picker with many endpoints and no requests.
pub(super) async fn idle_cores(
    commands: &PickerCommands,
    options: PickerOptions,
) -> Result<f64, MeasurementError> {
    let (_stubs, addresses) = start_stubs(&commands.stub, options.idle_engines, None).await?;
    let (picker, _) = picker(commands, &addresses).await?;
    // Start-up does not count as idle.
    tokio::time::sleep(options.idle / 4).await;
    let before = picker.cpu()?;
    tokio::time::sleep(options.idle).await;
    Ok(picker.cpu()?.since(&before).as_secs_f64() / options.idle.as_secs_f64())
}

/// An Envoy with the picker, and engines behind it.
pub(super) struct PickerStack {
    pub(super) client: Arc<Client>,
    pub(super) picker: Server,
    /// Keeps Envoy and the engines running.
    _others: [Server; 2],
}

impl PickerStack {
    /// Starts all processes and waits until they respond. `interval` is the time between two events of a stream.
    pub(super) async fn start(
        commands: &PickerCommands,
        engines: u16,
        interval: Option<Duration>,
    ) -> Result<Self, MeasurementError> {
        let (stubs, addresses) = start_stubs(&commands.stub, engines, interval).await?;
        let (picker, ports) = picker(commands, &addresses).await?;
        let (listen, admin) = (free_ports(1)?, free_ports(1)?);
        let bootstrap = printed(commands, ports, &addresses, listen, admin, "usage").await?;
        let (envoy, client) = envoy(commands, &bootstrap, listen).await?;
        wait_until_answered(&client, "Envoy with the picker").await?;
        Ok(Self { client, picker, _others: [envoy, stubs] })
    }
}

/// Starts an Envoy with one worker, and a client for it.
async fn envoy(
    commands: &PickerCommands,
    bootstrap: &str,
    listen: SocketAddr,
) -> Result<(Server, Arc<Client>), MeasurementError> {
    let file = commands.folder.join(format!("{}.yaml", listen.port()));
    std::fs::write(&file, bootstrap)?;
    let arguments = ["-c".into(), file.into(), "--concurrency".into(), "1".into(), "-l".into()];
    let more = ["error".into(), "--use-dynamic-base-id".into()];
    let command = [commands.envoy.clone().into_os_string()];
    let envoy = Server::start("Envoy", &command, arguments.into_iter().chain(more), listen).await?;
    let endpoints = vec![ServerAddress::from(listen)];
    Ok((envoy, Client::new(&Target { endpoints, connections: Connections::Pool })))
}

async fn picker(
    commands: &PickerCommands,
    addresses: &[SocketAddr],
) -> Result<(Server, Ports), MeasurementError> {
    let ports = Ports::free()?;
    let arguments = ports.arguments().into_iter().chain(endpoint_urls(addresses));
    Ok((Server::start("the picker", &commands.picker, arguments, ports.grpc).await?, ports))
}

/// The bootstrap that the picker prints for its ports.
async fn printed(
    commands: &PickerCommands,
    ports: Ports,
    addresses: &[SocketAddr],
    listen: SocketAddr,
    admin: SocketAddr,
    bodies: &str,
) -> Result<String, MeasurementError> {
    let failed = |cause: String| MeasurementError::Start { server: "the picker's bootstrap", cause };
    let (program, first) = commands.picker.split_first().ok_or_else(|| failed("no command".to_owned()))?;
    let envoy = [argument("--envoy-listen", &listen), argument("--envoy-admin", &admin)];
    let output = tokio::process::Command::new(program)
        .args(first)
        .args(["--print-envoy-config", "--response-bodies", bodies])
        .args(envoy.iter().flatten())
        .args(ports.arguments())
        .args(endpoint_urls(addresses))
        .output()
        .await?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    String::from_utf8(output.stdout).map_err(|error| failed(error.to_string()))
}

/// The bootstrap with a cluster of engines that reads one destination from a header.
fn original_dst(bootstrap: &str) -> String {
    let before = bootstrap.split("  - name: engines\n").next().unwrap_or_default();
    let after = bootstrap.split_once("  - name: pointsman\n    type:").map_or("", |(_, after)| after);
    format!(
        r"{before}  - name: engines
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 2s
    original_dst_lb_config: {{use_http_header: true, http_header_name: {DESTINATION}}}
    circuit_breakers: {{thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]}}
  - name: pointsman
    type:{after}"
    )
}

/// The bootstrap of Envoy alone, round-robin over the engines.
fn round_robin(listen: SocketAddr, admin: SocketAddr, addresses: &[SocketAddr]) -> String {
    let place = |address: &SocketAddr| {
        format!("{{socket_address: {{address: \"{}\", port_value: {}}}}}", address.ip(), address.port())
    };
    let endpoints: String = addresses
        .iter()
        .map(|address| format!("        - endpoint: {{address: {}}}\n", place(address)))
        .collect();
    format!(
        r#"admin: {{address: {admin}}}
static_resources:
  listeners:
  - address: {listen}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: inference
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: engines, timeout: 0s}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: engines
    type: STATIC
    circuit_breakers: {{thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]}}
    load_assignment:
      cluster_name: engines
      endpoints:
      - lb_endpoints:
{endpoints}"#,
        admin = place(&admin),
        listen = place(&listen),
    )
}
