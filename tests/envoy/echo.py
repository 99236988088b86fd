"""An engine that answers with what it was sent, and says of its load whatever a test wants."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        if self.server.cuts:
            self.close_connection = True
            self.connection.close()
            return
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = b""
            while size := int(self.rfile.readline().strip(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.reply(body)

    def do_GET(self):
        if self.path == "/metrics":
            self.send(self.server.metrics_page(), "text/plain")
        elif self.path == "/v1/models":
            self.send(b'{"object": "list", "data": [{"id": "llama", "object": "model"}]}', "application/json")
        elif self.path == "/health":
            self.send(b"", "text/plain")  # A probe is no request.
        else:
            self.reply(b"")

    def reply(self, body: bytes):
        self.server.requests += 1
        time.sleep(self.server.delay)
        self.server.gate.wait()
        sent = {"headers": [list(field) for field in self.headers.items()], "body": body.decode()}
        self.send(json.dumps(sent).encode(), self.server.content_type)

    def send(self, answer: bytes, content_type: str):
        self.send_response(200)
        self.send_header("content-type", content_type)
        if self.server.has_length:
            self.send_header("content-length", str(len(answer)))
        else:
            self.send_header("connection", "close")
        self.send_header("set-cookie", "a=1")
        self.send_header("set-cookie", "b=2")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    requests = 0
    delay = 0.0
    # Connections are closed without an answer.
    cuts = False
    content_type = "application/json"
    # Without one, the connection's end is the answer's.
    has_length = True
    request_queue_size = 128
    waiting = 0
    kv_use = 0.0

    def __init__(self, *arguments):
        super().__init__(*arguments)
        # While it is clear, no request is answered.
        self.gate = threading.Event()
        self.gate.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def metrics_page(self) -> bytes:
        return (
            "# TYPE vllm:num_requests_waiting gauge\n"
            f'vllm:num_requests_waiting{{model_name="llama"}} {self.waiting}.0\n'
            "# TYPE vllm:num_requests_running gauge\n"
            'vllm:num_requests_running{model_name="llama"} 0.0\n'
            "# TYPE vllm:kv_cache_usage_perc gauge\n"
            f'vllm:kv_cache_usage_perc{{model_name="llama"}} {self.kv_use}\n'
        ).encode()


def serve() -> Server:
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
