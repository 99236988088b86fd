"""Starts engines, a picker and a real Envoy in front of them."""

import importlib.util
import subprocess
from pathlib import Path

import envoy
import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("shared", ROOT / "tests/python/conftest.py")
shared = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(shared)

ENVOY = Path(envoy.__file__).parent / "_bin/envoy"
start = shared.start
engine = shared.engine

# What the picker is in each of Envoy's ways to hand over bodies.
MODES = {"full_duplex": [], "buffered": ["--envoy-buffered"]}


class Picker(shared.Server):
    """`pointsman epp`; it can be started again on the same ports."""

    def __init__(self, source: list[str], *more: str, ports: tuple[int, int, int] = (0, 0, 0)):
        names = ("--grpc-port", "--grpc-health-port", "--metrics-port")
        places = [word for name, port in zip(names, ports) for word in (name, str(port))]
        super().__init__("epp", "--bind", "127.0.0.1", *places, *source, *more)
        find = lambda what: int(self.ready_line.split(what)[1].split(",")[0].rsplit(":", 1)[1])
        self.ports = (find("ext_proc on "), find("health on "), find("admin on "))

    @property
    def admin(self) -> str:
        return self.urls[0]

    def pools(self) -> dict:
        return httpx.get(f"{self.admin}/debug/pools").json()

    def log(self) -> str:
        """What it has said until it is ended, which this does."""
        self.process.terminate()
        return self.process.communicate(timeout=shared.TIMEOUT)[1]

    def in_flight(self) -> float:
        return shared.total(self.metrics(), "pointsman_endpoint_in_flight")

    def outcomes(self, outcome: str) -> float:
        return shared.total(self.metrics(), "pointsman_requests_total", outcome=outcome)


# A cluster that connects to the one address in the header, as Envoy AI Gateway, llm-d and many hand-written set-ups have.
ORIGINAL_DST = """  - name: engines
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 2s
    original_dst_lb_config: {use_http_header: true, http_header_name: x-gateway-destination-endpoint}
"""


def original_dst(bootstrap: str) -> str:
    """The bootstrap with such a cluster of engines, and without what hand-written set-ups do not have."""
    start, end = bootstrap.index("  - name: engines\n"), bootstrap.index("  - name: pointsman\n    type: STATIC\n")
    changed = bootstrap[:start] + ORIGINAL_DST + bootstrap[end:]
    return "".join(line for line in changed.splitlines(True) if "response_attributes" not in line)


class Envoy:
    def __init__(self, bootstrap: str, folder: Path):
        folder.mkdir(exist_ok=True)
        (folder / "envoy.yaml").write_text(bootstrap)
        address, log = folder / "admin.txt", (folder / "envoy.log").open("w")
        address.unlink(missing_ok=True)  # Of an Envoy before this one.
        command = [ENVOY, "-c", folder / "envoy.yaml", "--concurrency", "1", "-l", "warning"]
        command += ["--admin-address-path", address, "--use-dynamic-base-id"]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        read = lambda: address.exists() and address.read_text()
        self.admin = "http://" + shared.eventually(read, "Envoy says where its admin pages are")
        shared.eventually(self.is_ready, f"Envoy is ready, see {folder}/envoy.log")
        listeners = self.get("/listeners?format=json").json()["listener_statuses"]
        place = listeners[0]["local_address"]["socket_address"]
        self.url = f"http://{place['address']}:{place['port_value']}"

    def is_ready(self) -> bool:
        try:
            return self.get("/ready").status_code == 200
        except httpx.TransportError:
            return False  # It says where its admin pages are before they are there.

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.admin + path)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(shared.TIMEOUT)


class Front:
    """Envoy with the picker behind it. `source` is where the picker knows its pool from, if not from `endpoints`;
    `edits` change the bootstrap, and may depend on the picker."""

    def __init__(
        self, endpoints: list[str], folder: Path, *, source=(), envoy_arguments=(), picker_arguments=(), edits=()
    ):
        self.source = [*source, *(word for url in endpoints for word in ("--endpoint", url))]
        self.more = list(picker_arguments)
        # Tests count tokens and tell a client that left from one that is done, unless they choose otherwise.
        bodies = [] if "--response-bodies" in envoy_arguments else ["--response-bodies", "usage"]
        self.picker = Picker(self.source, *self.more)
        printed = shared.run(
            "epp", "--print-envoy-config", "--bind", "127.0.0.1", "--envoy-listen", "127.0.0.1:0",
            "--envoy-admin", "127.0.0.1:0", "--grpc-port", str(self.picker.ports[0]),
            *self.source, *self.more, *envoy_arguments, *bodies,
        )
        assert printed.returncode == 0, printed.stderr
        bootstrap = printed.stdout
        for edit in edits(self.picker) if callable(edits) else edits:
            if callable(edit):
                bootstrap = edit(bootstrap)
                continue
            before, after = edit
            assert before in bootstrap, before
            bootstrap = bootstrap.replace(before, after)
        self.bootstrap, self.folder = bootstrap, folder
        self.start_envoy()

    def start_envoy(self) -> None:
        self.envoy = Envoy(self.bootstrap, self.folder)
        self.url = self.envoy.url

    def ask(self, headers=None, **more) -> httpx.Response:
        body = {"model": "llama", "prompt": "hello", "max_tokens": 4, **more}
        url = f"{self.url}/v1/completions"
        return httpx.post(url, json=body, headers=headers, timeout=shared.TIMEOUT)

    def restart_picker(self) -> None:
        self.picker = Picker(self.source, *self.more, ports=self.picker.ports)

    def stop(self) -> None:
        self.envoy.stop()
        self.picker.stop()


@pytest.fixture
def front(tmp_path):
    """Starts fronts that end with the test."""
    fronts: list[Front] = []

    def start_front(endpoints: list[str], **options) -> Front:
        fronts.append(Front(endpoints, tmp_path / f"envoy{len(fronts)}", **options))
        return fronts[-1]

    yield start_front
    for one in reversed(fronts):
        one.stop()


@pytest.fixture(params=MODES)
def mode(request) -> str:
    return request.param


@pytest.fixture
def engines(engine):
    return [engine("--speed", "20", "--allow-faults", "--seed", str(seed)) for seed in range(3)]


@pytest.fixture
def three(engines, front, mode):
    """Three engines behind Envoy, in each mode."""
    return front([one.url for one in engines], envoy_arguments=MODES[mode])
