"""Engines that crash, hang and report errors under load."""

import concurrent.futures
import signal
import time

import httpx
import pytest

from conftest import eventually, fault, sse, total

CHAT = {"model": "llama", "messages": [{"role": "user", "content": "go"}], "max_tokens": 4}


def ask(front, **fields) -> httpx.Response:
    return httpx.post(f"{front.url}/v1/chat/completions", json={**CHAT, **fields}, timeout=120)


def load(front, requests: int, **fields):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(ask, front, **fields) for _ in range(requests)]
        yield
        for future in futures:
            future.result()


def test_a_killed_engine_loses_no_request_before_its_first_byte(three):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(ask, three) for _ in range(200)]
        eventually(lambda: sum(f.done() for f in futures) > 40, "load under way")
        three.engines[0].process.kill()
        statuses = [future.result().status_code for future in futures]
    assert statuses == [200] * 200
    eventually(lambda: total(three.metrics(), "inference_model_running_requests") == 0, "no request in flight")


def test_an_engine_that_comes_back_is_used_again(three, engine):
    address = three.engines[0].url.removeprefix("http://")
    three.engines[0].process.kill()
    for _ in range(20):
        assert ask(three).status_code == 200
    back = engine("--speed", "20", listen=address)

    def served():
        ask(three)
        return total(back.metrics(), "vllm:request_success_total") > 0

    eventually(served, "the restarted engine serves")


def test_without_any_engine_requests_fail_with_the_reason(three):
    for server in three.engines:
        server.process.kill()
    statuses = {(a.status_code, a.headers["x-pointsman-reason"]) for a in (ask(three) for _ in range(10))}
    assert statuses <= {(502, "connect"), (502, "lost"), (503, "no_ready_endpoint")}


def test_streams_of_a_killed_engine_end_with_one_error_event(three):
    def stream():
        events = []
        try:
            with httpx.stream("POST", f"{three.url}/v1/chat/completions", timeout=120,
                              json={**CHAT, "max_tokens": 8_000, "stream": True, "ignore_eos": True}) as response:
                for line in response.iter_lines():
                    if line.startswith("data:"):
                        events.append(line)
        except httpx.RemoteProtocolError:
            return events, "broken"
        return events, "clean"

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(stream) for _ in range(6)]
        running = lambda: [total(e.metrics(), "vllm:num_requests_running") for e in three.engines]
        eventually(lambda: sum(running()) == 6, "six streams run")
        for server in three.engines:
            server.process.kill()
        for future in futures:
            events, end = future.result()
            assert end == "broken"
            assert '"error"' in events[-1] and not any("[DONE]" in event for event in events)
    eventually(lambda: total(three.metrics(), "inference_model_running_requests") == 0, "no request in flight")


@pytest.mark.parametrize("name", ["error-event", "abort", "truncate"])
def test_a_stream_that_fails_in_the_middle_is_not_counted_as_success(three, name):
    for server in three.engines:
        fault(server, f"{name},count=1")
    try:
        answer = ask(three, stream=True, max_tokens=50, ignore_eos=True)
        assert answer.status_code in (200, 502)
    except httpx.RemoteProtocolError:
        pass
    failed = lambda: total(three.metrics(), "inference_model_request_error_total")
    eventually(lambda: failed() >= 1, "the failure is counted")


def test_a_503_is_retried_on_another_engine(three):
    fault(three.engines[0], "status,code=503,count=1000")
    assert [ask(three).status_code for _ in range(20)] == [200] * 20


def test_a_stopped_engine_is_ejected_and_readmitted(three):
    """SIGSTOP: connections stay open without responses. The endpoint is ejected within 40 s."""
    three.engines[0].signal(signal.SIGSTOP)
    deadline = time.monotonic() + 90
    ejected = lambda: [
        endpoint for pool in three.pools()["pools"] for endpoint in pool["endpoints"]
        if "Ejected" in str(endpoint["health"])
    ]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(ask, three, stream=True) for _ in range(8)]
        while not ejected() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(ejected()) == 1
        assert all(future.result().status_code == 200 for future in futures), "retried on the others"
    three.engines[0].signal(signal.SIGCONT)
    eventually(lambda: ask(three).status_code == 200 and not ejected(), "a trial request readmits it")
    eventually(lambda: total(three.metrics(), "inference_model_running_requests") == 0, "no request in flight")


def test_sigterm_lets_streams_finish_and_exits_zero(three):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, three, stream=True, max_tokens=6_000, ignore_eos=True)
        eventually(lambda: total(three.metrics(), "inference_model_running_requests") == 1, "a stream runs")
        three.signal(signal.SIGTERM)
        eventually(lambda: httpx.get(f"{three.admin}/readyz").status_code == 503, "readiness fails first")
        assert ask(three).status_code == 200, "load balancers take a while to notice"
        assert sse(future.result())[-1] == "[DONE]"
    assert three.ended() == 0
