"""What the JSON drivers have in common: a payload comes in, observations and health go out."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path

import structlog

from edge.driver import DriverContext, DriverSink, LinkError, insist
from edge.mapping.mapper import Heard, Mapper, RefusedError, decode
from edge.mapping.model import Mapping as MappingFile
from edge.mapping.teller import Emit, Teller
from edge.pseudonym import Pseudonyms, read_key, read_or_make_key

_log = structlog.get_logger(__name__)

#: Longest payload that is read.
MOST_BYTES = 1 << 20


class Reception:
    """Reads the payloads of one connection, one after the other."""

    def __init__(
        self,
        name: str,
        mapping: MappingFile,
        devices: Mapping[str, str],
        context: DriverContext,
        key_file: Path | None,
    ) -> None:
        self._name = name
        self._mapping = mapping
        self._devices = devices
        self._context = context
        self._key_file = key_file
        self._lock = asyncio.Lock()
        self._refusals: set[str] = set()
        self._sink: DriverSink
        self._mapper: Mapper
        self._teller: Teller

    def open(self, sink: DriverSink) -> None:
        """Read the key and what was told before; raise :class:`SettingsError`."""
        context = self._context
        pseudonyms = None
        if self._mapping.private:
            key = (
                read_or_make_key(context.data / "pseudonym.key")
                if self._key_file is None
                else read_key(context.base / self._key_file)
            )
            pseudonyms = Pseudonyms(key)
        self._sink = sink
        self._mapper = Mapper(self._mapping, self._devices, pseudonyms)
        digest = hashlib.sha256(f"{self._name}\0{self._mapping.name}".encode()).hexdigest()[:16]
        keeps = any(tell.once for rule in self._mapping.messages for tell in rule.tell)
        self._teller = Teller(context.data / f"records-{digest}.json" if keeps else None)
        self._teller.restore()

    async def take(
        self, payload: bytes, topic: str | None, *, patient: bool, alive: bool = True
    ) -> Heard:
        """Tell what a payload says; return when all of it is committed.

        With ``patient`` a full journal is waited for; without, its error is raised. Without
        ``alive`` (a retained message) nobody counts as reached. Raises :class:`RefusedError`
        for what is no JSON.
        """
        sink = self._sink
        sink.count("messages")
        if len(payload) > MOST_BYTES:
            sink.count("messages_too_long")
            raise RefusedError(f"{len(payload)} bytes; at most {MOST_BYTES} are read")
        try:
            message = decode(payload, self._mapping.encoding)
        except RefusedError:
            sink.count("messages_not_json")
            raise
        async with self._lock:
            heard = self._mapper.read(message, topic, self._context.clock.now_ms())
            self._count(heard)
            if alive:
                await self._health(heard)
            emit: Emit = (lambda act: insist(act, sink)) if patient else (lambda act: act())
            await self._teller.tell(heard, sink, emit)
        return heard

    def _count(self, heard: Heard) -> None:
        for name, amount in heard.counts.items():
            self._sink.count(name, amount)
        if not heard.matched:
            self._sink.count("messages_without_rule")
        for device, reason in heard.refused:
            self._sink.count("refused_parts")
            # The first of each kind; the counter has the rest.
            if len(self._refusals) < 50 and reason not in self._refusals:
                self._refusals.add(reason)
                _log.warning("message_refused", driver=self._name, device=device, reason=reason)

    async def _health(self, heard: Heard) -> None:
        refused = {device: reason for device, reason in heard.refused if device is not None}
        for device in heard.devices:
            if device in refused:
                await self._sink.failed(device, LinkError(refused[device], "protocol"))
            else:
                await self._sink.reached(device)
