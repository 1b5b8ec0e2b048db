"""The laws that a run is judged by."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from core.contracts.log import BatchEntry, EventEntry, LogEntry, decode_entry
from core.contracts.outputs import AlertOutput
from core.storage.journal.reader import JournalReader
from core.storage.series import open_reader
from estate.audit import audit_of
from rules.engine import Engine
from tests.simulation.scheduler import Process, Task, the
from tests.simulation.traffic import Emission, devices_of

if TYPE_CHECKING:
    from tests.simulation.parts import Edge
    from tests.simulation.world import Outcome, World

FOREVER = 4_102_444_800_000
Key = tuple[str, str, int]
#: (edge, epoch, lane) of a batch.
Stream = tuple[str, str, str]


def judge(world: World, outcome: Outcome) -> None:
    """Judge a run that has come to rest; say in ``outcome.broken`` what does not hold."""
    auditor = Process("auditor", world.collector.name)

    def look() -> None:
        _Judge(world, outcome).all()

    task: Task = the().spawn(auditor, "auditor", look)
    the().run(lambda: task.done, the().now + 1)
    outcome.broken += [text for name, text in the().failures if name == "auditor"]


class _Judge:
    def __init__(self, world: World, outcome: Outcome) -> None:
        self._world = world
        self._outcome = outcome
        self._log = _read_log(world)
        self._letters = _letters(world)

    def all(self) -> None:
        self._streams()
        stored = self._stored()
        for edge in self._world.edges:
            self._conserved(edge, stored)
        self._alerts()
        self._audited()

    def _break(self, what: str) -> None:
        self._outcome.broken.append(what)

    def _streams(self) -> None:
        """Every batch is in the log once, and in its lane's order; what is not is declared."""
        self.seqs: dict[Stream, list[int]] = {}
        self.holes: dict[Stream, set[int]] = {}
        for entry in self._log:
            if isinstance(entry, BatchEntry):
                batch = entry.batch
                self.seqs.setdefault((batch.edge, batch.epoch, batch.lane), []).append(batch.seq)
            elif isinstance(entry, EventEntry) and entry.event.kind == "edge.hole":
                data = entry.event.data
                stream = (entry.event.device, data.epoch, data.lane)
                gone = range(data.first_seq, data.last_seq + 1)
                self.holes.setdefault(stream, set()).update(gone)
        for stream, seqs in self.seqs.items():
            if any(b <= a for a, b in itertools.pairwise(seqs)):
                self._break(f"{stream}: not once and in order: {seqs}")
            wanted = set(range(1, max(seqs) + 1)) - set(seqs)
            if wanted != self.holes.get(stream, set()):
                self._break(f"{stream}: {wanted} missing, {self.holes.get(stream)} declared")

    def _stored(self) -> Counter[Key]:
        """Return what the series store holds of each device."""
        reader = open_reader(self._world.collector.settings)
        found: Counter[Key] = Counter()
        try:
            for edge in self._world.edges:
                for device in [edge.name, *(device for device, _ in devices_of(edge.name))]:
                    for event in reader.events(device, 0, FOREVER, limit=100_000):
                        found[device, event.kind, event.at] += 1
        finally:
            reader.close()
        return found

    def _declared(self, edge: Edge) -> int:
        """Return the events of the batches that an edge says it dropped, and that never came."""
        stones: dict[tuple[str, str, int, int], int] = {}
        for entry in self._log:
            if isinstance(entry, BatchEntry) and entry.batch.edge == edge.name:
                for _, event in entry.batch.events:
                    if event.kind == "edge.dropped":
                        data = event.data
                        key = (entry.batch.epoch, data.lane, data.first_seq, data.last_seq)
                        stones[key] = data.events
        self._holes_declared(edge, stones)
        total = 0
        counted: set[tuple[str, str, int]] = set()
        # A note that was dropped itself may be carried again as a part of a longer one.
        for key in sorted(stones, key=lambda key: key[2] - key[3]):
            epoch, lane, first, last = key
            seqs = {(epoch, lane, seq) for seq in range(first, last + 1)}
            events = 0 if seqs <= counted else stones[key]
            counted |= seqs
            came = set(self.seqs.get((edge.name, epoch, lane), ())) & set(range(first, last + 1))
            # After a disk was put back the note may count as before the new epoch.
            if not came or edge.name in self._world.restored:
                total += events
            elif len(came) != last + 1 - first:
                self._break(f"{edge.name} {lane} {first}-{last}: partly there, yet dropped")
        return total

    def _holes_declared(self, edge: Edge, stones: dict[tuple[str, str, int, int], int]) -> None:
        """Whatever the collector passed over, the edge has counted."""
        for (name, epoch, lane), seqs in self.holes.items():
            counted: set[int] = set()
            for own, of, first, last in stones:
                if (own, of) == (epoch, lane):
                    counted.update(range(first, last + 1))
            if name == edge.name and self._vouched(edge, epoch) and seqs - counted:
                self._break(f"{name} {lane}: {seqs - counted} passed over, and not declared")

    def _vouched(self, edge: Edge, epoch: str) -> bool:
        """Tell whether an epoch's notes cannot have been lost: with a disk, only the last's."""
        if edge.name not in self._world.restored:
            return True
        meta = edge.disk.file(edge.path).keeper
        (now,) = meta.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
        return bool(epoch == now != self._world.first_epoch[edge.name])

    def _conserved(self, edge: Edge, stored: Counter[Key]) -> None:
        """Journalled = stored + dead-lettered + declared dropped; nothing twice, nothing new."""
        kept = {e.key: e for e in edge.kept.values() if e.id not in edge.unsafe}
        again = {e.key for e in self._emitted(edge) if e.id in edge.unsafe}
        doubtful = {e.key: e for e in edge.doubtful.values()}
        known = kept.keys() | doubtful.keys() | again
        own = {device for device, _ in devices_of(edge.name)}
        here = Counter({key: n for key, n in stored.items() if key[0] in own})
        arrived = here + Counter({key: n for key, n in self._letters.items() if key[0] in own})
        twice = {key: n for key, n in arrived.items() if n > 1}
        if twice.keys() - again:
            self._break(f"{edge.name}: twice: {twice}")
        if invented := arrived.keys() - known:
            self._break(f"{edge.name}: never journalled: {invented}")
        missing = kept.keys() - arrived.keys()
        declared = self._declared(edge)
        self._outcome.events += len(kept)
        self._outcome.declared += declared
        if edge.name in self._world.restored:
            if missing and not declared:
                self._break(f"{edge.name}: lost after its disk was put back: {missing}")
            return
        uncertain = doubtful.keys() - arrived.keys()
        # What declares a loss is an event, too, and may be lost and declared itself.
        notes = edge.disk.file(edge.path).notes - here_notes(stored, edge.name)
        lost = len(missing) + notes
        if not lost <= declared <= lost + len(uncertain):
            self._break(
                f"{edge.name}: {len(kept)} journalled, {len(arrived)} arrived, {len(missing)} and "
                f"{notes} notes missing, {declared} declared, {len(uncertain)} uncertain: "
                f"{sorted(missing)[:5]}"
            )

    def _audited(self) -> None:
        """``estate audit`` says the same of what is on the disks."""
        collector = self._world.collector
        assert collector.app is not None
        reader = open_reader(collector.settings)
        found = audit_of(
            collector.disk.folder / "collector.sqlite",
            [edge.path for edge in self._world.edges],
            reader,
            collector.app.records,
        )
        reader.close()
        if not found.exact and not self._world.restored:
            self._break("\n".join(["the audit:", *found.lines()]))

    @staticmethod
    def _emitted(edge: Edge) -> list[Emission]:
        return [*edge.kept.values(), *edge.doubtful.values()]

    def _alerts(self) -> None:
        """The alerts are those of one fold over the whole log, each once."""
        engine = Engine()
        wanted: dict[str, tuple[int, Any]] = {}
        for entry in self._log:
            for output in engine.apply(entry):
                if isinstance(output, AlertOutput):
                    wanted[output.alert.id] = (output.alert.revision, output.alert.cleared_at)
        rows = _records(self._world).execute("SELECT id, revision, cleared_at FROM alert")
        found = {id_: (revision, cleared) for id_, revision, cleared in rows.fetchall()}
        if found != wanted:
            self._break(f"alerts differ from the log's fold: {found} {wanted}")


def here_notes(stored: Counter[Key], edge: str) -> int:
    """Return how many notes of an edge's losses are stored."""
    return sum(n for key, n in stored.items() if key[:2] == (edge, "edge.dropped"))


def _records(world: World) -> Any:
    return world.collector.disk.file(world.collector.disk.folder / "records.sqlite").keeper


def _read_log(world: World) -> list[LogEntry]:
    reader = JournalReader(world.collector.disk.folder / "collector.sqlite")
    reader.open()
    found: list[LogEntry] = []
    after = 0
    while entries := reader.read(after, limit=2000):
        found += [decode_entry(e.lane, e.pos, e.seq, e.at, e.body) for e in entries]
        after = entries[-1].pos
    reader.close()
    return found


def _letters(world: World) -> Counter[Key]:
    """Return the dead letters by what they were."""
    found: Counter[Key] = Counter()
    for (raw,) in _records(world).execute("SELECT raw FROM dead_letter").fetchall():
        event = json.loads(re.sub(rb"[^\x20-\x7e]", b"?", raw))
        found[event["device"], event["kind"], event["at"]] += 1
    return found
