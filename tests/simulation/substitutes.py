"""Puts the virtual machine in the place of the real one, in the modules of the parts only."""

from __future__ import annotations

import concurrent.futures
import functools
import queue as real_queue
import random
import sys
import threading as real_threading
import time as real_time
import uuid as real_uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import structlog

import collector.app
import collector.station
import edge.outbox
import edge.uplink
from core.storage import sqlite
from core.storage.journal import Tombstone, ballast, journal
from core.storage.journal.lanes import Lanes
from core.storage.records import database, migrate
from tests.simulation import primitives
from tests.simulation.disk import Disks
from tests.simulation.network import Network, SimLink
from tests.simulation.watch import WINDOW

_PARTS = ("core.", "edge.", "collector.", "rules.")
_QUIET = structlog.make_filtering_bound_logger(50)


class _Inline:
    """``asyncio`` as the collector's composition root uses it."""

    @staticmethod
    async def to_thread(function: Any, *arguments: Any) -> Any:
        return function(*arguments)


class _SilentAnnouncer:
    """What is announced follows from the records alone, and is tried elsewhere."""

    def __init__(self, *_: object) -> None:
        """Nothing is announced."""

    def start(self) -> None:
        """Nothing is announced."""

    stop = wake = start


@functools.cache
def _engine(make: Any, url: Any, readonly: bool) -> Any:
    return make(url, readonly=readonly)


def _pooled(make: Any) -> Any:
    """Keep one engine for an address: what it compiled serves every run."""

    def made(url: Any, *, readonly: bool) -> Any:
        engine = _engine(make, url, readonly)
        engine.dispose()
        return engine

    return made


_sqlite_engine = _pooled(database._sqlite_engine)


def _replaced(chance: random.Random) -> dict[Any, Any]:
    return {
        real_threading: primitives.threading,
        real_queue: primitives.queue,
        real_time: primitives.time,
        real_uuid: primitives.uuid(chance),
    }


def hush() -> None:
    """Let the parts say nothing."""
    structlog.configure(wrapper_class=_QUIET, cache_logger_on_first_use=False)


@contextmanager
def substituted(
    chance: random.Random, disks: Disks, network: Network, *, loud: bool = False
) -> Iterator[None]:
    """Replace threads, clocks, files and links of every part that is loaded."""
    modules = _replaced(chance)
    with ExitStack() as stack:

        def put(owner: Any, name: str, value: Any) -> None:
            stack.enter_context(mock.patch.object(owner, name, value))

        for name in sorted(sys.modules):
            module = sys.modules[name]
            if not name.startswith(_PARTS):
                continue
            for attribute, value in list(vars(module).items()):
                if value is concurrent.futures.Future:
                    put(module, attribute, primitives.Future)
                elif type(value) is type(sys) and value in modules:
                    put(module, attribute, modules[value])
        put(sqlite, "connect", disks.connect)
        put(journal, "FileLock", disks.lock)
        put(ballast, "shutil", disks.shutil())
        put(ballast, "BALLAST_BYTES", 16 * 4096)
        put(SimLink, "network", network) if hasattr(SimLink, "network") else stack.enter_context(
            mock.patch.object(SimLink, "network", network, create=True)
        )
        put(edge.uplink, "Link", SimLink)
        put(edge.uplink, "WINDOW", WINDOW)
        put(edge.outbox, "WINDOW", WINDOW)
        put(collector.station, "Link", SimLink)
        put(collector.app, "Announcer", _SilentAnnouncer)
        put(collector.app, "asyncio", _Inline)
        put(database, "_sqlite_engine", _sqlite_engine)
        put(migrate, "upgrade", lambda *_: None)
        attach = Lanes.attach

        def attached(lanes: Lanes, stones: list[Tombstone], lane: str, seq: int) -> None:
            lanes._connection.file.notes_underway += len(stones)
            attach(lanes, stones, lane, seq)

        put(Lanes, "attach", attached)
        kept = structlog.get_config()
        stack.callback(lambda: structlog.configure(**kept))
        if not loud:
            hush()
        hooks = sys.get_asyncgen_hooks()
        stack.callback(lambda: sys.set_asyncgen_hooks(*hooks))
        yield
