"""Where an edge listens to itself: local rules and bridges hear what goes to the outbox.

They hear it before the commit, so that a slow or a full disk holds no siren back. What the
journal refuses is read or told again later; it is not heard twice.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog

from core.contracts.codec import Event, encode, make_event
from core.contracts.errors import ContractError, JournalError
from core.runtime.clock import Clock
from edge.driver import Sink

log = structlog.get_logger(__name__)

Listener = Callable[[Event], None]
_REMEMBERED = 2_000


def identity(event: Event) -> str:
    """Return what is the same whenever an event is told again: all of it but when it was seen."""
    same = msgspec.structs.replace(event, seen=0)  # type: ignore[type-var]  # events are structs
    return hashlib.blake2b(encode(same), digest_size=12).hexdigest()


class Tap:
    """A :class:`edge.driver.Sink` that lets others hear, and passes everything on."""

    def __init__(self, sink: Sink, clock: Clock) -> None:
        self._sink = sink
        self._clock = clock
        self._listeners: Sequence[Listener] = ()
        self._unsure: OrderedDict[str, None] = OrderedDict()
        self._since: OrderedDict[str, None] = OrderedDict()
        self.failures = 0

    def listen(self, *listeners: Listener) -> None:
        """Let these hear from now on, and nobody else; they must only fold or enqueue."""
        self._listeners = listeners

    def mark(self) -> None:
        """Name from now on what is committed, so that it can be told from what was before."""
        self._since.clear()

    def unsure(self) -> list[str]:
        """Return the identities of what was heard and not known to be committed at the mark."""
        return [*self._unsure, *self._since]

    async def emit(
        self,
        kind: str,
        device: str,
        data: dict[str, Any],
        at: int | None = None,
        id: str | None = None,
    ) -> None:
        """Let everybody hear one observation and pass it on."""
        if not self._listeners:
            await self._sink.emit(kind, device, data, at, id)
            return
        now = self._clock.now_ms()
        at = now if at is None else at
        name = self._tell(kind, device, data, at, now, id)
        try:
            await self._sink.emit(kind, device, data, at, id)
        except JournalError:
            raise
        except ContractError:
            self._unsure.pop(name, None)
            raise
        self._unsure.pop(name, None)
        self._since[name] = None
        while len(self._since) > _REMEMBERED:
            self._since.popitem(last=False)

    async def snapshot(self, device: str, at: int, media_id: str, jpeg: bytes) -> None:
        """Pass a picture on."""
        await self._sink.snapshot(device, at, media_id, jpeg)

    def _tell(
        self, kind: str, device: str, data: dict[str, Any], at: int, now: int, id: str | None
    ) -> str:
        try:
            event = make_event(kind, device=device, at=at, seen=now, data=data, id=id)
        except ContractError:
            return ""  # the outbox says so, and why
        name = identity(event)
        if name in self._unsure:
            return name
        self._unsure[name] = None
        while len(self._unsure) > _REMEMBERED:
            self._unsure.popitem(last=False)
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                # Whoever listens must not keep an observation from the journal.
                self.failures += 1
                if self.failures % 100 == 1:
                    log.exception("a listener failed", kind=kind, device=device)
        return name
