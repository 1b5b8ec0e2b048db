"""Sealing: whatever was sealed, merged, interrupted or late, each event is there once."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.contracts.codec import data_dict, decode_event
from core.contracts.ports import Aggregate, Point, Query
from core.storage import sqlite
from core.storage.series import EmbeddedReader, EmbeddedWriter
from core.storage.series.columns import BlockView, Columns, encode_block
from core.storage.series.days import file_name
from core.storage.series.sealing import SealingPlan
from simulators.scale.plan import SitePlan
from simulators.scale.traffic import SiteTraffic
from tests.storage.series.support import BASE, DAY, HOUR, StandingClock, entry, lift, meter, point

EVER = (0, 4_000_000_000_000)
SMALL = SealingPlan(rows=3, events=40, fan=3)


def open_writer(folder: Path, **options: Any) -> EmbeddedWriter:
    plan = options.pop("plan", SMALL)
    # Leisure is what the tests give it: every step is asked for.
    options.setdefault("clock", StandingClock())
    writer = EmbeddedWriter(folder, plan=plan, **options)
    writer.open()
    return writer


@contextmanager
def reading(folder: Path) -> Iterator[EmbeddedReader]:
    reader = EmbeddedReader(folder)
    try:
        yield reader
    finally:
        reader.close()


def some(position: int) -> list[tuple[int, Point]]:
    """Return what the log holds at a position: events of three kinds and two days."""
    chance = random.Random(position)
    points = []
    for index in range(chance.randrange(1, 9)):
        at = BASE + chance.randrange(2) * DAY + chance.randrange(DAY // 4)
        nth = position % 1000 * 1000 + index
        device = f"d{chance.randrange(5)}"
        points.append(
            chance.choice(
                [
                    meter(device, at, float(nth), nth=nth),
                    lift(device, at, chance.randrange(9), moving=chance.random() < 0.5),
                    point("access.granted", device, at, {}, nth=nth, id=f"id {nth}"),
                ]
            )
        )
    return entry(position, *points)


def answers(reader: EmbeddedReader, devices: list[str]) -> dict[str, Any]:
    """Return everything that a reader can be asked about some devices."""
    found: dict[str, Any] = {
        "count": reader.count(*EVER),
        "counts": reader.counts(BASE + HOUR, BASE + DAY + HOUR),
        "latest": sorted((e.device, e.kind, e.at, str(e.data)) for e in reader.latest(devices)),
    }
    for device in devices:
        events = reader.events(device, *EVER, limit=10_000)
        found[device] = sorted((e.at, e.kind, str(sorted(e.data.items()))) for e in events)
        for aggregate in ("mean", "max", "last", "count"):
            how: Aggregate = aggregate  # type: ignore[assignment]  # a loop over its values
            query = Query(device, "meter.reading", "power_w", *EVER, HOUR, how)
            found[f"{device} {how}"] = [(s.at, s.value) for s in reader.query(query)]
    return found


def test_nothing_changes_for_readers_at_any_step(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    log = [item for position in range(1, 60) for item in some(position)]
    for position in range(1, 60):
        writer.write(some(position), position)
    devices = sorted({item.event.device for _, item in log})
    with reading(tmp_path) as reader:
        before = answers(reader, devices)
        assert before["count"] == len(log)
        assert before["d1"] == sorted(
            (p.event.at, p.event.kind, str(sorted(data_dict(p.event).items())))
            for _, p in log
            if p.event.device == "d1"
        )
        steps = 0
        while writer.tidy():
            steps += 1
            assert answers(reader, devices) == before
        assert steps > 20
        for day in (0, 1):
            assert tables(tmp_path, day) == {"hot": 0, "runs": 1}
    writer.close()


def tables(folder: Path, offset: int) -> dict[str, int]:
    connection = sqlite.connect(folder / file_name((BASE + offset * DAY) // DAY), readonly=True)
    try:
        return {
            "hot": connection.execute("SELECT count(*) FROM hot").fetchone()[0],
            "runs": connection.execute("SELECT count(*) FROM run").fetchone()[0],
        }
    finally:
        connection.close()


def test_a_crash_after_any_step_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """What a crash leaves is the files as they are at some commit: each is opened and finished."""
    live, devices = tmp_path / "live", [f"d{n}" for n in range(5)]
    writer = open_writer(live)
    for position in range(1, 40):
        writer.write(some(position), position)
    writer.sync()
    with reading(live) as reader:
        before = answers(reader, devices)
    tried, more = 0, True
    while more:
        more = writer.tidy()
        left = tmp_path / f"left{tried}"
        shutil.copytree(live, left)  # with the write-ahead logs, without a clean close
        again = open_writer(left)
        again.write([item for p in range(20, 40) for item in some(p)], 39)  # a replay
        while again.tidy():
            pass
        again.close()
        with reading(left) as reader:
            assert answers(reader, devices) == before
        shutil.rmtree(left)
        tried += 1
    assert tried > 15
    writer.close()


def test_late_events_of_a_sealed_day_go_in_and_are_sealed_too(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    position = 0
    expected: Counter[float] = Counter()
    for round_ in range(5):
        for _ in range(10):
            position += 1
            value = float(position)
            expected[value] += 1
            writer.write(
                entry(position, meter("m1", BASE + 1000 * (position * 7 % 50), value)), position
            )
        with reading(tmp_path) as reader:
            latest = reader.latest(["m1"])[0].data["power_w"]
            while writer.tidy():
                pass
            assert reader.latest(["m1"])[0].data["power_w"] == latest
            samples = reader.query(Query("m1", "meter.reading", "power_w", *EVER))
            assert Counter(sample.value for sample in samples) == expected
            assert [s.at for s in samples] == sorted(s.at for s in samples)
        assert tables(tmp_path, 0)["hot"] == 0
        assert tables(tmp_path, 0)["runs"] <= 2, round_
    writer.close()


def test_a_day_left_unsealed_is_sealed_by_the_next_writer(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.write(entry(1, meter("m1", BASE, 1.0)), 1)
    writer.close()
    writer = open_writer(tmp_path)
    writer.write(entry(2, meter("m1", BASE + 2 * DAY, 2.0)), 2)
    while writer.tidy():
        pass
    writer.close()
    assert tables(tmp_path, 0) == {"hot": 0, "runs": 1}
    assert tables(tmp_path, 2) == {"hot": 1, "runs": 0}, "today is not over"


def test_what_cannot_be_sealed_holds_up_no_write(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.write(entry(1, meter("m1", BASE, 1.0), meter("m2", BASE + DAY, 1.0)), 1)
    other = sqlite.connect(tmp_path / file_name(BASE // DAY))
    other.execute("UPDATE hot SET data = x'c1'")
    other.close()
    while writer.tidy():
        pass
    assert tables(tmp_path, 1) == {"hot": 0, "runs": 1}
    assert tables(tmp_path, 0) == {"hot": 1, "runs": 0}, "it is left as it was"
    assert writer.write(entry(2, meter("m1", BASE + 1, 2.0)), 2) == []
    writer.close()


def test_runs_of_many_blocks_are_sorted_and_read_whole(tmp_path: Path) -> None:
    """Lifts fill several blocks each, and share some; a third of what they say comes late."""
    chance, clock = random.Random(5), StandingClock(BASE)
    writer = open_writer(tmp_path, plan=SealingPlan(9, 3000, 3), clock=clock)
    points = [
        lift(f"l{n % 4}", BASE + 7 * n, 1, moving=True, load_kg=float(n)) for n in range(20_000)
    ]
    on_time = [chance.random() < 0.67 for _ in points]
    order = [
        item for said in (True, False)
        for item, is_on_time in zip(points, on_time, strict=True) if is_on_time is said
    ]  # fmt: skip
    for number, start in enumerate(range(0, len(order), 400), 1):
        writer.write(entry(number, *order[start : start + 400]), number)
        while writer.tidy():  # by levels, while the day goes on
            pass
    clock.at += 3 * DAY
    while writer.tidy():
        pass
    writer.close()
    assert tables(tmp_path, 0) == {"hot": 0, "runs": 1}
    connection = sqlite.connect(tmp_path / file_name(BASE // DAY), readonly=True)
    bodies = connection.execute("SELECT body FROM block ORDER BY id").fetchall()
    connection.close()
    assert len(bodies) > 9
    blocks = [BlockView(body).columns() for (body,) in bodies]
    keys = [key for block in blocks for key in zip(block.series, block.times, strict=True)]
    assert keys == sorted(keys)
    assert len(keys) == len(points)
    with reading(tmp_path) as reader:
        for n in range(4):
            mine = [item.event for item in points if item.event.device == f"l{n}"]
            values = reader.query(
                Query(f"l{n}", "elevator.status", "load_kg", *EVER, limit=len(points))
            )
            assert [(s.at, s.value) for s in values] == [(e.at, e.data.load_kg) for e in mine]
            newest = reader.events(f"l{n}", BASE, BASE + DAY, limit=3000)
            assert [e.data["load_kg"] for e in newest] == [e.data.load_kg for e in mine[:-3001:-1]]
            assert reader.latest([f"l{n}"])[0].data["load_kg"] == mine[-1].data.load_kg
            page = reader.events(f"l{n}", BASE, BASE + DAY, limit=9, before=newest[-1].mark)
            rest = mine[-3001:-3010:-1]
            assert [e.data["load_kg"] for e in page] == [e.data.load_kg for e in rest]


def readings(meters: int) -> list[Point]:
    """A day's readings of some meters, as a street's traffic has them."""
    site = SitePlan("jinxiu", "jinxiu-1", tuple(f"m{n}" for n in range(meters)), (), (), ())
    traffic, points = SiteTraffic(site, 7), []
    for second in range(86_400):
        traffic.second(BASE + second * 1000)
        if second % 600 == 599:
            for payloads in traffic.take().events.values():
                events = map(decode_event, payloads)
                points += [Point(event.at * 1_000_000, "jinxiu", event) for event in events]
    return points


def test_a_sealed_day_of_meters_is_compact(tmp_path: Path) -> None:
    points = readings(20)
    assert len(points) == 20 * 1440
    writer = open_writer(tmp_path, plan=SealingPlan())
    for start in range(0, len(points), 400):
        writer.write(entry(start + 1, *points[start : start + 400]), start + 1)
    while writer.tidy():
        pass
    writer.close()
    size = (tmp_path / file_name(BASE // DAY)).stat().st_size
    assert size / len(points) < 30


FORMAT_1 = """
CREATE TABLE series (
    id INTEGER PRIMARY KEY, device TEXT NOT NULL, kind TEXT NOT NULL, site TEXT NOT NULL,
    UNIQUE (device, kind, site)
);
CREATE TABLE event (
    series INTEGER NOT NULL REFERENCES series (id), time INTEGER NOT NULL,
    late INTEGER NOT NULL, ref TEXT, data BLOB NOT NULL
);
CREATE INDEX event_by_series ON event (series, time);
CREATE TABLE cursor (log TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO series VALUES (1, 'm1', 'meter.reading', 'jinxiu');
INSERT INTO series VALUES (2, 'd1', 'access.forced', 'jinxiu');
INSERT INTO cursor VALUES ('log', 100);
PRAGMA user_version=1;
"""
MANIFEST_1 = """
CREATE TABLE file (day INTEGER PRIMARY KEY, retired_at INTEGER);
CREATE TABLE cursor (log TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE newest (
    device TEXT NOT NULL, kind TEXT NOT NULL, day INTEGER NOT NULL, PRIMARY KEY (device, kind)
) WITHOUT ROWID;
CREATE TABLE horizon (one INTEGER PRIMARY KEY CHECK (one = 1), day INTEGER NOT NULL);
INSERT INTO cursor VALUES ('log', 100);
PRAGMA user_version=1;
"""


def test_a_store_of_format_1_is_read_and_converted(tmp_path: Path) -> None:
    day = BASE // DAY
    manifest = sqlite.connect(tmp_path / "manifest.sqlite")
    manifest.executescript(MANIFEST_1)
    manifest.execute("INSERT INTO file VALUES (?, NULL)", (day,))
    manifest.executemany(
        "INSERT INTO newest VALUES (?, ?, ?)",
        [("m1", "meter.reading", day), ("d1", "access.forced", day)],
    )
    manifest.close()
    file = sqlite.connect(tmp_path / file_name(day))
    file.executescript(FORMAT_1)
    file.executemany(
        "INSERT INTO event VALUES (1, ?, 40, ?, jsonb(?))",
        [
            (n * 1_000_000_000, None, f'{{"medium":"electricity","power_w":{n}.5}}')
            for n in range(200)
        ],
    )
    file.execute("INSERT INTO event VALUES (2, 5000000, 40, 'x', jsonb('{}'))")
    file.close()

    devices = ["m1", "d1"]
    with reading(tmp_path) as reader:
        old = answers(reader, devices)
        assert old["count"] == 201
        assert old["latest"][1][3] == "{'medium': 'electricity', 'power_w': 199.5}"
        writer = open_writer(tmp_path)
        assert writer.position() == 100
        assert writer.write(entry(100, meter("m1", BASE, 1.0)), 100) == [], "a replay"
        writer.write(entry(101, meter("m2", BASE, 1.0)), 101)
        assert answers(reader, devices) == {**old, "count": 202, "counts": old["counts"]}
        while writer.tidy():
            assert answers(reader, devices) == {**old, "count": 202}
        assert reader.events("d1", *EVER)[0].data == {}
    writer.close()
    assert tables(tmp_path, 0) == {"hot": 0, "runs": 1}
    file = sqlite.connect(tmp_path / file_name(day), readonly=True)
    assert file.execute("SELECT count(*) FROM sqlite_master WHERE name = 'event'").fetchone() == (
        0,
    )
    assert file.execute("PRAGMA freelist_count").fetchone() == (0,)
    file.close()


SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9)
VALUES = SCALARS | st.floats(allow_nan=False, allow_infinity=False) | st.lists(st.integers(0, 9))
EVENTS = st.tuples(
    st.integers(1, 4),
    st.integers(0, DAY * 1_000_000 - 1),
    st.integers(-(2**40), 2**40),
    st.none() | st.text(max_size=8),
    st.dictionaries(st.sampled_from("abc"), VALUES),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=st.lists(EVENTS, min_size=1, max_size=60), level=st.sampled_from([1, 6]))
def test_a_block_holds_what_went_into_it(events: list[Any], level: int) -> None:
    series, times, late, refs, data = map(list, zip(*events, strict=True))
    columns = Columns(
        series, times, late, refs, {name: [row.get(name) for row in data] for name in "abc"}
    )
    ordered = columns.take(columns.order())
    keys = list(zip(ordered.series, ordered.times, strict=True))
    assert keys == sorted(keys)
    block = encode_block(ordered, level)
    assert (block.first_series, block.last_series) == (min(series), max(series))
    assert (block.first, block.last, block.events) == (min(times), max(times), len(events))
    found = BlockView(block.body).columns()
    assert (found.series, found.times, found.late) == (ordered.series, ordered.times, ordered.late)
    assert found.refs == ordered.refs
    for name in "abc":
        assert found.fields.get(name, [None] * len(events)) == ordered.fields[name]
