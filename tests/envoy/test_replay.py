"""A picker's event log, replayed by the build that wrote it and by another one."""

import concurrent.futures
import json
import os
import signal
import subprocess

import httpx
import pytest
from conftest import MODES, ROOT, shared

OTHER_BINARY = os.environ.get("POINTSMAN_OTHER_BUILD", str(ROOT / "target/debug/pointsman"))


def ask(url: str, number: int) -> None:
    """One request of a mix: common beginnings, streams and not, some given up, some refused."""
    given_up = number % 17 == 0
    body = {
        "model": "llama",
        "prompt": f"You answer for team {number % 5}. " * 60 + f"Question {number}?",
        "max_tokens": 2_000 if given_up else 1 + number % 40,
        "ignore_eos": True,
        "stream": given_up or number % 2 == 0,
    }
    if number % 23 == 0:
        del body["model"]
    with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=shared.TIMEOUT) as response:
        for _ in response.iter_raw():
            if given_up:
                return


def replay(log, binary: str = shared.BINARY) -> tuple[int, dict]:
    done = subprocess.run([binary, "replay", str(log), "--json"], capture_output=True, text=True, timeout=120)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_pickers_decisions_are_made_again_by_two_builds(engines, front, mode, tmp_path):
    log = tmp_path / "events.jsonl"
    urls = [engine.url for engine in engines]
    one = front(urls, envoy_arguments=MODES[mode], picker_arguments=["--record", str(log)])
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        first = [threads.submit(ask, one.url, number) for number in range(100)]
        concurrent.futures.wait(first)
        # Envoy goes on to the picker's next choice, and says who served.
        engines[0].signal(signal.SIGKILL)
        second = [threads.submit(ask, one.url, number) for number in range(100, 200)]
        concurrent.futures.wait(second)
    assert not [done.exception() for done in first if done.exception()]
    shared.eventually(lambda: one.picker.in_flight() == 0, "all are counted out")
    assert one.picker.stop() == 0

    status, report = replay(log)
    assert (status, report["identical"], report["cut_off"]) == (0, True, False), report
    [scheduler] = report["schedulers"]
    assert scheduler["decisions"] >= 190 and not scheduler["gap"]
    assert replay(log, OTHER_BINARY) == (0, report)
    text = log.read_text()
    kinds = {"Arrived", "ServedElsewhere", "Finished", "ClientGone", "Load", "FirstToken"}
    # Buffered bodies come whole, so no first token is seen.
    assert {kind for kind in kinds if kind in text} == kinds
    assert "team" not in text and "Question" not in text
