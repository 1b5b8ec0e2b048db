"""Reads the multipart alert stream of ISAPI piece by piece, with bounded memory.

Devices differ: parts with and without Content-Length (or a wrong one), JSON, XML and pictures
in one stream, boundaries declared with and without their dashes. So a part ends where its JSON
or XML is complete or where the next boundary begins, whatever the length said; everything else
(pictures above all) is passed over without being kept.
"""

from __future__ import annotations

import re
from collections import Counter
from email.message import Message
from enum import Enum, auto
from typing import Any

import msgspec

from edge.isapi.values import ValueUnreadableError, from_xml

_LONGEST_HEADERS = 8 * 1024
_LONGEST_PART = 64 * 1024
_HEADER_ENDS = (b"\r\n\r\n", b"\n\n")
_ROOT = "EventNotificationAlert"
_XML_END = re.compile(rb"</(?:[A-Za-z_][\w.-]*:)?EventNotificationAlert\s*>\s*\Z")


class AlertStreamError(ValueError):
    """The answer is not a multipart stream."""


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type declares; raise :class:`AlertStreamError`."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_maintype() != "multipart" or not isinstance(boundary, str):
        raise AlertStreamError(f"not a multipart stream: {content_type[:100]!r}")
    if not 1 <= len(boundary) <= 200 or not boundary.isascii():
        raise AlertStreamError("the boundary is not 1 to 200 ASCII characters")
    return boundary.encode("ascii")


class _State(Enum):
    SEEK = auto()
    HEADERS = auto()
    JSON = auto()
    XML = auto()


class AlertStream:
    """Turns chunks of the body into alerts; ``counts`` tells what was passed over.

    An alert is a mapping, whether it came as JSON or as XML (whose leaves are all text).
    """

    def __init__(self, boundary: bytes) -> None:
        # Some devices declare the boundary with the dashes that only the body should have.
        self._delimiter = boundary if boundary.startswith(b"--") else b"--" + boundary
        self._buffer = bytearray()
        self._state = _State.SEEK
        self._length: int | None = None
        self.counts: Counter[str] = Counter()
        self.parts = 0
        """Parts that were understood, and pictures that have begun: a sign of life."""

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        """Take the next bytes and return the alerts that are complete with them."""
        self._buffer += chunk
        found: list[dict[str, Any]] = []
        while self._step(found):
            pass
        return found

    def _step(self, found: list[dict[str, Any]]) -> bool:
        if self._state is _State.SEEK:
            return self._seek()
        if self._state is _State.HEADERS:
            return self._headers()
        return self._body(found)

    def _seek(self) -> bool:
        start = self._buffer.find(self._delimiter)
        if start < 0:
            del self._buffer[: max(len(self._buffer) - len(self._delimiter) + 1, 0)]
            return False
        del self._buffer[: start + len(self._delimiter)]
        self._state = _State.HEADERS
        return True

    def _headers(self) -> bool:
        ends = [(at, len(m)) for m in _HEADER_ENDS if (at := self._buffer.find(m)) >= 0]
        next_part = self._buffer.find(self._delimiter)
        if ends and (next_part < 0 or min(ends)[0] < next_part):
            at, size = min(ends)
            headers = bytes(self._buffer[:at])
            del self._buffer[: at + size]
            self._begin(headers)
            return True
        if next_part >= 0 or len(self._buffer) > _LONGEST_HEADERS:
            self.counts["malformed_parts"] += 1
            self._state = _State.SEEK
            return True
        return False

    def _begin(self, raw: bytes) -> None:
        headers: dict[str, str] = {}
        for line in raw.decode("latin-1").splitlines():
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = headers.get("content-length", "")
        self._length = int(length) if length.isdecimal() and len(length) < 10 else None
        kind = headers.get("content-type", "").lower()
        if "json" in kind:
            self._state = _State.JSON
        elif "xml" in kind:
            self._state = _State.XML
        else:
            self.parts += 1
            self.counts["other_parts"] += 1
            self._state = _State.SEEK

    def _body(self, found: list[dict[str, Any]]) -> bool:
        end = self._buffer.find(self._delimiter)
        if end > _LONGEST_PART or (end < 0 and len(self._buffer) > _LONGEST_PART):
            self.counts["oversize_parts"] += 1
            self._state = _State.SEEK
            return True
        if end < 0 and not self._may_be_whole():
            return False
        body = bytes(self._buffer if end < 0 else self._buffer[:end])
        value = _decode(body, self._state)
        if value is None and end < 0:
            return False  # perhaps there is more to come
        if value is None:
            self.counts["malformed_parts"] += 1
        else:
            self.parts += 1
            found.append(value)
        del self._buffer[: len(body)]
        self._state = _State.SEEK
        return True

    def _may_be_whole(self) -> bool:
        """Tell whether the part may be complete though no boundary follows yet."""
        if self._length is not None and len(self._buffer) < self._length:
            return False
        if self._state is _State.JSON:
            return bytes(self._buffer[-64:]).rstrip().endswith(b"}")
        return _XML_END.search(self._buffer[-256:]) is not None


def _decode(body: bytes, state: _State) -> dict[str, Any] | None:
    """Return the alert of a part, None where it is not one."""
    try:
        if state is _State.JSON:
            value = msgspec.json.decode(body)
        else:
            name, value = from_xml(body)
            if name != _ROOT:
                return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueUnreadableError):
        return None
    return value if isinstance(value, dict) else None
