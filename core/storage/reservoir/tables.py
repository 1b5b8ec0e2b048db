"""Writing one table to one file: what Parquet and CSV have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from core.contracts.errors import SettingsError, StoreUnavailableError
from core.contracts.ports import StoredPoint
from core.storage.files import sync_file
from core.storage.reservoir.columns import Column, columns_of, row_of
from core.storage.reservoir.csv_file import CsvFile
from core.storage.reservoir.manifest import FileEntry

Format = Literal["parquet", "csv"]
#: Rows that are held until they are written: a Parquet row group.
GROUP = 50_000


class File(Protocol):
    """A file of rows that is being written."""

    def write(self, rows: Sequence[list[Any]]) -> None:
        """Add rows."""
        ...

    def close(self) -> None:
        """Complete the file."""
        ...


class Table:
    """One kind's rows on their way into a file; it counts them and notes their span."""

    def __init__(self, path: Path, kind: str, format_: Format, *, excel: bool = False) -> None:
        self._path = path
        self._kind = kind
        self._columns = columns_of(kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _open(path, kind, self._columns, format_, excel=excel)
        self._rows: list[list[Any]] = []
        self._written = 0
        self._first: int | None = None
        self._last: int | None = None

    @property
    def waiting(self) -> int:
        """Return how many rows are held in memory."""
        return len(self._rows)

    def add(self, point: StoredPoint) -> None:
        """Add an event."""
        at = point.time_ns // 1_000_000
        if self._first is None or self._last is None:
            self._first = self._last = at
        elif at < self._first:
            self._first = at
        elif at > self._last:
            self._last = at
        self._rows.append(row_of(self._columns, point))
        if len(self._rows) >= GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._rows:
            self._file.write(self._rows)
            self._written += len(self._rows)
            self._rows = []

    def finish(self, name: str, site: str | None, day: str | None) -> FileEntry:
        """Complete the file, durably, and return what the manifest says of it."""
        self.flush()
        self._file.close()
        try:
            sync_file(self._path)
            size, mark = self._path.stat().st_size, sha256_of(self._path)
        except OSError as error:
            raise StoreUnavailableError(f"{self._path}: {error.strerror}") from error
        return FileEntry(
            path=name, day=day, kind=self._kind, site=site, rows=self._written, bytes=size,
            sha256=mark, first_at=self._first, last_at=self._last,
        )  # fmt: skip

    def abandon(self) -> None:
        """Close an unfinished file; its content is of no use."""
        self._file.close()


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(
    path: Path, kind: str, columns: tuple[Column, ...], format_: Format, *, excel: bool
) -> File:
    if format_ == "csv":
        return CsvFile(path, columns, byte_order_mark=excel)
    try:
        from core.storage.reservoir.parquet import ParquetFile
    except ImportError:
        raise SettingsError(
            "Parquet needs the package pyarrow: install smart-estate[reservoir], or export CSV"
        ) from None
    return ParquetFile(path, kind, columns)
