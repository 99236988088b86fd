"""Experiments in virtual time: output, reports, and state files of interrupted sweeps."""

import json
import os
import re
import signal
import subprocess
import time

import httpx
import pytest

from conftest import BINARY, ROOT, TIMEOUT, run

SMALL = """\
fleet:
  - {profile: llama-2-7b-h100, count: 3}
workload: {lengths: sharegpt}
placements: [kubernetes-service, pointsman]
rates: [20, 40]
seeds: 3
duration: 20s
"""


@pytest.fixture
def small(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    return str(file)


def rows(*arguments):
    done = run("simulate", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["rows"]


def test_rows_have_the_documented_fields(small):
    found = rows(small)
    assert [(row["policy"], row["rate"]) for row in found] == [
        ("kubernetes-service", 20), ("pointsman", 20), ("kubernetes-service", 40), ("pointsman", 40),
    ]
    for row in found:
        assert row["seeds"] == 3 and row["rejected"] == 0 and row["hit_rate"] is None
        assert row["offered_rps"] > 0 and row["completed_rps"] > 0
        for measure in ("ttft_ms", "tpot_ms", "ntpot_ms", "e2e_ms"):
            quantiles = row[measure]
            assert 0 < quantiles["p50"] <= quantiles["p90"] <= quantiles["p99"]
        assert isinstance(row["interval95"], dict)
    # Confidence intervals are over seeds; they need six of them.
    low, high = rows(small, "--seeds", "8", "--rate", "20", "--placement", "pointsman")[0]["interval95"]["e2e_ms.p90"]
    assert 0 < low <= high


def test_the_readme_shows_what_the_command_prints():
    readme = (ROOT / "README.md").read_text()
    [shown] = re.findall(r"```text\n(250/s offered\n.*?)```", readme, re.DOTALL)
    placements = "kubernetes-service,least-request,pointsman"
    done = run("simulate", str(ROOT / "experiments/slow-replica.yaml"), "--placement", placements, "--rate", "200,250")
    assert shown in done.stdout, done.stdout


def test_output_does_not_depend_on_the_number_of_threads(small):
    one = run("simulate", small, "--threads", "1").stdout
    assert one == run("simulate", small, "--threads", "7").stdout
    assert "pointsman" in one and "kubernetes-service" in one


def test_placements_rates_and_seeds_are_chosen_on_the_command_line(small):
    chosen = rows(small, "--placement", "random,least-request", "--rate", "30", "--seeds", "2")
    assert [(row["policy"], row["rate"], row["seeds"]) for row in chosen] == [
        ("random", 30, 2), ("least-request", 30, 2),
    ]
    one = rows(small, "--placement", "pointsman", "--rate", "20", "--seed", "2")
    assert [row["seeds"] for row in one] == [1]


def test_the_knee_is_searched_between_the_rates(small):
    done = run("simulate", small, "--rate", "20,200", "--seeds", "1", "--placement", "pointsman", "--knee", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [row["rate"] for row in result["rows"]] == [20, 200], "rates of the search are no rows"
    (knee,) = result["knees"]
    assert 20 < knee["stable"] < knee["unstable"] <= 1.02 * knee["stable"] < 200


def test_the_error_for_an_unknown_placement_lists_the_known_ones(small):
    done = run("simulate", small, "--placement", "best")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    for name in ("best", "pointsman", "kubernetes-service", "filter-tree", "llm-d-blend", "two-choices"):
        assert name in done.stderr


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf"])
def test_an_invalid_rate_is_refused(small, rate):
    done = run("simulate", small, f"--rate={rate}")
    assert done.returncode == 1 and "--rate" in done.stderr and "above 0" in done.stderr


def test_all_errors_of_a_file_are_reported_at_once_with_line_and_fix(tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text("fleet: []\nworkload: {lengths: shakespeare}\nrates: [0]\ncolour: red\nduration: -1s\n")
    done = run("simulate", str(file))
    assert done.returncode == 1 and done.stdout == ""
    for line, word in ((1, "fleet"), (2, "lengths"), (3, "rates"), (4, "colour"), (5, "duration")):
        assert any(f"wrong.yaml:{line}:" in text and word in text for text in done.stderr.splitlines()), done.stderr
    assert done.stderr.count("fix:") == len(done.stderr.splitlines())


def test_a_missing_file_is_an_error_of_one_line(tmp_path):
    done = run("simulate", str(tmp_path / "none.yaml"))
    assert done.returncode == 1 and done.stderr.count("No such file") == 1
    assert len(done.stderr.splitlines()) == 1 and "none.yaml" in done.stderr


def test_explain_format_names_every_field():
    text = run("simulate", "--explain-format").stdout
    for field in ("fleet", "workload", "information", "placements", "rates", "seeds", "warmUp"):
        assert f"`{field}`" in text


def test_a_report_is_a_folder_or_a_page(small, tmp_path):
    done = run("simulate", small, "--report", str(tmp_path / "folder"))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "folder/index.html").read_text()
    assert "<svg" in page and "http-equiv" not in page and "<script" not in page
    assert list((tmp_path / "folder/plots").glob("*.svg"))
    assert json.loads((tmp_path / "folder/rows.json").read_text())["rows"]
    done = run("simulate", small, "--report", str(tmp_path / "page.html"))
    assert done.returncode == 0 and "<svg" in (tmp_path / "page.html").read_text()


def interrupted(folder, *arguments, state):
    """Starts a sweep of several minutes and interrupts it once it has saved a run."""
    process = subprocess.Popen(
        [BINARY, "simulate", *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and (not state.exists() or len(state.read_text().splitlines()) < 2):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    return process.returncode, out, err


def test_an_interrupted_sweep_is_resumed(tmp_path):
    (tmp_path / "long.yaml").write_text(SMALL.replace("seeds: 3", "seeds: 200").replace("20s", "200s"))
    state = tmp_path / "kept.jsonl"
    status, out, err = interrupted(tmp_path, "long.yaml", "--state", "kept.jsonl", state=state)
    assert status == 130
    assert "kubernetes-service" in out or "pointsman" in out, "the table so far"
    assert "of 800 runs" in err and "--resume" in err and "kept.jsonl" in err, err
    before = state.read_text().splitlines()
    # Two seeds: finished runs are not repeated.
    done = run("simulate", "long.yaml", "--state", "kept.jsonl", "--resume", "--seeds", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert state.read_text().splitlines()[: len(before)] == before
    fresh = run("simulate", "long.yaml", "--seeds", "2", cwd=tmp_path)
    assert done.stdout == fresh.stdout


def test_the_state_of_another_experiment_is_not_resumed(small, tmp_path):
    assert run("simulate", small, "--report", str(tmp_path / "out"), "--seeds", "1").returncode == 0
    with open(small, "a") as file:
        file.write("# changed\n")
    done = run("simulate", small, "--report", str(tmp_path / "out"), "--seeds", "1", "--resume")
    assert done.returncode == 1 and "another experiment" in done.stderr
    done = run("simulate", small, "--state", str(tmp_path / "nothing"), "--resume")
    assert done.returncode == 1 and "--resume" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_fitted_profile_can_be_used(tmp_path):
    lines = ["prompt_tokens,sequences,context_tokens,step_seconds"]
    for sequences in (1, 8, 64, 128, 256):
        lines.append(f"0,{sequences},{sequences * 400},{0.006 + sequences * 30e-6}")
    for prompt in (64, 128, 512, 1024, 2048):
        lines.append(f"{prompt},0,0,{0.006 + prompt * 20e-6}")
    (tmp_path / "steps.csv").write_text("\n".join(lines))
    done = run("simulate", "fit", str(tmp_path / "steps.csv"), "--name", "mine", "--like", "llama-2-7b-h100")
    assert done.returncode == 0, done.stderr
    profile = json.loads(done.stdout)
    assert profile["name"] == "mine" and profile["blocks"] == 7400
    assert "10 times" in done.stderr and "largest error" in done.stderr
    (tmp_path / "mine.json").write_text(done.stdout)
    experiment = SMALL.replace("llama-2-7b-h100", "mine") + "profiles: {mine: {file: mine.json}}\n"
    (tmp_path / "own.yaml").write_text(experiment)
    assert rows(str(tmp_path / "own.yaml"), "--seeds", "1")
    (tmp_path / "bad.csv").write_text("\n".join([*lines, "0,x,1,1", "1,2"]))
    done = run("simulate", "fit", str(tmp_path / "bad.csv"))
    assert done.returncode == 1 and done.stdout == ""
    assert "line 12: sequences" in done.stderr and "line 13: 2 values for 4 columns" in done.stderr


def test_the_event_log_of_a_gateway_is_a_workload(start, engine, tmp_path):
    engines = [engine("--speed", "20", "--profile", "tiny") for _ in range(2)]
    endpoints = [word for server in engines for word in ("--endpoint", server.url)]
    log = tmp_path / "events.jsonl"
    gateway = start(
        "gateway", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--record", str(log), *endpoints
    )
    for number in range(30):
        body = {"model": "llama", "prompt": f"Tell me about {number}. " * 20, "max_tokens": 8, "stream": number % 2 == 0}
        httpx.post(f"{gateway.url}/v1/completions", json=body).raise_for_status()
    assert gateway.stop() == 0
    (tmp_path / "again.yaml").write_text(
        "fleet: [{profile: tiny, count: 2}]\n"
        "workload: {trace: {format: event-log, file: events.jsonl}}\n"
        "placements: [round-robin, pointsman]\nseeds: 2\nduration: 60s\nwarmUp: 0s\n"
    )
    found = rows(str(tmp_path / "again.yaml"))
    assert [row["policy"] for row in found] == ["round-robin", "pointsman"]
    assert all(row["completed"] == row["offered"] > 0 for row in found), found


def test_every_shipped_experiment_runs():
    folder = ROOT / "experiments"
    files = sorted([*folder.glob("*.yaml"), *(folder / "found").glob("*.yaml")])
    assert files
    for file in files:
        if os.stat(file).st_size:
            done = run("simulate", str(file), "--placement", "pointsman", "--seeds", "1", "--rate", "5", "--json")
            assert done.returncode == 0, f"{file}: {done.stderr}"
