"""Dead letters go back into the log as what they were: once, whatever dies in between."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from collector.series_projection import points_of
from core.contracts import batch as batches
from core.contracts.errors import ContractError
from core.contracts.log import ReplayEntry, batch_lane
from core.storage.records import accounts, alerts, counters, refusals
from core.storage.records.errors import DecidedError
from core.storage.series import open_reader
from tests.collector.office import EDGE, EPOCH, FOREVER, NOW, SITE, Office, batch, reading

LEVEL = b'{"kind":"sensor.reading","data":{"quantity":"level","value":%b,"unit":"m"}}'


def replays(office: Office) -> list[ReplayEntry]:
    return [entry for entry in office.logged() if isinstance(entry, ReplayEntry)]


def times_ns(office: Office) -> list[int]:
    points = [point for entry in office.logged() for _, point in points_of(entry)]
    return sorted(p.time_ns for p in points if not p.event.kind.startswith("edge."))


def test_an_event_of_a_batch_is_mended_and_stored_once_at_its_own_time(office: Office) -> None:
    events = (reading(power_w=1), reading(power_w="warm"), reading(power_w=3))
    office.batch(batch(*events, seq=7, oldest=7))
    office.fold()
    assert (office.stored(), office.dead()) == (2, 1)
    [letter] = office.letters()
    assert (letter["field"], letter["state"], letter["replayable"]) == (
        "data.power_w", "dead", True,
    )  # fmt: skip

    with pytest.raises(ContractError, match=r"data\.power_w"):
        office.ask(letter["id"])
    other_lane = b'{"at":1,"seen":1,"device":"m1","kind":"access.forced","data":{}}'
    with pytest.raises(ContractError, match="travels in lane event"):
        office.ask(letter["id"], other_lane)
    office.ask(letter["id"], reading(power_w=2))
    assert office.letters()[0]["state"] == "asked"
    for _ in range(3):  # however often it is looked at
        office.replays.step()
    office.fold()
    assert (office.stored(), office.dead()) == (3, 0)
    assert times_ns(office) == [NOW * 1_000_000 + 7_000 + index for index in (0, 1, 2)]
    [entry] = replays(office)
    letter = office.letters()[0]
    assert (letter["state"], letter["replayed_by"]) == ("replayed", "li")
    assert letter["replayed_as"] == f"{office.journal.epoch}-{entry.pos}"
    with pytest.raises(DecidedError, match="stored once"):
        office.ask(letter["id"])
    with office.records.reading() as session:
        told = accounts.list_audit(session, target=f"deadletter/{letter['id']}").items
        assert counters.read(session, counters.DEAD_LETTERS_REPLAYED) == 1
    assert [(line.user, line.action) for line in told] == [
        ("li", "deadletter.replayed"), ("li", "deadletter.replay"),
    ]  # fmt: skip


@pytest.mark.parametrize("when", ["asked", "logged", "series", "rules"])
def test_a_crash_at_any_step_of_a_replay_doubles_and_loses_nothing(
    office: Office, when: str
) -> None:
    office.batch(batch(reading(power_w="warm")))
    office.fold()
    office.ask(office.letters()[0]["id"], reading())
    if when != "asked":
        office.replays.step()
    if when in ("series", "rules"):
        office.fold(when)
    office.restart()
    office.replays.step()
    office.fold()
    office.replays.step()
    office.fold()
    assert (office.stored(), office.dead(), len(replays(office))) == (1, 0, 1)
    assert office.letters()[0]["state"] == "replayed"


def test_a_plain_event_keeps_its_time_of_arrival_and_its_place(office: Office) -> None:
    office.plain("pump-1", LEVEL % b'"high"')
    office.clock.ms += 3_600_000
    office.fold()
    office.ask(office.letters()[0]["id"], LEVEL % b"1.5")
    office.replays.step()
    office.fold()
    assert (office.stored(), office.dead()) == (1, 0)
    assert times_ns(office) == [NOW * 1_000_000 + 1_000]


def test_an_unreadable_message_of_a_device(office: Office) -> None:
    office.plain("pump-1", b"[" * 70_000)
    office.fold()
    [letter] = office.letters()
    assert letter["size"] == 65_536
    with pytest.raises(ContractError):
        office.ask(letter["id"])
    office.ask(letter["id"], LEVEL % b"2")
    office.replays.step()
    office.fold()
    assert (office.stored(), office.dead()) == (1, 0)


def test_an_unreadable_batch_goes_the_way_of_the_batches(office: Office) -> None:
    whole = batch(reading())
    office.batch(whole[:-20])
    office.fold()
    [letter] = office.letters()
    office.ask(letter["id"], whole)
    before = office.journal.position
    office.replays.step()
    assert office.journal.wait(before, 10)
    # It has its place in the edge's numbering: the edge's own, which comes later, is the same.
    office.batch_again(whole)
    office.replays.step()
    assert office.letters()[0]["state"] == "replayed"
    office.restart()
    office.replays.step()
    office.fold()
    assert (office.stored(), office.dead(), replays(office)) == (1, 0, [])
    assert office.journal.last_seqs()[batch_lane(SITE, EDGE, EPOCH, "reading")] == 1


def test_an_unreadable_batch_does_not_go_past_what_the_edge_still_has(office: Office) -> None:
    office.batch(batch(reading(), seq=3)[:-20])
    office.fold()
    [letter] = office.letters()
    office.ask(letter["id"], batch(reading(), seq=3))
    office.replays.step()
    [letter] = office.letters()
    assert letter["state"] == "dead"
    assert "the edge still has what comes next" in letter["problem"]


def test_what_only_a_person_can_discard(office: Office) -> None:
    office.arrives(f"estate/v1/{SITE}/bad id/event", LEVEL % b"2")
    office.fold()
    with pytest.raises(ContractError, match="only discard it"):
        office.ask(office.letters()[0]["id"])


def test_a_point_that_the_store_refused_is_stored_at_a_mended_time(tmp_path: Path) -> None:
    office = Office(tmp_path, retention_days=30)
    long_ago = NOW - 400 * 86_400_000
    office.batch(batch(reading(power_w=1), reading(at=long_ago), seq=4, oldest=4))
    office.fold()
    assert (office.stored(), office.dead()) == (1, 1)
    [letter] = office.letters()
    assert "retention" in letter["reason"]

    office.ask(letter["id"])  # as it is: the store refuses it again, under a letter of its own
    office.replays.step()
    office.fold()
    assert (office.stored(), office.dead(), len(office.letters())) == (1, 1, 2)
    again = next(letter for letter in office.letters() if letter["state"] == "dead")

    office.ask(again["id"], reading(at=NOW))
    office.replays.step()
    office.fold()
    assert (office.stored(), office.dead()) == (2, 0)
    assert times_ns(office)[-2:] == [NOW * 1_000_000 + 4_000, NOW * 1_000_000 + 4_001]
    office.close()


# -- a newer wire ----------------------------------------------------------------------------


class Batch2(batches._Batch, frozen=True, forbid_unknown_fields=True):
    v: Annotated[int, msgspec.Meta(ge=1, le=2)] = 1
    sealer: str = ""


class RawBatch2(batches._RawBatch, frozen=True, forbid_unknown_fields=True):
    v: Annotated[int, msgspec.Meta(ge=1, le=2)] = 1
    sealer: str = ""


def upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this program one that reads version 2, whose batches name who sealed them."""
    monkeypatch.setattr(batches, "VERSION", 2)
    monkeypatch.setattr(batches, "_fast", msgspec.json.Decoder(Batch2))
    monkeypatch.setattr(batches, "_slow", msgspec.json.Decoder(RawBatch2))


def newer(payload: bytes) -> bytes:
    return payload.replace(b'"events":[', b'"v":2,"sealer":"x","events":[')


def test_a_newer_batch_waits_whole_for_the_upgrade(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [reading(at=NOW + n, power_w=n) for n in range(899)]
    office.batch(newer(batch(*events, reading(power_w="warm"))))
    office.fold()
    [letter] = office.letters()
    assert (office.stored(), letter["field"]) == (0, "v")
    assert "upgrade the collector first" in letter["reason"]
    assert letter["size"] > 64 * 1024
    with pytest.raises(ContractError, match="upgrade the collector first"):
        office.ask(letter["id"])

    upgrade(monkeypatch)
    office.restart()
    office.batch(batch(reading(at=NOW + 5_000), seq=2))  # an edge of the previous version
    office.ask(letter["id"])
    office.replays.step()
    office.fold()
    assert (office.stored(), office.dead()) == (900, 1)
    assert len(set(times_ns(office))) == 900
    [rest] = [letter for letter in office.letters() if letter["state"] == "dead"]
    office.ask(rest["id"], reading(at=NOW, power_w=9))
    office.replays.step()
    office.fold()
    assert (office.stored(), office.dead()) == (901, 0)


def test_a_replayed_declaration_of_loss_is_a_loss_and_history_rings_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = (
        b'{"at":1,"seen":1,"device":"edge-1","kind":"edge.dropped","data":{'
        b'"lane":"reading","first_seq":1,"last_seq":4,"events":40,"reason":"budget"}}'
    )
    opened = (
        b'{"at":%d,"seen":%d,"device":"m1","kind":"device.tamper",'
        b'"data":{"active":true,"part":"cover"}}' % (NOW, NOW)
    )
    payload = newer(batch(dropped, opened))
    office.batch(payload.replace(b'"lane":"reading","seq"', b'"lane":"event","seq"'))
    office.fold()
    upgrade(monkeypatch)
    office.ask(office.letters()[0]["id"])
    office.replays.step()
    office.fold()
    with office.records.reading() as session:
        assert refusals.total_losses(session) == 40
        assert alerts.list_alerts(session, now=NOW).items == []
    reader = open_reader(office.settings)
    assert [e.kind for e in reader.events("m1", 0, FOREVER)] == ["device.tamper"]
    reader.close()
