"""What is counted of a log that ends with its collector's tenure, until it is settled (ADR 0026).

Such a log may go with its machine, and what no projection has stored yet comes again, in the next
collector's log. So what its witnesses count (ADR 0027) waits here, stretch by stretch, until every
projection has stored a stretch where the next collector finds it. Then it is settled at once: its
counts are kept with the note of what is stored, so that the next log's begin where these end. Who
waits for that is called.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from collector.streams import StreamKey
from core.contracts.events import Lane
from core.contracts.ledger import OTHERS, Line
from core.storage.records.ledger import Counts
from core.storage.records.letters import Replayed
from core.storage.records.refusals import DeadLetter

#: So many stretches are told apart at most; beyond that neighbours settle together.
_MOST_PAGES = 64


class Item(NamedTuple):
    """What a witness counted of the entry at a position; ``kinds`` by (day, kind)."""

    pos: int
    line: Line
    counts: Counts
    kinds: dict[tuple[int, str], int]


@dataclass(slots=True)
class Page:
    """What everybody says of a stretch of the log that ends at ``pos``.

    ``letters`` are its dead letters by id: several may tell of the same one. ``replayed`` are the
    letters that it brings back.
    """

    pos: int = 0
    first: int = 0
    lines: dict[Line, Counts] = field(default_factory=dict)
    kinds: Counter[tuple[int, str]] = field(default_factory=Counter)
    letters: dict[str, tuple[Line, int]] = field(default_factory=dict)
    replayed: dict[str, Replayed] = field(default_factory=dict)
    calls: list[Callable[[], None]] = field(default_factory=list)

    @property
    def span(self) -> int:
        """Return how many positions it covers, about."""
        return self.pos - self.first

    def reach(self, pos: int) -> None:
        """Have it end no earlier than at a position."""
        self.first = min(self.first or pos, pos)
        self.pos = max(self.pos, pos)

    def add(self, item: Item) -> None:
        """Add what a witness has counted."""
        counts = self.lines.get(item.line)
        if counts is None:
            counts = self.lines[item.line] = Counts()
        counts.add(item.counts)
        for kind, number in item.kinds.items():
            self.kinds[kind] += number

    def join(self, later: Page) -> None:
        """Add the stretch behind it."""
        if later.pos:
            self.reach(later.first)
            self.reach(later.pos)
        for line, counts in later.lines.items():
            self.lines.setdefault(line, Counts()).add(counts)
        self.kinds.update(later.kinds)
        self.letters |= later.letters
        self.replayed |= later.replayed
        self.calls += later.calls

    def seqs(self) -> dict[StreamKey, int]:
        """Return how far each numbered lane has come, by whoever counts what came."""
        return {
            StreamKey(stream.site, stream.edge, stream.epoch, Lane(stream.lane)): counts.last_seq
            for (_, stream), counts in sorted(self.lines.items(), key=lambda item: item[0].hour)
            if counts.last_seq and stream.lane not in OTHERS
        }

    def counted(self) -> dict[Line, Counts]:
        """Return all counts with the dead letters among them; it is not to be added to any more."""
        for line, pos in self.letters.values():
            self.lines.setdefault(line, Counts()).add(Counts(dead=1, last_pos=pos))
        self.letters = {}
        return self.lines


class Settlement:
    """Gathers what is counted, and gives out what is settled; callable from any thread.

    Its memory is bounded however long a store is down: then more is settled at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pages: deque[Page] = deque([Page()])
        self._span = 0

    def count(self, items: Iterable[Item]) -> None:
        """Take what a witness has counted."""
        with self._lock:
            for item in items:
                self._page(item.pos).add(item)

    def bury(self, letters: Iterable[DeadLetter]) -> None:
        """Take dead letters, which the records have; those without an account are nobody's."""
        with self._lock:
            for letter in letters:
                if letter.line is not None and letter.entry is not None:
                    self._page(letter.entry).letters[letter.id] = letter.line, letter.entry

    def bring_back(self, replayed: Iterable[tuple[int, Replayed]]) -> None:
        """Take letters that the entries at these positions bring back, once those are settled."""
        with self._lock:
            for pos, item in replayed:
                self._page(pos).replayed[item.id] = item

    def when(self, pos: int, then: Callable[[], None]) -> None:
        """Call ``then`` once what is at a position is settled."""
        with self._lock:
            self._page(pos).calls.append(then)

    def _page(self, pos: int) -> Page:
        """Return the page of a position, which is nearly always the last: the open one."""
        found = self._pages[-1]
        for page in islice(reversed(self._pages), 1, None):
            if page.pos < pos:
                break
            found = page
        if found is self._pages[-1]:
            found.reach(pos)
        return found

    def settle(self, pos: int) -> Page:
        """Take that the log is stored up to ``pos`` by all who count: return what is settled."""
        done = Page()
        with self._lock:
            pages = self._pages
            while pages and pages[0].pos <= pos:
                done.join(pages.popleft())
            if len(pages) > _MOST_PAGES:
                self._halve()
            elif len(pages) < _MOST_PAGES // 4:
                self._span = 0
            if not self._pages or (self._pages[-1].pos and self._pages[-1].span >= self._span):
                self._pages.append(Page())
        return done

    def _halve(self) -> None:
        """Join neighbours, and from now on gather as many positions before the next page."""
        pages, self._pages = self._pages, deque()
        while pages:
            self._pages.append(pages.popleft())
            if pages:
                self._pages[-1].join(pages.popleft())
        self._span = (self._pages[-1].pos - self._pages[0].first) // len(self._pages)

    def waiting(self) -> list[list[int | str]]:
        """Return what came and is not stored yet, as ``[hour, edge, events]``."""
        waiting = Counter[tuple[int, str]]()
        with self._lock:
            for page in self._pages:
                for line, counts in page.lines.items():
                    waiting[line.hour, line.stream.edge] += counts.rest
                for line, _ in page.letters.values():
                    waiting[line.hour, line.stream.edge] -= 1
        return [[hour, edge, rest] for (hour, edge), rest in sorted(waiting.items()) if rest > 0]
