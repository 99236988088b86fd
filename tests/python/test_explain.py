"""Placement decisions of a live gateway, on the admin port and by `pointsman explain`."""

import httpx

from conftest import run

BODY = {"model": "llama", "prompt": "Why there? " * 50, "max_tokens": 2}


def test_a_request_is_explained_by_its_client_id_and_by_its_number(engine, gateway):
    engines = [engine("--seed", str(seed)) for seed in range(2)]
    endpoints = [word for server in engines for word in ("--endpoint", server.url)]
    front = gateway("--decisions", *endpoints)
    ids = {"x-request-id": "client-7"}
    assert httpx.post(f"{front.url}/v1/completions", json=BODY, headers=ids).status_code == 200
    page = httpx.get(f"{front.admin}/debug/decisions", params={"request": "client-7"}).json()
    [request] = page["requests"]
    [placement] = request["placements"]
    candidates = {candidate["endpoint"]: candidate for candidate in placement["candidates"]}
    assert set(candidates) == {server.url.removeprefix("http://") for server in engines}
    chosen = candidates[placement["endpoint"]]
    assert chosen["cost"] == min(candidate["cost"] for candidate in candidates.values())
    assert abs(sum(term["seconds"] for term in chosen["terms"]) - chosen["cost"]) < 1e-6
    assert "Why there" not in str(page)
    for wanted in ("client-7", str(request["request"])):
        done = run("explain", wanted, "--admin", front.admin)
        assert done.returncode == 0, done.stderr
        assert all(name in done.stdout for name in [*candidates, "client-7", "own-prefill", "cost"]), done.stdout
    missing = run("explain", "nobody", "--admin", front.admin)
    assert missing.returncode == 1 and "no decision of request nobody" in missing.stderr


def test_without_the_flag_nothing_is_recorded(engine, gateway):
    front = gateway("--endpoint", engine().url)
    assert httpx.post(f"{front.url}/v1/completions", json=BODY).status_code == 200
    assert httpx.get(f"{front.admin}/debug/decisions").status_code == 404
    done = run("explain", "1", "--admin", front.admin)
    assert done.returncode == 1 and "--decisions" in done.stderr
