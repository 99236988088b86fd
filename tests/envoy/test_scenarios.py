"""What users met with other pickers, each as they told it."""

import asyncio
import concurrent.futures
import json
import threading

import duplicate
import echo
import grpc
import httpx
import otlp
import pytest
from conftest import MODES, shared

SECRET = "MARKER-7f3a-SECRET"


@pytest.fixture
def servers():
    started = [echo.serve() for _ in range(4)]
    yield started
    for server in started:
        server.shutdown()


def urls(servers) -> list[str]:
    return [server.url for server in servers]


def test_hundreds_of_slow_streams_do_not_overflow(engine, front):
    slow = [engine("--speed", "2", "--seed", str(seed)) for seed in range(2)]
    one = front([server.url for server in slow])
    body = {"model": "llama", "prompt": "hello", "max_tokens": 20, "ignore_eos": True, "stream": True}

    async def ask(client) -> int:
        response = await client.post(f"{one.url}/v1/completions", json=body)
        assert shared.sse(response)[-1] == "[DONE]"
        return response.status_code

    async def all_at_once():
        # More than Envoy's default of 1,024 pending and concurrent requests.
        limits = httpx.Limits(max_connections=1_500, max_keepalive_connections=0)
        async with httpx.AsyncClient(limits=limits, timeout=300) as client:
            return await asyncio.gather(*(ask(client) for _ in range(1_200)))

    assert set(asyncio.run(all_at_once())) == {200}
    shared.eventually(lambda: one.picker.in_flight() == 0, "all are counted out")
    overflow = one.envoy.get("/stats?filter=overflow").text.splitlines()
    assert all(line.endswith(": 0") for line in overflow if "overflow" in line), overflow


def test_a_long_body_arrives_once_and_unchanged(servers, front, mode):
    one = front(urls(servers), envoy_arguments=MODES[mode])
    body = json.dumps({"model": "llama", "prompt": "0123456789" * 120_000})

    def chunks():
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000].encode()

    for content in (body, chunks()):
        headers = {"content-type": "application/json"}
        response = httpx.post(f"{one.url}/v1/completions", content=content, headers=headers, timeout=60)
        assert response.status_code == 200
        assert response.json()["body"] == body


def test_a_repeated_request_carries_its_body_once(servers, front, mode):
    one = front(urls(servers), envoy_arguments=MODES[mode])
    body = {"model": "llama", "prompt": "0123456789" * 1_000}
    assert httpx.post(f"{one.url}/v1/completions", json=body).status_code == 200
    # Those that cut connections before they have read anything. Half of the pool is ejected, and no prompt stays with the
    # third that fails.
    for server in servers[:3]:
        server.cuts = True
    for _ in range(20):
        response = httpx.post(f"{one.url}/v1/completions", json=body, timeout=60)
        if response.status_code == 200:
            assert json.loads(response.json()["body"]) == body
    assert servers[3].requests > 0
    shared.eventually(lambda: one.picker.in_flight() == 0, "all are counted out")


@pytest.mark.parametrize("requests", [100])
def test_equal_servers_get_equal_shares_of_a_burst(servers, front, requests):
    """All at once, the prompt cached everywhere: nothing but what was just sent can tell the servers apart."""
    one = front(urls(servers))
    for server in servers:
        server.gate.clear()
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(one.ask().status_code)) for _ in range(requests)]
    for thread in threads:
        thread.start()
    # Before the first one ends, however long a busy machine takes to send all.
    shared.eventually(lambda: sum(server.requests for server in servers) == requests, "all are there")
    shares = [server.requests for server in servers]
    for server in servers:
        server.gate.set()
    for thread in threads:
        thread.join()
    assert answers == [200] * requests
    assert max(shares) - min(shares) <= 1, shares


def test_a_body_whose_last_piece_comes_twice_is_forwarded_once(servers, front):
    wires = []

    def between(picker):
        wires.append(duplicate.Wire(picker.ports[0]))
        return [(f"port_value: {picker.ports[0]}", f"port_value: {wires[0].port}")]

    one = front(urls(servers), picker_arguments=["--secure-serving=false"], edits=between)
    body = json.dumps({"model": "llama", "prompt": "0123456789" * 120_000})
    for _ in range(5):
        headers = {"content-type": "application/json"}
        response = httpx.post(f"{one.url}/v1/completions", content=body, headers=headers, timeout=60)
        assert response.status_code == 200
        assert response.json()["body"] == body
    assert len(wires[0].doubled) == 5 and min(wires[0].doubled) > 1_000, wires[0].doubled
    shared.eventually(lambda: one.picker.outcomes("complete") == 5 and one.picker.in_flight() == 0, "all are counted")
    wires[0].close()


@pytest.mark.parametrize("length", ["exact", "none"])
def test_an_event_stream_with_or_without_a_length_arrives_whole(servers, front, mode, length):
    one = front(urls(servers), envoy_arguments=MODES[mode])
    for server in servers:
        server.content_type, server.has_length = "text/event-stream", length == "exact"
    response = one.ask(prompt="x" * 100_000)
    assert response.status_code == 200
    assert json.loads(json.loads(response.text)["body"])["prompt"] == "x" * 100_000
    # Whoever says a length has to keep to it.
    assert response.headers.get("content-length", str(len(response.content))) == str(len(response.content))


def greet(request: bytes, context) -> bytes:
    context.set_trailing_metadata([("x-tokens", "7")])
    if request == b"nobody":
        context.abort(grpc.StatusCode.NOT_FOUND, "there is nobody")
    return b"hello " + request


def count(request: bytes, context):
    for number in range(3):
        yield request + str(number).encode()
    if request == b"broken":
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")


@pytest.fixture
def grpc_server():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    methods = {
        "Greet": grpc.unary_unary_rpc_method_handler(greet),
        "Count": grpc.unary_stream_rpc_method_handler(count),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("inference.Service", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


GRPC_POOL = """
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: grpc}
spec:
  selector: {matchLabels: {app: grpc}}
  targetPorts: [{number: 8000}]
  appProtocol: kubernetes.io/h2c
  endpointPickerRef: {name: picker, port: {number: 9002}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: grpc, labels: {app: grpc}, annotations: {pointsman.dev/static-endpoints: "true"}}
addressType: IPv4
endpoints:
- addresses: ["127.0.0.1"]
ports:
- {name: grpc, port: PORT}
"""


@pytest.mark.parametrize("bodies", ["never", "usage"])
def test_grpc_keeps_its_status_and_its_trailers(front, tmp_path, grpc_server, mode, bodies):
    (tmp_path / "pool.yaml").write_text(GRPC_POOL.replace("PORT", str(grpc_server)))
    arguments = [*MODES[mode], "--response-bodies", bodies]
    one = front([], source=["--manifests", str(tmp_path)], envoy_arguments=arguments)
    with grpc.insecure_channel(one.url.removeprefix("http://")) as channel:
        call = channel.unary_unary("/inference.Service/Greet")
        answer, done = call.with_call(b"envoy", timeout=shared.TIMEOUT)
        assert answer == b"hello envoy"
        assert ("x-tokens", "7") in [tuple(field) for field in done.trailing_metadata()]
        with pytest.raises(grpc.RpcError) as refused:
            call(b"nobody", timeout=shared.TIMEOUT)
        assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.NOT_FOUND, "there is nobody")
        stream = channel.unary_stream("/inference.Service/Count")
        assert list(stream(b"n", timeout=shared.TIMEOUT)) == [b"n0", b"n1", b"n2"]
        broken, got = stream(b"broken", timeout=shared.TIMEOUT), []
        with pytest.raises(grpc.RpcError) as ended:
            got.extend(broken)
        assert (ended.value.code(), ended.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")
    shared.eventually(lambda: one.picker.in_flight() == 0, "all are counted out")


FORGED = {
    "x-gateway-inference-fairness-id": f"tenant-{SECRET}",
    "x-gateway-inference-objective": "urgent",
    "x-gateway-model-name-rewrite": f"other-{SECRET}",
    "x-gateway-destination-endpoint": "192.0.2.1:1",
    "x-gateway-destination-endpoint-subset": "192.0.2.1:1",
    "x-prefiller-host-port": "192.0.2.1:1",
}


@pytest.mark.parametrize("log", ["info", "trace"])
def test_prompts_are_nowhere_and_forged_headers_mean_nothing(front, tmp_path, log):
    server, collector = echo.serve(), otlp.collect()
    (tmp_path / "pool.yaml").write_text(OBJECTIVES.replace("PORT", str(server.server_port)))
    record = tmp_path / "events.jsonl"
    tracing = ["--otlp-endpoint", f"http://127.0.0.1:{collector.server_port}"]
    untrusting = ["--trust-request-headers=false", "--log", log, "--record", str(record), *tracing]
    one = front([], source=["--manifests", str(tmp_path)], picker_arguments=untrusting)
    for _ in range(5):
        response = one.ask(prompt=SECRET, headers=FORGED, user=SECRET)
        assert response.status_code == 200
        sent = {name.lower(): value for name, value in response.json()["headers"]}
        address = server.url.removeprefix("http://")
        assert sent.pop("x-gateway-destination-endpoint") == address, "the picker's, and no other"
        assert not set(FORGED) & set(sent), "the engine sees none of them"
    assert httpx.post(f"{one.url}/v1/completions", content=f'{{"prompt": "{SECRET}", ').status_code == 400
    shared.eventually(lambda: len(collector.spans) >= 6, "the spans are there")
    pages = [httpx.get(f"{one.picker.admin}{path}").text for path in ("/metrics", "/debug/pools")]
    told = [*pages, json.dumps(collector.spans), one.picker.log(), record.read_text()]
    assert [SECRET in text for text in told] == [False] * len(told)
    arrivals = [line for line in record.read_text().splitlines() if '"Arrived"' in line]
    assert len(arrivals) == 5 and all('"priority":0' in line for line in arrivals), arrivals[0]
    server.shutdown()
    collector.shutdown()


def test_a_trusted_objective_counts(front, tmp_path):
    """What the forged one of the test before would have done."""
    server = echo.serve()
    (tmp_path / "pool.yaml").write_text(OBJECTIVES.replace("PORT", str(server.server_port)))
    record = tmp_path / "events.jsonl"
    one = front([], source=["--manifests", str(tmp_path)], picker_arguments=["--record", str(record)])
    assert one.ask(headers={"x-gateway-inference-objective": "urgent"}).status_code == 200
    one.picker.stop()
    [arrival] = [line for line in record.read_text().splitlines() if '"Arrived"' in line]
    assert '"priority":7' in arrival
    server.shutdown()


OBJECTIVES = GRPC_POOL.replace("grpc", "llama").replace("  appProtocol: kubernetes.io/h2c\n", "") + """---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceObjective
metadata: {name: urgent}
spec:
  priority: 7
  poolRef: {name: llama}
"""


SECOND_ROUTE = """              routes:
              - match: {prefix: "/", headers: [{name: x-pool, string_match: {exact: second}}]}
                route: {cluster: engines2, timeout: 0s}
                typed_per_filter_config:
                  pointsman:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute
                    overrides: {grpc_service: {envoy_grpc: {cluster_name: pointsman2}}}
"""


def test_two_pools_on_one_envoy_do_not_depend_on_each_other(servers, front):
    other = front(urls(servers[2:]))
    clusters = other.bootstrap.split("  clusters:\n")[1]
    for name in ("engines", "pointsman"):
        clusters = clusters.replace(f"name: {name}\n", f"name: {name}2\n")
    edits = [("              routes:\n", SECOND_ROUTE), ("  clusters:\n", "  clusters:\n" + clusters)]
    one = front(urls(servers[:2]), edits=edits)
    second = {"x-pool": "second"}
    ask = lambda: (one.ask().status_code, one.ask(headers=second).status_code)
    assert [ask() for _ in range(5)] == [(200, 200)] * 5
    assert sum(server.requests for server in servers[2:]) == 5
    other.picker.stop()
    assert [ask() for _ in range(5)] == [(200, 500)] * 5
    assert sum(server.requests for server in servers[2:]) == 5, "no request goes past its picker"
    other.restart_picker()
    shared.eventually(lambda: ask() == (200, 200), "the second picks again")
