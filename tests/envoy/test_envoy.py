"""The picker behind a real Envoy."""

import signal

import echo
import httpx
import openai
import pytest
from conftest import MODES, original_dst, shared

eventually = shared.eventually


def idle(front) -> None:
    eventually(lambda: front.picker.in_flight() == 0, "nothing is in flight any more")


def test_the_openai_client_is_served_whole_and_in_a_stream(three):
    client = openai.OpenAI(base_url=f"{three.url}/v1", api_key="none", max_retries=0)
    ask = {"model": "llama", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
    whole = client.chat.completions.create(**ask)
    assert whole.usage.completion_tokens == 8
    events = list(client.chat.completions.create(**ask, stream=True))
    assert events[-1].choices[0].finish_reason == "length"
    assert [model.id for model in client.models.list()] == ["llama"]
    idle(three)
    eventually(lambda: three.picker.outcomes("complete") == 3, "all are complete")


def test_refusals_have_their_status_reason_and_shape(three):
    url = f"{three.url}/v1/completions"
    cases = [
        (httpx.post(url, content="{", headers={"content-type": "application/json"}), 400, "invalid_body"),
        (httpx.post(f"{three.url}/v1/load_lora_adapter", json={}), 404, "administration_path"),
        (httpx.get(f"{three.url}/v1/responses/resp_1"), 404, "unknown_response"),
    ]
    for response, status, reason in cases:
        assert (response.status_code, response.headers["x-pointsman-reason"]) == (status, reason)
        assert response.headers["content-type"] == "application/json"
        assert response.json()["error"]["code"] == reason


def test_a_long_prompt_passes(three):
    # More than an engine takes, so the answer is the engine's own.
    response = three.ask(prompt="word " * 200_000)
    assert response.status_code == 400 and "maximum context length" in response.text
    idle(three)


def test_a_client_that_leaves_is_counted_out(three):
    body = {"model": "llama", "prompt": "hello", "max_tokens": 5_000, "ignore_eos": True, "stream": True}
    with httpx.stream("POST", f"{three.url}/v1/completions", json=body, timeout=60) as response:
        lines = response.iter_lines()
        next(lines)
        assert three.picker.in_flight() == 1
    idle(three)
    eventually(lambda: three.picker.outcomes("client_gone") == 1, "the client is gone")


def test_a_client_cannot_choose_its_endpoint(three):
    headers = {"x-gateway-destination-endpoint": "127.0.0.1:1"}
    body = {"model": "llama", "prompt": "hello", "max_tokens": 1}
    for _ in range(5):
        assert httpx.post(f"{three.url}/v1/completions", json=body, headers=headers).status_code == 200


def test_control_headers_end_before_the_engine(front, mode):
    server = echo.serve()
    one = front([f"http://127.0.0.1:{server.server_port}"], envoy_arguments=MODES[mode])
    headers = [
        ("x-prefiller-host-port", "10.0.0.1:1"),
        ("x-gateway-inference-objective", "urgent"),
        ("x-gateway-destination-endpoint-subset", "10.0.0.1:1"),
        ("x-twice", "one"),
        ("x-twice", "two"),
    ]
    body = '{ "prompt" : "hello", "model":"llama" }'
    headers.append(("content-type", "application/json"))
    response = httpx.post(f"{one.url}/v1/completions", content=body, headers=headers)
    sent = response.json()
    names = [name.lower() for name, _ in sent["headers"]]
    for name in ("x-prefiller-host-port", "x-gateway-inference-objective", "x-gateway-destination-endpoint-subset"):
        assert name not in names
    assert sent["body"] == body
    twice = [value for name, value in sent["headers"] if name.lower() == "x-twice"]
    assert ",".join(twice).replace(" ", "") == "one,two"
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert ("content-length" in names) == (mode == "buffered")
    server.shutdown()


def test_an_engine_that_dies_between_pick_and_connect_costs_no_request(three, engines):
    assert three.ask().status_code == 200
    engines[0].process.send_signal(signal.SIGKILL)
    answers = [three.ask().status_code for _ in range(30)]
    assert answers == [200] * 30
    idle(three)


def test_no_engine_left_is_a_gateway_error_and_leaves_nothing_in_flight(three, engines):
    for one in engines:
        one.process.send_signal(signal.SIGKILL)
    statuses = {three.ask().status_code for _ in range(10)}
    assert statuses <= {502, 503}, statuses
    idle(three)


@pytest.mark.parametrize(("fail_open", "status"), [(False, 500), (True, 200)])
def test_a_picker_that_was_killed_comes_back(front, engines, mode, fail_open, status):
    arguments = MODES[mode] + (["--envoy-fail-open"] if fail_open else [])
    one = front([engine.url for engine in engines], envoy_arguments=arguments)
    assert one.ask().status_code == 200
    one.picker.process.send_signal(signal.SIGKILL)
    one.picker.process.wait()
    assert eventually(lambda: one.ask().status_code == status, f"Envoy answers {status} without the picker")
    one.restart_picker()
    eventually(lambda: one.ask().status_code == 200 and one.picker.outcomes("complete") > 0, "the picker picks again")


@pytest.mark.parametrize("bodies", ["never", "sample", "usage"])
def test_requests_are_counted_whichever_bodies_come(front, engines, bodies):
    arguments = ["--response-bodies", bodies, *(["--sample", "50"] if bodies == "sample" else [])]
    one = front([engine.url for engine in engines], envoy_arguments=arguments)
    for stream in [False, True] * 20:
        assert one.ask(stream=stream).status_code == 200
    idle(one)
    eventually(lambda: one.picker.outcomes("complete") == 40, "all are complete")
    usage = shared.total(one.picker.metrics(), "inference_model_output_tokens_count")
    assert {"never": usage == 0, "sample": 0 < usage < 40, "usage": usage == 40}[bodies], usage


def test_the_secured_port_is_reached_in_clear_text_only_where_that_is_said(front, engines):
    one = front([engine.url for engine in engines], picker_arguments=["--secure-serving=false"])
    assert one.ask().status_code == 200


def test_flags_of_the_extension_are_understood_or_refused():
    refused = shared.run("epp", "--endpoint", "http://127.0.0.1:1", "-haEnableLeaderElection=true")
    assert refused.returncode != 0 and "--ha-enable-leader-election=true is not supported" in refused.stderr
    printed = shared.run("epp", "--endpoint", "http://127.0.0.1:1", "-poolName=pointsman", "--print-envoy-config")
    assert printed.returncode == 0 and "override_host" in printed.stdout, printed.stderr
    assert "numerator: 5, denominator: HUNDRED" in printed.stdout, "a sample of response bodies is the default"


def test_engines_may_have_host_names(engines, front):
    """Envoy resolves the names, and the picker names the address at which it reached each engine."""
    one = front([engine.url.replace("127.0.0.1", "localhost") for engine in engines])
    reached = lambda: all(endpoint["reading"] for endpoint in one.picker.pools()["pools"][0]["endpoints"])
    shared.eventually(reached, "every engine is reached")
    assert {one.ask(prompt=f"number {number}").status_code for number in range(20)} == {200}
    served = one.envoy.get("/clusters").text
    picked = [int(line.rsplit("::", 1)[1]) for line in served.splitlines() if "::127.0.0.1:" in line and "rq_total" in line and "engines" in line]
    counted = [shared.total(one.picker.metrics(), "pointsman_endpoint_requests_total", endpoint=engine.url.split("//")[1].replace("127.0.0.1", "localhost")) for engine in engines]
    assert sorted(picked) == sorted(counted)


@pytest.fixture
def quiet():
    """Three servers that answer at once."""
    started = [echo.serve() for _ in range(3)]
    yield started
    for server in started:
        server.shutdown()


def test_a_cluster_that_reads_one_address_is_given_one(front, quiet):
    one = front([server.url for server in quiet], edits=[original_dst])
    assert {one.ask().status_code for _ in range(30)} == {200}
    assert min(server.requests for server in quiet) > 0, "they share the requests"
    assert shared.total(one.picker.metrics(), "pointsman_endpoint_ejections_total") == 0
    idle(one)


def test_what_envoy_answers_by_itself_ejects_no_engine(front, quiet):
    # A list, which such a cluster cannot read: Envoy answers 503 to each request.
    urls, always = [server.url for server in quiet], ["--destination-list"]
    one = front(urls, edits=[original_dst], picker_arguments=always)
    assert {one.ask().status_code for _ in range(30)} == {503}
    idle(one)
    metrics = one.picker.metrics()
    assert shared.total(metrics, "pointsman_endpoint_ejections_total") == 0
    assert shared.total(metrics, "pointsman_endpoint_failures_total") == 0
    assert shared.total(metrics, "inference_pool_ready_pods") == 3


def test_after_a_served_endpoint_was_reported_the_gateway_gets_fallbacks(front, quiet):
    for server in quiet:
        server.has_length = False  # So that no connection outlives the server.
    one = front([server.url for server in quiet])
    assert one.ask().status_code == 200
    quiet[0].shutdown()
    quiet[0].server_close()
    assert {one.ask().status_code for _ in range(20)} == {200}, "Envoy goes on to the next choice"
    down = lambda: shared.total(one.picker.metrics(), "inference_pool_ready_pods") == 2
    eventually(down, "the picker's own probes find the engine that is down")
    idle(one)
