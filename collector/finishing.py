"""The end of the log of a collector that has stopped, and that nobody starts any more.

What its stores do not have yet they get now; so do plain events that the broker still keeps for
it. From before that on the broker keeps them for whoever has their site next.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing
from dataclasses import replace

from collector.caution import Notebook
from collector.followers import Followers, store_projections
from collector.ingest import Ingest
from collector.rules_projection import RulesProjection
from collector.station import plain_session
from collector.take_over import check_known, heard_sites, held
from core.contracts import topics
from core.contracts.errors import JournalError, StoreUnavailableError
from core.runtime.clock import Clock
from core.runtime.link import Link, LinkOptions, Message
from core.runtime.settings import BrokerSettings, Settings
from core.storage.journal import Journal
from core.storage.records import Records, tenures

_CONNECT_S = 10.0
#: The broker has told all that it keeps when nothing has come for so long (s).
_QUIET_S = 1.0
#: A store that takes nothing for so long (s) is down.
_PATIENCE_S = 30.0
_LOOK_S = 0.1


def finish(former: Settings, shared: Settings, clock: Clock) -> None:
    """Have all stored that the log of the one collector of ``former`` holds or should hold.

    ``shared`` are the settings of one of those that are to follow it, whose records are its own by
    now. It may be done again.

    Raises:
        SettingsError: the records are not those of its log.
        InUseError: the collector runs, or others have begun.
        JournalError: it has no log, or a store does not take it.
        StoreUnavailableError: the records or the broker do not answer.
    """
    with held(former) as log, closing(Records(shared.records_url).open()) as records:
        with records.reading() as session:
            check_known(session, log)
            sites = heard_sites(log) | tenures.topology_sites(session)
            tenures.check_unbegun(session, sites)
        for site in sorted(sites):
            pattern = topics.of_site(topics.ALL_EVENTS, site)
            _listen(shared.broker, plain_session(shared.collector.name, site), pattern)
        try:
            _hear_out(former, log, clock)
        except _NoBrokerError:
            if not former.broker.embedded:  # such a one ends with its system, and all that it kept
                raise
        _store(former, records, log, clock)


class _NoBrokerError(StoreUnavailableError):
    """The broker cannot be reached."""


def _connected(link: Link, stack: ExitStack) -> None:
    link.start()
    stack.callback(link.stop)
    if not link.wait_connected(_CONNECT_S):
        raise _NoBrokerError("broker: it cannot be reached; what it keeps is wanted now")


def _listen(broker: BrokerSettings, session: LinkOptions, pattern: str | None) -> None:
    """Begin (or end) a session; what comes to it is not confirmed, so that it is kept."""
    link = Link(broker, session)
    if pattern is not None:
        link.subscribe(pattern, lambda _: None)
    with ExitStack() as stack:
        _connected(link, stack)


def _hear_out(former: Settings, log: Journal, clock: Clock) -> None:
    """Journal the plain events that the broker keeps for the collector; end its session."""
    session = plain_session(former.collector.name, None)
    link = Link(former.broker, session)
    ingest = Ingest(log, clock, lambda *_: None)
    waiting = _Waiting()
    link.subscribe(topics.ALL_EVENTS, lambda message: ingest.on_plain(waiting.watched(message)))
    ingest.start()
    with ExitStack() as stack:
        stack.callback(ingest.stop)
        _connected(link, stack)
        waiting.end()
    _listen(former.broker, replace(session, session_expiry_s=0), None)


class _Waiting:
    """Watches messages until they are confirmed, and until no more come."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = 0

    def watched(self, message: Message) -> Message:
        """Return a message whose confirmation is seen."""

        def ack() -> None:
            message.ack()
            self._add(-1)

        self._add(1)
        return message._replace(ack=ack)

    def _add(self, number: int) -> None:
        with self._changed:
            self._open += number
            self._changed.notify_all()

    def end(self) -> None:
        """Wait for it; raise JournalError where one is not confirmed in time."""
        with self._changed:
            while self._changed.wait(_QUIET_S if not self._open else _PATIENCE_S):
                pass
            if self._open:
                raise JournalError(
                    f"{self._open:,} events that the broker keeps cannot be journalled: see "
                    "collector.journal_bytes, and the disk"
                )


def _store(former: Settings, records: Records, log: Journal, clock: Clock) -> None:
    rules = RulesProjection(records, clock, log.epoch, lambda: None)
    stores = store_projections(former, records, clock, log.epoch)
    followers = Followers(log, [rules, *stores], Notebook(records, log.epoch, clock))
    followers.start()
    try:
        _await(followers, log)
    finally:
        followers.stop()


def _await(followers: Followers, log: Journal) -> None:
    """Wait until every store has the whole log; raise JournalError where one takes no more."""
    moved_at, before = time.monotonic(), -1
    while True:
        states = followers.states()
        if all(state.position >= log.position for state in states):
            return
        now = sum(state.position for state in states)
        if now != before:
            moved_at, before = time.monotonic(), now
        if time.monotonic() - moved_at > _PATIENCE_S:
            waits = [s for s in states if s.position < log.position]
            why = "; ".join(f"{s.name}: {s.trouble or 'it does not move'}" for s in waits)
            raise JournalError(f"{log.path}: not all of it can be stored: {why}")
        time.sleep(_LOOK_S)
