"""The topology that holds: the file's, and what was adopted beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import structlog

from core.contracts.adoption import Adopted, Merged
from core.contracts.codec import encode
from core.contracts.log import ACTIVATION, Activation
from core.runtime.clock import Clock
from core.storage.journal import Append, Log
from core.storage.records import Records, adoptions, counters

log = structlog.get_logger(__name__)

Ground = Callable[[Sequence[Adopted]], Merged]


class Adoptions:
    """Activates topology and rules, and again whenever somebody adopts a device or an edge."""

    name = "adoptions"

    def __init__(
        self,
        records: Records,
        journal: Log,
        clock: Clock,
        rules: Mapping[str, str],
        ground: Ground,
    ) -> None:
        """``ground`` adds what was adopted to what the file says."""
        self._records = records
        self._journal = journal
        self._clock = clock
        self._rules = dict(rules)
        self._ground = ground
        self._seen = -1
        self.edges: frozenset[str] = frozenset()
        """The edges that the topology names, once it is activated."""

    def step(self) -> None:
        """Activate if there is a change; raise StoreUnavailableError or JournalError."""
        with self._records.reading() as session:
            if counters.read(session, counters.ADOPTIONS) == self._seen:
                return
        self.activate()

    def activate(self) -> None:
        """Journal topology and rules if they differ from those that hold."""
        with self._records.reading() as session:
            seen, adopted = adoptions.adopted(session)
        merged = self._ground(adopted)
        self.edges = frozenset(edge["id"] for edge in merged.topology.get("edges", ()))
        body = encode(Activation(topology=merged.topology, rules=self._rules))
        mark = hashlib.blake2b(body, digest_size=16).digest()
        last = self._journal.last_seqs().get(ACTIVATION, 0)
        now = self._clock.now_ms()
        if last == 0 or self._journal.digest(ACTIVATION, last) != mark:
            self._journal.append(Append(ACTIVATION, body, now, events=0, digest=mark)).result()
            log.info("topology and rules activated", rules=sorted(self._rules))
        if adopted:
            with self._records.session() as session:
                adoptions.settle(session, merged.superseded, merged.problems, now)
            for name, problem in merged.problems.items():
                log.warning("an adopted device has no place", device=name, why=problem)
        self._seen = seen
