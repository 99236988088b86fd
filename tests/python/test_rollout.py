"""A canary: the split over target models is exact enough, and changes with the file, without a failed request."""

import concurrent.futures
import math
import textwrap
import time

import httpx

from conftest import eventually, total

REQUESTS = 2_000


def manifests(folder, engines, old: int, new: int) -> None:
    addresses = "\n".join(
        f"- addresses: [127.0.0.1]\n  conditions: {{ready: true}}" for _ in engines[:1]
    )
    ports = "\n".join(f"- {{name: engine-{i}, port: {e.url.rsplit(':', 1)[1]}}}" for i, e in enumerate(engines))
    text = textwrap.dedent("""\
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: inference}
        spec:
          gatewayClassName: pointsman
          listeners: [{name: http, port: 8080, protocol: HTTP}]
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: all}
        spec:
          parentRefs: [{name: inference}]
          rules:
          - backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: llama}]
        ---
        apiVersion: inference.networking.k8s.io/v1
        kind: InferencePool
        metadata: {name: llama}
        spec:
          selector: {matchLabels: {app: llama}}
          targetPorts: [{number: 8000}]
          endpointPickerRef: {name: pointsman, port: {number: 9002}}
        ---
        apiVersion: inference.networking.x-k8s.io/v1alpha2
        kind: InferenceModel
        metadata: {name: assistant, creationTimestamp: "2026-01-01T00:00:00Z"}
        spec:
          modelName: assistant
          criticality: Critical
          poolRef: {group: inference.networking.k8s.io, name: llama}
          targetModels: [{name: assistant-v1, weight: OLD}, {name: assistant-v2, weight: NEW}]
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata:
          name: llama
          labels: {app: llama}
          annotations: {pointsman.dev/static-endpoints: "true"}
        addressType: IPv4
        """)
    text = text.replace("OLD", str(old)).replace("NEW", str(new))
    part = folder / "all.yaml.part"
    part.write_text(f"{text}endpoints:\n{addresses}\nports:\n{ports}\n")
    part.rename(folder / "all.yaml")


def counts(engines) -> dict[str, float]:
    """Requests by target model, as counted by the engines."""
    names = ("assistant-v1", "assistant-v2")
    series = [engine.metrics() for engine in engines]
    return {name: sum(total(s, "pointsman_engine_requests_total", model=name) for s in series) for name in names}


def send(url: str, requests: int) -> list[int]:
    body = {"model": "assistant", "prompt": "x", "max_tokens": 1}
    with httpx.Client(limits=httpx.Limits(max_connections=16), timeout=60) as client:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            return list(pool.map(lambda _: client.post(f"{url}/v1/completions", json=body).status_code, range(requests)))


def within_three_sigma(share: float, p: float, n: int) -> bool:
    return abs(share - p) <= 3 * math.sqrt(p * (1 - p) / n)


def test_a_canary_and_its_change(engine, gateway, tmp_path):
    adapters = ("--adapter", "assistant-v1", "--adapter", "assistant-v2", "--speed", "50")
    engines = [engine(*adapters), engine(*adapters)]
    manifests(tmp_path, engines, 90, 10)
    front = gateway("--manifests", str(tmp_path))
    assert send(front.url, REQUESTS) == [200] * REQUESTS
    first = counts(engines)
    assert sum(first.values()) == REQUESTS
    assert within_three_sigma(first["assistant-v2"] / REQUESTS, 0.1, REQUESTS), first

    generation = lambda: total(front.metrics(), "pointsman_configuration_generation")
    before = generation()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        during = pool.submit(send, front.url, 500)
        manifests(tmp_path, engines, 50, 50)
        eventually(lambda: generation() > before, "the change is applied")
        assert during.result() == [200] * 500
    time.sleep(0.1)
    base = counts(engines)
    assert send(front.url, REQUESTS) == [200] * REQUESTS
    second = {name: value - base[name] for name, value in counts(engines).items()}
    assert within_three_sigma(second["assistant-v2"] / REQUESTS, 0.5, REQUESTS), second


def test_a_bad_change_keeps_the_last_good_one(engine, gateway, tmp_path):
    engines = [engine("--adapter", "assistant-v1", "--adapter", "assistant-v2", "--speed", "50")]
    manifests(tmp_path, engines, 1, 1)
    front = gateway("--manifests", str(tmp_path))
    (tmp_path / "broken.yaml").write_text("kind: HTTPRoute\napiVersion: gateway.networking.k8s.io/v1\nspecs: {}\n")
    eventually(lambda: "broken.yaml" in httpx.get(f"{front.admin}/readyz?verbose").text, "the error shows")
    assert send(front.url, 20) == [200] * 20
    (tmp_path / "broken.yaml").unlink()
    eventually(lambda: "broken.yaml" not in httpx.get(f"{front.admin}/readyz?verbose").text, "the error is gone")
