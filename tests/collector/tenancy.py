"""One site that goes from collector to collector, by hand: no broker, one database, one store.

The store is a table of points as InfluxDB has them: the same point again changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from collector.adoptions import Adoptions
from collector.holding import Holding
from collector.ingest import Ingest
from collector.replays import Replays
from collector.rules_projection import RulesProjection
from collector.series_projection import SeriesProjection
from collector.tenure import Tenure
from core.contracts import topology as topologies
from core.contracts.adoption import merge
from core.contracts.batch import Receipt
from core.contracts.outputs import TopologyOutput
from core.contracts.ports import Point, Refusal
from core.runtime.link import Message
from core.runtime.settings import Settings
from core.storage.journal import Journal, OnFull
from core.storage.records import Records, conservation, ledger, projection, tenures
from core.storage.records.conservation import Law
from core.storage.records.ledger import DAY_MS
from rules.builtin import builtin
from rules.handover import inherit
from tests.collector.office import EDGE, EPOCH, FOREVER, SITE, ByHand, FakeClock
from tests.wire.harness import topology

_LEASE_MS = 3_600_000
#: A power that the store refuses.
NEVER_W = 666.0


class Store:
    """What all collectors write: points by what names them."""

    def __init__(self) -> None:
        self.points: set[tuple[str, str, str, int]] = set()

    def counts(self, start: int, end: int) -> dict[str, int]:
        """Return how many points of ``[start, end)`` (ms) each kind has."""
        times = range(start * 1_000_000, end * 1_000_000)
        return dict(Counter(kind for *_, kind, time_ns in self.points if time_ns in times))


class Writer:
    """One collector's way into it; what has no power is refused for good."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._written = self._durable = 0

    def position(self) -> int:
        return self._durable

    def rehearse(self, point: Point) -> None:
        pass

    def tidy(self) -> bool:
        return False

    def write(self, points: Sequence[tuple[int, Point]], position: int) -> list[Refusal]:
        refused = []
        for index, (_, point) in enumerate(points):
            event = point.event
            if event.kind == "meter.reading" and event.data.power_w == NEVER_W:
                refused.append(Refusal(index, "never"))
            else:
                self._store.points.add((point.site, event.device, event.kind, point.time_ns))
        self._written = position
        return refused

    def sync(self) -> None:
        self._durable = self._written

    def close(self) -> None:
        self.sync()


class Town:
    """What collectors share: the records and the series store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(data=folder)
        self.store = Store()
        self.clock = FakeClock()
        self.records = Records(self.settings.records_url).open()
        self.tree = topology(EDGE, "m1")
        with self.records.session() as session:
            projection.apply(session, [TopologyOutput(1, topologies.load(self.tree))], 1)
        self.count = 0

    def close(self) -> None:
        self.records.close()

    def take(self) -> Collector:
        """Have a collector that nobody has heard of take the site; whoever had it is dead."""
        self.count += 1
        return Collector(self, f"c-{self.count}")

    def law(self, start: int = 0, end: int = FOREVER) -> Law:
        with self.records.reading() as session:
            return conservation.law(session, start, end)

    def compare(self, day: int) -> None:
        """Ask the store what it holds of a day, as the worker does."""
        found = self.store.counts(day * DAY_MS, (day + 1) * DAY_MS)
        with self.records.session() as session:
            stored = ledger.stored_on(session, day)
            ledger.note_found(session, day, stored, found, self.clock.now_ms())


class Collector(ByHand):
    """One collector while the site is its own, folded by hand."""

    def __init__(self, town: Town, name: str) -> None:
        self.town = town
        self.name = name
        self.receipts: list[Receipt] = []
        records, clock = town.records, town.clock
        self.journal = Journal(
            town.folder / f"{name}.sqlite", owner=name, budget=1 << 30, on_full=OnFull.REFUSE
        )
        self.journal.open()
        log_id = self.journal.epoch
        with records.session() as session:
            session.execute(tenures.CollectorRow.__table__.delete())  # who had it is dead
            tenures.beat(session, name, name, _LEASE_MS, own=[SITE])
            taken = tenures.take(session, SITE, name, log_id)
            assert taken is not None
            ledger.succeed(session, SITE, taken.log, log_id, clock.now_ms())
            if taken.snapshot is not None:
                state = inherit(taken.snapshot).snapshot
                projection.save_cursor(session, f"rules-snapshot/{log_id}", 0, state)
        tenure = Tenure(SITE, taken.term, taken.lanes, {})
        self.holding = Holding(records, clock, tenure, log_id)
        adoptions = Adoptions(records, self.journal, clock, builtin(), partial(merge, town.tree))
        adoptions.activate()
        writer = Writer(town.store)
        self.rules = RulesProjection(records, clock, log_id, lambda: None, self.holding)
        self.series = SeriesProjection(
            lambda: writer,
            records, clock, log_id, settlement=self.holding.settlement,
        )  # fmt: skip
        self.places = {"rules": self.rules.open(), "series": self.series.open()}
        self.ingest = Ingest(self.journal, clock, self._receipt, self.holding)
        self.ingest.start()
        self.replays = Replays(records, self.journal, clock, self.ingest, SITE)
        # What the collectors before have stored, from where on an edge sends.
        edge = dict(taken.lanes.get(EDGE, []))
        self.inherited: dict[str, int] = dict(edge.get(EPOCH, {}))

    def _receipt(self, _site: str, _edge: str, receipt: Receipt, _birth: int) -> None:
        self.receipts.append(receipt)

    def die(self) -> None:
        """End as by kill -9, and nobody sees its disk again."""
        self.ingest.stop()
        self.series.close()
        self.journal.close()

    def give(self) -> None:
        """End in good order: all is stored and settled, and the site is anybody's."""
        self.ingest.stop()
        self.fold()
        self.settle()
        self.holding.end(self.stored, self.journal.position)
        with self.town.records.session() as session:
            tenures.give(session, SITE, self.holding.tenure.term)
        self.series.close()
        self.journal.close()

    def batch(self, payload: bytes) -> None:
        self._arrives(f"estate/v1/{SITE}/{EDGE}/batch", payload)

    def plain(self, device: str, payload: bytes) -> None:
        self._arrives(f"estate/v1/{SITE}/{device}/event", payload)

    def _arrives(self, topic: str, payload: bytes) -> None:
        before = self.journal.position
        message = Message(topic, payload, retained=False, properties=[], ack=lambda: None)
        (self.ingest.on_plain if topic.endswith("/event") else self.ingest.on_batch)(message)
        assert self.journal.wait(before, 10), "nothing was journalled"

    @property
    def stored(self) -> int:
        """How far the log is stored where the next collector finds it."""
        return min(self.rules.needed_after(), self.series.needed_after())

    def settle(self) -> None:
        """Settle what both projections have folded, as the settler does each second."""
        self.rules.rest()
        self.series.rest()
        self.holding.settle(self.stored)
