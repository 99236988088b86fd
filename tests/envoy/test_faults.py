"""Faults, with each of Envoy's failure modes and ways to hand over bodies.

What is observed must be what the table of `docs/endpoint-picker.md` says: one row a fault, one column a failure mode.
"""

import signal
import socket
import threading
import time

import echo
import httpx
import pytest
from conftest import MODES, ROOT, Picker, original_dst, shared

COLUMNS = {
    ("full_duplex", "closed"): 1,
    ("full_duplex", "open"): 2,
    ("buffered", "closed"): 3,
    ("buffered", "open"): 4,
    ("original_dst", "closed"): 5,
}
HEADER = "| Fault | full duplex, closed | full duplex, open | buffered, closed | buffered, open | `ORIGINAL_DST`, closed |"
# Shorter than the printed 35 s, so that a picker that hangs is noticed while somebody watches.
HURRIED = ("message_timeout: 35s", "message_timeout: 1s")


def ready(front) -> float:
    return shared.total(front.picker.metrics(), "inference_pool_ready_pods")


def documented() -> dict[str, list[str]]:
    lines = (ROOT / "docs/endpoint-picker.md").read_text().splitlines()
    rows = lines[lines.index(HEADER) + 2 :]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("|")]
    return {row[0]: row for row in cells[: next((i for i, row in enumerate(rows) if not row), len(rows))]}


class Setting:
    """Engines and a front with one failure mode."""

    def __init__(self, front, servers, body_mode: str, failure_mode: str):
        self.servers, self.start = servers, front
        self.original_dst = body_mode == "original_dst"
        body_arguments = MODES["full_duplex" if self.original_dst else body_mode]
        self.arguments = body_arguments + (["--envoy-fail-open"] if failure_mode == "open" else [])
        self.front = None

    def open(self, *, edits=(), picker_arguments=()):
        urls = [server.url for server in self.servers]
        if self.original_dst:
            more = edits
            edits = lambda picker: [*(more(picker) if callable(more) else more), original_dst]
        self.front = self.start(urls, envoy_arguments=self.arguments, edits=edits, picker_arguments=picker_arguments)
        return self.front

    def settle(self) -> None:
        shared.eventually(lambda: self.front.picker.in_flight() == 0, "nothing stays in flight")


def status(front, **more) -> str:
    response = front.ask(**more)
    reason = response.headers.get("x-pointsman-reason")
    return f"{response.status_code} {reason}" if reason else str(response.status_code)


def picker_killed(setting) -> str:
    front = setting.open()
    assert status(front) == "200"
    front.picker.signal(signal.SIGKILL)
    front.picker.process.wait()
    # What was on its way to the picker when it died may still be cut.
    time.sleep(0.2)
    statuses = {status(front) for _ in range(5)}
    front.restart_picker()
    shared.eventually(lambda: status(front) == "200" and front.picker.outcomes("complete") > 0, "it picks again")
    return only(statuses)


def picker_stopped_by_sigterm(setting) -> str:
    front = setting.open()
    front.picker.stop()
    statuses = {status(front) for _ in range(5)}
    front.restart_picker()
    shared.eventually(lambda: status(front) == "200" and front.picker.outcomes("complete") > 0, "it picks again")
    return only(statuses)


def picker_hangs(setting) -> str:
    front = setting.open(edits=[HURRIED])
    assert status(front) == "200"
    front.picker.signal(signal.SIGSTOP)
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(status(front)))
    asking.start()
    asking.join(5)
    waited = asking.is_alive()
    front.picker.signal(signal.SIGCONT)
    asking.join(shared.TIMEOUT)
    setting.settle()
    return f"waits for it, then {answers[0]}" if waited else answers[0]


def picker_restarted_under_load(setting) -> str:
    front = setting.open()
    stop, statuses = threading.Event(), []

    def load():
        while not stop.is_set():
            try:
                statuses.append(status(front))
            except httpx.RemoteProtocolError:
                statuses.append("broken off")

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in (signal.SIGKILL, signal.SIGTERM):
        time.sleep(0.5)
        front.picker.signal(number)
        front.picker.process.wait()
        front.restart_picker()
    # The picker is back: nothing fails any more.
    shared.eventually(lambda: status(front) == "200", "it picks again")
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses[-4:]) == {"200"}
    setting.settle()
    failed = {one for one in statuses if one != "200"}
    # How many meet the gap is chance; what becomes of them is not.
    assert failed <= {"500", "503", "504", "broken off"}, failed
    return "failures until it is back" if failed else "200 throughout"


def one_of_two_ends(setting, number: signal.Signals) -> str:
    """Two pickers behind one Envoy, which looks at their health each second."""
    second = Picker([word for server in setting.servers for word in ("--endpoint", server.url)])

    def beside(picker):
        line = f'        - endpoint: {{address: {{socket_address: {{address: "127.0.0.1", port_value: {picker.ports[0]}}}}}}}\n'
        return [(line, line + line.replace(str(picker.ports[0]), str(second.ports[0])))]

    try:
        front = setting.open(edits=beside)
        assert {status(front) for _ in range(6)} == {"200"}
        assert front.picker.outcomes("complete") == second.outcomes("complete") == 3, "both pick"
        front.picker.signal(number)
        statuses = []

        def settled():
            statuses.append(status(front))
            return front.picker.process.poll() is not None and len(statuses) > 20 and set(statuses[-20:]) == {"200"}

        shared.eventually(settled, "the other picks alone")
        before = second.outcomes("complete")
        assert {status(front) for _ in range(5)} == {"200"}
        assert second.outcomes("complete") == before + 5
    finally:
        second.stop()
    failed = {one for one in statuses if one != "200"}
    assert failed <= {"500", "503", "504"}, failed
    return "5xx until its health shows" if failed else "200 throughout"


def one_of_two_is_killed(setting) -> str:
    return one_of_two_ends(setting, signal.SIGKILL)


def one_of_two_ends_by_sigterm(setting) -> str:
    return one_of_two_ends(setting, signal.SIGTERM)


def engine_dies_between_pick_and_connect(setting) -> str:
    for server in setting.servers:
        server.has_length = False  # So that no connection outlives the server.
    front = setting.open()
    assert status(front) == "200"
    setting.servers[0].shutdown()
    setting.servers[0].server_close()
    statuses = {status(front) for _ in range(20)}
    setting.settle()
    if "503" not in statuses:
        return only(statuses) + " from the next choice"
    assert statuses <= {"200", "503"}, statuses
    shared.eventually(lambda: {status(front) for _ in range(20)} == {"200"}, "the dead engine is left out")
    setting.settle()
    assert ready(front) == len(setting.servers) - 1
    return "503 until probes find it dead, then 200"


def engine_dies_before_a_long_prompt(setting) -> str:
    """The same with bodies that are longer than what Envoy buffers by default."""
    front = setting.open()
    assert status(front) == "200"
    setting.servers[0].shutdown()
    setting.servers[0].server_close()
    statuses = {status(front, prompt="long " * 600_000 + str(number)) for number in range(10)}
    setting.settle()
    return only(statuses) + " from the next choice"


def no_engine_left(setting) -> str:
    front = setting.open()
    for server in setting.servers:
        server.shutdown()
        server.server_close()
    answer = only({status(front) for _ in range(5)})
    setting.settle()
    return answer


def subset_without_an_engine(setting) -> str:
    front = setting.open(edits=[SUBSET])
    one = setting.servers[1].url.removeprefix("http://")
    before = setting.servers[1].requests
    for _ in range(5):
        assert front.ask(headers={"x-subset": one}).status_code == 200
    assert setting.servers[1].requests == before + 5
    return only({status(front, headers={"x-subset": "192.0.2.1:8000"}) for _ in range(3)})


def client_leaves(setting) -> str:
    front = setting.open()
    for server in setting.servers:
        server.delay = 30.0
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{front.url}/v1/completions", json={"model": "llama", "prompt": "hello"}, timeout=1)
    setting.settle()
    assert front.picker.outcomes("client_gone") == 1
    return "counted out at once"


def body_is_no_json(setting) -> str:
    return refused(setting.open(), content="{")


def body_is_empty(setting) -> str:
    front = setting.open()
    chunked = refused(front, content=(part for part in [b""]))
    return only({chunked, refused(front, content="")})


def body_is_too_long(setting) -> str:
    front = setting.open()
    return refused(front, content=b" " * (33 << 20))


def body_breaks_off(setting) -> str:
    front = setting.open()
    host, port = front.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        head = "POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n"
        client.sendall(head.encode() + b'{"model":')
        time.sleep(0.3)
    setting.settle()
    assert front.ask().status_code == 200
    return "counted out at once"


def refused(front, content) -> str:
    headers = {"content-type": "application/json"}
    response = httpx.post(f"{front.url}/v1/completions", content=content, headers=headers, timeout=shared.TIMEOUT)
    reason = response.headers.get("x-pointsman-reason")
    return f"{response.status_code} {reason}" if reason else str(response.status_code)


def gateway_speaks_plaintext_to_a_tls_port(setting) -> str:
    front = setting.open(edits=[CLEAR])
    statuses = {status(front) for _ in range(3)}
    assert "plaintext arrived at a port with TLS" in front.picker.log()
    return only(statuses)


def gateway_speaks_tls_to_a_clear_port(setting) -> str:
    secured = [("  - name: pointsman\n    type: STATIC\n", "  - name: pointsman\n    type: STATIC\n" + TLS)]
    front = setting.open(edits=secured, picker_arguments=["--secure-serving=false"])
    statuses = {status(front) for _ in range(3)}
    assert "a TLS handshake arrived at a port in plaintext" in front.picker.log()
    return only(statuses)


def only(values: set[str]) -> str:
    return " or ".join(sorted(values))


# The bootstrap's lines about TLS towards the picker.
TLS = """    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context: {alpn_protocols: [h2]}
"""
CLEAR = (TLS, "")
# A gateway's subset, from a header.
SUBSET = (
    "          http_filters:\n",
    """          http_filters:
          - name: envoy.filters.http.header_to_metadata
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config
              request_rules:
              - header: x-subset
                on_header_present:
                  metadata_namespace: envoy.lb.subset_hint
                  key: x-gateway-destination-endpoint-subset
                  type: STRING
""",
)

FAULTS = {
    "The picker is killed": picker_killed,
    "The picker ends by SIGTERM": picker_stopped_by_sigterm,
    "The picker hangs": picker_hangs,
    "The picker is killed and restarted under load, twice": picker_restarted_under_load,
    "One of two pickers is killed": one_of_two_is_killed,
    "One of two pickers ends by SIGTERM": one_of_two_ends_by_sigterm,
    "The gateway speaks plaintext to the picker's TLS port": gateway_speaks_plaintext_to_a_tls_port,
    "The gateway speaks TLS to a plaintext port": gateway_speaks_tls_to_a_clear_port,
    "An engine dies between pick and connect": engine_dies_between_pick_and_connect,
    "The same with a prompt of 3 MB": engine_dies_before_a_long_prompt,
    "No engine is left": no_engine_left,
    "The gateway's subset holds no engine of the pool": subset_without_an_engine,
    "The client leaves": client_leaves,
    "The body breaks off": body_breaks_off,
    "The body is no JSON": body_is_no_json,
    "The body is empty": body_is_empty,
    "The body is longer than the limit": body_is_too_long,
}


@pytest.fixture
def servers():
    started = [echo.serve() for _ in range(3)]
    yield started
    for server in started:
        server.shutdown()


@pytest.mark.parametrize(("body_mode", "failure_mode"), COLUMNS)
@pytest.mark.parametrize("fault", FAULTS)
def test_the_table_says_what_happens(front, servers, fault, body_mode, failure_mode):
    setting = Setting(front, servers, body_mode, failure_mode)
    observed = FAULTS[fault](setting)
    cell = documented()[fault][COLUMNS[body_mode, failure_mode]]
    # Where it is chance how far a request has come, the cell names both.
    assert observed in (cell, *cell.split(" or ")), cell


def test_the_table_has_a_row_for_each_fault_and_no_others():
    assert list(documented()) == list(FAULTS)
