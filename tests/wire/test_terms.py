"""An edge between two collectors: whose receipts count, what it keeps, from where it sends."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest

from core.contracts.batch import Receipt, answers
from core.contracts.codec import encode
from core.contracts.events import Lane
from core.runtime.link import Message
from core.runtime.settings import BrokerSettings
from core.storage.journal import Append, Journal
from edge.outbox import open_journal
from edge.receipts import Owner, Standing
from edge.uplink import Uplink
from tests.wire.harness import CLOCK


class Rig:
    """An uplink that is never connected: receipts are handed to it."""

    def __init__(self, folder: Path, budget: int = 1 << 30) -> None:
        self.journal: Journal = open_journal(folder / "j.sqlite", "e", budget, CLOCK)
        self.uplink = Uplink(
            site="s", edge="e", journal=self.journal, broker=BrokerSettings(port=1), clock=CLOCK,
            version="t", fresh_state=_fresh,
        )  # fmt: skip

    def fill(self, count: int, size: int = 10) -> None:
        for _ in range(count):
            self.journal.append(Append("event", bytes(size), 1)).result()
        self.journal.note_sent("event", self.journal.bounds()["event"].last).result()

    def receipt(self, lanes: int, term: int = 0, stored: int | None = None, birth: int = 0) -> None:
        kept = None if stored is None else {"event": stored}
        body = encode(Receipt("e", self.journal.epoch, {"event": lanes}, term, kept))
        self.uplink._on_receipt(Message("t", body, False, answers(birth), lambda: None))
        self.uplink._read_mail()

    @property
    def held(self) -> tuple[int, int]:
        bounds = self.journal.bounds()["event"]
        return bounds.oldest, bounds.last

    @property
    def behind(self) -> int:
        return self.uplink._windows[Lane.EVENT].acknowledged


def _fresh() -> Future[None]:
    done: Future[None] = Future()
    done.set_result(None)
    return done


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_what_is_receipted_and_not_stored_is_kept(rig: Rig) -> None:
    rig.fill(20)
    rig.receipt(15, term=3, stored=6)
    assert (rig.behind, rig.held) == (15, (7, 20)), "it goes on behind 15, and keeps 7 to 15"
    rig.receipt(15, term=3, stored=15)
    assert rig.held == (16, 20)
    rig.journal.close()


def test_a_new_collector_is_sent_what_the_former_had_not_stored(rig: Rig) -> None:
    rig.fill(20)
    rig.receipt(15, term=3, stored=6)
    rig.receipt(6, term=4, stored=6)
    assert (rig.behind, rig.held) == (6, (7, 20))
    rig.receipt(18, term=3, stored=18)
    assert (rig.behind, rig.held) == (6, (7, 20)), "it is not its site any more"
    assert rig.uplink.former_receipts == 1
    rig.receipt(20, term=4, stored=20)
    assert (rig.behind, rig.held) == (20, (21, 20))
    rig.journal.close()


def test_a_receipt_of_the_only_collector_is_as_ever(rig: Rig) -> None:
    rig.fill(9)
    rig.receipt(4)
    assert (rig.behind, rig.held) == (4, (5, 9))
    assert encode(Receipt("e", "epoch-01", {"event": 1})) == (
        b'{"edge":"e","epoch":"epoch-01","lanes":{"event":1}}'
    )
    rig.journal.close()


def test_terms_that_began_anew_are_believed_of_who_answers() -> None:
    owner = Owner()
    assert owner.judge(7, answers_us=False) is Standing.SAME
    assert owner.judge(2, answers_us=False) is Standing.FORMER
    assert owner.judge(2, answers_us=True) is Standing.NEW, "its records were restored"
    assert owner.judge(2, answers_us=False) is Standing.SAME
    assert owner.judge(3, answers_us=False) is Standing.NEW


def test_a_full_outbox_gives_up_first_what_somebody_has(tmp_path: Path) -> None:
    """No tombstone for it: it is in a collector's log, and if that goes, it is a hole."""
    rig = Rig(tmp_path, budget=60_000)
    rig.fill(40, size=1000)
    rig.receipt(30, term=1, stored=0)
    rig.journal.append(*[Append("event", bytes(1000), 1) for _ in range(20)]).result()
    oldest, last = rig.held
    assert (oldest, last) == (31, 60)
    rig.receipt(0, term=2, stored=0)
    rig.journal.append(*[Append("event", bytes(1000), 1) for _ in range(30)]).result()
    reader = rig.journal.reader()
    bodies = [entry.body for entry in reader.read_lane("event", 60, limit=1000)]
    reader.close()
    assert any(b"edge.dropped" in body for body in bodies), "the new one has nothing of it"
    rig.journal.close()
