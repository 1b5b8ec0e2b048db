"""What is settled when: never more than is stored, and in the end all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.settlement import Settlement
from collector.streams import StreamKey
from collector.tenure import Kept
from core.contracts.events import Lane

KEYS = [StreamKey("s", f"e-{n}", "epoch-01", Lane.EVENT) for n in range(3)]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("note"), st.integers(0, 2)),
            st.tuples(st.just("settle"), st.integers(0, 40)),
        ),
        max_size=400,
    )
)
def test_what_is_settled_is_stored(steps: list[tuple[str, int]]) -> None:
    settlement = Settlement()
    seqs = dict.fromkeys(KEYS, 0)
    placed: dict[tuple[StreamKey, int], int] = {}
    settled = dict.fromkeys(KEYS, 0)
    called: list[int] = []
    pos = stored = 0
    for what, number in steps:
        if what == "note":
            key = KEYS[number]
            pos += 1
            seqs[key] += 1
            placed[key, seqs[key]] = pos
            settlement.note(key, seqs[key], pos)
            settlement.when(pos, lambda pos=pos: called.append(pos))
            continue
        stored = min(max(stored, stored + number), pos)
        found, calls = settlement.settle(stored)
        for key, seq in found.items():
            assert placed[key, seq] <= stored
            assert seq > settled[key]
            settled[key] = seq
        for call in calls:
            call()
        assert all(each <= stored for each in called)
    found, calls = settlement.settle(pos)
    settled |= found
    for call in calls:
        call()
    assert settled == seqs
    assert called == list(range(1, pos + 1))


def test_a_store_that_is_down_for_long_costs_bounded_memory() -> None:
    settlement = Settlement()
    for pos in range(1, 100_001):
        settlement.note(KEYS[pos % 3], pos, pos)
        if pos % 10 == 0:
            assert settlement.settle(0) == ({}, [])
    assert len(settlement._marks) <= 66
    found, _ = settlement.settle(50_000)
    assert max(found.values()) <= 50_000
    assert min(found.values()) > 40_000
    found, _ = settlement.settle(100_000)
    assert max(found.values()) == 100_000


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
