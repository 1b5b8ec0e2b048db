"""The companion: a second process that follows the log into the series and media stores.

Ingest and rules need one core, the stores another; threads of one interpreter share a single
one. Both processes read the same journal file; over a pipe the companion hears how far the log
has come and says what it needs no more (ADR 0024). It ends when its collector does, however
that ends, and a new one goes on from what is stored.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import structlog

from collector.projector import ProjectorState
from core.runtime.background import Background
from core.runtime.clock import ScaledClock
from core.runtime.settings import Settings
from core.storage.journal import Journal

log = structlog.get_logger(__name__)

_MODULE = "collector.companion_process"
_AGAIN_S = 2.0
_TOLD_S = 0.5
#: The projections drain, then the process ends; beyond this it is killed, which loses nothing.
_STOP_S = 2.0
#: It says four times a second how it stands; one that was heard and falls silent for so long hangs.
HANG_S = 60.0


@dataclass(frozen=True, slots=True)
class Start:
    """The first message: everything that the companion works with."""

    settings: Settings
    clock: ScaledClock
    path: Path
    log_id: str
    position: int


@dataclass(frozen=True, slots=True)
class Advance:
    """The companion needs nothing of the log at or below ``position`` for one projection."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used: CPU (s, user and system), and memory that is resident (bytes)."""

    cpu_s: float
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class States:
    """How the companion's projections stand, and what it uses."""

    states: list[ProjectorState]
    usage: Usage


class Companion:
    """The collector's side: starts the process, tells it of the log, starts it anew."""

    def __init__(
        self, settings: Settings, clock: ScaledClock, journal: Journal, names: Sequence[str]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._states = {name: ProjectorState(name) for name in names}
        self.usage: Usage | None = None
        """What its process used when it last said so; None while there is none."""
        self._background = Background("companion", self._run, patience_s=2 * _STOP_S)

    def start(self) -> None:
        """Start it in the background."""
        self._background.start()

    def stop(self) -> None:
        """Let it fold what the log holds, as far as that is quick, and end."""
        self._background.stop()

    def states(self) -> list[ProjectorState]:
        """Return how its projections stood when it last said so."""
        return list(self._states.values())

    # -- the companion's thread --------------------------------------------------------------

    def _run(self) -> None:
        while not self._background.stopping.is_set():
            code = self._attend()
            if self._background.stopping.is_set():
                return
            log.error("the companion has ended; it is started anew", code=code)
            self.usage = None
            for name, state in self._states.items():
                why = f"its process ended with code {code}"
                self._states[name] = replace(state, trouble=why, failures=state.failures + 1)
            self._background.stopping.wait(_AGAIN_S)

    def _attend(self) -> int:
        """Start the process and hear it to its end; return its exit code."""
        mine, theirs = Pipe()
        with mine:
            with theirs:
                process = subprocess.Popen(  # noqa: S603 - this program itself
                    [sys.executable, "-m", _MODULE, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                )
            ended = threading.Event()
            teller = threading.Thread(target=self._tell, args=(mine, ended), daemon=True)
            teller.start()
            self._hear(mine)
            ended.set()
            process.kill()  # it has ended, or was given its time
            code = process.wait()
            teller.join()
        return code

    def _tell(self, pipe: Connection, ended: threading.Event) -> None:
        """Say how far the log has come, until the collector stops; then that it has stopped."""
        journal = self._journal
        told = journal.position
        try:
            pipe.send(Start(self._settings, self._clock, journal.path, journal.epoch, told))
            while not (self._background.stopping.is_set() or ended.is_set()):
                if journal.wait(told, _TOLD_S):
                    told = journal.position
                    pipe.send(told)
            pipe.send(journal.position)
            pipe.send(None)
        except OSError:
            return  # it has ended, which whoever hears it notices

    def _hear(self, pipe: Connection) -> None:
        """Take what the process says, until it ends, hangs or has had its time to stop."""
        deadline, heard_at = None, None
        try:
            while deadline is None or time.monotonic() < deadline:
                if pipe.poll(_TOLD_S):
                    self._take(pipe.recv())
                    heard_at = time.monotonic()
                elif heard_at is not None and time.monotonic() - heard_at > HANG_S:
                    log.error("the companion says nothing any more; it is killed")
                    return
                if deadline is None and self._background.stopping.is_set():
                    deadline = time.monotonic() + _STOP_S
        except (EOFError, OSError):
            return

    def _take(self, message: Any) -> None:
        if isinstance(message, Advance):
            self._journal.advance(message.name, message.position)
        elif isinstance(message, States):
            self._states = {state.name: state for state in message.states}
            self.usage = message.usage
