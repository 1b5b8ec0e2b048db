"""When an edge is heard: births that tell exactly what waited, answers that are answers."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from collector.series_projection import points_of
from core.contracts import topics
from core.contracts.batch import Batch, Receipt, answers, seal
from core.contracts.codec import encode, make_event
from core.contracts.events import Lane
from core.contracts.log import Activation, BatchEntry
from core.runtime.clock import ScaledClock
from core.runtime.link import Link, LinkOptions
from core.runtime.settings import BrokerSettings
from core.storage.journal import Append
from edge.outbox import GROWTH, open_journal
from edge.uplink import Uplink
from rules.builtin import builtin
from tests.servers import Server
from tests.wire.harness import SITE, Collector, SyntheticEdge, run, topology, until

pytestmark = pytest.mark.mosquitto
CLOCK = ScaledClock()


def lanes(edge: SyntheticEdge) -> dict[str, tuple[int, int]]:
    """Return for each lane its last seq and how many batches it holds."""
    return {info.name: (info.last, info.entries) for info in edge.journal.lanes().values()}


def with_fire_panel(folder: Path, broker: Server, edge: str) -> Collector:
    """Return a collector whose site has a fire panel, with the built-in rules."""
    name = {"zh": "火", "en": "fire"}
    topo = topology(edge)
    topo["devices"] += [
        {"id": "f1", "family": "fire_panel", "name": name, "node": SITE, "edge": edge}
    ]
    collector = Collector(folder, broker, edge)
    collector.activation = Activation(topology=topo, rules=dict(builtin()))
    return collector


def fire_alarms(collector: Collector) -> list[dict[str, Any]]:
    with collector.app.records.reading() as session:
        rows = session.execute(text("SELECT * FROM alert WHERE rule = 'fire-alarm'")).mappings()
        return [dict(row) for row in rows.all()]


async def alarm(edge: SyntheticEdge, *, active: bool) -> None:
    await edge.outbox.emit("fire.alarm", "f1", {"active": active, "point": "p1"})


def test_what_came_between_birth_and_answer_is_not_judged_as_of_now(
    mosquitto: Server, tmp_path: Path
) -> None:
    """The edge meets a broker without a collector; an alarm begins and ends before one comes."""

    async def main() -> None:
        collector = with_fire_panel(tmp_path, mosquitto, "e-gap")
        edge = SyntheticEdge(tmp_path, mosquitto, "e-gap")
        births = Births(mosquitto, "e-gap")
        await edge.start()
        await births.await_one()
        await alarm(edge, active=True)
        await alarm(edge, active=False)
        await collector.start()
        await until(edge.drained, "drained")
        await collector.settle()
        found = fire_alarms(collector)
        assert all(alert["late"] for alert in found), found
        await edge.stop()
        await collector.stop()

    run(main())


def test_the_end_of_an_alarm_overtakes_its_beginning_and_yet_nothing_stands(
    mosquitto: Server, tmp_path: Path
) -> None:
    async def main() -> None:
        collector = with_fire_panel(tmp_path, mosquitto, "e-over")
        edge = SyntheticEdge(tmp_path, mosquitto, "e-over")
        births = Births(mosquitto, "e-over")
        await edge.start()
        for _ in range(20):
            await asyncio.gather(
                *(edge.outbox.emit("access.granted", "e-over-d1", {}) for _ in range(500))
            )
        await births.await_one()
        await alarm(edge, active=True)
        await collector.start()
        await until(lambda: edge.uplink.online, "heard")
        await alarm(edge, active=False)
        await until(edge.drained, "drained")
        await collector.settle()
        assert not [a for a in fire_alarms(collector) if a["cleared_at"] is None]
        await edge.stop()
        await collector.stop()

    run(main(), 90)


def test_a_collector_that_is_away_does_not_listen(mosquitto: Server, tmp_path: Path) -> None:
    """Broker up, collector down: what happens waits in its lane, in dense batches."""

    async def main() -> None:
        collector = Collector(tmp_path, mosquitto, "e-away")
        edge = SyntheticEdge(tmp_path, mosquitto, "e-away")
        await collector.start()
        await edge.start()
        await until(lambda: edge.uplink.heard, "heard")
        await collector.stop()
        await until(lambda: not edge.uplink.heard, "the farewell is understood")
        for number in range(100):
            await edge.outbox.emit("access.granted", "d1", {}, id=str(number))
        found = lanes(edge)
        assert found["event"][1] <= 10, found
        assert "urgent" not in found
        await collector.start()
        await until(edge.drained, "drained")
        assert len(collector.logged("access.granted")) == 100
        await edge.stop()
        await collector.stop()

    run(main())


def test_a_retained_receipt_is_no_answer(mosquitto: Server, tmp_path: Path) -> None:
    """The broker's copy of an earlier receipt comes; no collector is there."""

    async def main() -> None:
        collector = Collector(tmp_path, mosquitto, "e-ret")
        edge = SyntheticEdge(tmp_path, mosquitto, "e-ret")
        await collector.start()
        await edge.start()
        await edge.emit_many(10)
        await until(edge.drained, "drained")
        epoch = edge.journal.epoch
        await edge.stop()
        await collector.stop()

        again = SyntheticEdge(tmp_path, mosquitto, "e-ret")
        again.number = 1000
        births = Births(mosquitto, "e-ret")
        await again.start()
        await births.await_one()
        forger = Link(BrokerSettings(port=mosquitto.port), LinkOptions("forger"))
        forger.start()
        await until(lambda: forger.connected, "the forger is connected")
        stale = forger.publish(
            topics.receipt(SITE, "e-ret"), encode(Receipt("e-ret", epoch, {})), retain=True,
            properties=answers(12_345),
        )  # fmt: skip
        await asyncio.to_thread(stale.result, 5)
        await asyncio.sleep(0.3)
        assert not again.uplink.heard, "it answers another birth"
        await asyncio.to_thread(forger.stop)
        await collector.start()
        await again.emit_many(5)
        await until(again.drained, "drained")
        assert sum(collector.logged("edge.online").values()) >= 2, "its second life is noted"
        await again.stop()
        await collector.stop()

    run(main())


class Births:
    """Hears whether an edge's birth has gone out."""

    def __init__(self, broker: Server, edge: str) -> None:
        self._seen = threading.Event()
        self._link = Link(BrokerSettings(port=broker.port), LinkOptions(f"midwife-{edge}"))
        self._link.subscribe(topics.status(SITE, edge), self._look)
        self._link.start()
        assert self._link.wait_connected(10)

    def _look(self, message: Any) -> None:
        if not message.retained and b'"online":true' in message.payload:
            self._seen.set()

    async def await_one(self) -> None:
        await until(self._seen.is_set, "the birth is out")
        await asyncio.to_thread(self._link.stop)


# -- against the journal alone ----------------------------------------------------------------


def uplink(journal: Any) -> Uplink:
    def fresh() -> Future[None]:
        done: Future[None] = Future()
        done.set_result(None)
        return done

    return Uplink(
        site="s", edge="e", journal=journal, broker=BrokerSettings(port=1), clock=CLOCK,
        version="t", fresh_state=fresh,
    )  # fmt: skip


def test_the_uplink_outlives_a_disk_that_is_full_when_it_starts(tmp_path: Path) -> None:
    """Its first words to the journal share a transaction with an append that is refused."""
    journal = open_journal(tmp_path / "j.sqlite", "e", 1 << 30, CLOCK)
    journal.append(Append("event", b"x" * 100, 1)).result()
    connection = journal._connection
    gate, inside = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        gate.wait(5)

    held = journal._submit(hold)
    inside.wait(5)
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    refused = journal.append(Append("event", b"x" * 100_000, 1))
    up = uplink(journal)
    up.start()
    time.sleep(0.2)  # its first word is queued behind the append
    gate.set()
    held.result()
    assert refused.exception() is not None
    connection.execute("PRAGMA max_page_count = 1000000").fetchone()
    deadline = time.monotonic() + 10
    while up.failed_steps == 0 and not journal._lanes.growing and time.monotonic() < deadline:
        time.sleep(0.02)
    assert up._background.is_alive
    up.stop()
    journal.close()


def test_a_receipt_deletes_nothing_that_was_not_sent(tmp_path: Path) -> None:
    """A restored disk: what it gathers since has the numbers that its other life had sent."""
    journal = open_journal(tmp_path / "j.sqlite", "e", 1 << 30, CLOCK)
    epoch = journal.epoch
    journal.append(Append("event", b"x", 1)).result()
    journal.note_sent("event", 1).result()
    for number in range(19):
        journal.append(Append("event", b"new%d" % number, 1)).result()
    up = uplink(journal)
    message = type("M", (), {})()
    message.payload, message.properties, message.retained = (
        encode(Receipt("e", epoch, {"event": 12})), [], True,
    )  # fmt: skip
    up._on_receipt(message)
    up._read_mail()
    assert journal.epoch != epoch, "the receipt was earned by another life"
    assert journal.lanes()["event"].entries == 20
    journal.close()


def test_points_of_the_two_lanes_stay_apart() -> None:
    """Device clocks tell whole seconds: one event before the answer and one after it."""

    def point(lane: Lane, person: str) -> int:
        event = make_event(
            "access.granted", device="d1", at=1_767_225_600_000, seen=1_767_225_600_100,
            data={"person": person},
        )  # fmt: skip
        batch = Batch("e", "epoch-0001", lane, 7, 1, 1, [(0, event)], [])
        ((_, found),) = points_of(BatchEntry(1, 1, "s", batch))
        return found.time_ns

    assert point(Lane.EVENT, "p1") != point(Lane.URGENT, "p2")


def test_growth_goes_on_after_a_new_epoch(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "j.sqlite", "e", 1 << 30, CLOCK)
    body = seal([b'{"kind":"access.granted","device":"d","at":1,"seen":1,"data":{}}'], 1)
    for _ in range(200):
        journal.append(Append("event", body, 1)).result()
    journal.acknowledge("event", 199).result()
    journal.grow(allowed=False)
    journal.new_epoch()
    journal.grow(allowed=True)
    for _ in range(64):
        journal.extend(Append("event", body, 1), GROWTH).result()
    assert journal.lanes()["event"].entries <= 4
    journal.close()
