"""The accounts: each number has its witness, and no crash lets them differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.series_projection import SeriesProjection
from core.contracts.errors import StoreUnavailableError
from core.contracts.ledger import HOUR_MS
from core.storage.records import conservation, ledger
from core.storage.records.ledger import DAY_MS
from core.storage.series import open_reader
from tests.collector.office import EDGE, NOW, SITE, Office, batch, reading


def readings(seq: int, count: int = 2, oldest: int = 1) -> bytes:
    events = [reading(at=NOW + seq * 100 + index) for index in range(count)]
    return batch(*events, seq=seq, oldest=oldest)


def test_what_came_is_stored_or_dead(office: Office) -> None:
    office.batch(batch(reading(), reading(power_w="warm"), reading(at=NOW - 500 * DAY_MS)))
    office.plain("lonely", reading("lonely"))
    office.fold()
    law = office.law()
    assert law.exact
    assert (law.total.journalled, law.total.stored, law.total.dead) == (4, 2, 2)
    assert law.flow(SITE, EDGE).received == 3
    assert law.flow(SITE, "").received == 1


def test_what_is_not_stored_yet_is_on_its_way(office: Office) -> None:
    office.batch(readings(1))
    office.fold("rules")
    law = office.law()
    assert law.exact
    assert law.flow(SITE, EDGE).on_its_way == 2
    office.fold("series")
    assert office.law().total.on_its_way == 0


def test_a_store_that_is_ahead_of_the_rules_is_no_surplus(office: Office) -> None:
    office.batch(readings(1))
    office.fold("series")
    law = office.law()
    assert law.exact
    assert (law.total.received, law.total.stored) == (2, 2)


def test_a_crash_before_it_was_kept_counts_nothing_twice(office: Office) -> None:
    office.batch(readings(1))
    office.fold()
    office.law()
    office.batch(readings(2))
    office.fold()
    office.series.open()  # as after a crash: what was counted since is forgotten
    office.rules.open()
    office.places = {"rules": office.rules.open(), "series": office.series.open()}
    office.fold()
    law = office.law()
    assert law.exact
    assert (law.total.received, law.total.stored) == (4, 4)


def test_what_a_store_swallows_is_missing(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.batch(readings(1))
    office.fold("rules")

    def careless(self: SeriesProjection, *_: object) -> None:
        self._tally.counted(office.journal.position)

    monkeypatch.setattr(SeriesProjection, "_count", careless)
    office.fold("series")
    monkeypatch.undo()
    office.batch(readings(2))
    office.fold()
    law = office.law()
    assert not law.exact
    # The hour is settled once the store has counted beyond its last entry.
    assert law.total.missing == 2
    assert law.total.on_its_way == 0


def test_a_hole_that_nobody_counts_is_named_in_its_period_only(office: Office) -> None:
    office.batch(readings(1))
    office.clock.ms += 2 * HOUR_MS
    office.batch(readings(4, oldest=4))
    office.clock.ms += 2 * HOUR_MS
    office.batch(readings(5))
    office.fold()
    assert office.law().total.undeclared == 2
    assert office.law(NOW - HOUR_MS, NOW + HOUR_MS // 2).exact
    assert office.law(NOW + 2 * HOUR_MS, NOW + 2 * HOUR_MS + 1).total.undeclared == 2
    assert office.law(NOW + 4 * HOUR_MS, NOW + 4 * HOUR_MS + 1).exact


def test_joined_days_say_the_same(office: Office) -> None:
    for seq in range(1, 6):
        office.batch(readings(seq))
        office.clock.ms += HOUR_MS
    office.fold()
    before = office.law()
    with office.records.session() as session:
        assert ledger.join_hours(session, NOW + 3 * DAY_MS) >= 1
        assert ledger.join_hours(session, NOW + 3 * DAY_MS) == 0
    after = office.law()
    assert after.total == before.total
    assert after.edges == before.edges
    # A period that begins within a joined day begins with that day.
    assert office.law(NOW + HOUR_MS, NOW + DAY_MS).start == NOW - NOW % DAY_MS


def test_a_day_is_closed_until_late_data_comes(office: Office) -> None:
    day = NOW // DAY_MS
    office.batch(readings(1))
    office.fold()
    office.law()
    reader = open_reader(office.settings)
    found = reader.counts(day * DAY_MS, (day + 1) * DAY_MS)
    reader.close()
    with office.records.session() as session:
        assert ledger.open_days(session, 0, day) == [day]
        ledger.note_found(session, day, ledger.stored_on(session, day), found, NOW)
        assert ledger.open_days(session, 0, day) == []
    law = office.law()
    assert (law.days, law.compared, law.differences) == (1, 1, [])
    office.batch(readings(2))
    office.fold()
    assert office.law().compared == 0


def test_a_store_that_lost_something_is_named(office: Office) -> None:
    day = NOW // DAY_MS
    office.batch(readings(1))
    office.fold()
    office.law()
    with office.records.session() as session:
        stored = ledger.stored_on(session, day)
        ledger.note_found(session, day, stored, {"meter.reading": 1}, NOW)
    law = office.law()
    assert not law.exact
    assert law.total.exact
    assert [(row.kind, row.stored, row.found) for row in law.differences] == [
        ("meter.reading", 2, 1)
    ]


def test_accounts_that_begin_in_the_midst_count_from_there(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.batch(readings(1))
    office.fold()
    position = office.journal.position
    office.crash()
    with office.records.session() as session:
        for row in (*session.query(ledger.LedgerLog), *session.query(ledger.LedgerLine)):
            session.delete(row)
        ledger.begin(session, office.journal.epoch, position, NOW)
    office.start()
    office.batch(readings(2))
    office.fold()
    law = office.law()
    assert law.exact
    assert (law.total.received, law.total.stored, law.days) == (2, 2, 0)
    office.close()


def test_records_that_are_away_hold_no_store_up(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.batch(readings(1))
    monkeypatch.setattr("collector.tally._KEEP_S", -1.0)
    with monkeypatch.context() as away:
        away.setattr(
            office.records, "session", lambda: (_ for _ in ()).throw(StoreUnavailableError("away"))
        )
        office.fold("series")
    assert office.stored() == 2
    office.fold("rules")
    with office.records.reading() as session:
        assert conservation.law(session, 0, NOW + DAY_MS).total.stored == 0
    assert office.law().total.stored == 2
