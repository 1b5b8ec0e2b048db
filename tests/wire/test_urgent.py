"""A long backlog: dense batches, and what happens now goes past it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from core.contracts.log import BatchEntry, decode_entry
from core.runtime.settings import BrokerSettings
from tests.servers import Server
from tests.wire.harness import Collector, SyntheticEdge, run, until

pytestmark = pytest.mark.mosquitto


def test_a_backlog_of_single_events_is_kept_in_dense_batches(
    mosquitto: Server, tmp_path: Path
) -> None:
    async def main() -> None:
        edge = SyntheticEdge(tmp_path, mosquitto, "e-dense")
        edge.broker = BrokerSettings(port=1)  # nobody is there
        await edge.start()
        for number in range(200):
            await edge.outbox.emit("access.granted", f"d{number % 3}", {}, id=str(number))
        (info,) = [lane for lane in edge.journal.lanes().values() if lane.entries]
        assert info.name == "event"
        assert info.entries <= 200 // 32 + 1
        await edge.stop()

    run(main())


def test_what_happens_now_overtakes_what_waits(mosquitto: Server, tmp_path: Path) -> None:
    """Each event counts once, and an alarm of now is logged before the backlog has come."""
    backlog = 20_000

    async def main() -> None:
        collector = Collector(tmp_path, mosquitto, "e-now")
        edge = SyntheticEdge(tmp_path, mosquitto, "e-now")
        await edge.start()
        for start in range(0, backlog, 500):
            await asyncio.gather(
                *(
                    edge.outbox.emit("access.granted", "e-now-d1", {}, id=f"old-{n}")
                    for n in range(start, start + 500)
                )
            )
        await collector.start()
        await until(lambda: edge.uplink.online, "the edge is heard")
        began = time.monotonic()
        await edge.outbox.emit("access.forced", "e-now-d1", {}, id="now")
        await until(lambda: bool(collector.logged("access.forced")), "the alarm of now")
        took = time.monotonic() - began
        held = sum(info.entries for info in edge.journal.lanes().values())
        assert held > 0, "the backlog is still on its way"
        assert took < 5
        await until(edge.drained, "the backlog has come, too")
        found = collector.logged("access.granted", "access.forced")
        assert len(found) == backlog + 1
        assert set(found.values()) == {1}
        assert positions(collector)["now"] < positions(collector)[f"old-{backlog - 1}"]
        await edge.stop()
        await collector.stop()

    run(main(), 90)


def positions(collector: Collector) -> dict[str | None, int]:
    """Return where in the log each event is."""
    reader = collector.app.journal.reader()
    found: dict[str | None, int] = {}
    after = 0
    while entries := reader.read(after, limit=1000):
        for raw in entries:
            entry = decode_entry(raw.lane, raw.pos, raw.seq, raw.at, raw.body)
            if isinstance(entry, BatchEntry):
                found |= {event.id: raw.pos for _, event in entry.batch.events}
            after = raw.pos
    reader.close()
    return found
