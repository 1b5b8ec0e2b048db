"""Mutants of the durability code: each is a way to lose or double something.

A mutant replaces one passage of a module's source; the functions whose code changes by it get
the new code in place, whoever holds them, and the old one back afterwards.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """One passage of a module, and what a careless change would make of it.

    ``seed`` is one that is known to notice it; it is only tried first.
    """

    name: str
    module: str
    passage: str
    instead: str
    seed: int = 1

    def __str__(self) -> str:
        return self.name


MUTANTS = [
    Mutant(
        "the journal is not synced",
        "core.storage.journal.schema",
        'readonly=readonly, synchronous="FULL"',
        'readonly=readonly, synchronous="NORMAL"',
    ),
    Mutant(
        "the receipt says what was accepted, not what is committed",
        "collector.ingest",
        "{str(lane): stream.committed for",
        "{str(lane): stream.accepted for",
        seed=15,
    ),
    Mutant(
        "a batch that the log refused counts as committed",
        "collector.ingest",
        "if isinstance(answer, list):\n                stream.commit(seq)\n"
        "                pos = answer[-1].pos\n",
        "if True:\n                stream.commit(seq)\n                pos = 0\n",
        seed=15,
    ),
    Mutant(
        "a receipt goes beyond the contiguous seq",
        "collector.streams",
        "if seq == self.accepted + 1:",
        "if seq > self.accepted:",
        seed=4,
    ),
    Mutant(
        "a refused batch stays accepted",
        "collector.streams",
        "self.accepted = self.committed",
        "self.accepted = self.accepted",
        seed=15,
    ),
    Mutant(
        "a hole is passed over without a word",
        "collector.ingest",
        "_Taken(key, seq, [*appends, batch])",
        "_Taken(key, seq, [batch])",
        seed=4,
    ),
    Mutant(
        "a restarted collector does not know what it has",
        "collector.ingest",
        "= Stream(last, last)",
        "= Stream()",
        seed=7,
    ),
    Mutant(
        "an eviction leaves no tombstone",
        "core.storage.journal.room",
        "self._lanes.evict(excess, reason, self._window)",
        "self._lanes.evict(excess, reason, self._window)[:0]",
        seed=4,
    ),
    Mutant(
        "what may have arrived shares a tombstone with what cannot have",
        "core.storage.journal.lanes",
        "uncertain = {lane.name: self._maybe_sent(lane, window) for",
        "uncertain = {lane.name: 0 for",
        seed=4,
    ),
    Mutant(
        "a new epoch keeps the old numbers",
        "core.storage.journal.lanes",
        "shift = lane.last if first is None else first - 1",
        "shift = 0",
        seed=5,
    ),
    Mutant(
        "a receipt deletes one batch too many",
        "core.storage.journal.lanes",
        '"lane = ? AND seq <= ?", (lane.id, through))',
        '"lane = ? AND seq <= ?", (lane.id, through + 1))',
        seed=18,
    ),
    Mutant(
        "a batch is deleted when it is sent",
        "edge.uplink",
        "self._journal.note_sent(lane, entries[-1].seq).result()",
        "self._journal.acknowledge(lane, entries[-1].seq).result()",
        seed=9,
    ),
    Mutant(
        "a batch is sent before that is noted",
        "edge.uplink",
        "self._journal.note_sent(lane, entries[-1].seq).result()",
        "entries[-1].seq",
    ),
    Mutant(
        "any receipt is believed",
        "edge.receipts",
        "return seq == 0 or (lane is not None and seq <= lane.sent)",
        "return True",
        seed=5,
    ),
    Mutant(
        "the window is ignored",
        "core.contracts.window",
        "return self.size - (self.sent - self.acknowledged)",
        "return self.size",
        seed=4,
    ),
    Mutant(
        "a lane never goes back",
        "core.contracts.window",
        "if self.deadline is None or now < self.deadline:",
        "if True:",
        seed=15,
    ),
    Mutant(
        "a device is answered before the commit",
        "edge.outbox",
        "await asyncio.shield(batch.committed)",
        "await asyncio.sleep(0)",
    ),
    Mutant(
        "a day file's cursor is advanced early",
        "core.storage.series.days",
        "connection.execute(_ADVANCE, (self._log, position))",
        "connection.execute(_ADVANCE, (self._log, position + 1))",
    ),
    Mutant(
        "a day file's cursor is not advanced",
        "core.storage.series.days",
        "if position <= passed:",
        "if False:",
        seed=9,
    ),
    Mutant(
        "the manifest is ahead of the day files",
        "core.storage.series.embedded",
        "self._append(day, (), self._progress.written, durable=True)",
        "self._append(day, (), self._progress.written, durable=False)",
        seed=7,
    ),
    Mutant(
        "refused points count as kept before they are dead letters",
        "core.storage.series.progress",
        "self.settled = position if not refused else self.written",
        "self.settled = position",
        seed=68,
    ),
    Mutant(
        "a fold whose storing failed is folded again",
        "collector.rules_projection",
        "if chunk.position > self._folded:",
        "if True:",
        seed=26,
    ),
    Mutant(
        "a projector skips what its store refused",
        "collector.projector",
        "                self._background.stopping.wait(wait)\n                wait = min(",
        "                return True\n                wait = min(",
        seed=3,
    ),
]


def _functions(code: types.CodeType) -> Iterator[tuple[str, types.CodeType]]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant.co_qualname, constant
            yield from _functions(constant)


def _resolve(module: types.ModuleType, path: str) -> types.FunctionType | None:
    found: object = module
    for part in path.split("."):
        if part == "<locals>":
            return None
        found = vars(found).get(part)
        found = getattr(found, "fget", None) or getattr(found, "__func__", None) or found
        if found is None:
            return None
    return found if isinstance(found, types.FunctionType) else None


@contextmanager
def mutated(mutant: Mutant) -> Iterator[None]:
    """Put a mutant in force; raise ValueError where its passage is not there exactly once."""
    module = importlib.import_module(mutant.module)
    source = inspect.getsource(module)
    if source.count(mutant.passage) != 1:
        raise ValueError(
            f"{mutant.name}: {mutant.module} has its passage {source.count(mutant.passage)} times;"
            " the code has changed, so write the mutant anew"
        )
    text = source.replace(mutant.passage, mutant.instead)
    ast.parse(text)
    file = inspect.getfile(module)
    before = dict(_functions(compile(source, file, "exec")))
    changed: list[tuple[types.FunctionType, types.CodeType]] = []
    for path, code in _functions(compile(text, file, "exec")):
        function = _resolve(module, path)
        if function is not None and code != before[path]:
            changed.append((function, function.__code__))
            function.__code__ = code
    if not changed:
        raise ValueError(f"{mutant.name}: nothing changes by it")
    try:
        yield
    finally:
        for function, code in changed:
            function.__code__ = code
