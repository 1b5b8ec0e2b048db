"""Rollups: the same answers as from the events, late ones too, and a year in a moment."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.contracts.ports import Aggregate, Query
from core.storage import sqlite
from core.storage.series import EmbeddedReader, EmbeddedWriter
from core.storage.series.days import outlived, rollup_name
from core.storage.series.rollup import DAYS, HOURS, MINUTES, ROLLED, SPANS, Span
from core.storage.series.sealing import SealingPlan
from core.storage.series.windows import lookback_ms, samples_in
from tests.storage.series.support import BASE, DAY, HOUR, StandingClock, entry, lift, meter

EVER = (0, 4_000_000_000_000)
MINUTE = 60_000
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)


def make(folder: Path, **options: Any) -> EmbeddedWriter:
    plan = SealingPlan(rows=3, events=20, fan=3, dense=2, dense_from=4)
    options = {"plan": plan, **options}
    writer = EmbeddedWriter(folder, clock=StandingClock(), **options)
    writer.open()
    return writer


def rolled_up(folder: Path, span: Span = HOURS) -> int:
    """Return how many device-days the rollups hold."""
    found = 0
    for path in folder.glob("rollup-*.sqlite"):
        connection = sqlite.connect(path, readonly=True)
        found += connection.execute(f"SELECT count(*) FROM {span.table}").fetchone()[0]
        connection.close()
    return found


def test_numbers_are_rolled_up_and_nothing_else() -> None:
    assert {"energy_kwh", "power_w", "frequency_hz", "volume_m3"} <= set(ROLLED["meter.reading"])
    assert not {"medium", "relay_closed", "mark", "demand_max_at"} & set(ROLLED["meter.reading"])
    assert set(ROLLED["elevator.status"]) >= {"floor", "load_kg"}
    assert "elevator.alarm_button" not in ROLLED


TIMES = st.integers(0, 3 * DAY - 1)
DENSE_TIMES = st.integers(DAY + HOUR - MINUTE, DAY + HOUR + 2 * MINUTE)
VALUES = st.lists(
    st.tuples(TIMES | DENSE_TIMES, st.integers(0, 50), st.sampled_from(["m1", "m2"])),
    min_size=1,
    max_size=30,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    early=VALUES,
    late=VALUES,
    every=st.sampled_from([MINUTE, 7 * MINUTE, HOUR, 5 * HOUR, DAY, 2 * DAY]),
    span=st.tuples(st.integers(0, 3 * DAY), st.integers(0, 3 * DAY)),
    steps=st.integers(0, 12),
)
def test_rolled_up_or_not_the_answer_is_that_of_the_events(
    tmp_path: Path,
    early: list[tuple[int, int, str]],
    late: list[tuple[int, int, str]],
    every: int,
    span: tuple[int, int],
    steps: int,
) -> None:
    folder = tmp_path / f"{time.monotonic_ns()}"
    writer, reader = make(folder), EmbeddedReader(folder)
    start, end = sorted(BASE + edge for edge in span)

    def check() -> None:
        for device in ("m1", "m2"):
            for aggregate in AGGREGATES:
                query = Query(
                    device, "meter.reading", "energy_kwh", start, end + 1, every, aggregate
                )
                since = start - lookback_ms(query)
                raw = reader.query(Query(device, "meter.reading", "energy_kwh", since, end + 1))
                values = [(sample.at, sample.value or 0) for sample in raw]
                expected = samples_in(values, query, every)
                found = reader.query(query)
                assert [sample.at for sample in found] == [sample.at for sample in expected]
                assert [sample.value for sample in found] == pytest.approx(
                    [sample.value for sample in expected]
                )

    for position, part in enumerate((early, late), 1):
        points = [
            meter(device, BASE + at, 1.0, nth=n, energy_kwh=float(value))
            for n, (at, value, device) in enumerate(part)
        ]
        writer.write(entry(position, *points), position)
        check()
        for _ in range(steps if position == 1 else 1000):
            if not writer.tidy():
                break
            check()
    writer.close()
    reader.close()


def test_a_late_event_renews_what_is_of_its_device_only(tmp_path: Path) -> None:
    writer, reader = make(tmp_path), EmbeddedReader(tmp_path)
    writer.write(entry(1, *(meter(f"m{n}", BASE + n, 1.0) for n in range(9))), 1)
    while writer.tidy():
        pass
    assert rolled_up(tmp_path) == 9
    rollup = sqlite.connect(tmp_path / rollup_name(BASE // DAY))
    for span in SPANS:
        rollup.execute(f"DELETE FROM {span.table} WHERE device != 'm1'")
    query = Query("m1", "meter.reading", "power_w", BASE, BASE + DAY, DAY, "sum")
    other = Query("m2", "meter.reading", "power_w", BASE, BASE + DAY, DAY, "sum")
    assert reader.query(other) == [], "it is the rollup that answers"
    writer.write(entry(2, meter("m1", BASE + HOUR, 5.0)), 2)
    assert [sample.value for sample in reader.query(query)] == [6.0], "at once, from the events"
    writer.close()
    writer = make(tmp_path)  # what is stale outlives its writer
    assert [sample.value for sample in reader.query(query)] == [6.0]
    while writer.tidy():
        pass
    assert [sample.value for sample in reader.query(query)] == [6.0]
    for span in (DAYS, HOURS):
        assert rollup.execute(f"SELECT device FROM {span.table}").fetchall() == [("m1",)]
    rollup.close()
    writer.close()
    reader.close()


def test_minutes_are_kept_of_what_is_dense(tmp_path: Path) -> None:
    writer, reader = make(tmp_path), EmbeddedReader(tmp_path)
    dense = [lift("lift", BASE + second * 1000, second, moving=True) for second in range(200)]
    sparse = [meter("meter", BASE + n * MINUTE, n) for n in range(200)]
    writer.write(entry(1, *dense, *sparse), 1)
    while writer.tidy():
        pass
    assert rolled_up(tmp_path, HOURS) == rolled_up(tmp_path, DAYS) == 2
    assert rolled_up(tmp_path, MINUTES) == 1
    rollup = sqlite.connect(tmp_path / rollup_name(BASE // DAY))
    rollup.execute("UPDATE hours SET body = 'unreadable'")
    by_minute = Query("lift", "elevator.status", "floor", BASE, BASE + DAY, 2 * MINUTE, "max")
    assert [sample.value for sample in reader.query(by_minute)] == [119, 199]
    # Late events, one a minute, make it less dense: its minutes go, and are not believed.
    late = [lift("lift", BASE + HOUR + n * MINUTE, 0, moving=False) for n in range(200)]
    writer.write(entry(2, *late), 2)
    while writer.tidy():
        pass
    assert rolled_up(tmp_path, MINUTES) == 0
    assert [sample.value for sample in reader.query(by_minute)] == [119, 199] + [0] * 100
    rollup.close()
    writer.close()
    reader.close()


def test_a_rollup_from_before_there_were_days_and_minutes_is_read_and_goes_on(
    tmp_path: Path,
) -> None:
    writer, reader = make(tmp_path), EmbeddedReader(tmp_path)
    writer.write(entry(1, *(meter("m1", BASE + n * HOUR, 1.0) for n in range(3))), 1)
    while writer.tidy():
        pass
    rollup = sqlite.connect(tmp_path / rollup_name(BASE // DAY))
    for span in (DAYS, MINUTES):
        rollup.execute(f"DROP TABLE {span.table}")
    query = Query("m1", "meter.reading", "power_w", BASE, BASE + DAY, DAY, "sum")
    assert [sample.value for sample in reader.query(query)] == [3.0]
    writer.write(entry(2, meter("m1", BASE + 5 * HOUR, 5.0)), 2)
    while writer.tidy():
        pass
    assert rollup.execute("SELECT device FROM days").fetchall() == [("m1",)]
    assert [sample.value for sample in reader.query(query)] == [8.0]
    rollup.close()
    writer.close()
    reader.close()


def test_rollups_go_with_the_last_of_their_days(tmp_path: Path) -> None:
    writer = make(tmp_path)
    offsets = (-70, -40, 0)
    for n, offset in enumerate(offsets, 1):
        writer.write(entry(n, meter("m1", BASE + offset * DAY, 1.0)), n)
    while writer.tidy():
        pass
    names = {rollup_name(BASE // DAY + offset) for offset in offsets}
    assert {path.name for path in tmp_path.glob("rollup-*.sqlite")} == names
    assert len(names) == 3
    writer.expire(datetime.fromtimestamp(BASE / 1000, UTC).date(), grace_s=0)
    left = {path.name for path in tmp_path.glob("rollup-*.sqlite")}
    assert left == {name for name in names if not outlived(name, BASE // DAY)}
    assert rollup_name(BASE // DAY) in left
    assert rollup_name(BASE // DAY - 70) not in left
    writer.close()


@pytest.mark.parametrize(
    ("name", "first_after"),
    [("rollup-2026-11.sqlite", "2026-12-01"), ("rollup-2026-12.sqlite", "2027-01-01")],
)
def test_a_months_rollup_is_outlived_when_the_next_begins(name: str, first_after: str) -> None:
    horizon = int(datetime.fromisoformat(first_after).replace(tzinfo=UTC).timestamp()) // 86_400
    assert outlived(name, horizon)
    assert not outlived(name, horizon - 1)
