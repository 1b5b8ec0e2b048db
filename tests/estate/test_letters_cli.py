"""``estate deadletters`` and ``estate devices``, on the records of a stopped run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core.storage.records import accounts
from estate.cli import app
from tests.collector.office import SITE, Office, batch, reading


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setenv("ESTATE_DATA", str(tmp_path))
    opened = Office(tmp_path)
    yield opened
    opened.close()


def estate(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_letters_are_listed_shown_mended_replayed_and_discarded(
    office: Office, tmp_path: Path
) -> None:
    assert "There are none." in estate("deadletters", "list").output
    office.batch(batch(reading(power_w="warm"), reading(power_w="cold")))
    office.fold()
    second, first = (letter["id"] for letter in office.letters())
    listed = estate("deadletters", "list").output
    assert first in listed
    assert "data.power_w: Input should be a valid number (got 'warm')" in listed
    assert estate("deadletters", "show", first, "--raw").stdout_bytes == reading(power_w="warm")
    assert "state        dead" in estate("deadletters", "show", first).output

    bad = estate("deadletters", "replay", first, "--reason", "as it is")
    assert (bad.exit_code, "data.power_w" in bad.output) == (1, True)
    mended = tmp_path / "mended.json"
    mended.write_bytes(reading(power_w=7))
    good = estate("deadletters", "replay", first, "--reason", "mended", "--file", str(mended))
    assert (good.exit_code, f"{first}: 1 event to be replayed" in good.output) == (0, True)
    assert estate("deadletters", "discard", second, "--reason", "a test").exit_code == 0
    office.replays.step()
    office.fold()
    assert (office.stored(), office.dead()) == (1, 1)
    shown = estate("deadletters", "list", "--state", "replayed").output
    assert first in shown
    assert second not in shown
    with office.records.reading() as session:
        lines = accounts.list_audit(session).items
    assert [line.action for line in lines] == [
        "deadletter.replayed", "deadletter.discard", "deadletter.replay",
    ]  # fmt: skip
    assert all(str(line.user).endswith(" at the command line") for line in lines)


def test_all_letters_of_one_fault_are_replayed_together(office: Office) -> None:
    for seq in (1, 2, 3):
        whole = batch(reading(power_w=seq), seq=seq)
        office.batch(whole.replace(b'"events":[', b'"v":2,"events":['))
    office.fold()
    assert office.dead() == 3
    still = estate("deadletters", "replay", "--field", "v", "--reason", "upgraded")
    assert (still.exit_code, still.output.count("upgrade the collector first")) == (1, 3)
    assert "0 asked for, 3 refused" in still.output
    for what in ("replay", "discard"):
        neither = estate("deadletters", what, "--reason", "x")
        assert (neither.exit_code, "name letters, or --field" in neither.output) == (2, True)
    office.batch(batch(reading(power_w="warm"), seq=4))
    office.fold()
    aside = estate("deadletters", "discard", "--field", "v", "--reason", "a test")
    assert (aside.exit_code, aside.output.count(": discarded")) == (0, 3)
    assert [letter["field"] for letter in office.letters() if letter["state"] == "dead"] == [
        "data.power_w"
    ]


def test_an_unknown_device_is_listed_and_adopted(office: Office) -> None:
    office.batch(batch(reading("ghost")))
    office.fold()
    listed = estate("devices", "unknown").output
    assert f"ghost  (device on estate/v1/{SITE}/edge-1/batch)" in listed
    assert "meter.reading 1" in listed
    place = ("--node", SITE, "--family", "meter", "--name", "水表")
    assert estate("devices", "adopt", "nobody", *place).exit_code == 2
    assert estate("devices", "adopt", "ghost", *place).exit_code == 0
    office.adoptions.step()
    office.fold()
    assert "0 in all" in estate("devices", "unknown").output
    assert "holds" in estate("devices", "adopted").output
    assert estate("devices", "withdraw", "ghost").exit_code == 0
    assert "There are none." in estate("devices", "adopted").output
    assert estate("devices", "forget", "ghost").exit_code == 2
