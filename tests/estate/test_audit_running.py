"""The audit of a running system: what is on its way is no error, what is lost still is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.storage.journal import Append
from core.storage.records.ledger import DAY_MS
from core.storage.series import open_reader
from edge.outbox import open_journal
from estate.audit import FOREVER, Audit, audit_of
from tests.collector.office import EDGE, NOW, Office, batch, reading


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path)
    yield opened
    opened.close()


class Interrupted:
    """A series store whose every answer comes with something that happens before or after it."""

    def __init__(self, office: Office, happens: Callable[[], None], call: int, when: str) -> None:
        self._reader = open_reader(office.settings)
        self._happens = happens
        self._at = (call, when)
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._reader, name)
        if name == "close":
            return method

        def answer(*args: Any) -> Any:
            self.calls += 1
            if self._at == (self.calls, "before"):
                self._happens()
            found = method(*args)
            if self._at == (self.calls, "after"):
                self._happens()
            return found

        return answer


def audited(
    office: Office,
    happens: Callable[[], None] = lambda: None,
    call: int = 0,
    when: str = "before",
    outboxes: tuple[Path, ...] = (),
    end: int = FOREVER,
) -> Audit:
    series = Interrupted(office, happens, call, when)
    try:
        log = office.settings.data / "collector.sqlite"
        return audit_of(log, list(outboxes), series, office.records, 0, end)
    finally:
        series.close()


def some(seq: int) -> bytes:
    """A batch of two readings that are stored, one that cannot be read, one dated far ahead."""
    ahead = reading(at=NOW + 10**9).replace(b'"seen":%d' % (NOW + 10**9), b'"seen":%d' % NOW)
    return batch(reading(at=NOW + seq), reading(power_w="warm"), ahead, reading(), seq=seq)


def test_what_the_projections_have_not_reached_is_on_its_way(office: Office) -> None:
    office.batch(some(1))
    office.fold()
    assert audited(office).exact
    office.law()
    office.batch(some(2))
    found = audited(office)
    assert found.exact, list(found.lines())
    assert any(line.startswith("4 are on their way") for line in found.lines())
    assert found.on_its_way == 4
    office.fold("series")
    assert audited(office).exact
    office.fold("rules")
    office.law()
    found = audited(office)
    assert (found.exact, found.on_its_way) == (True, 0)
    assert (found.journalled, found.law.stored, found.dead) == (8, 4, 4)


def test_its_sums_are_of_the_period_and_add_up(office: Office) -> None:
    """Also with plain events, and letters that no edge's lane has."""
    office.batch(some(1))
    office.plain("m1", reading(at=NOW + 5))
    office.plain("m1", reading(power_w="warm"))
    office.plain("m1", b"[")
    office.fold()
    office.law()
    found = audited(office)
    assert found.exact
    document = found.document()
    assert [
        document[name]
        for name in ("journalled", "stored_events", "dead_lettered", "declared_dropped")
    ] == [7, 3, 4, 0]
    lines = list(found.lines())
    (sums,) = (line.split() for line in lines if line.startswith("all "))
    assert sums == ["all", "4", "3", "1"]
    assert "3 could not be read: 3 dead letters" in lines
    before = audited(office, end=NOW - DAY_MS)
    assert (before.journalled, before.dead, before.exact) == (0, 0, True)
    assert not any(line.startswith("3 could not be read") for line in before.lines())


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("whose", [("series",), ("rules",), ("rules", "series")])
@pytest.mark.parametrize("is_kept", [True, False])
def test_what_comes_while_it_reads_is_no_error(
    office: Office, call: int, when: str, whose: tuple[str, ...], *, is_kept: bool
) -> None:
    office.batch(some(1))
    office.fold()
    office.law()
    office.batch(some(2))

    def goes_on() -> None:
        office.fold(*whose)
        office.batch(some(3))
        office.fold(*whose)
        if is_kept:
            office.law()

    found = audited(office, goes_on, call, when)
    assert found.exact, list(found.lines())


def test_what_is_lost_is_an_error_also_while_more_comes(office: Office) -> None:
    for seq in (1, 2):
        office.batch(batch(reading(at=NOW + seq), seq=seq))
    office.fold()
    office.law()
    office.series.close()
    (day,) = (office.settings.data / "series").glob("20*.sqlite")
    with sqlite3.connect(day) as db:
        db.execute("DELETE FROM hot WHERE rowid = 1")
    office.places["series"] = office.series.open()
    office.batch(batch(reading(at=NOW + 3), seq=3))
    found = audited(office)
    assert list(found.problems()) == ["meter.reading: 3 in the log, 0 stored, 0 refused"]
    office.fold()
    assert not audited(office).exact


def test_an_outbox_that_hands_on_while_it_is_read_has_lost_nothing(
    office: Office, tmp_path: Path
) -> None:
    class Clock:
        def now_ms(self) -> int:
            return NOW

    path = tmp_path / "edges" / EDGE / "outbox.sqlite"
    outbox = open_journal(path, EDGE, 1 << 30, Clock())
    outbox.append(*[Append("reading", b"x", NOW, events=2) for _ in range(3)]).result()

    def seal(seq: int) -> bytes:
        made = batch(reading(at=NOW + seq), seq=seq)
        return made.replace(b"0d3f7a52-1f1e-4a57-9d55-2a6d8f2f9c11", outbox.epoch.encode())

    def handed_on() -> None:
        office.batch(seal(2))
        outbox.note_sent("reading", 2).result()
        outbox.acknowledge("reading", 2).result()

    office.batch(seal(1))
    office.fold()
    found = audited(office, handed_on, 2, outboxes=(path,))
    assert found.exact, list(found.lines())
    (account,) = (a for s, a in found.ledger.accounts.items() if s.lane == "reading")
    assert (account.batches, account.waiting_batches, account.waiting_events) == (2, 1, 2)
    outbox.note_sent("reading", 3).result()
    outbox.acknowledge("reading", 3).result()
    found = audited(office, outboxes=(path,))
    assert "1 batches are neither in the log nor in the outbox" in "".join(found.problems())
    outbox.close()
