"""`--config-file`: what an EndpointPickerConfig makes of the same engines and requests."""

import itertools
from pathlib import Path

import echo
import pytest
from conftest import shared

DEFAULTS = Path(__file__).parent / "configs/default-plugins.yaml"
LONG = "the same beginning of everything that is asked here " * 200
NUMBERS = itertools.count()


@pytest.fixture
def loads():
    """Three engines: a long queue, a full cache, and a little of both."""
    servers = [echo.serve() for _ in range(3)]
    yield servers
    for server in servers:
        server.shutdown()


def say(front, servers, loads: list[tuple[int, float]]) -> None:
    """Gives the servers these loads, and waits until the picker has read them."""
    for server, load in zip(servers, loads):
        server.waiting, server.kv_use = load

    def read():
        endpoints = front.picker.pools()["pools"][0]["endpoints"]
        by_address = {"http://" + one["address"]: one["reading"] or {} for one in endpoints}
        known = [by_address[server.url] for server in servers]
        return [(one.get("waiting"), one.get("kv_use")) for one in known] == loads

    shared.eventually(read, "the loads are read")


def chosen(front, servers, prompt: str) -> int:
    """Which server a prompt goes to."""
    before = [server.requests for server in servers]
    assert front.ask(prompt=prompt).status_code == 200
    return [server.requests - earlier for server, earlier in zip(servers, before)].index(1)


def unknown() -> str:
    """A prompt that nobody has cached."""
    return f"{next(NUMBERS)} is unlike the others"


# By queue and KV cache, 2 each, these score 1.8, 2.4 and 3.2; by the queue alone 0, 2 and 1.2. A prefix adds up to 3.
MIXED = [(5, 0.1), (0, 0.8), (2, 0.0)]


@pytest.mark.parametrize(("config", "expected"), [("default", 2), ("queue", 1)])
def test_scorers_weigh_as_the_file_says(front, loads, tmp_path, config, expected):
    file = DEFAULTS  # Unchanged.
    if config == "queue":
        file = tmp_path / "config.yaml"
        file.write_text(DEFAULTS.read_text().replace("kv-cache-utilization-scorer\n    weight: 2", "kv-cache-utilization-scorer\n    weight: 0"))
    one = front([server.url for server in loads], picker_arguments=["--config-file", str(file)])
    say(one, loads, MIXED)
    assert [chosen(one, loads, unknown()) for _ in range(5)] == [expected] * 5
    assert "llm-d-blend" in one.picker.pools()["pools"][0]["policy"]["placement"]


@pytest.mark.parametrize(("prefix_weight", "follows_prefix"), [(3, True), (0.1, False)])
def test_the_defaults_of_upstream_weigh_queue_cache_and_prefix(front, loads, tmp_path, prefix_weight, follows_prefix):
    config = tmp_path / "config.yaml"
    config.write_text(DEFAULTS.read_text().replace("weight: 3", f"weight: {prefix_weight}"))
    if prefix_weight == 3:
        config = DEFAULTS  # Unchanged.
    one = front([server.url for server in loads], picker_arguments=["--config-file", str(config)])
    say(one, loads, [(5, 0.9), (0, 0.0), (5, 0.9)])
    assert chosen(one, loads, LONG) == 1
    say(one, loads, MIXED)
    assert [chosen(one, loads, unknown()) for _ in range(5)] == [2] * 5
    assert chosen(one, loads, LONG) == (1 if follows_prefix else 2)
    assert "llm-d-blend" in one.picker.pools()["pools"][0]["policy"]["placement"]


def test_a_file_with_what_is_not_here_is_refused_by_its_path(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(DEFAULTS.read_text().replace("type: queue-scorer", "type: predicted-latency-producer"))
    refused = shared.run("epp", "--endpoint", "http://127.0.0.1:1", "--config-file", str(config))
    assert refused.returncode != 0
    assert 'plugins[0].type: "predicted-latency-producer" is not supported (fix: ' in refused.stderr
