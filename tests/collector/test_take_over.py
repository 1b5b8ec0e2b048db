"""From one collector to several: each site goes on as after a move by plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from collector.station import LEFT
from collector.take_over import take_over
from core.contracts.batch import envelope, seal
from core.contracts.errors import InUseError, JournalError, SettingsError
from core.contracts.events import Lane
from core.runtime.settings import CollectorSettings, RecordsSettings, SeriesSettings, Settings
from core.storage.journal import Journal, OnFull
from core.storage.records import accounts, ledger, projection, tenures
from core.storage.records.accounts import Who
from core.storage.records.ledger import Witness
from core.storage.records.ledger_models import LedgerLog
from core.storage.records.models import AlertRow, DeclaredLoss
from core.storage.records.tenure_models import TenureRow
from tests.collector.office import EDGE, EPOCH, NOW, SITE, Office, batch, reading
from tests.collector.tenancy import Town

WHO = Who("li", NOW)


@dataclass
class Street:
    """One collector's office, and the settings of one of those that are to follow it."""

    office: Office
    shared: Settings

    def move(self) -> dict[str, int]:
        return take_over(self.office.settings, self.shared, WHO, "it grew").sites

    def row(self) -> TenureRow | None:
        with self.office.records.reading() as session:
            return session.get(TenureRow, SITE)

    def losses(self) -> int:
        with self.office.records.reading() as session:
            return len(list(session.scalars(select(DeclaredLoss))))


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    office = Office(tmp_path)
    shared = Settings(
        data=tmp_path / "north",
        records=RecordsSettings(url=office.settings.records_url),
        series=SeriesSettings(kind="influxdb"),
        collector=CollectorSettings(shared=True, name="north"),
    )
    yield Street(office, shared)
    office.records.close()


def readings(seq: int, oldest: int = 1) -> bytes:
    return batch(
        *[reading(at=NOW + seq * 100 + index) for index in range(2)], seq=seq, oldest=oldest
    )


def test_the_first_owner_goes_on_behind_what_is_stored(street: Street, tmp_path: Path) -> None:
    office = street.office
    for seq in (1, 2, 3):
        office.batch(readings(seq))
    office.plain("lonely", reading("lonely"))
    office.rest()
    assert street.move() == {SITE: 1}

    town = Town(tmp_path)
    north = town.take()
    assert north.inherited == {"reading": 3}
    north.batch(readings(4, oldest=4))
    north.plain("lonely", reading("lonely", at=NOW + 1))
    north.give()
    law = town.law()
    assert law.exact
    flow = law.flow(SITE, EDGE)
    assert (flow.received, flow.stored, flow.absent, flow.dropped) == (8, 8, 0, 0)
    assert law.flow(SITE, "").received == 2
    assert law.cut_off == 0
    assert street.losses() == 0
    town.close()


def test_what_stands_is_the_same_alert_and_clears_by_itself(street: Street, tmp_path: Path) -> None:
    office = street.office
    office.batch(cover(1, NOW, active=True))
    office.rest()
    with office.records.reading() as session:
        before = {row.id: row.revision for row in session.scalars(select(AlertRow))}
    assert before
    street.move()

    town = Town(tmp_path)
    north = town.take()
    north.batch(cover(2, NOW + 1000, active=True))
    north.fold()
    north.batch(cover(3, NOW + 2000, active=False))
    north.give()
    with office.records.reading() as session:
        after = {row.id: row for row in session.scalars(select(AlertRow))}
    assert after.keys() == before.keys()
    assert {row.cleared_at for row in after.values()} == {NOW + 2000}
    town.close()


def cover(seq: int, at: int, *, active: bool) -> bytes:
    """A batch: a meter says that its cover was opened, or is closed again."""
    event = (
        f'{{"at":{at},"seen":{at},"device":"m1","kind":"meter.event","data":'
        f'{{"medium":"electricity","event":"cover_opened","active":{str(active).lower()}}}}}'
    )
    return envelope(EDGE, EPOCH, Lane.EVENT, seq, seq, seal([event.encode()], at))


def test_it_may_be_done_again_until_somebody_has_begun(street: Street, tmp_path: Path) -> None:
    street.office.batch(readings(1))
    street.office.rest()
    street.move()
    first = street.row()
    assert street.move() == {SITE: 1}
    again = street.row()
    assert first is not None
    assert again is not None
    assert (again.log, again.lanes, again.term) == (first.log, first.lanes, 0)
    town = Town(tmp_path)
    north = town.take()
    north.batch(readings(2, oldest=2))
    with pytest.raises(InUseError, match=r"site-1 .* c-1 has taken it \(term 1\)"):
        street.move()
    north.give()
    with pytest.raises(InUseError, match="term 1"):
        street.move()
    assert town.take().inherited == {"reading": 2}
    town.close()


def test_whose_a_site_is_to_be_stays_as_it_was_said(street: Street) -> None:
    street.office.rest()
    with street.office.records.session() as session:
        tenures.note_site(session, SITE)
        tenures.assign(session, SITE, "south")
    street.move()
    row = street.row()
    assert row is not None
    assert (row.wanted, row.collector) == ("south", "collector")


def test_the_one_collector_does_not_go_on_with_a_log_that_it_has_left(street: Street) -> None:
    street.office.rest()
    street.move()
    log = held(street)
    assert log.cursors()[LEFT] == log.position
    log.close()


def held(street: Street) -> Journal:
    path = street.office.settings.data / "collector.sqlite"
    log = Journal(path, owner="collector", budget=1 << 30, on_full=OnFull.REFUSE)
    log.open()
    return log


def test_a_collector_that_runs_is_not_taken_over(street: Street) -> None:
    with pytest.raises(InUseError, match="in use"):
        street.move()
    street.office.crash()


def test_what_is_not_stored_is_named(street: Street) -> None:
    office = street.office
    office.batch(readings(1))
    office.fold("rules")
    office.crash()
    with pytest.raises(JournalError, match=r"2 entries for rules, 2 entries for series"):
        street.move()
    assert street.row() is None
    office.start()
    office.rest()
    assert street.move() == {SITE: 1}


def test_records_that_are_not_those_of_the_log_are_refused(street: Street) -> None:
    office = street.office
    office.batch(readings(1))
    office.rest()
    received = Witness.RECEIVED.cursor(office.journal.epoch)
    with office.records.session() as session:
        projection.save_cursor(session, received, 1, None)
    with pytest.raises(SettingsError, match="do not have all of the log"):
        street.move()
    with office.records.session() as session:
        session.execute(delete(LedgerLog))
    with pytest.raises(SettingsError, match="estate records copy"):
        street.move()
    assert street.row() is None


def test_settings_of_others_are_refused(street: Street, tmp_path: Path) -> None:
    street.office.rest()
    one, shared = street.office.settings, street.shared
    with pytest.raises(SettingsError, match="one of several already"):
        take_over(shared, shared, WHO)
    with pytest.raises(SettingsError, match="--settings"):
        take_over(one, one, WHO)
    with pytest.raises(JournalError, match="no log"):
        take_over(Settings(data=tmp_path / "empty"), shared, WHO)


def test_another_series_store_is_compared_from_the_second_day_on(
    street: Street, tmp_path: Path
) -> None:
    street.office.batch(readings(1))
    street.office.rest()
    street.move()
    town = Town(tmp_path)
    north = town.take()
    north.batch(readings(2, oldest=2))
    north.give()
    town.compare(NOW // ledger.DAY_MS)
    law = town.law()
    assert law.exact
    assert (law.compared, law.differences) == (0, [])
    with town.records.reading() as session:
        (line,) = accounts.list_audit(session).items
    assert (line.action, line.detail["sites"]) == ("sites.take_over", [SITE])
    town.close()
