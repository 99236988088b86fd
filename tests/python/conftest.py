"""Starts and stops the built binary as a user does."""

import json
import os
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import httpx
import openai
import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("POINTSMAN", str(ROOT / "target/release/pointsman"))
# Limit in seconds of every wait. It is far above what is measured: tests assert outcomes, not their speed.
TIMEOUT = 60.0


class Server:
    """A running `pointsman` subcommand that serves."""

    def __init__(self, *arguments: str):
        self.process = subprocess.Popen(
            [BINARY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.ready_line = self._first_line()
        self.urls = re.findall(r"https?://[0-9.:\[\]]+", self.ready_line)

    def _first_line(self) -> str:
        ready, _, _ = select.select([self.process.stdout], [], [], TIMEOUT)
        line = self.process.stdout.readline() if ready else ""
        if "ready" not in line:
            self.process.kill()
            raise AssertionError(f"not ready: {line!r} {self.process.communicate()[1]}")
        return line.strip()

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def admin(self) -> str:
        return self.urls[1]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Sends SIGINT, which has no handover, and returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> int:
        """Waits for the exit and returns its status, without a second signal, which would end the drain."""
        try:
            self.process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        return self.process.returncode

    def metrics(self) -> dict[str, float]:
        """The series of the metrics page, keyed by name with labels."""
        base = self.admin if len(self.urls) > 1 else self.url
        return read_metrics(httpx.get(f"{base}/metrics").text)

    def pools(self) -> dict:
        return httpx.get(f"{self.admin}/debug/pools").json()


def read_metrics(page: str) -> dict[str, float]:
    series = {}
    for line in page.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            series[name] = float(value)
    return series


def total(series: dict[str, float], name: str, **labels: str) -> float:
    """The sum of all series of a family with these labels."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    matching = (
        value
        for key, value in series.items()
        if key.split("{")[0] == name and all(label in key for label in wanted)
    )
    return sum(matching)


def eventually(condition, what: str):
    """Waits until `condition()` is true and returns its value."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not true within {TIMEOUT:.0f} s: {what}")


@pytest.fixture
def start():
    """Starts servers, and stops them at the end of the test."""
    servers: list[Server] = []

    def start_one(*arguments: str) -> Server:
        servers.append(Server(*arguments))
        return servers[-1]

    yield start_one
    for server in reversed(servers):
        server.stop()


@pytest.fixture
def engine(start):
    def start_engine(*arguments: str, listen: str = "127.0.0.1:0", model: str = "llama") -> Server:
        return start("engine", "--listen", listen, "--model", model, *arguments)

    return start_engine


@pytest.fixture
def gateway(start):
    def start_gateway(*arguments: str) -> Server:
        return start("gateway", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *arguments)

    return start_gateway


@pytest.fixture
def three(engine, gateway):
    """A gateway in front of three engines."""
    engines = [engine("--speed", "20", "--allow-faults", "--seed", str(seed)) for seed in range(3)]
    endpoints = [word for server in engines for word in ("--endpoint", server.url)]
    front = gateway(*endpoints)
    front.engines = engines
    return front


@pytest.fixture
def client(three):
    return openai.OpenAI(base_url=f"{three.url}/v1", api_key="none", max_retries=0, timeout=TIMEOUT)


def fault(server: Server, injection: str) -> None:
    """Injects a fault into an engine, such as `status,code=503,count=2`."""
    response = httpx.post(f"{server.url}/fault", content=injection)
    assert response.status_code < 300, response.text


def sse(response: httpx.Response) -> list[str]:
    return [line[5:].strip() for line in response.text.splitlines() if line.startswith("data:")]


def run(*arguments: str, timeout: float = 120.0, cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=timeout, cwd=cwd)


__all__ = ["ROOT", "Server", "eventually", "fault", "json", "read_metrics", "run", "sse", "total"]
