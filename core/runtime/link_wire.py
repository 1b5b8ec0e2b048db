"""The socket of a connection, between paho and the network: messages are taken off it in bulk.

paho reads a message in at least five small pieces, builds some ten objects for it and answers it
with a packet of its own: 100 µs of one core. Here everything that has come is read at once, the
messages in it are handed on together, and their acknowledgements leave together. All other
packets go through to paho, in their order.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol

_READ_BYTES = 1 << 18
_PUBLISH = 3
_PUBACK = b"\x40\x02"
_ANSWER_BYTES = len(_PUBACK) + 2
_USER_PROPERTY = 0x26
#: The properties that a message may have, and how long the value of each is (bytes); None: two
#: bytes of length before it.
_VALUE_BYTES: dict[int, int | None] = {
    0x01: 1, 0x02: 4, 0x03: None, 0x08: None, 0x09: None, 0x23: 2,
}  # fmt: skip
_SUBSCRIPTION = 0x0B
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class MalformedError(ValueError):
    """What came is not MQTT 5."""


class Socket(Protocol):
    """What is needed of a socket."""

    def recv(self, size: int, /) -> bytes:
        """Read what has come, at most so many bytes."""
        ...

    def send(self, data: bytes | bytearray, /) -> int:
        """Send; return how many bytes went out."""
        ...

    def fileno(self) -> int:
        """Return the descriptor."""
        ...

    def setblocking(self, flag: bool, /) -> None:  # noqa: FBT001  (a socket's signature)
        """Set whether it blocks."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Arrival(NamedTuple):
    """A message as it came; ``packet_id`` is what it is acknowledged by, None with QoS 0."""

    topic: str
    payload: bytes
    retained: bool
    properties: list[tuple[str, str]]
    packet_id: bytes | None


class Wire:
    """The socket as paho sees it: without the messages, which go to ``take``.

    One thread reads and writes (``receive``, ``flush`` and what paho calls); any may
    ``acknowledge``.
    """

    def __init__(self, wire: Socket, take: Callable[[Wire, list[Arrival]], None]) -> None:
        self._wire = wire
        self._take = take
        self._read = b""
        self._at = 0
        self._other = b""
        self._ended = False
        self._owed = bytearray()
        self._owing = threading.Lock()
        self._inside_other = False
        self._inside_answers = False
        self.wake: Callable[[], None] = lambda: None
        """Called when there is something to ``flush``."""

    # -- reading --------------------------------------------------------------------------

    def fetch(self) -> None:
        """Read what has come; raises OSError when the connection is broken."""
        try:
            chunk = self._wire.recv(_READ_BYTES)
        except _NOT_NOW:
            return
        self._ended = not chunk
        self._read, self._at = self._read[self._at :] + chunk, 0

    def receive(self) -> bool:
        """Hand on the messages up to the next other packet; tell whether paho is to read it.

        Raises :class:`MalformedError`.
        """
        arrivals: list[Arrival] = []
        read = self._read
        while (packet := _frame(read, self._at)) is not None:
            body, end = packet
            kind = read[self._at]
            if kind >> 4 != _PUBLISH or kind & 0x04:
                self._other = read[self._at : end]
                self._at = end
                break
            arrivals.append(_arrival(kind, read, body, end))
            self._at = end
        if arrivals:
            self._take(self, arrivals)
        return bool(self._other) or self._ended

    def recv(self, bufsize: int) -> bytes:
        """Give paho what is not a message."""
        if not self._other:
            if self._ended:
                return b""
            raise BlockingIOError
        taken, self._other = self._other[:bufsize], self._other[bufsize:]
        return taken

    # -- writing --------------------------------------------------------------------------

    def acknowledge(self, packet_ids: list[bytes]) -> None:
        """Answer messages as soon as the network takes it; from any thread."""
        with self._owing:
            self._owed += b"".join([_PUBACK + packet_id for packet_id in packet_ids])
        self.wake()

    @property
    def owes(self) -> bool:
        """Tell whether answers wait that can go out next."""
        return bool(self._owed) and not self._inside_other

    def flush(self) -> None:
        """Send answers, between paho's packets; raises OSError when the connection is broken."""
        if not self.owes:
            return
        with self._owing:
            waiting = bytes(self._owed)
        try:
            sent = self._wire.send(waiting)
        except _NOT_NOW:
            # What a TLS connection has tried to send must be tried again as it was.
            self._inside_answers = True
            return
        with self._owing:
            del self._owed[:sent]
            self._inside_answers = len(self._owed) % _ANSWER_BYTES != 0

    def send(self, data: bytes | bytearray) -> int:
        """Send paho's packet, or what is left of it, when no answer is half sent."""
        if self._inside_answers:
            self.flush()
            if self._inside_answers:
                raise BlockingIOError
        try:
            sent = self._wire.send(data)
        except _NOT_NOW:
            self._inside_other = True
            raise
        self._inside_other = sent < len(data)
        return sent

    # -- the rest of a socket -------------------------------------------------------------

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._wire.fileno()

    def pending(self) -> int:
        """Return how many bytes have been read and decrypted, but not fetched."""
        return self._wire.pending() if isinstance(self._wire, ssl.SSLSocket) else 0

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001  (a socket's signature)
        """Set whether it blocks."""
        self._wire.setblocking(flag)

    def close(self) -> None:
        """Close the socket."""
        self._wire.close()


def _frame(data: bytes, start: int) -> tuple[int, int] | None:
    """Return where the packet's body at ``start`` begins and ends; None while it is not whole."""
    found = _number(data, start + 1)
    if found is None or found[0] + found[1] > len(data):
        return None
    length, body = found
    return body, body + length


def _number(data: bytes, at: int) -> tuple[int, int] | None:
    """Return a variable byte integer and where it ends; None while it is not whole."""
    value = shift = 0
    for index in range(at, min(at + 4, len(data))):
        digit = data[index]
        value |= (digit & 0x7F) << shift
        if digit < 0x80:
            return value, index + 1
        shift += 7
    if len(data) >= at + 4:
        raise MalformedError("a length of more than four bytes")
    return None


def _arrival(kind: int, data: bytes, body: int, end: int) -> Arrival:
    try:
        at = body + 2 + (data[body] << 8 | data[body + 1])
        topic = data[body + 2 : at].decode()
        packet_id = None
        if kind & 0x02:
            packet_id = data[at : at + 2]
            at += 2
        properties: list[tuple[str, str]] = []
        if length := data[at]:
            found = _number(data, at)
            if found is None:
                raise MalformedError("a message ends within its properties")
            length, at = found
            properties = _user_properties(data[at : at + length])
            at += length
        else:
            at += 1
    except (IndexError, UnicodeDecodeError) as error:
        raise MalformedError(f"a message cannot be read: {error}") from None
    if at > end:
        raise MalformedError("a message ends within its head")
    return Arrival(topic, data[at:end], bool(kind & 0x01), properties, packet_id)


def _user_properties(data: bytes) -> list[tuple[str, str]]:
    """Return the user properties among a message's properties."""
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(data):
        identifier = data[at]
        at += 1
        if identifier == _USER_PROPERTY:
            name, at = _text(data, at)
            value, at = _text(data, at)
            found.append((name.decode(), value.decode()))
        elif identifier == _SUBSCRIPTION:
            number = _number(data, at)
            if number is None:
                raise MalformedError("a message ends within a property")
            at = number[1]
        elif identifier not in _VALUE_BYTES:
            raise MalformedError(f"a message has no property 0x{identifier:02x}")
        elif (size := _VALUE_BYTES[identifier]) is not None:
            at += size
        else:
            _, at = _text(data, at)
    return found


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 2 + (data[at] << 8 | data[at + 1])
    if end > len(data):
        raise MalformedError("a message ends within a property")
    return data[at + 2 : end], end
