"""What a collector holds of a site of its own: what is stored of it, and who may forget what.

Batches settle when every projection has stored them; the records learn of it first, then the
edges, which then forget them. So whoever has the site next finds in the records from where on
the edges still have everything, and accounts that end there.
"""

from __future__ import annotations

import threading
import time

import msgspec

from collector.settlement import Page, Settlement
from collector.streams import StreamKey
from collector.tenure import Kept, Tenure
from core.contracts.batch import Receipt
from core.runtime.clock import Clock
from core.storage.records import Records, ledger, letters, tenures

#: What waits is told to the records this often (s) while nothing settles, and that all is well
#: where nothing comes.
_WAITING_S, _QUIET_S = 5.0, 60.0


class Holding:
    """One site's settlement; callable from any thread, ``settle`` and ``end`` from one."""

    def __init__(self, records: Records, clock: Clock, tenure: Tenure, log_id: str) -> None:
        self.tenure = tenure
        self.settlement = Settlement()
        self._records = records
        self._clock = clock
        self._log_id = log_id
        self._lock = threading.Lock()
        self._kept = Kept(tenure.lanes)
        self._told = Kept(tenure.lanes)
        """What the records know."""
        self._pending = Page()
        self._settled = 0
        self._waiting: list[list[int | str]] = []
        self._noted = time.monotonic()

    def settle(self, pos: int) -> frozenset[StreamKey]:
        """Take that the log is stored up to ``pos``; return the streams of which more may go.

        What was counted up to there is kept with it. Raises LostSiteError or
        StoreUnavailableError: the records are told the next time.
        """
        # What failed is tried again as it was: perhaps it was kept, and nobody could say so.
        told = self._keep() if self._pending.pos else frozenset[StreamKey]()
        self._pending = self.settlement.settle(pos)
        age = time.monotonic() - self._noted
        is_told = age < _WAITING_S or self.settlement.waiting() == self._waiting
        if self._pending.pos or not is_told or age > _QUIET_S:
            told |= self._keep()
        return told

    def _keep(self) -> frozenset[StreamKey]:
        done, waiting = self._pending, self.settlement.waiting()
        seqs = done.seqs()
        self._kept.add(seqs)
        settled = max(self._settled, done.pos)
        now = self._clock.now_ms()
        with self._records.session() as session:
            # What is told to the live sequence first: its lock comes before the site's.
            letters.mark_replayed(session, list(done.replayed.values()), now)
            tenures.keep(session, self.tenure.site, self.tenure.term, self._kept.lanes())
            ledger.settle(session, self._log_id, done.counted(), done.kinds, waiting, settled, now)
        self._pending = Page()
        self._settled, self._waiting, self._noted = settled, waiting, time.monotonic()
        with self._lock:
            self._told.add(seqs)
        for call in done.calls:
            call()
        return frozenset(seqs)

    def end(self, stored: int, last: int) -> None:
        """Note that the log is over, if it is stored up to its ``last`` position and settled.

        Raises as :meth:`settle` does.
        """
        if stored < last or self._pending.pos:
            return
        with self._records.session() as session:
            tenures.check(session, self.tenure.site, self.tenure.term)
            ledger.end(session, self._log_id, self._clock.now_ms())

    def receipt(self, receipt: Receipt) -> Receipt:
        """Return a receipt that also tells what is stored, and in which term."""
        with self._lock:
            stored = self._told.of(receipt.edge, receipt.epoch)
        lanes = {lane: stored.get(lane, 0) for lane in receipt.lanes}
        return msgspec.structs.replace(receipt, term=self.tenure.term, stored=lanes)
