"""What a collector holds of a site of its own: what is stored of it, and who may forget what.

Batches settle when every projection has stored them; the records learn of it first, then the
edges, which then forget them. So whoever has the site next finds in the records from where on
the edges still have everything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from collector.settlement import Settlement
from collector.streams import StreamKey
from collector.tenure import Kept, Tenure
from core.contracts.batch import Receipt
from core.storage.records import Records, tenures


class Holding:
    """One site's settlement; callable from any thread, ``settle`` from one."""

    def __init__(self, records: Records, tenure: Tenure) -> None:
        self.tenure = tenure
        self._records = records
        self._lock = threading.Lock()
        self._settlement = Settlement()
        self._kept = Kept(tenure.lanes)
        self._told = Kept(tenure.lanes)
        """What the records know."""
        self._pending: dict[StreamKey, int] = {}
        self._due: list[Callable[[], None]] = []

    def note(self, key: StreamKey, seq: int, pos: int) -> None:
        """Note where a batch is in the log."""
        with self._lock:
            self._settlement.note(key, seq, pos)

    def when(self, pos: int, then: Callable[[], None]) -> None:
        """Call ``then`` once what is at a position is settled."""
        with self._lock:
            self._settlement.when(pos, then)

    def settle(self, pos: int) -> frozenset[StreamKey]:
        """Take that the log is stored up to ``pos``; return the streams of which more may go.

        Raises LostSiteError or StoreUnavailableError: the records are told the next time.
        """
        with self._lock:
            settled, calls = self._settlement.settle(pos)
        self._pending |= settled
        self._due += calls
        if self._pending:
            self._kept.add(self._pending)
            with self._records.session() as session:
                tenures.keep(session, self.tenure.site, self.tenure.term, self._kept.lanes())
        told, self._pending = self._pending, {}
        with self._lock:
            self._told.add(told)
        due, self._due = self._due, []
        for call in due:
            call()
        return frozenset(told)

    def receipt(self, receipt: Receipt) -> Receipt:
        """Return a receipt that also tells what is stored, and in which term."""
        with self._lock:
            stored = self._told.of(receipt.edge, receipt.epoch)
        lanes = {lane: stored.get(lane, 0) for lane in receipt.lanes}
        return msgspec.structs.replace(receipt, term=self.tenure.term, stored=lanes)
