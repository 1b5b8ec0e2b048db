"""The companion's own process: ``python -m collector.companion_process FD`` (see companion.py)."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path

from collector.caution import Notebook
from collector.companion import Advance, Start, States, Usage
from collector.followers import Followers, store_projections
from collector.series_projection import SeriesProjection
from core.contracts.errors import InUseError
from core.runtime import logs, memory
from core.runtime.lifecycle import settle
from core.storage.journal import JournalReader
from core.storage.locks import FileLock
from core.storage.records import Records

_REPORT_S = 0.25
_AGAIN_S = 0.05
#: A store that has fallen behind is written in large pieces.
_TIMES = 4


class ToldLog:
    """The collector's log as the companion knows it: its file, and how far it is said to be."""

    def __init__(self, start: Start, pipe: Connection) -> None:
        self._path = start.path
        self._position = start.position
        self._pipe = pipe
        self._sending = threading.Lock()
        self._moved = threading.Condition()

    @property
    def position(self) -> int:
        """Return the position of the last entry that the collector has told of."""
        return self._position

    def wait(self, after: int, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for an entry above ``after``; tell whether there is."""
        with self._moved:
            return self._moved.wait_for(lambda: self._position > after, timeout)

    def reader(self) -> JournalReader:
        """Return an open reader; the caller closes it."""
        reader = JournalReader(self._path)
        reader.open()
        return reader

    def advance(self, cursor: str, pos: int) -> Future[None]:
        """Tell the collector that nothing at or below ``pos`` is needed any more."""
        self.send(Advance(cursor, pos))
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def moved(self, position: int) -> None:
        """Take that the log has come to a position."""
        with self._moved:
            self._position = max(self._position, position)
            self._moved.notify_all()

    def send(self, message: object) -> None:
        """Say something to the collector."""
        with self._sending:
            self._pipe.send(message)


def main(handle: int) -> None:
    """Follow the log until the collector says that it stops, or is gone."""
    memory.spare()
    # A terminal's Ctrl-C reaches this process, too; the collector decides when it is to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe = Connection(handle)
    start: Start = pipe.recv()
    logs.configure(start.settings.log, "companion")
    told = ToldLog(start, pipe)
    _alone(FileLock(start.settings.data / "companion"))
    records = Records(start.settings.records_url)
    records.open()
    projections = store_projections(start.settings, records, start.clock, start.log_id)
    notebook = Notebook(records, start.log_id, start.clock)
    # A file needs nobody to wait for it: reading ahead would only take turns with writing.
    ahead = frozenset({SeriesProjection.name} if start.settings.series.kind == "influxdb" else ())
    followers = Followers(told, projections, notebook, times=_TIMES, ahead=ahead)
    followers.start()
    settle()
    stopped = threading.Event()
    reporter = threading.Thread(target=_report, args=(told, followers, stopped), daemon=True)
    reporter.start()
    try:
        while (position := pipe.recv()) is not None:
            told.moved(position)
    except (EOFError, OSError):
        # The collector was killed. What is half done is undone as after a kill of this process:
        # another one may be writing the stores in a moment.
        os._exit(1)
    followers.stop()
    stopped.set()
    reporter.join()
    told.send(States(followers.states(), _usage()))
    records.close()


def _alone(lock: FileLock) -> None:
    """Wait until a companion whose collector was killed has ended: stores have one writer."""
    while True:
        try:
            lock.acquire()
        except InUseError:
            time.sleep(_AGAIN_S)
        else:
            return


def _report(told: ToldLog, followers: Followers, stopped: threading.Event) -> None:
    try:
        while not stopped.wait(_REPORT_S):
            told.send(States(followers.states(), _usage()))
    except OSError:
        os._exit(1)  # the collector is gone


def _usage() -> Usage:
    times = os.times()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Usage(times.user + times.system, pages * os.sysconf("SC_PAGE_SIZE"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
