"""What a device dates far ahead of when it was heard is a dead letter, and is not stored."""

from __future__ import annotations

import pytest

from core.contracts.events import FUTURE_MS
from core.storage.series import open_reader
from estate.audit import audit_of
from tests.collector.office import NOW, Office, batch, reading

YEARS_MS = 10 * 365 * 86_400_000
HOUR_MS = 3_600_000


def seen(at: int, when: int = NOW, power_w: float = 5.0) -> bytes:
    """A reading that the meter dates ``at`` and its edge saw at ``when``."""
    return reading(at=at, power_w=power_w).replace(b'"seen":%d' % at, b'"seen":%d' % when)


def newest(office: Office) -> int:
    reader = open_reader(office.settings)
    try:
        return max((event.at for event in reader.latest(["m1"])), default=0)
    finally:
        reader.close()


def is_exact(office: Office) -> bool:
    total = office.law().total
    assert (total.missing, total.surplus, total.on_its_way) == (0, 0, 0)
    log = office.settings.data / "collector.sqlite"
    reader = open_reader(office.settings)
    try:
        return audit_of(log, [], reader, office.records).exact
    finally:
        reader.close()


@pytest.mark.parametrize(("ahead", "stored"), [(0, 1), (FUTURE_MS, 1), (FUTURE_MS + 1, 0)])
def test_five_minutes_are_the_bound(office: Office, ahead: int, stored: int) -> None:
    office.batch(batch(seen(NOW + ahead)))
    office.plain("m1", reading(at=NOW + ahead))
    office.fold()
    assert (office.stored(), office.dead()) == (2 * stored, 2 * (1 - stored))
    assert is_exact(office)


def test_an_event_of_ten_years_on_spoils_nothing_and_is_mended(office: Office) -> None:
    office.batch(batch(seen(NOW), seen(NOW + YEARS_MS, power_w=7), seen(NOW + 1)))
    office.fold()
    assert (office.stored(), newest(office)) == (2, NOW + 1)
    days = sorted(path.name for path in (office.settings.data / "series").glob("20*.sqlite"))
    assert [day[:4] for day in days] == ["2025"]
    [letter] = office.letters()
    assert (letter["field"], letter["source"]) == ("at", "series:meter.reading")
    assert "3650 days ahead" in letter["reason"]
    assert "set the device's clock" in letter["reason"]
    assert is_exact(office)

    office.ask(letter["id"])  # as it is it is refused again
    office.replays.step()
    office.fold()
    assert (office.stored(), office.dead()) == (2, 1)
    again = next(letter for letter in office.letters() if letter["state"] == "dead")
    office.ask(again["id"], seen(NOW, power_w=7))
    office.replays.step()
    office.fold()
    assert (office.stored(), office.dead()) == (3, 0)
    assert is_exact(office)


def test_a_plain_event_is_held_against_its_arrival_also_when_it_is_replayed(
    office: Office,
) -> None:
    office.plain("m1", reading(at=NOW + YEARS_MS))  # its ``seen`` is of the same clock
    office.fold()
    [letter] = office.letters()
    assert (office.stored(), letter["field"]) == (0, "at")
    office.clock.ms += HOUR_MS
    office.ask(letter["id"], reading(at=NOW + YEARS_MS, power_w=6))
    office.replays.step()
    office.fold()
    assert (office.stored(), office.dead()) == (0, 1)
    again = next(letter for letter in office.letters() if letter["state"] == "dead")
    office.ask(again["id"], b'{"kind":"meter.reading","data":{"medium":"electricity"}}')
    office.replays.step()
    office.fold()
    assert (office.stored(), office.dead(), newest(office)) == (1, 0, NOW)
    assert is_exact(office)


def test_a_collector_whose_clock_fell_back_refuses_no_batch(office: Office) -> None:
    office.clock.ms -= YEARS_MS
    office.batch(batch(seen(NOW)))
    office.fold()
    assert (office.stored(), office.dead()) == (1, 0)


def test_the_log_read_again_refuses_the_same(office: Office) -> None:
    office.batch(batch(seen(NOW), seen(NOW + HOUR_MS)))
    office.plain("m1", reading(at=NOW + HOUR_MS))
    office.fold("series")
    known = [letter["id"] for letter in office.letters()]
    office.crash()
    for path in (office.settings.data / "series").iterdir():
        path.unlink()
    office.start()
    office.fold()
    assert (office.stored(), [letter["id"] for letter in office.letters()]) == (1, known)
    assert is_exact(office)
