"""Who is to blame that an edge is not heard: itself, or the broker that the collector has lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from collector.edges import LINK_S, RETURN_S, EdgeRegister
from core.contracts.batch import EdgeStatus
from core.contracts.codec import decode_event, encode
from core.runtime.clock import ScaledClock
from core.runtime.link import Message
from core.storage.journal import Journal, OnFull

CLOCK = ScaledClock()
SITE = "s"
ONLINE, AWAY, BROKER = "online", "away", "away by the broker"


class Office:
    """A register on a journal, and the seconds that pass for it."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.journal = journal
        self.seconds = 0.0
        monkeypatch.setattr("collector.edges.time", SimpleNamespace(monotonic=lambda: self.seconds))
        self.restart()

    def restart(self) -> None:
        self.register = EdgeRegister(self.journal, CLOCK)
        self.register.restore()
        self.register.start()

    def born(self, *edges: str) -> None:
        for edge in edges:
            status = EdgeStatus(
                online=True, edge=edge, epoch=f"epoch-{edge}", clock=CLOCK.now_ms(), lanes={}
            )
            message = Message("t", encode(status), False, [], lambda: None)
            assert self.register.take(SITE, status, message, {}, [])

    def pass_time(self, seconds: float) -> None:
        """Let time pass as the ingest does: it looks when the register asked for it."""
        end = self.seconds + seconds
        while (wait_s := self.register.wait_s()) is not None and self.seconds + wait_s <= end:
            self.seconds += wait_s
            self.register.look()
        self.seconds = end

    def noted(self, edge: str) -> list[str]:
        reader = self.journal.reader()
        try:
            events = [decode_event(e.body) for e in reader.read_lane(f"control/{SITE}/{edge}", 0)]
        finally:
            reader.close()
        return [
            ONLINE if e.kind == "edge.online" else BROKER if e.data.cause == "broker" else AWAY
            for e in events
        ]


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    journal = Journal(tmp_path / "log", owner="c", budget=1 << 20, on_full=OnFull.REFUSE)
    journal.open()
    yield Office(journal, monkeypatch)
    journal.close()


def running(office: Office) -> None:
    office.register.link_up()
    office.born("e1", "e2")


def test_a_lost_broker_is_to_blame_for_all_edges(office: Office) -> None:
    running(office)
    office.register.link_down()
    office.register.link_down()
    for edge in ("e1", "e2"):
        assert office.noted(edge) == [ONLINE, BROKER]


def test_edges_that_follow_the_broker_in_time_are_never_blamed(office: Office) -> None:
    running(office)
    office.register.link_down()
    office.pass_time(3600)
    office.register.link_up()
    office.pass_time(RETURN_S - 1)
    office.born("e1", "e2")
    office.pass_time(3600)
    for edge in ("e1", "e2"):
        assert office.noted(edge) == [ONLINE, BROKER, ONLINE]


def test_an_edge_that_does_not_follow_is_away_by_itself(office: Office) -> None:
    running(office)
    office.register.link_down()
    office.register.link_up()
    office.born("e1")
    office.pass_time(RETURN_S - 1)
    assert office.noted("e2") == [ONLINE, BROKER]
    office.pass_time(1)
    assert office.noted("e2") == [ONLINE, BROKER, AWAY]
    assert office.noted("e1") == [ONLINE, BROKER, ONLINE]
    assert office.register.wait_s() is None, "nothing is left to wait for"


def test_a_broker_that_goes_again_gives_the_edges_their_time_anew(office: Office) -> None:
    running(office)
    office.register.link_down()
    office.register.link_up()
    office.pass_time(RETURN_S - 1)
    office.register.link_down()
    office.pass_time(3600)
    office.register.link_up()
    office.pass_time(RETURN_S - 1)
    assert office.noted("e1") == [ONLINE, BROKER]


def test_an_edge_that_was_away_before_is_not_the_brokers(office: Office) -> None:
    running(office)
    office.restart()
    office.register.link_up()
    office.born("e1")
    office.register.link_down()
    assert office.noted("e2") == [ONLINE, AWAY]
    assert office.noted("e1") == [ONLINE, AWAY, ONLINE, BROKER]


def test_a_collector_that_starts_without_a_broker_blames_it_soon(office: Office) -> None:
    running(office)
    office.restart()
    office.pass_time(LINK_S - 1)
    assert office.noted("e1") == [ONLINE, AWAY]
    office.pass_time(1)
    assert office.noted("e1") == [ONLINE, AWAY, BROKER]


def test_a_restart_while_the_broker_is_away_remembers_whom_it_hides(office: Office) -> None:
    running(office)
    office.register.link_down()
    office.restart()
    office.pass_time(LINK_S)
    assert office.noted("e1") == [ONLINE, BROKER], "it is noted already"
    office.register.link_up()
    office.born("e1")
    office.pass_time(RETURN_S)
    assert office.noted("e1") == [ONLINE, BROKER, ONLINE]
    assert office.noted("e2") == [ONLINE, BROKER, AWAY]


def test_a_collector_that_ends_blames_nobody(office: Office) -> None:
    running(office)
    office.register.leave()
    office.register.link_down()
    office.pass_time(3600)
    assert office.noted("e1") == [ONLINE, AWAY]
