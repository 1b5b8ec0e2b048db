"""Copying files into a backup: databases by SQLite's online backup, all with their checksum."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from core.storage import sqlite
from core.storage.backup.manifest import LeftOut, Part, SavedFile
from core.storage.files import sync_file

_CHUNK = 1 << 20
#: Files that belong to a running program, or are made anew by it.
_PASSING = ("-wal", "-shm", "-journal", ".lock", ".ballast", ".tmp")
_SECRET_WORDS = ("key", "secret", "token", "password", "passwd", "credential")
_SECRET_ENDS = (".key", ".pem", ".p12", ".pfx", ".der")


def is_secret(path: Path) -> bool:
    """Tell by a file's name whether it holds a key or password."""
    name = path.name.lower()
    return name.endswith(_SECRET_ENDS) or any(word in name for word in _SECRET_WORDS)


class Copier:
    """Adds files to a backup that is being made in ``folder``."""

    def __init__(self, folder: Path, *, with_keys: bool) -> None:
        self._folder = folder
        self._with_keys = with_keys
        self.files: list[SavedFile] = []
        self.left_out: list[LeftOut] = []

    def tree(self, root: Path, name: str, part: Part) -> None:
        """Add every file below a folder; what vanishes meanwhile was removed by its owner."""
        found = sorted(root.rglob("*"), key=_order) if root.is_dir() else []
        for path in found:
            if path.is_symlink():
                self.leave_out(str(path), "a link; what it points to is not the installation's")
            elif path.is_file() and not path.name.endswith(_PASSING):
                try:
                    self.file(path, f"{name}/{path.relative_to(root).as_posix()}", part)
                except FileNotFoundError:
                    continue

    def file(self, source: Path, name: str, part: Part, *, secret: bool | None = None) -> None:
        """Add one file; raise FileNotFoundError where it is gone, OSError, or as ``connect``."""
        private = is_secret(source) if secret is None else secret
        if private and not self._with_keys:
            self.leave_out(str(source), "a key or password, and --without-keys was given")
            return
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if sqlite.is_database(source):
            sqlite.copy(source, target)
        else:
            _copy(source, target)
        self.adopt(name, part, secret=private)

    def adopt(self, name: str, part: Part, *, secret: bool = False) -> None:
        """Make a file that lies in the backup already durable, and list it."""
        path = self._folder / name
        path.chmod(0o600)
        sync_file(path)
        entry = SavedFile(
            path=name, part=part, bytes=path.stat().st_size, sha256=sha256_of(path), secret=secret
        )
        self.files.append(entry)

    def leave_out(self, what: str, why: str) -> None:
        """Note what is not in the backup."""
        self.left_out.append(LeftOut(what, why))


def _order(path: Path) -> tuple[bool, Path]:
    """Put outboxes last: what a driver's memory has as told must be in them."""
    return path.name == "outbox.sqlite", path


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as origin:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as made:
            while chunk := origin.read(_CHUNK):
                made.write(chunk)
