"""The desk goes on with the others when one clerk cannot work, and says so once."""

from __future__ import annotations

from pathlib import Path

import structlog.testing

from collector.desk import Desk
from collector.replays import Replays
from core.contracts.errors import JournalFullError
from core.storage.journal import Journal, OnFull
from tests.collector.office import Office, batch, reading


class Clerk:
    def __init__(self, name: str, *faults: Exception) -> None:
        self.name = name
        self.faults = list(faults)
        self.done = 0

    def step(self) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.done += 1


def test_one_that_fails_is_told_once_and_holds_up_nobody() -> None:
    first = Clerk("first", JournalFullError("full"), KeyError("a bug"))
    second = Clerk("second")
    desk = Desk([first, second])
    with structlog.testing.capture_logs() as lines:
        desk.step()
        assert desk.trouble == {"first": "full"}
        desk.step()
        desk.step()
        desk.step()
    assert (first.done, second.done, desk.failures, desk.trouble) == (2, 4, 2, {})
    assert [(line["log_level"], line["of"]) for line in lines] == [
        ("warning", "first"), ("info", "first"),
    ]  # fmt: skip


def test_a_full_log_makes_a_replay_wait_and_loses_nothing(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.batch(batch(reading(power_w="warm")))
    office.fold()
    [letter] = office.letters()
    office.ask(letter["id"], reading())
    path = tmp_path / "small.sqlite"
    small = Journal(path, owner="small", budget=1, on_full=OnFull.REFUSE)
    small.open()
    full = Desk([Replays(office.records, small, office.clock, office.ingest)])
    full.step()
    assert "budget" in full.trouble["replays"]
    assert office.letters()[0]["state"] == "asked"
    desk = Desk([office.replays])
    desk.step()
    office.fold()
    assert (office.stored(), office.dead(), desk.trouble) == (1, 0, {})
    small.close()
    office.close()
