"""A backup that is taken under load, a machine that is lost, and what is there afterwards."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from core.contracts.errors import InUseError
from core.contracts.log import CONTROL, BatchEntry, decode_entry
from core.contracts.ports import StoredPoint
from core.storage import backup
from core.storage.journal import Journal
from core.storage.records import Records, conservation, refusals
from core.storage.records.conservation import Law
from core.storage.records.ledger_models import LedgerLine
from core.storage.series import open_reader
from tests.servers import Server
from tests.wire.harness import FOREVER, SITE, Collector, SyntheticEdge, run, until

pytestmark = pytest.mark.mosquitto

Part = Collector | SyntheticEdge
KINDS = ("meter.reading", "device.health", "access.granted")


def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def parts() -> Iterator[list[Part]]:
    """What has been started: it is stopped however the test ends, the last first."""
    started: list[Part] = []
    yield started
    for part in reversed(started):
        asyncio.run(part.stop())


async def start(parts: list[Part], *fresh: Part) -> None:
    for part in fresh:
        parts.append(part)
        await part.start()


def stored(collector: Collector, *kinds: str) -> list[StoredPoint]:
    reader = open_reader(collector.settings)
    try:
        return [point for kind in kinds or KINDS for point in reader.scan(kind, 0, FOREVER)]
    finally:
        reader.close()


def refs(collector: Collector) -> Counter[int]:
    """Return how often each numbered event is stored."""
    return Counter(int(point.ref or 0) for point in stored(collector))


def batches(journal: Journal) -> dict[tuple[str, int], set[int]]:
    """Return for each (lane, seq) of the log the numbers of its events."""
    reader, found, after = journal.reader(), {}, 0
    while entries := reader.read(after, limit=1000):
        for raw in entries:
            entry = decode_entry(raw.lane, raw.pos, raw.seq, raw.at, raw.body)
            if isinstance(entry, BatchEntry):
                ids = {int(event.id) for _, event in entry.batch.events if event.id}
                found[str(entry.batch.lane), entry.batch.seq] = ids
            after = raw.pos
    reader.close()
    return found


def losses(collector: Collector) -> list[dict[str, Any]]:
    records = Records(collector.settings.records_url).open()
    try:
        with records.reading() as session:
            return refusals.list_losses(session).items
    finally:
        records.close()


def accounts(collector: Collector) -> tuple[Law, int]:
    """Return the law of the restored accounts, and what edges' batches they count as stored."""
    records = Records(collector.settings.records_url).open()
    try:
        with records.reading() as session:
            own = select(func.sum(LedgerLine.stored)).where(LedgerLine.lane != CONTROL)
            return conservation.law(session, 0, FOREVER), int(session.scalar(own) or 0)
    finally:
        records.close()


async def law_after(collector: Collector, edges: int | None = None) -> Law:
    """Return the conservation law of the restored accounts once all that is stored is counted.

    That is what the store holds; or of the edges' events so many, where it holds others, too.
    """

    def held() -> int:
        reader = open_reader(collector.settings)
        try:
            return sum(reader.counts(0, FOREVER).values())
        finally:
            reader.close()

    def is_counted() -> bool:
        law, own = accounts(collector)
        known = law.total.stored == held() if edges is None else own == edges
        return law.total.on_its_way == 0 and known

    await until(is_counted, "what is stored is counted, and nothing else")
    return (await asyncio.to_thread(accounts, collector))[0]


async def take_under_load(
    edge: SyntheticEdge, collector: Collector, target: Path
) -> tuple[int, set[int]]:
    """Back up while events come; return what was there when it began.

    That is the number through which the edge, and all numbers that the collector had journalled.
    """
    await until(lambda: edge.uplink.heard, "the collector listens")
    await edge.emit_many(200)
    before = edge.number
    load = asyncio.create_task(edge.emit_many(900, seed=2))
    await until(lambda: edge.number > before + 100, "the load has begun")
    began = edge.number - 50  # those under way are not promised yet
    logged = await asyncio.to_thread(lambda: batches(collector.app.journal).values())
    wishes = backup.Wishes()
    await asyncio.to_thread(backup.take, collector.settings, None, target, now(), wishes)
    assert not load.done(), "the backup was taken under load"
    await load
    await edge.emit_many(200, seed=3)
    await until(edge.drained, "the outbox is empty")
    await collector.settle()
    assert set(refs(collector)) == set(range(1, edge.number + 1))
    return began, set().union(*logged)


@pytest.mark.parametrize(
    "series", ["embedded", pytest.param("influxdb", marks=pytest.mark.influxdb)]
)
def test_a_lost_collector_comes_back_and_what_is_lost_is_declared_exactly(
    series: str,
    mosquitto: Server,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    parts: list[Part],
) -> None:
    """The edge lives on: it has deleted what the collector receipted after the backup."""
    more: dict[str, Any] = {}
    if series == "influxdb":
        url = request.getfixturevalue("influxdb").url
        influx = {"url": url, "database": request.getfixturevalue("influxdb_database")}
        more = {"series": {"kind": "influxdb", "influxdb": influx}}

    async def main() -> None:
        name = f"lost-{series}"
        collector = Collector(tmp_path, mosquitto, name, **more)
        edge = SyntheticEdge(tmp_path, mosquitto, name)
        await start(parts, collector, edge)
        target = tmp_path / "backup"
        _, logged = await take_under_load(edge, collector, target)
        former = batches(collector.app.journal)
        await collector.stop()
        assert {f.part for f in backup.verify(target).files} >= {"records", "journal"}

        shutil.rmtree(collector.settings.data)
        done = await asyncio.to_thread(backup.restore, target, collector.settings, now())
        assert done.declared == 1
        await collector.start()
        await edge.emit_many(200, seed=4)
        await until(edge.drained, "the outbox is empty")
        await until(lambda: _passed(collector, edge), "what came after the restore is stored")
        await collector.settle()

        found = refs(collector)
        assert set(found.values()) == {1}, "nothing twice"
        lost = set(range(1, edge.number + 1)) - set(found)
        declared = losses(collector)
        holes = [loss for loss in declared if loss["reason"] == "hole"]
        in_holes = {
            number
            for loss in holes
            for seq in range(loss["first_seq"], loss["last_seq"] + 1)
            for number in former[loss["lane"], seq]
        }
        assert in_holes, "the collector has forgotten what it had receipted"
        assert not lost & logged, "what was journalled before the backup is there"
        # Of the former life the accounts know what the backup knows.
        gone = in_holes | of_silent_lanes(former, batches(collector.app.journal))
        if series == "embedded":
            assert lost == gone, "exactly what is missing is declared"
        else:
            assert lost == set(), "InfluxDB was not lost, and nothing new is skipped"
        assert [(x["site"], x["edge"]) for x in declared if x["reason"] == "restored"] == [
            (SITE, name)
        ]
        assert {loss["reason"] for loss in declared} == {"hole", "restored"}
        # InfluxDB holds what was lost as well, which nobody has counted in this life.
        law = await law_after(collector, None if series == "embedded" else edge.number - len(gone))
        # What came after the backup is gone with its accounts; of the holes the batches are
        # known, and that nobody says how many events they had.
        assert (law.total.missing, law.total.surplus, law.total.absent) == (0, 0, 0)
        assert law.total.received == law.total.stored
        passed = sum(loss["last_seq"] - loss["first_seq"] + 1 for loss in holes)
        assert (law.total.undeclared, law.unknown) == (passed, 1)

    run(main())


def of_silent_lanes(
    former: dict[tuple[str, int], set[int]], now_logged: dict[tuple[str, int], set[int]]
) -> set[int]:
    """Return what is lost of lanes that have had nothing to say since: a hole is found later."""
    last = dict(sorted(former))
    spoken = {lane for lane, seq in now_logged if seq > last.get(lane, 0)}
    gone = former.keys() - now_logged.keys()
    return {n for lane, seq in gone if lane not in spoken for n in former[lane, seq]}


def _passed(collector: Collector, edge: SyntheticEdge) -> bool:
    return edge.number in refs(collector)


@pytest.mark.parametrize("broker", ["is wiped", "still has the old receipt"])
def test_a_lost_machine_with_its_edge_comes_back_without_doubles(
    broker: str, mosquitto: Server, tmp_path: Path, parts: list[Part]
) -> None:
    """The edge's outbox was lost, too: it is restored to what the journal has of it."""
    wiped = broker == "is wiped"
    name = f"whole-{wiped}"

    async def main() -> None:
        collector = Collector(tmp_path, mosquitto, name)
        edge = SyntheticEdge(tmp_path, mosquitto, name)
        edge.path = collector.settings.data / "edges" / name / "outbox.sqlite"
        edge.path.parent.mkdir(parents=True)
        await start(parts, collector, edge)
        target = tmp_path / "backup"
        began, logged = await take_under_load(edge, collector, target)
        epoch = edge.journal.epoch
        with pytest.raises(InUseError, match="in use"):
            backup.restore(target, collector.settings, now(), replace=True)
        await edge.stop()
        await collector.stop()

        if wiped:
            mosquitto.kill()
            mosquitto.start()
        shutil.rmtree(collector.settings.data)
        await asyncio.to_thread(backup.restore, target, collector.settings, now())
        await collector.start()
        again = SyntheticEdge(tmp_path, mosquitto, name)
        again.path, again.number = edge.path, edge.number
        await start(parts, again)
        await again.emit_many(200, seed=4)
        await until(again.drained, "the outbox is empty")
        await collector.settle()

        # A receipt of the other life says more than was ever sent: that epoch is given up.
        assert (again.journal.epoch == epoch) is wiped
        found = refs(collector)
        assert set(found.values()) == {1}, "nothing twice"
        assert logged | set(range(1, began + 1)) <= set(found), (
            "what was journalled before is there"
        )
        assert set(range(edge.number + 1, again.number + 1)) <= set(found), "and what came after"
        reasons = {loss["reason"] for loss in losses(collector)}
        assert reasons == {"restored"} | (set() if wiped else {"epoch_abandoned"})
        law = await law_after(collector)
        assert law.total.exact, law.total
        assert law.unknown == len(reasons)

    run(main())
