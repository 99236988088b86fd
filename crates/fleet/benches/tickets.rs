//! The cost of a request in the fleet, beside its cost in the core alone.
#![allow(clippy::unwrap_used, reason = "a bench")]

use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use pointsman_config::{AppProtocol, EndpointAddress, EngineAccess, ObjectName, PoolSpec, Timeouts, World};
use pointsman_core::{
    Completion, EndpointId, EndpointSpec, Event, PoolId, PoolPolicy, PoolSet, RequestFacts, RequestId,
    Scheduler, SchedulerConfig, Time, Usage,
};
use pointsman_fleet::{Activity, Fleet, FleetOptions, MonitorSettings, StreamActivity};
use pointsman_telemetry::{BuildInfo, Metrics};

fn main() {
    divan::main();
}

fn facts() -> RequestFacts {
    RequestFacts { prompt_tokens: 500, observes_tokens: true, ..RequestFacts::unknown(PoolId(0)) }
}

const ENDPOINTS: [u16; 2] = [10, 1_000];

/// Arrival, first token, end.
#[divan::bench(args = ENDPOINTS)]
fn core_alone(bencher: Bencher<'_, '_>, endpoints: u16) {
    let mut pool = Scheduler::new(SchedulerConfig { seed: 1, decisions: false });
    let mut effects = Vec::new();
    pool.handle(
        Time::ZERO,
        Event::PoolPolicyChanged { pool: PoolId(0), policy: PoolPolicy::default() },
        &mut effects,
    );
    for endpoint in 0..u32::from(endpoints) {
        let spec = EndpointSpec { pools: PoolSet::of(PoolId(0)) };
        pool.handle(Time::ZERO, Event::EndpointUp { endpoint: EndpointId(endpoint), spec }, &mut effects);
    }
    let mut at = 0;
    bencher.bench_local(|| {
        at += 1_000_000;
        let (now, request) = (Time::from_nanos(at), RequestId(at));
        effects.clear();
        pool.handle(now, Event::Arrived { request, facts: facts() }, &mut effects);
        pool.handle(now, Event::FirstToken { request }, &mut effects);
        let (completion, usage) = (Completion::Complete, Usage::default());
        pool.handle(now, Event::Finished { request, completion, usage }, &mut effects);
        black_box(&effects);
    });
}

/// The same through ticket and guard: lock, clock, metrics.
#[divan::bench(args = ENDPOINTS)]
fn ticket_and_guard(bencher: Bencher<'_, '_>, endpoints: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let monitor =
        MonitorSettings { scrape_shortest: Duration::from_secs(3_600), ..MonitorSettings::default() };
    let metrics = Metrics::new(&BuildInfo { version: "0.0.0", commit: "" });
    let options = FleetOptions { monitor, ..FleetOptions::default() };
    let fleet = Fleet::start_on(runtime.handle().clone(), options, metrics).unwrap();
    fleet.apply(world(endpoints), 0).unwrap();
    bencher.bench_local(|| {
        let ticket = fleet.load().pools[0].place(facts());
        let Ok(Ok(mut placed)) = ticket.try_placed() else { unreachable!("the pool decides at once") };
        placed.first_token();
        placed.finish(Completion::Complete, Usage::default());
    });
}

fn world(endpoints: u16) -> World {
    let address = |port| EndpointAddress {
        host: "127.0.0.1".into(),
        port,
        protocol: AppProtocol::Http,
        engine: None,
        metrics: pointsman_config::MetricsPage::default(),
    };
    let pool = PoolSpec {
        name: ObjectName { namespace: "default".into(), name: "a".into() },
        policy: PoolPolicy::default(),
        models: Arc::default(),
        endpoints: (1..=endpoints).map(address).collect(),
        timeouts: Timeouts::default(),
        access: EngineAccess::default(),
    };
    World { pools: vec![pool], ..World::default() }
}

/// The cost of each chunk of a stream.
#[divan::bench]
fn stream_chunk(bencher: Bencher<'_, '_>) {
    let activity = Activity::default();
    let mut at = 0;
    let mut stream = StreamActivity::start(&activity, Time::ZERO, false);
    bencher.bench_local(|| {
        at += 20_000_000;
        stream.on_chunk(black_box(&activity), Time::from_nanos(at));
    });
}
