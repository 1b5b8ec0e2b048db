"""The live sequence: numbers without gaps, in the order in which they become visible."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.storage.records import Records, changes
from core.storage.records.alerts import add_comment
from core.storage.records.projection import apply
from tests.storage.records.samples import NOW, raised, rule_side

WRITES = 25


def append(records: Records, ref: str, at: int = NOW) -> int:
    with records.session() as session:
        return changes.append_change(session, "process", ref, {"ref": ref}, at)


def test_numbers_start_at_one_and_are_read_in_order(records: Records) -> None:
    assert [append(records, ref) for ref in "abc"] == [1, 2, 3]
    with records.reading() as session:
        assert [item.ref for item in changes.changes_since(session, 1)] == ["b", "c"]
        assert [item.seq for item in changes.changes_since(session, 0, limit=2)] == [1, 2]
        assert (changes.first_seq(session), changes.last_seq(session)) == (1, 3)


def test_an_empty_sequence(records: Records) -> None:
    with records.reading() as session:
        assert (changes.first_seq(session), changes.last_seq(session)) == (1, 0)
        assert changes.changes_since(session, 0) == []


def test_a_transaction_that_is_rolled_back_takes_its_numbers_back(records: Records) -> None:
    with pytest.raises(ZeroDivisionError), records.session() as session:  # noqa: PT012
        changes.append_change(session, "process", "lost", {}, NOW)
        raise ZeroDivisionError
    assert append(records, "kept") == 1


def test_a_reader_never_sees_a_gap_while_several_write(
    open_records: Callable[[], Records],
) -> None:
    writers = [open_records() for _ in range(2)]
    reader = open_records()
    done = threading.Event()

    def write(records: Records) -> None:
        for number in range(WRITES):
            append(records, str(number))

    def follow() -> list[int]:
        seen: list[int] = []
        while True:
            last_round = done.is_set()
            with reader.reading() as session:
                found = changes.changes_since(session, seen[-1] if seen else 0)
            seen += [item.seq for item in found]
            if last_round:
                return seen

    with ThreadPoolExecutor(3) as pool:
        following = pool.submit(follow)
        for future in [pool.submit(write, each) for each in writers]:
            future.result(60)
        done.set()
        assert following.result(30) == list(range(1, 2 * WRITES + 1))


def test_a_number_waits_for_the_one_before_it(open_records: Callable[[], Records]) -> None:
    slow, quick = open_records(), open_records()
    with ThreadPoolExecutor(1) as pool:
        with slow.session() as session:
            first = changes.append_change(session, "process", "slow", {}, NOW)
            second = pool.submit(append, quick, "quick")
            with open_records().reading() as reading:
                assert changes.changes_since(reading, 0) == []
            assert not second.done()
        assert (first, second.result(30)) == (1, 2)


def test_a_reading_transaction_sees_one_moment(records: Records) -> None:
    append(records, "a")
    with records.reading() as session:
        assert changes.last_seq(session) == 1
        append(records, "b")
        assert changes.last_seq(session) == 1
        assert len(changes.changes_since(session, 0)) == 1


def test_trimming_removes_a_head_and_numbers_go_on(records: Records) -> None:
    for number, at in enumerate((NOW, NOW + 10, NOW + 5, NOW + 20)):
        append(records, str(number), at)
    with records.session() as session:
        assert changes.trim_changes(session, NOW + 6) == 3
    with records.reading() as session:
        assert changes.first_seq(session) == 4
    with records.session() as session:
        assert changes.trim_changes(session, NOW + 100) == 1
    with records.reading() as session:
        assert (changes.first_seq(session), changes.last_seq(session)) == (5, 4)
    assert append(records, "next") == 5


def test_trimming_to_a_number_of_rows(records: Records) -> None:
    for number in range(5):
        append(records, str(number))
    with records.session() as session:
        assert changes.trim_changes(session, 0, keep=2) == 3
        assert [item.seq for item in changes.changes_since(session, 0)] == [4, 5]


def test_rules_and_operators_never_wait_for_each_other_in_a_circle(
    open_records: Callable[[], Records],
) -> None:
    rules, people = open_records(), open_records()
    keys = ["a", "b"]
    with rules.session() as session:
        apply(session, [raised(key) for key in keys], NOW)

    def project() -> None:
        for revision in range(2, 20):
            with rules.session() as session:
                for key in keys:  # the lock is held over several calls
                    apply(session, [raised(key, revision)], NOW)

    def comment() -> None:
        for number in range(18):
            with people.session() as session:
                for key in reversed(keys):
                    add_comment(session, rule_side(key).id, f"note {number}", "li", NOW)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(project), pool.submit(comment)]:
            future.result(60)
    with rules.reading() as session:
        seen = [item.seq for item in changes.changes_since(session, 0)]
    assert seen == list(range(1, 2 + 2 * 36 + 1))
