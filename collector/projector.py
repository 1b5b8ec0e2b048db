"""Projections of the log: idempotent, cursor stored with the output, rebuildable (ADR 0003)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from collector.caution import Caution, Notebook, Step, StoppingError
from collector.feed import Chunk, Feed
from core.contracts.errors import EstateError, StoreLostError
from core.contracts.log import LogEntry
from core.runtime.background import Background
from core.storage.journal import Entry
from core.storage.records.refusals import DeadLetter

log = structlog.get_logger(__name__)

_WAIT_S = 0.5
_BACKOFF_S = (0.2, 10.0)
#: The journal hears of a projector's progress this often; its own store knows at once.
_TELL_S = 2.0
_DRAIN_S = 1.0
#: A store that is gone again at once is not made in a hurry.
_ANEW_S = 1.0


class Projection(Protocol):
    """One projection of the log; ``families`` are the lanes' that it wants, None: all.

    ``most_bytes`` of the log are about what it is best given at once.
    """

    name: str
    families: frozenset[str] | None
    most_bytes: int

    def open(self) -> int:
        """Open the store and return the position to go on from."""
        ...

    def apply(self, chunk: Chunk) -> None:
        """Store a chunk and its position together; raise RetryableError to be called again.

        StoreLostError is raised to be opened again.
        """
        ...

    def needed_after(self) -> int:
        """Return the position after which the log is still needed to start anew."""
        ...

    def rest(self) -> None:
        """Take that nothing comes any more: keep what the next process would need the log for.

        Raises EstateError where it cannot.
        """
        ...

    def close(self) -> None:
        """Release the store."""
        ...

    def letters(self, entry: LogEntry, index: int, reason: str, /) -> list[DeadLetter]:
        """Return the dead letters of an entry's event that is left out, or of all (``WHOLE``)."""
        ...

    def done(self) -> dict[str, int]:
        """Return what was done since the start, by name."""
        ...


@dataclass(frozen=True, slots=True)
class ProjectorState:
    """How a projection stands; ``trouble`` says why it stands still, None while it moves.

    ``left_out`` counts the dead letters of what crashed it.
    """

    name: str
    position: int = 0
    failures: int = 0
    trouble: str | None = None
    left_out: int = 0
    done: dict[str, int] = field(default_factory=dict)


def done_by(states: Iterable[ProjectorState]) -> Counter[str]:
    """Return what several projections have done, by name."""
    done = Counter[str]()
    for state in states:
        done.update(state.done)
    return done


class Projector:
    """Runs one projection in a thread of its own, so that none holds up another.

    A store that is down stops its projector only; the log waits, and so do no receipts.
    """

    def __init__(self, projection: Projection, feed: Feed, notebook: Notebook) -> None:
        self._projection = projection
        self._feed = feed
        self._background = Background(projection.name, self._run, patience_s=10.0)
        self._caution = Caution(projection.name, notebook, self._background.stopping)
        self.position = 0
        self.failures = 0
        self.trouble: str | None = None
        """Why the projector stands still, or None while it moves."""

    @property
    def name(self) -> str:
        """Return the projection's name."""
        return self._projection.name

    def state(self) -> ProjectorState:
        """Return how it stands."""
        done = self._projection.done()
        left_out = self._caution.left_out
        return ProjectorState(self.name, self.position, self.failures, self.trouble, left_out, done)

    def start(self) -> None:
        """Start in the background; the store may be down."""
        self._background.start()

    def stop(self) -> None:
        """Fold what the log holds, for as long as ``_DRAIN_S`` and only while all is well; stop.

        What is left is folded after the next start.
        """
        deadline = time.monotonic() + _DRAIN_S
        while (
            self.position < self._feed.end
            and self.trouble is None
            and self._background.is_alive
            and time.monotonic() < deadline
        ):
            self._background.stopping.wait(0.02)
        self._background.stop()

    def _run(self) -> None:
        while not self._background.stopping.is_set():
            try:
                self._feed.open()
                if self._until_done(self._open):
                    self._work()
            except StoppingError:
                pass
            except StoreLostError as error:
                if self.trouble is None:
                    why = str(error)
                    log.warning("stored anew from what the log holds", projector=self.name, why=why)
                self.failures += 1
                self.trouble = str(error)
                self._background.stopping.wait(_ANEW_S)
            except Exception as error:
                # A fault of our own: start again from what is stored, and let it be seen.
                # (Whoever shows the traceback also walks through the events.)
                leads_on = self._caution.blame(error)
                log.exception("projector failed", projector=self.name)
                self.failures += 1
                self.trouble = f"{type(error).__name__}: {error}"
                self._background.stopping.wait(_BACKOFF_S[0 if leads_on else 1])
            finally:
                self._close()
        self._caution.farewell()

    def _close(self) -> None:
        try:
            self._projection.close()
        except EstateError as error:
            log.info("what was stored last is stored again", projector=self.name, why=str(error))
        finally:
            self._feed.close()

    def _open(self) -> None:
        feed = self._feed
        feed.left_out = self._caution.open(feed.entry, feed.end, self._projection.letters)
        self.position = self._projection.open()

    def _work(self) -> None:
        told, told_at = self._projection.needed_after(), time.monotonic()
        self._feed.passed(self.name, told)
        while not self._background.stopping.is_set():
            step = self._caution.step(self.position)
            raws = self._feed.read(self.position, _WAIT_S, limit=step.limit)
            if raws:
                if not self._take(step, raws):
                    return
                self.position = raws[-1].pos
            if time.monotonic() - told_at > _TELL_S:
                needed, told_at = self._projection.needed_after(), time.monotonic()
                if needed > told:
                    self._feed.passed(self.name, needed)
                    told = needed
        self._rest()

    def _rest(self) -> None:
        try:
            self._projection.rest()
        except EstateError as error:
            log.info("the log is needed once more", projector=self.name, why=str(error))
        self._feed.passed(self.name, self._projection.needed_after())

    def _take(self, step: Step, raws: Sequence[Entry]) -> bool:
        """Decode entries and have them applied; tell whether that was done."""
        caution, chunk, is_applied = self._caution, None, False

        def take() -> None:
            nonlocal chunk, is_applied
            with caution.trying(step, raws[0].pos, raws[-1].pos):
                if chunk is None:
                    chunk = self._feed.decode(raws, caution.before if step.is_fine else None)
                caution.uses(step)
                if step.limit is None:
                    self._feed.read_ahead(raws[-1].pos)
                if not is_applied:
                    self._projection.apply(chunk)
                    is_applied = True

        return self._until_done(take)

    def _until_done(self, action: _Action) -> bool:
        """Try until it works or we are stopped; log the first failure and the recovery."""
        wait = _BACKOFF_S[0]
        while not self._background.stopping.is_set():
            try:
                action()
            except StoreLostError:
                raise
            except EstateError as error:  # also what needs a person: it may be mended meanwhile
                self.failures += 1
                if self.trouble is None:
                    log.warning("projector stands still", projector=self.name, why=str(error))
                self.trouble = str(error)
                self._background.stopping.wait(wait)
                wait = min(wait * 2, _BACKOFF_S[1])
            else:
                if self.trouble is not None and action != self._open:
                    log.info("projector goes on", projector=self.name)
                    self.trouble = None
                return True
        return False


class _Action(Protocol):
    def __call__(self) -> None: ...
