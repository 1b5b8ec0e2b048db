"""Bytes of the disk kept in reserve, to be freed when it is full."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

BALLAST_BYTES = 8 << 20
#: It is laid in only where the disk has this many times its size to spare.
_ROOM = 2


class Ballast:
    """A file beside the journal; freeing it gives the room to evict and to check-point."""

    def __init__(self, journal: Path) -> None:
        self._path = journal.with_suffix(".ballast")

    def fill(self) -> bool:
        """Lay the reserve in where there is room for it; tell whether it is there."""
        if self._path.exists():
            return True
        try:
            if shutil.disk_usage(self._path.parent).free < _ROOM * BALLAST_BYTES:
                return False
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES)
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        return True

    def free(self) -> None:
        """Give the reserve back to the disk."""
        self._path.unlink(missing_ok=True)
