"""The way of an observation through the derivations to the reporter, and their memory."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from core.contracts.errors import ContractError
from core.storage.files import write_whole
from edge.derive.derivation import Derivation
from edge.driver import Sink
from edge.observation import Observation

_log = structlog.get_logger(__name__)


class Pipeline:
    """Takes what the drivers see (a :class:`edge.driver.Sink`) and passes on what follows, too.

    What follows from an observation is owed until the sink has taken it: a journal that is full
    for a while loses no conclusion.
    """

    def __init__(
        self,
        sink: Sink,
        derivations: Sequence[Derivation],
        now_ms: Callable[[], int],
        memory: Path | None = None,
    ) -> None:
        """``memory`` is the file in which the derivations are remembered (none: not at all)."""
        self._sink = sink
        self._derivations: Sequence[Derivation] = ()
        self._now_ms = now_ms
        self._memory = memory
        self._saved = ""
        self._by_kind: dict[str, list[Derivation]] = defaultdict(list)
        self._set(derivations)
        self._owed: deque[Observation] = deque()
        self._paying = asyncio.Lock()
        self.counts: Counter[str] = Counter()

    async def emit(
        self,
        kind: str,
        device: str,
        data: dict[str, Any],
        at: int | None = None,
        id: str | None = None,
    ) -> None:
        """Fold one observation and pass it on; returns after the journal's commit.

        Raises what the sink raises; the observation then counts as not told.
        """
        seen = Observation(kind, device, data, self._now_ms() if at is None else at, id)
        for derivation in self._by_kind.get(kind, ()):
            derived = derivation.take(seen)
            seen = derived.observation
            self._owed.extend(derived.follows)
        await self._sink.emit(seen.kind, seen.device, seen.data, seen.at, seen.id)
        await self._pay()

    async def snapshot(self, device: str, at: int, media_id: str, jpeg: bytes) -> None:
        """Pass a picture on."""
        await self._sink.snapshot(device, at, media_id, jpeg)

    async def wake(self) -> None:
        """Let the derivations whose time has come conclude; raise what the sink raises."""
        now = self._now_ms()
        for derivation in self._derivations:
            due = derivation.due()
            if due is not None and due <= now:
                self._owed.extend(derivation.wake(now))
        await self._pay()

    def renew(self, derivations: Sequence[Derivation]) -> None:
        """Take over other derivations; those of the same name remember what the old ones did."""
        memories = {derivation.name: derivation.memory() for derivation in self._derivations}
        for derivation in derivations:
            if derivation.name in memories:
                derivation.remember(memories[derivation.name])
        self._set(derivations)

    def _set(self, derivations: Sequence[Derivation]) -> None:
        self._derivations = derivations
        self._by_kind.clear()
        for derivation in derivations:
            for kind in derivation.kinds:
                self._by_kind[kind].append(derivation)

    def restore(self) -> None:
        """Read what an earlier run remembered; a file that cannot be read is as good as none."""
        if self._memory is None or not self._memory.exists():
            return
        try:
            self._saved = self._memory.read_text(encoding="utf-8")
            known = json.loads(self._saved)
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("derivations_forgotten", file=str(self._memory), error=str(error))
            return
        for derivation in self._derivations:
            if isinstance(known, dict) and derivation.name in known:
                derivation.remember(known[derivation.name])

    def save(self) -> None:
        """Write what is remembered, if it has changed; raise OSError."""
        if self._memory is None:
            return
        memory = json.dumps({d.name: d.memory() for d in self._derivations}, sort_keys=True)
        if memory == self._saved:
            return
        write_whole(self._memory, memory.encode(), synced=False)
        self._saved = memory

    async def _pay(self) -> None:
        async with self._paying:
            while self._owed:
                item = self._owed[0]
                try:
                    await self._sink.emit(item.kind, item.device, item.data, item.at, item.id)
                except ContractError as refused:
                    self.counts["derived_refused"] += 1
                    _log.error("derived_refused", kind=item.kind, error=str(refused))
                else:
                    self.counts["derived"] += 1
                self._owed.popleft()
