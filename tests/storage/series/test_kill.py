"""Writers killed with -9 at random and started again: each event exactly once afterwards."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.contracts.ports import Point, SeriesReader, SeriesWriter
from core.runtime.settings import InfluxSettings
from core.storage.series import EmbeddedReader, EmbeddedWriter, InfluxReader, InfluxWriter
from core.storage.series.sealing import SealingPlan
from tests.servers import Server
from tests.storage.series.support import BASE, DAY, StandingClock, meter

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its writers"),
]
EVER = (0, 4_000_000_000_000)
LAST = 4_000
_fork = multiprocessing.get_context("fork")


def log_entry(position: int) -> list[tuple[int, Point]]:
    """Return what the log holds at a position: up to five events of up to three days."""
    chance = random.Random(position)
    return [
        (
            position,
            meter(
                f"m{chance.randrange(20)}",
                BASE + chance.randrange(3) * DAY + position,
                float(position * 10 + index),
                nth=position % 1000 * 1000 + index,
            ),
        )
        for index in range(chance.randrange(6))
    ]


def project(writer: SeriesWriter, progress: Callable[[], None], through: int = LAST) -> None:
    """Write the log from the writer's position on, as a projector does."""
    position = writer.position()
    chance = random.Random()
    while position < through:
        upto = min(position + chance.randrange(1, 60), through)
        points = [item for p in range(position + 1, upto + 1) for item in log_entry(p)]
        assert writer.write(points, upto) == []
        position = upto
        progress()


def kill_while_writing(make: Callable[[], SeriesWriter], kills: int) -> int:
    """Start a writer and kill it after a few writes, again and again; return the kills."""
    chance, done = random.Random(), 0

    def run(pipe: int) -> None:
        writer = make()
        project(writer, lambda: os.write(pipe, b"."))
        os.kill(os.getpid(), 9)

    for _ in range(kills):
        reading, writing = os.pipe()
        process = _fork.Process(target=run, args=(writing,))
        process.start()
        os.close(writing)
        for _ in range(chance.randrange(4)):
            os.read(reading, 1)
        time.sleep(chance.random() * 0.01)
        process.kill()
        process.join(10)
        os.close(reading)
        assert process.exitcode == -9
        done += 1
    return done


def check(reader: SeriesReader) -> None:
    expected = [item for p in range(1, LAST + 1) for _, item in log_entry(p)]
    assert reader.count(*EVER) == len(expected)
    wanted: dict[str, list[tuple[int, float]]] = {}
    for item in expected:
        event = item.event
        wanted.setdefault(event.device, []).append((event.at, event.data.power_w))
    for device, events in wanted.items():
        found = reader.events(device, *EVER, limit=len(expected))
        assert sorted((e.at, e.data["power_w"]) for e in found) == sorted(events)


def test_the_embedded_store_has_each_event_once(tmp_path: Path) -> None:
    def make() -> EmbeddedWriter:
        # Small runs and no waiting, so that most kills hit some step of sealing.
        writer = EmbeddedWriter(
            tmp_path,
            clock=StandingClock(),
            sync_s=0.01,
            plan=SealingPlan(rows=4, events=150, fan=3, overdue_rows=0),
        )
        writer.open()
        return writer

    assert kill_while_writing(make, 25) == 25
    writer = make()
    project(writer, lambda: None)
    writer.close()
    reader = EmbeddedReader(tmp_path)
    check(reader)
    writer = make()
    while writer.tidy():
        pass
    writer.close()
    check(reader)
    reader.close()


@pytest.mark.influxdb
def test_influxdb_has_each_event_once(influxdb: Server, influxdb_database: str) -> None:
    settings = InfluxSettings(url=influxdb.url, database=influxdb_database)

    def make() -> SeriesWriter:
        writer = InfluxWriter(settings, clock=StandingClock(), sync_s=0.05)
        writer.open()
        return writer

    kill_while_writing(make, 5)
    writer = make()
    project(writer, lambda: None)
    writer.close()
    reader = InfluxReader(settings)
    reader.open()
    check(reader)
    reader.close()
