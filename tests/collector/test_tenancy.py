"""The law over several collectors: nothing counted twice and nothing forgotten, whoever dies."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from core.contracts.batch import envelope, seal
from core.contracts.errors import StoreUnavailableError
from core.contracts.events import Lane
from core.storage.records import Records, ledger, refusals
from core.storage.records.accounts import Who
from core.storage.records.conservation import Law
from core.storage.records.ledger import DAY_MS
from core.storage.records.letters import ask_replay
from tests.collector.office import EDGE, EPOCH, FOREVER, NOW, SITE, batch, reading
from tests.collector.tenancy import NEVER_W, Collector, Town

DAY = NOW // DAY_MS


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    opened = Town(tmp_path)
    yield opened
    opened.close()


def readings(seq: int, oldest: int = 1, bad: int = 0) -> bytes:
    """Two readings, and with ``bad`` one that cannot be read, or one that the store refuses."""
    events = [reading(at=NOW + seq * 100 + index) for index in range(2)]
    refused = [reading(at=NOW + seq * 100 + 50, power_w=[5.0, "warm", NEVER_W][bad])]
    return batch(*events, *(refused if bad else []), seq=seq, oldest=oldest)


def test_what_came_to_one_collector_is_settled_with_its_accounts(town: Town) -> None:
    north = town.take()
    north.batch(readings(1, bad=1))
    north.plain("lonely", reading("lonely"))
    north.fold()
    assert town.law().total.journalled == 0, "it is not settled yet"
    north.settle()
    law = town.law()
    assert law.exact
    assert law.cut_off == 0
    flow = law.flow(SITE, EDGE)
    assert (flow.received, flow.stored, flow.dead, flow.on_its_way) == (3, 2, 1, 0)
    assert law.flow(SITE, "").received == law.flow(SITE, "").stored == 1
    with town.records.reading() as session:
        assert (
            ledger.stored_on(session, DAY)["meter.reading"]
            == town.store.counts(0, FOREVER)["meter.reading"]
            == 3
        )
    north.give()


def test_what_the_store_has_not_taken_is_on_its_way(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.holding._WAITING_S", -1.0)
    north = town.take()
    north.batch(readings(1))
    north.fold("rules")
    north.settle()
    flow = town.law().flow(SITE, EDGE)
    assert (flow.received, flow.stored, flow.on_its_way) == (2, 0, 2)
    north.fold("series")
    north.settle()
    flow = town.law().flow(SITE, EDGE)
    assert (flow.received, flow.stored, flow.on_its_way) == (2, 2, 0)
    north.give()


def test_what_a_dead_collector_had_not_settled_is_counted_by_the_next_alone(town: Town) -> None:
    north = town.take()
    north.batch(readings(1))
    north.fold()
    north.settle()
    north.batch(readings(2, bad=1))
    north.batch(readings(3, bad=2))
    north.fold()
    north.batch(readings(4))  # receipted, and on its disk only
    north.die()
    south = town.take()
    assert south.inherited == {"reading": 1}
    for seq in (2, 3, 4, 5):
        south.batch(readings(seq, bad={2: 1, 3: 2}.get(seq, 0)))
    south.give()
    law = town.law()
    assert law.exact
    assert (law.total.journalled, law.total.stored, law.total.dead) == (12, 10, 2)
    assert len(letters(town)) == 2
    assert law.cut_off == 1
    town.compare(DAY)
    assert town.law().differences == []
    assert town.store.counts(0, FOREVER)["meter.reading"] == 10


def letters(town: Town) -> list[str]:
    with town.records.reading() as session:
        return [letter["id"] for letter in refusals.list_dead_letters(session).items]


def test_a_site_that_is_given_leaves_nothing_that_nobody_knows(town: Town) -> None:
    north = town.take()
    north.batch(readings(1))
    north.plain("lonely", reading("lonely"))
    north.give()
    south = town.take()
    assert south.inherited == {"reading": 1}
    south.batch(readings(2))
    south.give()
    law = town.law()
    assert law.exact
    assert law.cut_off == 0
    town.compare(DAY)
    law = town.law()
    assert (law.differences, law.unsettled, law.compared) == ([], [], 1)


def test_what_a_dead_collector_stored_last_without_a_number_is_unknown_and_not_balanced(
    town: Town,
) -> None:
    north = town.take()
    north.plain("lonely", reading("lonely"))
    north.fold()
    north.die()  # before the broker was told; it gives the message to the next
    south = town.take()
    south.plain("other", reading("other"))
    south.plain("lonely", reading("lonely", at=NOW + 1))
    south.give()
    town.compare(DAY)
    law = town.law()
    assert law.exact
    assert law.cut_off == 1
    assert [(row.kind, row.stored, row.found) for row in law.unsettled] == [("meter.reading", 2, 3)]


def test_what_the_edge_gave_up_and_the_dead_collector_had_is_declared_not_received(
    town: Town,
) -> None:
    north = town.take()
    for seq in (1, 2, 3):
        north.batch(readings(seq))
        if seq != 2:
            north.fold()
        if seq == 1:
            north.settle()
    north.die()  # all three are in the store, of two of them no note says so
    south = town.take()
    gone = (
        f'{{"at":{NOW},"seen":{NOW},"device":"{EDGE}","kind":"edge.dropped","data":{{'
        '"lane":"reading","first_seq":2,"last_seq":3,"events":4,"reason":"budget"}}'
    )
    south.batch(envelope(EDGE, EPOCH, Lane.EVENT, 1, 1, seal([gone.encode()], NOW)))
    south.batch(readings(4, oldest=4))
    south.give()
    town.compare(DAY)
    law = town.law()
    flow = law.flow(SITE, EDGE)
    assert law.exact
    assert (flow.dropped, flow.absent, flow.undeclared) == (4, 0, 0)
    assert flow.journalled == flow.stored + flow.dropped
    assert [(row.kind, row.stored, row.found) for row in law.unsettled] == [("meter.reading", 4, 8)]


def test_a_letter_is_put_back_until_what_it_brought_is_stored(town: Town) -> None:
    north = town.take()
    north.batch(readings(1, bad=1))
    north.fold()
    north.settle()
    (letter,) = letters(town)
    with town.records.session() as session:
        ask_replay(session, letter, Who("li", NOW), NOW, reason="why", mended=reading(at=NOW + 150))
    north.replays.step()
    north.fold("rules")
    north.die()  # before the store had it
    south = town.take()
    south.replays.step()
    south.replays.step()
    south.give()
    law = town.law()
    assert law.exact
    assert (law.put_back, law.total.stored, law.total.dead) == (1, 3 + notes(law), 1)
    assert town.store.counts(0, FOREVER)["meter.reading"] == 3
    with town.records.reading() as session:
        (row,) = refusals.list_dead_letters(session).items
    assert row["state"] == "replayed"
    town.compare(DAY)
    assert town.law().exact


def notes(law: Law) -> int:
    """Return how many of what came are the collectors' own notes about their edges."""
    return law.total.received - 3


def test_logs_that_are_over_are_forgotten_and_no_audit_notices(town: Town) -> None:
    for seq in (1, 2, 3):
        each = town.take()
        each.batch(readings(seq))
        each.fold()
        each.settle()
        if seq == 2:
            each.die()
        else:
            each.give()
    town.compare(DAY)
    before = town.law()
    assert before.cut_off == 1
    with town.records.session() as session:
        assert ledger.forget_tenures(session, NOW) == 0, "none was over before"
        # Left are the one that was cut off, and the last, which a next one may follow.
        assert ledger.forget_tenures(session, NOW + 1) == 1
        assert ledger.forget_tenures(session, NOW + 1) == 0
    assert town.law() == before
    fourth = town.take()
    fourth.batch(readings(4))
    fourth.give()
    town.compare(DAY)
    law = town.law()
    assert law.exact
    assert (law.compared, law.cut_off, law.since) == (1, 1, before.since)
    assert law.total.received == 4 * 2


def test_a_collector_that_lost_its_site_counts_nothing_any_more(town: Town) -> None:
    north = town.take()
    north.batch(readings(1))
    north.fold()
    south = town.take()
    with pytest.raises(Exception, match="site"):
        north.holding.settle(north.journal.position)
    assert town.law().total.received == 0
    south.batch(readings(1))
    south.give()
    assert town.law().flow(SITE, EDGE).received == 2
    north.die()


def test_a_commit_that_lost_its_answer_counts_once(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    north = town.take()
    north.batch(readings(1, bad=1))
    north.fold()
    north.rules.rest()
    north.series.rest()
    session = town.records.session

    @contextmanager
    def cut() -> Iterator[Session]:
        with session() as opened:
            yield opened
        raise StoreUnavailableError("the connection broke")

    with monkeypatch.context() as broken:
        broken.setattr(town.records, "session", cut)
        with pytest.raises(StoreUnavailableError):
            north.holding.settle(north.stored)
    north.batch(readings(2))
    north.fold()
    north.settle()
    flow = town.law().flow(SITE, EDGE)
    assert (flow.received, flow.stored, flow.dead) == (5, 4, 1)
    north.give()
    assert town.law().exact


#: What happens: the edge tells something, with or without what cannot be read; what it holds
#: arrives; a projection folds; what is stored settles; the edge gives up its oldest batch; the
#: collector dies or gives the site away.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.integers(0, 2)),
        st.tuples(st.sampled_from(["arrive", "rules", "series", "settle"]), st.none()),
        st.tuples(st.sampled_from(["drop", "die", "give"]), st.none()),
    ),
    min_size=4,
    max_size=30,
)


class Edge:
    """An outbox: it keeps what is not settled, but for what it has to give up.

    ``orphaned`` are events (and ``bad`` ones of them) that it gave up after a collector's death,
    which that one may have stored (or buried) and nobody has counted.
    """

    def __init__(self, town: Town) -> None:
        self.town = town
        self.held: dict[int, int] = {}
        self.last = self.sent = self.told = self.dropped = self.passed = 0
        self.orphaned = self.orphaned_bad = self.deaths = 0
        self.collector: Collector = town.take()

    def step(self, what: str, number: int | None) -> None:
        if what == "tell":
            self.last += 1
            self.held[self.last] = number or 0
            self.told += 2 + bool(number)
        elif what == "arrive":
            self.arrive()
        elif what == "settle":
            self.collector.settle()
        elif what == "drop" and len(self.held) > 1:
            first = min(self.held)
            if first > self.sent:  # what is receipted is not lost by that while its log lives
                bad = bool(self.held.pop(first))
                self.passed += 1
                self.dropped += 2 + bad
                if self.deaths:
                    self.orphaned += 2 + bad
                    self.orphaned_bad += bad
        elif what in ("die", "give"):
            self.deaths += what == "die"
            (self.collector.die if what == "die" else self.collector.give)()
            self.move()
        elif what in ("rules", "series"):
            self.collector.fold(what)

    def arrive(self) -> None:
        for seq, bad in sorted(self.held.items()):
            if seq > self.sent:
                self.collector.batch(readings(seq, oldest=min(self.held), bad=bad))
                self.sent = seq

    def move(self) -> None:
        """Greet the next collector: what it says is stored is forgotten, the rest sent again."""
        self.collector = self.town.take()
        self.sent = self.collector.inherited.get("reading", 0)
        self.held = {seq: bad for seq, bad in self.held.items() if seq > self.sent}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "template.sqlite"
    Records(f"sqlite:///{path}").open().close()
    return path


@given(STEPS)
@example([*[("tell", 2)] * 2, ("arrive", None), ("series", None), ("die", None), ("drop", None)])
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whoever_dies_when_each_event_is_counted_once(
    template: Path, steps: list[tuple[str, int | None]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(template, Path(folder) / "records.sqlite")
        town = Town(Path(folder))
        edge = Edge(town)
        for what, number in steps:
            edge.step(what, number)
        edge.step("tell", 0)
        edge.arrive()
        edge.collector.give()
        law = town.law()
        flow = law.flow(SITE, EDGE)
        assert (flow.missing, flow.surplus, flow.absent, flow.on_its_way) == (0, 0, 0, 0)
        with town.records.reading() as session:
            stored = ledger.stored_on(session, DAY)["meter.reading"]
        assert 0 <= len(letters(town)) - flow.dead <= edge.orphaned_bad
        assert stored + flow.dead + edge.dropped == edge.told
        assert law.total.undeclared == edge.passed, "nobody has said what was given up"
        assert 0 <= town.store.counts(0, FOREVER)["meter.reading"] - stored <= edge.orphaned
        town.close()


def test_epochs_are_as_the_edge_names_them(town: Town) -> None:
    north = town.take()
    north.batch(readings(1))
    north.give()
    with town.records.reading() as session:
        row = session.query(ledger.LedgerLine).filter_by(edge=EDGE, epoch=EPOCH).one()
        assert (row.first_seq, row.last_seq, row.stored) == (1, 1, 2)
