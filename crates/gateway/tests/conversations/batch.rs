//! Many conversations at the same time in one gateway.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pointsman_config::{AppProtocol, ClientTimeouts, Timeouts, World};
use pointsman_core::{ProbePace, RetryBudget};
use pointsman_fleet::{Fleet, MonitorSettings};
use pointsman_telemetry::Exposition;

use crate::client;
use crate::engine::Hosts;
use crate::judge::{Outcomes, judge, judge_plain};
use crate::outcomes;
use crate::record::{Record, Setting};
use crate::request::{MAX_BODY, host};
use crate::script::Conversation;
use crate::support::client::{ask, post};
use crate::support::{Running, endpoint, manifests};

/// Time in which an engine that is well again must be used: the longest back-off that a conversation can cause, and more.
const RECOVERY: Duration = Duration::from_secs(60);
/// Time that a conversation may take, whatever its client waits for.
const LONGEST: Duration = Duration::from_secs(120);
/// Time in which nothing may remain after the last client has gone: the body that is discarded longest, and more.
const QUIET: Duration = Duration::from_secs(20);

/// Faults, with the conversation that they are of, if it is known.
pub type Faults<'a> = Vec<(Option<&'a Conversation>, Vec<String>)>;

/// Serializes batches, which share the collection of log lines.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const fn timeouts() -> Timeouts {
    Timeouts {
        heartbeat: None,
        connect: Duration::from_millis(800),
        first_byte: Duration::from_millis(1_200),
        idle: Duration::from_millis(700),
        idle_limit: Duration::from_millis(1_200),
        keep_alive: Duration::from_millis(500),
    }
}

const fn client_timeouts() -> ClientTimeouts {
    ClientTimeouts {
        head: Duration::from_millis(800),
        body: Duration::from_millis(2_500),
        body_idle: Duration::from_millis(800),
        write: Duration::from_millis(1_000),
        keep_alive: Duration::from_millis(900),
    }
}

fn monitor() -> MonitorSettings {
    MonitorSettings {
        scrape_shortest: Duration::from_secs(10),
        scrape_longest: Duration::from_secs(20),
        probes: ProbePace { interval: Duration::from_millis(200), timeout: Duration::from_millis(400) },
        models_every: Duration::from_secs(60),
        ..MonitorSettings::default()
    }
}

/// One pool and one host name per conversation.
fn world(all: &[(&Conversation, Hosts)]) -> World {
    let mut text = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec: {gatewayClassName: pointsman, listeners: [{name: http, port: 8080, protocol: HTTP}]}
"
    .to_owned();
    for (conversation, _) in all {
        let seed = conversation.seed;
        let timeout = conversation.timeout.map_or(String::new(), |timeout| {
            format!("\n    timeouts: {{request: {}ms}}", timeout.as_millis())
        });
        let _ = write!(
            text,
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: s{seed}}}
spec:
  parentRefs: [{{name: g}}]
  hostnames: [{host}]
  rules:
  - backendRefs: [{{group: inference.networking.k8s.io, kind: InferencePool, name: s{seed}}}]{timeout}
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {{name: s{seed}}}
spec:
  selector: {{matchLabels: {{app: s{seed}}}}}
  targetPorts: [{{number: 8000}}]
  endpointPickerRef: {{name: unused, port: {{number: 9002}}}}
",
            host = host(seed)
        );
    }
    let mut world = manifests(&text);
    world.gateway.max_body_bytes = MAX_BODY as u64;
    world.gateway.client_timeouts = client_timeouts();
    for pool in &mut world.pools {
        let of_pool = |(conversation, _): &&(&Conversation, Hosts)| {
            *pool.name.name == *format!("s{}", conversation.seed)
        };
        let (conversation, hosts) = all.iter().find(of_pool).unwrap();
        let protocol = if conversation.h2c { AppProtocol::H2c } else { AppProtocol::Http };
        pool.endpoints = hosts.addresses.iter().map(|address| endpoint(*address, protocol)).collect();
        pool.timeouts = timeouts();
        pool.policy.retry_budget = RetryBudget { ratio: 1.0, min_per_second: 1_000, max_attempts: 3 };
    }
    world
}

/// Holds the conversations, all at the same time, and returns what was wrong.
pub async fn run_batch(all: &[Conversation]) -> Faults<'_> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let begun = Instant::now();
    outcomes::collect();
    let mut hosted = Vec::new();
    for conversation in all {
        hosted.push((conversation, Hosts::start(conversation).await));
    }
    let gateway = Running::start_with(world(&hosted), monitor()).await;
    let held = hosted.iter().map(|(conversation, hosts)| hold(conversation, hosts, &gateway));
    let lag = tokio::spawn(measure_lag());
    let records = join_all(held).await;

    let mut faults: Faults<'_> = Vec::new();
    let mut together = quiet(&gateway).await;
    lag.abort();
    let counted = counted(&gateway);
    for ((conversation, hosts), record) in hosted.iter().zip(&records) {
        let pool = format!("default/s{}", conversation.seed);
        let outcomes = counted.get(&pool).cloned().unwrap_or_default();
        let mut found = judge(conversation, record, &hosts.engines.seen.lock().unwrap(), &outcomes);
        if conversation.plain {
            let is_busy = LAG_MS.load(Ordering::Relaxed) > TOO_LATE;
            found.extend(judge_plain(record, conversation.requests().len(), &outcomes, is_busy).err());
        }
        found.append(&mut hosts.engines.faults.lock().unwrap());
        let lines = outcomes::lines(&pool);
        if lines != outcomes.total {
            found.push(format!("{lines} log lines for {} outcomes", outcomes.total));
        }
        if !found.is_empty() {
            faults.push((Some(conversation), found));
        }
    }
    if let Some(seconds) = crate::variable("FUZZ_VERBOSE").map(|_| begun.elapsed().as_secs_f64()) {
        eprintln!("{} conversations in {seconds:.1} s, lag {LAG_MS:?} ms", all.len());
    }
    if tokio::time::timeout(QUIET, gateway.stop()).await.is_err() {
        together.push("the gateway does not stop".into());
    }
    together.extend(outcomes::panics().into_iter().map(|place| format!("a panic at {place}")));
    if !together.is_empty() {
        faults.push((None, together));
    }
    faults
}

/// Holds one conversation, and asks its engines afterwards.
async fn hold(conversation: &Conversation, hosts: &Hosts, gateway: &Running) -> Record {
    let setting = Setting {
        address: gateway.address,
        record: Mutex::default(),
        reserved: Box::new(reserved(&gateway.fleet, hosts)),
    };
    if tokio::time::timeout(LONGEST, client::run(&conversation.client, &setting)).await.is_err() {
        setting.fault("the conversation has no end");
    }
    hosts.engines.recovered.store(true, Ordering::SeqCst);
    let text = post("/v1/chat/completions", r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#);
    let text = String::from_utf8(text).unwrap().replace("gateway.test", &host(conversation.seed));
    let begun = Instant::now();
    loop {
        setting.record().begun += 1;
        let reply =
            setting.patiently("the engines do not recover", ask(gateway.address, text.as_bytes())).await;
        let Some(reply) = reply else { break };
        if reply.status == 200 {
            break;
        }
        if begun.elapsed() > RECOVERY {
            setting.fault(format!("the engines do not recover: {} {}", reply.status, reply.text()));
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    setting.record.into_inner().unwrap()
}

/// The longest delay of a timer in the present batch, in milliseconds.
static LAG_MS: AtomicU64 = AtomicU64::new(0);
/// The delay at which the machine is too busy for the timeouts that conversations without a flaw are held to.
const TOO_LATE: u64 = 250;

async fn measure_lag() {
    LAG_MS.store(0, Ordering::Relaxed);
    loop {
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_millis(10)).await;
        LAG_MS.fetch_max(u64::try_from(begun.elapsed().as_millis()).unwrap_or_default(), Ordering::Relaxed);
    }
}

/// Counts what is reserved at a conversation's endpoints.
fn reserved(fleet: &Fleet, hosts: &Hosts) -> impl Fn() -> u32 + Send + Sync + use<> {
    let names: Vec<Arc<str>> = hosts.addresses.iter().map(|address| address.to_string().into()).collect();
    let fleet = fleet.clone();
    move || {
        let samples = fleet.endpoint_samples();
        samples.iter().filter(|sample| names.contains(&sample.endpoint)).map(|sample| sample.in_flight).sum()
    }
}

/// Waits until nothing remains of the conversations; says what does.
async fn quiet(gateway: &Running) -> Vec<String> {
    const GAUGES: [&str; 5] = [
        "pointsman_requests_in_flight ",
        "pointsman_held_body_bytes ",
        "pointsman_streams_in_flight{",
        "pointsman_client_connections ",
        "inference_objective_running_requests{",
    ];
    let end = Instant::now() + QUIET;
    loop {
        let mut left: Vec<String> = GAUGES
            .iter()
            .filter_map(|gauge| {
                let value = gateway.metric(gauge);
                (value > 0.0).then(|| format!("{gauge}is {value} after the last client has gone"))
            })
            .collect();
        if gateway.fleet.in_flight() > 0 {
            let samples = gateway.fleet.endpoint_samples();
            let busy: Vec<_> = samples.iter().filter(|sample| sample.in_flight > 0).collect();
            left.push(format!("load stays reserved: {busy:?}"));
        }
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Outcomes by pool, without the request after each conversation that was served.
fn counted(gateway: &Running) -> HashMap<String, Outcomes> {
    let mut counted: HashMap<String, Outcomes> = HashMap::new();
    let page = gateway.metrics.render(Exposition::negotiate(None));
    for line in page.lines().filter(|line| line.starts_with("pointsman_requests_total{")) {
        let label = |name: &str| Some(line.split_once(&format!("{name}=\""))?.1.split_once('"')?.0);
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok()).unwrap_or(0.0);
        let outcomes = counted.entry(label("pool").unwrap_or_default().to_owned()).or_default();
        outcomes.total += count as usize;
        if label("outcome") == Some("complete") {
            outcomes.complete += count as usize;
        } else if count > 0.0 {
            outcomes.others.push(line.to_owned());
        }
    }
    counted
}
