"""Each API over plain HTTP, as sent by `curl`."""

import httpx
import pytest

from conftest import sse

CALLS = [
    ("/v1/completions", {"model": "llama", "prompt": "x", "max_tokens": 2}),
    ("/v1/completions", {"model": "llama", "prompt": [1, 2, 3], "max_tokens": 2}),
    ("/v1/chat/completions", {"model": "llama", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}),
    ("/v1/responses", {"model": "llama", "input": "x", "max_output_tokens": 2}),
    ("/v1/messages", {"model": "llama", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}),
    ("/v1/embeddings", {"model": "llama", "input": "x"}),
    ("/tokenize", {"model": "llama", "prompt": "x"}),
    ("/detokenize", {"model": "llama", "tokens": [1, 2]}),
]


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_each_api_is_forwarded(three, path, body):
    answer = httpx.post(three.url + path, json=body)
    assert answer.status_code == 200, answer.text


STREAMS = [
    ("/v1/completions", {"prompt": "x"}, "[DONE]"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}, "[DONE]"),
    ("/v1/messages", {"messages": [{"role": "user", "content": "x"}]}, "message_stop"),
    ("/v1/responses", {"input": "x"}, "response.completed"),
]


@pytest.mark.parametrize(("path", "body", "end"), STREAMS)
def test_each_stream_has_the_end_of_its_api(three, path, body, end):
    answer = httpx.post(three.url + path, json={"model": "llama", "max_tokens": 3, "stream": True, **body})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert end in sse(answer)[-1]


def test_unknown_paths_are_forwarded_and_administration_paths_are_not(three):
    assert httpx.get(f"{three.url}/version").status_code == 200
    assert httpx.get(f"{three.url}/no/such/path").status_code == 404
    refused = httpx.post(f"{three.url}/v1/load_lora_adapter", json={"lora_name": "a", "lora_path": "b"})
    assert refused.status_code == 404
    assert refused.headers["x-pointsman-reason"] == "administration_path"


BAD = [
    (b"not json", 400, "invalid_body"),
    (b'{"model": "llama", "model": "llama"}', 400, "invalid_body"),
    (b'{"model": "\xff"}', 400, "invalid_body"),
    (b'{"model": "llama", "x": ' + b"[" * 200 + b"]" * 200 + b"}", 400, "invalid_body"),
    (b'{"model": "llama", "x": "' + b"y" * (33 << 20) + b'"}', 413, "body_too_large"),
]


@pytest.mark.parametrize(("body", "status", "reason"), BAD, ids=[f"{s}-{r}-{i}" for i, (_, s, r) in enumerate(BAD)])
def test_an_invalid_body_is_refused_with_its_reason(three, body, status, reason):
    answer = httpx.post(f"{three.url}/v1/chat/completions", content=body,
                        headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["x-pointsman-reason"]) == (status, reason)


def test_health_and_debug_pages(three):
    assert httpx.get(f"{three.admin}/healthz").status_code == 200
    assert httpx.get(f"{three.admin}/readyz").status_code == 200
    assert "generation" in httpx.get(f"{three.admin}/readyz?verbose").text
    assert three.pools()


def test_no_page_contains_prompts(three):
    marker = "MARKER-that-no-page-shows"
    httpx.post(f"{three.url}/v1/chat/completions",
               json={"model": "llama", "messages": [{"role": "user", "content": marker}], "max_tokens": 2})
    httpx.post(f"{three.url}/v1/chat/completions", content=f'{{"model": "{marker}'.encode(),
               headers={"content-type": "application/json"})
    pages = [httpx.get(f"{three.admin}{page}").text for page in ("/metrics", "/debug/pools", "/readyz?verbose")]
    three.stop()
    assert not any(marker in page for page in pages)
