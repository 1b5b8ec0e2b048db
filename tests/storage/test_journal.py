"""The journal, through its public interface and against a model."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.contracts.errors import (
    ForeignFileError,
    InUseError,
    JournalCorruptError,
    JournalError,
    JournalFullError,
)
from core.storage.journal import Append, Journal, OnFull, Tombstone, least_budget, schema

PRIORITY = {"event": 0, "state": 1, "reading": 2, "media": 3}


def note(tombstones: list[Tombstone]) -> Append:
    """Encode tombstones as ``lane,first,last,events`` lines, one event each."""
    lines = [f"{t.lane},{t.first_seq},{t.last_seq},{t.events}" for t in tombstones]
    return Append("event", "\n".join(["note", *lines]).encode(), 0, events=len(lines))


def make(path: Path, *, budget: int = 1 << 30, evict: bool = False, window: int = 0) -> Journal:
    journal = Journal(
        path,
        owner="edge-1",
        budget=budget,
        on_full=OnFull.EVICT if evict else OnFull.REFUSE,
        note=note if evict else None,
        window=window,
    )
    journal.open()
    return journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = make(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


def entry(lane: str, body: bytes = b"x", **more: int) -> Append:
    return Append(lane, body, at=1, priority=PRIORITY.get(lane, 0), **more)


def test_entries_come_back_in_order_with_a_seq_per_lane(journal: Journal) -> None:
    placed = journal.append(entry("event", b"a"), entry("state", b"b"), entry("event", b"c"))
    assert [(p.pos, p.seq) for p in placed.result()] == [(1, 1), (2, 1), (3, 2)]
    reader = journal.reader()
    assert [(e.lane, e.seq, e.body) for e in reader.read(0)] == [
        ("event", 1, b"a"),
        ("state", 1, b"b"),
        ("event", 2, b"c"),
    ]
    assert [e.body for e in reader.read_lane("event", 1)] == [b"c"]
    reader.close()


def test_a_seq_that_was_used_is_refused_and_nothing_of_the_call_is_written(
    journal: Journal,
) -> None:
    journal.append(entry("event", seq=7)).result()
    with pytest.raises(JournalError, match="not above the last, 7"):
        journal.append(entry("state"), entry("event", seq=7)).result()
    assert journal.last_seqs() == {"event": 7}


def test_seq_and_position_survive_trimming_and_reopening(tmp_path: Path) -> None:
    journal = make(tmp_path / "j")
    journal.append(*[entry("event") for _ in range(5)]).result()
    assert journal.acknowledge("event", 5).result() == 5
    epoch = journal.epoch
    journal.close()
    journal = make(tmp_path / "j")
    assert journal.epoch == epoch
    (placed,) = journal.append(entry("event")).result()
    assert (placed.pos, placed.seq) == (6, 6)
    assert journal.lanes()["event"].acknowledged == 5
    journal.close()


def test_many_threads_share_commits_and_lose_nothing(journal: Journal) -> None:
    def work(lane: str) -> None:
        for number in range(200):
            journal.append(entry(lane, str(number).encode())).result()

    threads = [threading.Thread(target=work, args=(f"lane-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader = journal.reader()
    for number in range(8):
        bodies = [e.body for e in reader.read_lane(f"lane-{number}", 0, limit=1000)]
        assert bodies == [str(n).encode() for n in range(200)]
    reader.close()


def test_a_refusing_journal_refuses_over_its_budget_and_takes_again_after_retention(
    tmp_path: Path,
) -> None:
    journal = make(tmp_path / "j", budget=10_000)
    journal.append(entry("a", bytes(9_000))).result()
    with pytest.raises(JournalFullError, match="budget"):
        journal.append(entry("a", bytes(2_000))).result()
    assert journal.retain(2).result() == 0, "no cursor has passed the entry yet"
    journal.advance("series", 1).result()
    assert journal.retain(1).result() == 0, "the entry is not older than the limit"
    assert journal.retain(2).result() == 1
    journal.append(entry("a", bytes(2_000))).result()
    journal.close()


def test_eviction_drops_the_lowest_class_first_and_says_how_much(tmp_path: Path) -> None:
    journal = make(tmp_path / "j", budget=100_000, evict=True)
    for _ in range(30):
        journal.append(entry("event", bytes(1000), events=1)).result()
        journal.append(entry("reading", bytes(1000), events=10)).result()
    journal.append(entry("media", bytes(50_000))).result()
    lanes = journal.lanes()
    assert lanes["media"].entries == 0
    assert lanes["event"].oldest == 1
    reader = journal.reader()
    notes = [e.body.decode() for e in reader.read_lane("event", 0) if e.body[:4] == b"note"]
    reader.close()
    journal.close()
    assert notes == ["note\nmedia,1,1,1"]


def test_an_evicted_note_is_carried_by_a_new_one(tmp_path: Path) -> None:
    journal = make(tmp_path / "j", budget=20_000, evict=True)
    for _ in range(100):
        journal.append(entry("event", bytes(1000))).result()
    reader = journal.reader()
    held = reader.read_lane("event", 0, limit=1000)
    reader.close()
    stones = [line for e in held if e.body[:4] == b"note" for line in e.body.decode().split()[1:]]
    journal.close()
    ranges = sorted((int(s.split(",")[1]), int(s.split(",")[2])) for s in stones)
    assert ranges[0][0] == 1
    assert all(a[1] + 1 == b[0] for a, b in itertools.pairwise(ranges))
    assert ranges[-1][1] + 1 == held[0].seq > 60, "all that is gone is declared by what is held"


def test_what_may_have_been_sent_gets_a_tombstone_each(tmp_path: Path) -> None:
    journal = make(tmp_path / "j", budget=50_000, evict=True, window=3)
    journal.append(*[entry("reading", bytes(1000)) for _ in range(20)]).result()
    journal.acknowledge("reading", 2).result()
    journal.append(entry("event", bytes(44_000))).result()
    reader = journal.reader()
    (text,) = [e.body.decode() for e in reader.read_lane("event", 0) if e.body[:4] == b"note"]
    reader.close()
    journal.close()
    stones = [tuple(map(int, line.split(",")[1:])) for line in text.split()[1:]]
    assert stones[:3] == [(3, 3, 1), (4, 4, 1), (5, 5, 1)]
    assert len(stones) == 4
    assert stones[3][0] == 6


def test_a_new_epoch_numbers_the_lanes_from_one_again(journal: Journal) -> None:
    journal.append(*[entry("event", str(n).encode()) for n in range(1, 6)]).result()
    journal.append(entry("state")).result()
    journal.acknowledge("event", 3).result()
    journal.acknowledge("state", 1).result()
    before = journal.epoch
    assert journal.new_epoch() == journal.epoch != before
    lanes = journal.lanes()
    assert (lanes["event"].oldest, lanes["event"].last) == (1, 2)
    assert (lanes["state"].oldest, lanes["state"].last) == (1, 0)
    reader = journal.reader()
    assert [(e.seq, e.body) for e in reader.read_lane("event", 0)] == [(1, b"4"), (2, b"5")]
    reader.close()


def test_waiting_ends_with_the_commit(journal: Journal) -> None:
    assert not journal.wait(0, 0.001)
    threading.Timer(0.01, lambda: journal.append(entry("event"))).start()
    assert journal.wait(0, 10)


def test_two_processes_cannot_write_one_journal(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(InUseError, match="in use"):
        make(tmp_path / "journal.sqlite")


def test_foreign_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"not a database at all, but long enough to have a header" * 20)
    with pytest.raises(ForeignFileError, match="not a journal"):
        make(text)
    other = tmp_path / "other"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    with pytest.raises(ForeignFileError, match="not a journal"):
        make(other)
    make(tmp_path / "j").close()
    with pytest.raises(ForeignFileError, match="belongs to 'edge-1'"):
        Journal(tmp_path / "j", owner="edge-2", budget=1, on_full=OnFull.REFUSE).open()


def test_a_damaged_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = make(path)
    journal.append(*[entry("event", bytes(500)) for _ in range(200)]).result()
    journal.close()
    damaged = bytearray(path.read_bytes())
    for page in range(3, len(damaged) // 4096):
        damaged[page * 4096 : page * 4096 + 40] = b"\xa5" * 40
    path.write_bytes(damaged)
    with pytest.raises(JournalCorruptError, match="new epoch"):
        make(path)


def test_a_large_file_is_checked_whole_when_the_machine_went_down_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "CHECK_BYTES", 0)
    path = tmp_path / "j"
    journal = make(path)
    journal.append(*[entry("event", bytes(100_000)) for _ in range(20)]).result()
    journal.close()
    middle = path.stat().st_size // 4096 // 2 * 4096
    with path.open("r+b") as file:
        file.seek(middle)
        file.write(b"\xa5" * 40)
    make(path).close()  # it was closed well
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = 0 WHERE name = 'clean'")
    make(path).close()  # as a kill leaves it: nothing is read for it
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = 0 WHERE name = 'clean'")
        connection.execute("UPDATE meta SET value = 'before' WHERE name = 'boot'")
    with pytest.raises(JournalCorruptError, match="damaged"):
        make(path)


def test_who_waits_no_longer_does_not_end_the_writer(journal: Journal) -> None:
    for number in range(50):
        journal.append(entry("event", b"%d" % number)).cancel()
    assert journal.append(entry("event")).result(5)[0].seq == 51


def test_kill_9_at_200_random_moments_loses_no_acknowledged_entry(tmp_path: Path) -> None:
    script = Path(__file__).with_name("journal_killer.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "j"), "200"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kills, acknowledged = map(int, done.stdout.split())
    assert kills == 200
    assert acknowledged > 200


class JournalMachine(RuleBasedStateMachine):
    """A journal that evicts, against a list; reopened at will."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "j"
        self.journal = make(self.path, budget=20_000, evict=True, window=2)
        self.appended: dict[str, int] = dict.fromkeys(PRIORITY, 0)
        self.receipts: dict[str, int] = dict.fromkeys(PRIORITY, 0)

    @rule(lane=st.sampled_from(list(PRIORITY)), size=st.integers(1, 4000), n=st.integers(1, 5))
    def append(self, lane: str, size: int, n: int) -> None:
        placed = self.journal.append(*[entry(lane, bytes(size)) for _ in range(n)]).result()
        seqs = [p.seq for p in placed]
        assert seqs == list(range(seqs[0], seqs[0] + n))
        assert seqs[0] > self.appended[lane]
        self.appended[lane] = self.journal.last_seqs()[lane]

    @rule(lane=st.sampled_from(list(PRIORITY)), back=st.integers(0, 3))
    def acknowledge(self, lane: str, back: int) -> None:
        through = max(self.journal.last_seqs().get(lane, 0) - back, 0)
        self.journal.acknowledge(lane, through).result()
        self.receipts[lane] = max(self.receipts[lane], through)

    @rule()
    def reopen(self) -> None:
        epoch = self.journal.epoch
        self.journal.close()
        self.journal = make(self.path, budget=20_000, evict=True, window=2)
        assert self.journal.epoch == epoch

    @invariant()
    def held_plus_declared_plus_acknowledged_is_everything(self) -> None:
        reader = self.journal.reader()
        lanes = self.journal.lanes()
        events = reader.read_lane("event", 0, limit=10_000)
        for lane in PRIORITY:
            held = [e.seq for e in reader.read_lane(lane, 0, limit=10_000)]
            if lane not in lanes:
                continue
            last = lanes[lane].last
            assert held == list(range(lanes[lane].oldest, last + 1)), "only heads are dropped"
        reader.close()
        # What the held notes declare was neither held nor (certainly) acknowledged.
        for e in events:
            if e.body[:4] == b"note":
                for line in e.body.decode().split()[1:]:
                    name, first, stone_last, _ = line.split(",")
                    assert int(stone_last) < lanes[name].oldest
                    assert int(first) <= int(stone_last)

    @precondition(lambda self: all(v == 0 for v in self.receipts.values()))
    @invariant()
    def without_receipts_every_gap_is_declared_once(self) -> None:
        reader = self.journal.reader()
        lanes = self.journal.lanes()
        declared: dict[str, list[int]] = {lane: [] for lane in PRIORITY}
        for e in reader.read_lane("event", 0, limit=10_000):
            if e.body[:4] == b"note":
                for line in e.body.decode().split()[1:]:
                    name, first, last, _ = line.split(",")
                    declared[name] += range(int(first), int(last) + 1)
        reader.close()
        for name, info in lanes.items():
            assert sorted(declared[name]) == list(range(1, info.oldest))

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()


JournalMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestJournalMachine = JournalMachine.TestCase


def test_years_of_evictions_are_declared_without_end(tmp_path: Path) -> None:
    """Notes that are evicted again and again must not grow beyond what one entry can hold."""

    def strict(stones: list[Tombstone]) -> Append:
        assert len(stones) <= 1000, "a batch holds no more"
        return note(stones)

    journal = Journal(
        tmp_path / "j", owner="e", budget=60_000, on_full=OnFull.EVICT, note=strict, window=32
    )
    journal.open()
    for _ in range(3_000):
        journal.append(entry("event", bytes(1000))).result()
    reader = journal.reader()
    held = reader.read_lane("event", 0, limit=1000)
    reader.close()
    stones = [s for e in held if e.body[:4] == b"note" for s in e.body.decode().split()[1:]]
    assert held[0].seq > 2_900
    ranges = sorted((int(s.split(",")[1]), int(s.split(",")[2])) for s in stones)
    assert ranges[0][0] == 1
    assert all(a[1] + 1 == b[0] for a, b in itertools.pairwise(ranges))
    assert ranges[-1][1] + 1 == held[0].seq
    journal.close()


def test_a_budget_that_its_own_notes_would_outgrow_is_refused(tmp_path: Path) -> None:
    def made(budget: int) -> Journal:
        return Journal(
            tmp_path / "j", owner="e", budget=budget, on_full=OnFull.EVICT, note=note, window=32
        )

    with pytest.raises(ValueError, match="notes need 21120 at least"):
        made(least_budget(32) - 1)
    journal = made(least_budget(32))
    journal.open()
    for _ in range(500):
        journal.append(entry("event", bytes(200))).result()
    assert journal.size <= journal.budget
    journal.close()


def test_a_writer_that_fails_answers_everybody_and_says_so(tmp_path: Path) -> None:
    heard: list[BaseException] = []

    def broken(_stones: list[Tombstone]) -> Append:
        raise ValueError("cannot be encoded")

    journal = Journal(
        tmp_path / "j", owner="e", budget=10_000, on_full=OnFull.EVICT, note=broken,
        on_failure=heard.append,
    )  # fmt: skip
    journal.open()
    futures = [journal.append(entry("event", bytes(2000))) for _ in range(10)]
    for future in futures:
        future.exception(10)
    assert isinstance(futures[-1].exception(10), JournalError)
    assert isinstance(heard[0], ValueError)
    assert isinstance(journal.append(entry("event")).exception(10), JournalError)
    journal.close()
