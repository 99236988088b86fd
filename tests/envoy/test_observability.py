"""What the picker tells of requests: metrics and traces."""

import echo
import httpx
import otlp
import pytest
from conftest import shared

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def collector():
    server = otlp.collect()
    yield server
    server.shutdown()


def test_a_request_leaves_its_times_sizes_and_a_span(front, collector):
    server = echo.serve()
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    one = front([server.url], picker_arguments=["--otlp-endpoint", endpoint])
    parent = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    assert one.ask(headers=parent).status_code == 200
    assert httpx.get(f"{one.url}/v1/models").status_code == 200

    def count(name: str) -> float:
        return shared.total(one.picker.metrics(), name)

    shared.eventually(lambda: one.picker.outcomes("complete") == 2, "both are complete")
    assert count("pointsman_request_body_wait_seconds_count") == 1, "the other has no body"
    assert count("pointsman_decision_duration_seconds_count") == 2
    assert count("inference_model_request_sizes_sum") > 0
    assert count("pointsman_streams_in_flight") == 0

    def span():
        mine = [span for span in collector.spans if span["traceId"] == TRACE]
        return mine[0] if mine else None

    found = shared.eventually(span, "the span is sent")
    keys = {attribute["key"]: attribute["value"] for attribute in found["attributes"]}
    assert found["parentSpanId"] == "00f067aa0ba902b7"
    assert keys["pointsman.outcome"] == {"stringValue": "complete"}, keys
    server.shutdown()
