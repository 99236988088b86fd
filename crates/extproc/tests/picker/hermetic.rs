//! The cases of the extension's hermetic tests (`test/integration/epp`, v0.3.0 and v1.0.0), rewritten: engines with given
//! load, a request, and the expected endpoint.
//!
//! Differences from the extension's expectations:
//!
//! | The extension | Here | Why |
//! |---|---|---|
//! | keys of a rewritten body in alphabetical order | the client's bytes, but for the model's name | nothing is parsed into a tree |
//! | every request header set again in the answer | only what changes | repeated fields such as cookies stay whole |
//! | `x-went-into-resp-headers` on responses | absent | a leftover of debugging |
//! | `content-length` set in full duplex | set in buffered mode only | Envoy drops it in full duplex |
//! | 500 without pods (v1.0) | 503 `no_ready_endpoint` | as later versions answer |
//! | a body-less request goes to any pod (v0.3, v1.0) | to one of its subset | proposal 004 knows no exception |
//! | errors as plain text | the shape of the client's API, and `x-pointsman-reason` | clients read it |
//! | an undeclared model is 404 (v0.3) | 404 where the pool says `undeclaredModels: reject` | declaring is optional |

use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pointsman_config::{Limits, SourceText, read_picker_config};
use tokio::net::TcpListener;

use crate::running::*;

const V0_3: &str = "---
apiVersion: pointsman.dev/v1alpha1
kind: PoolPolicy
metadata: {name: policy}
spec:
  poolRef: {name: pool}
  placement: filter-tree
  undeclaredModels: reject
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: sample}
spec:
  modelName: my-model
  criticality: Critical
  poolRef: {name: pool}
  targetModels: [{name: my-model-12345, weight: 100}]
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: lora}
spec:
  modelName: sql-lora
  criticality: Critical
  poolRef: {name: pool}
  targetModels: [{name: sql-lora-1fdg2, weight: 100}]
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: sheddable}
spec:
  modelName: sql-lora-sheddable
  criticality: Sheddable
  poolRef: {name: pool}
  targetModels: [{name: sql-lora-1fdg3, weight: 100}]
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: direct}
spec:
  modelName: direct-model
  criticality: Critical
  poolRef: {name: pool}
";

/// An engine's gauges: waiting requests, KV use, resident adapters.
type Gauges = (u32, f64, &'static str);

/// Serves a metrics page; returns the port.
async fn engine((waiting, kv_use, adapters): Gauges) -> u16 {
    let page = format!(
        "vllm:num_requests_waiting{{model_name=\"base\"}} {waiting}
vllm:num_requests_running{{model_name=\"base\"}} 1
vllm:kv_cache_usage_perc{{model_name=\"base\"}} {kv_use}
vllm:lora_requests_info{{max_lora=\"2\",running_lora_adapters=\"{adapters}\",waiting_lora_adapters=\"\"}} 1
"
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let page = page.clone();
            let service = service_fn(move |_| {
                let response = http::Response::builder().header("content-type", "text/plain");
                let response = response.body(Full::<bytes::Bytes>::from(page.clone()));
                async move { response }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

/// A picker that has scraped all its engines.
async fn picker(manifests: &str, engines: &[Gauges]) -> (Running, Vec<u16>) {
    configured(manifests, None, engines).await
}

/// The same with an EndpointPickerConfig.
async fn configured(manifests: &str, config: Option<&str>, engines: &[Gauges]) -> (Running, Vec<u16>) {
    let mut ports = Vec::new();
    for gauges in engines {
        ports.push(engine(*gauges).await);
    }
    let mut world = world_of(&format!("{POOL}{manifests}"), &ports);
    if let Some(config) = config {
        let source = SourceText::new("config.yaml", config);
        let (config, _) = read_picker_config(&source, &Limits::default()).unwrap();
        config.apply(&mut world.pools[0].policy);
    }
    let picker = Running::start(world).await;
    let read = |page: &str| {
        page.lines().filter(|line| line.starts_with("pointsman_endpoint_kv_cache_utilization{")).count()
    };
    while read(&picker.page()) < engines.len() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    (picker, ports)
}

/// The engine that a request goes to, by its index, or the status of the refusal; and the forwarded body.
async fn send(picker: &Running, ports: &[u16], model: &str, pieces: usize) -> (Result<usize, i32>, String) {
    let body = format!(r#"{{"max_tokens":100,"model":"{model}","prompt":"test","temperature":0}}"#);
    let mut call = picker.client().await.process().await;
    call.send(&post());
    let length = body.len().div_ceil(pieces);
    for (at, piece) in (1..).zip(body.as_bytes().chunks(length)) {
        call.send(&part(std::str::from_utf8(piece).unwrap(), at == pieces));
    }
    let said = call.next().await.unwrap();
    match destination(&said) {
        Some(address) => {
            let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
            let sent = bytes(&call.next().await.unwrap());
            let engine = ports.iter().position(|known| *known == port).unwrap();
            (Ok(engine), String::from_utf8(sent.to_vec()).unwrap())
        }
        None => (Err(refused(&said).unwrap().0), String::new()),
    }
}

struct Case {
    engines: &'static [Gauges],
    model: &'static str,
    /// The chunks of the body.
    pieces: usize,
    /// The engine, or the status of the refusal.
    expected: Result<usize, i32>,
    /// The model that the engine is asked for.
    target: &'static str,
}

async fn check(case: Case) {
    let (picker, ports) = picker(V0_3, case.engines).await;
    let (went, body) = send(&picker, &ports, case.model, case.pieces).await;
    assert_eq!(went, case.expected, "{}", case.model);
    if went.is_ok() {
        let target = case.target;
        let expected = format!(r#"{{"max_tokens":100,"model":"{target}","prompt":"test","temperature":0}}"#);
        assert_eq!(body, expected);
    }
    picker.settle().await;
}

#[tokio::test]
async fn the_lowest_queue_and_kv_use_win() {
    check(Case {
        engines: &[(3, 0.2, ""), (0, 0.1, ""), (10, 0.2, "")],
        model: "my-model",
        pieces: 1,
        expected: Ok(1),
        target: "my-model-12345",
    })
    .await;
}

#[tokio::test]
async fn the_engine_that_holds_the_adapter_wins() {
    check(Case {
        engines: &[(0, 0.2, "foo,bar"), (0, 0.1, "foo,sql-lora-1fdg2"), (10, 0.2, "foo,bar")],
        model: "sql-lora",
        pieces: 1,
        expected: Ok(1),
        target: "sql-lora-1fdg2",
    })
    .await;
}

#[tokio::test]
async fn an_adapter_does_not_outweigh_a_very_long_queue() {
    check(Case {
        engines: &[(10, 0.2, "foo,bar"), (200, 0.1, "foo,sql-lora-1fdg2"), (6, 0.2, "foo")],
        model: "sql-lora",
        pieces: 1,
        expected: Ok(2),
        target: "sql-lora-1fdg2",
    })
    .await;
}

const FULL: &[Gauges] =
    &[(6, 0.2, "foo,bar,sql-lora-1fdg3"), (0, 0.85, "foo,sql-lora-1fdg3"), (10, 0.9, "foo,sql-lora-1fdg3")];
const ROOM: &[Gauges] =
    &[(4, 0.2, "foo,bar,sql-lora-1fdg3"), (0, 0.85, "foo,sql-lora-1fdg3"), (10, 0.9, "foo,sql-lora-1fdg3")];

#[tokio::test]
async fn a_sheddable_request_is_shed_where_all_engines_exceed_the_thresholds() {
    check(Case { engines: FULL, model: "sql-lora-sheddable", pieces: 1, expected: Err(429), target: "" })
        .await;
}

#[tokio::test]
async fn a_sheddable_request_goes_to_the_one_engine_with_capacity() {
    for pieces in [1, 3] {
        check(Case {
            engines: ROOM,
            model: "sql-lora-sheddable",
            pieces,
            expected: Ok(0),
            target: "sql-lora-1fdg3",
        })
        .await;
    }
}

#[tokio::test]
async fn a_model_without_targets_keeps_its_name() {
    for pieces in [1, 2] {
        check(Case {
            engines: &[(4, 0.2, "foo"), (0, 0.1, "foo"), (10, 0.9, "foo")],
            model: "direct-model",
            pieces,
            expected: Ok(1),
            target: "direct-model",
        })
        .await;
    }
}

#[tokio::test]
async fn an_undeclared_model_is_not_found() {
    check(Case { engines: ROOM, model: "stranger", pieces: 1, expected: Err(404), target: "" }).await;
}

/// The scorers of v1.0's own tests.
const V1_0: &str = "
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: lora-affinity-scorer
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: queue-scorer, weight: 1}
  - {pluginRef: kv-cache-utilization-scorer, weight: 1}
  - {pluginRef: prefix-cache-scorer, weight: 1}
  - {pluginRef: lora-affinity-scorer, weight: 1}
";

/// v1.0: low queue and KV use win; a resident adapter wins over them, and over a fuller cache; nothing is shed.
#[tokio::test]
async fn the_scorers_of_an_endpoint_picker_config_decide() {
    let cases: [(&[Gauges], &str, usize); 4] = [
        (&[(3, 0.2, ""), (0, 0.1, ""), (10, 0.2, "")], "my-model", 1),
        (&[(0, 0.2, "foo,bar"), (0, 0.1, "foo,sql-lora-1fdg2"), (10, 0.2, "foo,bar")], "sql-lora-1fdg2", 1),
        (&[(10, 0.2, "foo,bar"), (10, 0.4, "foo,sql-lora-1fdg2"), (10, 0.3, "foo,bar")], "sql-lora-1fdg2", 1),
        (&[(6, 0.2, "foo,bar,sql-lora-1fdg3"), (0, 0.85, "foo"), (10, 0.9, "foo")], "sql-lora-1fdg3", 0),
    ];
    for (engines, model, expected) in cases {
        let (picker, ports) = configured("", Some(V1_0), engines).await;
        for _ in 0..3 {
            // Each prompt is the same, so that after the first one the winner has its prefix, too.
            assert_eq!(send(&picker, &ports, model, 2).await.0, Ok(expected), "{model} {engines:?}");
        }
        picker.settle().await;
    }
}

/// v1.0: no model is declared, and nothing is shed by default.
#[tokio::test]
async fn nothing_is_shed_by_default() {
    let (picker, ports) = picker("", FULL).await;
    let (went, body) = send(&picker, &ports, "sql-lora-sheddable", 1).await;
    assert!(went.is_ok(), "{went:?}");
    assert!(body.contains(r#""model":"sql-lora-sheddable""#), "{body}");
}

/// v1.0: the engine with the shortest queue and the least KV use.
#[tokio::test]
async fn the_default_placement_prefers_the_idle_engine() {
    let (picker, ports) = picker("", &[(30, 0.9, ""), (0, 0.1, ""), (30, 0.9, "")]).await;
    assert_eq!(send(&picker, &ports, "my-model", 1).await.0, Ok(1));
}

/// v1.0: the subset holds all engines, some, or none.
#[tokio::test]
async fn the_subset_limits_the_candidates() {
    let (picker, ports) = picker("", &[(0, 0.1, ""), (0, 0.1, ""), (0, 0.1, "")]).await;
    let address = |at: usize| format!("127.0.0.1:{}", ports[at]);
    let cases = [
        (vec![address(0), address(1), address(2)], vec![0, 1, 2]),
        (vec![address(2)], vec![2]),
        (vec!["127.0.0.1:1".to_owned()], vec![]),
    ];
    let mut client = picker.client().await;
    for (subset, allowed) in cases {
        let subset: Vec<&str> = subset.iter().map(String::as_str).collect();
        for request in [post(), get("/v1/models")] {
            let mut call = client.process().await;
            call.send(&within(request, &subset));
            call.send(&ask(r#"{"model":"m","prompt":"test"}"#));
            let said = call.next().await.unwrap();
            match destination(&said) {
                Some(went) => assert!(allowed.iter().any(|at| address(*at) == went), "{went}"),
                None => assert_eq!((refused(&said).unwrap().0, allowed.len()), (503, 0)),
            }
        }
    }
}

/// Both versions: complete responses, in chunks, with an empty last chunk, as event streams, and not JSON.
#[tokio::test]
async fn responses_pass_and_their_usage_is_counted() {
    let (picker, _) = picker(V0_3, &[(0, 0.1, "")]).await;
    let usage = r#""usage":{"prompt_tokens":7,"total_tokens":17,"completion_tokens":10}"#;
    let whole = format!(r#"{{"id":"c","choices":[],{usage}}}"#);
    let event = "data: {\"choices\":[{\"index\":0,\"text\":\"NEVER\",\"finish_reason\":null}]}\n\n";
    let last = format!(
        "data: {{\"choices\":[{{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}}]}}\n\n\
         data: {{\"choices\":[],{usage}}}\n\ndata: [DONE]\n\n"
    );
    let answers: [(&str, Vec<(&str, bool)>); 5] = [
        ("application/json", vec![(&whole, true)]),
        ("application/json", vec![(&whole[..20], false), (&whole[20..], true)]),
        ("application/json", vec![(&whole, false), ("", true)]),
        ("text/event-stream", vec![(event, false), (&last, false), ("", true)]),
        ("application/json", vec![("no healthy upstream", true)]),
    ];
    let mut client = picker.client().await;
    for (kind, pieces) in answers {
        let mut call = client.process().await;
        call.send(&post());
        call.send(&ask(r#"{"model":"direct-model","prompt":"test"}"#));
        call.take(2).await;
        call.send(&answer("200", kind, false));
        call.take(1).await;
        for (piece, end) in pieces {
            call.send(&answer_part(piece, end));
            assert_eq!(bytes(&call.next().await.unwrap()), piece);
        }
    }
    let page = picker.page();
    let sum = r#"inference_model_input_tokens_sum{model_name="direct-model",target_model_name="direct-model",pool="default/pool"} 28.0"#;
    assert!(page.contains(sum), "{page}");
}
