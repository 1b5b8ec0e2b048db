"""From an edge's journal to the stores, over a real broker, through every kind of cut."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from core.contracts import topics
from core.runtime.link import Link, LinkOptions
from core.runtime.settings import BrokerSettings
from core.storage.records import refusals
from tests.servers import Server
from tests.wire.harness import SITE, Collector, SyntheticEdge, run, until

pytestmark = pytest.mark.mosquitto

KINDS = ("meter.reading", "device.health", "access.granted")


async def settle(edge: SyntheticEdge, collector: Collector, expected: int) -> None:
    await until(edge.drained, "the outbox is empty")
    await collector.settle()
    found = collector.logged(*KINDS)
    assert len(found) == expected, "each event once, none missing"
    assert set(found.values()) == {1}
    every = collector.logged()
    assert collector.stored() == sum(every.values()), "the series store has what the log has"


def test_every_event_arrives_once_and_the_outbox_is_empty(
    mosquitto: Server, tmp_path: Path
) -> None:
    async def main() -> None:
        collector, edge = Collector(tmp_path, mosquitto), SyntheticEdge(tmp_path, mosquitto)
        await collector.start()
        await edge.start()
        await edge.emit_many(3000)
        await settle(edge, collector, 3000)
        await edge.stop()
        await collector.stop()

    run(main())


def test_what_was_sealed_before_anybody_listened_arrives(mosquitto: Server, tmp_path: Path) -> None:
    async def main() -> None:
        collector = Collector(tmp_path, mosquitto, "e-2")
        edge = SyntheticEdge(tmp_path, mosquitto, "e-2")
        await edge.start()
        await edge.emit_many(500)
        await collector.start()
        await settle(edge, collector, 500)
        ((_, online),) = collector.logged("edge.online").items()
        assert online == 1
        await edge.stop()
        await until(lambda: bool(collector.logged("edge.offline")), "the farewell is noted")
        await collector.stop()

    run(main())


def test_a_killed_broker_that_forgets_everything_loses_nothing(
    mosquitto: Server, tmp_path: Path
) -> None:
    async def main() -> None:
        collector = Collector(tmp_path, mosquitto, "e-3")
        edge = SyntheticEdge(tmp_path, mosquitto, "e-3")
        await collector.start()
        await edge.start()
        for round_number in range(3):
            await edge.emit_many(400, seed=round_number)
            mosquitto.kill()
            await edge.emit_many(100, seed=round_number)
            mosquitto.start()  # here, since a server dies with the thread that started it
        await settle(edge, collector, 1500)
        await edge.stop()
        await collector.stop()

    run(main())


def test_a_collector_that_comes_and_goes_loses_and_doubles_nothing(
    mosquitto: Server, tmp_path: Path
) -> None:
    async def main() -> None:
        collector = Collector(tmp_path, mosquitto, "e-4")
        edge = SyntheticEdge(tmp_path, mosquitto, "e-4")
        await edge.start()
        for round_number in range(3):
            await collector.start()
            await edge.emit_many(300, seed=round_number)
            await collector.stop()
            await edge.emit_many(100, seed=round_number)
        await collector.start()
        await settle(edge, collector, 1200)
        await edge.stop()
        await collector.stop()

    run(main())


def test_an_evicted_head_is_declared_exactly(mosquitto: Server, tmp_path: Path) -> None:
    async def main() -> None:
        collector = Collector(tmp_path, mosquitto, "e-5")
        edge = SyntheticEdge(tmp_path, mosquitto, "e-5", budget=200_000)
        await edge.start()
        await edge.emit_many(3000)
        await collector.start()
        await until(edge.drained, "the outbox is empty")
        await collector.settle()
        arrived = sum(collector.logged(*KINDS).values())
        with collector.app.records.reading() as session:
            losses = refusals.list_losses(session, limit=500).items
        declared = sum(loss["events"] or 0 for loss in losses)
        assert declared > 100
        assert {loss["lane"] for loss in losses} == {"reading", "state"}, "not what happened"
        assert arrived + declared == 3000
        await edge.stop()
        await collector.stop()

    run(main())


def test_a_restored_disk_starts_a_new_epoch_and_is_noted(mosquitto: Server, tmp_path: Path) -> None:
    async def main() -> None:
        collector = Collector(tmp_path, mosquitto, "e-6")
        edge = SyntheticEdge(tmp_path, mosquitto, "e-6")
        await collector.start()
        await edge.start()
        await edge.emit_many(200)
        await until(edge.drained, "the outbox is empty")
        await edge.stop()
        backup = _copy_files(tmp_path, "e-6.*", tmp_path / "backup")
        await edge.start()
        await edge.emit_many(200, seed=2)
        await until(edge.drained, "the outbox is empty")
        first_epoch = edge.journal.epoch
        await edge.stop()
        _copy_files(backup, "*", tmp_path)
        await edge.start()
        edge.number = 1000  # the restored edge goes on with what happens now
        await edge.emit_many(100, seed=3)
        await settle(edge, collector, 500)
        assert edge.journal.epoch != first_epoch
        assert collector.logged("edge.epoch_abandoned")
        await edge.stop()
        await collector.stop()

    run(main())


def _copy_files(source: Path, pattern: str, target: Path) -> Path:
    target.mkdir(exist_ok=True)
    for file in source.glob(pattern):
        shutil.copy(file, target / file.name)
    return target


def test_a_cloned_edge_is_an_alarm(mosquitto: Server, tmp_path: Path) -> None:
    async def main() -> None:
        collector = Collector(tmp_path, mosquitto, "e-7")
        edge = SyntheticEdge(tmp_path, mosquitto, "e-7")
        await collector.start()
        await edge.start()
        await edge.emit_many(10)
        await until(edge.drained, "the outbox is empty")
        epoch = edge.journal.epoch
        await edge.stop()
        clone = Link(BrokerSettings(port=mosquitto.port), LinkOptions("clone"))
        clone.start()
        await until(lambda: clone.connected, "the clone is connected")
        other = (
            f'{{"edge":"e-7","epoch":"{epoch}","lane":"reading","seq":1,"oldest":1,'
            '"sealed_at":1,"events":[]}'
        )
        clone.publish(topics.batch(SITE, "e-7"), other.encode())
        await until(lambda: bool(collector.logged("edge.identity_clash")), "the clash is noted")
        clone.stop()
        await collector.stop()

    run(main())


def test_plain_events_are_taken_and_bad_ones_say_which_field(
    mosquitto: Server, tmp_path: Path
) -> None:
    async def main() -> None:
        collector = Collector(tmp_path, mosquitto)
        await collector.start()
        await until(lambda: collector.app.connected, "connected")
        device = Link(BrokerSettings(port=mosquitto.port), LinkOptions("plain-device"))
        device.start()
        await until(lambda: device.connected, "the device is connected")
        topic = topics.plain_event(SITE, "pump-1")
        good = b'{"kind":"sensor.reading","data":{"quantity":"level","value":1.5,"unit":"m"}}'
        bad = b'{"kind":"sensor.reading","data":{"quantity":"level","value":"high","unit":"m"}}'
        deep = b"[" * 100_000
        for payload in (good, bad, deep, b"\xff\xfe", b""):
            await asyncio.to_thread(device.publish(topic, payload).result, 5)

        def letters() -> list[dict[str, object]]:
            with collector.app.records.reading() as session:
                return list(refusals.list_dead_letters(session).items)

        await until(lambda: len(letters()) >= 4, "the dead letters are there")
        await until(lambda: bool(collector.logged("sensor.reading")), "the good one is logged")
        assert any("data.value" in str(letter["field"]) for letter in letters())
        assert len(letters()) == 4
        device.stop()
        await collector.stop()

    run(main())
