"""The bookkeeping of serial numbers: whatever is lost, repeated or begun anew, told once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.isapi.serials import Hole, SerialBook, Stamp


def told(
    book: SerialBook, stamp: Stamp, *, fresh: bool = True, previous: int | None = None
) -> bool:
    """Deal with one event as a driver without a search would; tell whether it was new."""
    if book.known(stamp, fresh=fresh):
        return False
    if (hole := book.gap_before(stamp, previous)) is not None:
        book.add(hole)
    book.note(stamp)
    return True


def restarted(book: SerialBook) -> SerialBook:
    fresh = SerialBook()
    fresh.restore(json.loads(json.dumps(book.dump())))
    return fresh


@given(st.data())
def test_each_event_is_told_once_in_any_history(data: st.DataObject) -> None:
    """Live events get lost, come twice, and a search that lists all may come at any time."""
    book, new, happened, second = SerialBook(), [], [], 1_000
    steps = st.sampled_from(["event", "lost", "repeat", "search", "restart", "reset", "slow"])
    for step in data.draw(st.lists(steps, max_size=40)):
        if step in ("event", "lost"):
            stamp = Stamp(happened[-1].serial + 1 if happened else 7, second)
            happened.append(stamp)
            if step == "event" and told(book, stamp):
                new.append(stamp)
        elif step == "slow":
            second += 1
        elif step == "repeat" and happened:
            stamp = data.draw(st.sampled_from(happened))
            if stamp in new and told(book, stamp):
                new.append(stamp)
        elif step == "restart":
            book = restarted(book)
        elif step == "reset" and happened:
            # Later in time, and everything before it had been told.
            new += [s for s in happened if told(book, s, fresh=False)]
            second += 1
            happened.append(Stamp(1, second))
            if told(book, happened[-1]):
                new.append(happened[-1])
        elif step == "search" and happened and book.mark is not None:
            new += [s for s in happened if told(book, s, fresh=False)]
    assert len(new) == len(set(new))
    first = new[0] if new else None
    if first is not None and book.mark is not None:
        new += [s for s in happened if told(book, s, fresh=False)]
        known = set(new)
        assert all(s in known for s in happened[happened.index(first) :])


def test_a_hole_is_what_lies_between_what_came() -> None:
    book = SerialBook()
    assert told(book, Stamp(10, 100))
    assert book.gap_before(Stamp(11, 101), None) is None
    assert book.gap_before(Stamp(14, 103), None) == Hole(11, 13, 100, 103)
    assert book.gap_before(Stamp(14, 103), 10) is None  # the numbers between were not for us
    assert book.gap_before(Stamp(14, 103), 12) == Hole(11, 12, 100, 103)
    assert told(book, Stamp(14, 103))
    assert told(book, Stamp(12, 102), fresh=False)
    assert not told(book, Stamp(12, 102), fresh=False)
    assert [(hole.first, hole.last) for hole in book.holes] == [(11, 11), (13, 13)]
    assert book.declare(book.holes) == 2
    assert (book.missed, book.holes) == (2, ())
    assert not told(book, Stamp(13, 102), fresh=False)


def test_low_numbers_are_a_new_era_only_when_they_are_later() -> None:
    book = SerialBook()
    for serial in range(500, 510):
        told(book, Stamp(serial, 1_000))
    assert not told(book, Stamp(3, 900), fresh=False)
    assert told(book, Stamp(3, 1_001), fresh=False)
    assert (book.eras, book.mark) == (1, Stamp(3, 1_001))
    assert not told(book, Stamp(505, 1_000), fresh=False)
    assert not told(book, Stamp(700, 999), fresh=False)
    assert told(book, Stamp(4, 1_001))
    book.restart()
    assert (book.mark, book.eras) == (None, 2)
    assert told(book, Stamp(1, 5))


def test_more_holes_than_can_be_kept_are_declared() -> None:
    book = SerialBook()
    for index in range(100):
        told(book, Stamp(2 * index, index))
    assert len(book.holes) == 64
    assert book.missed == 35
    assert restarted(book).holes == book.holes


@pytest.mark.parametrize(
    "nonsense",
    [None, [], {}, {"mark": 3}, {"mark": [1], "seen": [], "holes": [], "latest": 0, "era": 0},
     {"mark": None, "seen": [[1]], "holes": [], "latest": 0, "era": 0},
     {"mark": None, "seen": [], "holes": [[1, 2]], "latest": 0, "era": 0}],
)  # fmt: skip
def test_a_memory_that_makes_no_sense_is_as_good_as_none(nonsense: Any) -> None:
    book = SerialBook()
    book.restore(nonsense)
    assert book.mark is None
    assert told(book, Stamp(1, 1))
