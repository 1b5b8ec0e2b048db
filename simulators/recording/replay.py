"""Publishes a recording: as it was, or as if it happened now."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec

from core.contracts import topics
from core.contracts.batch import ENVELOPE, decode_struct, envelope
from core.contracts.errors import ContractError, EstateError, RetryableError
from core.runtime.clock import Clock
from core.runtime.link import Link, LinkOptions
from core.runtime.settings import BrokerSettings
from simulators.recording.tape import Recorded, read

#: Messages whose acknowledgement may be outstanding.
_IN_FLIGHT = 200
_ANSWER_S = 30.0
_SEALED = b'"sealed_at"'
_TIMES = frozenset({"at", "seen", "sealed_at", "since", "clock"})
#: What the collector says; a replay beside a living collector must not speak for it.
_COLLECTORS = ("/receipt", "/colour")


class Afresh:
    """Makes recorded traffic new: other epochs, seqs from 1, times moved to now.

    A collector that has seen the recording's batches would answer them with their receipts and
    store nothing; under another epoch they are new to it.
    """

    def __init__(self, now_ms: int) -> None:
        self._now = now_ms
        self._shift: int | None = None
        self._epochs: dict[str, str] = {}
        self._first: dict[tuple[str, str], int] = {}

    def remake(self, message: Recorded) -> Recorded | None:
        """Return the message as it is to be published; None for a batch before the first seen.

        A recording that begins within a window may hold what was sent again later on.
        """
        kind = message.topic.rsplit("/", 1)[-1]
        if not message.topic.startswith(topics.ROOT) or kind not in {"batch", "status", "event"}:
            return message
        if message.properties or message.payload.startswith(b"\xff\xd8"):
            return self._media(message)
        if kind == "batch":
            payload = self._batch(message.payload)
            return None if payload is None else _with(message, payload)
        return _with(message, self._plain(message.payload))

    def _batch(self, payload: bytes) -> bytes | None:
        try:
            head = decode_struct(payload, ENVELOPE)
        except ContractError:
            return payload
        split = payload.find(_SEALED)
        if split < 0:
            return payload
        body = msgspec.json.decode(b"{" + payload[split:])
        sealed = msgspec.json.encode(self._moved(body))[1:]
        base = self._first.setdefault((head.epoch, head.lane), head.seq) - 1
        if head.seq <= base:
            return None
        oldest = max(head.oldest - base, 1)
        return envelope(
            head.edge, self._epoch(head.epoch), head.lane, head.seq - base, oldest, sealed
        )

    def _plain(self, payload: bytes) -> bytes:
        try:
            body = msgspec.json.decode(payload)
        except msgspec.DecodeError:
            return payload
        if not isinstance(body, dict):
            return payload
        body = self._moved(body)
        if isinstance(epoch := body.get("epoch"), str):
            body["epoch"] = self._epoch(epoch)
            body["lanes"] = {}  # what was backlog then is live now
        return msgspec.json.encode(body)

    def _media(self, message: Recorded) -> Recorded | None:
        fields = dict(message.properties)
        if not {"epoch", "seq", "oldest", "at", "sealed_at"} <= fields.keys():
            return message
        base = self._first.setdefault((fields["epoch"], "media"), int(fields["seq"])) - 1
        if int(fields["seq"]) <= base:
            return None
        fields["seq"] = str(int(fields["seq"]) - base)
        fields["oldest"] = str(max(int(fields["oldest"]) - base, 1))
        fields["epoch"] = self._epoch(fields["epoch"])
        for name in ("at", "sealed_at"):
            fields[name] = str(self._later(int(fields[name])))
        return Recorded(
            message.t, message.topic, message.payload, message.retained, tuple(fields.items())
        )

    def _epoch(self, epoch: str) -> str:
        return self._epochs.setdefault(epoch, str(uuid.uuid4()))

    def _later(self, moment: int) -> int:
        if self._shift is None:
            self._shift = self._now - moment
        return max(moment + self._shift, 0)

    def _moved(self, value: Any) -> Any:
        """Return a value with every time in it moved."""
        if isinstance(value, dict):
            return {
                name: self._later(inner)
                if name in _TIMES and isinstance(inner, int) and not isinstance(inner, bool)
                else self._moved(inner)
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self._moved(inner) for inner in value]
        return value


def _with(message: Recorded, payload: bytes) -> Recorded:
    return Recorded(message.t, message.topic, payload, message.retained, message.properties)


class Replay:
    """Publishes the messages of a file with the pauses between them."""

    def __init__(
        self,
        broker: BrokerSettings,
        path: Path,
        clock: Clock,
        *,
        speed: float | None = 1.0,
        afresh: bool = False,
        patience_s: float = 10.0,
    ) -> None:
        """``speed`` None is flat out; ``afresh`` publishes as if it happened now.

        ``patience_s`` is for the connection to the broker.
        """
        self._patience_s = patience_s
        self._path = path
        self._speed = speed
        self._afresh = Afresh(clock.now_ms()) if afresh else None
        self._stopping = threading.Event()
        self._link = Link(broker, LinkOptions(client_id=f"replay:{uuid.uuid4().hex[:8]}"))
        self._under_way: deque[Future[int]] = deque()
        self.published = 0
        self.before_first = 0
        """Batches below the first that the recording has of their lane."""
        self.left_out = 0
        """Receipts, colours and collector statuses: a replay does not speak for a collector."""

    def stop(self) -> None:
        """Make :meth:`run` end."""
        self._stopping.set()

    def run(self, told: Callable[[int], None] | None = None) -> int:
        """Publish everything; return how many messages. Raises :class:`EstateError`."""
        self._link.start()
        try:
            if not self._link.wait_connected(self._patience_s):
                raise EstateError("the broker cannot be reached")
            began = last = time.monotonic()
            for message in read(self._path):
                self._pause(message.t, began)
                if self._stopping.is_set():
                    break
                self._publish(message)
                if told is not None and time.monotonic() - last > 1:
                    last = time.monotonic()
                    told(self.published)
            while self._under_way:
                self._settle()
            return self.published
        finally:
            self._link.stop()

    def _pause(self, t: int, began: float) -> None:
        if self._speed is not None:
            due = began + t / 1000 / self._speed
            self._stopping.wait(max(due - time.monotonic(), 0))

    def _publish(self, message: Recorded) -> None:
        if _is_the_collectors(message.topic):
            self.left_out += 1
            return
        if self._afresh is not None:
            made = self._afresh.remake(message)
            if made is None:
                self.before_first += 1
                return
            message = made
        jpeg = message.payload.startswith(b"\xff\xd8")
        self._under_way.append(
            self._link.publish(
                message.topic, message.payload, retain=message.retained or _retains(message.topic),
                properties=list(message.properties) or None,
                content_type="image/jpeg" if jpeg else None,
            )
        )  # fmt: skip
        self.published += 1
        if len(self._under_way) >= _IN_FLIGHT:
            self._settle()

    def _settle(self) -> None:
        try:
            self._under_way.popleft().result(_ANSWER_S)
        except (RetryableError, TimeoutError) as error:
            raise EstateError(f"after {self.published} messages: {error}") from None


def _is_the_collectors(topic: str) -> bool:
    if not topic.startswith(topics.ROOT):
        return False
    return topic == topics.COLLECTOR_STATUS or topic.endswith(_COLLECTORS) or "/alert/" in topic


def _retains(topic: str) -> bool:
    """Births are retained, but a subscriber that was there already is not told so."""
    return topic.startswith(topics.ROOT) and topic.endswith("/status")
