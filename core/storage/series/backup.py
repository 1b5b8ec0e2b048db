"""The order in which the embedded store is copied while it is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.contracts.errors import StoreUnavailableError
from core.storage import sqlite
from core.storage.series.days import file_name
from core.storage.series.manifest import NAME

_POSITIONS = "SELECT log, position FROM cursor"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\.sqlite$")
#: Copies one of the store's files, by its name, as one state of it; returns where the copy is.
#: Raises FileNotFoundError where it is gone.
Copy = Callable[[str], Path]


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup holds; days are counted from the Unix epoch."""

    days: tuple[int, ...]
    durable: dict[str, int]
    """Log -> the copied manifest's position: a journal restored with it must go back to here."""
    reached: dict[str, int]
    """Log -> the highest position of a copied day: a journal restored with it must reach here."""


def backup(folder: Path, copy: Copy) -> BackedUp:
    """Copy the store in ``folder``; may take minutes.

    Any process may do so while the writer writes. The manifest is copied first, then each day that
    it lists, then what else the store keeps, such as rollups. So every copied day is at or beyond
    the copied manifest's position *P* of a log (``durable``), which is all that a writer needs: a
    replay from *P* adds what is missing and doubles nothing, as after a power cut. Days that
    expire meanwhile may be missing; their events are past the retention.

    A journal that is restored together with the copy must still hold all after ``durable`` (keep it
    from being trimmed until it is copied) and must reach ``reached`` (copy it after the series):
    in one that ends before, new entries would get positions that the store believes to have passed.

    Raises :class:`core.contracts.errors.StoreUnavailableError` where there is no store, and
    whatever ``copy`` raises.
    """
    if not (folder / NAME).is_file():
        raise StoreUnavailableError(f"{folder}: there is no series store to back up")
    manifest = copy(NAME)
    listed = _read(manifest, "SELECT day FROM file WHERE retired_at IS NULL ORDER BY day")
    durable = dict(_read(manifest, _POSITIONS))
    reached, days = dict(durable), []
    for (day,) in listed:
        path = _present(copy, file_name(day))
        if path is None:
            continue  # it expired, or has no event yet
        days.append(day)
        for log, position in _read(path, _POSITIONS):
            reached[log] = max(reached.get(log, 0), position)
    for name in sorted(path.name for path in folder.glob("*.sqlite")):
        if name != NAME and not _DAY.match(name):
            _present(copy, name)
    return BackedUp(tuple(days), durable, reached)


def _present(copy: Copy, name: str) -> Path | None:
    try:
        return copy(name)
    except FileNotFoundError:
        return None


def _read(path: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite.connect(path, readonly=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
