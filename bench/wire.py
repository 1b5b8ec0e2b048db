"""A load generator that costs less than what it measures.

Payloads are encoded before the clock starts and written from a plain socket, because an MQTT
library publishes only some 12,000 messages a second. It behaves as edges do: a window beyond
the receipt, and go-back when there is no progress.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from dataclasses import dataclass, field

import msgspec

from core.contracts import topics
from core.contracts.batch import EdgeStatus, LaneStatus, Receipt, envelope, seal
from core.contracts.codec import encode, make_event
from core.contracts.events import Lane

SITE = "bench"
WINDOW = 64
_PATIENCE_S = 2.0


@dataclass
class BenchEdge:
    """One edge's prepared batches; ``packets[i]`` is the whole MQTT packet of seq i + 1."""

    name: str
    epoch: str
    packets: list[bytes]
    sent: int = 0
    acknowledged: int = 0
    progress: float = field(default_factory=time.monotonic)


def prepare(edge: str, epoch: str, batches: int, size: int, at: int) -> BenchEdge:
    """Encode an edge's batches of meter readings from 50 devices."""
    packets = []
    number = 0
    topic = topics.batch(SITE, edge)
    for seq in range(1, batches + 1):
        events = []
        for _ in range(size):
            number += 1
            data = {
                "medium": "electricity",
                "energy_kwh": 1000 + number / 100,
                "power_w": 200.0 + number % 300,
                "voltage_l1_v": 220.5,
                "current_l1_a": 1.25,
                "relay_closed": True,
            }
            moment = at + number
            device = f"{edge}-m{number % 50}"
            event = make_event("meter.reading", device=device, at=moment, seen=moment, data=data)
            events.append(encode(event))
        payload = envelope(edge, epoch, Lane.READING, seq, 1, seal(events, at))
        packets.append(publish_packet(topic, payload, seq % 65_000 + 1))
    return BenchEdge(edge, epoch, packets)


def publish_packet(topic: str, payload: bytes, packet_id: int, *, retain: bool = False) -> bytes:
    """Return an MQTT 5 PUBLISH of QoS 1 without properties."""
    name = topic.encode()
    body = struct.pack("!H", len(name)) + name + struct.pack("!HB", packet_id, 0) + payload
    return bytes([0x33 if retain else 0x32]) + _length(len(body)) + body


def _length(value: int) -> bytes:
    found = bytearray()
    while True:
        value, digit = divmod(value, 128)
        found.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(found)


class Generator:
    """Publishes the batches of several edges over one plain connection."""

    def __init__(self, port: int, edges: list[BenchEdge]) -> None:
        self._edges = {edge.name: edge for edge in edges}
        self._port = port
        self._buffer = bytearray()
        self.resent = 0

    def connect(self) -> None:
        """Connect, subscribe to the receipts and publish the births."""
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = b"bench-generator"
        head = b"\x00\x04MQTT\x05\x02" + struct.pack("!H", 0) + b"\x05\x27\x00\x10\x00\x00"
        body = head + struct.pack("!H", len(client)) + client
        self._socket.sendall(b"\x10" + _length(len(body)) + body)
        topic = f"{topics.ROOT}/{SITE}/+/receipt".encode()
        body = b"\x00\x01\x00" + struct.pack("!H", len(topic)) + topic + b"\x00"
        self._socket.sendall(b"\x82" + _length(len(body)) + body)
        for edge in self._edges.values():
            birth = EdgeStatus(
                online=True,
                edge=edge.name,
                epoch=edge.epoch,
                clock=1,
                lanes={"reading": LaneStatus(1, 0)},
            )
            packet = publish_packet(topics.status(SITE, edge.name), encode(birth), 1, retain=True)
            self._socket.sendall(packet)
        self._socket.settimeout(0.0)

    def run(self, timeout_s: float) -> float:
        """Publish everything; return the seconds until the last receipt."""
        began = time.monotonic()
        while any(edge.acknowledged < len(edge.packets) for edge in self._edges.values()):
            now = time.monotonic()
            if now - began > timeout_s:
                raise TimeoutError("the receipts did not come in time")
            out = b"".join(self._due(now))
            self._exchange(out)
        return time.monotonic() - began

    def flood(self) -> None:
        """Publish everything without waiting for receipts (for the floor)."""
        for edge in self._edges.values():
            for start in range(0, len(edge.packets), 200):
                self._exchange(b"".join(edge.packets[start : start + 200]))

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _due(self, now: float) -> list[bytes]:
        due: list[bytes] = []
        for edge in self._edges.values():
            if edge.sent > edge.acknowledged and now - edge.progress > _PATIENCE_S:
                self.resent += edge.sent - edge.acknowledged
                edge.sent, edge.progress = edge.acknowledged, now
            upto = min(edge.acknowledged + WINDOW, len(edge.packets))
            due += edge.packets[edge.sent : upto]
            edge.sent = max(edge.sent, upto)
        return due

    def _exchange(self, out: bytes) -> None:
        view = memoryview(out)
        while True:
            readable, writable, _ = select.select(
                [self._socket], [self._socket] if view else [], [], 0.05
            )
            if readable:
                chunk = self._socket.recv(1 << 18)
                if not chunk:
                    raise ConnectionError("the broker closed the connection")
                self._buffer += chunk
                self._read_packets()
            if writable:
                view = view[self._socket.send(view) :]
            if not view:
                return

    def _read_packets(self) -> None:
        buffer, start = self._buffer, 0
        while True:
            packet = _next_packet(buffer, start)
            if packet is None:
                break
            kind, body, start = packet
            if kind >> 4 == 3:
                self._take_receipt(kind, body)
        del buffer[:start]

    def _take_receipt(self, kind: int, body: bytes) -> None:
        (name_length,) = struct.unpack_from("!H", body)
        offset = 2 + name_length
        if kind & 0x06:
            packet_id = body[offset : offset + 2]
            offset += 2
            self._socket.settimeout(5.0)
            self._socket.sendall(b"\x40\x02" + packet_id)
            self._socket.settimeout(0.0)
        offset += 1 + body[offset]
        receipt = msgspec.json.decode(body[offset:], type=Receipt)
        edge = self._edges.get(receipt.edge)
        committed = receipt.lanes.get("reading", 0)
        if edge is not None and receipt.epoch == edge.epoch and committed > edge.acknowledged:
            edge.acknowledged, edge.progress = committed, time.monotonic()


def _next_packet(buffer: bytearray, start: int) -> tuple[int, bytes, int] | None:
    length, shift, at = 0, 0, start + 1
    while at < len(buffer):
        digit = buffer[at]
        length |= (digit & 0x7F) << shift
        at += 1
        shift += 7
        if not digit & 0x80:
            if len(buffer) - at < length:
                return None
            return buffer[start], bytes(buffer[at : at + length]), at + length
    return None
