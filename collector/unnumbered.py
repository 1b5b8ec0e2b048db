"""Messages that have no place in an edge's numbering: plain events, and what cannot be read."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future

from collector import streams
from collector.holding import Holding
from collector.repeats import Repeats, mark_of
from core.contracts.batch import MAX_RAW_BYTES
from core.contracts.codec import encode
from core.contracts.errors import ContractError
from core.contracts.log import PLAIN, UNREADABLE, Unreadable, plain_lane
from core.contracts.topics import Address
from core.runtime.clock import Clock
from core.runtime.link import Message
from core.storage.journal import Append, Log, Placed

#: When what a full log refused is tried again (s).
_AGAIN_S = 1.0


class Unnumbered:
    """Journals them; each is confirmed to the broker when the log has it, or has stored it."""

    def __init__(
        self,
        journal: Log,
        clock: Clock,
        holding: Holding | None,
        counts: Counter[str],
        again: Callable[[Message, str], None],
    ) -> None:
        """``again`` takes a message and its family once more, from any thread."""
        self._journal = journal
        self._clock = clock
        self._holding = holding
        self._counts = counts
        self._again = again
        self._lanes: set[str] = set()
        self._repeats = Repeats()
        self._stopping = threading.Event()

    def restore(self) -> None:
        """Read from the journal who spoke and what was refused."""
        self._lanes = {n for n in self._journal.last_seqs() if n.startswith(f"{PLAIN}/")}
        self._repeats.restore(self._journal)

    def stop(self) -> None:
        """Try nothing again any more."""
        self._stopping.set()

    def plain(self, address: Address, message: Message) -> None:
        """Take a plain event; raise ContractError for one that cannot be kept."""
        if len(message.payload) > MAX_RAW_BYTES:
            raise ContractError(f"longer than {MAX_RAW_BYTES} bytes")
        lane = plain_lane(address.site, address.sender)
        if lane not in self._lanes:
            if len(self._lanes) >= streams.MOST_PLAIN:
                raise ContractError(f"more than {streams.MOST_PLAIN} devices without an edge")
            self._lanes.add(lane)
        self._keep(message, Append(lane, message.payload, self._clock.now_ms()), "plain")

    def refuse(self, message: Message, why: ContractError, family: str) -> None:
        """Keep what cannot be read for the dead letters, and take it from the broker.

        Sent again, it is counted.
        """
        mark = mark_of(message.topic, message.payload)
        if not self._repeats.is_new(mark):
            self._counts["unreadable_again"] += 1
            message.ack()
            return
        self._counts["unreadable"] += 1
        raw = message.payload[:MAX_RAW_BYTES]
        body = encode(Unreadable(message.topic[:256], str(why), raw, why.field))
        self._keep(message, Append(UNREADABLE, body, self._clock.now_ms(), digest=mark), family)

    def has_refused(self, message: Message) -> bool:
        """Tell whether the very same has been refused before."""
        return mark_of(message.topic, message.payload) in self._repeats

    def _keep(self, message: Message, append: Append, family: str) -> None:
        """Journal a message; it is acknowledged to the broker afterwards.

        What the log refuses is tried again, since the broker sends it again only to a new
        connection; its Receive Maximum bounds how much can wait like this.
        """

        def settled(done: Future[list[Placed]]) -> None:
            if done.exception() is None:
                if self._holding is None:
                    message.ack()
                else:
                    self._holding.settlement.when(done.result()[-1].pos, message.ack)
                return
            self._counts["not_journalled"] += 1
            if append.digest is not None:
                self._repeats.forget(append.digest)
            if family == "plain" and not self._stopping.is_set():
                again = threading.Timer(_AGAIN_S, self._again, [message, family])
                again.daemon = True
                again.start()

        self._journal.append(append).add_done_callback(settled)
