"""What a connection reads and writes between paho and the network, byte by byte."""

from __future__ import annotations

import os
import random
import socket
import struct

import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from core.runtime.link_loop import Client
from core.runtime.link_wire import Arrival, MalformedError, Wire

SUBACK = b"\x90\x04\x00\x01\x00\x01"


def publish(
    topic: str, payload: bytes, packet_id: int = 1, properties: bytes = b"", kind: int = 0x32
) -> bytes:
    name = topic.encode()
    body = struct.pack("!H", len(name)) + name
    if kind & 2:
        body += struct.pack("!H", packet_id)
    body += length(len(properties)) + properties + payload
    return bytes([kind]) + length(len(body)) + body


def length(value: int) -> bytes:
    found = bytearray()
    while True:
        value, digit = divmod(value, 128)
        found.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(found)


def text(value: str) -> bytes:
    return struct.pack("!H", len(value.encode())) + value.encode()


class Network:
    """Stands in for the socket: gives what is there, takes only so many bytes at a time."""

    def __init__(self) -> None:
        self.come: list[bytes] = []
        self.gone = b""
        self.room = 1 << 30

    def recv(self, size: int, /) -> bytes:
        if not self.come:
            raise BlockingIOError
        chunk = self.come.pop(0)
        assert len(chunk) <= size
        return chunk

    def send(self, data: bytes | bytearray, /) -> int:
        if not self.room:
            raise BlockingIOError
        sent = bytes(data[: self.room])
        self.room -= len(sent)
        self.gone += sent
        return len(sent)

    def fileno(self) -> int:
        return -1

    def setblocking(self, flag: bool, /) -> None:
        pass

    def close(self) -> None:
        pass


class Side:
    """A wire whose messages and other packets are noted in their order."""

    def __init__(self) -> None:
        self.network = Network()
        self.found: list[Arrival | bytes] = []
        self.wire = Wire(self.network, lambda _wire, arrivals: self.found.extend(arrivals))

    def receive(self, *chunks: bytes) -> list[Arrival | bytes]:
        for chunk in chunks:
            self.network.come.append(chunk)
            self.wire.fetch()
            while self.wire.receive():
                self.found.append(self.read())
        return self.found

    def read(self) -> bytes:
        """Read as paho does, piece by piece."""
        whole = b""
        while True:
            try:
                piece = self.wire.recv(3)
            except BlockingIOError:
                return whole
            if not piece:
                return whole
            whole += piece


@pytest.fixture
def side() -> Side:
    return Side()


def test_messages_are_read_whole_wherever_the_network_cuts_them(side: Side) -> None:
    sent = [
        publish("a/b", b"one", 7),
        publish("a/ü", b"x" * 300, 65_535, kind=0x33),
        SUBACK,
        publish("c", b"", kind=0x30),
        publish("d", b"y" * 20_000, 9),
    ]
    expected = [
        Arrival("a/b", b"one", False, [], b"\x00\x07"),
        Arrival("a/ü", b"x" * 300, True, [], b"\xff\xff"),
        SUBACK,
        Arrival("c", b"", False, [], None),
        Arrival("d", b"y" * 20_000, False, [], b"\x00\x09"),
    ]
    assert side.receive(b"".join(sent)) == expected
    stream = b"".join(sent[:4])
    for cut in range(1, len(stream)):
        again = Side()
        assert again.receive(stream[:cut], stream[cut:]) == expected[:4], f"cut at {cut}"
    chance = random.Random(1)
    many = Side()
    stream = b"".join(sent) * 20
    cuts = sorted(chance.sample(range(1, len(stream)), 200))
    many.receive(*(stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)))
    assert many.found == expected * 20


def test_user_properties_are_found_among_all_others(side: Side) -> None:
    properties = (
        b"\x01\x01" + b"\x02" + struct.pack("!I", 60) + b"\x03" + text("application/json")
        + b"\x26" + text("edge") + text("gate") + b"\x08" + text("answer/here")
        + b"\x09" + text("correlation") + b"\x0b" + length(300) + b"\x23\x00\x05"
        + b"\x26" + text("seq") + text("1")
    )  # fmt: skip
    (found,) = side.receive(publish("a", b"body", properties=properties))
    assert isinstance(found, Arrival)
    assert (found.properties, found.payload) == ([("edge", "gate"), ("seq", "1")], b"body")


@pytest.mark.parametrize(
    "broken",
    [
        b"\x32\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\x32\x04\x00\x09ab",  # a topic that is longer than its packet
        publish("a", b"", properties=b"\x26\x00\x09ab"),  # a property that is longer
        publish("a", b"", properties=b"\x7f\x00"),  # no property
        b"\x32\x08" + b"\x00\x01\xff" + b"\x00\x01\x00" + b"ab",  # not UTF-8
        b"\x32\x07" + b"\x00\x01a" + b"\x00\x01\x09" + b"a",  # properties beyond the packet
    ],
)
def test_what_is_not_mqtt_is_said_to_be(side: Side, broken: bytes) -> None:
    side.network.come.append(broken)
    side.wire.fetch()
    with pytest.raises(MalformedError):
        side.wire.receive()


def test_answers_leave_together_and_never_within_a_packet_of_paho(side: Side) -> None:
    woken: list[int] = []
    side.wire.wake = lambda: woken.append(1)
    side.network.room = 4
    assert side.wire.send(b"PACKET") == 4
    side.wire.acknowledge([b"\x00\x01", b"\x00\x02"])
    assert woken
    assert not side.wire.owes, "paho's packet is first sent whole"
    side.network.room = 5
    side.wire.flush()
    assert side.wire.send(b"ET") == 2
    assert side.wire.owes
    side.wire.flush()  # three of eight bytes
    with pytest.raises(BlockingIOError):
        side.wire.send(b"NEXT")
    side.network.room = 100
    assert side.wire.send(b"NEXT") == 4
    assert side.network.gone == b"PACKET" + b"\x40\x02\x00\x01\x40\x02\x00\x02" + b"NEXT"
    assert not side.wire.owes


def test_the_end_of_a_connection_is_for_paho_to_see() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found: list[Arrival] = []
        wire = Wire(ours, lambda _wire, arrivals: found.extend(arrivals))
        theirs.sendall(publish("a", b"last"))
        theirs.close()
        wire.fetch()
        assert not wire.receive()
        assert [arrival.payload for arrival in found] == [b"last"]
        wire.fetch()
        assert wire.receive()
        assert wire.recv(1) == b""


def test_small_packets_leave_at_once() -> None:
    """Else each waits for the network's answer to the last, up to 40 ms."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.take = lambda *_: None
        client.connect(*server.getsockname())
        wire = client.socket()
        assert wire is not None
        with socket.socket(fileno=os.dup(wire.fileno())) as same:
            assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        wire.close()
