"""Running a part: start, wait for a signal, stop in time."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Protocol

import structlog

from core.runtime.watchdog import BEAT_S, Watchdog

log = structlog.get_logger(__name__)

#: Set for children of the supervisor: they end when its end of their standard input closes.
SUPERVISED = "ESTATE_SUPERVISED"
#: Seconds within which a part stops; the supervisor kills it after 4.
STOP_S = 3.7
#: Of these, how long a part that is told to stop while it starts may go on starting.
_START_S = 1.5


class App(Protocol):
    """A part's composition root."""

    async def start(self) -> None:
        """Open and start everything; undo it all on an error."""
        ...

    async def stop(self) -> None:
        """Stop in reverse order; safe to call twice."""
        ...


def run(app: App, *, ready: Callable[[], None] | None = None, stop_s: float = STOP_S) -> None:
    """Run an app until SIGINT, SIGTERM or the supervisor's end; call ``ready`` once it runs.

    What has not stopped ``stop_s`` seconds later is given up, with exit code 1.
    """
    asyncio.run(_run(app, ready, stop_s))


async def _run(app: App, ready: Callable[[], None] | None, stop_s: float) -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, done.set)
    watch_parent(lambda: _set_from_thread(loop, done))
    watchdog, started = Watchdog(), threading.Event()
    threading.Thread(
        target=_beat_until, args=(watchdog, started), name="watchdog", daemon=True
    ).start()
    beating: asyncio.Task[None] | None = None
    starting = asyncio.create_task(app.start())
    stopped = asyncio.create_task(done.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    asked = loop.time()
    try:
        if starting.done():
            starting.result()
            settle()
            started.set()
            beating = asyncio.create_task(_beat(watchdog))
            if ready is not None:
                ready()
            await stopped
            asked = loop.time()
        else:
            # What starts in a thread cannot be cancelled: stopping beside it would leave half
            # of it open.
            await asyncio.wait({starting}, timeout=_START_S)
            starting.cancel()
    finally:
        started.set()
        try:
            async with asyncio.timeout_at(asked + stop_s):
                await app.stop()
        except TimeoutError:
            log.warning("not stopped in time; what was promised is on the disk")
            os._exit(1)
        if beating is not None:
            beating.cancel()


def _beat_until(watchdog: Watchdog, started: threading.Event) -> None:
    """Say that this process works while it starts, which may keep the loop for long."""
    watchdog.beat()
    while not started.wait(BEAT_S):
        watchdog.beat()


async def _beat(watchdog: Watchdog) -> None:
    """Say now and then that the loop runs; who hears nothing for long starts this anew."""
    while True:
        watchdog.beat()
        await asyncio.sleep(BEAT_S)


def settle() -> None:
    """Make the interpreter ready for the long run, once a process has started its parts."""
    # What the start has made stays; collecting it again and again would cost more than all the
    # rest of a busy collector's memory handling.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    # A message passes through several threads, and each waits so long for one that computes:
    # with 10 ms single messages were a third slower, with 0.5 batches cost no more.
    sys.setswitchinterval(0.0005)


def end_process(why: BaseException) -> None:
    """End this process in order; the supervisor starts it anew. For what cannot be mended here."""
    log.error("this process ends, to be started anew", why=repr(why))
    os.kill(os.getpid(), signal.SIGTERM)


def watch_parent(gone: Callable[[], None]) -> None:
    """Call ``gone`` when the supervisor that started this process has ended."""
    if os.environ.get(SUPERVISED) != "1":
        return

    def watch() -> None:
        # Not by way of sys.stdin: its lock, held by this thread, would abort the interpreter's end.
        while os.read(0, 4096):
            continue
        gone()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _set_from_thread(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)
