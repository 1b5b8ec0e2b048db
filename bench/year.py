"""``python -m bench.year``: a year of hourly readings of thousands of meters; what asking costs.

Fills an embedded store day by day as a collector does (written, sealed, rolled up), and asks for a
year of one meter by hour and by day, each time another one, with the files' pages dropped from the
system's memory first and then again. Beside it a lift that reports each second, for a month.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from core.contracts.codec import decode_event
from core.contracts.ports import Point, Query
from core.storage.series import EmbeddedReader, EmbeddedWriter

_BASE = 1_735_689_600_000  # 2025-01-01
_S, _HOUR, _DAY = 1_000, 3_600_000, 86_400_000
_DEVICES_A_WRITE = 2_000


def main() -> None:
    """Fill a store, ask it, print."""
    parser = argparse.ArgumentParser(prog="bench.year", description=__doc__)
    parser.add_argument("--meters", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--ask", type=int, default=100, help="how many meters are asked for")
    parser.add_argument(
        "--folder", type=Path, help="keep the store here; one that is there is asked"
    )
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    try:
        if not (folder / "manifest.sqlite").exists():
            _fill(folder, options.meters, options.days)
        _print_sizes(folder, options.meters * options.days * 24)
        _ask(folder, options.meters, options.days, options.ask)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


def _fill(folder: Path, meters: int, days: int) -> None:
    rng = random.Random(1)  # noqa: S311 - no secret
    writer = EmbeddedWriter(folder)
    writer.open()
    registers = [rng.uniform(0, 50_000) for _ in range(meters)]
    position, made, busy = 0, 0.0, time.process_time()
    for day in range(days):
        since = time.process_time()
        start = _BASE + day * _DAY
        parts = _readings(start, registers, rng)
        if day >= days - 30:
            parts = chain(parts, _lift(start, rng))
        for points in parts:
            position += 1
            made += time.process_time() - since
            writer.write([(position, point) for point in points], position)
            since = time.process_time()
        while writer.tidy():  # days of the past are over
            pass
        if sys.stderr.isatty():
            print(f"\r{day + 1} of {days} days", end="", file=sys.stderr)
    writer.close()
    cost = (time.process_time() - busy - made) / (meters * days * 24) * 1e6
    print(f"| written, sealed, rolled up | {cost:.1f} µs of CPU an event |")


def _readings(day: int, registers: list[float], rng: random.Random) -> Iterator[list[Point]]:
    """Yield a day's hourly readings of some meters at a time."""
    for hour in range(24):
        at = day + hour * _HOUR
        for first in range(0, len(registers), _DEVICES_A_WRITE):
            points = []
            for meter in range(first, min(first + _DEVICES_A_WRITE, len(registers))):
                power = round(1_800 * rng.random(), 1)
                registers[meter] += power / 1_000
                data = (
                    f'"medium":"electricity","energy_kwh":{registers[meter]:.2f},'
                    f'"power_w":{power},"voltage_l1_v":{225 + 10 * rng.random():.1f}'
                )
                points.append(_point("meter.reading", f"meter-{meter:05}", at + meter, data))
            yield points


def _lift(day: int, rng: random.Random) -> Iterator[list[Point]]:
    """Yield a day's statuses of one lift, one a second."""
    points = []
    for second in range(_DAY // _S):
        moving = rng.random() < 0.3
        on, off = ("true", "false") if moving else ("false", "true")
        data = (
            f'"service_mode":"normal","moving":{on},"direction":"{"up" if moving else "none"}",'
            f'"in_door_zone":{off},"floor":{rng.randint(1, 30)},"door_closed":true,'
            f'"occupied":{on},"load_kg":{rng.randint(0, 800) if moving else 0}'
        )
        points.append(_point("elevator.status", "lift", day + second * _S, data))
    yield points


def _point(kind: str, device: str, at: int, data: str) -> Point:
    event = f'{{"kind":"{kind}","device":"{device}","at":{at},"seen":{at + 200},"data":{{{data}}}}}'
    return Point(at * 1_000_000, "jinxiu", decode_event(event.encode()))


def _print_sizes(folder: Path, events: int) -> None:
    rollups = sum(path.stat().st_size for path in folder.glob("rollup-*"))
    days = sum(path.stat().st_size for path in folder.glob("*.sqlite")) - rollups
    print(
        f"| on disk | {days / 2**20:,.0f} MiB, {days / events:.1f} bytes an event "
        f"| rollups {rollups / 2**20:,.0f} MiB |"
    )


def _ask(folder: Path, meters: int, days: int, ask: int) -> None:
    end = _BASE + days * _DAY
    chosen = random.Random(2).sample(  # noqa: S311 - no secret
        range(meters), min(ask, meters)
    )
    for name, aggregate, every in (
        ("by hour, increase", "increase", _HOUR),
        ("by hour, mean", "mean", _HOUR),
        ("by day, increase", "increase", _DAY),
    ):
        field = "energy_kwh" if aggregate == "increase" else "power_w"
        queries = [
            Query(f"meter-{n:05}", "meter.reading", field, _BASE, end, every, aggregate)  # type: ignore[arg-type]
            for n in chosen
        ]
        print(f"| {days} days of one of {meters:,} meters {name} | {_times(folder, queries)} |")
    for name, every in (("10 minutes", 600_000), ("1 hour", _HOUR)):
        query = Query("lift", "elevator.status", "load_kg", end - 30 * _DAY, end, every, "max")
        print(f"| 30 days of a lift's seconds by {name} | {_times(folder, [query] * 5)} |")


def _times(folder: Path, queries: list[Query]) -> str:
    """Ask each query with nothing in the system's memory, then all again."""
    reader = EmbeddedReader(folder)
    cold, warm, found = [], [], 0
    for query in queries:
        _forget(folder)
        since = time.perf_counter()
        found = len(reader.query(query))
        cold.append(time.perf_counter() - since)
        since = time.perf_counter()
        reader.query(query)
        warm.append(time.perf_counter() - since)
    reader.close()
    return f"{found:,} values | not in memory: {_told(cold)} | in memory: {_told(warm)}"


def _told(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds) * 1e3:.0f} ms, at most {max(seconds) * 1e3:.0f} ms"


def _forget(folder: Path) -> None:
    """Let the system drop the files' pages."""
    for path in folder.glob("*.sqlite"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


if __name__ == "__main__":
    main()
