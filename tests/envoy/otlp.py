"""An OTLP collector of traces over HTTP."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def as_dict(span) -> dict:
    """The span's fields, with ids in hexadecimal as in OTLP's JSON encoding."""
    ids = {"traceId": span.trace_id.hex(), "spanId": span.span_id.hex(), "parentSpanId": span.parent_span_id.hex()}
    return MessageToDict(span) | ids


class Handler(BaseHTTPRequestHandler):
    """Keeps the spans that it is sent."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.spans.extend(as_dict(span) for span in scope.spans)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Collector(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.spans: list[dict] = []


def collect() -> Collector:
    collector = Collector()
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    return collector
