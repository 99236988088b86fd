"""The gateway in front of two real vLLM servers: chat, streaming, prefix hits, adapters, aborts, crashes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import openai
import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))
from conftest import Server, eventually, read_metrics, total  # noqa: E402

CACHE = HERE.parents[1] / ".cache/vllm"
MESSAGES = [{"role": "user", "content": "Tell me about the points on a railway. " * 20}]
LONG = {"max_tokens": 3_000, "extra_body": {"ignore_eos": True}}


@pytest.fixture
def engines():
    """Two servers of three processes each, all forked from one."""
    environment = {**os.environ, "TINY_VLLM_HOME": str(CACHE)}
    process = subprocess.Popen(
        [HERE / "serve.sh", "--servers", "2", "--first-port", "18400"],
        stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )
    ready = [json.loads(process.stdout.readline()) for _ in range(3)][1:]
    yield ready
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def front(engines):
    endpoints = [word for engine in engines for word in ("--endpoint", engine["url"])]
    server = Server("gateway", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *endpoints)
    yield server
    server.stop()


@pytest.fixture
def client(front):
    return openai.OpenAI(base_url=f"{front.url}/v1", api_key="none", max_retries=0, timeout=120)


def running(engines) -> float:
    pages = [httpx.get(f"{engine['url']}/metrics").text for engine in engines]
    return sum(total(read_metrics(page), "vllm:num_requests_running") for page in pages)


def in_flight(front) -> float:
    return total(front.metrics(), "inference_model_running_requests")


def test_healthy_servers(engines, front, client):
    answer = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=8)
    assert answer.choices[0].message.content is not None
    chunks = list(client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_tokens=8, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage.completion_tokens > 0

    adapter = client.completions.create(model="tiny-lora-a", prompt="x", max_tokens=4)
    assert adapter.model == "tiny-lora-a"
    assert {"tiny", "tiny-lora-a"} <= {model.id for model in client.models.list()}

    stream = client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True, **LONG)
    next(iter(stream))
    assert running(engines) == 1
    stream.close()
    eventually(lambda: running(engines) == 0, "the engine frees the request")
    eventually(lambda: in_flight(front) == 0, "no request in flight")


def test_a_repeated_prompt_hits_the_prefix_cache(client):
    ask = lambda: client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=2)
    usages = [ask().usage for _ in range(6)]
    assert max(u.prompt_tokens_details.cached_tokens or 0 for u in usages) > 0


def processes_of(server_pid: int) -> list[int]:
    """The process of a server and its child processes."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(server_pid)], capture_output=True, text=True).stdout
    return [server_pid, *(int(pid) for pid in children.split())]


def is_up(url: str) -> bool:
    try:
        httpx.get(f"{url}/health", timeout=5)
    except httpx.TransportError:
        return False
    return True


@pytest.mark.parametrize("victim", [0, 1], ids=["api-server", "engine-core"])
def test_requests_of_a_killed_process_fail_and_are_counted(engines, front, client, victim):
    streams = [
        client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True, **LONG) for _ in range(4)
    ]
    readers = [iter(stream) for stream in streams]
    for reader in readers:
        next(reader)
    os.kill(processes_of(engines[0]["pid"])[victim], signal.SIGKILL)
    ends = []
    for reader in readers:
        try:
            last = None
            for last in reader:
                pass
            ends.append(last.choices[0].finish_reason if last.choices else "usage")
        except openai.APIError as error:
            ends.append(type(error).__name__)
        except httpx.RemoteProtocolError:
            ends.append("broken")
    assert "length" in ends, "the streams of the other server finish"
    assert any(end not in ("length", "stop") for end in ends), f"the streams of the killed server fail: {ends}"
    # Until it exits, a server whose engine core died answers 500, which the gateway forwards and does not retry.
    eventually(lambda: not is_up(engines[0]["url"]), "the killed server is down")
    for _ in range(10):
        assert client.completions.create(model="tiny", prompt="x", max_tokens=2).choices
    eventually(lambda: in_flight(front) == 0, "no request in flight")
