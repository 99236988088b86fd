//! The demo's four simulated engines, one of which is slower.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use pointsman_core::{Time, seconds};
use pointsman_engine::{EngineConfig, EngineServer};
use pointsman_sim::engine::{BuiltinProfile, Detail, Engine, EngineProfile, Request};
use pointsman_workload::{Distribution, Draw, Purpose};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Number of engines.
const ENGINES: usize = 4;
/// Factor by which the last one is slower.
const SLOWER: f64 = 1.6;
/// `max_num_seqs` of each engine, low enough to be reached by a load that two cores can generate.
const MAX_SEQUENCES: u32 = 6;
/// Number of requests of the simulated run that measures an engine's capacity.
const SAMPLE: u64 = 2_000;

/// The simulated engines.
pub(super) struct Engines {
    profile: EngineProfile,
    addresses: Vec<SocketAddr>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Engines {
    /// Starts the engines on free ports of the loopback interface.
    pub(super) async fn start(model: &str, seed: u64) -> Result<Self> {
        let profile = EngineProfile { max_sequences: MAX_SEQUENCES, ..BuiltinProfile::Llama3H100.load()? };
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let mut addresses = Vec::with_capacity(ENGINES);
        for index in 0..ENGINES {
            let free = SocketAddr::from(([127, 0, 0, 1], 0));
            let config = EngineConfig {
                speed: if index + 1 == ENGINES { 1.0 / SLOWER } else { 1.0 },
                seed: seed + index as u64,
                drain: Duration::from_secs(1),
                ..EngineConfig::new(free, model, profile.clone())
            };
            let server = EngineServer::bind(config).await?;
            addresses.push(server.local_addr());
            tasks.spawn(server.serve(stop.clone().cancelled_owned()));
        }
        Ok(Self { profile, addresses, stop, tasks })
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.iter().copied()
    }

    pub(super) fn urls(&self) -> Vec<String> {
        self.addresses.iter().map(|address| format!("http://{address}")).collect()
    }

    /// Requests per second that all engines together sustain, measured by simulating one at saturation in virtual time with
    /// lengths drawn like the load's.
    pub(super) fn capacity(&self, (prompt, output): &(Distribution, Distribution)) -> f64 {
        let mut draw = Draw::of(0, Purpose::Lengths, 0);
        let mut waiting: VecDeque<Request> = (0..SAMPLE)
            .map(|_| Request {
                prompt_tokens: prompt.tokens(&mut draw),
                output_tokens: output.tokens(&mut draw),
                hashes: Arc::from([]),
                adapter: None,
            })
            .collect();
        let mut engine = Engine::new(Arc::new(self.profile.clone()), Detail::Milestones);
        let mut now = Time::ZERO;
        let mut finished = 0_u32;
        loop {
            // Keeps enough requests waiting that the batch is always full.
            while engine.gauges().waiting < MAX_SEQUENCES {
                let Some(request) = waiting.pop_front() else { break };
                if engine.submit(request).is_err() {
                    break;
                }
            }
            let Some(step) = engine.start_step(now) else { break };
            now = step.ends_at;
            finished += engine.finish_step().iter().map(|output| u32::from(output.finished)).sum::<u32>();
        }
        let one = f64::from(finished) / seconds(now.since(Time::ZERO));
        #[expect(clippy::cast_precision_loss, reason = "a handful of engines")]
        let equal = (ENGINES - 1) as f64;
        one * (equal + 1.0 / SLOWER)
    }

    pub(super) fn describe(&self) -> String {
        format!("{ENGINES} simulated {} engines, one {SLOWER} times slower", self.profile.name)
    }

    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
