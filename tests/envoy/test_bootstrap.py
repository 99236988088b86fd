"""Every bootstrap that is printed is one that Envoy accepts."""

import subprocess

import pytest
from conftest import ENVOY, ROOT, shared

# As in `crates/cli/tests/picker.rs`, whose other rows are refused.
ENDPOINTS = {
    "address": ["http://127.0.0.1:1"],
    "host name": ["http://localhost:1"],
    "IPv6": ["http://[::1]:1"],
    "HTTP/2": ["h2c://127.0.0.1:1"],
    "HTTPS": ["https://127.0.0.1:1"],
    "HTTPS by name": ["HTTPS://gpu-1.local", "https://gpu-2.local:8443"],
    "twice": ["http://127.0.0.1:1", "http://127.0.0.1:1/"],
    "of each kind": ["http://127.0.0.1:1", "http://localhost:2", "http://[::1]:3"],
}
OPTIONS = {
    "buffered": ["--envoy-buffered"],
    "no bodies": ["--response-bodies", "never"],
    "all bodies": ["--response-bodies", "usage"],
    "no sample": ["--sample", "0"],
    "plaintext": ["--secure-serving=false"],
    "fail open": ["--envoy-fail-open"],
    "IPv6": ["--bind", "::1", "--envoy-listen", "[::1]:8080", "--envoy-admin", "[::]:9901"],
}


def validate(folder, *arguments: str) -> None:
    printed = shared.run("epp", "--print-envoy-config", *arguments)
    assert printed.returncode == 0, printed.stderr
    (folder / "envoy.yaml").write_text(printed.stdout)
    command = [ENVOY, "--mode", "validate", "-l", "error", "-c", folder / "envoy.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=shared.TIMEOUT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("urls", ENDPOINTS.values(), ids=ENDPOINTS.keys())
def test_endpoints(tmp_path, urls):
    validate(tmp_path, *(word for url in urls for word in ("--endpoint", url)))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_options(tmp_path, options):
    validate(tmp_path, "--endpoint", "http://127.0.0.1:1", *options)


def test_engines_whose_certificates_are_not_verified(tmp_path):
    validate(tmp_path, "--endpoint", "https://127.0.0.1:1", "--engine-insecure-skip-verify")


@pytest.mark.parametrize("options", [[], ["--envoy-buffered"]])
def test_long_bodies_and_a_pool_without_endpoints(tmp_path, options):
    (tmp_path / "all.yaml").write_text("""
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: p}
spec:
  selector: {matchLabels: {app: p}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: p, port: {number: 9002}}
---
apiVersion: pointsman.dev/v1alpha1
kind: GatewayPolicy
metadata: {name: limits}
spec: {maxBodyBytes: 8Gi, maxHeldBytes: 8Gi}
""")
    validate(tmp_path, "--manifests", str(tmp_path), *options)


@pytest.mark.parametrize("example", ["canary", "quick"])
def test_examples(tmp_path, example):
    validate(tmp_path, "--manifests", str(ROOT / "examples" / example))
