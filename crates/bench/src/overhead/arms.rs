//! The paths to the engines, and one turn of measurements on each.

use std::net::SocketAddr;
use std::sync::Arc;

use super::collected::{Collected, Column};
use super::figure::Figure;
use super::plan::plan;
use super::report::OverheadReport;
use super::{OverheadCommands, OverheadOptions, Phase};
use crate::client::{Client, Connections, ServerAddress, Target};
use crate::measurement::MeasurementError;
use crate::measurement::load::{Observed, closed_loop, open_loop, wait_until_answered};
use crate::measurement::server::{Server, argument, endpoint_urls, free_ports, offset_port, start_stubs};

/// One path to the engines.
struct Arm {
    column: Column,
    client: Arc<Client>,
    /// The measured process; none for the direct path.
    server: Option<Server>,
}

/// The three paths and their measurements.
pub(super) struct Arms {
    arms: [Arm; 3],
    /// Keeps the engines running.
    _stubs: Server,
    collected: Collected,
}

impl Arms {
    pub(super) async fn start(commands: &OverheadCommands, engines: u16) -> Result<Self, MeasurementError> {
        let (stubs, addresses) = start_stubs(&commands.stub, engines, None).await?;
        let bare_listen = free_ports(1)?;
        let arguments = argument("--listen", &bare_listen).into_iter().chain(endpoint_urls(&addresses));
        let bare = Server::start("the bare proxy", &commands.bare_proxy, arguments, bare_listen).await?;

        let gateway_listen = free_ports(2)?;
        let admin = offset_port(gateway_listen, 1);
        let arguments = argument("--listen", &gateway_listen)
            .into_iter()
            .chain(argument("--admin", &admin))
            .chain(endpoint_urls(&addresses));
        let gateway = Server::start("the gateway", &commands.gateway, arguments, gateway_listen).await?;

        let arm = |column, addresses: &[SocketAddr], server| {
            let endpoints = addresses.iter().copied().map(ServerAddress::from).collect();
            let client = Client::new(&Target { endpoints, connections: Connections::Pool });
            Arm { column, client, server }
        };
        let arms = [
            arm(Column::Direct, &addresses, None),
            arm(Column::BareProxy, &[bare_listen], Some(bare)),
            arm(Column::Gateway, &[gateway_listen], Some(gateway)),
        ];
        Ok(Self { arms, _stubs: stubs, collected: Collected::default() })
    }

    /// Waits until every arm responds.
    pub(super) async fn wait_until_ready(&self) -> Result<(), MeasurementError> {
        for arm in &self.arms {
            wait_until_answered(&arm.client, arm.column.label()).await?;
        }
        Ok(())
    }

    /// Records the memory of the servers.
    pub(super) fn note_memory(&mut self, figure: Figure) -> Result<(), MeasurementError> {
        for arm in &self.arms {
            if let Some(server) = &arm.server {
                self.collected.resident(figure, arm.column, server.resident()?);
            }
        }
        Ok(())
    }

    /// Runs one slice of a phase on every arm; the first arm rotates.
    pub(super) async fn run_slice(
        &mut self,
        phase: Phase,
        slice: usize,
        options: OverheadOptions,
    ) -> Result<(), MeasurementError> {
        let plan = plan(phase, slice, options)?.map(Arc::new);
        for turn in 0..self.arms.len() {
            let Some(arm) = self.arms.get((slice + turn) % self.arms.len()) else { continue };
            // The direct path is a baseline of latency only: it has no process to measure.
            if arm.server.is_none() && phase != Phase::Paced {
                continue;
            }
            let before = arm.server.as_ref().map(Server::cpu).transpose()?;
            let observed = match &plan {
                Some(plan) => open_loop(&arm.client, plan).await?,
                None => closed_loop(&arm.client, options.saturated_slice).await?,
            };
            let after = arm.server.as_ref().map(Server::cpu).transpose()?;
            let used = before.zip(after).map(|(before, after)| after.since(&before));
            self.collected.note(phase, arm.column, &observed, used, events(phase, &observed, options));
        }
        Ok(())
    }

    pub(super) fn report(mut self, options: OverheadOptions) -> Result<OverheadReport, MeasurementError> {
        self.note_memory(Figure::ResidentLoadedMib)?;
        Ok(self.collected.report(options.slices))
    }
}

/// The divisor of CPU time: requests, or token events of streams.
fn events(phase: Phase, observed: &Observed, options: OverheadOptions) -> u64 {
    match phase {
        Phase::Paced | Phase::Saturated | Phase::Prompts400Kb | Phase::Prompts1Mb => observed.completed,
        Phase::Streams => observed.completed * u64::from(options.stream_events),
    }
}
