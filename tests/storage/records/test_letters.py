"""Dead letters that are decided about, unknown senders, adoptions: on both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from sqlalchemy import text

from core.contracts.codec import make_event
from core.contracts.errors import ContractError
from core.contracts.letters import Family, LetterState, Origin
from core.contracts.outputs import TopologyOutput, UnknownOutput
from core.contracts.topology import DeviceFamily
from core.storage.records import (
    Records,
    accounts,
    adoptions,
    changes,
    counters,
    letters,
    migrate,
    quarantine,
    refusals,
)
from core.storage.records.adoptions import Place
from core.storage.records.errors import DecidedError, NotFoundError
from core.storage.records.letters import Replayed, Who
from core.storage.records.projection import apply
from core.storage.records.refusals import DeadLetter
from tests.storage.records.samples import FULL, NOW

WHO = Who("li", NOW + 7, "10.0.0.1")
GOOD = b'{"kind":"sensor.reading","data":{"quantity":"level","value":1.5,"unit":"m"}}'
BAD = GOOD.replace(b"1.5", b'"high"')


def fill(records: Records, count: int = 1) -> list[str]:
    """Store letters of a plain device; return their ids, the oldest first."""
    found = [
        DeadLetter(
            pos, 0, NOW + pos, "plain/jinxiu/p1", "bad", "data.value", BAD, "jinxiu", "log",
            Origin(Family.PLAIN, NOW + pos, "jinxiu", device="p1", seq=pos),
        )
        for pos in range(1, count + 1)
    ]  # fmt: skip
    with records.session() as session:
        refusals.add_dead_letters(session, found, NOW)
    return [letter.id for letter in found]


def ask(records: Records, letter: str, mended: bytes | None = GOOD, reason: str = "why") -> None:
    with records.session() as session:
        letters.ask_replay(session, letter, WHO, NOW + 9, reason=reason, mended=mended)


def states(records: Records) -> dict[str, str]:
    with records.reading() as session:
        items = refusals.list_dead_letters(session).items
        for state in LetterState:
            page = refusals.list_dead_letters(session, state=state).items
            assert page == [item for item in items if item["state"] == state]
    return {item["id"]: item["state"] for item in items}


def test_a_letter_is_asked_for_then_marked_once(records: Records) -> None:
    first, second = fill(records, 2)
    ask(records, first)
    with records.reading() as session:
        [asked] = letters.asked(session, 10)
    assert (asked.id, asked.by, asked.raw, asked.origin.device) == (first, "li", GOOD, "p1")
    assert states(records) == {second: "dead", first: "asked"}
    told = [Replayed(first, NOW + 20, "li", "log-9"), Replayed("gone", NOW, "li", "log-8")]
    for news in (1, 0):
        with records.session() as session:
            assert letters.mark_replayed(session, told, NOW + 20) == news
    with records.reading() as session:
        assert letters.asked(session, 10) == []
        assert refusals.count_dead_letters(session) == 1
        numbers = counters.read_all(session)
        lines = accounts.list_audit(session, target=f"deadletter/{first}").items
        live = changes.changes_since(session, 0)
        row = letters.get_letter(session, first)
    assert (numbers[counters.DEAD_LETTERS], numbers[counters.DEAD_LETTERS_REPLAYED]) == (2, 1)
    assert [(line.action, line.at, line.address) for line in lines] == [
        ("deadletter.replayed", NOW + 20, ""), ("deadletter.replay", NOW + 7, "10.0.0.1"),
    ]  # fmt: skip
    assert [(item.ref, item.payload["added"]) for item in live] == [(second, 2), (first, 0)]
    assert (row.raw, row.replayed_as) == (BAD, "log-9")  # what came stays as it came


def test_what_cannot_be_replayed_says_why_and_changes_nothing(records: Records) -> None:
    [letter] = fill(records)
    for mended, reason, message in [
        (None, "why", r"data\.value"),
        (GOOD, " ", "reason: say why"),
        (GOOD, "x" * 201, "reason: say why"),
        (b" " * 65_537, "why", "raw: longer than 65536"),
    ]:
        with pytest.raises(ContractError, match=message):
            ask(records, letter, mended, reason)
    with pytest.raises(NotFoundError):
        ask(records, "no-such")
    old = DeadLetter(9, 0, NOW, "lane", "why")
    with records.session() as session:
        refusals.add_dead_letters(session, [old], NOW)
    with pytest.raises(ContractError, match="older program"):
        ask(records, old.id)
    assert set(states(records).values()) == {"dead"}
    with records.reading() as session:
        assert accounts.list_audit(session).items == []


def test_a_replay_that_failed_or_a_discarded_letter_may_be_asked_for_again(
    records: Records,
) -> None:
    first, second = fill(records, 2)
    ask(records, first)
    with records.session() as session:
        letters.note_problem(session, first, "the edge still has it")
        letters.discard(session, second, WHO, NOW, reason="of no use")
    assert states(records) == {second: "discarded", first: "dead"}
    with records.session() as session, pytest.raises(DecidedError, match="discarded"):
        letters.discard(session, second, WHO, NOW, reason="again")
    with records.reading() as session:
        assert refusals.count_dead_letters(session) == 2  # set aside is not brought back
    ask(records, first)
    ask(records, second)
    assert set(states(records).values()) == {"asked"}


def test_of_many_who_ask_at_once_one_is_first(
    records: Records, open_records: Callable[[], Records]
) -> None:
    [letter] = fill(records)

    def attempt(which: Records) -> bool:
        try:
            ask(which, letter)
        except DecidedError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, [open_records() for _ in range(4)])) == 1
    with records.reading() as session:
        assert len(accounts.list_audit(session, target=f"deadletter/{letter}").items) == 1


def test_the_cap_keeps_what_is_asked_for_and_counts_what_is_lost(records: Records) -> None:
    ids = fill(records, 6)
    ask(records, ids[0])
    ask(records, ids[1])
    with records.session() as session:
        letters.mark_replayed(session, [Replayed(ids[1], NOW, "li", "log-9")], NOW)
        assert refusals.cap_dead_letters(session, 2) == 3
        assert counters.read(session, counters.DEAD_LETTERS_TRIMMED) == 2
    assert states(records) == {ids[5]: "dead", ids[4]: "dead", ids[0]: "asked"}


# -- unknown senders -------------------------------------------------------------------------


def heard(name: str, at: int = NOW, edge: str | None = "edge-1") -> UnknownOutput:
    event = make_event(
        "sensor.reading", device=name, at=at, seen=at,
        data={"quantity": "level", "value": 1.0, "unit": "m"},
    )  # fmt: skip
    return UnknownOutput(name, at, "jinxiu", edge, edge is not None, event)


def test_unknown_senders_are_bounded_and_what_is_beyond_is_counted(records: Records) -> None:
    with records.session() as session:
        quarantine.tally(session, [heard(f"d{n}") for n in range(4)], most=3)
        quarantine.tally(session, [heard("d1", NOW + 5), heard("d9"), heard("d9")], most=3)
        assert counters.read(session, counters.UNKNOWN_UNLISTED) == 3
        quarantine.forget(session, "d0")
        quarantine.tally(session, [heard("d9", NOW + 6)], most=3)
    with records.reading() as session:
        first, after = quarantine.list_unknown(session, limit=2)
        rest, end = quarantine.list_unknown(session, limit=2, after=after)
    assert [(item["id"], item["events"]) for item in first + rest] == [
        ("d1", 2), ("d2", 1), ("d9", 1),
    ]  # fmt: skip
    assert (first[0]["first_seen"], first[0]["last_seen"], end) == (NOW, NOW + 5, None)


@pytest.mark.parametrize(
    ("name", "place", "message"),
    [
        ("d1", Place("nowhere", DeviceFamily.SENSOR, "传", "s"), "node: the topology has no node"),
        ("d1", Place("comm", DeviceFamily.SENSOR, "传", "s"), "comm is not in it"),
        ("d1", Place("b1", DeviceFamily.EDGE, "传", "s"), "family: d1 is no edge"),
        ("d1", Place("b1", DeviceFamily.SENSOR, "", "s"), r"name\.zh"),
        ("d1", Place("b1", DeviceFamily.SENSOR, "传", "s", expect_s=0), "expect_s"),
        ("d2", Place("b1", DeviceFamily.SENSOR, "传", "s"), "adopt strange first"),
    ],
)
def test_an_adoption_needs_a_place(records: Records, name: str, place: Place, message: str) -> None:
    with records.session() as session:
        apply(session, [TopologyOutput(NOW, FULL), heard("d1"), heard("d2", edge="strange")], NOW)
    with records.session() as session, pytest.raises(ContractError, match=message):
        adoptions.adopt(session, name, place, WHO, NOW)
    with records.reading() as session:
        assert adoptions.adopted(session) == (0, [])
    with records.session() as session, pytest.raises(NotFoundError):
        adoptions.adopt(session, "never-heard", place, WHO, NOW)


def test_an_adoption_can_be_corrected_and_withdrawn(records: Records) -> None:
    with records.session() as session:
        apply(session, [TopologyOutput(NOW, FULL), heard("d1")], NOW)
        for node in ("b1", "b2"):
            place = Place(node, DeviceFamily.SENSOR, "传感器", "sensor")
            adoptions.adopt(session, "d1", place, WHO, NOW)
    with records.reading() as session:
        number, [one] = adoptions.adopted(session)
    assert (number, one.body["node"], one.body["edge"]) == (2, "b2", "edge-1")
    with records.session() as session:
        adoptions.settle(session, [], {"d1": "no place"}, NOW)
        assert adoptions.list_adoptions(session)[0]["problem"] == "no place"
        adoptions.settle(session, ["d1"], {}, NOW + 1)
        assert adoptions.adopted(session) == (2, [])
        adoptions.withdraw(session, "d1", WHO)
    with records.session() as session, pytest.raises(NotFoundError):
        adoptions.withdraw(session, "d1", WHO)


def test_letters_of_the_former_schema_are_kept_through_the_migration(empty_url: str) -> None:
    records = Records(empty_url).open()
    with records.session() as session:
        config = migrate.configuration()
        config.attributes["connection"] = session.connection()
        command.downgrade(config, "0001")
        session.execute(
            text(
                'INSERT INTO dead_letter (id, log, pos, "index", at, source, reason, field, raw) '
                "VALUES ('l-1-0', 'l', 1, 0, 5, 'plain/jinxiu/p1', 'bad', 'data.value', :raw)"
            ),
            {"raw": BAD},
        )
    records.close()
    records.open()
    assert states(records) == {"l-1-0": "dead"}
    with pytest.raises(ContractError, match="discard it"):
        ask(records, "l-1-0")
    with records.session() as session:
        letters.discard(session, "l-1-0", WHO, NOW, reason="long ago")
    assert states(records) == {"l-1-0": "discarded"}
    records.close()
