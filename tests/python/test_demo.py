"""The demo: Pointsman serves the same arrivals with lower latency than a Kubernetes Service."""

import json

from conftest import run

MEASURES = ("ttft_ms", "tpot_ms", "ntpot_ms", "e2e_ms")
LEVELS = ("p50", "p90", "p99")


def test_the_demo_is_no_worse_anywhere_and_better_at_the_tail():
    done = run("demo", "--exit", "--json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert done.returncode == 0, done.stderr
    runs = {entry["name"]: entry for entry in json.loads(done.stdout)["runs"]}
    assert set(runs) == {"kubernetes-service", "pointsman"}
    service, ours = runs["kubernetes-service"], runs["pointsman"]
    assert ours["errors"] == service["errors"] == 0
    for measure in MEASURES:
        for level in LEVELS:
            value = ours[measure][level]
            assert value is None or value > 0
            low, high = ours["interval95"].get(f"{measure}.{level}", (0, 0))
            assert low <= high
            # The confidence interval of Pointsman minus Service: entirely above zero is significantly worse.
            assert low <= 0, f"{measure}.{level}: {low}..{high}"
    assert ours["e2e_ms"]["p90"] < service["e2e_ms"]["p90"]
