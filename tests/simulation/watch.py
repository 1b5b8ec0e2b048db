"""What must hold of every message that the broker takes, at the moment that it takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.contracts.batch import RECEIPT, Receipt, decode_envelope, decode_struct
from core.contracts.log import batch_lane
from core.storage import sqlite

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Batches of a lane in flight, in a run: few, so that windows are full now and then.
WINDOW = 4
_Stream = tuple[str, str, str]


class Watch:
    """Looks at receipts (monotonic, never beyond what is durable) and batches (the window)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._receipts: dict[_Stream, int] = {}

    def heard(self, topic: str, payload: bytes) -> None:
        """Look at one message."""
        if topic.endswith("/receipt"):
            self._receipt(topic, decode_struct(payload, RECEIPT))
        elif topic.endswith("/batch"):
            self._batch(payload)

    def _receipt(self, topic: str, receipt: Receipt) -> None:
        collector = self._world.collector
        log = collector.disk.file(collector.disk.folder / "collector.sqlite")
        durable = log.keeper if log.durable is None else log.durable
        try:
            lasts = dict(durable.execute("SELECT name, last FROM lane").fetchall())
        except sqlite.OperationalError:  # not even its tables are on the disk
            lasts = {}
        site = topic.split("/")[-3]
        for lane, seq in receipt.lanes.items():
            key = (receipt.edge, receipt.epoch, lane)
            if seq < self._receipts.get(key, 0):
                self._broken(f"the receipt of {key} went back to {seq}")
            if seq > lasts.get(batch_lane(site, receipt.edge, receipt.epoch, lane), 0):
                self._broken(f"the receipt of {key} is beyond the disk: {seq}")
            self._receipts[key] = seq

    def _batch(self, payload: bytes) -> None:
        head = decode_envelope(payload)
        world = self._world
        first = world.first_epoch.setdefault(head.edge, head.epoch)
        if head.edge not in world.restored:
            if first != head.epoch:
                self._broken(f"{head.edge}: a new epoch without a reason")
            # Where batches were dropped, their successors go without a receipt for them.
            held = max(self._receipts.get((head.edge, head.epoch, head.lane), 0), head.oldest - 1)
            if head.seq > held + WINDOW:
                self._broken(f"{head.edge} {head.lane} {head.seq}: beyond the window of {held}")

    def _broken(self, what: str) -> None:
        # The run ends here: what follows from a broken law says nothing more.
        self._world.scheduler.failures.append(("watch", what))
