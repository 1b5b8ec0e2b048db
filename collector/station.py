"""A station: one log, what comes into it, and what is made of it.

A collector is one station for everything; of several collectors each has a station for each of
its sites, whose log lasts as long as the site is its own (ADR 0026).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from collector.adoptions import Adoptions, Ground
from collector.caution import Notebook
from collector.companion import Companion, Usage
from collector.desk import Desk
from collector.followers import STORES, Followers, at_once, store_projections
from collector.holding import Holding
from collector.ingest import Ingest
from collector.projector import Projection, ProjectorState, done_by
from collector.replays import Replays
from collector.rules_projection import RulesProjection
from collector.settler import Settler
from collector.tenure import Tenure
from collector.ticker import Ticker
from core.contracts import topics
from core.contracts.batch import Receipt, answers
from core.contracts.codec import encode
from core.contracts.errors import SettingsError
from core.runtime.clock import Clock, ScaledClock
from core.runtime.link import Link, LinkOptions, Will
from core.runtime.settings import Settings
from core.storage.journal import Journal, OnFull
from core.storage.records import Records, ledger

#: A log with this cursor is over: several collectors go on where it ends.
LEFT = "left to several collectors"
#: Unconfirmed plain events wait in the broker for so long (s).
_PLAIN_SESSION_S = 7 * 86_400


def plain_session(name: str, site: str | None) -> LinkOptions:
    """Return the session for plain events of a collector, or of a site, whoever has that."""
    return LinkOptions(
        # The broker keeps what nobody confirmed for whoever has the site's name next.
        client_id=f"{name}-plain" if site is None else f"collector-plain:{site}",
        session_expiry_s=_PLAIN_SESSION_S,
        manual_ack=True,
    )


@dataclass(frozen=True, slots=True)
class StationCounts:
    """What a station has done since its start."""

    ingest: dict[str, int]
    done: dict[str, int]
    """What the projections did: points, refused_points, snapshots, outputs, dead_letters."""
    positions: dict[str, int]
    journal: int
    trouble: dict[str, str]


class Station:
    """Ingest, ticks and projections over one journal, and the links that feed it.

    Between :meth:`open` and :meth:`start` its log's identity is known and nothing comes in.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        records: Records,
        *,
        path: Path,
        rules: Mapping[str, str],
        ground: Ground,
        name: str,
        site: str | None = None,
        on_stored: Callable[[], None],
        will: Callable[[], Will] | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        """``name`` owns the journal and is the client id; ``on_stored`` hears of new outputs.

        ``rules`` and ``ground`` (see :class:`Adoptions`) are what is activated, ``site`` is the one
        that it is for (None: all).
        """
        self._settings = settings
        self._clock = clock
        self._records = records
        self._rules = rules
        self._ground = ground
        self._on_stored = on_stored
        self._stack = ExitStack()
        self._leave: Callable[[], None] = lambda: None
        self._site = site
        self._followers: list[Followers | Companion] = []
        self.journal = Journal(
            path,
            owner=name,
            budget=settings.collector.journal_bytes,
            on_full=OnFull.REFUSE,
            on_failure=on_failure,
        )
        self.link = Link(settings.broker, LinkOptions(client_id=name, will=will))
        self._plain = Link(settings.broker, plain_session(name, site))

    def open(self) -> None:
        """Open the journal; raise JournalError."""
        self.journal.open()
        self._stack.callback(self.journal.close)

    def start(self, tenure: Tenure | None = None) -> None:
        """Start everything but the links; ``tenure`` is of the one site that it is for."""
        holding = None
        if tenure is not None:
            holding = Holding(self._records, self._clock, tenure, self.journal.epoch)
        else:  # a site's log has accounts since it was taken
            self._refuse_left()
            with self._records.session() as session:
                journal = self.journal
                ledger.begin(session, journal.epoch, journal.position, self._clock.now_ms())
        self._adoptions = Adoptions(
            self._records, self.journal, self._clock, self._rules, self._ground
        )
        self._adoptions.activate()
        self.ingest = Ingest(
            self.journal, self._clock, self._publish_receipt, holding, self._adoptions.edges
        )
        if holding is not None:
            settler = Settler(self.journal, holding, self.ingest)
            settler.start()
            self._stack.callback(settler.stop)
        self._project(holding)
        self.ingest.start()
        self._stack.callback(self.ingest.stop)
        self._subscribe()

    def _refuse_left(self) -> None:
        if LEFT in self.journal.cursors():
            raise SettingsError(
                f"collector.shared: the sites of the log {self.journal.path} were left to several "
                "collectors (estate collectors take-over); move it away to begin another one"
            )

    def _project(self, holding: Holding | None) -> None:
        log_id = self.journal.epoch
        settings, journal, clock = self._settings, self.journal, self._clock
        self.rules = RulesProjection(self._records, clock, log_id, self._on_stored, holding)
        for name in (self.rules.name, *STORES):
            # Known from the first entry on: a store that was never reached holds the log back.
            journal.advance(name, 0).result()
        here: list[Projection] = [self.rules]
        settlement = None if holding is None else holding.settlement
        if holding is None and settings.collector.companion and isinstance(clock, ScaledClock):
            self._followers.append(Companion(settings, clock, journal, STORES))
        else:
            here += store_projections(settings, self._records, clock, log_id, settlement)
        self._followers.append(
            Followers(journal, here, Notebook(self._records, log_id, clock, settlement))
        )
        for followers in self._followers:
            followers.start()
        self._stack.callback(lambda: at_once(followers.stop for followers in self._followers))
        self.ticker = Ticker(journal, clock, settings.collector.journal_retention_h)
        self.ticker.start()
        self._stack.callback(self.ticker.stop)

    def _subscribe(self) -> None:
        site, ingest = self._site, self.ingest
        self.link.subscribe(topics.of_site(topics.ALL_BATCHES, site), ingest.on_batch)
        self.link.subscribe(topics.of_site(topics.ALL_STATUS, site), ingest.on_status)
        self.link.on_up(ingest.on_link_up)
        self.link.on_down(ingest.on_link_down)
        self._plain.subscribe(topics.of_site(topics.ALL_EVENTS, site), ingest.on_plain)
        self._leave = ingest.on_leave

    def connect(self) -> None:
        """Let the links connect; plain events first, which the broker holds on to."""
        self._plain.start()
        self.link.start()

    def attend(self) -> None:
        """Carry out from now on what people decide about dead letters and unknown devices."""
        replays = Replays(self._records, self.journal, self._clock, self.ingest, self._site)
        # Of a hundred stations each would ask the records for itself.
        every_s = 0.5 if self._site is None else 2.0
        self._desk = Desk([self._adoptions, replays], every_s)
        self._desk.start()
        self._stack.callback(self._desk.stop)

    def disconnect(self, farewell: list[tuple[str, bytes]]) -> None:
        """Take nothing more in; ``farewell`` are retained messages."""
        self._leave()
        self.link.stop(farewell)
        self._plain.stop()

    def stop(self) -> None:
        """Stop in reverse order, last the journal."""
        self._stack.close()

    def _publish_receipt(self, site: str, edge: str, receipt: Receipt, birth: int) -> None:
        self.link.publish(
            topics.receipt(site, edge), encode(receipt), retain=True, properties=answers(birth)
        )

    @property
    def links(self) -> Mapping[str, Link]:
        """Return its connections to the broker by what they are for."""
        return {"batches": self.link, "plain": self._plain}

    def usage(self) -> Usage | None:
        """Return what its companion uses; None where there is none."""
        found = [each.usage for each in self._followers if isinstance(each, Companion)]
        return found[0] if found else None

    def states(self) -> list[ProjectorState]:
        """Return how its projections stand."""
        return [state for followers in self._followers for state in followers.states()]

    def counts(self) -> StationCounts:
        """Return what was done since the start."""
        states = self.states()
        return StationCounts(
            ingest=dict(self.ingest.counts),
            done=dict(done_by(states)),
            positions={state.name: state.position for state in states},
            journal=self.journal.position,
            trouble={state.name: state.trouble for state in states if state.trouble is not None}
            | self._desk.trouble,
        )
