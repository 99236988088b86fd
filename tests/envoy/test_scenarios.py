"""What users met with other pickers, each as they told it."""

import asyncio
import json
import threading

import echo
import httpx
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
    # Those that cut connections before they have read anything: Envoy repeats at the picker's next choice.
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
        server.delay = 3.0
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(one.ask().status_code)) for _ in range(requests)]
    for thread in threads:
        thread.start()
    # Before the first one ends.
    shared.eventually(lambda: sum(server.requests for server in servers) == requests, "all are there")
    shares = [server.requests for server in servers]
    for thread in threads:
        thread.join()
    assert answers == [200] * requests
    assert max(shares) - min(shares) <= 1, shares


def test_a_reply_with_a_length_arrives_whole(servers, front, mode):
    one = front(urls(servers), envoy_arguments=MODES[mode])
    for server in servers:
        server.content_type = "text/event-stream"
    response = one.ask(prompt="x" * 100_000)
    assert int(response.headers["content-length"]) == len(response.content) if "content-length" in response.headers else True
    assert json.loads(json.loads(response.text)["body"])["prompt"] == "x" * 100_000


def test_prompts_are_nowhere_and_forged_headers_mean_nothing(servers, front):
    untrusting = ["--trust-request-headers=false", "--log", "trace"]
    one = front(urls(servers), picker_arguments=untrusting)
    forged = {
        "x-gateway-inference-fairness-id": f"tenant-{SECRET}",
        "x-gateway-inference-objective": f"urgent-{SECRET}",
        "x-gateway-destination-endpoint": "192.0.2.1:1",
        "x-gateway-destination-endpoint-subset": "192.0.2.1:1",
    }
    for _ in range(5):
        assert one.ask(prompt=SECRET, headers=forged).status_code == 200
    assert httpx.post(f"{one.url}/v1/completions", content=f'{{"prompt": "{SECRET}", ').status_code == 400
    pages = [httpx.get(f"{one.picker.admin}{path}").text for path in ("/metrics", "/debug/pools")]
    assert all(SECRET not in page for page in pages)
    assert SECRET not in one.picker.log()


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
