"""What is settled when: never more than is stored, and in the end all."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from collector.settlement import Item, Settlement
from collector.streams import StreamKey
from collector.tenure import Kept
from core.contracts.events import Lane
from core.contracts.ledger import Line, Stream
from core.storage.records.ledger import Counts
from core.storage.records.refusals import DeadLetter

KEYS = [StreamKey("s", f"e-{n}", "epoch-01", Lane.EVENT) for n in range(3)]


LINES = [Line(0, Stream("s", key.edge, key.epoch, "event")) for key in KEYS]


def item(number: int, seq: int, pos: int, *, stored: int = 0, came: int = 0) -> Item:
    seqs = {"first_seq": seq, "last_seq": seq, "batches": 1} if came else {}
    counts = Counts(events=came, stored=stored, last_pos=pos, **seqs)
    return Item(pos, LINES[number], counts, Counter({(0, "kind"): stored} if stored else {}))


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("came"), st.integers(0, 2)),
            st.tuples(st.just("settle"), st.integers(0, 40)),
        ),
        max_size=400,
    ),
    st.integers(0, 30),
)
def test_what_is_settled_is_stored_and_all_that_was_counted_of_it(
    steps: list[tuple[str, int]], behind: int
) -> None:
    settlement = Settlement()
    seqs = dict.fromkeys(KEYS, 0)
    log: list[tuple[int, int]] = []
    settled = dict.fromkeys(KEYS, 0)
    called: list[int] = []
    stored = told = 0

    def store(upto: int) -> None:
        nonlocal stored
        for pos in range(stored + 1, upto + 1):
            number, seq = log[pos - 1]
            settlement.count([item(number, seq, pos, stored=2)])
        stored = upto

    def settle(pos: int) -> None:
        page = settlement.settle(pos)
        assert page.pos <= pos
        for key, seq in page.seqs().items():
            assert log.index((KEYS.index(key), seq)) < pos
            assert seq > settled[key]
            line = page.counted()[LINES[KEYS.index(key)]]
            assert (line.first_seq, line.last_seq) == (settled[key] + 1, seq)
            # Both witnesses have counted the same, and nothing of what comes behind it.
            assert line.events == line.stored == 2 * line.batches == 2 * (seq - settled[key])
            settled[key] = seq
        assert page.kinds.total() == sum(line.stored for line in page.lines.values())
        for call in page.calls:
            call()
        assert all(each <= pos for each in called)

    for what, number in steps:
        if what == "came":
            seqs[KEYS[number]] += 1
            log.append((number, seqs[KEYS[number]]))
            pos = len(log)
            settlement.count([item(number, seqs[KEYS[number]], pos, came=2)])
            settlement.when(pos, lambda pos=pos: called.append(pos))
            store(max(stored, pos - behind))
        else:
            store(min(len(log), stored + number))
            told = max(told, stored - number // 4)
            settle(told)
    assert sum(int(n) for *_, n in settlement.waiting()) <= 2 * len(log)
    store(len(log))
    assert settlement.waiting() == []
    settle(len(log))
    assert settled == seqs
    assert called == list(range(1, len(log) + 1))


def test_a_store_that_is_down_for_long_costs_bounded_memory() -> None:
    settlement = Settlement()
    for pos in range(1, 100_001):
        settlement.count([item(pos % 3, pos, pos, came=1)])
        if pos % 10 == 0:
            assert settlement.settle(0).pos == 0
    assert len(settlement._pages) <= 66
    assert settlement.waiting() == [[0, f"e-{n}", 33_333 + (n == 1)] for n in range(3)]
    for pos in range(1, 100_001):
        settlement.count([item(pos % 3, pos, pos, stored=1)])
    page = settlement.settle(50_000)
    assert page.pos <= 50_000
    assert all(counts.rest == 0 for counts in page.lines.values())
    assert min(page.seqs().values()) > 40_000
    assert max(settlement.settle(100_000).seqs().values()) == 100_000


def test_a_dead_letter_is_counted_once_whoever_tells_of_it() -> None:
    settlement = Settlement()
    settlement.count([item(0, 1, 7, came=3)])
    letter = DeadLetter(1, 0, 0, "source", "why", log="steady", line=LINES[0], entry=7)
    settlement.bury([letter, replace(letter, index=1)])
    settlement.bury([letter, replace(letter, index=2, line=None)])
    assert settlement.waiting() == [[0, "e-0", 1]]
    counts = settlement.settle(7).counted()[LINES[0]]
    assert (counts.events, counts.dead, counts.rest) == (3, 2, 1)


def test_of_an_edge_the_last_epochs_are_kept() -> None:
    kept = Kept({"e": [("epoch-01", {"event": 3})]})
    for number in range(2, 9):
        kept.add({StreamKey("s", "e", f"epoch-{number:02}", Lane.EVENT): number})
    kept.add({StreamKey("s", "e", "epoch-06", Lane.STATE): 1})
    assert kept.lanes() == {"e": [
        ("epoch-05", {"event": 5}), ("epoch-07", {"event": 7}), ("epoch-08", {"event": 8}),
        ("epoch-06", {"event": 6, "state": 1}),
    ]}  # fmt: skip
    kept.add({StreamKey("s", "e", "epoch-08", Lane.EVENT): 2})
    assert kept.of("e", "epoch-08") == {"event": 8}, "it never goes back"
    assert kept.of("e", "epoch-01") == {}
