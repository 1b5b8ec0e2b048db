"""A data folder on which nothing runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from core.contracts.errors import InUseError
from core.storage.locks import FileLock


@contextmanager
def at_rest(data: Path) -> Iterator[None]:
    """Hold a data folder as its programs would, so that none of them runs or starts.

    Raises :class:`InUseError` while one does.
    """
    journals = [data / "collector.sqlite", *data.glob("edges/*/outbox.sqlite")]
    with ExitStack() as held:
        for path in (data / "estate", *(path for path in journals if path.exists())):
            lock = FileLock(path)
            try:
                lock.acquire()
            except InUseError:
                raise InUseError(f"{data}: in use; stop everything that runs on it") from None
            held.callback(lock.release)
        yield
