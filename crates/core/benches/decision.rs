//! Time per event. Budget of a decision: 2 µs with 10 endpoints, 100 µs with 1,000 and with 10,000; the same for a step of a
//! snapshot, in which no decision is made.

use std::time::Duration;

use divan::{Bencher, black_box};
use pointsman_core::{
    Effect, EndpointId, EndpointSpec, Event, FailureCause, LoadReport, Placement, PoolId, PoolPolicy,
    PoolSet, RequestFacts, RequestId, Scheduler, SchedulerConfig, SnapshotInSteps, Time,
};

const SIZES: [u32; 4] = [10, 100, 1_000, 10_000];
const POOL: PoolId = PoolId(0);

fn main() {
    divan::main();
}

/// A loaded scheduler: gauges read, ten requests on each endpoint, half of them decoding.
struct Busy {
    pool: Scheduler,
    now: Time,
    effects: Vec<Effect>,
    next: u64,
}

impl Busy {
    fn new(endpoints: u32, placement: Placement) -> Self {
        let pool = Scheduler::new(SchedulerConfig { seed: 1, decisions: false });
        let mut busy =
            Self { pool, now: Time::ZERO + Duration::from_secs(100), effects: Vec::new(), next: 0 };
        busy.tell(Event::PoolPolicyChanged {
            pool: POOL,
            policy: PoolPolicy { placement, ..PoolPolicy::default() },
        });
        for endpoint in (0..endpoints).map(EndpointId) {
            let spec = EndpointSpec { pools: PoolSet::of(POOL) };
            busy.tell(Event::EndpointUp { endpoint, spec });
            busy.tell(Event::Load { endpoint, report: busy.report() });
        }
        for request in 0..10 * u64::from(endpoints) {
            busy.arrive();
            if request % 2 == 0 {
                busy.tell(Event::FirstToken { request: RequestId(request) });
            }
        }
        busy
    }

    fn report(&self) -> LoadReport {
        LoadReport {
            taken: self.now,
            running: Some(10),
            waiting: Some(0),
            kv_use: Some(0.4),
            kv_blocks: Some(7_000),
            block_size: Some(16),
            ..LoadReport::default()
        }
    }

    fn tell(&mut self, event: Event) {
        self.now = self.now + Duration::from_micros(10);
        self.effects.clear();
        self.pool.handle(self.now, event, &mut self.effects);
    }

    fn arrive(&mut self) -> RequestId {
        let request = RequestId(self.next);
        self.next += 1;
        let mut facts = RequestFacts::unknown(POOL);
        facts.prompt_tokens = 500;
        facts.observes_tokens = true;
        self.tell(Event::Arrived { request, facts });
        request
    }
}

/// A request arrives, is placed and ends.
#[divan::bench(args = SIZES)]
fn arrive_and_leave(bencher: Bencher<'_, '_>, endpoints: u32) {
    let mut busy = Busy::new(endpoints, Placement::Pointsman);
    bencher.bench_local(|| {
        let request = busy.arrive();
        busy.tell(Event::Aborted { request });
        black_box(&busy.effects);
    });
}

#[divan::bench(args = Placement::ALL.map(Placement::as_str))]
fn arrive_and_leave_under(bencher: Bencher<'_, '_>, name: &str) {
    let placement = Placement::ALL.into_iter().find(|placement| placement.as_str() == name);
    let mut busy = Busy::new(10, placement.unwrap_or_default());
    bencher.bench_local(|| {
        let request = busy.arrive();
        busy.tell(Event::Aborted { request });
    });
}

#[divan::bench(args = SIZES)]
fn load_report(bencher: Bencher<'_, '_>, endpoints: u32) {
    let mut busy = Busy::new(endpoints, Placement::Pointsman);
    bencher.bench_local(|| {
        let report = busy.report();
        busy.tell(Event::Load { endpoint: EndpointId(endpoints / 2), report });
    });
}

#[divan::bench(args = SIZES)]
fn progress(bencher: Bencher<'_, '_>, endpoints: u32) {
    let mut busy = Busy::new(endpoints, Placement::Pointsman);
    let mut output_tokens = 1;
    bencher.bench_local(|| {
        busy.now = busy.now + Duration::from_millis(100);
        output_tokens += 10;
        busy.tell(Event::Progress { request: RequestId(0), output_tokens });
    });
}

/// A sheddable request arrives where every endpoint is saturated.
#[divan::bench(args = SIZES)]
fn shed(bencher: Bencher<'_, '_>, endpoints: u32) {
    let mut busy = Busy::new(endpoints, Placement::Pointsman);
    let report = LoadReport { waiting: Some(100), kv_use: Some(0.99), ..busy.report() };
    for endpoint in (0..endpoints).map(EndpointId) {
        busy.tell(Event::Load { endpoint, report: report.clone() });
    }
    bencher.bench_local(|| {
        let request = RequestId(busy.next);
        busy.next += 1;
        let facts = RequestFacts { priority: -1, prompt_tokens: 500, ..RequestFacts::unknown(POOL) };
        busy.tell(Event::Arrived { request, facts });
        black_box(&busy.effects);
    });
}

/// A request is placed, fails and is placed again.
#[divan::bench(args = SIZES)]
fn fail_and_retry(bencher: Bencher<'_, '_>, endpoints: u32) {
    let mut busy = Busy::new(endpoints, Placement::Pointsman);
    bencher.bench_local(|| {
        let request = busy.arrive();
        let Some(Effect::Dispatch { endpoint, .. }) = busy.effects.first() else { return };
        let (endpoint, cause) = (*endpoint, FailureCause::Lost);
        busy.tell(Event::AttemptFailed { request, endpoint, cause, retry: true });
        busy.tell(Event::Aborted { request });
    });
}

/// The longest of the steps in which a snapshot is taken, of as many endpoints each as the fleet reads under its lock.
#[divan::bench(args = SIZES)]
fn snapshot_step(bencher: Bencher<'_, '_>, endpoints: u32) {
    let busy = Busy::new(endpoints, Placement::Pointsman);
    let mut steps = SnapshotInSteps::default();
    bencher.bench_local(|| {
        if steps.is_complete() {
            steps = SnapshotInSteps::default();
        }
        busy.pool.snapshot_step(busy.now, &mut steps, 128);
    });
}
