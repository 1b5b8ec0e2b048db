"""Supervised processes: started in order, restarted when they die or hang, stopped together."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import structlog

from core.runtime.lifecycle import SUPERVISED
from core.runtime.watchdog import BEAT, NOTIFY_SOCKET

log = structlog.get_logger(__name__)

_BACKOFF_S = (0.5, 15.0)
#: A process that has run for so long starts with a fresh back-off when it dies.
_STEADY_S = 10.0
#: A process that said that it works, and then nothing for so long, hangs.
HANG_S = 60.0
_STOP_S = 4.5
_LAST_S = 0.5
_LOG_BYTES = 10 << 20


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process: ``arguments`` of the ``estate`` command, and variables beside our own."""

    name: str
    arguments: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    quiet: bool = False
    """Its output is not worth a log file."""
    last: bool = False
    """It stops only when all others have stopped: they say farewell through it."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What is told about a process whenever it changes."""

    name: str
    state: str
    pid: int | None
    restarts: int
    message: str


Tell = Callable[[ProcessState], None]


class _Words:
    """What one process says of itself: see :mod:`core.runtime.watchdog`."""

    def __init__(self, number: int) -> None:
        self.address = f"@estate-{os.getpid()}-{number}-{secrets.token_hex(4)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind("\0" + self.address[1:])
        self._heard_at: float | None = None

    def begin(self) -> None:
        """Forget what a process before said."""
        self._drain()
        self._heard_at = None

    def silence_s(self) -> float:
        """Return for how long it has said nothing; 0 while it never did."""
        if self._drain():
            self._heard_at = time.monotonic()
        return 0.0 if self._heard_at is None else time.monotonic() - self._heard_at

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def _drain(self) -> bool:
        heard = False
        while True:
            try:
                said = self._socket.recv(256)
            except BlockingIOError:
                return heard
            heard = heard or BEAT in said.splitlines()  # a broker also says that it is ready


class _Child:
    def __init__(self, spec: ProcessSpec, number: int) -> None:
        self.spec = spec
        self.words = _Words(number)
        self.hangs = False
        self.process: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self.started = 0.0
        self.wait_s = _BACKOFF_S[0]
        self.due: float | None = None


class Supervisor:
    """Keeps a set of processes running; used from one thread, stopped from any."""

    def __init__(self, logs: Path, tell: Tell, *, hang_s: float = HANG_S) -> None:
        self._logs = logs
        self._tell = tell
        self._hang_s = hang_s
        self._children: list[_Child] = []
        self._stopping = threading.Event()

    def start(self, spec: ProcessSpec) -> None:
        """Start a process and keep it running from now on."""
        self._logs.mkdir(parents=True, exist_ok=True)
        child = _Child(spec, len(self._children))
        self._children.append(child)
        self._spawn(child)

    def pid(self, name: str) -> int | None:
        """Return the process id of a child, or None while it is down."""
        for child in self._children:
            if child.spec.name == name and child.process is not None:
                return child.process.pid
        return None

    def tallies(self) -> dict[str, tuple[bool, int]]:
        """Return of each child whether it runs and how often it was restarted."""
        return {
            child.spec.name: (child.process is not None, child.restarts)
            for child in list(self._children)
        }

    def watch(self) -> None:
        """Restart what dies, until ``request_stop``."""
        while not self._stopping.wait(0.1):
            self.check()

    def check(self) -> None:
        """Look once at every child."""
        for child in self._children:
            self._check(child)

    @property
    def stopping(self) -> bool:
        """Tell whether a stop was asked for."""
        return self._stopping.is_set()

    def request_stop(self) -> None:
        """End ``watch``."""
        self._stopping.set()

    def stop(self) -> None:
        """Stop all processes, those marked ``last`` after the others, within five seconds."""
        self._stopping.set()
        deadline = time.monotonic() + _STOP_S
        first = [child for child in reversed(self._children) if not child.spec.last]
        last = [child for child in reversed(self._children) if child.spec.last]
        self._end(first, deadline - _LAST_S)
        self._end(last, deadline)
        for child in self._children:
            child.words.close()
        self._children.clear()

    def _end(self, children: list[_Child], deadline: float) -> None:
        alive = [(c, c.process) for c in children if c.process and c.process.poll() is None]
        for _, process in alive:
            _signal(process, signal.SIGTERM)
        for child, process in alive:
            try:
                process.wait(max(deadline - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                log.warning("killed: it did not stop in time", process=child.spec.name)
                _signal(process, signal.SIGKILL)
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
            self._say(child, "stopped", "")

    def _check(self, child: _Child) -> None:
        if child.process is not None:
            code = child.process.poll()
            if code is None:
                self._look_for_hanging(child, child.process)
                return
            if time.monotonic() - child.started > _STEADY_S:
                child.wait_s = _BACKOFF_S[0]
            child.due = time.monotonic() + child.wait_s
            child.wait_s = min(child.wait_s * 2, _BACKOFF_S[1])
            child.process = None
            why = f"it hung for {self._hang_s:.0f} s and was killed" if child.hangs else _why(code)
            self._say(child, "down", why)
            log.error("process died", process=child.spec.name, why=why)
        elif child.due is not None and time.monotonic() >= child.due:
            child.due = None
            child.restarts += 1
            try:
                self._spawn(child)
            except OSError as error:  # no memory, no room for its log: the others go on
                child.due = time.monotonic() + child.wait_s
                child.wait_s = min(child.wait_s * 2, _BACKOFF_S[1])
                self._say(child, "down", f"cannot be started: {error}")

    def _look_for_hanging(self, child: _Child, process: subprocess.Popen[bytes]) -> None:
        if not child.hangs and child.words.silence_s() > self._hang_s:
            child.hangs = True
            _signal(process, signal.SIGKILL)

    def _spawn(self, child: _Child) -> None:
        spec = child.spec
        variables = {
            **os.environ,
            **spec.variables,
            SUPERVISED: "1",
            NOTIFY_SOCKET: child.words.address,
            "PYTHONUNBUFFERED": "1",
        }
        child.words.begin()
        child.hangs = False
        with self._output(spec) as output:
            child.process = subprocess.Popen(  # noqa: S603  (our own command)
                [sys.executable, "-m", "estate", *spec.arguments],
                stdin=subprocess.PIPE,  # the child ends when this end closes
                stdout=output,
                stderr=output,
                env=variables,
                start_new_session=True,  # Ctrl-C reaches the supervisor only
            )
        child.started = time.monotonic()
        again = f"restarted {child.restarts} times" if child.restarts else ""
        self._say(child, "running", again)

    def _output(self, spec: ProcessSpec) -> IO[bytes]:
        if spec.quiet:
            return Path(os.devnull).open("wb")
        path = self._logs / f"{spec.name}.log"
        if path.exists() and path.stat().st_size > _LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")

    def _say(self, child: _Child, state: str, message: str) -> None:
        pid = child.process.pid if child.process is not None and state == "running" else None
        self._tell(ProcessState(child.spec.name, state, pid, child.restarts, message))


def _why(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:
        log.debug("already gone", pid=process.pid)
