"""Entries that grow while nobody has seen them, and never once somebody may have."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.contracts.batch import decode_batch, envelope, join, seal
from core.contracts.errors import JournalFullError
from core.contracts.events import Lane
from core.storage.journal import Append, Growth, Journal, OnFull

GROWTH = Growth(lambda a, b: a + b, most_bytes=40, most_events=8)


def make(path: Path, budget: int = 1 << 30) -> Journal:
    journal = Journal(path, owner="e", budget=budget, on_full=OnFull.REFUSE)
    journal.open()
    return journal


def bodies(journal: Journal, lane: str = "a") -> list[bytes]:
    reader = journal.reader()
    try:
        return [entry.body for entry in reader.read_lane(lane, 0, limit=10_000)]
    finally:
        reader.close()


def add(journal: Journal, body: bytes, lane: str = "a") -> int:
    return journal.extend(Append(lane, body, at=1), GROWTH).result().seq


def test_an_entry_grows_only_while_it_is_allowed(tmp_path: Path) -> None:
    journal = make(tmp_path / "j.sqlite")
    assert [add(journal, b"1"), add(journal, b"2")] == [1, 2], "not allowed from the start"
    journal.grow(allowed=True)
    assert [add(journal, b"3"), add(journal, b"4")] == [3, 3], "what was there stays as it is"
    journal.grow(allowed=False)
    assert add(journal, b"5") == 4
    assert bodies(journal) == [b"1", b"2", b"34", b"5"]
    journal.close()


def test_an_entry_that_was_handed_on_never_changes(tmp_path: Path) -> None:
    journal = make(tmp_path / "j.sqlite")
    journal.grow(allowed=True)
    add(journal, b"1")
    journal.note_sent("a", 1).result()
    assert add(journal, b"2") == 2
    assert bodies(journal) == [b"1", b"2"]
    journal.close()


def test_what_an_earlier_life_left_never_changes(tmp_path: Path) -> None:
    """It may have been sent without a note: that is kept with the next commit only."""
    journal = make(tmp_path / "j.sqlite")
    journal.grow(allowed=True)
    add(journal, b"1")
    journal.close()
    journal = make(tmp_path / "j.sqlite")
    journal.grow(allowed=True)
    assert add(journal, b"2") == 2
    assert add(journal, b"3") == 2
    assert bodies(journal) == [b"1", b"23"]
    journal.close()


def test_the_size_that_counts_against_the_budget_is_that_of_the_joined_entry(
    tmp_path: Path,
) -> None:
    journal = make(tmp_path / "j.sqlite")
    journal.grow(allowed=True)
    for _ in range(8):
        add(journal, b"12345")
    grown = journal.size
    journal.close()
    journal = make(tmp_path / "j.sqlite")
    assert journal.size == grown
    assert bodies(journal) == [b"12345" * 8]
    journal.close()


def test_an_entry_is_full_at_its_bytes_or_its_events(tmp_path: Path) -> None:
    journal = make(tmp_path / "j.sqlite")
    journal.grow(allowed=True)
    assert [add(journal, b"x" * 15) for _ in range(3)] == [1, 1, 2]
    assert [add(journal, b"y", "b") for _ in range(9)] == [1] * 8 + [2]
    journal.close()


def test_sealed_batches_join_to_one_with_the_events_in_their_order() -> None:
    first = [b'{"kind":"access.door","device":"d%d","at":1,"seen":1,"data":{"open":true}}' % n
             for n in range(3)]  # fmt: skip
    second = [event.replace(b'"open":true', b'"open":false') for event in first]
    joined = join(seal(first, 10), seal(second, 20))
    assert joined == seal(first + second, 20)
    batch = decode_batch(envelope("e1", "epoch-0001", Lane.EVENT, 1, 1, joined))
    assert len(batch.events) == 6
    assert not batch.rejects


class Growing(RuleBasedStateMachine):
    """Whatever is sent, cut off or restarted: nothing is lost, and what was seen stays."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "j.sqlite"
        self.journal = make(self.path)
        self.added: list[bytes] = []
        self.seen: dict[int, bytes] = {}

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()

    @rule(count=st.integers(1, 4))
    def add(self, count: int) -> None:
        for _ in range(count):
            body = b"%d," % len(self.added)
            add(self.journal, body)
            self.added.append(body)

    @rule()
    def away(self) -> None:
        self.journal.grow(allowed=True)

    @rule(count=st.integers(1, 5), noted=st.booleans())
    def send(self, count: int, noted: bool) -> None:
        """Hand on; ``noted`` False: the process is killed before the note is kept."""
        self.journal.grow(allowed=False)
        entries = bodies(self.journal)
        sent = max(self.seen, default=0)
        last = min(sent + count, len(entries))
        if last > sent:
            self.journal.note_sent("a", last).result()
            self.seen |= {seq: entries[seq - 1] for seq in range(sent + 1, last + 1)}
        if not noted:
            self.restart()

    @rule()
    def restart(self) -> None:
        self.journal.close()
        self.journal = make(self.path)

    @invariant()
    def nothing_is_lost_and_what_was_seen_stays(self) -> None:
        found = bodies(self.journal)
        assert b"".join(found) == b"".join(self.added)
        assert all(found[seq - 1] == body for seq, body in self.seen.items())


TestGrowing = Growing.TestCase
TestGrowing.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip


def test_growth_is_refused_where_there_is_no_room(tmp_path: Path) -> None:
    journal = make(tmp_path / "j.sqlite", budget=300)
    journal.grow(allowed=True)
    taken = [add(journal, b"x" * 20) for _ in range(4)]
    assert taken == [1, 1, 2, 2]
    with pytest.raises(JournalFullError, match="budget"):
        add(journal, b"x" * 100)
    assert bodies(journal) == [b"x" * 40, b"x" * 40]
    journal.close()
