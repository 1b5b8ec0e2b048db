"""A consistent copy of the embedded store while it is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.contracts.errors import StoreUnavailableError
from core.storage import sqlite
from core.storage.files import sync_folder
from core.storage.series.days import file_name, rollup_name
from core.storage.series.manifest import NAME, Manifest


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup holds; days are counted from the Unix epoch."""

    days: tuple[int, ...]
    durable: dict[str, int]
    """Log -> the copied manifest's position: a journal restored with it must go back to here."""
    reached: dict[str, int]
    """Log -> the highest position of a copied day: a journal restored with it must reach here."""


def backup(folder: Path, target: Path) -> BackedUp:
    """Copy the store in ``folder`` into ``target``, an empty or new folder; may take minutes.

    Any process may do so while the writer writes. The manifest is copied first, then each day that
    it lists and their rollups, each file as one snapshot. So every copied day is at or beyond the
    copied manifest's position *P* of a log (``durable``), which is all that a writer needs: a
    replay from *P* adds what is missing and doubles nothing, as after a power cut. Days that
    expire meanwhile may be missing; their events are past the retention.

    A journal that is restored together with the copy must still hold all after ``durable`` (keep it
    from being trimmed until it is copied) and must reach ``reached`` (copy it after the series):
    in one that ends before, new entries would get positions that the store believes to have passed.

    Raises FileExistsError where ``target`` is not empty and
    :class:`core.contracts.errors.StoreUnavailableError` where there is no store or no room.
    """
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty: name a new folder for the backup")
    if not (folder / NAME).exists():
        raise StoreUnavailableError(f"{folder}: there is no series store to back up")
    try:
        _copy(folder / NAME, target / NAME)
        listed = Manifest(target, readonly=False)
        listed.open()
        try:
            days = [day for day in listed.days() if _copy_present(folder, target, file_name(day))]
            for name in dict.fromkeys(map(rollup_name, listed.rolled())):
                _copy_present(folder, target, name)
            durable = listed.positions()
        finally:
            listed.close()
        sync_folder(target)
    except (sqlite.Error, OSError) as error:
        raise StoreUnavailableError(f"{target}: the backup failed: {error}") from error
    reached = dict(durable)
    for day in days:
        for log, position in _positions(target / file_name(day)).items():
            reached[log] = max(reached.get(log, 0), position)
    return BackedUp(tuple(days), durable, reached)


def _copy_present(folder: Path, target: Path, name: str) -> bool:
    """Copy a file; return False where it expired meanwhile."""
    try:
        _copy(folder / name, target / name)
    except StoreUnavailableError:
        if (folder / name).exists():
            raise
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    reading = sqlite.connect(source, readonly=True)
    try:
        page_bytes: int = reading.execute("PRAGMA page_size").fetchone()[0]
        writing = sqlite.connect(target, synchronous="FULL", page_bytes=page_bytes)
        try:
            reading.backup(writing)  # in one step: one snapshot, and no starting over
            writing.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            writing.close()
    finally:
        reading.close()


def _positions(path: Path) -> dict[str, int]:
    connection = sqlite.connect(path, readonly=True)
    try:
        return dict(connection.execute("SELECT log, position FROM cursor"))
    finally:
        connection.close()
