"""The demo: Pointsman serves the same arrivals with lower latency than a Kubernetes Service."""

import json

from conftest import run

MEASURES = ("ttft_ms", "tpot_ms", "ntpot_ms", "e2e_ms")
LEVELS = ("p50", "p90", "p99")
# Twelve intervals of 95 % are read per run, and some of the differences are close to zero: one run in several finds
# one of them significant by chance. A difference counts where each of three runs with seeds of their own finds it.
SEEDS = (1, 2, 3)


def worse_measures(seed: int) -> set[str]:
    """Measures by which one run finds Pointsman worse than the Service."""
    done = run("demo", "--exit", "--json", "--seed", str(seed), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert done.returncode == 0, done.stderr
    runs = {entry["name"]: entry for entry in json.loads(done.stdout)["runs"]}
    assert set(runs) == {"kubernetes-service", "pointsman"}
    service, ours = runs["kubernetes-service"], runs["pointsman"]
    assert ours["errors"] == service["errors"] == 0
    worse = set()
    for measure in MEASURES:
        for level in LEVELS:
            value = ours[measure][level]
            assert value is None or value > 0
            low, high = ours["interval95"].get(f"{measure}.{level}", (0, 0))
            assert low <= high
            # The confidence interval of Pointsman minus Service: entirely above zero is significantly worse.
            if low > 0:
                worse.add(f"{measure}.{level}: {low}..{high}")
    if ours["e2e_ms"]["p90"] >= service["e2e_ms"]["p90"]:
        worse.add("e2e_ms.p90 is not lower")
    return worse


def test_the_demo_is_no_worse_anywhere_and_better_at_the_tail():
    found = []
    for seed in SEEDS:
        found.append(worse_measures(seed))
        confirmed = set.intersection(*({line.partition(":")[0] for line in worse} for worse in found))
        if not confirmed:
            return
    raise AssertionError(f"worse in each run: {sorted(confirmed)}: {found}")
