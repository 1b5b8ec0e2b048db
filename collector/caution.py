"""Finding what crashes a projection, and leaving it out (ADR 0028).

A stretch of the log that has failed is tried entry by entry, the entry that fails event by event,
each noted before it is touched; what has failed three times, the last two in the same place, is
left out for good. While all is well nothing is noted, but that the process lives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from collector.rules_projection import letters_of
from collector.settlement import Settlement
from collector.tenure import steady_letters
from core.contracts.around import read_around, read_refused
from core.contracts.errors import EstateError, StoreUnavailableError
from core.contracts.left_out import EVERY, WHOLE, LeftOut, Notes, Stage, Try
from core.contracts.log import LogEntry
from core.runtime.clock import Clock
from core.storage.journal import Entry
from core.storage.records import Records, cautions, counters, refusals

log = structlog.get_logger(__name__)

#: An event is left out when its stretch has failed so often.
ATTEMPTS = 3
#: So many events of one entry are left out one by one; then all that is left of it.
MOST_SINGLE = 8
#: When so many entries in a row had to be left out whole, it is not the log that is at fault.
MOST_IN_A_ROW = 64
#: After a death so many entries are noted one by one, more of them by the chunk.
_ONE_BY_ONE = 1_000
_CHUNK = 64
_AGAIN_S = 0.2
_REASON = 500
#: The machine's errors, which no entry of the log is to blame for.
_NOBODYS = (OSError, ImportError)

#: Makes the letters of what is left out of an entry: its index, or :data:`WHOLE`, and why.
MakeLetters = Callable[[LogEntry, int, str], list[refusals.DeadLetter]]


class StoppingError(Exception):
    """The projector was stopped while a note had to wait for the records."""


class Step(NamedTuple):
    """How the next entries are tried: at most ``limit``, noted before, event by event."""

    limit: int | None
    is_noted: bool = False
    is_fine: bool = False


_FREE = Step(None)


class Notebook:
    """Where a process's projections of a log keep their notes: in the records.

    What is noted before it is tried is tried in ``turn``, one at a time: if the process dies, it is
    known of what.
    """

    def __init__(
        self,
        records: Records,
        log_id: str,
        clock: Clock,
        settlement: Settlement | None = None,
    ) -> None:
        """``settlement`` is of a log that ends with a tenure.

        What another log has told already is then not told once more.
        """
        self._settlement = settlement
        self._records = records
        self._clock = clock
        self.log_id = log_id
        self.turn = threading.Lock()

    def load(self) -> dict[str, Notes]:
        """Return all notes by projection; raise StoreUnavailableError."""
        with self._records.reading() as session:
            return cautions.load(session, self.log_id)

    def letters(self, entry: LogEntry) -> list[refusals.DeadLetter]:
        """Return the letters of what of an entry cannot be read."""
        found = letters_of(entry, self.log_id)
        return found if self._settlement is None else steady_letters(entry, found)

    def keep(self, name: str, notes: Notes, letters: Sequence[refusals.DeadLetter] = ()) -> int:
        """Keep a projection's notes, and letters with them; return how many of these are new.

        Raises StoreUnavailableError.
        """
        with self._records.session() as session:
            cautions.keep(session, self.log_id, name, notes)
            fresh = refusals.add_dead_letters(session, letters, self._clock.now_ms())
            if fresh:
                counters.add(session, counters.LEFT_OUT, fresh)
        if self._settlement is not None:
            self._settlement.bury(letters)
        return fresh


class Caution:
    """What one projector knows of crashes; used by its thread."""

    def __init__(self, name: str, notebook: Notebook, stopping: threading.Event) -> None:
        self._name = name
        self._notebook = notebook
        self._stopping = stopping
        self._notes: Notes | None = None
        self._others: list[LeftOut] = []
        self._now: Try | None = None
        self._watch_until = 0
        self._in_a_row = 0
        self._last_whole = 0
        self.left_out = 0
        """How many dead letters came of this since the start."""

    @property
    def notes(self) -> Notes:
        """Return what is known now."""
        return self._notes or Notes()

    def open(
        self, entry: Callable[[int], Entry | None], end: int, make_letters: MakeLetters
    ) -> dict[int, list[LeftOut]]:
        """Return what is to be left out of the log, by position, having decided on a suspect.

        ``entry`` reads the log's first entry at or behind a position, ``end`` is its last one's.
        Raises StoreUnavailableError.
        """
        kept = self._notebook.load()
        if self._notes is None:
            self._begin(kept.get(self._name, Notes()), entry(0), end)
        self._others = [
            mark
            for name, notes in kept.items()
            for mark in notes.left_out
            if name != self._name and mark.stage is Stage.READ
        ]
        if self.notes.is_guilty and self._in_a_row < MOST_IN_A_ROW:
            self._leave_out(entry, make_letters)
        return self._marks()

    def _begin(self, notes: Notes, oldest: Entry | None, end: int) -> None:
        if notes.is_alive:
            # The former process said no farewell. Perhaps it was killed by what it was folding.
            self._watch_until = end
            if notes.trying is not None:
                notes = accused(notes, notes.trying, "its process ended")
            elif notes.suspect is None:
                notes = replace(notes, tries=1)
        first = 0 if oldest is None else oldest.pos
        marks = tuple(mark for mark in notes.left_out if mark.pos >= first)
        notes = replace(notes, is_alive=True, trying=None, left_out=marks)
        self._notebook.keep(self._name, notes)
        self._notes = notes

    def _marks(self) -> dict[int, list[LeftOut]]:
        found: dict[int, list[LeftOut]] = {}
        for mark in (*self._others, *self.notes.left_out):
            found.setdefault(mark.pos, []).append(mark)
        return found

    def _leave_out(self, entry: Callable[[int], Entry | None], make_letters: MakeLetters) -> None:
        notes = self.notes
        suspect = notes.suspect
        raw = None if suspect is None else entry(suspect.first)
        if suspect is None or raw is None or raw.pos != suspect.first:
            self._notes = replace(notes, suspect=None, tries=0, is_guilty=False)
            return
        before = self._marks().get(raw.pos, [])
        reading = suspect.stage is Stage.READ
        index = suspect.index
        known = {mark.index for mark in before if mark.stage is suspect.stage}
        if WHOLE in known or (index >= 0 and known & {index, EVERY}):
            # Another projection has found it meanwhile.
            self._notes = replace(notes, tries=ATTEMPTS - 1, is_guilty=False)
            return
        if len(before) >= MOST_SINGLE or (before and index == WHOLE):
            index = EVERY if reading and EVERY not in known else WHOLE
        where = "the reading of the log" if reading else self._name
        mark = LeftOut(raw.pos, index, suspect.stage, f"crashed {where}: {notes.reason}")
        letters = self._letters(raw, mark, before, make_letters)
        # What comes behind it in the same entry needs no three attempts of its own.
        after = replace(
            notes,
            suspect=Try(raw.pos, raw.pos, is_fine=True),
            tries=ATTEMPTS - 1,
            is_guilty=False,
            reason="",
            left_out=(*notes.left_out, mark),
        )
        self.left_out += self._notebook.keep(self._name, after, letters)
        self._notes = after
        if index < 0:
            self._in_a_row += 1
            self._last_whole = raw.pos
        log.error(
            "left out", projector=self._name, pos=raw.pos, index=index, lane=raw.lane,
            why=mark.reason,
        )  # fmt: skip

    def _letters(
        self, raw: Entry, mark: LeftOut, before: list[LeftOut], make_letters: MakeLetters
    ) -> list[refusals.DeadLetter]:
        args = raw.lane, raw.pos, raw.seq, raw.at, raw.body
        if mark.stage is Stage.READ:
            return self._notebook.letters(read_refused(*args, mark.index, mark.reason))
        found = read_around(*args, before)
        # Those of what cannot be read would come with the entry, which may now never come.
        return self._notebook.letters(found) + make_letters(found, mark.index, mark.reason)

    # -- while folding -----------------------------------------------------------------------

    def step(self, position: int) -> Step:
        """Say how to try what comes after a position."""
        suspect, after = self.notes.suspect, position + 1
        watched = position < self._watch_until
        if suspect is not None and after < suspect.first:
            return Step(min(_CHUNK, suspect.first - after), is_noted=watched)
        if suspect is not None and after <= suspect.last:
            return Step(1, is_noted=True, is_fine=suspect.first == suspect.last)
        if watched:
            return Step(1 if self._watch_until - position <= _ONE_BY_ONE else _CHUNK, is_noted=True)
        return _FREE

    @contextmanager
    def trying(self, step: Step, first: int, last: int) -> Iterator[None]:
        """Have what is tried inside noted, if the step says so; raise StoreUnavailableError."""
        self._now = Try(first, last, step.is_fine)
        if not step.is_noted:
            yield
            self._notes, self._now = self._passed(last), None
            return
        with self._notebook.turn:
            self._keep(replace(self.notes, trying=self._now))
            try:
                yield
            except EstateError:
                self._keep(replace(self.notes, trying=None))  # a store that is down kills nobody
                raise
            self._keep(replace(self._passed(last), trying=None))
            self._now = None

    def before(self, stage: Stage, index: int = WHOLE) -> None:
        """Note which event is touched next, waiting for the records if need be.

        Raises :class:`StoppingError` when the projector is stopped meanwhile: what is half folded
        must not go on without its note.
        """
        if self._now is None:
            return
        self._now = replace(self._now, stage=stage, index=index)
        while True:
            try:
                self._keep(replace(self.notes, trying=self._now))
            except StoreUnavailableError:
                if self._stopping.wait(_AGAIN_S):
                    raise StoppingError from None
            else:
                return

    def uses(self, step: Step) -> None:
        """Note that what is tried has been read."""
        if self._now is not None:
            self._now = replace(self._now, stage=Stage.USE, index=WHOLE)
        if step.is_fine:
            self.before(Stage.USE)

    def _passed(self, position: int) -> Notes:
        """Return the notes when all up to a position is well."""
        notes = self.notes
        if position > self._last_whole:
            self._in_a_row = 0
        is_over = notes.suspect is None and position >= self._watch_until
        if is_over or (notes.suspect is not None and position >= notes.suspect.last):
            return replace(notes, suspect=None, tries=0, is_guilty=False, reason="")
        return notes

    def blame(self, error: Exception) -> bool:
        """Take that the projection has failed; tell whether that leads on, tried again soon."""
        tried, self._now = self._now, None
        if tried is None or isinstance(error, (*_NOBODYS, StoppingError)):
            return False
        why = f"{type(error).__name__}: {error}"[:_REASON]
        self._notes = replace(accused(self.notes, tried, why), trying=None)
        try:
            self._keep(self._notes)
        except Exception:
            # It is known here at least, and noted with what comes next.
            log.exception("a crash is not noted", projector=self._name)
        return self._in_a_row < MOST_IN_A_ROW

    def farewell(self) -> None:
        """Note that the process ends in good order."""
        if self._notes is None:
            return
        try:
            self._keep(replace(self._notes, is_alive=False, trying=None))
        except Exception:
            # The next start goes on carefully, that is all.
            log.exception("the end is not noted", projector=self._name)

    def _keep(self, notes: Notes) -> None:
        self._notebook.keep(self._name, notes)
        self._notes = notes


def accused(notes: Notes, tried: Try, why: str) -> Notes:
    """Return the notes after a stretch has failed."""
    suspect = notes.suspect
    is_same = suspect is None or suspect.holds(tried)
    tries = notes.tries + 1 if is_same else 1
    return replace(
        notes,
        suspect=tried,
        tries=tries,
        is_guilty=tried.is_fine and tried == suspect and tries > ATTEMPTS,
        reason=why,
    )
