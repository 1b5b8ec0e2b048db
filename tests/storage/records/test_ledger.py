"""The accounts on both databases: adding up, joining hours, and the law of a period."""

from __future__ import annotations

from core.contracts.ledger import HOUR_MS, Line, Stream
from core.contracts.outputs import LossOutput
from core.storage.records import Records, conservation, ledger, projection
from core.storage.records.ledger import DAY_MS, Counts, Witness

DAY = 20_000 * DAY_MS
READINGS = Stream("s", "e", "epoch", "reading")


def come(records: Records, hour: int, first: int, last: int, **more: int) -> None:
    """Let ten events a batch come, all stored but for what ``more`` says."""
    batches = last + 1 - first
    counts = Counts(
        **{"first_seq": first, "last_seq": last, "batches": batches, "events": 10 * batches}
        | {"stored": 10 * batches, "last_pos": last}
        | more
    )
    with records.session() as session:
        ledger.add(session, "log", {Line(DAY + hour * HOUR_MS, READINGS): counts})


def begin(records: Records, through: int) -> None:
    with records.session() as session:
        ledger.begin(session, "log", 0, DAY)
        ledger.begin(session, "log", 99, DAY + 1)  # they are open: this changes nothing
        for witness in Witness:
            projection.save_cursor(session, witness.cursor("log"), through, None)


def lose(records: Records, pos: int, first: int, last: int, events: int | None) -> None:
    loss = LossOutput(
        pos, 0, DAY + HOUR_MS, "s", "e", "epoch", "reading", first, last, events,
        "hole" if events is None else "budget",
    )  # fmt: skip
    with records.session() as session:
        projection.apply(session, [loss], DAY, log="log")


def law(records: Records, start: int = 0, end: int = 48) -> conservation.Law:
    with records.reading() as session:
        return conservation.law(session, DAY + start * HOUR_MS, DAY + end * HOUR_MS)


def test_lines_add_up_and_a_day_joins_them(records: Records) -> None:
    begin(records, 99)
    for hour in range(3):
        come(records, hour, 1 + 4 * hour, 2 + 4 * hour)
        come(records, hour, 3 + 4 * hour, 4 + 4 * hour)
    before = law(records)
    assert before.exact
    assert (before.total.received, before.total.stored, before.since) == (120, 120, DAY)
    with records.session() as session:
        assert ledger.join_hours(session, DAY + 25 * HOUR_MS) == 1
    come(records, 5, 13, 13)  # late, into a day that was joined
    with records.session() as session:
        assert ledger.join_hours(session, DAY + 25 * HOUR_MS) == 1
    assert law(records).total.received == 130
    assert law(records).exact
    assert law(records, 7, 8).start == DAY


def test_what_is_passed_over_is_absent_undeclared_or_dropped(records: Records) -> None:
    begin(records, 99)
    come(records, 0, 1, 1)
    come(records, 1, 5, 5)
    assert law(records).total.absent == 3
    assert law(records, 1, 2).total.absent == 3, "the batch before the period is known"
    lose(records, 4, 2, 4, None)
    assert (law(records).total.absent, law(records).total.undeclared) == (0, 3)
    lose(records, 5, 2, 4, 30)
    found = law(records)
    assert found.exact
    assert (found.total.journalled, found.total.dropped) == (50, 30)
    assert law(records, 0, 1).total.dropped == 0
    come(records, 2, 5, 5)
    assert law(records).total.absent == 1, "a seq came twice"


def test_a_difference_is_under_way_until_everybody_has_counted_beyond_it(records: Records) -> None:
    begin(records, 5)
    come(records, 0, 6, 6, stored=4)
    assert law(records).total.on_its_way == 6
    begin(records, 6)
    found = law(records)
    assert (found.total.missing, found.total.on_its_way, found.exact) == (6, 0, False)
    come(records, 0, 0, 0, first_seq=0, last_seq=0, batches=0, events=0, stored=8)
    assert law(records).total.surplus == 2


def test_a_log_that_has_a_successor_has_nothing_under_way(records: Records) -> None:
    begin(records, 5)
    come(records, 0, 6, 6, stored=4)
    with records.session() as session:
        ledger.begin(session, "next", 0, DAY + HOUR_MS)
    assert law(records).total.missing == 6
