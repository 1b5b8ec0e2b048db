"""Which of what was receipted is stored for good, so that no edge has to keep it (ADR 0026).

A log of one of several collectors may go with its machine. So each batch is settled only once
every projection has stored it where the next collector finds it. Pure: positions in, seqs out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from collector.streams import StreamKey

#: So many groups of batches are told apart at most; beyond that neighbours settle together.
_MOST_MARKS = 64


@dataclass(slots=True)
class _Mark:
    """What became durable together; settled once the log is stored up to ``pos``."""

    pos: int = 0
    first: int = 0
    seqs: dict[StreamKey, int] = field(default_factory=dict)
    calls: list[Callable[[], None]] = field(default_factory=list)

    @property
    def span(self) -> int:
        return self.pos - self.first

    def reach(self, pos: int) -> None:
        self.first = self.first or pos
        self.pos = max(self.pos, pos)

    def join(self, later: _Mark) -> None:
        self.first, self.pos = self.first or later.first, later.pos
        self.seqs |= later.seqs
        self.calls += later.calls


class Settlement:
    """Notes what is in the log, and tells what of it is settled; used by one thread.

    Its memory is bounded however long a store is down: then more is settled at once.
    """

    def __init__(self) -> None:
        self._marks: deque[_Mark] = deque([_Mark()])
        self._span = 0

    def note(self, key: StreamKey, seq: int, pos: int) -> None:
        """Note a batch's place in the log; positions come in their order."""
        mark = self._marks[-1]
        mark.reach(pos)
        mark.seqs[key] = seq

    def when(self, pos: int, then: Callable[[], None]) -> None:
        """Call ``then`` once what is at a position is settled."""
        mark = self._marks[-1]
        mark.reach(pos)
        mark.calls.append(then)

    def settle(self, pos: int) -> tuple[dict[StreamKey, int], list[Callable[[], None]]]:
        """Take that the log is stored up to ``pos``: return what is settled, and what to call."""
        done = _Mark()
        while self._marks and self._marks[0].pos <= pos:
            done.join(self._marks.popleft())
        if len(self._marks) > _MOST_MARKS:
            self._halve()
        elif len(self._marks) < _MOST_MARKS // 4:
            self._span = 0
        if not self._marks or (self._marks[-1].pos and self._marks[-1].span >= self._span):
            self._marks.append(_Mark())
        return done.seqs, done.calls

    def _halve(self) -> None:
        """Join neighbours, and from now on gather as many positions before the next mark."""
        marks, self._marks = self._marks, deque()
        while marks:
            self._marks.append(marks.popleft())
            if marks:
                self._marks[-1].join(marks.popleft())
        self._span = (self._marks[-1].pos - self._marks[0].first) // len(self._marks)
