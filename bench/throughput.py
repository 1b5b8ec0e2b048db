"""Events/s through broker and collector into a store, against a floor that promises nothing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.parts import Cost, broker, cost, influxdb, part, write_settings, write_topology
from bench.wire import SITE, BenchEdge, Generator, prepare
from core.runtime import settings
from core.runtime.broker import free_port
from core.storage.series import open_reader

T = TypeVar("T")
_EDGES = 4


@dataclass(frozen=True, slots=True)
class Throughput:
    """One run: events/s until the last receipt, until all is stored, and the collector's cost."""

    events: int
    receipts: float
    stored: float
    collector: Cost
    broker: Cost


def rows(size: int, events: int) -> Iterator[str]:
    """Yield a row for each store, with its ratio to both floors; InfluxDB's if it is there."""
    floors = {"SQLite": _in(lambda folder: _floor(size, events, folder, None))}
    influx = _in(lambda folder: _on_influx(folder, lambda url: _floor(size, events, folder, url)))
    if influx is not None:
        floors["InfluxDB"] = influx
    yield _row(f"batches of {size}", floors, _in(lambda folder: whole(size, events, folder)))
    if influx is not None:
        found = _in(lambda folder: _on_influx(folder, lambda url: whole(size, events, folder, url)))
        assert found is not None  # noqa: S101 - it was installed a moment ago
        yield _row(f"batches of {size} into InfluxDB 1.x", floors, found)


def _in(do: Callable[[Path], T]) -> T:
    with tempfile.TemporaryDirectory() as name:
        return do(Path(name))


def _on_influx(folder: Path, do: Callable[[str], T]) -> T | None:
    with influxdb(folder) as url:
        return None if url is None else do(url)


def _row(what: str, floors: dict[str, float], found: Throughput) -> str:
    ratios = ", ".join(f"{found.stored / floor:.2f} × {name}'s" for name, floor in floors.items())
    return (
        f"| {what} | floor {', '.join(f'{name} {floor:,.0f}/s' for name, floor in floors.items())} "
        f"| receipts {found.receipts:,.0f}/s | stored, rules done {found.stored:,.0f}/s ({ratios}) "
        f"| collector and companion {found.collector.cpu_s:.1f} s CPU, "
        f"{found.collector.peak_mib:.0f} MiB | broker {found.broker.cpu_s:.1f} s CPU |"
    )


def _prepared(size: int, events: int) -> tuple[list[BenchEdge], int, int]:
    """Return the edges, how many events they hold, and a time (ms) after all of these."""
    limit = time.time_ns() // 1_000_000
    batches = events // size // _EDGES
    edges = [
        prepare(f"bench-{n}", str(uuid.uuid4()), batches, size, limit - events)
        for n in range(_EDGES)
    ]
    return edges, batches * size * _EDGES, limit


def _floor(size: int, events: int, folder: Path, influx: str | None) -> float:
    edges, expected, _ = _prepared(size, events)
    with broker(folder) as (port, _):
        command = [sys.executable, "-m", "bench.floor", str(port), str(expected)]
        process = subprocess.Popen(  # noqa: S603
            [*command, influx or str(folder / "floor.sqlite")], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None  # noqa: S101
        process.stdout.readline()
        generator = Generator(port, edges)
        generator.connect()
        generator.flood()
        seconds = float(process.stdout.readline())
        process.wait(10)
        generator.close()
    return expected / seconds


def whole(size: int, events: int, folder: Path, influx: str | None = None) -> Throughput:
    """Send so many events through a collector; raises SystemExit unless all are stored once."""
    edges, expected, limit = _prepared(size, events)
    write_topology(folder, [edge.name for edge in edges], SITE)
    with broker(folder) as (port, broker_pid):
        file = write_settings(folder, port, free_port(), influx)
        with part(folder, "collector", "--settings", str(file)) as pid:
            await_log(folder / "collector.log", "runs")
            generator = Generator(port, edges)
            generator.connect()
            began = time.monotonic()
            receipts = generator.run(300)
            stored = _await_stored(file, expected, limit, began)
            result = Throughput(
                expected, expected / receipts, expected / stored, cost(pid), cost(broker_pid)
            )
            generator.close()
    return result


def await_log(path: Path, word: str) -> None:
    """Wait until a part's log has a word."""
    deadline = time.monotonic() + 30
    while word not in path.read_text(errors="replace"):
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: not started:\n{path.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def _await_stored(file: Path, expected: int, limit: int, began: float) -> float:
    """Wait until the store holds exactly what was sent and the rules have folded it."""
    loaded = settings.load(file)
    reader = open_reader(loaded)
    deadline = time.monotonic() + 300
    try:
        while (count := reader.count(0, limit)) < expected:
            if time.monotonic() > deadline:
                raise SystemExit(f"bench: {count} of {expected} events are stored")
            time.sleep(0.1)
        if count != expected:
            raise SystemExit(f"bench: {count} stored, {expected} sent")
    finally:
        reader.close()
    return time.monotonic() - began
