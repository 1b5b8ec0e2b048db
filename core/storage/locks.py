"""An advisory lock, so that no second process writes what one process owns."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from core.contracts.errors import InUseError


class FileLock:
    """A lock beside a file or folder (``x.sqlite.lock``), held until it is released or we end."""

    def __init__(self, path: Path) -> None:
        self._owned = path
        self._path = path.with_name(f"{path.name}.lock")
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock; raise :class:`InUseError` when another process holds it, or OSError."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise InUseError(f"{self._owned}: in use by another process; stop it first") from None
        self._fd = fd

    def release(self) -> None:
        """Give the lock back."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
