"""The event log of a gateway, replayed by the build that wrote it and by another build."""

import concurrent.futures
import filecmp
import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from conftest import BINARY, ROOT, TIMEOUT, fault, run

# The same sources in cargo's development profile: without optimizations, with overflow checks.
OTHER_BINARY = os.environ.get("POINTSMAN_OTHER_BUILD", str(ROOT / "target/debug/pointsman"))


def replay(log: Path, binary: str = BINARY) -> tuple[int, dict]:
    done = subprocess.run([binary, "replay", str(log), "--json"], capture_output=True, text=True, timeout=120)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def ask(url: str, number: int) -> None:
    """One request of a mix: conversations with common prefixes, with and without streaming, some cancelled."""
    cancelled = number % 34 == 0
    system = f"You answer for team {number % 5}. " * 60
    messages = [{"role": "system", "content": system}, {"role": "user", "content": f"Question {number}?"}]
    body = {
        "model": ("llama", "lora")[number % 4 == 0],
        "messages": messages,
        "max_tokens": 2000 if cancelled else 1200 if number % 20 == 0 else 1 + number % 40,
        "ignore_eos": True,
        "stream": number % 2 == 0,
        "stream_options": {"include_usage": True} if number % 2 == 0 else None,
        "cache_salt": f"tenant {number % 3}",
    }
    with httpx.Client(timeout=TIMEOUT) as client:
        with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
            for _ in response.iter_raw():
                if cancelled:
                    return


@pytest.fixture
def log(engine, gateway, tmp_path) -> Path:
    """The event log of a gateway under load, with injected faults and one engine that stops."""
    engines = [
        engine("--speed", "5", "--allow-faults", "--adapter", "lora", "--seed", str(seed)) for seed in range(4)
    ]
    path = tmp_path / "events.jsonl"
    endpoints = [word for server in engines for word in ("--endpoint", server.url)]
    front = gateway("--record", str(path), *endpoints)
    with concurrent.futures.ThreadPoolExecutor(24) as threads:
        first = [threads.submit(ask, front.url, number) for number in range(300)]
        fault(engines[0], "status,code=503,count=5")
        fault(engines[1], "reset,after-tokens=3,count=5")
        concurrent.futures.wait(first)
        second = [threads.submit(ask, front.url, number) for number in range(300, 600)]
        engines[3].stop()
        concurrent.futures.wait(second)
    assert front.stop() == 0
    return path


def test_two_builds_replay_a_live_run_with_the_same_decisions(log):
    status, report = replay(log)
    assert (status, report["identical"], report["cut_off"]) == (0, True, False), report
    [scheduler] = report["schedulers"]
    assert scheduler["decisions"] >= 600 and not scheduler["gap"] and scheduler["divergence"] is None
    assert replay(log, OTHER_BINARY) == (0, report)
    assert not filecmp.cmp(OTHER_BINARY, BINARY, shallow=False), "two builds"

    lines = log.read_text().splitlines(keepends=True)
    arrivals = [line for line in lines if '"Arrived"' in line]
    assert sum('"blocks":[]' not in line for line in arrivals) >= 600, "prompts are hashed"
    for kind in ("FirstToken", "Progress", "AttemptFailed", "ClientGone", "Load", "EndpointUp"):
        assert any(kind in line for line in lines), f"nothing of {kind}"
    assert not any("team" in line or "Question" in line or "tenant" in line for line in lines)

    # One changed dispatch, near the end.
    at = max(number for number, line in enumerate(lines) if '"Dispatch"' in line)
    changed = json.loads(lines[at])
    dispatch = next(effect["Dispatch"] for effect in changed["effects"] if "Dispatch" in effect)
    dispatch["endpoint"] = (dispatch["endpoint"] + 1) % 4
    log.write_text("".join([*lines[:at], json.dumps(changed, separators=(",", ":")) + "\n", *lines[at + 1 :]]))
    status, report = replay(log)
    assert (status, report["identical"]) == (1, False)
    assert report["schedulers"][0]["divergence"]["line"] == at
    told = run("replay", str(log))
    assert told.returncode == 1 and f"{log}:{at}: event " in told.stdout, told.stdout

    # A gap marker: the gateway writes it when its log writer cannot keep up.
    log.write_text("".join(lines[:200]) + '{"scheduler":0,"gap":true}\n')
    status, report = replay(log)
    assert status == 1 and report["schedulers"][0]["gap"] and report["schedulers"][0]["divergence"] is None
    assert "gap" in run("replay", str(log)).stdout

    # A truncated line: the gateway was killed while it wrote.
    log.write_text("".join(lines[:200]) + lines[200][:20])
    status, report = replay(log)
    assert (status, report["identical"], report["cut_off"]) == (0, True, True)
    assert f"{log}:201: the log ends within this line" in run("replay", str(log)).stdout


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "not an event log"),
        (b"kind: InferencePool\n", "line 1: not a line of an event log"),
        (b'{"scheduler":0,"seq":1,"now":5,"event":"Timer"}\n', "line 1: scheduler 0 has no header"),
        (b'{"scheduler":0,"format":99,"build":"9.0","seed":1,"decisions":false}\n', "line 1: the log is in format 99"),
        (b"\x1f\x8b\x08\x00\n", "line 1: not a line of an event log"),
    ],
)
def test_files_that_are_no_event_log_are_refused_with_the_line(tmp_path, text, complaint):
    path = tmp_path / "foreign.jsonl"
    path.write_bytes(text)
    done = run("replay", str(path))
    assert done.returncode == 1 and done.stdout == ""
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert str(path) in line and complaint in line, line
    missing = run("replay", str(tmp_path / "none"))
    assert missing.returncode == 1 and missing.stderr.count("No such file") == 1, missing.stderr
