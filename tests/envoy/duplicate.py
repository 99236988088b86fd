"""A wire between Envoy and a picker in plaintext on which the last piece of a request's body comes twice.

Envoy once sent it so in full duplex (envoyproxy/envoy#46237). All other HTTP/2 frames pass as they are.
"""

import socket
import struct
import threading

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME, LONGEST = 9, 16_384
DATA, SETTINGS, WINDOW = 0, 4, 4
ROOM = 256 << 10
REQUEST_BODY, END_OF_STREAM, BODY = 4, 2, 1


def fields(message: bytes):
    """The fields of a protobuf message: numbers, and values as integers or bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        number, kind = key >> 3, key & 7
        if kind == 0:
            yield number, varint()
        elif kind == 2:
            length = varint()
            yield number, message[at : at + length]
            at += length
        else:
            raise ValueError(f"field {number} of kind {kind}")


class Wire:
    def __init__(self, picker_port: int):
        self.picker_port = picker_port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        # For each body that ended, the length of what was sent again.
        self.doubled: list[int] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                envoy, _ = self.listener.accept()
            except OSError:
                return
            picker = socket.create_connection(("127.0.0.1", self.picker_port))
            Connection(self, envoy, picker)

    def close(self):
        self.listener.close()


class Connection:
    def __init__(self, wire: Wire, envoy: socket.socket, picker: socket.socket):
        self.wire, self.envoy, self.picker = wire, envoy, picker
        for one in (envoy, picker):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Of each stream the message in the making, and the last piece of its request's body that has bytes.
        self.read: dict[int, bytes] = {}
        self.latest: dict[int, bytes] = {}
        for run in (self.to_picker, self.to_envoy):
            threading.Thread(target=self.until_closed, args=(run,), daemon=True).start()

    def until_closed(self, run):
        try:
            run()
        except OSError:
            pass  # One side has closed the connection, or reset it.
        for one in (self.envoy, self.picker):
            one.close()

    def to_picker(self):
        self.picker.sendall(receive(self.envoy, len(PREFACE)))
        while True:
            head, payload = frame(self.envoy)
            self.picker.sendall(head + payload)
            if head[3] == DATA:
                copies = self.copies(int.from_bytes(head[5:], "big"), payload)
                for start in range(0, len(copies), LONGEST):
                    piece = copies[start : start + LONGEST]
                    self.picker.sendall(len(piece).to_bytes(3, "big") + bytes([DATA, 0]) + head[5:] + piece)

    def to_envoy(self):
        while True:
            head, payload = frame(self.picker)
            if head[3] == SETTINGS:
                payload = smaller_windows(payload)
            self.envoy.sendall(head + payload)

    def copies(self, number: int, payload: bytes) -> bytes:
        """Takes the messages of a stream apart, each behind a flag and its length. What is to be sent again, if its
        request's body ends here."""
        read, copies = self.read.get(number, b"") + payload, b""
        while len(read) >= 5 and len(read) >= (end := 5 + int.from_bytes(read[1:5], "big")):
            message, read = read[:end], read[end:]
            if (body := dict(fields(message[5:])).get(REQUEST_BODY)) is None:
                continue
            parts = dict(fields(body))
            if parts.get(BODY):
                self.latest[number] = message
            if parts.get(END_OF_STREAM):
                # The end as it was, and where it has no bytes, the last ones too.
                copies = b"".join(dict.fromkeys([message, self.latest.get(number, b"")]))
                self.wire.doubled.append(len(copies))
        self.read[number] = read
        return copies


def smaller_windows(settings: bytes) -> bytes:
    """Room for the copies, of which Envoy does not know: it is told a window that is smaller by that."""
    entries = [settings[at : at + 6] for at in range(0, len(settings), 6)]
    shrunk = lambda entry: struct.pack(">HI", WINDOW, int.from_bytes(entry[2:], "big") - ROOM)
    return b"".join(shrunk(entry) if entry[:2] == WINDOW.to_bytes(2, "big") else entry for entry in entries)


def frame(source: socket.socket) -> tuple[bytes, bytes]:
    head = receive(source, FRAME)
    return head, receive(source, int.from_bytes(head[:3], "big"))


def receive(source: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = source.recv(length - len(data))
        if not piece:
            raise OSError("closed")
        data += piece
    return bytes(data)
