"""A backup taken under way, restored and made whole by a replay."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core.contracts.errors import StoreUnavailableError
from core.contracts.ports import Point, Query
from core.storage import sqlite
from core.storage.series import EmbeddedReader, EmbeddedWriter, backup
from core.storage.series.sealing import SealingPlan
from tests.storage.series.support import BASE, DAY, StandingClock, entry, meter

EVER = (0, 4_000_000_000_000)


def log_entry(position: int) -> list[tuple[int, Point]]:
    """A new device now and then, three days in turn."""
    at = BASE + position % 3 * DAY + position
    return entry(position, meter(f"m{position // 10}", at, float(position)))


def make(folder: Path) -> EmbeddedWriter:
    plan = SealingPlan(rows=5, events=50, fan=3, overdue_rows=0)
    writer = EmbeddedWriter(folder, clock=StandingClock(), sync_s=0.01, plan=plan)
    writer.open()
    return writer


def into(folder: Path, target: Path) -> Callable[[str], Path]:
    """Return what copies a file of a store into a new folder."""
    target.mkdir()

    def copy(name: str) -> Path:
        if not (folder / name).exists():
            raise FileNotFoundError(name)
        sqlite.copy(folder / name, target / name)
        return target / name

    return copy


def test_what_comes_between_the_manifest_and_its_days_is_found_after_a_replay(
    tmp_path: Path,
) -> None:
    live, target = tmp_path / "live", tmp_path / "copy"
    writer = make(live)
    writer.write(entry(1, meter("m1", BASE, 1.0)), 1)
    writer.sync()
    while writer.tidy():
        pass
    late = entry(2, meter("m1", BASE + 1, 5.0), meter("m2", BASE + 2, 7.0))
    plain = into(live, target)

    def copy(name: str) -> Path:
        path = plain(name)
        if name == "manifest.sqlite":
            writer.write(late, 2)
        return path

    backup(live, copy)
    writer.close()
    again, reader = make(target), EmbeddedReader(target)
    assert again.position() == 1
    again.write(late, 2)
    query = Query("m1", "meter.reading", "power_w", BASE, BASE + DAY, DAY, "sum")
    assert [sample.value for sample in reader.query(query)] == [6.0], "its hours are of before"
    assert [event.data["power_w"] for event in reader.latest(["m2"])] == [7.0]
    assert reader.count(*EVER) == 3
    again.close()
    reader.close()


def test_a_backup_under_way_is_made_whole_by_a_replay(tmp_path: Path) -> None:
    live, copied = tmp_path / "live", threading.Event()
    writer, last = make(live), 0
    taken = []

    def copy() -> None:
        try:
            taken.extend(backup(live, into(live, tmp_path / f"copy{n}")) for n in range(3))
        finally:
            copied.set()

    for last in range(1, 50):
        writer.write(log_entry(last), last)
    thread = threading.Thread(target=copy)
    thread.start()
    while not copied.is_set() or last < 100:
        last += 1
        writer.write(log_entry(last), last)
    thread.join()
    writer.close()
    assert len(taken) == 3
    for n, found in enumerate(taken):
        assert len(found.days) == 3
        assert found.durable["log"] <= found.reached["log"] <= last
        again = make(tmp_path / f"copy{n}")
        assert again.position() == found.durable["log"]
        for position in range(again.position() + 1, last + 1):
            again.write(log_entry(position), position)
        again.close()
        reader = EmbeddedReader(tmp_path / f"copy{n}")
        assert reader.count(*EVER) == last
        devices = [f"m{number}" for number in range(last // 10 + 1)]
        assert {event.device for event in reader.latest(devices)} == set(devices)
        reader.close()


def test_there_is_nothing_to_copy_where_there_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="no series store"):
        backup(tmp_path / "nothing", into(tmp_path / "nothing", tmp_path / "copy"))
    assert not (tmp_path / "nothing").exists()


def test_a_day_that_expires_meanwhile_is_left_out(tmp_path: Path) -> None:
    live = tmp_path / "live"
    writer = make(live)
    for position in range(1, 10):
        writer.write(log_entry(position), position)
    writer.close()
    copy, gone = into(live, tmp_path / "copy"), min(live.glob("20*.sqlite"))

    def losing(name: str) -> Path:
        if name == gone.name:
            gone.unlink()
        return copy(name)

    assert len(backup(live, losing).days) == 2
