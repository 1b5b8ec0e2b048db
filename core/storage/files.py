"""Small files that are replaced as a whole: a reader sees the old content or the new."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_whole(path: Path, content: bytes, *, synced: bool = True, private: bool = False) -> None:
    """Write a file that is either whole or not there; raise OSError.

    ``synced``: also after a power cut; to keep the file's new name through one, too, sync its
    folder (:func:`sync_folder`). ``private``: nobody but its owner can ever read it.
    """
    mode = 0o600 if private else 0o666

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, mode)

    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(draft, "xb", opener=opener) as file:
            file.write(content)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Make what was written to a file outlast a power cut; raise OSError."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlast a power cut; raise OSError."""
    if os.name != "posix":  # elsewhere a folder cannot be opened, and renames are journalled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
