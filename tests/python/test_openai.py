"""The `openai` client against a gateway in front of three engines, without client-side retries."""

import httpx
import openai
import pytest

from conftest import eventually, total

MESSAGES = [{"role": "user", "content": "Say something about railways."}]


def test_chat(client):
    answer = client.chat.completions.create(model="llama", messages=MESSAGES, max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens <= 8
    assert answer.model == "llama"


def test_chat_stream_with_usage(client):
    stream = client.chat.completions.create(
        model="llama", messages=MESSAGES, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text
    assert chunks[-1].usage.completion_tokens > 0
    assert any(c.choices and c.choices[0].finish_reason for c in chunks)


def test_completion_with_and_without_streaming(client):
    whole = client.completions.create(model="llama", prompt="Once upon a time", max_tokens=5, n=2)
    assert len(whole.choices) == 2
    parts = list(client.completions.create(model="llama", prompt="Once", max_tokens=5, stream=True))
    assert "".join(p.choices[0].text for p in parts if p.choices)


def test_embeddings(client):
    answer = client.embeddings.create(model="llama", input=["one", "two"], encoding_format="float")
    assert len(answer.data) == 2


def test_responses_are_stored_and_continued_on_their_engine(client):
    first = client.responses.create(model="llama", input="Hello", max_output_tokens=8)
    assert first.output_text
    second = client.responses.create(model="llama", input="Go on", previous_response_id=first.id, max_output_tokens=4)
    assert second.id != first.id
    with pytest.raises(openai.NotFoundError) as refused:
        client.responses.create(model="llama", input="Go on", previous_response_id="resp_nobody_has")
    assert refused.value.response.headers["x-pointsman-reason"] == "unknown_response"


def test_models_are_listed_once(client):
    assert [model.id for model in client.models.list()] == ["llama"]


def test_engine_errors_are_forwarded_unchanged(client):
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="no-such-model", messages=MESSAGES)
    assert "no-such-model" in str(refused.value)
    assert "x-pointsman-reason" not in refused.value.response.headers


def test_gateway_errors_have_a_reason_and_are_not_retried_by_clients(three):
    answer = httpx.post(f"{three.url}/v1/chat/completions", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.headers["x-pointsman-reason"] == "invalid_body"
    assert answer.headers["x-should-retry"] == "false"
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_cancelled_stream_frees_its_engine(three, client):
    stream = client.chat.completions.create(model="llama", messages=MESSAGES, max_tokens=8_000, stream=True,
                                            extra_body={"ignore_eos": True})
    next(iter(stream))
    assert sum(total(e.metrics(), "vllm:num_requests_running") for e in three.engines) == 1
    stream.close()
    eventually(lambda: sum(total(e.metrics(), "vllm:num_requests_running") for e in three.engines) == 0, "engine freed")
    eventually(lambda: in_flight(three) == 0, "no request in flight")


def in_flight(front) -> float:
    return total(front.metrics(), "inference_model_running_requests")


def test_every_request_is_counted_once(three, client):
    for _ in range(30):
        client.chat.completions.create(model="llama", messages=MESSAGES, max_tokens=2)
    served = [total(e.metrics(), "vllm:request_success_total") for e in three.engines]
    assert sum(served) == 30
    assert total(three.metrics(), "inference_model_request_total") == 30
    assert in_flight(three) == 0
