"""Messages that were refused before: sent again, they make no further dead letter."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from core.contracts.log import UNREADABLE
from core.storage.journal import Log

#: So many are remembered; what comes again later than that is one letter more.
_MOST = 10_000
#: So many of them also by the next process.
_RESTORED = 500


class Repeats:
    """A bounded memory of refused messages by topic and bytes; used by several threads."""

    def __init__(self) -> None:
        self._marks: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def restore(self, journal: Log) -> None:
        """Remember the last that the log holds."""
        last = journal.last_seqs().get(UNREADABLE, 0)
        for seq in range(max(last - _RESTORED, 0) + 1, last + 1):
            mark = journal.digest(UNREADABLE, seq)
            if mark is not None:
                self.is_new(mark)

    def __contains__(self, mark: bytes) -> bool:
        return mark in self._marks

    def is_new(self, mark: bytes) -> bool:
        """Tell whether a message was not refused before, and remember it."""
        with self._lock:
            if mark in self._marks:
                self._marks.move_to_end(mark)
                return False
            self._marks[mark] = None
            if len(self._marks) > _MOST:
                self._marks.popitem(last=False)
            return True

    def forget(self, mark: bytes) -> None:
        """Take that a message was not kept after all."""
        with self._lock:
            self._marks.pop(mark, None)


def mark_of(topic: str, payload: bytes) -> bytes:
    """Return what a message is recognised by."""
    digest = hashlib.blake2b(topic.encode(), digest_size=16)
    digest.update(b"\0" + payload)
    return digest.digest()
