"""What every series store must do, tried on each of them."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.contracts.codec import data_dict
from core.contracts.errors import QueryTooLargeError
from core.contracts.ports import Aggregate, Fill, Point, Query, Sample, StoredEvent, StoredPoint
from core.storage.series.windows import lookback_ms, samples_in
from tests.storage.series.conftest import Store
from tests.storage.series.support import BASE, DAY, HOUR, SITE, door, entry, lift, meter, point

EVER = (0, 4_000_000_000_000)


def stored(item: Point) -> StoredEvent:
    event = item.event
    return StoredEvent(item.time_ns, event.device, event.kind, data_dict(event))


def test_an_empty_store_answers(store: Store) -> None:
    reader = store.reader()
    if store.name == "influxdb":
        store.writer()  # it makes the database
    assert reader.count(*EVER) == 0
    assert reader.events("m1", *EVER) == []
    assert reader.latest(["m1"]) == []
    assert reader.query(Query("m1", "meter.reading", "power_w", *EVER)) == []
    assert reader.query(Query("m1", "meter.reading", "power_w", *EVER, every_ms=HOUR)) == []
    assert store.writer().position() == 0


def test_events_come_back_newest_first_with_their_data(store: Store) -> None:
    points = [
        meter("m1", BASE, 1.5, energy_kwh=12345.678, relay_closed=True),
        door("m1", BASE + 1000, person="p-1", serial=9_007_199_254_740_991),
        meter("m1", BASE + DAY, 2.0),
        meter("m2", BASE + 2000, 7.0),
        point(
            "elevator.access", "m1", BASE + DAY + 5,
            {"granted_floors": [-1, 3], "refused_floors": []}, id="0815",
        ),
    ]  # fmt: skip
    assert store.writer().write(entry(1, *points), 1) == []
    reader = store.reader()
    mine = [stored(p) for p in reversed(points) if p.event.device == "m1"]
    assert reader.events("m1", *EVER) == mine
    assert reader.events("m1", *EVER, limit=2) == mine[:2]
    assert reader.events("m1", *EVER, kind="meter.reading") == [mine[1], mine[3]]
    assert reader.events("m1", BASE, BASE + 1000) == [mine[3]], "the end is not part of the span"
    assert reader.count(*EVER) == 5
    assert reader.count(BASE + 1000, BASE + DAY) == 2
    counts = reader.counts(*EVER)
    assert sum(counts.values()) == 5
    assert all("." in kind for kind in counts)
    assert type(mine[2].data["serial"]) is type(reader.events("m1", *EVER)[2].data["serial"])


def test_an_event_without_data_is_an_event(store: Store) -> None:
    bare = point("access.forced", "d1", BASE, {})
    store.writer().write(entry(1, bare), 1)
    reader = store.reader()
    assert reader.events("d1", *EVER) == [stored(bare)]
    assert reader.count(*EVER) == 1


def test_siblings_of_one_millisecond_stay_apart(store: Store) -> None:
    points = [meter("m1", BASE, float(n), nth=n * 1000 + n) for n in range(20)]
    store.writer().write(entry(1, *points), 1)
    reader = store.reader()
    values = [s.value for s in reader.query(Query("m1", "meter.reading", "power_w", *EVER))]
    assert values == [float(n) for n in range(20)]
    assert [e.data["power_w"] for e in reader.events("m1", *EVER)] == values[::-1]


def test_the_same_write_again_changes_nothing(store: Store) -> None:
    writer = store.writer()
    batch = [*entry(1, meter("m1", BASE, 1.0)), *entry(2, meter("m1", BASE + 1, 2.0))]
    for _ in range(3):
        assert writer.write(batch, 2) == []
    assert store.reader().count(*EVER) == 2


def test_a_replay_adds_what_is_missing_only(store: Store) -> None:
    log = [entry(n, meter("m1", BASE + n * HOUR, float(n))) for n in range(1, 60)]
    first = store.writer()
    first.write(list(itertools.chain(*log[:40])), 40)
    first.close()
    second = store.writer()
    assert second.position() == 40
    for start in (0, 17, 39):  # from older positions than it asks for
        second.write(list(itertools.chain(*log[start:])), 59)
    second.close()
    assert store.writer().position() == 59
    reader = store.reader()
    assert reader.count(*EVER) == 59
    values = [s.value for s in reader.query(Query("m1", "meter.reading", "power_w", *EVER))]
    assert values == [float(n) for n in range(1, 60)]


def test_positions_belong_to_a_log(store: Store) -> None:
    writer = store.writer("old journal")
    writer.write(entry(100, meter("m1", BASE, 1.0)), 100)
    writer.close()
    fresh = store.writer("new=journal,1")
    assert fresh.position() == 0
    fresh.write(entry(1, meter("m1", BASE + 1, 2.0)), 1)
    fresh.close()
    assert store.writer("new=journal,1").position() == 1
    assert store.writer("old journal").position() == 100
    assert store.reader().count(*EVER) == 2


def test_a_position_without_points_is_kept(store: Store) -> None:
    writer = store.writer()
    writer.write([], 7)
    writer.close()
    assert store.writer().position() == 7


def test_a_batch_across_midnight_is_one_series(store: Store) -> None:
    midnight = BASE + DAY
    points = [meter("m1", midnight + n, float(n)) for n in range(-5, 5)]
    store.writer().write(entry(1, *points), 1)
    reader = store.reader()
    samples = reader.query(Query("m1", "meter.reading", "power_w", midnight - 2, midnight + 2))
    assert samples == [Sample(midnight + n, float(n)) for n in range(-2, 2)]
    whole = reader.query(
        Query("m1", "meter.reading", "power_w", *EVER, every_ms=7 * DAY, aggregate="count")
    )
    assert sum(s.value or 0 for s in whole) == 10


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [("mean", [2.0, 10.0]), ("min", [1.0, 10.0]), ("max", [3.0, 10.0]), ("sum", [6.0, 10.0]),
     ("last", [3.0, 10.0]), ("count", [3, 1])],
)  # fmt: skip
def test_windows_are_aligned_to_the_epoch(
    store: Store, aggregate: Aggregate, expected: list[float]
) -> None:
    points = [
        meter("m1", BASE + 10 * 60_000, 1.0),
        meter("m1", BASE + 20 * 60_000, 2.0),
        meter("m1", BASE + 59 * 60_000, 3.0),
        meter("m1", BASE + 3 * HOUR, 10.0),
        meter("m1", BASE + 4 * HOUR, 99.0),
        meter("m2", BASE + HOUR, 99.0),
    ]
    store.writer().write(entry(1, *points), 1)
    query = Query(
        "m1", "meter.reading", "power_w", BASE + 5 * 60_000, BASE + 4 * HOUR, HOUR, aggregate
    )
    assert store.reader().query(query) == [
        Sample(BASE, expected[0]),
        Sample(BASE + 3 * HOUR, expected[1]),
    ]


def register(store: Store, *values: float, device: str = "m1", step: int = HOUR // 2) -> None:
    """Store the readings of a register, two an hour from BASE on."""
    points = [
        meter(device, BASE + n * step, 1.0, energy_kwh=value) for n, value in enumerate(values)
    ]
    store.writer(log=device).write(entry(1, *points), 1)


def increases(store: Store, start: int, end: int, every: int = HOUR, **more: Any) -> list[Any]:
    query = Query("m1", "meter.reading", "energy_kwh", start, end, every, "increase", **more)
    return [
        ((sample.at - BASE) / HOUR, None if sample.value is None else round(float(sample.value), 6))
        for sample in store.reader().query(query)
    ]


def test_an_increase_adds_up_the_steps_of_a_counter(store: Store) -> None:
    register(store, 10.0, 11.5, 12.0, 12.0, 15.0)
    hours = increases(store, BASE, BASE + 3 * HOUR)
    assert hours == [(0, 1.5), (1, 0.5), (2, 3.0)]
    assert increases(store, *EVER, 24 * HOUR) == [(0, 5.0)], "windows add up to the whole"
    assert increases(store, BASE + HOUR, BASE + 2 * HOUR) == hours[1:2], "whatever the start"
    half = increases(store, BASE + HOUR // 2, BASE + 3 * HOUR)
    assert half == hours, "the step that ends at the start is part of it"


def test_a_decrease_counts_from_zero(store: Store) -> None:
    register(store, 99_998.0, 99_999.0, 3.0, 4.0, 1.0)
    assert increases(store, BASE, BASE + 3 * HOUR) == [(0, 1.0), (1, 4.0), (2, 1.0)]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    values=st.lists(st.tuples(st.integers(0, 5 * HOUR), st.integers(0, 9)), max_size=12),
    span=st.tuples(st.integers(0, 6 * HOUR), st.integers(0, 6 * HOUR)),
    every=st.sampled_from([60_000, HOUR, 2 * HOUR]),
)
def test_an_increase_is_that_of_its_values(
    store: Store, values: list[tuple[int, int]], span: tuple[int, int], every: int
) -> None:
    device = f"m{time.monotonic_ns()}"
    points = [
        meter(device, BASE + at, 1.0, nth=nth, energy_kwh=float(value))
        for nth, (at, value) in enumerate(values)
    ]
    store.writer(log=device).write(entry(1, *points), 1)
    start, end = sorted(BASE + edge for edge in span)
    query = Query(device, "meter.reading", "energy_kwh", start, end, every, "increase")
    since = start - lookback_ms(query)
    known = sorted((p.time_ns, p.event.data.energy_kwh) for p in points)
    inside = [(at // 1_000_000, v) for at, v in known if since <= at // 1_000_000 < end]
    assert store.reader().query(query) == samples_in(inside, query, every)


def test_an_increase_spans_what_is_missing_and_midnight(store: Store) -> None:
    register(store, 5.0, 7.0, step=30 * HOUR)
    assert increases(store, BASE, BASE + 2 * DAY) == [(30, 2.0)]
    assert increases(store, BASE + 30 * HOUR, BASE + 2 * DAY) == [], "nothing to go on from"
    assert increases(store, BASE + 24 * HOUR, BASE + 2 * DAY, DAY) == [(24, 2.0)]


def test_an_increase_is_of_numbers(store: Store) -> None:
    store.writer().write(entry(1, *(door("d1", BASE + n, direction="in") for n in range(3))), 1)
    query = Query("d1", "access.granted", "direction", BASE, BASE + HOUR, HOUR, "increase")
    assert store.reader().query(query) == []


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        ("none", [(1, 2.0), (4, 8.0)]),
        ("null", [(0, None), (1, 2.0), (2, None), (3, None), (4, 8.0), (5, None)]),
        ("previous", [(0, None), (1, 2.0), (2, 2.0), (3, 2.0), (4, 8.0), (5, 8.0)]),
        ("linear", [(0, None), (1, 2.0), (2, 4.0), (3, 6.0), (4, 8.0), (5, None)]),
    ],
)
def test_empty_windows_are_filled_as_asked(
    store: Store, fill: Fill, expected: list[tuple[int, float | None]]
) -> None:
    points = [meter("m1", BASE + HOUR + 5, 2.0), meter("m1", BASE + 4 * HOUR, 8.0)]
    store.writer().write(entry(1, *points), 1)
    query = Query(
        "m1", "meter.reading", "power_w", BASE + 9, BASE + 5 * HOUR + 1, HOUR, "max", fill=fill
    )
    found = [((s.at - BASE) // HOUR, s.value) for s in store.reader().query(query)]
    assert found == expected


def test_texts_and_truths_are_carried_but_not_interpolated(store: Store) -> None:
    lifts = [lift("l1", BASE, 1, moving=True), lift("l1", BASE + 2 * HOUR, 1, moving=False)]
    doors = [door("d1", BASE, direction="in"), door("d1", BASE + 2 * HOUR, direction="out")]
    store.writer().write(entry(1, *lifts, *doors), 1)
    reader = store.reader()

    def ask(device: str, kind: str, field: str, fill: Fill) -> list[Any]:
        query = Query(device, kind, field, BASE, BASE + 3 * HOUR, HOUR, "last", fill=fill)
        return [sample.value for sample in reader.query(query)]

    assert ask("l1", "elevator.status", "moving", "previous") == [True, True, False]
    assert ask("l1", "elevator.status", "moving", "linear") == [True, None, False]
    assert ask("d1", "access.granted", "direction", "previous") == ["in", "in", "out"]
    assert ask("d1", "access.granted", "direction", "linear") == ["in", None, "out"]


def test_more_windows_than_the_limit_are_refused_with_the_remedy(store: Store) -> None:
    points = [meter("m1", BASE + n * 60_000, 1.0) for n in range(5)]
    store.writer().write(entry(1, *points), 1)
    reader = store.reader()

    def ask(limit: int, fill: Fill = "none", minutes: int = 5, how: Aggregate = "mean") -> int:
        query = Query(
            "m1", "meter.reading", "power_w", BASE, BASE + minutes * 60_000, 60_000, how, limit,
            fill,
        )  # fmt: skip
        return len(reader.query(query))

    assert ask(5) == 5
    assert ask(5, minutes=500) == 5, "what is empty is not counted where it is left out"
    for limit, fill, minutes, how in (
        (4, "none", 5, "mean"), (4, "none", 5, "last"), (4, "null", 5, "mean"),
        (5, "linear", 6, "mean"), (3, "none", 5, "increase"),
    ):  # fmt: skip
        with pytest.raises(QueryTooLargeError, match="shorter time or for longer windows"):
            ask(limit, fill, minutes, how)


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
@pytest.mark.parametrize("kind", [None, "meter.reading"])
def test_pages_of_events_give_each_once(store: Store, limit: int, kind: str | None) -> None:
    points = [
        make("m1", BASE + n // 3 * 8 * HOUR, nth)
        for n in range(12)
        for nth, make in enumerate(
            [
                lambda d, at, _: meter(d, at, 1.0),
                lambda d, at, _: door(d, at),
                lambda d, at, nth: meter(d, at, 2.0, nth=nth + at % 7 + 1000),
            ]
        )
    ]
    unique = {(p.time_ns, p.event.kind): p for p in points}
    store.writer().write(entry(1, *unique.values()), 1)
    reader, before = store.reader(), None
    seen: list[StoredEvent] = []
    while page := reader.events("m1", BASE, BASE + DAY, kind=kind, limit=limit, before=before):
        assert len(page) <= limit
        seen += page
        before = page[-1].mark
    wanted = [p for p in unique.values() if p.event.at < BASE + DAY]
    wanted = [p for p in wanted if kind in (None, p.event.kind)]
    wanted.sort(key=lambda p: (p.time_ns, p.event.kind), reverse=True)
    assert seen == [stored(p) for p in wanted]


def test_truths_count_as_one_and_nought(store: Store) -> None:
    moving = [True, False, True, True]
    points = [lift("l1", BASE + n, n, moving=m) for n, m in enumerate(moving)]
    store.writer().write(entry(1, *points), 1)
    reader = store.reader()

    def ask(aggregate: Aggregate, every: int | None = HOUR) -> list[Any]:
        query = Query("l1", "elevator.status", "moving", *EVER, every_ms=every, aggregate=aggregate)
        return [sample.value for sample in reader.query(query)]

    assert ask("mean", None) == moving
    assert all(type(value) is bool for value in ask("mean", None))
    assert (ask("mean"), ask("sum"), ask("count")) == ([0.75], [3], [4])
    assert (ask("min"), ask("max"), ask("last")) == ([0], [1], [1])


def test_texts_have_a_last_value_only(store: Store) -> None:
    points = [door("d1", BASE + n, direction=d) for n, d in enumerate(["in", "out", "in"])]
    store.writer().write(entry(1, *points), 1)
    reader = store.reader()

    def ask(aggregate: Aggregate, every: int | None = HOUR) -> list[Any]:
        query = Query(
            "d1", "access.granted", "direction", *EVER, every_ms=every, aggregate=aggregate
        )
        return [sample.value for sample in reader.query(query)]

    assert ask("last", None) == ["in", "out", "in"]
    assert (ask("last"), ask("count")) == (["in"], [3])
    assert [ask("mean"), ask("sum"), ask("min"), ask("max")] == [[], [], [], []]


def test_raw_values_keep_their_type_and_leave_gaps_out(store: Store) -> None:
    points = [
        lift("l1", BASE, -1, moving=True, load_kg=75),
        lift("l1", BASE + 1, 12, moving=False),
        door("d1", BASE, serial=5),
        door("d1", BASE + 1),
        door("d1", BASE + 2, serial=6),
        point("elevator.access", "l1", BASE, {"granted_floors": [1, 2], "refused_floors": []}),
    ]
    store.writer().write(entry(1, *points), 1)
    reader = store.reader()
    floors = reader.query(Query("l1", "elevator.status", "floor", *EVER))
    assert floors == [Sample(BASE, -1), Sample(BASE + 1, 12)]
    assert [type(s.value) for s in floors] == [int, int]
    assert reader.query(Query("l1", "elevator.status", "floor", *EVER, limit=1)) == floors[:1]
    serials = reader.query(Query("d1", "access.granted", "serial", *EVER))
    assert serials == [Sample(BASE, 5), Sample(BASE + 2, 6)]
    assert reader.query(Query("l1", "elevator.access", "granted_floors", *EVER)) == [
        Sample(BASE, "[1,2]")
    ]


@pytest.mark.parametrize(
    ("device", "kind", "name"),
    [
        ("m1", "meter.reading", "nothing"),
        ("m1", "meter.reading", "power_w' OR 1=1 --"),
        ("m1", "meter.reading", 'power_w"; DROP MEASUREMENT "meter.reading'),
        ("m1", 'meter.reading"; DROP MEASUREMENT "meter.reading', "power_w"),
        ("m1' OR 'a' = 'a", "meter.reading", "power_w"),
        ("m1\\", "meter.reading", "power_w"),
        ("nobody", "meter.reading", "power_w"),
        ("m1", "no.kind", "power_w"),
    ],
)
def test_strange_names_find_nothing_and_do_nothing(
    store: Store, device: str, kind: str, name: str
) -> None:
    store.writer().write(entry(1, meter("m1", BASE, 1.0)), 1)
    reader = store.reader()
    for every in (None, HOUR):
        assert reader.query(Query(device, kind, name, *EVER, every_ms=every)) == []
    if device != "m1":
        assert reader.events(device, *EVER) == []
        assert reader.latest([device]) == []
    assert reader.count(*EVER) == 1


def test_the_latest_event_of_each_kind(store: Store) -> None:
    writer = store.writer()
    newest = [
        meter("m1", BASE + 2 * DAY, 9.0),
        door("m1", BASE + 5, person="p"),
        meter("m2", BASE + DAY, 4.0),
    ]
    older = [meter("m1", BASE, 1.0), meter("m1", BASE + DAY, 2.0), meter("m2", BASE, 3.0)]
    writer.write(entry(1, *newest), 1)
    writer.write(entry(2, *older), 2)  # a backlog
    found = store.reader().latest(["m1", "m2", "nobody", "m1"])
    key = lambda event: (event.device, event.kind)  # noqa: E731
    assert sorted(found, key=key) == sorted(map(stored, newest), key=key)


def test_what_is_older_than_the_retention_is_refused_by_its_index(store: Store) -> None:
    old = BASE - 40 * DAY
    batch = entry(1, meter("m1", BASE, 1.0), meter("m1", old, 2.0), meter("m1", BASE + 1, 3.0))
    refusals = store.writer().write(batch, 1)
    assert [refusal.index for refusal in refusals] == [1]
    assert "retention" in refusals[0].reason
    assert store.reader().count(*EVER) == 2


def test_the_last_refusals_are_settled_when_their_caller_is_back(store: Store) -> None:
    writer = store.writer()
    old = entry(1, meter("m1", BASE, 1.0), meter("m1", BASE - 60 * DAY, 2.0))
    assert len(writer.write(old, 1)) == 1
    writer.sync()
    assert writer.position() == 0
    writer.write([], 1)
    writer.sync()
    assert writer.position() == 1


def test_refusals_come_again_until_the_caller_has_gone_on(store: Store) -> None:
    good, old = entry(1, meter("m1", BASE, 1.0)), entry(2, meter("m1", BASE - 40 * DAY, 2.0))
    writer = store.writer()
    writer.write(good, 1)
    assert len(writer.write(old, 2)) == 1
    writer.close()  # the caller may have died before it recorded the refusal
    writer = store.writer()
    assert writer.position() == 1
    assert len(writer.write(old, 2)) == 1
    writer.write([], 3)
    writer.close()
    assert store.writer().position() == 3
    assert store.reader().count(*EVER) == 1


def test_a_reader_sees_what_is_written_after_it_was_opened(store: Store) -> None:
    writer, reader = store.writer(), store.reader()
    for day in range(3):
        writer.write(entry(day + 1, meter("m1", BASE + day * DAY, float(day))), day + 1)
        assert reader.count(*EVER) == day + 1
        assert [event.data["power_w"] for event in reader.latest(["m1"])] == [float(day)]


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs",), exclude_characters="\0"),
    min_size=1,
    max_size=64,
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(TEXT, min_size=1, max_size=40))
def test_any_text_comes_back(store: Store, texts: list[str]) -> None:
    writer = store.writer(log=f"log {len(store.opened)}")
    device = f"d{len(store.opened)}"
    points = [door(device, BASE + n, reader=text) for n, text in enumerate(texts)]
    assert writer.write(entry(1, *points), 1) == []
    reader = store.reader()
    query = Query(device, "access.granted", "reader", *EVER)
    assert [sample.value for sample in reader.query(query)] == texts
    assert [event.data["reader"] for event in reader.events(device, *EVER)] == texts[::-1]


NUMBERS = st.floats(-1e9, 1e9, allow_nan=False)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    values=st.lists(st.tuples(st.integers(0, 3 * DAY - 1), NUMBERS), min_size=1, max_size=40),
    every=st.sampled_from([60_000, 7 * 60_000, HOUR, 7 * HOUR, DAY, 7 * DAY]),
    span=st.tuples(st.integers(0, 3 * DAY), st.integers(0, 3 * DAY)),
)
def test_aggregates_agree_with_a_plain_model(
    store: Store, values: list[tuple[int, float]], every: int, span: tuple[int, int]
) -> None:
    writer = store.writer(log=f"log {len(store.opened)}")
    device = f"m{len(store.opened)}"
    points = [meter(device, BASE + at, value, nth=n) for n, (at, value) in enumerate(values)]
    writer.write(entry(1, *points), 1)
    reader = store.reader()
    start, end = (BASE + edge for edge in sorted(span))
    windows: dict[int, list[float]] = {}
    for item in sorted(points, key=lambda p: p.time_ns):
        if start <= item.event.at < end:
            windows.setdefault(item.event.at // every * every, []).append(item.event.data.power_w)
    model: dict[Aggregate, Any] = {
        "mean": lambda v: sum(v) / len(v), "min": min, "max": max, "sum": sum, "count": len,
        "last": lambda v: v[-1],
    }  # fmt: skip
    for aggregate, of in model.items():
        query = Query(device, "meter.reading", "power_w", start, end, every, aggregate)
        found = reader.query(query)
        assert [sample.at for sample in found] == sorted(windows)
        for sample in found:
            assert sample.value == pytest.approx(of(windows[sample.at]), rel=1e-9, abs=1e-6)


def test_a_scan_gives_everything_of_a_kind_back_once(store: Store) -> None:
    points = [
        *(meter(f"m{n % 3}", BASE + n // 3, float(n), nth=n) for n in range(30)),
        *(meter(f"m{n}", BASE + DAY, 1.0) for n in range(5)),
        door("d1", BASE + 5, person="p-1"),
        point("access.granted", "d1", BASE + 6, {}, id="0815"),
    ]
    store.writer().write(entry(7, *points), 7)
    reader = store.reader()

    def found(kind: str, *span: int, **only: str) -> list[StoredPoint]:
        return sorted(reader.scan(kind, *(span or EVER), **only), key=identity)

    def expected(kind: str) -> list[StoredPoint]:
        mine = [whole(item) for item in points if item.event.kind == kind]
        return sorted(mine, key=identity)

    meters = expected("meter.reading")
    assert found("meter.reading") == meters
    assert found("access.granted") == expected("access.granted")
    assert found("camera.motion") == []
    assert found("meter.reading", BASE + DAY, BASE + DAY + 1) == meters[-5:]
    assert found("meter.reading", BASE + DAY, BASE + DAY) == []
    assert found("meter.reading", device="m1") == [p for p in meters if p.device == "m1"]
    assert found("meter.reading", site="elsewhere") == []
    assert len(found("meter.reading", site=SITE)) == len(meters)
    one = [p.time_ns for p in reader.scan("meter.reading", *EVER, device="m2")]
    assert one == sorted(one), "a device's own events come oldest first"


def test_a_store_says_how_far_it_has_come(store: Store) -> None:
    assert store.writer().position() == 0
    reader = store.reader()
    assert reader.positions() == {}
    for log, position in (("old journal", 5), ("new=journal,1", 3)):
        writer = store.writer(log)
        writer.write(entry(position, meter("m1", BASE + position, 1.0)), position)
        writer.close()
    assert reader.positions() == {"old journal": 5, "new=journal,1": 3}


def identity(item: StoredPoint) -> tuple[int, str]:
    return item.time_ns, item.device


def whole(item: Point) -> StoredPoint:
    event = item.event
    return StoredPoint(
        item.time_ns, item.site, event.device, event.kind, event.seen, event.id, data_dict(event)
    )
